package authn_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// TestExplainForetellsSignIns: whatever the state of things, what it says of a user is what a sign-in with the right
// password then meets.
func TestExplainForetellsSignIns(t *testing.T) {
	blocked := func(key string) func(*bench) {
		return func(b *bench) {
			b.attempts.kept[key] = authn.Attempts{Failures: 3, LastFailure: b.now, BlockedUntil: b.now.Add(30 * time.Second)}
		}
	}
	for name, test := range map[string]struct {
		user   string
		change func(*bench)
		kind   authn.Kind
		reason string
	}{
		"granted":          {"ann", nil, authn.OK, "ok"},
		"code":             {"bob", nil, authn.CodeRequired, "code_missing"},
		"code never":       {"bob", func(b *bench) { b.policy = authn.FactorNever }, authn.OK, "ok"},
		"factor required":  {"ann", func(b *bench) { b.policy = authn.FactorRequired }, authn.NotEnrolled, "factor_required"},
		"inactive":         {"ida", nil, authn.NotMapped, "it_user_inactive"},
		"no id":            {"leo", nil, authn.NotMapped, "no_id_on_environment"},
		"no IT user":       {"una", nil, authn.NotMapped, "no_it_user"},
		"unknown":          {"eve", nil, authn.BadCredentials, "unknown_user"},
		"malformed":        {" ann", nil, authn.BadCredentials, "malformed_username"},
		"throttled":        {"una", blocked("subject:corp:s-una"), authn.Locked, "throttled"},
		"unknown, blocked": {"eve", blocked("name:corp:eve"), authn.Locked, "throttled"},
		"source silent": {"ann", func(b *bench) {
			b.source.findErr = &authn.Error{Kind: authn.Unavailable, Reason: "directory_silent"}
		}, authn.Unavailable, "directory_silent"},
		"store down": {"ann", func(b *bench) { b.attempts.down = context.DeadlineExceeded }, authn.Unavailable, "store_unavailable"},
		"IT users down": {"ann", func(b *bench) { b.users.err = context.DeadlineExceeded }, authn.Unavailable,
			"store_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if test.change != nil {
				test.change(b)
			}
			call := b.call(test.user, "pw-"+test.user)
			told := b.Explain(t.Context(), test.user, []authn.Environment{call.Environment})
			if n := b.source.binds + b.attempts.tried + len(b.users.linked) + len(b.journal.all); n != 0 {
				t.Error("something was tried, counted, linked or recorded")
			}
			if len(told.Outcomes) != 2 || told.Outcomes[1].Method != authn.MethodIntegrated {
				t.Fatalf("%+v", told.Outcomes)
			}
			wantError(t, told.Outcomes[0].Err, test.kind, test.reason)
			_, err := b.SignIn(t.Context(), call)
			wantError(t, err, test.kind, test.reason)
			_, err = b.SignInIntegrated(t.Context(), call)
			wantError(t, told.Outcomes[1].Err, authn.KindOf(err), authn.ReasonOf(err))
		})
	}
}

// TestExplainOutcomes are per environment; who switched integrated authentication off hears nothing of it.
func TestExplainOutcomes(t *testing.T) {
	b := newBench(t)
	told := b.Explain(t.Context(), "leo", []authn.Environment{{Name: "one"}, {Name: "two", IDs: authn.IDsModule}})
	if len(told.Outcomes) != 2 || told.User.Username != "leo" {
		t.Fatalf("%+v", told)
	}
	wantError(t, told.Outcomes[0].Err, authn.NotMapped, "no_id_on_environment")
	wantError(t, told.Outcomes[1].Err, authn.OK, "ok")
}

// TestExplainGoesOnBehindARefusal of the source, which is what the sign-in would meet.
func TestExplainGoesOnBehindARefusal(t *testing.T) {
	disabled := &authn.Error{Kind: authn.Locked, Reason: "account_disabled"}
	b := newBench(t, func(c *authn.Config) {
		find := c.Providers[0].Password.Find
		c.Providers[0].Explain = func(ctx context.Context, name string) (authn.Account, []authn.Remark, error) {
			a, err := find(ctx, name)
			return a, append(a.Remarks(), authn.Remark{About: "state", Err: disabled}, authn.Remark{About: "groups"}), err
		}
	})
	told := b.Explain(t.Context(), "ida", []authn.Environment{{Name: "one"}})
	wantError(t, told.Outcomes[0].Err, authn.Locked, "account_disabled")
	var about []string
	for _, r := range told.Remarks {
		about = append(about, r.About)
		if r.About == "IT user" {
			wantError(t, r.Err, authn.NotMapped, "it_user_inactive")
		}
	}
	if got := strings.Join(about, " "); got != "provider subject called state groups throttle IT user second factor" {
		t.Errorf("told of %s", got)
	}
}

