package admin_test

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// maxPage is what a page may weigh with all it needs.
const maxPage = 60 << 10

// desk is a browser with a screen, in which somebody has signed in by typing.
func (r *rig) desk(t *testing.T, username string) *chromium.Page {
	t.Helper()
	if r.secrets[username] == "" {
		r.enrol(username)
	}
	p := chromium.Start(t, chromium.Options{Trust: []*x509.Certificate{r.server.Certificate()}}).NewPage()
	p.Open(r.server.URL + "/")
	p.Type("#username", username)
	p.Type("#password", "pw-"+username)
	p.Click("button.primary")
	p.Type("#code", r.code(username))
	p.Click("button.primary")
	r.later(time.Minute)
	return p
}

// furnished gives the IT user uwe something of everything.
func (r *rig) furnished() {
	r.t.Helper()
	ctx := r.t.Context()
	_, err := r.users.Link(ctx, "ursula", "corp", "8d1f6f0e-6ad3-4b0c-9d6b-2f5a1c0e7b11", "ursula.ursprung")
	r.must(err)
	_, err = r.users.SetActive(ctx, "uwe", false)
	r.must(err)
	r.enrol("ursula")
	u := r.user("ursula")
	_, token := authn.NewToken(authn.Result{User: u, Identity: authn.Identity{Provider: "corp"}}, nil, authn.TokenLife{}, r.clock())
	r.must(r.store.AddToken(ctx, token))
	sessions := authn.Sessions{Store: r.store, Idle: time.Hour, Life: time.Hour, Now: r.clock}
	_, _, err = sessions.Begin(ctx, authn.Result{User: u}, "ursula", r.config.AllowFrom[0].Addr(), "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0")
	r.must(err)
	for i := range 60 { // a day of sign-ins
		d := authn.Decision{ID: "call", Time: r.clock().Add(-time.Duration(i) * 20 * time.Minute), Method: authn.MethodCredentials, Environment: "production",
			Username: "ursula", Provider: "corp", Subject: "s-ursula", ITUser: "ursula", Kind: authn.OK, Factors: []string{"password", "totp"},
			Source: r.config.AllowFrom[0].Addr(), Duration: time.Duration(20+i) * time.Millisecond}
		if i%7 == 3 {
			d.ID, d.Kind, d.Reason, d.Factors = "refused", authn.BadCredentials, "wrong_password", nil
		}
		if i%17 == 5 {
			d.Kind, d.Reason, d.Factors = authn.Locked, "throttled", nil
		}
		r.must(r.audit.Record(ctx, d))
	}
	_, err = r.store.IndexAudit(ctx, 1000)
	r.must(err)
	b := r.signedIn("alice")
	b.post("/coverage")
	b.post("/sources/run", "id", "lifetime", "dry", "true")
	b.post("/audit/verification")
	r.jobs.Wait()
	r.must(r.store.UpdateAttempts(ctx, "address:192.0.2.0/24", func(authn.Attempts) (authn.Attempts, error) {
		return authn.Attempts{Failures: 50, LastFailure: r.clock(), BlockedUntil: r.clock().Add(time.Hour)}, nil
	}))
	r.must(r.store.UpdateAttempts(ctx, mfa.ThrottleKey(u.Key), func(authn.Attempts) (authn.Attempts, error) {
		return authn.Attempts{Failures: 6, LastFailure: r.clock(), BlockedUntil: r.clock().Add(30 * time.Minute)}, nil
	}))
}

// Every page is sound for a browser and for people: no error on the console, nothing asked of another host, light, and
// without an accessibility finding, on a desk, in the dark and on a telephone, in every language.
func TestGallery(t *testing.T) {
	r := newRig(t)
	r.furnished()
	p := r.desk(t, "alice")
	only := os.Getenv("GALLERY") // the name of one picture, for those who work on a page
	var sources admin.SourceList
	r.must(json.Unmarshal([]byte(r.signedIn("vera").api("GET", "/sources", "").body), &sources))
	lost := r.signedIn("oscar").post("/audit/verification", "kept", "99999:"+strings.Repeat("ab", 32)).location
	r.jobs.Wait()
	r.signedIn("oscar").post("/audit/verification")
	r.jobs.Wait()
	for _, one := range append(gallery(), picture{"source-run", "/jobs?id=" + sources.Sources[0].Job}, picture{"verification-lost", lost}) {
		if only != "" && !strings.HasPrefix(one.name, only) {
			continue
		}
		for _, look := range []struct {
			name  string
			width int64
			dark  bool
		}{{"", 1200, false}, {"-dark", 1200, true}, {"-phone", 390, false}} {
			p.Size(look.width, 800)
			p.Dark(look.dark)
			p.Open(r.server.URL + one.path)
			p.Sound(one.name+look.name, maxPage)
			p.Screenshot("admin/" + one.name + look.name)
			for _, l := range r.config.Portal.Pages.Languages() {
				if look.dark || l.Code != "en" && look.width > 500 {
					continue // texts that are too long show on a telephone
				}
				if l.Code != "en" {
					p.Open(r.server.URL + one.path + map[bool]string{true: "&", false: "?"}[strings.Contains(one.path, "?")] + "lang=" + l.Code)
				}
				var clipped string
				p.Eval(`[document.documentElement, ...document.querySelectorAll(".scroll")].filter(
					(e) => e.scrollWidth > e.clientWidth).map((e) => e.outerHTML.slice(0, 80)).join("; ")`, &clipped)
				if clipped != "" {
					t.Errorf("%s%s in %s does not fit: %s", one.name, look.name, l.Code, clipped)
				}
			}
		}
	}
}

type picture struct{ name, path string }

// gallery is every page that an address leads to, by the name of its picture.
func gallery() []picture {
	return []picture{
		{"overview", "/"}, {"users", "/users"}, {"users-none", "/users?text=nobody"}, {"user", "/users/show?name=ursula"}, {"user-new", "/users/new"},
		{"user-edit", "/users/edit?name=ursula"}, {"user-link", "/users/link?name=ursula"}, {"user-disable", "/users/disable?name=ursula"},
		{"import", "/users/import"}, {"missing", "/nothing"},
		{"audit", "/audit"}, {"audit-more", "/audit?id=the-correlation-id"}, {"verification", "/audit/verification"}, {"explain", "/audit/explain?id=refused"}, {"charts", "/charts"}, {"blocked", "/blocked"}, {"endings", "/endings"}, {"sources", "/sources"}, {"coverage", "/coverage"},
		{"providers", "/providers"}, {"provider", "/providers/edit?id=corp"}, {"provider-new", "/providers/edit?kind=ldap"}, {"config-text", "/providers/text"},
		{"versions", "/providers/versions"}, {"webhooks", "/webhooks"},
	}
}
