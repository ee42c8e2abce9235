package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// adminDoor is the settings of an administrators' door, its address and its certificate.
func adminDoor(t *testing.T, roles string) (at string, beside besides) {
	t.Helper()
	port, c := testenv.FreePort(t), testenv.CA(t).Server(t)
	at = fmt.Sprintf("https://127.0.0.1:%d", port)
	settings := fmt.Sprintf("admin:\n  public_url: %s\n  address: 127.0.0.1:%d\n  tls: {cert_file: %s, key_file: %s}\n  allow_from: [127.0.0.0/8]\n  roles: [%s]\n",
		at, port, c.CertFile, c.KeyFile, roles)
	return at, besides{settings, []*x509.Certificate{c.TLS.Leaf}}
}

// Administrators sign in at a real identity provider, which asks them again although it has a session of theirs. Its answers
// come back to the administrators' door, and are worth nothing anywhere else, in another browser, or twice.
func TestAdministratorsBySAML(t *testing.T) {
	t.Parallel()
	at, beside := adminDoor(t, "{role: administrator, provider: sso, group: administrators}, {role: operator, provider: plain, group: administrators}")
	party := testenv.SAMLParty{SignAssertion: true, OtherACS: at}
	strong := party
	strong.AuthnContext = "urn:example:mfa"
	s := newSAMLDoor(t, []samlVariant{{"sso", ", groups: memberOf}\n    factors_from: [urn:example:mfa]", strong},
		{"plain", ", groups: memberOf}", party}}, beside)
	s.run("", "users", "import", "--config", s.configure(1, 2), s.write("more.csv", "username,active,id:production\nbob,true,12\n"))
	if text := s.run("", "saml", "metadata", "--config", s.configure(1, 2), "sso"); !strings.Contains(text, `Location="`+at+`/saml/sso/acs" index="1"`) {
		t.Errorf("our metadata lacks the administrators' address:\n%s", text)
	}
	admins := &door{bridge: s.bridge, node: s.node, url: at}
	press := func(id string) {
		s.p.Open(at + "/login")
		s.p.Press(`.choices form:has(input[value="` + id + `"]) button`)
	}

	s.signInAt("sso")
	s.welcomed() // the identity provider has a session now
	press("sso")
	s.atTheProvider()
	s.p.Wait("nav")
	admins.at(s.p, "/", "Overview")

	s.goesOnAfterSigningIn(admins)

	s.foreignBrowsers(at)

	s.p.ForgetCookies()
	press("plain")
	s.atTheProvider()
	s.p.Wait("main h1")
	admins.at(s.p, "/login/next", "Set up a second factor") // who vouches for no second factor proves none

	s.p.ForgetCookies()
	press("sso")
	s.p.Wait("input[name=password]")
	s.p.Type("input[name=username]", "bob")
	s.p.Type("input[name=password]", "pw-bob")
	s.p.Press("button[type=submit], input[type=submit]")
	s.p.Wait("main h1")
	admins.at(s.p, "/", "You administer nothing here")
	s.verifyAudit()
}

// goesOnAfterSigningIn sends a form whose sender has to go to the identity provider first: nothing of it is lost, nothing is done
// before it is confirmed, and it is done once.
func (s *samlDoor) goesOnAfterSigningIn(admins *door) {
	s.t.Helper()
	const typed = "Bob <of> the Canary"
	user := func() string { return s.run("", "users", "show", "--config", s.configure(1, 2), "bob") }
	s.proveLongAgo()
	s.p.Open(admins.url + "/users/edit?name=bob")
	s.p.Type("#fullname", typed)
	s.p.Click("button.primary")
	admins.at(s.p, "/login?notice=kept", "Administration")
	for _, name := range []string{"idbridge.db", "idbridge.db-wal"} {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		s.check(err)
		if strings.Contains(string(text), "Canary") {
			s.t.Errorf("what was typed is in clear in %s", name)
		}
	}
	s.p.Press(`.choices form:has(input[value="sso"]) button`)
	s.atTheProvider() // again, although it has a session
	s.p.Wait("dl.facts")
	admins.at(s.p, "/resume", "Edit bob")
	s.p.Open(admins.url + "/resume") // again: what was seen on the way is not its own
	s.p.Sound("resume", 60<<10)
	s.p.Screenshot("admin/resume")
	if shown := s.p.Text("dl.facts"); !strings.Contains(shown, typed) {
		s.t.Errorf("it shows %q", shown)
	}
	if text := user(); strings.Contains(text, "Canary") {
		s.t.Errorf("it was done already: %s", text)
	}
	s.p.Click("button.primary")
	admins.at(s.p, "/users/show?name=bob&notice=saved", typed)
	if text := user(); !strings.Contains(text, typed) {
		s.t.Errorf("it was not done: %s", text)
	}
	s.p.Open(admins.url + "/resume")
	admins.at(s.p, "/resume", "That was not done")
}

