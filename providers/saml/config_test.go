package saml

import (
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func pemOf(k ownKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.certificate.Raw})
}

// TestRulesNeedGroups: a rule that could never match is noticed.
func TestRulesNeedGroups(t *testing.T) {
	for groups, known := range map[string]bool{"": false, "memberOf": true} {
		c := Config{EntityID: idpID, Metadata: Metadata{URL: idpID}, Attributes: Attributes{Username: "uid", Groups: groups}}
		p, err := NewServiceProvider(Surroundings{}).New("corp", "Corp", c, authn.Route{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.GroupRule("staff"); (err == nil) != known {
			t.Errorf("%q: %v", groups, err)
		}
	}
}

// TestConfigurationErrorsNameTheirKeys, all at once.
func TestConfigurationErrorsNameTheirKeys(t *testing.T) {
	weak, good := file(t, pemOf(aKey(t, 1024))), file(t, pemOf(aKey(t, 2048)))
	none := file(t, []byte("no PEM"))
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string // what lines begin with
	}{
		"by hand":                {func(c *Config) { c.Metadata = Metadata{} }, nil},
		"by metadata":            {func(c *Config) { c.Endpoint = Endpoint{} }, nil},
		"nothing":                {func(c *Config) { *c = Config{} }, []string{"entity_id:", "metadata:", "certificate_file:", "attributes.username:"}},
		"both":                   {func(*Config) {}, []string{"endpoint:"}},
		"url and file":           {func(c *Config) { c.Endpoint, c.Metadata.File = Endpoint{}, "x" }, []string{"metadata.file:"}},
		"without TLS":            {func(c *Config) { c.Endpoint, c.Metadata.URL = Endpoint{}, "http://idp.example.test" }, []string{"metadata.url:"}},
		"sign-in without TLS":    {func(c *Config) { c.Metadata, c.Endpoint.SSOURL = Metadata{}, "http://idp.example.test" }, []string{"endpoint.sso_url:"}},
		"weak key":               {func(c *Config) { c.Endpoint, c.CertificateFile = Endpoint{}, weak }, []string{"certificate_file:"}},
		"no certificate":         {func(c *Config) { c.Endpoint, c.CertificateFile = Endpoint{}, none }, []string{"certificate_file:"}},
		"no such file":           {func(c *Config) { c.Endpoint, c.Metadata.SigningFile = Endpoint{}, "/nowhere" }, []string{"metadata.signing_certificate_file:"}},
		"e-mail as subject":      {func(c *Config) { c.Endpoint, c.NameIDFormat = Endpoint{}, "emailAddress" }, []string{"attributes.subject:"}},
		"transient as subject":   {func(c *Config) { c.Endpoint, c.NameIDFormat = Endpoint{}, "transient" }, []string{"attributes.subject:"}},
		"skew":                   {func(c *Config) { c.Endpoint, c.ClockSkew = Endpoint{}, 181*time.Second }, []string{"clock_skew:"}},
		"factor that is refused": {func(c *Config) { c.Endpoint, c.AuthnContexts, c.FactorsFrom = Endpoint{}, []string{"a"}, []string{"b"} }, []string{"factors_from:"}},
		"unknown words": {func(c *Config) {
			c.Endpoint, c.WantSigned, c.Binding, c.NameIDFormat = Endpoint{}, "no", "soap", "x509"
		}, []string{"name_id_format:", "attributes.subject:", "want_signed:", "binding:"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Config{EntityID: idpID, Metadata: Metadata{URL: idpID}, Endpoint: Endpoint{SSOURL: idpID + "/sso"}, CertificateFile: good,
				Attributes: Attributes{Username: "uid"}}
			c.change(&o)
			_, err := NewServiceProvider(Surroundings{}).New("corp", "Corp", o, authn.Route{})
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(c.want) {
				t.Fatalf("%q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("%q, want %q", got[i], c.want[i])
				}
			}
		})
	}
	if _, err := NewServiceProvider(Surroundings{}).New("a/b", "", Config{EntityID: idpID, Metadata: Metadata{URL: idpID},
		Attributes: Attributes{Username: "uid"}}, authn.Route{}); err == nil || !strings.Contains(err.Error(), "part of addresses") {
		t.Errorf("an id that is no part of an address: %v", err)
	}
}
