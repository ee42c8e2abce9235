package saml

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// TestAnswersThatDoNotServe are right in themselves, and signed, but not what the configuration asks for.
func TestAnswersThatDoNotServe(t *testing.T) {
	idp := testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{People: map[string]testenv.SAMLPerson{
		"ann": {Password: "pw-ann", Attributes: map[string][]string{
			"uid": {"ann"}, "mail": {"ann@example.test"}, "two": {"1", "2"}, "invisible": {"an\u200bn"}, "padded": {" ann"}, "empty": {""},
		}},
	}})
	for name, c := range map[string]struct {
		as        testenv.SAMLParty
		configure func(*Config)
		reason    string
	}{
		"transient NameID": {as: testenv.SAMLParty{NameIDFormat: "transient"}, reason: "nameid_not_persistent"},
		"e-mail NameID": {as: testenv.SAMLParty{NameIDFormat: "emailAddress", NameIDFrom: "mail"},
			configure: func(c *Config) { c.NameIDFormat = "any" }, reason: "nameid_not_persistent"},
		"encrypted NameID":   {as: testenv.SAMLParty{EncryptID: true}, reason: "nameid_not_persistent"},
		"no user name":       {configure: func(c *Config) { c.Attributes.Username = "cn" }, reason: "attribute_missing"},
		"empty user name":    {configure: func(c *Config) { c.Attributes.Username = "empty" }, reason: "attribute_missing"},
		"two user names":     {configure: func(c *Config) { c.Attributes.Username = "two" }, reason: "attribute_ambiguous"},
		"two subjects":       {configure: func(c *Config) { c.Attributes.Subject = "two" }, reason: "attribute_ambiguous"},
		"invisible text":     {configure: func(c *Config) { c.Attributes.Username = "invisible" }, reason: "attribute_malformed"},
		"space around it":    {configure: func(c *Config) { c.Attributes.Subject = "padded" }, reason: "attribute_malformed"},
		"weaker than asked":  {configure: func(c *Config) { c.AuthnContexts = []string{"urn:oasis:names:tc:SAML:2.0:ac:classes:X509"} }, reason: "authn_context"},
		"another entityID":   {configure: func(c *Config) { c.EntityID, c.Metadata = "https://other.example.test", Metadata{} }, reason: "response_issuer"},
		"not encrypted":      {configure: func(c *Config) { c.WantEncrypted = true }, reason: "not_encrypted"},
		"response unsigned":  {configure: func(c *Config) { c.WantSigned = "response" }, reason: "response_not_signed"},
		"assertion unsigned": {as: testenv.SAMLParty{SignResponse: true}, configure: func(c *Config) { c.WantSigned = "assertion" }, reason: "assertion_not_signed"},
	} {
		t.Run(name, func(t *testing.T) {
			if !c.as.SignResponse {
				c.as.SignAssertion = true
			}
			s := registeredAt(t, idp, c.as, func(o *Config) {
				if c.configure != nil {
					c.configure(o)
				}
				if o.Metadata.URL == "" {
					o.Endpoint.SSOURL, o.CertificateFile = idp.SSO, file(t, idp.CertificatePEM())
				}
			})
			i, err := s.signIn(t, "ann")
			wantReason(t, err, authn.Untrusted, c.reason)
			if i.Subject != "" {
				t.Errorf("an identity all the same: %+v", i)
			}
		})
	}
}

func TestAnAnswerIsForItsOwnRequestAndOnce(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	b := s.idp.Browser("ann", "pw-ann")
	pending, reply := s.answer(t, b)
	other, _ := s.answer(t, b)

	_, err := s.Finish(t.Context(), other, reply)
	wantReason(t, err, authn.Untrusted, "wrong_in_response_to")
	got := reply
	got.Method = http.MethodGet
	_, err = s.Finish(t.Context(), pending, got)
	wantReason(t, err, authn.Untrusted, "wrong_binding")
	twice := reply
	twice.Form = url.Values{"SAMLResponse": {reply.Form.Get("SAMLResponse"), reply.Form.Get("SAMLResponse")}}
	_, err = s.Finish(t.Context(), pending, twice)
	wantReason(t, err, authn.Untrusted, "no_message")

	if _, err = s.Finish(t.Context(), pending, reply); err != nil {
		t.Fatal(err)
	}
	_, err = s.Finish(t.Context(), pending, reply)
	wantReason(t, err, authn.Untrusted, "replayed")
}

// TestIdPInitiated is refused, then allowed; and what is an answer to a request never passes for it.
func TestIdPInitiated(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	b := s.idp.Browser("ann", "pw-ann")
	unasked := posted(b.Go(t, s.idp.InitiatedSSO+escaped(s.entityID()), nil))
	_, err := s.Finish(t.Context(), nil, unasked)
	wantReason(t, err, authn.Untrusted, "unsolicited")

	s.config.IdPInitiated = true
	_, reply := s.answer(t, b)
	_, err = s.Finish(t.Context(), nil, reply)
	wantReason(t, err, authn.Untrusted, "unexpected_in_response_to")
	got, err := s.Finish(t.Context(), nil, unasked)
	wantIdentity(t, got, err, ann)
}

// TestTwoProvidersNeverMix: each has its own addresses, entityID and keys, so an answer for one is none for the other.
func TestTwoProvidersNeverMix(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, func(c *Config) { c.IdPInitiated = true })
	other := *s
	other.provider = s.add(t, "other", s.config)
	other.register(t, testenv.SAMLParty{SignAssertion: true})
	if other.acs() == s.acs() || other.entityID() == s.entityID() {
		t.Fatalf("%s %s", other.acs(), other.entityID())
	}
	reply := posted(s.idp.Browser("ann", "pw-ann").Go(t, s.idp.InitiatedSSO+escaped(s.entityID()), nil))
	_, err := other.Finish(t.Context(), nil, reply)
	wantReason(t, err, authn.Untrusted, "wrong_destination")
	if i, err := s.Finish(t.Context(), nil, reply); err != nil || i.Provider != "corp" {
		t.Errorf("%+v, %v", i, err)
	}
}
