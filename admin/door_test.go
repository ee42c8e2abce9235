package admin_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
)

const session = "__Host-idbridge-admin"

// Nobody sees anything without signing in, a second factor and a role.
func TestWhoMayComeIn(t *testing.T) {
	r := newRig(t)
	r.browser().get("/users").wants(t, "nobody", http.StatusSeeOther, "/login?return=%2Fusers")
	r.browser().get("/users/show?name=uwe&lang=de").wants(t, "nobody, with a link", http.StatusSeeOther, "lang=de", "return=%2Fusers%2Fshow%3Fname%3Duwe")
	r.browser().api("GET", "/users", "").problem(t, "nobody", http.StatusUnauthorized, "signed_out")
	norm := r.signedIn("norm")
	norm.get("/users").wants(t, "without a role", http.StatusForbidden, "You administer nothing here")
	norm.api("GET", "/users", "").problem(t, "without a role", http.StatusForbidden, "no_role")
	norm.api("GET", "/openapi.json", "").problem(t, "without a role", http.StatusForbidden, "no_role")
	for name, role := range map[string]string{"alice": "administrator", "oscar": "operator", "vera": "viewer", "glass-gail": "administrator"} {
		b := r.signedIn(name)
		b.api("GET", "/session", "").wants(t, name, http.StatusOK, `"role":"`+role+`"`)
		b.get("/").wants(t, name, http.StatusOK, "Overview")
	}
}

// A session that proved one factor only is worth nothing, however it came to be.
func TestSessionWithoutASecondFactor(t *testing.T) {
	r := newRig(t)
	u := r.user("alice")
	sessions := authn.Sessions{Store: r.store, Idle: time.Hour, Life: time.Hour, Now: r.clock, Door: admin.Door}
	handle, _, err := sessions.Begin(t.Context(), authn.Result{User: u, Identity: authn.Identity{Provider: "corp", Subject: "s-alice",
		Groups: []string{"it admins"}, Factors: []string{authn.FactorPassword}}}, "alice", netip.MustParseAddr("127.0.0.1"), "")
	r.must(err)
	b := r.browser()
	b.header = http.Header{"Cookie": {session + "=" + handle.Reveal()}}
	b.get("/").wants(t, "a page", http.StatusForbidden, "A second factor is missing")
	b.api("GET", "/users", "").problem(t, "the API", http.StatusForbidden, "second_factor_required")
}

// The allow-list is about the real peer, and about what a listed proxy says.
func TestAllowFrom(t *testing.T) {
	inside := netip.MustParsePrefix("10.0.0.0/8")
	for _, one := range []struct {
		name    string
		proxies []netip.Prefix
		forward string
		status  int
	}{
		{"the peer is elsewhere", nil, "", http.StatusForbidden},
		{"who says so is nobody's proxy", nil, "10.1.2.3", http.StatusForbidden},
		{"a listed proxy says so", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, "10.1.2.3", http.StatusOK},
		{"a listed proxy says otherwise", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, "192.0.2.1", http.StatusForbidden},
		{"the client writes the header itself", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, "10.1.2.3, 192.0.2.1", http.StatusForbidden},
	} {
		r := newRig(t, func(c *admin.Config) { c.AllowFrom, c.Portal.TrustedProxies = []netip.Prefix{inside}, one.proxies })
		b := r.browser()
		if one.forward != "" {
			b.header.Set("X-Forwarded-For", one.forward)
		}
		p := b.get("/login").wants(t, one.name, one.status)
		if one.status == http.StatusForbidden {
			if p.body != "Forbidden\n" {
				t.Errorf("%s: tells %q", one.name, p.body)
			}
			b.post("/login", "username", "alice", "password", "pw-alice").wants(t, one.name+": a form", http.StatusForbidden)
			b.get("/assets/icon.svg").wants(t, one.name+": a picture", http.StatusForbidden)
		}
	}
}

// A session ends after a quarter of an hour without a request, when its IT user is disabled, and with the role's rule.
func TestSessionsEnd(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("vera")
	r.later(13 * time.Minute)
	b.get("/").wants(t, "after 14 minutes", http.StatusOK)
	r.later(15 * time.Minute)
	b.get("/").wants(t, "after 15 more", http.StatusSeeOther, "/login")
	b = r.signedIn("vera")
	_, err := r.users.SetActive(t.Context(), "vera", false)
	r.must(err)
	b.get("/").wants(t, "disabled", http.StatusSeeOther, "/login")
	b = r.signedIn("oscar")
	c := r.config
	c.Roles = []admin.Rule{{Role: admin.Administrator, Provider: "glass"}}
	r.door, err = admin.New(c)
	r.must(err)
	b.get("/").wants(t, "without the rule", http.StatusForbidden, "You administer nothing here")
}

func TestRules(t *testing.T) {
	r := newRig(t)
	for _, wrong := range []admin.Rule{{}, {Role: admin.Viewer}, {Provider: "corp"}, {Role: 9, Provider: "corp"}} {
		c := r.config
		c.Roles = []admin.Rule{wrong}
		if _, err := admin.New(c); err == nil || !strings.Contains(err.Error(), "rule") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	c := r.config
	c.AllowFrom = nil
	if _, err := admin.New(c); err == nil {
		t.Error("without an allow-list")
	}
	for name, want := range map[string]bool{"viewer": true, "operator": true, "administrator": true, "none": false, "": false, "Viewer": false} {
		if _, ok := admin.ParseRole(name); ok != want {
			t.Errorf("role %q: %v", name, ok)
		}
	}
}

// Headers keep a browser from doing more with an answer than show it, and other sites from sending anything.
func TestHeadersAndOrigins(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	for _, path := range []string{"/", "/users", "/api/v1/users", "/nothing", "/api/nothing", "/login"} {
		p := b.get(path)
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Strict-Transport-Security": "max-age=", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'"} {
			if !strings.HasPrefix(p.header.Get(name), want) {
				t.Errorf("%s: %s is %q", path, name, p.header.Get(name))
			}
		}
		if policy := p.header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: %s", path, policy)
		}
	}
	b.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	b.post("/users/disable", "name", "ursula").wants(t, "a form of another site", http.StatusForbidden, "another site")
	b.api("POST", "/users/ursula/disable", "{}").problem(t, "a call of another site", http.StatusForbidden, "cross_origin")
	b.header = http.Header{}
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""} {
		b.send("POST", "/api/v1/users/ursula/disable", media, strings.NewReader("{}")).
			problem(t, "what a form can send: "+media, http.StatusUnsupportedMediaType, "wrong_media_type")
	}
	if u, err := r.users.Show(t.Context(), "ursula"); err != nil || !u.Active {
		t.Error("it was done all the same")
	}
	b.send("PUT", "/api/v1/users", "application/json", nil).problem(t, "another method", http.StatusMethodNotAllowed, "wrong_method")
	b.get("/api/v2/users").problem(t, "another address", http.StatusNotFound, "no_such_path")
	b.get("/nothing").wants(t, "no page", http.StatusNotFound, "There is nothing here")
}
