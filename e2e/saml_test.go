package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// samlDoor is a portal in front of one real identity provider, which several providers of the configuration stand for: each
// is registered there with another behaviour.
type samlDoor struct {
	*door
	idp *testenv.SimpleSAMLphpServer
	p   *chromium.Page
}

// samlVariant is one of them.
type samlVariant struct {
	id, config string
	party      testenv.SAMLParty
}

func newSAMLDoor(t *testing.T, variants []samlVariant, beside ...besides) *samlDoor {
	t.Helper()
	more := append(beside, besides{})[0]
	idp := testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{})
	b := emptyBridge(t)
	b.providers = func() (list string) {
		for _, v := range variants {
			list += fmt.Sprintf("  - id: %s\n    type: saml\n    label: %s\n    it_user: {shared: true}\n    entity_id: %s\n"+
				"    metadata: {url: %s, ca_file: %s}\n    attributes: {username: uid, name: displayName%s\n",
				v.id, v.id, idp.EntityID, idp.MetadataURL, idp.CA.File, v.config)
		}
		return list
	}
	s := &samlDoor{door: b.withPortal(idp.CA, more.settings), idp: idp}
	b.run("", "users", "import", "--config", b.configure(1, 2), b.write("users.csv", "username,active,id:production\nann,true,11\n"))
	s.node = b.serve()
	for _, v := range variants {
		idp.Register(t, s.party(v))
	}
	s.p = s.browser(chromium.Options{Trust: append(more.trust, idp.Front)})
	return s
}

// besides is what an installation has beside its portal.
type besides struct {
	settings string // of its configuration
	trust    []*x509.Certificate
}

// party is how the identity provider's administrator registers a variant: with what our metadata says.
func (s *samlDoor) party(v samlVariant) testenv.SAMLParty {
	s.t.Helper()
	p := v.party
	p.EntityID, p.ACS = s.url+"/saml/"+v.id+"/metadata", s.url+"/saml/"+v.id+"/acs"
	if p.OtherACS != "" {
		p.OtherACS += "/saml/" + v.id + "/acs"
	}
	metadata := s.run("", "saml", "metadata", "--config", s.configure(1, 2), v.id)
	found := certificate.FindStringSubmatch(metadata)
	if found == nil {
		s.t.Fatalf("no certificate in our metadata:\n%s", metadata)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(found[1]), ""))
	s.check(err)
	p.Certificate = der
	return p
}

var certificate = regexp.MustCompile(`X509Certificate>([^<]+)<`)

// signInAt begins in the portal and signs ann in at the identity provider.
func (s *samlDoor) signInAt(id string) {
	s.t.Helper()
	s.p.Open(s.url + "/login")
	s.p.Press(`.choices form:has(input[value="` + id + `"]) button`)
	s.atTheProvider()
}

func (s *samlDoor) atTheProvider() {
	s.t.Helper()
	s.p.Wait("input[name=password]")
	s.p.Type("input[name=username]", "ann")
	s.p.Type("input[name=password]", "pw-ann")
	s.p.Press("button[type=submit], input[type=submit]")
}

func (s *samlDoor) welcomed() {
	s.t.Helper()
	s.p.Wait("#tokens")
	s.at(s.p, "/account", "Welcome, Ann Example")
}

func (s *samlDoor) refusedWith(reason string) {
	s.t.Helper()
	s.p.Wait("h1")
	all := s.audit()
	if last := all[len(all)-1]; last.Reason != reason || last.Kind != "untrusted" {
		s.t.Errorf("the audit ends with %s (%s), want %s: %s", last.Kind, last.Reason, reason, s.p.Text("body"))
	}
	s.p.Errors() // of the page's status
}

// Each way in which a real identity provider signs, encrypts and names people, through a real browser.
func TestSAMLVariantsInABrowser(t *testing.T) {
	t.Parallel()
	s := newSAMLDoor(t, []samlVariant{
		{"signed-response", "}\n    want_signed: response", testenv.SAMLParty{SignResponse: true}},
		{"signed-assertion", "}\n    want_signed: assertion", testenv.SAMLParty{SignAssertion: true}},
		{"signed-both", "}\n    want_signed: both", testenv.SAMLParty{SignResponse: true, SignAssertion: true}},
		{"encrypted", "}\n    want_encrypted: true", testenv.SAMLParty{SignAssertion: true, EncryptAssertion: true}},
		{"signed-requests", "}\n    binding: post", testenv.SAMLParty{SignAssertion: true, WantSignedRequests: true}},
		{"email-names", ", subject: uid}\n    name_id_format: emailAddress",
			testenv.SAMLParty{SignAssertion: true, NameIDFormat: "emailAddress", NameIDFrom: "mail"}},
		{"not-signed-enough", "}\n    want_signed: both", testenv.SAMLParty{SignAssertion: true}},
	})
	for _, id := range []string{"signed-response", "signed-assertion", "signed-both", "encrypted", "signed-requests", "email-names"} {
		s.p.ForgetCookies()
		s.signInAt(id)
		s.welcomed()
		if t.Failed() {
			t.Fatal(id)
		}
	}
	s.p.ForgetCookies()
	s.signInAt("not-signed-enough")
	s.refusedWith("response_not_signed")
}

