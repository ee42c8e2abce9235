package saml

import (
	"encoding/base64"
	"net/url"
	"testing"

	"github.com/beevik/etree"

	"github.com/idbridge/idbridge/authn"
)

// asks is the AuthnRequest that a browser is sent away with.
func asks(t *testing.T, s *party) *etree.Element {
	t.Helper()
	to, err := s.Begin(t.Context(), authn.Ask{State: "state"})
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	if to.Fields != nil {
		raw, err = base64.StdEncoding.DecodeString(to.Fields.Get("SAMLRequest"))
	} else {
		var u *url.URL
		if u, err = url.Parse(to.URL); err == nil {
			raw, err = decodeRedirect(u.Query().Get("SAMLRequest"))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return parseTest(string(raw))
}

// TestWhatIsAskedFor: each setting is in the request, and nothing that was not set.
func TestWhatIsAskedFor(t *testing.T) {
	text := func(e *etree.Element) string {
		if e == nil {
			return ""
		}
		return e.Text()
	}
	key, err := lonersKey()
	if err != nil {
		t.Fatal(err)
	}
	contexts := func(e *etree.Element) (list string) {
		if r := e.SelectElement("RequestedAuthnContext"); r != nil {
			list = value(r, "Comparison")
			for _, c := range children(r, nsAssertion, "AuthnContextClassRef") {
				list += " " + c.Text()
			}
		}
		return list
	}
	for name, c := range map[string]struct {
		configure               func(*Config)
		format, force, contexts string
	}{
		"nothing set":       {func(*Config) {}, nameIDFormats["persistent"], "", ""},
		"e-mail":            {func(c *Config) { c.NameIDFormat, c.Attributes.Subject = "emailAddress", "id" }, nameIDFormats["emailAddress"], "", ""},
		"unspecified":       {func(c *Config) { c.NameIDFormat, c.Attributes.Subject = "unspecified", "id" }, nameIDFormats["unspecified"], "", ""},
		"transient":         {func(c *Config) { c.NameIDFormat, c.Attributes.Subject = "transient", "id" }, nameIDFormats["transient"], "", ""},
		"any":               {func(c *Config) { c.NameIDFormat = "any" }, "", "", ""},
		"force_authn":       {func(c *Config) { c.ForceAuthn = true }, nameIDFormats["persistent"], "true", ""},
		"two contexts":      {func(c *Config) { c.AuthnContexts = []string{"urn:a", "urn:b"} }, nameIDFormats["persistent"], "", "exact urn:a urn:b"},
		"posted":            {func(c *Config) { c.Binding, c.Endpoint.SSOBinding = byPost, byPost }, nameIDFormats["persistent"], "", ""},
		"contexts, by POST": {func(c *Config) { c.Endpoint.SSOBinding, c.AuthnContexts = byPost, []string{"urn:a"} }, nameIDFormats["persistent"], "", "exact urn:a"},
	} {
		t.Run(name, func(t *testing.T) {
			s := offline(t, func(o *Config) {
				o.Metadata, o.CertificateFile = Metadata{}, file(t, pemOf(key))
				o.Endpoint.SSOURL = idpID + "/sso"
				c.configure(o)
			})
			e := asks(t, s)
			policy := e.SelectElement("NameIDPolicy")
			if got := []string{value(policy, "Format"), value(e, "ForceAuthn"), contexts(e)}; got[0] != c.format || got[1] != c.force || got[2] != c.contexts {
				t.Errorf("format, force and contexts %q", got)
			}
			if value(policy, "AllowCreate") != "true" || text(e.SelectElement("Issuer")) != s.entityID() || value(e, "Destination") != idpID+"/sso" ||
				value(e, "AssertionConsumerServiceURL") != s.acs() || value(e, "ProtocolBinding") != bindingURIs[byPost] || value(e, "Version") != "2.0" {
				t.Errorf("%s", serialize(e))
			}
		})
	}
}

// TestForceAuthnIsHeldTo: what was asked for is also required of the answer.
func TestForceAuthnIsHeldTo(t *testing.T) {
	s, _ := lone(t)
	for _, force := range []bool{false, true} {
		a := asked{ID: "_1", At: s.now(), Anew: force}
		e, err := s.expectation(t.Context(), a)
		if err != nil || e.AuthnAfter.Equal(a.At) != force {
			t.Errorf("asked anew %t: seen since %s, %v", force, e.AuthnAfter, err)
		}
	}
}

// TestABindingThatTheProviderDoesNotHave is said, and check says it before.
func TestABindingThatTheProviderDoesNotHave(t *testing.T) {
	s, _ := lone(t)
	s.config.Binding = byPost
	_, err := s.Begin(t.Context(), authn.Ask{State: "state"})
	wantReason(t, err, authn.Unavailable, "no_endpoint")
	wantReason(t, s.check(t.Context()), authn.Unavailable, "no_endpoint")
}
