package mfa_test

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/testenv"
)

// oathtool is an authenticator that is not ours: it gets the secret as the user would type it.
func oathtool(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	now := at.UTC().Format("2006-01-02 15:04:05 UTC")
	out, err := exec.Command(testenv.Need(t, "oathtool"), "--totp", "--base32", "--now", now, secret).CombinedOutput()
	if err != nil {
		t.Fatalf("oathtool: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A user enrols and signs in with codes that oathtool makes.
func TestCodesOfOathtoolAreRight(t *testing.T) {
	b := newBench(t)
	e, err := b.Enrol(t.Context(), ann)
	ok(t, err)
	_, err = b.Confirm(t.Context(), ann, e.ID, oathtool(t, e.Secret.Reveal(), b.now))
	ok(t, err)
	for range 20 {
		b.now = b.now.Add(97 * time.Minute)
		ok(t, b.signIn(t, ann, oathtool(t, e.Secret.Reveal(), b.now)))
	}
	b.now = b.now.Add(time.Hour)
	want(t, b.check(t, ann, oathtool(t, e.Secret.Reveal(), b.now.Add(-time.Minute))), authn.BadCredentials, "wrong_code")
}

// What the terminal shows is read back by a scanner that is not ours.
func TestTheQRCodeIsReadByZBar(t *testing.T) {
	scanner := testenv.Need(t, "zbarimg")
	b := newBench(t)
	for _, user := range []authn.ITUser{ann, {Key: "k-bob", Username: "josé o'neil+1@" + strings.Repeat("long.", 20) + "example.org"}} {
		e, err := b.Enrol(t.Context(), user)
		ok(t, err)
		drawn, err := mfa.QR(e.URI, mfa.QRPlain)
		ok(t, err)
		path := filepath.Join(t.TempDir(), "qr.png")
		ok(t, screenshot(path, drawn))
		out, err := exec.Command(scanner, "--quiet", "--raw", path).Output()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != e.URI.Reveal() {
			t.Errorf("read %q, %v; want %q", got, err, e.URI.Reveal())
		}
	}
}

// screenshot paints half-block characters, light on dark, as a terminal does.
func screenshot(path, drawn string) error {
	const module = 4 // pixels
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	width := len([]rune(lines[0]))
	img := image.NewGray(image.Rect(0, 0, width*module, 2*len(lines)*module))
	paint := func(x, y int) {
		for i := range module * module {
			img.SetGray(x*module+i%module, y*module+i/module, color.Gray{Y: 255})
		}
	}
	for y, line := range lines {
		for x, c := range []rune(line) {
			if c == '█' || c == '▀' {
				paint(x, 2*y)
			}
			if c == '█' || c == '▄' {
				paint(x, 2*y+1)
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("screenshot: %w", err)
	}
	if err := png.Encode(f, img); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
