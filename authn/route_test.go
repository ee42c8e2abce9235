package authn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func TestRouteMatcher(t *testing.T) {
	route := authn.Route{Domains: []string{"corp.example"}, Prefixes: []string{"CORP"}, Pattern: `x\d+`}
	strip := route
	strip.StripDomain = true
	cases := []struct {
		route      authn.Route
		typed, ask string
		ok         bool
	}{
		{route, "ann@corp.example", "ann@corp.example", true},
		{route, "ann@CORP.Example", "ann@CORP.Example", true},
		{strip, "ann@corp.example", "ann", true},
		{strip, `corp\ann`, "ann", true},
		{strip, "a@b@corp.example", "a@b", true},
		{route, "ann@evil.corp.example", "", false},
		{route, "ann@corp.example.evil", "", false},
		{route, "corp.example", "", false},
		{route, "x42", "x42", true},
		{route, "ax42", "", false},
		{route, "x42\n", "", false},
		{route, "ann", "", false},
		{authn.Route{Pattern: "a|b"}, "ab", "", false}, // anchored around the alternation
	}
	for _, c := range cases {
		match, err := c.route.Matcher()
		if err != nil {
			t.Fatal(err)
		}
		if ask, ok := match(c.typed); ok != c.ok || ok && ask != c.ask {
			t.Errorf("%q: got %q, %v; want %q, %v", c.typed, ask, ok, c.ask, c.ok)
		}
	}
	if _, err := (authn.Route{Pattern: "("}).Matcher(); err == nil {
		t.Error("a broken pattern was accepted")
	}
}

// A name goes to exactly one provider; a provider that refuses is not followed by another.
func TestRoutingAsksOneProvider(t *testing.T) {
	two := func(t *testing.T, first, second authn.Route, fallback string) (*bench, *source) {
		other := &source{people: map[string]string{"ann": "pw-other", "zoe": "pw-zoe"}}
		b := newBench(t, func(c *authn.Config) {
			c.Providers = append(c.Providers, authn.Provider{ID: "other", Password: other})
			for i, r := range []authn.Route{first, second} {
				c.Providers[i].Match, _ = r.Matcher()
			}
			c.Default = fallback
		})
		return b, other
	}
	t.Run("no falling through", func(t *testing.T) {
		b, other := two(t, authn.Route{Pattern: "a.*"}, authn.Route{}, "other")
		b.refused(t, "ann", "pw-other", authn.BadCredentials, "wrong_password")
		if len(other.verified) != 0 {
			t.Error("the password reached a second provider")
		}
	})
	t.Run("two claims", func(t *testing.T) {
		b, _ := two(t, authn.Route{Pattern: "a.*"}, authn.Route{Pattern: "an.*"}, "")
		b.refused(t, "ann", "pw-ann", authn.BadCredentials, "ambiguous_route")
	})
	t.Run("no claim, no default", func(t *testing.T) {
		b, _ := two(t, authn.Route{Pattern: "q"}, authn.Route{Pattern: "r"}, "")
		b.refused(t, "ann", "pw-ann", authn.BadCredentials, "no_route")
	})
	t.Run("a provider that knows no passwords", func(t *testing.T) {
		b := newBench(t, func(c *authn.Config) { c.Providers[0].Password = nil })
		b.refused(t, "ann", "pw-ann", authn.BadCredentials, "no_passwords")
	})
	t.Run("an account of another provider", func(t *testing.T) {
		b, _ := two(t, authn.Route{Pattern: "q"}, authn.Route{Pattern: "z.*"}, "") // the source says it is "corp"
		b.refused(t, "zoe", "pw-zoe", authn.Internal, "bad_provider")
	})
}

