package e2e_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/chromium"
	"github.com/idbridge/idbridge/testenv/entra"
)

// entraDoor is an installation whose people sign in at a stand-in for Entra ID.
type entraDoor struct {
	*door
	*entra.Server
	ann, cai *entra.Person
	app      *entra.App
	idp      *testenv.SimpleSAMLphpServer
}

// withEntra starts a node with the same tenant twice: by OpenID Connect, and by SAML.
func withEntra(t *testing.T) *entraDoor {
	t.Helper()
	b, port := emptyBridge(t), testenv.FreePort(t)
	e := &entraDoor{door: &door{bridge: b, url: fmt.Sprintf("https://127.0.0.1:%d", port)}}
	e.ann = &entra.Person{OID: entra.GUID("ann"), UPN: "ann@corp.example", Name: "Ann Lee", Password: "pw-of-ann"}
	e.cai = &entra.Person{OID: entra.GUID("cai"), UPN: "cai@corp.example", Name: "Cai", Password: "pw-of-cai", Refused: 53003}
	e.app = &entra.App{
		ID: entra.GUID("app"), Secrets: map[string]time.Time{"CANARY-of-the-app": {}}, RedirectURIs: []string{e.url + "/oidc/cloud/callback"}}
	tenant := &entra.Tenant{ID: entra.GUID("corp"), People: []*entra.Person{e.ann, e.cai}, Apps: []*entra.App{e.app}}
	e.Server = entra.Start(t, tenant)
	e.federate(tenant)
	c := testenv.CA(t).Server(t)
	e.cert = c.TLS.Leaf
	b.providers = func() string {
		common := fmt.Sprintf("    type: azuread\n    tenant: %s\n    client_id: %s\n    authority: %s\n    graph: %s\n    ca_file: %s\n",
			tenant.ID, entra.GUID("app"), e.Authority, e.Graph, e.CAFile)
		return "  - id: cloud\n    label: Example Cloud\n    credentials: [{secret: CANARY-of-the-app}]\n    groups: {source: roles}\n" + common +
			"  - id: saml\n    label: Example SAML\n    protocol: saml\n    it_user: {shared: true}\n" + common
	}
	b.extra = fmt.Sprintf("portal:\n  public_url: %s\n  address: 127.0.0.1:%d\n  tls: {cert_file: %s, key_file: %s}\n", e.url, port,
		c.CertFile, c.KeyFile)
	users := "username,name,email,active,id:production\nann@corp.example,Ann Lee,,true,1001\ncai@corp.example,Cai,,true,1002\n"
	b.run("", "users", "import", "--config", b.configure(1, 2), b.write("users.csv", users))
	return e
}

// federate gives the tenant a SAML side: a SimpleSAMLphp that calls itself what Entra does, and says what Entra says.
func (e *entraDoor) federate(tenant *entra.Tenant) {
	const claims, schemas = "http://schemas.microsoft.com/identity/claims/", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	issuer := "https://sts.windows.net/" + tenant.ID + "/"
	e.idp = testenv.SimpleSAMLphp(e.t, testenv.SimpleSAMLphpConfig{Entity: issuer, People: map[string]testenv.SAMLPerson{
		"ann": {Password: "pw-of-ann", Attributes: map[string][]string{
			claims + "tenantid": {tenant.ID}, claims + "objectidentifier": {e.ann.OID}, claims + "displayname": {"Ann Lee"},
			claims + "identityprovider": {issuer}, schemas + "name": {"ann@corp.example"}}},
	}, Parties: []testenv.SAMLParty{{EntityID: e.url + "/saml/saml/metadata", ACS: e.url + "/saml/saml/acs", SignAssertion: true,
		NameIDFormat: "emailAddress", NameIDFrom: schemas + "name"}}})
	tenant.SAML = &entra.Federation{Entity: issuer, SSO: e.idp.SSO, Certificate: e.idp.Certificate.Raw}
}

