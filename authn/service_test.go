package authn_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func TestSignInGranted(t *testing.T) {
	b := newBench(t)
	got, err := b.signIn(t, "ann", "pw-ann")
	if err != nil {
		t.Fatal(err)
	}
	if got.User.UserID != 42 || got.Identity.Subject != "s-ann" || !got.User.Linked {
		t.Errorf("got %+v", got)
	}
	if b.users.linked["s-ann"] != "ann" {
		t.Error("the first sign-in did not link")
	}
	want := authn.Decision{
		ID: "c1", Time: b.now, Method: "credentials", Environment: "production", Username: "ann", Provider: "corp",
		Subject: "s-ann", ITUser: "ann", Kind: authn.OK, Factors: []string{"password"}, Source: b.call("", "").Source,
	}
	if d := b.journal.last(t); !reflect.DeepEqual(d, want) {
		t.Errorf("recorded %+v\nwant     %+v", d, want)
	}
	if b.attempts.writes != 0 {
		t.Errorf("a clean sign-in wrote %d attempts, want none", b.attempts.writes)
	}
}

func TestSignInWithCode(t *testing.T) {
	b := newBench(t)
	got, err := b.signIn(t, "bob", "pw-bob123456")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Identity.Factors, []string{"password", "totp"}) {
		t.Errorf("factors %v", got.Identity.Factors)
	}
	if b.source.verified[0] != "pw-bob" {
		t.Errorf("the code reached the directory: %q", b.source.verified[0])
	}
	b.refused(t, "bob", "pw-bob123456", authn.BadCredentials, "code_replayed")
}

// TestRefusals has a row for every kind a password sign-in can end in, and for every reason the core itself gives.
func TestRefusals(t *testing.T) {
	cases := []struct {
		name, user, password string
		policy               authn.FactorPolicy
		kind                 authn.Kind
		reason               string
		binds, failures      int
	}{
		{"unknown user", "eve", "x", "", authn.BadCredentials, "unknown_user", 0, 1},
		{"wrong password", "ann", "x", "", authn.BadCredentials, "wrong_password", 1, 1},
		{"wrong code costs no bind", "bob", "pw-bob000000", "", authn.BadCredentials, "wrong_code", 0, 0},
		{"right code, wrong password", "bob", "nope123456", "", authn.BadCredentials, "wrong_password", 1, 1},
		{"code missing", "bob", "pw-bob", "", authn.CodeRequired, "code_missing", 1, 0},
		{"code missing, wrong password", "bob", "nope", "", authn.BadCredentials, "wrong_password", 1, 1},
		{"policy wants a factor", "ann", "pw-ann", authn.FactorRequired, authn.NotEnrolled, "factor_required", 1, 0},
		{"policy wants a factor, wrong password", "ann", "x", authn.FactorRequired, authn.BadCredentials, "wrong_password", 1, 1},
		{"no IT user", "una", "pw-una", "", authn.NotMapped, "no_it_user", 1, 0},
		{"no IT user, wrong password", "una", "x", "", authn.BadCredentials, "wrong_password", 1, 1},
		{"inactive IT user", "ida", "pw-ida", "", authn.NotMapped, "it_user_inactive", 1, 0},
		{"no id on the environment", "leo", "pw-leo", "", authn.NotMapped, "no_id_on_environment", 1, 0},
		{"empty password", "ann", "", "", authn.BadCredentials, "empty_password", 0, 0},
		{"NUL in the password", "ann", "pw\x00", "", authn.BadCredentials, "malformed_password", 0, 0},
		{"replacement character", "ann", "pw\ufffd", "", authn.BadCredentials, "malformed_password", 0, 0},
		{"not UTF-8", "ann", "pw\xff", "", authn.BadCredentials, "malformed_password", 0, 0},
		{"password too long", "ann", strings.Repeat("x", 1025), "", authn.BadCredentials, "password_too_long", 0, 0},
		{"empty name", "", "x", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"space around the name", "ann ", "pw-ann", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"NUL in the name", "ann\x00", "pw-ann", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"zero-width space", "an\u200bn", "pw-ann", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"right-to-left mark", "ann\u200f", "pw-ann", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"decomposed accent", "jose\u0301", "x", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"name not UTF-8", "ann\xff", "x", "", authn.BadCredentials, "malformed_username", 0, 0},
		{"name too long", strings.Repeat("a", 257), "x", "", authn.BadCredentials, "malformed_username", 0, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if c.policy != "" {
				b.policy = c.policy
			}
			b.refused(t, c.user, c.password, c.kind, c.reason)
			if b.source.binds != c.binds {
				t.Errorf("%d binds, want %d", b.source.binds, c.binds)
			}
			total := 0
			for _, a := range b.attempts.kept {
				total += a.Failures
			}
			if total != c.failures {
				t.Errorf("%d failed attempts counted, want %d", total, c.failures)
			}
			if b.factors.used || len(b.users.linked) != 0 {
				t.Error("a refused sign-in used a code up or linked a user")
			}
		})
	}
}

