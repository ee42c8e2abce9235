package mfa

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what RFC 6238 uses
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// RFC 6238 appendix B, the SHA-1 rows; of the 8 digits there the last 6.
func TestRFC6238Vectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		got, err := totpAt(secret, step(time.Unix(at, 0)))
		if err != nil || got != want {
			t.Errorf("at %d: %s, %v; want %s", at, got, err, want)
		}
	}
}

// oracle is RFC 4226 section 5.3, written down once more.
func oracle(secret []byte, step int64) string {
	m := hmac.New(sha1.New, secret)
	_ = binary.Write(m, binary.BigEndian, step)
	sum := m.Sum(nil)
	at := sum[19] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff%1_000_000)
}

func TestCodesAgreeWithAnotherImplementation(t *testing.T) {
	for i := range int64(500) {
		secret, at := newSecret(), 59_000_000+i*7919
		if len(secret) != 20 {
			t.Fatalf("a secret of %d bytes", len(secret))
		}
		if got, err := totpAt(secret, at); err != nil || got != oracle(secret, at) {
			t.Fatalf("step %d: %s, %v; want %s", at, got, err, oracle(secret, at))
		}
	}
}

func TestKeyURI(t *testing.T) {
	secret := []byte("12345678901234567890")
	for account, want := range map[string]string{
		"ann":               "otpauth://totp/Example%20Ltd:ann?algorithm=SHA1&digits=6&issuer=Example%20Ltd&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"ann+1@example.org": "otpauth://totp/Example%20Ltd:ann%2B1%40example.org?algorithm=SHA1&digits=6&issuer=Example%20Ltd&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"josé o'neil":       "otpauth://totp/Example%20Ltd:jos%C3%A9%20o%27neil?algorithm=SHA1&digits=6&issuer=Example%20Ltd&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"a:b":               "otpauth://totp/Example%20Ltd:a_b?algorithm=SHA1&digits=6&issuer=Example%20Ltd&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
	} {
		if got := keyURI("Example Ltd", account, secret); got.Reveal() != want {
			t.Errorf("%s:\n got %s\nwant %s", account, got.Reveal(), want)
		}
	}
}

func TestRecoveryCodes(t *testing.T) {
	shown, kept, err := newRecoveryCodes("ann")
	if err != nil || len(shown) != 10 || len(kept) != 10 {
		t.Fatalf("%d, %d, %v", len(shown), len(kept), err)
	}
	seen := map[string]bool{}
	for i, code := range shown {
		text := code.Reveal()
		if seen[text] || len(text) != 24 || !isRecovery(text) {
			t.Errorf("%q", text)
		}
		seen[text] = true
		for _, typed := range []string{text, strings.ToLower(text), strings.ReplaceAll(text, "-", "")} {
			if !isRecovery(typed) || string(recoveryHash("ann", typed)) != string(kept[i].Hash) {
				t.Errorf("%q is not recognised", typed)
			}
		}
		if string(recoveryHash("bob", text)) == string(kept[i].Hash) {
			t.Error("the hash does not depend on the user")
		}
	}
	for _, no := range []string{"", "BCDF", "BCDF-GHJK-LMNP-QRST-VWX", "BCDFG-HJK-LMNP-QRST-VWXZ", "BCDF-GHJK-LMNP-QRST-VWXA", "BCDFGHJKLMNPQRSTVWX1"} {
		if isRecovery(no) {
			t.Errorf("%q is taken for a recovery code", no)
		}
	}
}