func (e *entraDoor) chromium() *chromium.Page {
	return e.browser(chromium.Options{Trust: []*x509.Certificate{e.Certificate, e.idp.Front}})
}

// goTo presses a provider's button on the first page, and waits for the page of the provider.
func (e *entraDoor) goTo(p *chromium.Page, id, field string) {
	p.Open(e.url + "/login")
	p.Click(`form:has(input[name=provider][value=` + id + `]) button`)
	p.Wait(field)
}

func (e *entraDoor) signInAtEntra(p *chromium.Page, who *entra.Person) int {
	e.goTo(p, "cloud", "input[name=passwd]")
	p.Type("input[name=loginfmt]", who.UPN)
	p.Type("input[name=passwd]", who.Password)
	return p.Click("#idSIButton9")
}

// The whole journey by OpenID Connect: Entra's page, back to the portal, a sign-in token, Service Studio's call with it.
func TestEntraJourney(t *testing.T) {
	t.Parallel()
	e := withEntra(t)
	e.node = e.serve()
	p := e.chromium()
	e.signInAtEntra(p, e.ann)
	e.at(p, "/account", "Welcome, Ann Lee")
	p.Click("button.primary")
	if a := e.must(e.node, "ann@corp.example", p.Text("#token")); !a.Success || a.UserID != 1001 {
		t.Errorf("with the token: %+v\n%s", a, e.node.Output())
	}
	again := e.Calls("token")
	p.Open(e.url + "/oidc/cloud/callback?code=stolen&state=guessed")
	if got := p.Text("h1"); !strings.Contains(got, "could not be trusted") || e.Calls("token") != again {
		t.Errorf("an answer that nobody asked for: %q", got)
	}
	e.verifyAudit()
	if strings.Contains(e.node.Output(), "CANARY") {
		t.Error("the application's secret is in the log")
	}
}

// By SAML the same person is another account of the same IT user, as the configuration shares them.
func TestEntraJourneyBySAML(t *testing.T) {
	t.Parallel()
	e := withEntra(t)
	e.node = e.serve()
	p := e.chromium()
	e.goTo(p, "saml", "#username")
	p.Type("#username", "ann")
	p.Type("#password", "pw-of-ann")
	p.Click("form button")
	p.Wait("main h1")
	e.at(p, "/account", "Welcome, Ann Lee")
}

// TestEntraRefuses: the person reads a page with a number; the number leads the administrator to Entra's own words.
func TestEntraRefuses(t *testing.T) {
	t.Parallel()
	e := withEntra(t)
	e.node = e.serve()
	p := e.chromium()
	if status := e.signInAtEntra(p, e.cai); status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
	e.at(p, "/oidc/cloud/callback", "You cannot sign in now")
	line := regexp.MustCompile(`(?m)^.*id=` + regexp.QuoteMeta(p.Text("dd code")) + ` .*$`).FindString(e.node.Output())
	for _, want := range []string{"reason=conditional_access", "AADSTS53003", "Conditional Access policy", entra.CorrelationID(53003)} {
		if !strings.Contains(line, want) {
			t.Errorf("the log line does not say %q: %s", want, line)
		}
	}
	if text := p.Text("main"); strings.Contains(text, "AADSTS") {
		t.Errorf("the page shows the inside: %s", text)
	}
	e.signInAtEntra(p, e.ann)
	e.at(p, "/account", "Welcome, Ann Lee")
}

// TestEntraCheck: what an administrator reads before users notice.
func TestEntraCheck(t *testing.T) {
	t.Parallel()
	e := withEntra(t)
	out, _ := e.try("check", "--config", e.configure(1, 2))
	u, err := url.Parse(e.url)
	e.check(err)
	for _, want := range []string{`ok +redirect URI +https://` + u.Host + `/oidc/cloud/callback`, `ok +tenant +`, `ok +credentials\[0\]`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("check does not say %s:\n%s", want, out)
		}
	}
}
