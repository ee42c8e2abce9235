package mfa_test

import (
	"bytes"
	"encoding/base32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
)

// bench is a Service on a real database, with everything it stands on within reach.
type bench struct {
	*mfa.Service
	dir      string
	store    *store.Store
	ring     *hookedRing
	now      time.Time
	throttle *authn.Throttle
}

var (
	ann = authn.ITUser{Key: "k-ann", Username: "ann"}
	bob = authn.ITUser{Key: "k-bob", Username: "bob"}
)

// hookedRing lets a test look around while a secret is being opened.
type hookedRing struct {
	*keyring.Ring
	opening func()
}

func (r *hookedRing) Open(sealed, ad []byte) ([]byte, error) {
	if r.opening != nil {
		r.opening()
	}
	return r.Ring.Open(sealed, ad)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	line, err := keyring.Generate("test")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: t.TempDir(), ring: &hookedRing{Ring: ring}, now: time.Date(2026, 11, 24, 12, 0, 7, 0, time.UTC)}
	b.store = openDatabase(t, b.dir)
	b.Service = b.node(t)
	return b
}

// node is a Service as another process would have it: on the same rows, with nothing in memory.
func (b *bench) node(t *testing.T) *mfa.Service {
	t.Helper()
	clock := func() time.Time { return b.now }
	b.throttle = authn.NewThrottle(b.store, authn.DefaultSteps(), authn.DefaultWindow, clock)
	s, err := mfa.New(mfa.Config{Store: b.store, Sealer: b.ring, Throttle: b.throttle, Issuer: "Example", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// phone is an authenticator app: it knows the secret that was shown and the time.
type phone struct {
	b      *bench
	id     string
	secret string
}

func (p phone) code(t *testing.T, steps int) string {
	t.Helper()
	code, err := totp.GenerateCode(p.secret, p.b.now.Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (b *bench) begin(t *testing.T, user authn.ITUser) phone {
	t.Helper()
	e, err := b.Enrol(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return phone{b, e.ID, strings.ReplaceAll(e.Secret.Reveal(), " ", "")}
}

// enrolled has a confirmed device whose first code is five minutes old.
func (b *bench) enrolled(t *testing.T, user authn.ITUser) (phone, []authn.Secret) {
	t.Helper()
	p := b.begin(t, user)
	recovery, err := b.Confirm(t.Context(), user, p.id, p.code(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(5 * time.Minute)
	return p, recovery
}

func (b *bench) signIn(t *testing.T, user authn.ITUser, code string) error {
	t.Helper()
	proof, err := b.Check(t.Context(), user, code)
	if err != nil {
		return err
	}
	return b.Accept(t.Context(), proof)
}

func (b *bench) check(t *testing.T, user authn.ITUser, code string) error {
	t.Helper()
	_, err := b.Check(t.Context(), user, code)
	return err
}

func (b *bench) failures(t *testing.T, user authn.ITUser) int {
	t.Helper()
	a, err := b.store.Attempts(t.Context(), mfa.ThrottleKey(user.Key))
	if err != nil {
		t.Fatal(err)
	}
	return a.Failures
}

func want(t *testing.T, err error, kind authn.Kind, reason string) {
	t.Helper()
	if authn.KindOf(err) != kind || authn.ReasonOf(err) != reason {
		t.Errorf("got %v (%s), want %v (%s): %v", authn.KindOf(err), authn.ReasonOf(err), kind, reason, err)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestASecretCountsOnlyAfterAValidCode(t *testing.T) {
	b := newBench(t)
	p := b.begin(t, ann)
	want(t, b.check(t, ann, p.code(t, 0)), authn.BadCredentials, "wrong_code")
	if devices, err := b.Devices(t.Context(), ann); err != nil || len(devices) != 0 {
		t.Errorf("%v, %v", devices, err)
	}
	for _, wrong := range []string{p.code(t, 5), "", "12345", "abcdef"} {
		_, err := b.Confirm(t.Context(), ann, p.id, wrong)
		want(t, err, authn.BadCredentials, "wrong_code")
		b.now = b.now.Add(time.Minute) // out of the way of the throttle, which counts here too
	}
	recovery, err := b.Confirm(t.Context(), ann, p.id, p.code(t, 0))
	if err != nil || len(recovery) != 10 {
		t.Fatalf("%d recovery codes, %v", len(recovery), err)
	}
	want(t, b.check(t, ann, p.code(t, 0)), authn.BadCredentials, "code_replayed") // the enrolment code is used up
	devices, err := b.Devices(t.Context(), ann)
	if err != nil || len(devices) != 1 || devices[0].ID != p.id || devices[0].Sealed != nil {
		t.Errorf("%+v, %v", devices, err)
	}
	_, err = b.Confirm(t.Context(), ann, p.id, p.code(t, 1))
	want(t, err, authn.BadCredentials, "no_enrolment") // it is confirmed
}

func TestEnrolmentEnds(t *testing.T) {
	b := newBench(t)
	first := b.begin(t, ann)
	second := b.begin(t, ann)
	_, err := b.Confirm(t.Context(), ann, first.id, first.code(t, 0))
	want(t, err, authn.BadCredentials, "no_enrolment") // replaced
	_, err = b.Confirm(t.Context(), bob, second.id, second.code(t, 0))
	want(t, err, authn.BadCredentials, "no_enrolment") // another user's
	b.now = b.now.Add(mfa.EnrolWithin + time.Second)
	_, err = b.Confirm(t.Context(), ann, second.id, second.code(t, 0))
	want(t, err, authn.BadCredentials, "enrolment_expired")
}

func TestClockMayBeOneStepOff(t *testing.T) {
	for steps, reason := range map[int]string{-2: "wrong_code", -1: "", 0: "", 1: "", 2: "wrong_code"} {
		b := newBench(t)
		p, _ := b.enrolled(t, ann)
		err := b.check(t, ann, p.code(t, steps))
		if reason == "" {
			ok(t, err)
		} else {
			want(t, err, authn.BadCredentials, reason)
		}
	}
}

func TestACodeIsAcceptedOnce(t *testing.T) {
	b := newBench(t)
	p, _ := b.enrolled(t, ann)
	first, err := b.Check(t.Context(), ann, p.code(t, 0))
	ok(t, err)
	second, err := b.Check(t.Context(), ann, p.code(t, 0)) // looking does not use it up
	ok(t, err)
	if first.Factor != authn.FactorTOTP || first.User != ann.Key || first.ID != p.id {
		t.Errorf("%+v", first)
	}
	ok(t, b.Accept(t.Context(), first))
	want(t, b.Accept(t.Context(), second), authn.BadCredentials, "code_replayed")
	want(t, b.check(t, ann, p.code(t, 0)), authn.BadCredentials, "code_replayed")
	want(t, b.check(t, ann, p.code(t, -1)), authn.BadCredentials, "code_replayed") // time does not run backwards
	ok(t, b.signIn(t, ann, p.code(t, 1)))

	used := p.code(t, 1)
	b.now = b.now.Add(time.Hour)
	for range 10 { // a tool left open sends it again; no guess, so it is not counted
		want(t, b.check(t, ann, used), authn.BadCredentials, "code_replayed")
	}
	ok(t, b.signIn(t, ann, p.code(t, 0)))
}

func TestEveryDeviceOfAUserCounts(t *testing.T) {
	b := newBench(t)
	p, recovery := b.enrolled(t, ann)
	q, none := b.enrolled(t, ann)
	if len(recovery) != 10 || len(none) != 0 {
		t.Errorf("%d codes with the first device and %d with the second, want 10 and 0", len(recovery), len(none))
	}
	ok(t, b.signIn(t, ann, p.code(t, 0)))
	ok(t, b.signIn(t, ann, q.code(t, 0)))
	want(t, b.check(t, bob, q.code(t, 1)), authn.BadCredentials, "wrong_code")
	for range mfa.MaxDevices - 2 {
		b.enrolled(t, ann)
	}
	_, err := b.Enrol(t.Context(), ann)
	want(t, err, authn.Locked, "too_many_devices")
}

func TestWrongCodesAreThrottled(t *testing.T) {
	b := newBench(t)
	p, recovery := b.enrolled(t, ann)
	for range 3 {
		want(t, b.check(t, ann, p.code(t, 7)), authn.BadCredentials, "wrong_code")
	}
	want(t, b.check(t, ann, p.code(t, 0)), authn.Locked, "throttled")
	want(t, b.check(t, ann, recovery[0].Reveal()), authn.Locked, "throttled") // one count for all kinds of code
	b.Service = b.node(t)                                                     // a restart, or another node, or another door
	want(t, b.check(t, ann, p.code(t, 0)), authn.Locked, "throttled")
	want(t, b.check(t, bob, p.code(t, 0)), authn.BadCredentials, "wrong_code") // nobody else is blocked

	b.now = b.now.Add(30 * time.Second)
	ok(t, b.check(t, ann, p.code(t, 0))) // a right code with a wrong password: the count stays
	if n := b.failures(t, ann); n != 3 {
		t.Errorf("%d failures after a code that was only looked at, want 3", n)
	}
	ok(t, b.signIn(t, ann, p.code(t, 0))) // the whole sign-in succeeds: forgotten
	if n := b.failures(t, ann); n != 0 {
		t.Errorf("%d failures after a sign-in, want 0", n)
	}
}

func TestAnAttemptIsCountedBeforeItIsVerified(t *testing.T) {
	b := newBench(t)
	p, _ := b.enrolled(t, ann)
	counted := -1
	b.ring.opening = func() { counted = b.failures(t, ann) }
	ok(t, b.check(t, ann, p.code(t, 0)))
	if counted != 1 {
		t.Errorf("%d attempts were counted while the code was compared, want 1", counted)
	}
	if n := b.failures(t, ann); n != 0 {
		t.Errorf("%d counted after a right code, want 0", n)
	}
}

func TestRecoveryCodes(t *testing.T) {
	b := newBench(t)
	_, recovery := b.enrolled(t, ann)
	ok(t, b.signIn(t, ann, recovery[0].Reveal()))
	want(t, b.check(t, ann, recovery[0].Reveal()), authn.BadCredentials, "code_replayed")
	ok(t, b.signIn(t, ann, strings.ToLower(strings.ReplaceAll(recovery[1].Reveal(), "-", ""))))
	want(t, b.check(t, bob, recovery[2].Reveal()), authn.BadCredentials, "wrong_code")
	want(t, b.check(t, ann, "BCDF-GHJK-LMNP-QRST-VWXZ"), authn.BadCredentials, "wrong_code")

	first, err := b.Check(t.Context(), ann, recovery[3].Reveal())
	ok(t, err)
	if first.Factor != authn.FactorRecovery {
		t.Errorf("%+v", first)
	}
	ok(t, b.Accept(t.Context(), first))
	want(t, b.Accept(t.Context(), first), authn.BadCredentials, "code_replayed")
	if n, err := b.RecoveryLeft(t.Context(), ann); err != nil || n != 7 {
		t.Errorf("%d left, %v; want 7", n, err)
	}
}

func TestResetRemovesEverything(t *testing.T) {
	b := newBench(t)
	p, recovery := b.enrolled(t, ann)
	q, _ := b.enrolled(t, bob)
	for range 3 {
		_ = b.check(t, ann, "000000")
	}
	if n, err := b.Reset(t.Context(), ann); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	want(t, b.check(t, ann, p.code(t, 0)), authn.BadCredentials, "wrong_code")
	want(t, b.check(t, ann, recovery[0].Reveal()), authn.BadCredentials, "wrong_code")
	ok(t, b.signIn(t, bob, q.code(t, 0)))
	if _, again := b.enrolled(t, ann); len(again) != 10 {
		t.Error("no new recovery codes after a reset")
	}
}

// A secret that was moved to another user's row, or to another device's, opens nothing.
func TestSealedSecretsCannotBeMoved(t *testing.T) {
	b := newBench(t)
	p, _ := b.enrolled(t, bob)
	rows, err := b.store.Devices(t.Context(), bob.Key)
	ok(t, err)
	for id, user := range map[string]authn.ITUser{"moved": ann, "copied": bob} {
		d := rows[0]
		d.ID, d.User = id, user.Key
		ok(t, b.store.AddDevice(t.Context(), d))
		_, _, err = b.store.ConfirmDevice(t.Context(), d, nil)
		ok(t, err)
	}
	want(t, b.check(t, ann, p.code(t, 0)), authn.Unavailable, "factor_unopenable")
	if n := b.failures(t, ann); n != 0 {
		t.Errorf("what could not be verified was counted: %d", n)
	}
	ok(t, b.signIn(t, bob, p.code(t, 0))) // bob's own device still works, and no code is good twice
	want(t, b.check(t, bob, p.code(t, 0)), authn.BadCredentials, "code_replayed")
	want(t, b.check(t, bob, p.code(t, 9)), authn.BadCredentials, "wrong_code")
	if n := b.failures(t, bob); n != 1 {
		t.Errorf("%d counted beside a broken device, want 1", n)
	}
}

// The same, with the row's id kept: only the user in the row is another one.
func TestASecretIsBoundToItsUser(t *testing.T) {
	b := newBench(t)
	p, _ := b.enrolled(t, bob)
	rows, err := b.store.Devices(t.Context(), bob.Key)
	ok(t, err)
	_, err = b.Reset(t.Context(), bob)
	ok(t, err)
	moved := rows[0]
	moved.User = ann.Key
	ok(t, b.store.AddDevice(t.Context(), moved))
	_, _, err = b.store.ConfirmDevice(t.Context(), moved, nil)
	ok(t, err)
	want(t, b.check(t, ann, p.code(t, 0)), authn.Unavailable, "factor_unopenable")
}

func TestWithoutTheStoreNoCodeIsRight(t *testing.T) {
	b := newBench(t)
	p, _ := b.enrolled(t, ann)
	proof, err := b.Check(t.Context(), ann, p.code(t, 0))
	ok(t, err)
	ok(t, b.store.Close())
	want(t, b.check(t, ann, p.code(t, 0)), authn.Unavailable, "store_unavailable")
	want(t, b.Accept(t.Context(), proof), authn.Unavailable, "store_unavailable")
	_, err = b.Enrol(t.Context(), ann)
	want(t, err, authn.Unavailable, "store_unavailable")
}

func TestAProofOfAnotherKindIsABug(t *testing.T) {
	b := newBench(t)
	want(t, b.Accept(t.Context(), authn.FactorProof{User: ann.Key}), authn.Internal, "unknown_factor")
}

// Neither the secret nor a code is in what is written to disk.
func TestSecretsAreNotOnDisk(t *testing.T) {
	b := newBench(t)
	p, recovery := b.enrolled(t, ann)
	code := p.code(t, 0)
	ok(t, b.signIn(t, ann, code))
	raw, err := base32.StdEncoding.DecodeString(p.secret)
	ok(t, err)
	canaries := [][]byte{raw, []byte(p.secret), []byte(code)}
	for _, r := range recovery {
		canaries = append(canaries, []byte(r.Reveal()), []byte(strings.ReplaceAll(r.Reveal(), "-", "")))
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	ok(t, err)
	found := false
	for _, file := range files {
		content, err := os.ReadFile(file)
		ok(t, err)
		found = found || bytes.Contains(content, []byte(p.id)) // the row itself is there
		for _, canary := range canaries {
			if bytes.Contains(content, canary) {
				t.Errorf("%s holds %q", file, canary)
			}
		}
	}
	if !found {
		t.Error("nothing was written")
	}
}

func TestConfigIsChecked(t *testing.T) {
	b := newBench(t)
	good := b.Config
	for _, change := range []func(*mfa.Config){
		func(c *mfa.Config) { c.Store = nil }, func(c *mfa.Config) { c.Sealer = nil }, func(c *mfa.Config) { c.Throttle = nil },
		func(c *mfa.Config) { c.Now = nil }, func(c *mfa.Config) { c.Issuer = " " }, func(c *mfa.Config) { c.Issuer = "a:b" },
	} {
		c := good
		change(&c)
		if _, err := mfa.New(c); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}
