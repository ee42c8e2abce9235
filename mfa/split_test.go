package mfa_test

import (
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

func TestSplit(t *testing.T) {
	const dashed, plain = "BCDF-GHJK-LMNP-QRST-VWXZ", "BCDFGHJKLMNPQRSTVWXZ"
	for _, c := range []struct{ typed, password, code string }{
		{"secret123456", "secret", "123456"},
		{"secret1234567", "secret1", "234567"},
		{"x000000", "x", "000000"},
		{"secret ünï123456", "secret ünï", "123456"},
		{" 123456", " ", "123456"}, // a password is never trimmed
		{"123456", "", ""},
		{"", "", ""},
		{"secret12345", "", ""},
		{"secret12345x", "", ""},
		{"secret123456 ", "", ""},
		{"secret１２３４５６", "", ""}, // digits, but not ASCII
		{"secret١٢٣٤٥٦", "", ""},
		{"secret+12345", "", ""},
		{"secret-" + dashed, "secret-", dashed},
		{"secret" + dashed, "secret", dashed},
		{"secretbcdf-ghjk-lmnp-qrst-vwxz", "secret", "bcdf-ghjk-lmnp-qrst-vwxz"},
		{"secret" + plain, "secret", plain},
		{"secretBCD" + plain, "secretBCD", plain}, // the last 20, whatever is in front of them
		{"secretBCDF-" + plain, "secretBCDF-", plain},
		{"secretBCDF-GHJK-LMNP-QRST-VW-XZ", "", ""},
		{dashed, "", ""},
		{plain, "", ""},
		{"secret" + dashed + "1", "", ""},
	} {
		password, code, ok := new(mfa.Service).Split(authn.Secret(c.typed))
		if want := c.code != ""; ok != want || code != c.code || (ok && password.Reveal() != c.password) {
			t.Errorf("%q: %q, %q, %v; want %q, %q", c.typed, password.Reveal(), code, ok, c.password, c.code)
		}
		if !ok && password.Reveal() != c.typed {
			t.Errorf("%q came back as %q", c.typed, password.Reveal())
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"", "a123456", "aBCDF-GHJK-LMNP-QRST-VWXZ", "aBCDFGHJKLMNPQRSTVWXZ", "ſbcdfghjklmnpqrstvwx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		password, code, ok := new(mfa.Service).Split(authn.Secret(typed))
		if password.Reveal()+code != typed || ok != (code != "") || ok && password == "" {
			t.Errorf("%q: %q, %q, %v", typed, password.Reveal(), code, ok)
		}
		for i := range code {
			if code[i] >= 0x80 {
				t.Errorf("%q: the code %q is not ASCII", typed, code)
			}
		}
	})
}
