package mfa_test

import (
	"bytes"
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

func wantReason(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := authn.ReasonOf(err); got != want {
		t.Errorf("%s: %v, want the reason %s", what, err, want)
	}
}

// An enrolment code works once, for its user, for a day, and only the newest; wrong ones are counted.
func TestInvitation(t *testing.T) {
	b := newBench(t)
	invite := func(user authn.ITUser) authn.Secret {
		t.Helper()
		code, expires, err := b.Invite(t.Context(), user)
		if err != nil || !expires.Equal(b.now.Add(24*time.Hour)) ||
			!regexp.MustCompile(`^([BCDFGHJKLMNPQRSTVWXZ]{4}-){3}[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(code.Reveal()) {
			t.Fatalf("%s, until %s: %v", code.Reveal(), expires, err)
		}
		return code
	}
	old, code := invite(ann), invite(ann)
	wantReason(t, "an earlier code", b.Redeem(t.Context(), ann, old), "wrong_code")
	wantReason(t, "another user's code", b.Redeem(t.Context(), bob, code), "wrong_code")
	if err := b.Redeem(t.Context(), ann, authn.Secret(strings.ToLower(strings.ReplaceAll(code.Reveal(), "-", "")))); err != nil {
		t.Errorf("typed without dashes: %v", err)
	}
	wantReason(t, "the code again", b.Redeem(t.Context(), ann, code), "wrong_code")
	late := invite(ann)
	b.now = b.now.Add(24 * time.Hour)
	wantReason(t, "a code of yesterday", b.Redeem(t.Context(), ann, late), "wrong_code")
	last := invite(ann)
	wantReason(t, "wrong", b.Redeem(t.Context(), ann, "wrong"), "wrong_code")
	wantReason(t, "wrong again", b.Redeem(t.Context(), ann, ""), "wrong_code")
	wantReason(t, "the right code after too many", b.Redeem(t.Context(), ann, last), "throttled")
}

// Of two nodes that redeem one code at once, one succeeds.
func TestInvitationRace(t *testing.T) {
	b := newBench(t)
	code, _, err := b.Invite(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error)
	for _, node := range []*mfa.Service{b.node(t), b.node(t)} {
		go func() { results <- node.Redeem(t.Context(), ann, code) }()
	}
	first, second := <-results, <-results
	if (first == nil) == (second == nil) {
		t.Errorf("%v and %v", first, second)
	}
}

func TestManagingDevices(t *testing.T) {
	b := newBench(t)
	p, recovery := b.enrolled(t, ann)
	if err := b.Name(t.Context(), ann, p.id, "  my \x1b telephone\n"+strings.Repeat("x", 100)); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "naming another's device", b.Name(t.Context(), bob, p.id, "mine"), "no_device")
	devices, err := b.Devices(t.Context(), ann)
	if err != nil || len(devices) != 1 || devices[0].Name != "my telephone "+strings.Repeat("x", 51) {
		t.Errorf("%+v, %v", devices, err)
	}
	if since := b.now.Sub(devices[0].LastUsed()); since < 5*time.Minute || since > 6*time.Minute {
		t.Errorf("last used %s ago", since)
	}
	wantReason(t, "removing the only one", b.Remove(t.Context(), ann, p.id, false), "no_device")
	wantReason(t, "removing another's", b.Remove(t.Context(), bob, p.id, true), "no_device")

	fresh, err := b.RenewRecovery(t.Context(), ann)
	if err != nil || len(fresh) != 10 {
		t.Fatalf("%d codes, %v", len(fresh), err)
	}
	if _, err := b.Check(t.Context(), ann, recovery[0].Reveal()); authn.ReasonOf(err) != "wrong_code" {
		t.Errorf("an old recovery code: %v", err)
	}
	if _, err := b.Check(t.Context(), ann, fresh[0].Reveal()); err != nil {
		t.Errorf("a new recovery code: %v", err)
	}

	second := b.begin(t, ann)
	if _, err := b.Confirm(t.Context(), ann, second.id, second.code(t, 0)); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), ann, p.id, false); err != nil {
		t.Errorf("removing one of two: %v", err)
	}
	if err := b.Remove(t.Context(), ann, second.id, true); err != nil {
		t.Errorf("removing the last: %v", err)
	}
	if left, err := b.RecoveryLeft(t.Context(), ann); err != nil || left != 0 {
		t.Errorf("%d recovery codes without a device, %v", left, err)
	}
}

var run = regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`)

// The picture, read back rectangle by rectangle, is the code with four modules of white on every side.
func TestQRPicture(t *testing.T) {
	picture, err := mfa.QRPicture(uri, `say "<cheese>"`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := qr.Encode(uri, qr.L, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[[2]int]bool{}
	for _, m := range run.FindAllStringSubmatch(picture, -1) {
		x, y, length := number(m[1]), number(m[2]), number(m[3])
		for i := range length {
			drawn[[2]int{x + i, y}] = true
		}
	}
	size := want.Bounds().Dx()
	for y := range size {
		for x := range size {
			if dark := color.GrayModel.Convert(want.At(x, y)).(color.Gray).Y == 0; drawn[[2]int{x + 4, y + 4}] != dark {
				t.Fatalf("module %d,%d: dark is %v", x, y, dark)
			}
			delete(drawn, [2]int{x + 4, y + 4})
		}
	}
	if len(drawn) > 0 {
		t.Errorf("dark in the margin: %v", drawn)
	}
	if !strings.Contains(picture, `aria-label="say &#34;&lt;cheese&gt;&#34;"`) || bytes.Contains([]byte(picture), []byte("otpauth")) {
		t.Error("the label is not escaped, or the secret is in the markup as text")
	}
	if _, err := mfa.QRPicture(authn.Secret(strings.Repeat("x", 5000)), ""); authn.ReasonOf(err) != "qr" {
		t.Errorf("too long: %v", err)
	}
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
