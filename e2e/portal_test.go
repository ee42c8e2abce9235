package e2e_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/base32"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // lets a login run out

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// maxPage is what a page of the portal may weigh with all it needs.
const maxPage = 60 << 10

// door is the portal of a running node, and a browser that trusts it.
type door struct {
	*bridge
	node *node
	url  string
	cert *x509.Certificate
}

// withPortal starts a node in front of slapd, whose portal has a listener of its own.
func withPortal(t *testing.T, policy string) *door {
	t.Helper()
	b := newBridge(t)
	d := b.withPortal(b.slapd.CA, "mfa: {policy: "+policy+", issuer: Example Ltd}\n")
	b.importUsers()
	d.node = b.serve()
	return d
}

// withPortal adds a portal and further settings to the configuration of an installation.
func (b *bridge) withPortal(ca *testenv.Authority, settings string) *door {
	b.t.Helper()
	port, c := testenv.FreePort(b.t), ca.Server(b.t)
	b.extra = fmt.Sprintf("portal:\n  public_url: https://127.0.0.1:%d\n  address: 127.0.0.1:%d\n  tls: {cert_file: %s, key_file: %s}\n%s",
		port, port, c.CertFile, c.KeyFile, settings)
	return &door{bridge: b, url: fmt.Sprintf("https://127.0.0.1:%d", port), cert: c.TLS.Leaf}
}

func (d *door) browser(o chromium.Options) *chromium.Page {
	o.Trust = append(o.Trust, d.cert)
	return chromium.Start(d.t, o).NewPage()
}

// signIn types user name and password, and returns the status of what comes.
func (d *door) signIn(p *chromium.Page, user string) int {
	d.t.Helper()
	return d.enter(p, user, testenv.SlapdPassword(user))
}

func (d *door) enter(p *chromium.Page, user, password string) int {
	d.t.Helper()
	p.Open(d.url + "/login")
	p.Type("#username", user)
	p.Type("#password", password)
	return p.Click("button.primary")
}

// at checks where the browser is and what it shows.
func (d *door) at(p *chromium.Page, path, heading string) {
	d.t.Helper()
	if got := p.URL(); !strings.HasPrefix(got, d.url+path) {
		d.t.Errorf("at %s, want %s", got, path)
	}
	if got := p.Text("h1"); !strings.Contains(got, heading) {
		d.t.Fatalf("shows %q, want %q\n%s", got, heading, d.node.Output())
	}
}

var tokenLine = regexp.MustCompile(`^(?:[BCDFGHJKLMNPQRSTVWXZ]{4}-){5}[BCDFGHJKLMNPQRSTVWXZ]{4}$`)

// The whole journey of a user who must have a second factor and has none: an administrator's code, a device, recovery
// codes, a sign-in token, Service Studio's call with it; and when it is revoked, no more.
func TestPortalJourney(t *testing.T) {
	t.Parallel()
	t.Run("slapd", func(t *testing.T) {
		t.Parallel()
		user := testenv.SlapdUser(42)
		j := &journey{door: withPortal(t, "required"), user: user, password: testenv.SlapdPassword(user), id: 1042}
		j.other = testenv.SlapdUser(1)
		j.run()
	})
	t.Run("Samba", func(t *testing.T) {
		t.Parallel()
		b, _ := newDomainBridge(t, "")
		d := b.withPortal(testenv.CA(t), "mfa: {policy: required, issuer: Example Ltd}\n")
		d.node = b.serve()
		j := &journey{door: d, user: "alice", password: testenv.SambaPassword("alice"), id: 11, other: "bob"}
		j.run()
	})
}

// journey is that of a user of some directory.
type journey struct {
	*door
	user, password string
	id             int
	other          string // somebody else there
	p              *chromium.Page
	factor         enrolment
	token          string
}

func (j *journey) run() {
	j.t.Helper()
	j.p = j.browser(chromium.Options{})
	j.p.AllowClipboard(j.url)
	if a := j.must(j.node, j.user, j.password); a.Success {
		j.t.Error("signed in without a second factor")
	}
	j.setUpAFactor()
	j.makeAToken()
	j.useAndRevokeIt()
	j.p.Click(".who button")
	j.at(j.p, "/signedout", "You are signed out")
	j.look("8-signed-out")
	j.verifyAudit()
}

