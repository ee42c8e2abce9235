package saml

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// The forge is an identity provider that says and signs anything.

const (
	testSP      = "https://bridge.example.test/saml/corp/metadata"
	testACS     = "https://bridge.example.test/saml/corp/acs"
	testIdP     = "https://idp.example.test/metadata"
	testRequest = "_request1"
	rsaSHA256   = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	sha256URI   = "http://www.w3.org/2001/04/xmlenc#sha256"
)

func testNow() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

// at is a time of the test's clock as SAML writes it.
func at(d time.Duration) string { return testNow().Add(d).Format("2006-01-02T15:04:05.000Z") }

type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newSigner(key crypto.Signer, until time.Time) signer {
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		NotBefore: testNow().AddDate(-1, 0, 0), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return signer{key, cert}
}

// keys are made once for all tests: RSA keys take a while.
type keys struct {
	idp, next, foreign, ec, weak, expired signer
	sp, oldSP                             *rsa.PrivateKey
}

var testKeys = sync.OnceValue(func() keys {
	newRSA := func(bits int) *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return k
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	good := testNow().AddDate(1, 0, 0)
	return keys{
		newSigner(newRSA(2048), good), newSigner(newRSA(2048), good), newSigner(newRSA(2048), good), newSigner(ec, good),
		newSigner(newRSA(1024), good), newSigner(newRSA(2048), testNow().Add(-time.Hour)),
		newRSA(2048), newRSA(2048),
	}
})

// memory is a Replays of one process.
type memory struct {
	sync.Mutex
	seen map[string]time.Time
	err  error
}

func (m *memory) Seen(_ context.Context, provider, id string, until time.Time) (bool, error) {
	m.Lock()
	defer m.Unlock()
	if m.err != nil {
		return true, m.err // whoever looks at first without looking at the error is wrong
	}
	_, again := m.seen[provider+" "+id]
	if m.seen == nil {
		m.seen = map[string]time.Time{}
	}
	m.seen[provider+" "+id] = until
	return !again, nil
}

// expecting is what a usual answer of the forge fits.
func expecting() expectation {
	return expectation{
		Provider: "corp", SP: testSP, ACS: testACS, IdP: testIdP, RequestID: testRequest,
		Certificates: []*x509.Certificate{testKeys().idp.cert},
		Keys:         []crypto.Decrypter{testKeys().sp},
		Skew:         time.Minute, Now: testNow(), Replays: &memory{},
	}
}

// answer is a Response in the making. The zero parts are left out.
type answer struct {
	response, responseIssuer, status, extensions string // attributes; elements
	assertion, issuer, subject, conditions       string
	authn, attributes, advice                    string

	namespaces string // declared on the Response; those of samlp and saml are there anyway
	bare       bool   // the assertion's names have no prefix

	signResponse, signAssertion *how
	encrypt                     *encryption
}

// how is how something is signed.
type how struct {
	by         signer
	method     string
	digest     string
	transforms string               // XML; the usual two when empty
	reference  string               // URI; the owner's ID when empty
	more       string               // XML behind the Reference
	keyInfo    string               // XML; the signer's certificate when empty
	canonical  string               // algorithm of SignedInfo
	edit       func(*etree.Element) // of the Signature, before SignedInfo is signed
}

func byIdP() *how { return &how{by: testKeys().idp} }

// usual is an answer that the usual expectation accepts, once a part of it is signed.
func usual() answer {
	return answer{
		response: `ID="_response1" Version="2.0" IssueInstant="` + at(0) + `" Destination="` + testACS +
			`" InResponseTo="` + testRequest + `"`,
		responseIssuer: `<saml:Issuer>` + testIdP + `</saml:Issuer>`,
		status:         `<samlp:Status><samlp:StatusCode Value="` + statusPrefix + `Success"/></samlp:Status>`,
		assertion:      `ID="_assertion1" Version="2.0" IssueInstant="` + at(0) + `"`,
		issuer:         `<saml:Issuer>` + testIdP + `</saml:Issuer>`,
		subject: subject(`<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">ann</saml:NameID>`,
			confirmation(`NotOnOrAfter="`+at(5*time.Minute)+`" Recipient="`+testACS+`" InResponseTo="`+testRequest+`"`)),
		conditions: conditions(`NotBefore="`+at(-time.Minute)+`" NotOnOrAfter="`+at(5*time.Minute)+`"`, audience(testSP)),
		authn: authnStatement(`AuthnInstant="` + at(-time.Second) + `" SessionIndex="s1" SessionNotOnOrAfter="` +
			at(8*time.Hour) + `"`),
		attributes: `<saml:AttributeStatement>` +
			`<saml:Attribute Name="mail"><saml:AttributeValue>ann@example.test</saml:AttributeValue></saml:Attribute>` +
			`<saml:Attribute Name="groups"><saml:AttributeValue>staff</saml:AttributeValue>` +
			`<saml:AttributeValue>admins &amp; friends</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>`,
		namespaces:    `xmlns:xs="http://www.w3.org/2001/XMLSchema"`,
		signAssertion: byIdP(),
	}
}

func subject(parts ...string) string {
	return `<saml:Subject>` + strings.Join(parts, "") + `</saml:Subject>`
}

func confirmation(data string) string {
	return `<saml:SubjectConfirmation Method="` + bearer + `"><saml:SubjectConfirmationData ` + data +
		`/></saml:SubjectConfirmation>`
}

func conditions(window string, parts ...string) string {
	return `<saml:Conditions ` + window + `>` + strings.Join(parts, "") + `</saml:Conditions>`
}

func audience(names ...string) string {
	all := `<saml:AudienceRestriction>`
	for _, n := range names {
		all += `<saml:Audience>` + n + `</saml:Audience>`
	}
	return all + `</saml:AudienceRestriction>`
}