// A source's kinds pass through unchanged; only BadCredentials counts, and nothing a source says becomes a success.
func TestKindsOfTheSource(t *testing.T) {
	for _, kind := range authn.Kinds() {
		for _, step := range []string{"find", "verify"} {
			t.Run(fmt.Sprint(step, " ", kind), func(t *testing.T) {
				b := newBench(t)
				cause := &authn.Error{Kind: kind, Reason: "from_source"}
				if step == "find" {
					b.source.findErr = cause
				} else {
					b.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) {
						return authn.Identity{}, cause
					}
				}
				b.refused(t, "ann", "pw-ann", kind, "from_source")
				counted := b.attempts.failures("subject:corp:s-ann") + b.attempts.failures("name:corp:ann")
				if want := btoi(kind == authn.BadCredentials); counted != want {
					t.Errorf("counted %d, want %d", counted, want)
				}
			})
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestForeignErrorIsInternal(t *testing.T) {
	b := newBench(t)
	b.source.findErr = errors.New("surprise")
	b.refused(t, "ann", "pw-ann", authn.Internal, "internal")
}

func TestThrottleBlocksBeforeTheBind(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		b.refused(t, "ann", fmt.Sprint("guess", i), authn.BadCredentials, "wrong_password")
	}
	b.refused(t, "ann", "pw-ann", authn.Locked, "throttled")
	b.refused(t, "ANN", "pw-ann", authn.Locked, "throttled") // another spelling meets the same throttle
	if b.source.binds != 3 {
		t.Errorf("%d binds, want 3", b.source.binds)
	}
	b.now = b.now.Add(31 * time.Second)
	if _, err := b.signIn(t, "ann", "pw-ann"); err != nil {
		t.Errorf("after the block: %v", err)
	}
	if n := b.attempts.failures("subject:corp:s-ann"); n != 0 {
		t.Errorf("%d failures left after a sign-in", n)
	}
}

func TestThrottleOfUnknownNames(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.refused(t, "Eve", "x", authn.BadCredentials, "unknown_user")
	}
	b.refused(t, "eve", "x", authn.Locked, "throttled")
}

func TestRepeatedPasswordCostsNothing(t *testing.T) {
	b := newBench(t)
	b.refused(t, "ann", "old", authn.BadCredentials, "wrong_password")
	for range 20 {
		b.refused(t, "ann", "old", authn.BadCredentials, "repeated_password")
	}
	if b.source.binds != 1 || b.attempts.failures("subject:corp:s-ann") != 1 {
		t.Errorf("%d binds, %d failures; want 1 and 1", b.source.binds, b.attempts.failures("subject:corp:s-ann"))
	}
	b.refused(t, "bob", "old", authn.BadCredentials, "wrong_password") // remembered per account
	b.now = b.now.Add(3 * time.Minute)
	b.refused(t, "ann", "old", authn.BadCredentials, "wrong_password") // and only for minutes
}

func TestOutageNeverCounts(t *testing.T) {
	b := newBench(t)
	b.refused(t, "ann", "x", authn.BadCredentials, "wrong_password") // so that the next attempts are reserved
	b.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) {
		return authn.Identity{}, &authn.Error{Kind: authn.Unavailable, Reason: "connection_lost"}
	}
	for i := range 10 {
		b.refused(t, "ann", fmt.Sprint("pw", i), authn.Unavailable, "connection_lost")
	}
	if n := b.attempts.failures("subject:corp:s-ann"); n != 1 {
		t.Errorf("%d failures after an outage, want the 1 from before", n)
	}
}

func TestNothingIsGrantedWithoutARecord(t *testing.T) {
	b := newBench(t)
	b.journal.down = errors.New("disk full")
	_, err := b.signIn(t, "ann", "pw-ann")
	wantError(t, err, authn.Unavailable, "audit_unavailable")
}

