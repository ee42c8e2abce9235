package mfa_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

const uri = "otpauth://totp/Example:ann?algorithm=SHA1&digits=6&issuer=Example&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// What is drawn, read back module by module, is the code with four modules of white on every side.
func TestQRIsDrawnCompletely(t *testing.T) {
	want, err := qr.Encode(uri, qr.L, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := mfa.QR(authn.Secret(uri), mfa.QRColour)
	if err != nil {
		t.Fatal(err)
	}
	colours := regexp.MustCompile("\x1b\\[[0-9;]*m")
	plain, err := mfa.QR(authn.Secret(uri), mfa.QRPlain)
	if err != nil || colours.ReplaceAllString(drawn, "") != plain || strings.Contains(plain, "\x1b") {
		t.Fatalf("the two styles differ in more than colour: %v", err)
	}
	var dark [][]bool
	for _, line := range strings.Split(strings.TrimSuffix(plain, "\n"), "\n") {
		var upper, lower []bool
		for _, c := range line {
			upper = append(upper, c == ' ' || c == '▄')
			lower = append(lower, c == ' ' || c == '▀')
		}
		dark = append(dark, upper, lower)
	}
	size := want.Bounds().Dx()
	if len(dark) < size+8 || len(dark[0]) != size+8 {
		t.Fatalf("drawn %d × %d for %d modules", len(dark[0]), len(dark), size)
	}
	for y, row := range dark {
		for x, got := range row {
			expected := false
			if x >= 4 && x < size+4 && y >= 4 && y < size+4 {
				r, _, _, _ := want.At(x-4, y-4).RGBA()
				expected = r == 0
			}
			if got != expected {
				t.Fatalf("module %d,%d: dark %v", x, y, got)
			}
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(drawn, "\n"), "\n") {
		if !strings.HasPrefix(line, "\x1b[38;5;231;48;5;16m") || !strings.HasSuffix(line, "\x1b[0m") {
			t.Fatal("a line without its own black and white")
		}
	}
}

func TestQRErrorShowsNothing(t *testing.T) {
	_, err := mfa.QR(authn.Secret(strings.Repeat("x", 5000)), mfa.QRPlain)
	if authn.ReasonOf(err) != "qr" || strings.Contains(err.Error(), "xxx") {
		t.Error(err)
	}
}
