package saml

import (
	"crypto"
	"crypto/x509"
	"reflect"
	"strings"
	"testing"
	"time"
)

// accepted are answers that must be accepted: the control cases of the attacks, and what IdPs do differently from each other.
func accepted() map[string]accepting {
	k := testKeys()
	return map[string]accepting{
		"assertion signed": {},
		"response signed":  {answer: func(a *answer) { a.signAssertion, a.signResponse = nil, byIdP() }},
		"both signed":      {answer: func(a *answer) { a.signResponse = byIdP() }},
		"both asked for":   {answer: func(a *answer) { a.signResponse = byIdP() }, expect: func(e *expectation) { e.WantSigned = signedBoth }},
		"response asked for": {answer: func(a *answer) { a.signResponse, a.signAssertion = byIdP(), nil },
			expect: func(e *expectation) { e.WantSigned = signedResponse }},
		"assertion asked for": {expect: func(e *expectation) { e.WantSigned = signedAssertion }},
		"RSA-SHA512": {answer: func(a *answer) {
			a.signAssertion.method, a.signAssertion.digest = moreURI("rsa-sha512"), nsEncryption+"sha512"
		}},
		"RSA-SHA384": {answer: func(a *answer) {
			a.signAssertion.method, a.signAssertion.digest = moreURI("rsa-sha384"), moreURI("sha384")
		}},
		"ECDSA-SHA256": {answer: func(a *answer) { a.signAssertion.by, a.signAssertion.method = k.ec, moreURI("ecdsa-sha256") },
			expect: func(e *expectation) { e.Certificates = []*x509.Certificate{k.ec.cert} }},
		"ECDSA-SHA384": {answer: func(a *answer) { a.signAssertion.by, a.signAssertion.method = k.ec, moreURI("ecdsa-sha384") },
			expect: func(e *expectation) { e.Certificates = []*x509.Certificate{k.ec.cert} }},
		"ECDSA-SHA512": {answer: func(a *answer) { a.signAssertion.by, a.signAssertion.method = k.ec, moreURI("ecdsa-sha512") },
			expect: func(e *expectation) { e.Certificates = []*x509.Certificate{k.ec.cert} }},
		"names without a prefix":           {answer: func(a *answer) { a.bare = true }},
		"a prefix that is like id":         {answer: func(a *answer) { a.namespaces = `xmlns:id="urn:id"` }},
		"a scheme with every character":    {answer: func(a *answer) { a.namespaces = `xmlns:n="aZ09+-.:x"` }},
		"a default namespace that is none": {answer: func(a *answer) { a.extensions = `<x xmlns=""/>` }},
		"ids with every character": {answer: func(a *answer) {
			a.response = strings.Replace(a.response, "_response1", "0AZaz9_-.", 1)
		}},
		"SHA-1 where it is allowed": {
			answer: func(a *answer) {
				a.signAssertion.method, a.signAssertion.digest = nsSignature+"rsa-sha1", nsSignature+"sha1"
			},
			expect: func(e *expectation) { e.AllowSHA1 = true }},
		"SHA-256 where SHA-1 is allowed": {expect: func(e *expectation) { e.AllowSHA1 = true }},
		"the next certificate": {answer: func(a *answer) { a.signAssertion.by = k.next },
			expect: func(e *expectation) { e.Certificates = append(e.Certificates, k.next.cert) }},
		"a weak certificate beside": {expect: func(e *expectation) { e.Certificates = []*x509.Certificate{k.weak.cert, k.idp.cert} }},
		"an expired certificate": {answer: func(a *answer) { a.signAssertion.by = k.expired }, // the configuration's decision
			expect: func(e *expectation) { e.Certificates = []*x509.Certificate{k.expired.cert} }},
		"no KeyInfo":        {answer: func(a *answer) { a.signAssertion.keyInfo = " " }},
		"a foreign KeyInfo": {answer: func(a *answer) { a.signAssertion.keyInfo = keyInfo(k.foreign.cert) }},
		"InclusiveNamespaces": {answer: func(a *answer) {
			a.signAssertion.transforms = `<ds:Transform Algorithm="` + enveloped + `"/><ds:Transform Algorithm="` + exclusive +
				`"><ec:InclusiveNamespaces xmlns:ec="` + exclusive + `" PrefixList="foo"/></ds:Transform>`
		}},
		"space around what means the same": {answer: func(a *answer) {
			a.issuer = "<saml:Issuer>\n  " + testIdP + "\n</saml:Issuer>"
			a.conditions = conditions("", "\n ", audience("\n"+testSP+" "))
		}},
		"several audiences": {answer: func(a *answer) {
			a.conditions = conditions("", audience("urn:other", testSP), audience(testSP, "urn:another"))
		}},
		"OneTimeUse and ProxyRestriction": {answer: func(a *answer) {
			a.conditions = conditions("", audience(testSP), `<saml:OneTimeUse/>`, `<saml:ProxyRestriction Count="0"/>`)
		}},
		"another confirmation first": {answer: func(a *answer) {
			a.subject = subject(`<saml:NameID>ann</saml:NameID>`,
				`<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"/>`,
				confirmation(`NotOnOrAfter="`+at(time.Minute)+`" Recipient="https://other.example.test/acs" InResponseTo="`+testRequest+`"`),
				confirmation(`NotOnOrAfter="`+at(time.Minute)+`" Recipient="`+testACS+`" InResponseTo="`+testRequest+`"`))
		}},
		"a clock behind":                    {expect: func(e *expectation) { e.Now = testNow().Add(-59 * time.Second) }},
		"a clock ahead":                     {expect: func(e *expectation) { e.Now = testNow().Add(6*time.Minute - time.Second) }},
		"nobody asked":                      {answer: unsolicited, expect: func(e *expectation) { e.RequestID = "" }},
		"no Issuer in an unsigned response": {answer: func(a *answer) { a.responseIssuer = "" }},
		"no Destination in an unsigned response": {answer: func(a *answer) {
			a.response = `ID="_response1" Version="2.0" IssueInstant="` + at(0) + `" InResponseTo="` + testRequest + `"`
		}},
		"Issuer that says it is an entity": {answer: func(a *answer) {
			a.issuer = `<saml:Issuer Format="` + formatEntity + `">` + testIdP + `</saml:Issuer>`
		}},
		"no NameID": {answer: func(a *answer) {
			a.subject = subject(confirmation(`NotOnOrAfter="` + at(time.Minute) + `" Recipient="` + testACS + `" InResponseTo="` + testRequest + `"`))
		}},
		"a time with another offset": {answer: func(a *answer) {
			a.conditions = conditions(`NotBefore="2026-11-24T13:00:00+01:00"`, audience(testSP))
		}},
		"no end of the session": {answer: func(a *answer) { a.authn = authnStatement(`AuthnInstant="` + at(-time.Second) + `"`) }},
		"seen since":            {expect: func(e *expectation) { e.AuthnAfter = testNow().Add(30 * time.Second) }},
		"GCM":                   {answer: func(a *answer) { a.encrypt = toSP() }, expect: func(e *expectation) { e.WantEncrypted = true }},
		"AES-128-GCM": {answer: func(a *answer) {
			a.encrypt = toSP()
			a.encrypt.content = nsEncryption1 + "aes128-gcm"
		}},
		"CBC": {answer: func(a *answer) {
			a.encrypt = toSP()
			a.encrypt.content = nsEncryption + "aes256-cbc"
		}},
		"AES-128-CBC": {answer: func(a *answer) {
			a.encrypt = toSP()
			a.encrypt.content = nsEncryption + "aes128-cbc"
		}},
		"encrypted and the response signed": {answer: func(a *answer) {
			a.encrypt, a.signAssertion, a.signResponse = toSP(), nil, byIdP()
		}},
		"encrypted and both signed": {answer: func(a *answer) { a.encrypt, a.signResponse = toSP(), byIdP() },
			expect: func(e *expectation) { e.WantSigned = signedBoth }},
		"OAEP with SHA-256": {answer: func(a *answer) {
			a.encrypt = toSP()
			a.encrypt.transport, a.encrypt.hash, a.encrypt.mgf = nsEncryption1+"rsa-oaep", crypto.SHA256, crypto.SHA256
			a.encrypt.oaep = `<ds:DigestMethod Algorithm="` + sha256URI + `"/><xenc11:MGF xmlns:xenc11="` + nsEncryption1 +
				`" Algorithm="` + nsEncryption1 + `mgf1sha256"/>`
		}},
		"encrypted for several": {answer: func(a *answer) { a.encrypt = toSP(); a.encrypt.keys = 3 }},
		"encrypted keys beside": {answer: func(a *answer) { a.encrypt = toSP(); a.encrypt.keys, a.encrypt.beside = 2, true }},
		"encrypted for an old key": {answer: func(a *answer) { a.encrypt = toSP() },
			expect: func(e *expectation) { e.Keys = []crypto.Decrypter{k.oldSP, k.sp} }},
	}
}

