package authn_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// The core is tested against sources and stores kept in memory: what the real ones do is tested where they live, and the
// whole path in e2e.

type memoryAttempts struct {
	mu     sync.Mutex
	kept   map[string]authn.Attempts
	writes int
	tried  int
	down   error
}

func newMemoryAttempts() *memoryAttempts { return &memoryAttempts{kept: map[string]authn.Attempts{}} }

func (m *memoryAttempts) Attempts(_ context.Context, key string) (authn.Attempts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[key], m.down
}

func (m *memoryAttempts) UpdateAttempts(ctx context.Context, key string, change func(authn.Attempts) (authn.Attempts, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried++
	if m.down != nil || ctx.Err() != nil {
		return errors.Join(m.down, ctx.Err())
	}
	next, err := change(m.kept[key])
	if err != nil {
		return err
	}
	m.writes++
	if m.kept[key] = next; next == (authn.Attempts{}) {
		delete(m.kept, key)
	}
	return nil
}

func (m *memoryAttempts) failures(key string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[key].Failures
}

// source is a provider in memory; verify may be replaced by a test.
type source struct {
	mu       sync.Mutex
	people   map[string]string // name → password; the subject is "s-" + name
	binds    int
	findErr  error
	found    func(authn.Account) authn.Account
	verify   func(context.Context, authn.Account, authn.Secret) (authn.Identity, error)
	verified []string // passwords that reached the source
}

func (s *source) Find(_ context.Context, name string) (authn.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.findErr != nil {
		return authn.Account{}, s.findErr
	}
	name = strings.ToLower(name)
	if _, ok := s.people[name]; !ok {
		return authn.Account{}, &authn.Error{Kind: authn.BadCredentials, Reason: "unknown_user"}
	}
	a := authn.Account{Identity: authn.Identity{Provider: "corp", Subject: "s-" + name, Username: name}}
	if s.found != nil {
		a = s.found(a)
	}
	return a, nil
}

func (s *source) Verify(ctx context.Context, a authn.Account, p authn.Secret) (authn.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.binds++
	s.verified = append(s.verified, p.Reveal())
	if s.verify != nil {
		return s.verify(ctx, a, p)
	}
	if s.people[a.Username] != p.Reveal() {
		return authn.Identity{}, &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_password"}
	}
	id := a.Identity
	id.Factors = []string{authn.FactorPassword}
	return id, nil
}

// users maps subjects to IT users.
type users struct {
	bySubject map[string]authn.ITUser
	linked    map[string]string // subject → IT user's name
	err       error
	linkErr   error
	linking   func(context.Context)
}

func (u *users) Find(_ context.Context, a authn.Account, _ string) (authn.ITUser, error) {
	if u.err != nil {
		return authn.ITUser{}, u.err
	}
	user, ok := u.bySubject[a.Subject]
	if !ok {
		return authn.ITUser{}, &authn.Error{Kind: authn.NotMapped, Reason: "no_it_user"}
	}
	return user, nil
}

func (u *users) Link(ctx context.Context, id authn.Identity, user authn.ITUser) error {
	if u.linking != nil {
		u.linking(ctx)
	}
	if u.linkErr != nil {
		return u.linkErr
	}
	u.linked[id.Subject] = user.Username
	return nil
}

// factors knows one right code, 123456, good for once.
type factors struct {
	used     bool
	lostRace bool
	checked  int
	err      error
}

func (f *factors) Split(typed authn.Secret) (authn.Secret, string, bool) {
	if len(typed) < 7 {
		return typed, "", false
	}
	code := string(typed[len(typed)-6:])
	if strings.Trim(code, "0123456789") != "" {
		return typed, "", false
	}
	return typed[:len(typed)-6], code, true
}

func (f *factors) Check(_ context.Context, u authn.ITUser, code string) (authn.FactorProof, error) {
	f.checked++
	switch {
	case f.err != nil:
		return authn.FactorProof{}, f.err
	case f.used:
		return authn.FactorProof{}, &authn.Error{Kind: authn.BadCredentials, Reason: "code_replayed"}
	case code != "123456":
		return authn.FactorProof{}, &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_code"}
	}
	return authn.FactorProof{User: u.Key, Factor: authn.FactorTOTP}, nil
}

func (f *factors) Accept(context.Context, authn.FactorProof) error {
	if f.used || f.lostRace {
		return &authn.Error{Kind: authn.BadCredentials, Reason: "code_replayed"}
	}
	f.used = true
	return nil
}

type journal struct {
	mu   sync.Mutex
	all  []authn.Decision
	down error
}

func (j *journal) Record(ctx context.Context, d authn.Decision) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return j.down
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	j.all = append(j.all, d)
	return nil
}