// look wants a page that is sound, and keeps a picture of it.
func (j *journey) look(name string) {
	j.t.Helper()
	j.p.Sound(name, maxPage)
	j.p.Screenshot(strings.ReplaceAll(j.t.Name(), "/", "-") + "/" + name)
}

func (j *journey) setUpAFactor() {
	j.t.Helper()
	p := j.p
	invitation := strings.SplitN(j.bridge.run("", "mfa", "invite", "--config", j.configure(1, 2), j.user), "\n", 2)[0]
	p.Open(j.url)
	j.look("1-signin")
	j.enter(p, j.user, j.password)
	j.at(p, "/login/next", "Set up a second factor")
	j.look("2-invitation")
	p.Type("#invitation", invitation)
	p.Click("button.primary")
	j.look("3-before-the-picture")
	p.Click("button.primary")
	j.at(p, "/login/enrol/show", "Set up your authenticator")
	p.Press("summary")
	secret, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(p.Text("#secret"), " ", ""))
	j.check(err)
	j.look("4-enrol")
	p.Type("#device", "My telephone")
	j.factor = enrolment{secret: secret, used: time.Now().Unix() / 30}
	p.Type("#code", j.factor.code(j.factor.used))
	p.Click("button.primary")
	j.at(p, "/login/enrol", "Save your recovery codes")
	j.look("5-recovery")
	p.Click("form button.primary")
	j.at(p, "/account", "Welcome, ")
	j.look("6-account")
}

func (j *journey) makeAToken() {
	j.t.Helper()
	p := j.p
	p.Click("button.primary")
	j.at(p, "/account/tokens", "Your sign-in token")
	j.look("7-token")
	j.token = p.Text("#token")
	if !tokenLine.MatchString(j.token) {
		j.t.Fatalf("the token is %q", j.token)
	}
	p.Press("[data-copy=token]")
	p.Wait("#said:not(:empty)")
	var copied string
	p.Eval(`navigator.clipboard.readText()`, &copied)
	if copied != j.token {
		j.t.Errorf("copied %q, shown %q", copied, j.token)
	}
}

func (j *journey) useAndRevokeIt() {
	j.t.Helper()
	p := j.p
	for range 2 { // the tool sends it again at every connection
		if a := j.must(j.node, j.user, j.token); !a.Success || a.UserID != j.id {
			j.t.Errorf("with the token: %+v\n%s", a, j.node.Output())
		}
	}
	if a := j.must(j.node, j.other, j.token); a.Success {
		j.t.Error("another user signed in with the token")
	}
	p.Click(".end a")
	if text := p.Text("table"); !strings.Contains(text, "production") {
		j.t.Errorf("the list of tokens does not tell of its use: %s", text)
	}
	p.Click("td.act button")
	if text := p.Text(".note.good"); !strings.Contains(text, "revoked") {
		j.t.Errorf("says %q", text)
	}
	if a := j.must(j.node, j.user, j.token); a.Success {
		j.t.Error("signed in with a revoked token")
	}
	if a := j.must(j.node, j.user, j.password+j.factor.next()); !a.Success {
		j.t.Errorf("password and code: %+v", a)
	}
}

