package saml

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// typical is an answer of 7 kB: the assertion signed with RSA-2048 and SHA-256, ten attributes with names as Entra has them.
func typical() answer {
	a := usual()
	a.attributes = `<saml:AttributeStatement>`
	for range 10 {
		a.attributes += `<saml:Attribute Name="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress" ` +
			`NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri"><saml:AttributeValue>` +
			strings.Repeat("v", 120) + `</saml:AttributeValue></saml:Attribute>`
	}
	a.attributes += `</saml:AttributeStatement>`
	return a
}

// The speed that issue 5 asks for: BenchmarkJudge is to take at most 500 µs and 300 kB where BenchmarkCrewjam, in the same
// run, takes 1,700 µs or more and 1.1 MB. make bench prints both and the ratio.
func BenchmarkJudge(b *testing.B) {
	raw, e := typical().raw(), expecting()
	b.ReportAllocs()
	b.ReportMetric(float64(len(raw)), "bytes/answer")
	for b.Loop() {
		e.Replays = &memory{}
		if _, err := judge(context.Background(), raw, e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGate(b *testing.B) {
	raw := typical().raw()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := admit(raw, "Response"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCrewjam is the response path of crewjam/saml, which this package does not use, on the same answer.
func BenchmarkCrewjam(b *testing.B) {
	now, clock := saml.TimeNow, saml.Clock
	defer func() { saml.TimeNow, saml.Clock = now, clock }()
	saml.TimeNow, saml.Clock = testNow, dsig.NewFakeClockAt(testNow())
	acs, _ := url.Parse(testACS)
	descriptor := saml.IDPSSODescriptor{}
	descriptor.KeyDescriptors = []saml.KeyDescriptor{{Use: "signing", KeyInfo: saml.KeyInfo{X509Data: saml.X509Data{
		X509Certificates: []saml.X509Certificate{{Data: base64.StdEncoding.EncodeToString(testKeys().idp.cert.Raw)}}}}}}
	sp := saml.ServiceProvider{
		EntityID: testSP, AcsURL: *acs,
		IDPMetadata: &saml.EntityDescriptor{EntityID: testIdP, IDPSSODescriptors: []saml.IDPSSODescriptor{descriptor}},
	}
	raw := typical().raw()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sp.ParseXMLResponse(raw, []string{testRequest}, *acs); err != nil {
			var invalid *saml.InvalidResponseError
			errors.As(err, &invalid)
			b.Fatal(invalid.PrivateErr)
		}
	}
}
