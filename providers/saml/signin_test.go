package saml

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// TestTheIdentityProviderTakesOurRequests: signed and unsigned, by redirect and by POST, and it answers just them.
func TestTheIdentityProviderTakesOurRequests(t *testing.T) {
	idp := testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{})
	for name, configure := range map[string]func(*Config){
		"signed, by redirect": nil,
		"signed, by POST":     func(c *Config) { c.Binding = byPost },
		"by hand": func(c *Config) {
			c.Metadata, c.Endpoint.SSOURL, c.CertificateFile = Metadata{}, idp.SSO, file(t, idp.CertificatePEM())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := registeredAt(t, idp, testenv.SAMLParty{SignResponse: true, WantSignedRequests: true}, configure)
			pending, reply := s.answer(t, idp.Browser("ann", "pw-ann"))
			raw, _ := base64.StdEncoding.DecodeString(reply.Form.Get("SAMLResponse"))
			doc := etree.NewDocument()
			if err := doc.ReadFromBytes(raw); err != nil {
				t.Fatal(err)
			}
			var a asked
			if err := json.Unmarshal(pending, &a); err != nil {
				t.Fatal(err)
			}
			if got := value(doc.Root(), "InResponseTo"); got == "" || got != a.ID {
				t.Errorf("the answer is for %q, asked was %q", got, a.ID)
			}
		})
	}
}

func TestAnIdentityProviderThatWantsSignedRequestsRefusesOthers(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignResponse: true, WantSignedRequests: true}, func(c *Config) { c.UnsignedRequests = true })
	r, err := s.Begin(t.Context(), authn.Ask{State: "state"})
	if err != nil {
		t.Fatal(err)
	}
	m, page := s.idp.Browser("ann", "pw-ann").Try(t, r.URL, r.Fields)
	if m != nil || !strings.Contains(page, "Validation of received messages enabled, but no signature found") {
		t.Errorf("%v %s", m, page)
	}
}

// TestSignIn goes the whole way with each variant of a real identity provider.
func TestSignIn(t *testing.T) {
	const mfaContext = "https://refeds.org/profile/mfa"
	idp := testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{})
	entra := Attributes{
		Subject:  "http://schemas.microsoft.com/identity/claims/objectidentifier",
		Username: "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
		Name:     "http://schemas.microsoft.com/identity/claims/displayname",
		Email:    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
		Groups:   "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
	}
	for name, c := range map[string]struct {
		as        testenv.SAMLParty
		configure func(*Config)
		want      func(*authn.Identity)
	}{
		"signed response": {
			as: testenv.SAMLParty{SignResponse: true}, configure: func(c *Config) { c.WantSigned = "response" },
		},
		"signed assertion": {
			as: testenv.SAMLParty{SignAssertion: true}, configure: func(c *Config) { c.WantSigned = "assertion" },
		},
		"both signed": {
			as: testenv.SAMLParty{SignResponse: true, SignAssertion: true}, configure: func(c *Config) { c.WantSigned = "both" },
		},
		"encrypted assertion": {
			as:        testenv.SAMLParty{SignResponse: true, SignAssertion: true, EncryptAssertion: true},
			configure: func(c *Config) { c.WantEncrypted = true },
		},
		"e-mail NameID, subject of an attribute": {
			as: testenv.SAMLParty{SignAssertion: true, NameIDFormat: "emailAddress", NameIDFrom: "mail"},
			configure: func(c *Config) {
				c.NameIDFormat, c.Attributes.Subject, c.Attributes.Username = "emailAddress", "employeeNumber", fromNameID
			},
			want: func(i *authn.Identity) { i.Subject, i.Username = "e-1001", "ann@example.test" },
		},
		"encrypted NameID, subject of an attribute": {
			as:        testenv.SAMLParty{SignAssertion: true, EncryptID: true},
			configure: func(c *Config) { c.Attributes.Subject = "employeeNumber" },
			want:      func(i *authn.Identity) { i.Subject = "e-1001" },
		},
		"Entra's claims": {
			as:        testenv.SAMLParty{SignAssertion: true, ClaimURIs: true},
			configure: func(c *Config) { c.Attributes = entra },
			want:      func(i *authn.Identity) { i.Subject = "e-1001" },
		},
		"a second factor there": {
			as:        testenv.SAMLParty{SignAssertion: true, AuthnContext: mfaContext},
			configure: func(c *Config) { c.FactorsFrom = []string{mfaContext} },
			want:      func(i *authn.Identity) { i.Factors = []string{authn.FactorIdP, authn.FactorIdPMFA} },
		},
		"another context is no second factor": {
			as:        testenv.SAMLParty{SignAssertion: true},
			configure: func(c *Config) { c.FactorsFrom = []string{mfaContext} },
		},
		"signed requests, by POST, with force_authn": {
			as:        testenv.SAMLParty{SignAssertion: true, WantSignedRequests: true},
			configure: func(c *Config) { c.Binding, c.ForceAuthn = byPost, true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := registeredAt(t, idp, c.as, c.configure)
			want := ann
			if c.want != nil {
				c.want(&want)
			}
			got, err := s.signIn(t, "ann")
			wantIdentity(t, got, err, want)
			if (got.Session == "") != c.as.EncryptID || got.Subject == "" || got.Subject == got.Email {
				t.Errorf("subject %q, session %q", got.Subject, got.Session)
			}
			again, err := s.signIn(t, "ann")
			if err != nil || again.Subject != got.Subject || again.Session == got.Session && !c.as.EncryptID {
				t.Errorf("the second time: %+v, %v", again, err)
			}
			if bob, err := s.signIn(t, "bob"); err != nil || bob.Subject == got.Subject || bob.Username == got.Username {
				t.Errorf("bob: %+v, %v", bob, err)
			}
		})
	}
}
