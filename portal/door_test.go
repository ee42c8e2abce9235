package portal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Each header keeps a browser from one thing, and each is missed when it is gone.
func TestHeaders(t *testing.T) {
	b := newRig(t).browser()
	for _, path := range []string{"/login", "/nothing", "/signedout", "/account", "/assets/none"} {
		p := b.get(path)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy": "camera=()", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=63072000",
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "X-Xss-Protection": "0",
		} {
			if got := p.header.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		policy := p.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'sha256-", "script-src 'sha256-", "worker-src 'none'",
			"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy lacks %s", path, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: the policy is %s", path, policy)
		}
	}
}

// The page that posts to a provider may post there and nowhere else; an address that would break the policy ends the visit.
func TestWhereFormsMayGo(t *testing.T) {
	p := newRig(t).portal
	for address, want := range map[string]string{
		"https://idp.example.test/sso?x=1": "form-action 'self' https://idp.example.test;",
		"http://127.0.0.1:8080/sso":        "form-action 'self' http://127.0.0.1:8080;",
		"javascript:alert(1)":              "",
		"data:text/html,x":                 "",
		"https://a.example;script-src":     "",
		"https://a.example,b.example/":     "",
		"//a.example/":                     "",
		"https://%zz/":                     "",
	} {
		w := httptest.NewRecorder()
		err := (&visit{Portal: p, w: w}).allowFormsTo(address)
		policy := w.Header().Get("Content-Security-Policy")
		if (want == "") != (authn.ReasonOf(err) == "bad_provider") || !strings.Contains(policy, want) {
			t.Errorf("%s: %q, %v", address, policy, err)
		}
	}
}

// A form that another site sends is refused on every route that changes anything, but on the one that is made for it,
// where it is worth nothing by itself.
func TestEveryRouteFromElsewhere(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	for _, header := range []http.Header{
		{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
		{"Origin": {"https://evil.example"}}, {"Origin": {"null"}}, {"Origin": {r.server.URL}, "Sec-Fetch-Site": {"same-site"}},
	} {
		b.header = header
		for _, to := range r.portal.routes() {
			if to.method == http.MethodGet {
				continue
			}
			path := strings.ReplaceAll(to.path, "{provider}", "idp")
			status, words := http.StatusForbidden, "It came from another site"
			if to.path == answerPath {
				words = "could not be trusted"
			}
			if header.Get("Sec-Fetch-Site") == "same-site" && to.path != answerPath {
				continue // another host of ours: judged by its own line below
			}
			b.post(path).wants(t, path+" from "+header.Get("Origin"), status, words)
		}
	}
	b.header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}
	b.get("/account").wants(t, "a page may be linked to", http.StatusOK)
}

// Nothing that changes anything answers to GET, and every page of the account wants somebody who is signed in.
func TestEveryRoute(t *testing.T) {
	r := newRig(t)
	posts := map[string]bool{}
	gets := map[string]bool{}
	for _, to := range r.portal.routes() {
		if to.method == http.MethodGet {
			gets[to.path] = true
		} else {
			posts[to.path] = true
		}
	}
	want := []string{"/login", "/login/begin", "/saml/{provider}/acs", "/login/code", "/login/password", "/login/invite",
		"/login/enrol/show", "/login/enrol", "/login/finish", "/login/cancel", "/signout", "/account/tokens",
		"/account/tokens/revoke", "/account/factors/add", "/account/factors/confirm", "/account/factors/remove", "/account/recovery",
		"/account/sessions/end", "/account/signout-everywhere"}
	for _, path := range want {
		if !posts[path] {
			t.Errorf("%s is gone", path)
		}
		delete(posts, path)
	}
	if len(posts) > 0 {
		t.Errorf("routes that this table does not know: %v", posts)
	}
	b := r.browser()
	for _, path := range want {
		path = strings.ReplaceAll(path, "{provider}", "idp")
		if !gets[path] {
			b.get(path).wants(t, "GET "+path, http.StatusSeeOther)
		}
	}
	for _, to := range r.portal.routes() {
		if !to.signedIn {
			continue
		}
		p := b.send(to.method, to.path, nil).wants(t, to.method+" "+to.path+" by nobody", http.StatusSeeOther)
		if !strings.HasPrefix(p.location, "/login?") {
			t.Errorf("%s: sent to %s", to.path, p.location)
		}
	}
	b.send("PUT", "/login", nil).wants(t, "PUT", http.StatusMethodNotAllowed)
	b.get("/nothing").wants(t, "nothing", http.StatusNotFound, "There is nothing here")
	b.get("/../etc/passwd").wants(t, "up", http.StatusTemporaryRedirect, "/etc/passwd")
}