func TestNothingIsGrantedWithoutTheStore(t *testing.T) {
	down := errors.New("no database")
	t.Run("attempts", func(t *testing.T) {
		b := newBench(t)
		b.attempts.down = down
		b.refused(t, "ann", "pw-ann", authn.Unavailable, "store_unavailable")
		if b.source.binds != 0 {
			t.Error("a bind was made that could not be counted")
		}
	})
	t.Run("users", func(t *testing.T) {
		b := newBench(t)
		b.users.err = down
		b.refused(t, "ann", "pw-ann", authn.Unavailable, "store_unavailable")
	})
	t.Run("factors", func(t *testing.T) {
		b := newBench(t)
		b.factors.err = down
		b.refused(t, "bob", "pw-bob123456", authn.Unavailable, "store_unavailable")
	})
}

func TestCodeLostToAnotherNode(t *testing.T) {
	b := newBench(t)
	b.factors.lostRace = true
	b.refused(t, "bob", "pw-bob123456", authn.BadCredentials, "code_replayed")
}

func TestSubjectMayNotChangeBetweenFindAndVerify(t *testing.T) {
	b := newBench(t)
	b.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) {
		return authn.Identity{Provider: "corp", Subject: "s-bob"}, nil
	}
	b.refused(t, "ann", "pw-ann", authn.Untrusted, "subject_changed")
}

func TestPanicIsInternal(t *testing.T) {
	b := newBench(t)
	b.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) { panic("bug") }
	b.refused(t, "ann", "pw-ann", authn.Internal, "panic")
	if len(b.panics) != 1 {
		t.Error("the panic was not reported")
	}
	// The throttle's lock on the key must not have stayed behind.
	b.source.verify = nil
	if _, err := b.signIn(t, "ann", "pw-ann"); err != nil {
		t.Error(err)
	}
}

func TestSlowSourceIsUnavailable(t *testing.T) {
	for _, late := range []error{nil, authn.BadCredentials} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.source.verify = func(ctx context.Context, a authn.Account, _ authn.Secret) (authn.Identity, error) {
				<-ctx.Done() // and only then an answer, right or wrong
				return a.Identity, late
			}
			b.refused(t, "ann", "pw-ann", authn.Unavailable, "deadline")
			if n := b.attempts.failures("subject:corp:s-ann"); n != 0 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

func TestCallerGoneIsStillRecorded(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.SignIn(ctx, b.call("ann", "pw-ann"))
	wantError(t, err, authn.Unavailable, "caller_gone")
	if d := b.journal.last(t); d.Reason != "caller_gone" {
		t.Errorf("recorded %q", d.Reason)
	}
}

// Every refusal is answered at the same moment after arrival, whatever it took to find out; a success is not held.
func TestRefusalsAreReleasedTogether(t *testing.T) {
	logins := map[string][2]string{
		"unknown": {"eve", "x"}, "wrong": {"ann", "x"}, "code": {"bob", "pw-bob000000"}, "missing": {"bob", "pw-bob"},
		"malformed": {"ann ", "x"}, "unmapped": {"una", "pw-una"},
	}
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *authn.Config) { c.RefusalTime, c.Now = 300*time.Millisecond, time.Now })
				call := b.call(login[0], login[1])
				call.Arrived = time.Now()
				time.Sleep(10 * time.Millisecond)
				if _, err := b.SignIn(t.Context(), call); err == nil {
					t.Fatal("granted")
				}
				if took := time.Since(call.Arrived); took != 300*time.Millisecond {
					t.Errorf("answered after %v", took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *authn.Config) { c.RefusalTime, c.Now = 300*time.Millisecond, time.Now })
		call := b.call("ann", "pw-ann")
		call.Arrived = time.Now()
		if _, err := b.SignIn(t.Context(), call); err != nil || time.Since(call.Arrived) != 0 {
			t.Errorf("%v after %v", err, time.Since(call.Arrived))
		}
	})
}

