// Package authntest holds the contract tests that every provider and every attempt store must pass.
package authntest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Login is a user of the source under test.
type Login struct{ Username, Password string }

// PasswordFixture is a working source with known users. Every field is required.
type PasswordFixture struct {
	ProviderID string
	Provider   authn.PasswordProvider
	Good       []Login                // at least two users, whose passwords differ and who may sign in
	Locked     Login                  // a user with the right password, whom the source forbids
	Dead       authn.PasswordProvider // the same, configured against a source that never answers
}

// TestPasswordProvider runs the contract of authn.PasswordProvider against a source.
func TestPasswordProvider(t *testing.T, f PasswordFixture) {
	t.Run("right password", f.rightPassword)
	t.Run("subject is stable", f.stableSubject)
	t.Run("wrong password", f.wrongPassword)
	t.Run("empty or malformed password", f.malformedPassword)
	t.Run("unknown user", f.unknownUser)
	t.Run("names are literal", f.literalNames)
	t.Run("locked", f.locked)
	t.Run("silent source", f.silent)
	t.Run("parallel sign-ins never swap identities", f.parallel)
}

func (f PasswordFixture) signIn(ctx context.Context, l Login) (authn.Identity, error) {
	account, err := f.Provider.Find(ctx, l.Username)
	if err != nil {
		return authn.Identity{}, err
	}
	return f.Provider.Verify(ctx, account, authn.Secret(l.Password))
}

func (f PasswordFixture) rightPassword(t *testing.T) {
	for _, l := range f.Good {
		id, err := f.signIn(t.Context(), l)
		if err != nil {
			t.Fatalf("%s: %v", l.Username, err)
		}
		if id.Provider != f.ProviderID || id.Subject == "" || id.Username == "" {
			t.Errorf("%s: incomplete identity %+v", l.Username, id)
		}
		if len(id.Factors) != 1 || id.Factors[0] != authn.FactorPassword {
			t.Errorf("%s: factors %v, want [password]", l.Username, id.Factors)
		}
	}
}

func (f PasswordFixture) stableSubject(t *testing.T) {
	seen := map[string]string{}
	for _, l := range f.Good {
		account, err := f.Provider.Find(t.Context(), l.Username)
		if err != nil {
			t.Fatal(err)
		}
		if len(account.Factors) != 0 {
			t.Errorf("an account that nobody proved has factors %v", account.Factors)
		}
		id, err := f.signIn(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if id.Subject != account.Subject {
			t.Errorf("found subject %q, verified %q", account.Subject, id.Subject)
		}
		if other, ok := seen[id.Subject]; ok {
			t.Errorf("%s and %s share subject %q", other, l.Username, id.Subject)
		}
		seen[id.Subject] = l.Username
	}
}

func (f PasswordFixture) wrongPassword(t *testing.T) {
	l := f.Good[0]
	for _, wrong := range []string{l.Password + "x", f.Good[1].Password, " " + l.Password, l.Password + " "} {
		_, err := f.signIn(t.Context(), Login{l.Username, wrong})
		wantKind(t, err, authn.BadCredentials)
	}
	if _, err := f.signIn(t.Context(), l); err != nil {
		t.Errorf("right password after wrong ones: %v", err)
	}
}

func (f PasswordFixture) malformedPassword(t *testing.T) {
	account, err := f.Provider.Find(t.Context(), f.Good[0].Username)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []authn.Secret{"", "a\x00b", "\x00"} {
		_, err := f.Provider.Verify(t.Context(), account, p)
		wantKind(t, err, authn.BadCredentials)
	}
}

func (f PasswordFixture) unknownUser(t *testing.T) {
	_, err := f.Provider.Find(t.Context(), "nobody-of-that-name")
	wantKind(t, err, authn.BadCredentials)
}

// literalNames are filters and DN pieces: as names they find nobody.
func (f PasswordFixture) literalNames(t *testing.T) {
	u := f.Good[0].Username
	for _, name := range []string{"*", u[:1] + "*", u + "*", "*)(uid=*", u + ")(|(uid=*", `\2a`, "uid=" + u, u + "\x00", "(" + u + ")", ""} {
		_, err := f.Provider.Find(t.Context(), name)
		wantKind(t, err, authn.BadCredentials)
	}
}

func (f PasswordFixture) locked(t *testing.T) {
	_, err := f.signIn(t.Context(), f.Locked)
	wantKind(t, err, authn.Locked)
}

func (f PasswordFixture) silent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := f.Dead.Find(ctx, f.Good[0].Username)
	wantKind(t, err, authn.Unavailable)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("came back after %v, the deadline was 500ms", took)
	}
}