func (j *journal) last(t *testing.T) authn.Decision {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.all) == 0 {
		t.Fatal("nothing was recorded")
	}
	return j.all[len(j.all)-1]
}

// bench is a Service with everything it stands on within reach.
type bench struct {
	*authn.Service
	source   *source
	users    *users
	factors  *factors
	attempts *memoryAttempts
	journal  *journal
	policy   authn.FactorPolicy
	now      time.Time
	panics   []string
}

// newBench has ann (password only), bob (with a second factor), ida (inactive), leo (no id here) and una (no IT user).
func newBench(t *testing.T, change ...func(*authn.Config)) *bench {
	b := &bench{
		source: &source{people: map[string]string{"ann": "pw-ann", "bob": "pw-bob", "ida": "pw-ida", "leo": "pw-leo", "una": "pw-una"}},
		users: &users{linked: map[string]string{}, bySubject: map[string]authn.ITUser{
			"s-ann": {Key: "k-ann", Username: "ann", Active: true, UserID: 42},
			"s-bob": {Key: "k-bob", Username: "bob", Active: true, UserID: 43, Linked: true, Enrolled: true},
			"s-ida": {Key: "k-ida", Username: "ida", UserID: 44, Linked: true},
			"s-leo": {Key: "k-leo", Username: "leo", Active: true, Linked: true},
		}},
		factors: &factors{}, attempts: newMemoryAttempts(), journal: &journal{}, policy: authn.FactorEnrolled,
		now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
	}
	clock := func() time.Time { return b.now }
	c := authn.Config{
		Providers: []authn.Provider{b.provider()}, Default: "corp", Users: b.users, Factors: b.factors,
		Policy:   func(authn.Identity) authn.FactorPolicy { return b.policy },
		Throttle: authn.NewThrottle(b.attempts, authn.DefaultSteps(), authn.DefaultWindow, clock),
		Auditor:  b.journal, RefusalTime: -1, Now: clock,
		Panicked: func(_ string, v any, _ []byte) { b.panics = append(b.panics, "bug") },
	}
	for _, f := range change {
		f(&c)
	}
	s, err := authn.NewService(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Service = s
	return b
}

func (b *bench) provider() authn.Provider {
	return authn.Provider{
		ID: "corp", Password: b.source,
		Match: func(n string) (string, bool) { return n, false },
		Check: func(context.Context) error { return nil },
		Lookup: func(ctx context.Context, n string) (authn.Identity, error) {
			a, err := b.source.Find(ctx, n)
			return a.Identity, err
		},
	}
}

func (b *bench) call(user, password string) authn.Call {
	return authn.Call{
		ID: "c1", Environment: authn.Environment{Name: "production", Integrated: true}, Username: user,
		Password: authn.Secret(password), Source: netip.MustParseAddr("192.0.2.7"), Arrived: b.now,
	}
}

func (b *bench) signIn(t *testing.T, user, password string) (authn.Result, error) {
	t.Helper()
	return b.SignIn(t.Context(), b.call(user, password))
}

// refused asserts kind and reason, of the answer and of the record alike.
func (b *bench) refused(t *testing.T, user, password string, kind authn.Kind, reason string) {
	t.Helper()
	_, err := b.signIn(t, user, password)
	wantError(t, err, kind, reason)
	if d := b.journal.last(t); d.Kind != kind || d.Reason != reason {
		t.Errorf("recorded %v (%s), want %v (%s)", d.Kind, d.Reason, kind, reason)
	}
}

func wantError(t *testing.T, err error, kind authn.Kind, reason string) {
	t.Helper()
	if authn.KindOf(err) != kind || authn.ReasonOf(err) != reason {
		t.Errorf("got %v (%s), want %v (%s): %v", authn.KindOf(err), authn.ReasonOf(err), kind, reason, err)
	}
}