// Every redirect goes to one of our own pages: its target stands in the source, or is looked up among the routes. Where a
// visitor has a say, TestReturnTargets tries it.
func TestEveryRedirect(t *testing.T) {
	looked := map[string]bool{"v.home": true, "v.returnTo()": true, "v.getPath(v.r)": true, "path": true /* of a door's Inside */}
	pages := map[string]bool{}
	for _, to := range newRig(t).portal.routes() {
		pages[strconv.Quote(to.path)] = to.method == http.MethodGet || pages[strconv.Quote(to.path)]
	}
	targets, raw := map[string]bool{}, 0
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				switch called := types.ExprString(call.Fun); {
				case strings.HasSuffix(called, ".goTo"):
					targets[types.ExprString(call.Args[0])] = true
				case strings.HasSuffix(called, ".Redirect") && len(call.Args) == 4, strings.HasSuffix(called, "RedirectHandler"):
					raw++
				}
			}
			if text, ok := n.(*ast.BasicLit); ok && text.Value == `"Location"` {
				raw += 100
			}
			return true
		})
	}
	if raw != 1 || len(targets) < 6 {
		t.Errorf("redirects besides goTo: %d; its targets: %v", raw, targets)
	}
	for target := range targets {
		if !pages[target] && !looked[target] {
			t.Errorf("goTo(%s): no page of ours", target)
		}
	}
}

// The address that counts is the peer's, unless the peer is a listed proxy; what a browser writes itself is not believed.
func TestClientAddress(t *testing.T) {
	p := &Portal{Config: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, c := range []struct{ peer, header, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "198.51.100.9", "192.0.2.1"},
		{"10.0.0.1:5", "198.51.100.9", "198.51.100.9"},
		{"10.0.0.1:5", "203.0.113.7, 198.51.100.9", "198.51.100.9"},
		{"10.0.0.1:5", "198.51.100.9, 10.0.0.2", "198.51.100.9"},
		{"10.0.0.1:5", "198.51.100.9, rubbish", "10.0.0.1"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"[fd00::1]:5", "2001:db8::7", "2001:db8::7"},
		{"[::ffff:10.0.0.1]:5", "198.51.100.9", "198.51.100.9"},
		{"@", "198.51.100.9", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": {c.header}, "Forwarded": {"for=203.0.113.99"}}}
		if got := p.source(r).String(); got != c.want {
			t.Errorf("peer %s, header %q: %s, want %s", c.peer, c.header, got, c.want)
		}
	}
	if a, b := authn.AddressKey(address("2001:db8::1")), authn.AddressKey(address("2001:db8::ffff:1")); a != b {
		t.Errorf("one network has two keys: %s, %s", a, b)
	}
	if a, b := authn.AddressKey(address("192.0.2.1")), authn.AddressKey(address("192.0.2.2")); a == b {
		t.Errorf("two addresses have one key: %s", a)
	}
}

// failTo counts failures of this machine's address, as other people there would make them, up to a number.
func (r *rig) failTo(n int) {
	r.t.Helper()
	key := authn.AddressKey(address("127.0.0.1"))
	for seen := 0; seen < n; {
		attempt, err := r.portal.Addresses.Begin(r.t.Context(), key)
		if authn.KindOf(err) == authn.Locked {
			r.later(5*time.Minute + time.Second)
			continue
		}
		r.must(err)
		r.must(attempt.Failed(r.t.Context()))
		now, _ := r.portal.Addresses.Look(r.t.Context(), key)
		seen = now.Failures
	}
}

const fewMinutes = "Too many failed login attempts. Please try again in a few minutes."

// Twenty failures from one address block it for five minutes, fifty for an hour, whoever tries, at every step, and with the
// right password too. The texts are the platform's.
func TestLimitByAddress(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	r.enrol("ann")
	b.signIn("ann")
	r.failTo(19)
	b.post("/login/code", "code", "000000").wants(t, "the twentieth", http.StatusUnauthorized, "The code is not right")
	b.post("/login/code", "code", "000000").wants(t, "a code after twenty", http.StatusTooManyRequests, fewMinutes)
	r.browser().signIn("bob").wants(t, "after twenty", http.StatusTooManyRequests, fewMinutes)
	r.later(5*time.Minute + time.Second)
	r.browser().signIn("bob").wants(t, "five minutes later", http.StatusForbidden, "let your browser finish its check")
	r.failTo(50)
	r.browser().signIn("bob").wants(t, "after fifty", http.StatusTooManyRequests, "Too many failed login attempts. Please try again in 60 minutes.")
}

// Wrong codes count against the address wherever they are typed, and where it is blocked no code is looked at.
func TestCodesCountAgainstTheAddress(t *testing.T) {
	r := newRig(t)
	secret := r.enrol("bob")
	b := r.browser()
	b.signIn("bob")
	b.post("/login/code", "code", r.code(secret)).wants(t, "signing in", http.StatusSeeOther, "/account")
	r.later(time.Minute)
	b.post("/account/factors/add", "code", "000000").wants(t, "a device with a wrong code", http.StatusUnauthorized, "The code is not right")
	r.counted(1)

	r.policy = authn.FactorRequired
	invitation, _, err := r.factors.Invite(t.Context(), r.user("ann"))
	r.must(err)
	c := r.browser()
	c.signIn("ann")
	c.post("/login/invite", "invitation", "BCDF").wants(t, "a wrong invitation", http.StatusUnauthorized)
	r.counted(2)
	c.post("/login/invite", "invitation", invitation.Reveal())
	id := hidden(t, c.post("/login/enrol/show"), "enrolment")
	c.post("/login/enrol", "enrolment", id, "code", "000000").wants(t, "a wrong first code", http.StatusUnauthorized, "The code is not right")
	r.counted(3)

	r.failTo(20)
	b.post("/account/factors/add", "code", r.code(secret)).wants(t, "the right code after twenty", http.StatusUnauthorized, fewMinutes)
}

// counted wants so many failures of this machine's address.
func (r *rig) counted(want int) {
	r.t.Helper()
	if seen, err := r.portal.Addresses.Look(r.t.Context(), authn.AddressKey(address("127.0.0.1"))); err != nil || seen.Failures != want {
		r.t.Errorf("%d failures of the address, want %d; %v", seen.Failures, want, err)
	}
}

// The public URL comes from the configuration: a Host that somebody made up is nowhere in an answer.
func TestForeignHost(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Security.Contacts = []string{"mailto:security@example.com"} })
	for _, path := range []string{"/", "/login", "/account", "/signedout", "/.well-known/security.txt", "/nothing"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.server.URL+path, nil)
		r.must(err)
		request.Host = "evil.example"
		request.Header.Set("X-Forwarded-Host", "evil.example")
		response, err := r.server.Client().Transport.RoundTrip(request)
		r.must(err)
		body, err := io.ReadAll(response.Body)
		r.must(err)
		_ = response.Body.Close()
		if strings.Contains(response.Header.Get("Location")+string(body), "evil.example") {
			t.Errorf("%s shows, or leads to, the made-up host", path)
		}
	}
}