func (f PasswordFixture) parallel(t *testing.T) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range 1000 {
		l, wrong := f.Good[i%len(f.Good)], i%5 == 4
		if wrong {
			l.Password = strings.Repeat("no", 5)
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			id, err := f.signIn(t.Context(), l)
			switch {
			case wrong && authn.KindOf(err) != authn.BadCredentials:
				t.Errorf("%s with a wrong password: %v", l.Username, err)
			case !wrong && err != nil:
				t.Errorf("%s: %v", l.Username, err)
			case !wrong && !strings.EqualFold(id.Username, l.Username):
				t.Errorf("%s signed in as %s", l.Username, id.Username)
			}
		})
	}
	wg.Wait()
}

func wantKind(t *testing.T, err error, want authn.Kind) {
	t.Helper()
	if got := authn.KindOf(err); got != want {
		t.Errorf("kind %v, want %v (%v)", got, want, err)
	}
}

// TestAttemptStore runs the contract of authn.AttemptStore. Open must return a handle on the same rows each time, as two
// nodes would have.
func TestAttemptStore(t *testing.T, open func(*testing.T) authn.AttemptStore) {
	t.Run("nothing kept", func(t *testing.T) {
		a, err := open(t).Attempts(t.Context(), "nobody")
		if err != nil || a != (authn.Attempts{}) {
			t.Errorf("got %+v, %v", a, err)
		}
	})
	t.Run("kept, seen by another node, removed", func(t *testing.T) { keepAttempts(t, open) })
	t.Run("a change that fails changes nothing", func(t *testing.T) { failedChange(t, open(t)) })
	t.Run("50 at once lose no count", func(t *testing.T) { raceAttempts(t, open(t), open(t)) })
}

func keepAttempts(t *testing.T, open func(*testing.T) authn.AttemptStore) {
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	want := authn.Attempts{Failures: 4, LastFailure: at, BlockedUntil: at.Add(time.Minute)}
	set := func(a authn.Attempts) func(authn.Attempts) (authn.Attempts, error) {
		return func(authn.Attempts) (authn.Attempts, error) { return a, nil }
	}
	must(t, open(t).UpdateAttempts(t.Context(), "keep", set(want)))
	got, err := open(t).Attempts(t.Context(), "keep")
	must(t, err)
	if got.Failures != 4 || !got.LastFailure.Equal(at) || !got.BlockedUntil.Equal(want.BlockedUntil) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	must(t, open(t).UpdateAttempts(t.Context(), "keep", set(authn.Attempts{})))
	if got, err = open(t).Attempts(t.Context(), "keep"); err != nil || got != (authn.Attempts{}) {
		t.Errorf("after removal: %+v, %v", got, err)
	}
}

func failedChange(t *testing.T, s authn.AttemptStore) {
	err := s.UpdateAttempts(t.Context(), "fail", func(a authn.Attempts) (authn.Attempts, error) {
		a.Failures = 9
		return a, authn.Locked
	})
	wantKind(t, err, authn.Locked)
	if a, err := s.Attempts(t.Context(), "fail"); err != nil || a != (authn.Attempts{}) {
		t.Errorf("got %+v, %v", a, err)
	}
}

func raceAttempts(t *testing.T, nodes ...authn.AttemptStore) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			err := nodes[i%len(nodes)].UpdateAttempts(t.Context(), "race", func(a authn.Attempts) (authn.Attempts, error) {
				a.Failures++
				return a, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, err := nodes[0].Attempts(t.Context(), "race"); err != nil || a.Failures != 50 {
		t.Errorf("got %+v, %v; want 50 failures", a, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