func TestErrorsByKind(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("outer: %w", &authn.Error{Kind: authn.Unavailable, Reason: "dial", Provider: "corp", Err: cause})
	if !errors.Is(err, authn.Unavailable) || !errors.Is(err, cause) || errors.Is(err, authn.Locked) {
		t.Error("errors.Is does not find the kind and the cause")
	}
	if got := err.Error(); got != "outer: corp: unavailable (dial): cause" {
		t.Errorf("reads %q", got)
	}
	if authn.KindOf(nil) != authn.OK || authn.KindOf(cause) != authn.Internal || authn.ReasonOf(cause) != "internal" {
		t.Error("nil is OK and a foreign error is Internal")
	}
	seen := map[string]bool{}
	for _, k := range authn.Kinds() {
		if seen[k.String()] || k.Error() != k.String() || authn.KindOf(k) != k {
			t.Errorf("kind %v: name taken or not its own kind", k)
		}
		seen[k.String()] = true
	}
	if authn.Kind(200).String() != "internal" {
		t.Error("an unknown kind must read as internal")
	}
}

func TestSecretNeverShows(t *testing.T) {
	s := authn.Secret("hunter2")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "in", struct{ P authn.Secret }{s})
	text, _ := s.MarshalText()
	all := fmt.Sprintf("%v %s %q %+v %#v %x", s, s, s, s, s, s) + log.String() + string(text) + fmt.Sprint(struct{ P authn.Secret }{s})
	if strings.Contains(all, "hunter2") || strings.Contains(all, "68756e746572") {
		t.Errorf("it shows: %s", all)
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal must give it")
	}
}

type ground struct {
	ping, clockErr error
	clock          time.Time
	users          int
}

func (g ground) Ping(context.Context) error               { return g.ping }
func (g ground) Clock(context.Context) (time.Time, error) { return g.clock, g.clockErr }
func (g ground) MappedUsers(context.Context, authn.Environment) (int, error) {
	return g.users, nil
}

func TestDiagnose(t *testing.T) {
	now := newClock()
	well := func(context.Context) error { return nil }
	ill := func(context.Context) error { return errors.New("no answer from ldaps://dc1") }
	env := authn.Environment{Name: "production"}
	good := ground{users: 3, clock: now.at}
	cases := []struct {
		name     string
		checks   []func(context.Context) error
		ground   ground
		problems string // check names with a problem, blocking ones with !
	}{
		{"all well", []func(context.Context) error{well}, good, ""},
		{"one of two directories", []func(context.Context) error{well, ill}, good, "provider p1"},
		{"every directory", []func(context.Context) error{ill, ill}, good, "provider p0! provider p1!"},
		{"no provider", nil, good, "providers!"},
		{"store", []func(context.Context) error{well}, ground{users: 1, ping: errors.New("disk full")}, "store!"},
		{"clock", []func(context.Context) error{well}, ground{users: 1, clock: now.at.Add(4 * time.Second)}, "clock"},
		{"clock within tolerance", []func(context.Context) error{well}, ground{users: 1, clock: now.at.Add(2 * time.Second)}, ""},
		{"nobody mapped", []func(context.Context) error{well}, ground{clock: now.at}, "it-users production!"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := authn.Doctor{Ground: c.ground, Now: now.now}
			for i, check := range c.checks {
				d.Providers = append(d.Providers, authn.Provider{ID: fmt.Sprint("p", i), Check: check})
			}
			var got []string
			for _, f := range d.Diagnose(t.Context(), env) {
				if !f.OK() {
					got = append(got, f.Check+strings.Repeat("!", btoi(f.Blocking)))
				}
			}
			if strings.Join(got, " ") != c.problems {
				t.Errorf("got %q, want %q", got, c.problems)
			}
		})
	}
}

func TestDiagnoseSurvivesABug(t *testing.T) {
	d := authn.Doctor{Ground: ground{users: 1}, Providers: []authn.Provider{{ID: "p", Check: func(context.Context) error { panic("bug") }}}}
	f := d.Diagnose(t.Context(), authn.Environment{})
	if f[3].OK() || !f[3].Blocking || !strings.Contains(f[3].Problem, "bug") {
		t.Errorf("%+v", f[3])
	}
}

func TestDiagnoseWaitsNoLongerThanItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		d := authn.Doctor{Ground: ground{users: 1}, Providers: []authn.Provider{{ID: "p", Check: hang}}, Timeout: time.Second}
		began := time.Now()
		if f := d.Diagnose(t.Context(), authn.Environment{}); f[3].OK() {
			t.Error("a hanging directory passed")
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}
