package testenv_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
)

func TestSimpleSAMLphpAnswersAsEachPartyIsRegistered(t *testing.T) {
	signed := testenv.SAMLParty{EntityID: "https://signed.example.test/", ACS: "https://signed.example.test/acs", SignResponse: true}
	claims := testenv.SAMLParty{EntityID: "https://claims.example.test/", ACS: "https://claims.example.test/acs", SignAssertion: true,
		ClaimURIs: true, NameIDFormat: "emailAddress", NameIDFrom: "mail", AuthnContext: "urn:example:mfa"}
	s := testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{Parties: []testenv.SAMLParty{signed, claims}})

	begin := func(p testenv.SAMLParty, password string) (*testenv.SAMLMessage, string) {
		t.Helper()
		m, page := s.Browser("ann", password).Try(t, s.InitiatedSSO+url.QueryEscape(p.EntityID), nil)
		if m != nil && (m.To != p.ACS || m.Method != http.MethodPost) {
			t.Fatalf("sent with %s to %s", m.Method, m.To)
		}
		return m, page
	}
	for party, want := range map[*testenv.SAMLParty][]string{
		&signed: {`Name="memberOf"`, ">administrators<", "nameid-format:persistent"},
		&claims: {"claims/emailaddress", "nameid-format:emailAddress", ">urn:example:mfa<"},
	} {
		m, page := begin(*party, "pw-ann")
		if m == nil {
			t.Fatal(page)
		}
		text, err := base64.StdEncoding.DecodeString(m.Form.Get("SAMLResponse"))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s: no %s in %s", party.EntityID, w, text)
			}
		}
		_, after, _ := strings.Cut(string(text), "<saml:Assertion")
		if got := strings.Contains(after, "<ds:Signature"); got != party.SignAssertion {
			t.Errorf("%s: assertion signed: %t", party.EntityID, got)
		}
	}
	if m, page := begin(signed, "wrong"); m != nil || !strings.Contains(page, "Incorrect") {
		t.Errorf("a wrong password: %v %s", m, page)
	}
}