// TestExplainRoutes.
func TestExplainRoutes(t *testing.T) {
	match := func(domain string, strip bool) func(string) (string, bool) {
		m, err := authn.Route{Domains: []string{domain}, StripDomain: strip}.Matcher()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	b := newBench(t, func(c *authn.Config) {
		c.Providers[0].Match = match("corp", true)
		c.Default = ""
		c.Providers = append(c.Providers, authn.Provider{ID: "web", Match: match("web", false), Redirect: pages{}})
	})
	for user, want := range map[string]struct{ text, reason string }{
		"ann@corp": {`corp, because its match claims the name; it is asked for "ann"`, "ok"},
		"ann@web":  {"web, because its match claims the name; its users sign in at pages of its own, in a browser", "no_passwords"},
		"ann":      {"", "no_route"},
	} {
		told := b.Explain(t.Context(), user, []authn.Environment{b.call("", "").Environment})
		if r := told.Remarks[0]; r.About != "provider" || r.Text != want.text {
			t.Errorf("%s: %+v", user, r)
		}
		if got := authn.ReasonOf(told.Outcomes[0].Err); got != want.reason {
			t.Errorf("%s: %s, want %s", user, got, want.reason)
		}
	}
}

// pages is a provider for browsers.
type pages struct{ authn.RedirectProvider }

// TestLook: what Begin would refuse, without counting.
func TestLook(t *testing.T) {
	b := newBench(t)
	look := func() (authn.Attempts, error) { return b.Throttle.Look(t.Context(), "k") }
	for range 3 {
		a, err := b.Throttle.Begin(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Failed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	seen, err := look()
	if wantError(t, err, authn.Locked, "throttled"); seen.Failures != 3 {
		t.Errorf("%+v", seen)
	}
	b.now = b.now.Add(authn.DefaultWindow + time.Second)
	if seen, err := look(); err != nil || seen != (authn.Attempts{}) {
		t.Errorf("behind the window: %+v, %v", seen, err)
	}
}

// TestForetellForetellsSignIns: of an account that a listing found, as Explain does of a name.
func TestForetellForetellsSignIns(t *testing.T) {
	gone := &authn.Error{Kind: authn.Locked, Reason: "account_disabled"}
	for name, test := range map[string]struct {
		user   string
		change func(*bench)
		err    error // as which the listing says the source would refuse
		kind   authn.Kind
		reason string
	}{
		"granted":         {"ann", nil, nil, authn.OK, "ok"},
		"code":            {"bob", nil, nil, authn.CodeRequired, "code_missing"},
		"factor required": {"ann", func(b *bench) { b.policy = authn.FactorRequired }, nil, authn.NotEnrolled, "factor_required"},
		"inactive":        {"ida", nil, nil, authn.NotMapped, "it_user_inactive"},
		"no id":           {"leo", nil, nil, authn.NotMapped, "no_id_on_environment"},
		"no IT user":      {"una", nil, nil, authn.NotMapped, "no_it_user"},
		"disabled":        {"ann", nil, gone, authn.Locked, "account_disabled"},
		"IT users down":   {"ann", func(b *bench) { b.users.err = context.DeadlineExceeded }, nil, authn.Unavailable, "store_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if test.change != nil {
				test.change(b)
			}
			call := b.call(test.user, "pw-"+test.user)
			account, err := b.source.Find(t.Context(), test.user)
			if err != nil {
				t.Fatal(err)
			}
			user, told := b.Foretell(t.Context(), authn.Member{Account: account, Err: test.err}, []authn.Environment{call.Environment})
			if n := b.source.binds + b.attempts.tried + len(b.users.linked) + len(b.journal.all); n != 0 {
				t.Error("something was tried, counted, linked or recorded")
			}
			wantError(t, told[0].Err, test.kind, test.reason)
			if test.err != nil {
				return
			}
			result, err := b.SignIn(t.Context(), call)
			wantError(t, err, test.kind, test.reason)
			if err == nil && (result.User.Key != user.Key || told[0].UserID != result.User.UserID) {
				t.Errorf("told %+v and %+v, signed in %+v", user, told, result.User)
			}
		})
	}
}