func TestSecurityText(t *testing.T) {
	newRig(t).browser().get("/.well-known/security.txt").wants(t, "without a contact", http.StatusNotFound)
	r := newRig(t, func(c *Config) {
		c.Security = SecurityContact{Contacts: []string{"mailto:security@example.com"}, Policy: "https://example.com/policy"}
	})
	r.browser().get("/.well-known/security.txt").wants(t, "with one", http.StatusOK, "Contact: mailto:security@example.com\n",
		"Expires: 20", "Policy: https://example.com/policy\n", "Canonical: "+r.server.URL+"/.well-known/security.txt\n",
		"Preferred-Languages: en, de, pt\n")
}

// Under a path of its own every link and redirect begins with it.
func TestUnderAPath(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PublicURL += "/portal" })
	b := r.browser()
	b.get("/portal/").wants(t, "the start", http.StatusSeeOther, "/portal/login")
	b.get("/portal/login").wants(t, "the first page", http.StatusOK, `action="/portal/login"`, `href="/portal/login?lang=de"`)
	done := b.post("/portal/login", "username", "ann", "password", "pw-ann").wants(t, "signing in", http.StatusSeeOther, "/portal/account")
	b.follow(done).wants(t, "the account", http.StatusOK, `action="/portal/account/tokens"`)
	b.get("/login").wants(t, "outside", http.StatusNotFound)
}

// A bug and a store that is down are told in words, with a number that the log has too; never with what happened inside.
func TestInternalErrors(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	_ = r.store.Close()
	p := b.get("/account").wants(t, "without a store", http.StatusServiceUnavailable, "Please try again in a moment", "the-correlation-id")
	if strings.Contains(p.body, "store") || !strings.Contains(r.logged.String(), "the-correlation-id") {
		t.Error("the page tells of the inside, or the log of nothing")
	}
	r = newRig(t)
	r.portal.Flow = nil
	p = r.browser().post("/login", "username", "x").wants(t, "a bug", http.StatusInternalServerError, "Something went wrong", "the-correlation-id")
	if strings.Contains(p.body, "nil pointer") {
		t.Error("the page tells of the bug")
	}
}

func TestTooLargeAForm(t *testing.T) {
	b := newRig(t).browser()
	b.post("/login", "username", strings.Repeat("x", maxForm)).wants(t, "half a megabyte", http.StatusRequestEntityTooLarge, "too much")
}

func TestConfig(t *testing.T) {
	r := newRig(t)
	for _, address := range []string{"", "http://example.com", "https://", "https://example.com/?x=1", "example.com"} {
		c := r.portal.Config
		c.PublicURL = address
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "public URL") {
			t.Errorf("%q: %v", address, err)
		}
	}
	c := r.portal.Config
	c.Once = nil
	if _, err := New(c); err == nil {
		t.Error("a field is missing")
	}
}
