package saml

import (
	"encoding/pem"
	"encoding/xml"
	"os/exec"
	"strings"
	"testing"

	"github.com/crewjam/saml"

	"github.com/idbridge/idbridge/testenv"
)

const schemas = "/usr/share/simplesamlphp/schemas/"

// offline is a service provider that never asks its identity provider.
func offline(t *testing.T, configure func(*Config)) *party {
	t.Helper()
	s := &party{}
	s.sp = NewServiceProvider(s.surroundings(""))
	c := Config{EntityID: "https://idp.example.test", Metadata: Metadata{File: "/nowhere"}, Attributes: Attributes{Username: "uid"}}
	if configure != nil {
		configure(&c)
	}
	s.provider = s.add(t, "corp", c)
	return s
}

// TestOurMetadata is judged by three others: the schema, xmlsec1 and crewjam/saml.
func TestOurMetadata(t *testing.T) {
	s := offline(t, func(c *Config) {
		c.Organization = Organization{Name: "Example & Co", URL: "https://example.test"}
		c.Contacts = []Contact{{Type: "technical", Name: "Ops", Email: "ops@example.test"}, {Type: "support", Email: "help@example.test"}}
		c.Attributes = Attributes{Subject: "employeeNumber", Username: "uid", Groups: "memberOf"}
		c.WantSigned, c.NameIDFormat = "assertion", "emailAddress"
	})
	text, err := s.sp.Metadata(t.Context(), "corp")
	if err != nil {
		t.Fatal(err)
	}
	name := file(t, text)
	run(t, "xmllint", "--noout", "--nonet", "--schema", schemas+"saml-schema-metadata-2.0.xsd", name)
	key, err := s.keys.signing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cert := file(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.certificate.Raw}))
	run(t, "xmlsec1", "--verify", "--id-attr:ID", nsMetadata+":EntityDescriptor", "--pubkey-cert-pem", cert, name)

	var d saml.EntityDescriptor
	if err := xml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	role := d.SPSSODescriptors[0]
	if d.EntityID != publicURL+"/saml/corp/metadata" || role.AssertionConsumerServices[0].Location != publicURL+"/saml/corp/acs" ||
		role.AssertionConsumerServices[1].Location != adminURL+"/saml/corp/acs" || *role.AssertionConsumerServices[1].IsDefault ||
		role.AssertionConsumerServices[1].Index != 1 ||
		len(role.SingleLogoutServices) != 2 || !*role.AuthnRequestsSigned || !*role.WantAssertionsSigned || len(role.KeyDescriptors) != 2 ||
		d.Organization.OrganizationNames[0].Value != "Example & Co" || len(role.AttributeConsumingServices[0].RequestedAttributes) != 3 {
		t.Errorf("%s", text)
	}
	for _, want := range []string{`contactType="support"`, "mailto:ops@example.test", "nameid-format:emailAddress"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// run is a program that must succeed.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(testenv.Need(t, program), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}