func authnStatement(attributes string) string {
	return `<saml:AuthnStatement ` + attributes + `><saml:AuthnContext><saml:AuthnContextClassRef>` +
		`urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport` +
		`</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`
}

func (a answer) assertionXML() string {
	xml := `<saml:Assertion xmlns:saml="` + nsAssertion + `" ` + a.assertion + `>` + a.issuer + a.subject + a.conditions +
		a.advice + a.authn + a.attributes + `</saml:Assertion>`
	if a.bare {
		xml = strings.NewReplacer("<saml:", "<", "</saml:", "</", "xmlns:saml=", "xmlns=").Replace(xml)
	}
	return xml
}

// tree makes and signs the answer.
func (a answer) tree() *etree.Element {
	root := parseTest(`<samlp:Response xmlns:samlp="` + nsProtocol + `" xmlns:saml="` + nsAssertion + `" ` + a.namespaces + ` ` +
		a.response + `>` + a.responseIssuer + a.extensions + a.status + `</samlp:Response>`)
	if a.assertion != "" {
		assertion := parseTest(a.assertionXML())
		if a.signAssertion != nil {
			a.signAssertion.sign(assertion)
		}
		if a.encrypt != nil {
			assertion = a.encrypt.wrap(assertion)
		}
		root.AddChild(assertion)
	}
	if a.signResponse != nil {
		a.signResponse.sign(root)
	}
	return root
}

func (a answer) raw() []byte { return serialize(a.tree()) }

func parseTest(s string) *etree.Element {
	d := etree.NewDocument()
	if err := d.ReadFromString(s); err != nil {
		panic(fmt.Sprintf("%v in %s", err, s))
	}
	root := d.Root()
	d.RemoveChild(root)
	return root
}

func serialize(root *etree.Element) []byte {
	d := etree.NewDocument()
	d.SetRoot(root.Copy())
	raw, err := d.WriteToBytes()
	if err != nil {
		panic(err)
	}
	return raw
}

// canonical is the exclusive canonical form of an element where it stands.
func canonical(e *etree.Element) []byte {
	c := e.Copy()
	declareInScope(c, e)
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(c)
	if err != nil {
		panic(err)
	}
	return out
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

const usualTransforms = `<ds:Transform Algorithm="` + enveloped + `"/><ds:Transform Algorithm="` + exclusive + `"/>`

// sign signs an element as it is and puts the Signature behind its Issuer.
func (s *how) sign(e *etree.Element) {
	id, _ := attr(e, "ID")
	digestURI, methodURI := or(s.digest, sha256URI), or(s.method, rsaSHA256)
	reference := s.reference
	if reference == "" {
		reference = "#" + id
	}
	sig := parseTest(`<ds:Signature xmlns:ds="` + nsSignature + `"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` +
		or(s.canonical, exclusive) + `"/><ds:SignatureMethod Algorithm="` + methodURI + `"/><ds:Reference URI="` + reference +
		`"><ds:Transforms>` + or(s.transforms, usualTransforms) + `</ds:Transforms><ds:DigestMethod Algorithm="` + digestURI +
		`"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(digest(digestURI, canonical(e))) +
		`</ds:DigestValue></ds:Reference>` + s.more + `</ds:SignedInfo><ds:SignatureValue/>` +
		or(s.keyInfo, keyInfo(s.by.cert)) + `</ds:Signature>`)
	at := 0
	if issuers := children(e, nsAssertion, "Issuer"); len(issuers) > 0 {
		at = issuers[0].Index() + 1
	}
	e.InsertChildAt(at, sig)
	if s.edit != nil {
		s.edit(sig)
	}
	resign(sig, s.by, methodURI)
}

// resign makes the SignatureValue anew after SignedInfo was changed.
func resign(sig *etree.Element, by signer, methodURI string) {
	value := signatureBy(by, methodURI, canonical(sig.FindElement("./SignedInfo")))
	sig.FindElement("./SignatureValue").SetText(base64.StdEncoding.EncodeToString(value))
}

func keyInfo(c *x509.Certificate) string {
	return `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(c.Raw) +
		`</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
}

func hashOf(uri string) crypto.Hash {
	switch {
	case strings.HasSuffix(uri, "sha1"):
		return crypto.SHA1
	case strings.HasSuffix(uri, "sha384"):
		return crypto.SHA384
	case strings.HasSuffix(uri, "sha512"):
		return crypto.SHA512
	case strings.HasSuffix(uri, "md5"):
		return crypto.MD5
	}
	return crypto.SHA256
}

func digest(uri string, data []byte) []byte {
	h := hashOf(uri).New()
	h.Write(data)
	return h.Sum(nil)
}

// signatureBy signs with whatever method is asked for; an HMAC takes the certificate for its key, as in the attack.
func signatureBy(by signer, uri string, data []byte) []byte {
	if strings.Contains(uri, "hmac") {
		m := hmac.New(hashOf(uri).New, by.cert.Raw)
		m.Write(data)
		return m.Sum(nil)
	}
	if k, ok := by.key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, k, digest(uri, data))
		if err != nil {
			panic(err)
		}
		size := (k.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	value, err := by.key.Sign(rand.Reader, digest(uri, data), hashOf(uri))
	if err != nil {
		panic(err)
	}
	return value
}

var errStoreDown = errors.New("the store is down")

func judged(t testing.TB, raw []byte, e expectation) (verified, error) {
	t.Helper()
	before := bytes.Clone(raw)
	v, err := judge(context.Background(), raw, e)
	if !bytes.Equal(before, raw) {
		t.Error("the message was changed")
	}
	return v, err
}