// People who begin at the identity provider come in where that is allowed, and only there.
func TestSAMLFromTheProvidersOwnPage(t *testing.T) {
	t.Parallel()
	s := newSAMLDoor(t, []samlVariant{
		{"refusing", "}", testenv.SAMLParty{SignAssertion: true}},
		{"allowing", "}\n    idp_initiated: true", testenv.SAMLParty{SignAssertion: true}},
	})
	begin := func(id string) {
		s.p.ForgetCookies()
		s.p.Open(s.idp.InitiatedSSO + url.QueryEscape(s.url+"/saml/"+id+"/metadata"))
		s.atTheProvider()
	}
	begin("refusing")
	s.p.Wait("h1")
	s.refusedWith("answer_without_login")
	begin("allowing")
	s.welcomed()
}

// ssoAndAnother are two, so that the first page stays.
func ssoAndAnother() []samlVariant {
	party := testenv.SAMLParty{SignAssertion: true}
	return []samlVariant{{"sso", "}", party}, {"another", "}", party}}
}

// Signing out here signs out there, and the other way round.
func TestSAMLSingleLogoutInABrowser(t *testing.T) {
	t.Parallel()
	s := newSAMLDoor(t, ssoAndAnother())
	party := s.party(samlVariant{id: "sso", party: testenv.SAMLParty{SignAssertion: true}})
	party.SLO = s.url + "/saml/sso/slo"
	s.idp.Register(t, party)

	s.signInAt("sso")
	s.welcomed()
	s.p.Press(`form[action$="/signout"] button`)
	s.p.Wait("main a[href*='/login']")
	s.at(s.p, "/signedout", "signed out")
	s.signInAt("sso") // which asks for the password again: the session there has ended too
	s.welcomed()

	s.p.Open(s.idp.SLO + "?ReturnTo=" + url.QueryEscape(s.idp.URL+"/"))
	s.signedOut()
}

// signedOut checks that the browser's session is over.
func (s *samlDoor) signedOut() {
	s.t.Helper()
	s.p.Open(s.url + "/account")
	s.at(s.p, "/login", "Sign in")
}

// The identity provider changes its certificate between two sign-ins; then it is down, and signing out still works here.
func TestSAMLProviderChangesAndFails(t *testing.T) {
	t.Parallel()
	s := newSAMLDoor(t, ssoAndAnother())
	s.signInAt("sso")
	s.welcomed()
	s.p.ForgetCookies()
	s.idp.RollOver(t)
	s.signInAt("sso")
	s.welcomed()

	s.idp.Stop()
	s.p.Open(s.url + "/account")
	s.at(s.p, "/account", "Welcome, Ann Example") // who is signed in stays so
	other := s.p.Tab()
	s.p.Click(`form[action$="/signout"] button`) // and on to a provider that does not answer
	s.p = other
	s.signedOut()
}

// An answer that nobody asked for is the one that could be shown twice: not at another node, and not after a restart.
func TestSAMLReplayAtAnotherNode(t *testing.T) {
	s := newSAMLDoor(t, []samlVariant{{"allowing", "}\n    idp_initiated: true", testenv.SAMLParty{SignAssertion: true}}})
	answer := s.idp.Browser("ann", "pw-ann").Go(t, s.idp.InitiatedSSO+url.QueryEscape(s.url+"/saml/allowing/metadata"), nil)
	client := http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.idp.CA.Pool}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	show := func(at string, status int) {
		t.Helper()
		resp, err := client.PostForm(at+"/saml/allowing/acs", answer.Form)
		s.check(err)
		_ = resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("status %d, want %d", resp.StatusCode, status)
		}
		if all := s.audit(); status == http.StatusForbidden && all[len(all)-1].Reason != "replayed" {
			t.Errorf("refused as %s", all[len(all)-1].Reason)
		}
	}
	show(s.url, http.StatusSeeOther)
	show(s.url, http.StatusForbidden)

	here, there := strings.TrimPrefix(s.url, "https://"), fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	first := s.extra
	s.extra = strings.Replace(first, "address: "+here, "address: "+there, 1)
	second := s.serve()
	show("https://"+there, http.StatusForbidden)

	second.Stop()
	s.node.Stop()
	s.extra = first
	s.node = s.serve()
	show(s.url, http.StatusForbidden)
}