func TestModuleEnvironmentNeedsNoID(t *testing.T) {
	b := newBench(t)
	call := b.call("leo", "pw-leo")
	call.Environment.IDs = authn.IDsModule
	got, err := b.SignIn(t.Context(), call)
	if err != nil || got.User.Username != "leo" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestIntegrated(t *testing.T) {
	b := newBench(t)
	got, err := b.SignInIntegrated(t.Context(), b.call("ann", ""))
	if err != nil || got.User.UserID != 42 || !reflect.DeepEqual(got.Identity.Factors, []string{"frontend"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if d := b.journal.last(t); d.Method != "integrated" {
		t.Errorf("recorded %q", d.Method)
	}
	off := b.call("ann", "")
	off.Environment.Integrated = false
	_, err = b.SignInIntegrated(t.Context(), off)
	wantError(t, err, authn.BadCredentials, "integrated_off")
	_, err = b.SignInIntegrated(t.Context(), b.call("bob", ""))
	wantError(t, err, authn.CodeRequired, "code_missing")
	_, err = b.SignInIntegrated(t.Context(), b.call("una", ""))
	wantError(t, err, authn.NotMapped, "no_it_user")
	b.source.findErr = &authn.Error{Kind: authn.Locked, Reason: "account_disabled"}
	_, err = b.SignInIntegrated(t.Context(), b.call("ann", ""))
	wantError(t, err, authn.Locked, "account_disabled")

	none := newBench(t, func(c *authn.Config) { c.Providers[0].Lookup = nil })
	_, err = none.SignInIntegrated(t.Context(), none.call("ann", ""))
	wantError(t, err, authn.BadCredentials, "no_integrated")
}

func TestCanaryPasswordIsNowhereInErrorsOrRecords(t *testing.T) {
	const canary = "canary-4711-password"
	b := newBench(t)
	for _, user := range []string{"ann", "eve", "bob", "una"} {
		_, err := b.signIn(t, user, canary)
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", b.journal.last(t)), fmt.Sprintf("%#v", b.call(user, canary))} {
			if strings.Contains(text, canary) {
				t.Errorf("%s: the password shows in %q", user, text)
			}
		}
	}
}

// What looks like a code is part of the password of who has no factor, or is never asked for one.
func TestCodeIsTakenOffOnlyWhereOneIsAskedFor(t *testing.T) {
	b := newBench(t)
	b.source.people["ann"], b.source.people["bob"] = "secret654321", "secret123456"
	if _, err := b.signIn(t, "ann", "secret654321"); err != nil {
		t.Errorf("not enrolled: %v", err)
	}
	b.policy = authn.FactorNever
	if _, err := b.signIn(t, "bob", "secret123456"); err != nil {
		t.Errorf("never asked: %v", err)
	}
	if b.factors.checked != 0 {
		t.Errorf("%d codes were checked, want none", b.factors.checked)
	}
}

func TestLinkingHappensOnceAndMustSucceed(t *testing.T) {
	b := newBench(t)
	if _, err := b.signIn(t, "bob", "pw-bob123456"); err != nil {
		t.Fatal(err)
	}
	if len(b.users.linked) != 0 {
		t.Error("a linked account was linked again")
	}
	b.users.linkErr = &authn.Error{Kind: authn.NotMapped, Reason: "name_belongs_to_another_subject"}
	b.refused(t, "ann", "pw-ann", authn.NotMapped, "name_belongs_to_another_subject")
	b.users.linkErr = errors.New("no database")
	b.refused(t, "ann", "pw-ann", authn.Unavailable, "store_unavailable")
}

func TestIntegratedRefusesMalformedNames(t *testing.T) {
	b := newBench(t)
	_, err := b.SignInIntegrated(t.Context(), b.call("ann\u200b", ""))
	wantError(t, err, authn.BadCredentials, "malformed_username")
}

func TestAccountsMustNameTheirSource(t *testing.T) {
	b := newBench(t)
	b.source.found = func(a authn.Account) authn.Account { a.Subject = ""; return a }
	b.refused(t, "ann", "pw-ann", authn.Internal, "bad_provider")
	b = newBench(t)
	b.source.verify = func(_ context.Context, a authn.Account, _ authn.Secret) (authn.Identity, error) {
		a.Provider = "other"
		return a.Identity, nil
	}
	b.refused(t, "ann", "pw-ann", authn.Untrusted, "subject_changed")
}

// A sign-in that got through everything, but too late, is not a sign-in.
func TestSuccessAfterTheDeadlineIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.users.linking = func(ctx context.Context) { <-ctx.Done() }
		b.refused(t, "ann", "pw-ann", authn.Unavailable, "deadline")
	})
}

// An attempt that was written down before it was made is taken back although the caller has hung up meanwhile.
func TestHangingUpLeavesNoReservation(t *testing.T) {
	b := newBench(t)
	b.refused(t, "ann", "x", authn.BadCredentials, "wrong_password")
	ctx, cancel := context.WithCancel(t.Context())
	b.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) {
		cancel()
		return authn.Identity{}, authn.BadCredentials
	}
	_, err := b.SignIn(ctx, b.call("ann", "y"))
	wantError(t, err, authn.Unavailable, "caller_gone")
	if n := b.attempts.failures("subject:corp:s-ann"); n != 1 {
		t.Errorf("%d failures, want the 1 from before", n)
	}
}