// proveLongAgo makes the sessions' second factors as old as a quarter of an hour.
func (s *samlDoor) proveLongAgo() {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "idbridge.db")+"?_pragma=busy_timeout(5000)")
	s.check(err)
	defer func() { _ = db.Close() }()
	_, err = db.Exec(`UPDATE sessions SET data = json_set(CAST(data AS TEXT), '$.Proven', $1)`,
		time.Now().Add(-15*time.Minute).Format(time.RFC3339))
	s.check(err)
}

// foreignBrowsers bring the answer to what one browser has begun to both doors; then that browser does, twice.
func (s *samlDoor) foreignBrowsers(admins string) {
	s.t.Helper()
	client := func() *http.Client {
		jar, err := cookiejar.New(nil)
		s.check(err)
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true} //nolint:gosec // a test
		s.t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	post := func(c *http.Client, to string, form url.Values) (status int, body string) {
		s.t.Helper()
		resp, err := c.PostForm(to, form)
		s.check(err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		s.check(err)
		return resp.StatusCode, string(text)
	}
	own := client()
	_, page := post(own, admins+"/login/begin", url.Values{"provider": {"sso"}})
	found := regexp.MustCompile(`http-equiv="refresh" content="[0-9]+; ?url=([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		s.t.Fatalf("nowhere to go: %s", page)
	}
	m := s.idp.Browser("ann", "pw-ann").Go(s.t, html.UnescapeString(found[1]), nil)
	if m.To != admins+"/saml/sso/acs" {
		s.t.Fatalf("the answer goes to %s", m.To)
	}
	attempts := []struct {
		what   string
		by     *http.Client
		to     string
		status int
		reason string
	}{
		{"another browser", client(), m.To, http.StatusForbidden, "answer_without_login"},
		{"the portal", own, s.url + "/saml/sso/acs", http.StatusForbidden, "answer_without_login"},
		{"the browser that began", own, m.To, http.StatusSeeOther, ""},
		{"once more", own, m.To, http.StatusForbidden, "answer_without_login"},
	}
	for _, one := range attempts {
		if status, _ := post(one.by, one.to, m.Form); status != one.status {
			s.t.Errorf("%s: status %d", one.what, status)
		}
	}
	all := s.audit()
	for i, r := range all[len(all)-len(attempts):] {
		if r.Reason != attempts[i].reason {
			s.t.Errorf("%s: %+v", attempts[i].what, r)
		}
	}
}

// Administrators sign in at Entra, with the code of an app as their second factor. Where the request is stripped in the browser
// of what makes Entra ask again, nobody comes in.
func TestAdministratorsByEntra(t *testing.T) {
	t.Parallel()
	at, beside := adminDoor(t, "{role: administrator, provider: cloud, group: idbridge-admins}")
	e := withEntra(t)
	e.extra += beside.settings
	e.ann.Roles = []string{"idbridge-admins"}
	e.app.RedirectURIs = append(e.app.RedirectURIs, at+"/oidc/cloud/callback")
	code := e.enrol("ann@corp.example")
	if out, _ := e.try("check", "--config", e.configure(1, 2)); !strings.Contains(strings.Join(strings.Fields(out), " "), "callback, "+at+"/oidc/cloud/callback") {
		t.Errorf("check does not tell the second redirect URI:\n%s", out)
	}
	e.node = e.serve()
	admins := &door{bridge: e.bridge, node: e.node, url: at}
	p := e.browser(chromium.Options{Trust: append(beside.trust, e.Certificate, e.idp.Front)})
	away := func() {
		p.Open(at + "/login")
		p.Click(`form:has(input[name=provider][value=cloud]) button`)
		p.Wait("input[name=passwd]")
	}
	there := func() {
		p.Type("input[name=loginfmt]", e.ann.UPN)
		p.Type("input[name=passwd]", e.ann.Password)
		p.Click("#idSIButton9")
	}
	away()
	asked, err := url.Parse(p.URL())
	e.check(err)
	if q := asked.Query(); q.Get("prompt") != "login" || q.Get("max_age") != "0" {
		t.Errorf("asked with %v", q)
	}
	there()
	admins.at(p, "/login/next", "Enter your code")
	p.Type("#code", code.next())
	p.Click("button.primary")
	admins.at(p, "/", "Overview")

	p.ForgetCookies()
	away()
	asked, err = url.Parse(p.URL())
	e.check(err)
	q := asked.Query()
	q.Del("prompt")
	q.Del("max_age")
	asked.RawQuery = q.Encode()
	p.Open(asked.String())
	there()
	if all := e.audit(); all[len(all)-1].Reason != "entra_config" {
		t.Errorf("the request without max_age: %+v at %s", all[len(all)-1], p.URL())
	}
	p.Errors()
}