// What people do that nobody plans for.
func TestPortalMishaps(t *testing.T) {
	t.Parallel()
	d := withPortal(t, "enrolled")
	user := testenv.SlapdUser(7)
	e := d.enrol(user)
	p := d.browser(chromium.Options{})

	d.signIn(p, user)
	d.at(p, "/login/next", "Enter your code")
	tab := p.Tab() // a second tab sees the same sign-in
	tab.Open(d.url + "/login/next")
	d.at(tab, "/login/next", "Enter your code")
	tab.Type("#code", "000000")
	if status := tab.Click("button.primary"); status != http.StatusUnauthorized {
		t.Errorf("a wrong code: status %d", status)
	}
	tab.Sound("a wrong code", maxPage)
	p.Type("#code", e.next()) // of the next half minute: the telephone's clock is fast
	p.ClickTwice("button.primary")
	p.Wait("#tokens")
	d.at(p, "/account", "Welcome, ")

	tab.Type("#code", "111111") // it comes too late, and is not held against anybody
	tab.Click("button.primary")
	d.at(tab, "/account", "Welcome, ")

	p.Back() // to the form of the code, which is over
	d.at(p, "/account", "Welcome, ")

	p.Open(d.url + "/account/factors/add")
	p.Type("#code", "000000")
	if status := p.Click("button.primary"); status != http.StatusUnauthorized {
		t.Errorf("another device with a wrong code: status %d", status)
	}
	if !slices.ContainsFunc(d.audit(), func(r record) bool {
		return r.Action == "factor change refused" && r.Kind == "bad_credentials" && r.Reason == "wrong_code"
	}) {
		t.Error("the refusal is not in the audit")
	}
	p.Open(d.url + "/account")

	var statuses []int
	p.Eval(`Promise.all([0, 1].map(() => fetch("/account/tokens", {method: "POST", body: new URLSearchParams(new FormData(
		document.querySelector("form.inline")))}).then(r => r.url.endsWith("/account/tokens") ? 1 : 0))).catch(() => [-1])`, &statuses)
	if len(statuses) != 1 || statuses[0] != -1 {
		t.Errorf("a script of a page could reach the portal: %v", statuses)
	}
	p.Errors() // of that refusal

	p.ClickTwice("button.primary")
	p.Wait("#token")
	p.Reload() // which sends the form again
	if p.Has("#token") || !strings.Contains(p.Text(".note.good"), "shown already") {
		t.Errorf("the form, sent again, made a second token:\n%s", p.Text("main"))
	}

	p.ForgetCookies()
	p.Open(d.url + "/account")
	d.at(p, "/login", "Sign in")

	refusing := d.browser(chromium.Options{NoCookies: true})
	if status := d.signIn(refusing, testenv.SlapdUser(8)); status != http.StatusBadRequest {
		t.Errorf("without cookies: status %d", status)
	}
	d.at(refusing, "/account", "Your browser refuses cookies")

	plain := d.browser(chromium.Options{Language: "de"})
	plain.NoScript()
	d.signIn(plain, testenv.SlapdUser(9))
	d.at(plain, "/account", "Willkommen")
	plain.Click("button.primary")
	d.at(plain, "/account/tokens", "Ihr Anmeldetoken")
}

// Somebody goes for coffee before the code: what was begun is over after ten minutes, the right code does not save it, and
// the page leads back to the beginning, from where everything works.
func TestPortalExpiredLogin(t *testing.T) {
	t.Parallel()
	d := withPortal(t, "enrolled")
	user := testenv.SlapdUser(7)
	e := d.enrol(user)
	p := d.browser(chromium.Options{})
	d.signIn(p, user)
	d.at(p, "/login/next", "Enter your code")
	d.endLogins()
	p.Type("#code", e.next())
	if status := p.Click("button.primary"); status != http.StatusBadRequest {
		t.Errorf("the code of an expired login: status %d", status)
	}
	d.at(p, "/login/code", "This sign-in is over")
	if text := p.Text("main"); !strings.Contains(text, "longer than ten minutes") {
		t.Errorf("does not say why: %s", text)
	}
	p.Sound("an expired login", maxPage)
	p.Click("main a.button")
	d.at(p, "/login", "Sign in")
	d.signIn(p, user)
	d.at(p, "/login/next", "Enter your code")
	p.Type("#code", e.code(max(e.used, time.Now().Unix()/30-1))) // which the expired login did not use up
	p.Click("button.primary")
	d.at(p, "/account", "Welcome, ")
}

// endLogins lets the time of every login that waits run out, behind the node's back.
func (d *door) endLogins() {
	d.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.dir, "idbridge.db")+"?_pragma=busy_timeout(5000)")
	d.check(err)
	defer func() { _ = db.Close() }()
	result, err := db.Exec(`UPDATE logins SET expires = $1`, time.Now().Add(-time.Second).UnixMicro())
	d.check(err)
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		d.t.Fatalf("%d logins wait, want 1; %v", n, err)
	}
}

// A real identity provider of another site, and no other: the browser goes there by itself, signs in, and comes back with a
// POST from elsewhere that only the cookie of the login lets in. Requests by POST are in TestSAMLVariantsInABrowser.
func TestPortalWithSAML(t *testing.T) {
	t.Parallel()
	s := newSAMLDoor(t, []samlVariant{{"sso", "}", testenv.SAMLParty{SignResponse: true, SignAssertion: true}}})
	s.p.Open(s.url)
	s.atTheProvider()
	s.welcomed()
	s.p.Open(s.url + "/account") // without the other site's pages before it
	s.p.Sound("the account", maxPage)
	s.p.Click("form.inline button.primary")
	if a := s.must(s.node, "ann", s.p.Text("#token")); !a.Success || a.UserID != 11 {
		t.Errorf("with the token: %+v\n%s", a, s.node.Output())
	}
}

