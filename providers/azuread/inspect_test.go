package azuread

import (
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// finding is the one of a check.
func finding(t *testing.T, list []authn.Finding, check string) authn.Finding {
	t.Helper()
	for _, f := range list {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("nothing of %q in %+v", check, list)
	return authn.Finding{}
}

func inspect(t *testing.T, p *provider) []authn.Finding {
	return p.inspect(t.Context(), func(string) {})
}

// TestInspect: what ends soon, and what is refused while another one works, is a warning and keeps check content.
func TestInspect(t *testing.T) {
	b := passwordBench(t)
	day := func(d int) string { return b.moment.AddDate(0, 0, d).UTC().Format(time.DateOnly) }
	b.app.Secrets["next"] = time.Time{}
	p := b.provider(t, withPasswords, holding(Credential{Secret: secret, Expires: day(29)}, Credential{Secret: "next", Expires: day(32)},
		Credential{Secret: "not there yet"}))
	list := inspect(t, p)
	if f := finding(t, list, "redirect URI"); f.Seen != callback+", "+adminURL+"/oidc/cloud/callback" || !f.OK() {
		t.Errorf("%+v", f)
	}
	if f := finding(t, list, "tenant"); !strings.Contains(f.Seen, b.tenant.ID) || !strings.Contains(f.Seen, "1 signing keys") || !f.OK() {
		t.Errorf("%+v", f)
	}
	if f := finding(t, list, "credentials[0] (client secret)"); !f.Warning || !strings.Contains(f.Problem, "ends on "+day(29)) {
		t.Errorf("%+v", f)
	}
	if f := finding(t, list, "credentials[1] (client secret)"); !f.OK() || f.Seen != "accepted until "+day(32) {
		t.Errorf("%+v", f)
	}
	if f := finding(t, list, "credentials[2] (client secret)"); !f.Warning || !strings.Contains(f.Problem, "): AADSTS7000215") {
		t.Errorf("%+v", f)
	}
	if f := finding(t, list, "Microsoft Graph"); !f.OK() {
		t.Errorf("%+v", f)
	}
	if err := p.check(t.Context()); err != nil {
		t.Errorf("a warning keeps people out: %v", err)
	}
}

func TestInspectFindsWhatKeepsPeopleOut(t *testing.T) {
	b := newBench(t)
	b.app.Secrets = map[string]time.Time{}
	if f := finding(t, inspect(t, b.provider(t)), "credentials[0] (client secret)"); f.OK() || f.Warning {
		t.Errorf("%+v", f)
	}
	b.app.Secrets[secret] = time.Time{}
	if f := finding(t, inspect(t, b.provider(t, withPasswords)), "Microsoft Graph"); !strings.Contains(f.Problem, "admin consent") {
		t.Errorf("%+v", f)
	}
	nowhere, err := open("cloud", b.config(), Surroundings{})
	if err != nil {
		t.Fatal(err)
	}
	if f := finding(t, inspect(t, nowhere), "redirect URI"); !strings.Contains(f.Problem, "portal.public_url") {
		t.Errorf("%+v", f)
	}
	b.Break("discovery", status(503))
	if f := finding(t, inspect(t, b.provider(t)), "tenant"); !strings.Contains(f.Problem, "503") {
		t.Errorf("%+v", f)
	}
}

// TestProbesAreRare: readiness is asked for every few seconds, and Entra blocks an application that repeats itself.
func TestProbesAreRare(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	look := func(want int, good bool) {
		t.Helper()
		for range 3 {
			if err := p.check(t.Context()); (err == nil) != good {
				t.Errorf("got %v", err)
			}
		}
		if got := b.Calls("token"); got != want {
			t.Errorf("%d token requests, want %d", got, want)
		}
	}
	look(1, true)
	b.wait(goodProbe)
	b.Change(func() { delete(b.app.Secrets, secret) })
	look(2, false)
	b.Change(func() { b.app.Secrets[secret] = time.Time{} })
	b.wait(badProbe)
	look(3, true)

	b.wait(goodProbe)
	b.Break("token", hang)
	if err := p.check(short(t)); err == nil {
		t.Error("silence is health")
	}
	b.Break("token", nil)
	look(5, true)
}
