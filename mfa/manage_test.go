package mfa_test

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
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
			!regexp.MustCompile(`^([BCDFGHJKLMNPQRSTVWXZ]{4}-){4}[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(code.Reveal()) {
			t.Fatalf("%s, until %s: %v", code.Reveal(), expires, err)
		}
		return code
	}
	old, code := invite(ann), invite(ann)
	wantReason(t, "an earlier code", b.Redeem(t.Context(), ann, old), "wrong_invite")
	wantReason(t, "another user's code", b.Redeem(t.Context(), bob, code), "wrong_invite")
	if err := b.Redeem(t.Context(), ann, authn.Secret(strings.ToLower(strings.ReplaceAll(code.Reveal(), "-", "")))); err != nil {
		t.Errorf("typed without dashes: %v", err)
	}
	wantReason(t, "the code again", b.Redeem(t.Context(), ann, code), "wrong_invite")
	late := invite(ann)
	b.now = b.now.Add(24 * time.Hour)
	wantReason(t, "a code of yesterday", b.Redeem(t.Context(), ann, late), "wrong_invite")
	last := invite(ann)
	for _, wrong := range []authn.Secret{"wrong", "", "BCDF-GHJK-LMNP-QRST-VWXZ"} {
		wantReason(t, "wrong", b.Redeem(t.Context(), ann, wrong), "wrong_invite")
	}
	wantReason(t, "the right code after too many", b.Redeem(t.Context(), ann, last), "throttled")
	wantReason(t, "the same at another node", b.node(t).Redeem(t.Context(), ann, last), "throttled")
	wantReason(t, "the administrator's next one", b.Redeem(t.Context(), ann, invite(ann)), "ok")

	removed := invite(ann)
	if _, err := b.Reset(t.Context(), ann); err != nil {
		t.Error(err)
	}
	wantReason(t, "after a reset", b.Redeem(t.Context(), ann, removed), "wrong_invite")
}

// A recovery code is no enrolment code, nor the other way round, although they look alike; nor is a row that somebody
// copied to another table or user.
func TestInvitationsAndRecoveryCodesAreNotTheSame(t *testing.T) {
	b := newBench(t)
	_, recovery := b.enrolled(t, ann)
	code, _, err := b.Invite(t.Context(), ann)
	ok(t, err)
	wantReason(t, "an enrolment code as a second factor", b.check(t, ann, code.Reveal()), "wrong_code")
	wantReason(t, "a recovery code as an enrolment code", b.Redeem(t.Context(), ann, recovery[0]), "wrong_invite")
	rows, err := b.store.RecoveryCodes(t.Context(), ann.Key)
	ok(t, err)
	for i, row := range rows {
		b.now = b.now.Add(time.Hour) // out of the way of the throttle
		ok(t, b.store.AddInvitation(t.Context(), ann.Key, row.Hash, b.now.Add(time.Hour)))
		for _, r := range recovery[i : i+1] {
			wantReason(t, "a recovery code's row", b.Redeem(t.Context(), ann, r), "wrong_invite")
		}
	}
	hash := func(user authn.ITUser, code authn.Secret) bool {
		used, err := b.store.UseInvitation(t.Context(), user.Key, mfa.InviteHash(user.Key, code), b.now)
		ok(t, err)
		return used
	}
	code, expires, err := b.Invite(t.Context(), ann)
	ok(t, err)
	ok(t, b.store.AddInvitation(t.Context(), bob.Key, mfa.InviteHash(ann.Key, code), expires))
	wantReason(t, "another user's row", b.Redeem(t.Context(), bob, code), "wrong_invite")
	if !hash(ann, code) {
		t.Error("the rows above were not what this test takes them for")
	}
}

// Neither enrolment codes nor what could be typed as one is on disk.
func TestInvitationsAreNotOnDisk(t *testing.T) {
	b := newBench(t)
	code, _, err := b.Invite(t.Context(), ann)
	ok(t, err)
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	ok(t, err)
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		ok(t, err)
		all = append(all, content...)
	}
	if !bytes.Contains(all, mfa.InviteHash(ann.Key, code)) {
		t.Error("nothing was written")
	}
	for _, canary := range []string{code.Reveal(), strings.ReplaceAll(code.Reveal(), "-", "")} {
		if bytes.Contains(all, []byte(canary)) {
			t.Error("the code is on disk")
		}
	}
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

	waiting := b.begin(t, bob) // no device yet
	_, err = b.RenewRecovery(t.Context(), bob)
	wantReason(t, "recovery codes beside "+waiting.id, err, "no_device")
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
