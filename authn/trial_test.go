package authn_test

import (
	"context"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// TestTrialsForetellSignIns: with the right password a trial ends as the sign-in then does, and leaves nothing behind.
func TestTrialsForetellSignIns(t *testing.T) {
	for name, test := range map[string]struct {
		user, password string
		change         func(*bench)
		proven         string // how the password fared
		ends           string
	}{
		"granted":        {"ann", "pw-ann", nil, "ok", "ok"},
		"code":           {"bob", "pw-bob", nil, "ok", "code_missing"},
		"no IT user":     {"una", "pw-una", nil, "ok", "no_it_user"},
		"inactive":       {"ida", "pw-ida", nil, "ok", "it_user_inactive"},
		"wrong password": {"ann", "wrong", nil, "wrong_password", "wrong_password"},
		"unknown":        {"eve", "wrong", nil, "unknown_user", "unknown_user"},
		"malformed":      {" ann", "pw-ann", nil, "malformed_username", "malformed_username"},
		"empty":          {"ann", "", nil, "empty_password", "empty_password"},
		"blocked": {"ann", "pw-ann", func(b *bench) {
			b.attempts.kept["subject:corp:s-ann"] = authn.Attempts{Failures: 3, LastFailure: b.now, BlockedUntil: b.now.Add(time.Minute)}
		}, "throttled", "throttled"},
		"source silent": {"ann", "pw-ann", func(b *bench) {
			b.source.findErr = &authn.Error{Kind: authn.Unavailable, Reason: "directory_silent"}
		}, "directory_silent", "directory_silent"},
		"a bug": {"ann", "pw-ann", func(b *bench) {
			b.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) { panic("bug") }
		}, "panic", "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if test.change != nil {
				test.change(b)
			}
			kept := b.attempts.failures("subject:corp:s-ann")
			call := b.call(test.user, test.password)
			told := b.Try(t.Context(), call, []authn.Environment{call.Environment})
			if reason(told.Err) != test.proven || len(told.Outcomes) != 1 || reason(told.Outcomes[0].Err) != test.ends {
				t.Errorf("%v, %+v", told.Err, told.Outcomes)
			}
			if len(b.users.linked)+len(b.journal.all) != 0 || b.attempts.failures("subject:corp:s-ann") != kept || b.attempts.failures("name:corp:eve") != 0 {
				t.Error("something was linked, recorded or counted")
			}
			if test.proven == "panic" {
				return
			}
			_, err := b.SignIn(t.Context(), call)
			if reason(err) != test.ends {
				t.Errorf("the sign-in: %v", err)
			}
		})
	}
}

func reason(err error) string {
	if err == nil {
		return "ok"
	}
	return authn.ReasonOf(err)
}

// TestTrialsAreNoWayToGuess: wrong passwords are limited as sign-ins are, by a count that blocks trials alone.
func TestTrialsAreNoWayToGuess(t *testing.T) {
	b := newBench(t)
	try := func(password string) string { return reason(b.Try(t.Context(), b.call("ann", password), nil).Err) }
	for _, want := range []string{"wrong_password", "wrong_password", "wrong_password", "throttled"} {
		if got := try("wrong"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := try("pw-ann"); got != "throttled" || b.source.binds != 3 {
		t.Errorf("%s after %d binds", got, b.source.binds)
	}
	if _, err := b.SignIn(t.Context(), b.call("ann", "pw-ann")); err != nil {
		t.Errorf("trials keep ann out: %v", err)
	}
}

// TestAServiceTakesOverWhatWasRefused by the one before it, and the throttle takes attempts in turn with the one before it.
func TestAServiceTakesOverWhatWasRefused(t *testing.T) {
	b := newBench(t)
	_, err := b.SignIn(t.Context(), b.call("ann", "wrong"))
	wantError(t, err, authn.BadCredentials, "wrong_password")
	c := b.Config
	c.Before = b.Service
	next, err := authn.NewService(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = next.SignIn(t.Context(), b.call("ann", "wrong"))
	wantError(t, err, authn.BadCredentials, "repeated_password")
	if next.Before != nil {
		t.Error("the service before is kept")
	}

	attempt, err := c.Throttle.Begin(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Throttle.With(authn.DefaultSteps(), time.Hour).Begin(ctx, "key"); reason(err) != "throttle_wait" {
		t.Errorf("two attempts at once: %v", err)
	}
	if err := attempt.Abandoned(t.Context()); err != nil {
		t.Error(err)
	}
}