// accepting changes the usual answer and the usual expectation.
type accepting struct {
	answer func(*answer)
	expect func(*expectation)
}

func (c accepting) make() ([]byte, expectation) {
	a, e := usual(), expecting()
	if c.answer != nil {
		c.answer(&a)
	}
	if c.expect != nil {
		c.expect(&e)
	}
	return a.raw(), e
}

func unsolicited(a *answer) {
	a.response = `ID="_response1" Version="2.0" IssueInstant="` + at(0) + `" Destination="` + testACS + `"`
	a.subject = subject(`<saml:NameID>ann</saml:NameID>`, confirmation(`NotOnOrAfter="`+at(time.Minute)+`" Recipient="`+testACS+`"`))
}

func moreURI(name string) string { return "http://www.w3.org/2001/04/xmldsig-more#" + name }

func TestAccepted(t *testing.T) {
	for name, c := range accepted() {
		t.Run(name, func(t *testing.T) {
			raw, e := c.make()
			v, err := judged(t, raw, e)
			if err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			if v.NameID != "ann" && name != "no NameID" || v.AssertionID != "_assertion1" || v.SignedBy == nil {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestWhatIsRead: everything that is read of a person, once.
func TestWhatIsRead(t *testing.T) {
	got, err := judged(t, usual().raw(), expecting())
	if err != nil {
		t.Fatal(err)
	}
	want := verified{
		NameID: "ann", NameIDFormat: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
		Attributes:          map[string][]string{"mail": {"ann@example.test"}, "groups": {"staff", "admins & friends"}},
		AuthnContext:        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
		AuthnInstant:        testNow().Add(-time.Second),
		SessionIndex:        "s1",
		SessionNotOnOrAfter: testNow().Add(8 * time.Hour),
		AssertionID:         "_assertion1",
		Expires:             testNow().Add(7 * time.Minute), // five, and twice the skew
		SignedBy:            testKeys().idp.cert,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