// A password of the domain that has expired is changed on the way, against a real domain controller.
func TestPortalChangesADomainPassword(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "")
	ca := testenv.CA(t)
	d := b.withPortal(ca, "")
	b.run("", "users", "import", "--config", b.configure(1, 2), b.write("more.csv", "username,active,id:production\nmustchange,true,21\n"))
	d.node = b.serve()
	p := d.browser(chromium.Options{})
	d.enter(p, "mustchange", testenv.SambaPassword("mustchange"))
	d.at(p, "/login/next", "Choose a new password")
	p.Sound("a new password", maxPage)
	change := func(next string) int {
		t.Helper()
		p.Type("#current", testenv.SambaPassword("mustchange"))
		p.Type("#new", next)
		p.Type("#again", next)
		return p.Click("button.primary")
	}
	if status := change("short"); status != http.StatusUnprocessableEntity {
		t.Errorf("too short: status %d: %s", status, p.Text("main"))
	}
	const next = "Quite-another-9-passphrase"
	change(next)
	d.at(p, "/account", "Welcome, ")
	if a := d.must(d.node, "mustchange", next); !a.Success || a.UserID != 21 {
		t.Errorf("with the new password: %+v\n%s", a, d.node.Output())
	}
	if dc.Attribute(t, "mustchange", "pwdLastSet") == "0" {
		t.Error("the domain still wants a change")
	}
}

// The day on which the directory is dead: an administrator comes in with a break-glass account, whose first password is
// changed on the way, and the platform takes the token.
func TestPortalBreakGlass(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	directory := b.providers
	b.providers = func() string { return directory() + "  - {id: glass, type: local, match: {pattern: 'bg-.+'}}\n" }
	d := b.withPortal(b.slapd.CA, "call_timeout: 3m\n") // one argon2id can take long on a machine that runs other tests beside this one
	config := b.configure(1, 2)
	b.run("", "users", "import", "--config", config, b.write("glass.csv", "username,active,id:production\nbg-alice,true,77\n"))
	first := regexp.MustCompile(`only now: (\S+)`).FindStringSubmatch(b.run("", "breakglass", "add", "--config", config, "bg-alice"))
	e := b.enrol("bg-alice")
	b.importUsers()
	d.node = b.serve()
	token := d.tokenOf(testenv.SlapdUser(3))
	b.slapd.Kill()
	d.saysThatAllIsDown()
	if a := d.must(d.node, testenv.SlapdUser(3), token); !a.Success {
		t.Errorf("with a token from before: %+v\n%s", a, d.node.Output())
	}
	p := d.browser(chromium.Options{})
	if status := d.enter(p, "bg-alice", first[1]); status != http.StatusUnauthorized {
		t.Errorf("outside of its window: status %d", status)
	}
	b.run("", "breakglass", "activate", "--config", config, "bg-alice", "--for", "1h")
	if status := d.enter(p, testenv.SlapdUser(1), testenv.SlapdPassword(testenv.SlapdUser(1))); status != http.StatusServiceUnavailable {
		t.Errorf("a user of the dead directory: status %d", status)
	}
	d.enter(p, "bg-alice", first[1])
	d.at(p, "/login/next", "Enter your code")
	p.Type("#code", e.next())
	p.Click("button.primary")
	d.at(p, "/login/next", "Choose a new password")
	p.Type("#current", first[1])
	p.Type("#new", "correct horse battery")
	p.Type("#again", "correct horse battery")
	p.Click("button.primary")
	d.at(p, "/account", "Welcome, ")
	p.Click("form.inline button.primary")
	if a := d.must(d.node, "bg-alice", p.Text("#token")); !a.Success || a.UserID != 77 {
		t.Errorf("with the token: %+v\n%s", a, d.node.Output())
	}
	if !slices.ContainsFunc(d.audit(), func(r record) bool { return r.Action == "break-glass portal sign-in" && r.Kind == "ok" }) ||
		!strings.Contains(d.node.Output(), "break-glass sign-in") {
		t.Error("it was not loud")
	}
	b.slapd.Restart(t)
	b.await("people sign in again, without a restart", func() bool {
		return b.must(d.node, testenv.SlapdUser(1), testenv.SlapdPassword(testenv.SlapdUser(1))).Success
	})
	b.await("it is said that all is well", func() bool { return strings.Contains(b.operators(d.node, "/readyz"), "provider corp: ok\n") })
}

// tokenOf is a sign-in token of somebody who signs in at the portal.
func (d *door) tokenOf(user string) string {
	d.t.Helper()
	person := d.person()
	person.post("/login", "username", user, "password", testenv.SlapdPassword(user))
	token := tokenText.FindString(strings.ReplaceAll(person.post("/account/tokens", "once", rand.Text()), "<wbr>", ""))
	if a := d.must(d.node, user, token); !a.Success {
		d.t.Fatalf("with the token %q: %+v\n%s", token, a, d.node.Output())
	}
	return token
}

// saysThatAllIsDown holds what docs/operations.md says of that against a node.
func (d *door) saysThatAllIsDown() {
	d.t.Helper()
	if a := d.must(d.node, testenv.SlapdUser(1), testenv.SlapdPassword(testenv.SlapdUser(1))); a.Success || !strings.Contains(a.Message, "try again") {
		d.t.Errorf("with every directory down: %+v", a)
	}
	d.waitReady(d.node, d.node.metrics+"/readyz") // a node that is taken out of rotation could not even say "try again"
	d.await("the directory is told to be down", func() bool {
		text := d.operators(d.node, "/readyz")
		return strings.Contains(text, "provider corp: ") && !strings.Contains(text, "provider corp: ok") && strings.Contains(text, "store: ok")
	})
	const unanswered = `idbridge_sign_ins_total\{environment="production",kind="unavailable",provider="corp"\}`
	if n := d.metric(d.node, unanswered); n != 1 {
		d.t.Errorf("%v sign-ins without an answer are counted", n)
	}
}

// Whatever ends a token ends it at once on every node: revoking it, signing out everywhere, disabling the user; and it stays
// ended when the user is enabled again.
func TestTokensEndOnEveryNode(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testing.T) string{
		"sqlite":     func(*testing.T) string { return "driver: sqlite\n  path: idbridge.db" },
		"postgresql": func(t *testing.T) string { return "driver: postgres\n  dsn: " + testenv.Postgres(t).DSN },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBridge(t)
			b.store = store(t)
			d := b.withPortal(b.slapd.CA, "")
			b.importUsers()
			d.node = b.serve()
			b.extra = "" // the other node has no portal
			other := b.serve()
			user := testenv.SlapdUser(3)
			person := d.person()
			token := func() string {
				t.Helper()
				person.post("/login", "username", user, "password", testenv.SlapdPassword(user))
				token := tokenText.FindString(strings.ReplaceAll(person.post("/account/tokens", "once", rand.Text()), "<wbr>", ""))
				if a := b.must(other, user, token); !a.Success {
					t.Fatalf("with the token %q: %+v\n%s", token, a, other.Output())
				}
				return token
			}
			config := b.configure(1, 2)
			for what, end := range map[string]func(){
				"revoked":               func() { person.post("/account/tokens/revoke", "all", "1") },
				"signed out everywhere": func() { person.post("/account/signout-everywhere") },
				"disabled":              func() { b.run("", "users", "disable", "--config", config, user) },
				"enabled again": func() {
					b.run("", "users", "disable", "--config", config, user)
					b.run("", "users", "enable", "--config", config, user)
				},
			} {
				b.run("", "users", "enable", "--config", config, user)
				ended := token()
				end()
				for _, n := range []*node{d.node, other} {
					if a := b.must(n, user, ended); a.Success {
						t.Errorf("%s: signed in with the token", what)
					}
				}
			}
		})
	}
}

var tokenText = regexp.MustCompile(`(?:[BCDFGHJKLMNPQRSTVWXZ]{4}-){5}[BCDFGHJKLMNPQRSTVWXZ]{4}`)

// visitor is a browser without a screen.
type visitor struct {
	*door
	client *http.Client
}

func (d *door) person() visitor {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	d.check(err)
	trusted := x509.NewCertPool()
	trusted.AddCert(d.cert)
	return visitor{d, &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}}
}

// post sends a form and returns the page that comes in the end.
func (v visitor) post(path string, fields ...string) string {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	resp, err := v.client.PostForm(v.url+path, form)
	v.check(err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	v.check(err)
	if resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: %s\n%s", path, resp.Status, text)
	}
	return string(text)
}
