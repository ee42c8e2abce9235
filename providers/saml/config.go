package saml

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config is one identity provider, as an administrator writes it under a provider of type saml.
type Config struct {
	EntityID        string   `yaml:"entity_id" required:"true" doc:"of the identity provider; metadata and answers of another one are refused"`
	Metadata        Metadata `yaml:"metadata" doc:"where its metadata is; absent: endpoint and certificate_file by hand"`
	Endpoint        Endpoint `yaml:"endpoint" doc:"its addresses by hand, without metadata"`
	CertificateFile string   `yaml:"certificate_file" doc:"PEM, one or more: its signing certificates; with metadata: the only ones of it that are trusted"`

	OurEntityID   string        `yaml:"our_entity_id" doc:"what we are called there; default: the address of our metadata"`
	Organization  Organization  `yaml:"organization" doc:"whose service this is, in our metadata"`
	Contacts      []Contact     `yaml:"contacts" doc:"whom its administrators can ask, in our metadata"`
	Attributes    Attributes    `yaml:"attributes" doc:"which attributes of an answer are read"`
	NameIDFormat  string        `yaml:"name_id_format" enum:"persistent,emailAddress,unspecified,transient,any" doc:"of the name that is asked for; default persistent"`
	WantSigned    string        `yaml:"want_signed" enum:"assertion,response,both" doc:"what must be signed; absent: one of the two"`
	WantEncrypted bool          `yaml:"want_encrypted" doc:"refuse an assertion that is not encrypted"`
	AllowSHA1     bool          `yaml:"allow_sha1" doc:"believe signatures with SHA-1: only for an old provider, and not for long"`
	AllowExpired  bool          `yaml:"allow_expired_certificates" doc:"believe signing certificates that have expired"`
	ClockSkew     time.Duration `yaml:"clock_skew" doc:"by which the clocks may differ; default 60s, at most 180s"`

	Binding          string   `yaml:"binding" enum:"redirect,post" doc:"how people are sent there; default: redirect, if it takes that"`
	UnsignedRequests bool     `yaml:"unsigned_requests" doc:"do not sign requests: only for a provider that cannot take signed ones"`
	ForceAuthn       bool     `yaml:"force_authn" doc:"people must prove who they are each time, even with a session there"`
	AuthnContexts    []string `yaml:"authn_contexts" doc:"the authentication contexts that are asked for, and the only ones accepted"`
	FactorsFrom      []string `yaml:"factors_from" doc:"the authentication contexts that count as a second factor"`
	LogMessages      bool     `yaml:"log_messages" doc:"keep the text of messages in their log, for a search for errors: it holds personal data"`
	IdPInitiated     bool     `yaml:"idp_initiated" doc:"accept answers that nobody asked for, from the provider's own start page"`
}

// Metadata says where an identity provider describes itself.
type Metadata struct {
	URL         string `yaml:"url" doc:"https; refreshed without a restart"`
	File        string `yaml:"file" doc:"name of a file instead; a changed one is picked up without a restart"`
	CAFile      string `yaml:"ca_file" doc:"PEM: the authorities of url; absent: the system's"`
	SigningFile string `yaml:"signing_certificate_file" doc:"PEM: metadata must be signed by one of these certificates"`
}

// Endpoint is what metadata would say.
type Endpoint struct {
	SSOURL     string `yaml:"sso_url" doc:"where people sign in"`
	SSOBinding string `yaml:"sso_binding" enum:"redirect,post" doc:"default redirect"`
	SLOURL     string `yaml:"slo_url" doc:"where they sign out; absent: no single logout"`
	SLOBinding string `yaml:"slo_binding" enum:"redirect,post" doc:"default redirect"`
}

// Attributes names the attributes that become an authn.Identity.
type Attributes struct {
	Subject         string `yaml:"subject" doc:"never changes and is never given to another person; absent: the NameID, which must then be a persistent one"`
	Username        string `yaml:"username" required:"true" doc:"the user name; NameID takes the NameID"`
	Name            string `yaml:"name" doc:"the person's name"`
	Email           string `yaml:"email" doc:"the mail address"`
	Groups          string `yaml:"groups" doc:"the groups, as several values or one that groups_separator splits"`
	GroupsSeparator string `yaml:"groups_separator" doc:"splits one value into groups, for instance ;"`
}

// groupRule refuses what no group is called.
func (a Attributes) groupRule(string) error {
	if a.Groups == "" {
		return errors.New("no group is known without attributes.groups")
	}
	return nil
}

// Organization is whose service this is.
type Organization struct {
	Name string `yaml:"name" doc:"for instance Example Inc."`
	URL  string `yaml:"url" doc:"its page"`
}

// Contact is somebody to ask.
type Contact struct {
	Type  string `yaml:"type" enum:"technical,support,administrative,billing,other" required:"true" doc:"what for"`
	Name  string `yaml:"name" doc:"a person or a team"`
	Email string `yaml:"email" required:"true" doc:"the mail address"`
}

// Limits of the clock skew.
const (
	DefaultClockSkew = 60 * time.Second
	MaxClockSkew     = 180 * time.Second
)

// fromNameID is the name of an attribute that stands for the NameID.
const fromNameID = "NameID"

// The bindings, as the configuration calls them.
const (
	byRedirect = "redirect"
	byPost     = "post"
)

// material is what a configuration refers to, read.
type material struct {
	certificates []*x509.Certificate // certificate_file
	signers      []*x509.Certificate // metadata.signing_certificate_file
	roots        *x509.CertPool      // metadata.ca_file
}

// prepare fills in defaults and validates everything at once: each error names the key to change.
func (c *Config) prepare() (m material, err error) {
	c.NameIDFormat = cmp.Or(c.NameIDFormat, "persistent")
	c.ClockSkew = cmp.Or(c.ClockSkew, DefaultClockSkew)
	c.Endpoint.SSOBinding = cmp.Or(c.Endpoint.SSOBinding, byRedirect)
	c.Endpoint.SLOBinding = cmp.Or(c.Endpoint.SLOBinding, byRedirect)
	p := &problems{}
	p.add(c.EntityID == "" || len(c.EntityID) > 1024, "entity_id: must have 1 to 1024 characters")
	p.add(c.ClockSkew < 0 || c.ClockSkew > MaxClockSkew, "clock_skew: must be between 0s and 180s")
	c.checkSource(p)
	c.checkNames(p)
	c.checkChoices(p)
	m.certificates = p.certificates("certificate_file", c.CertificateFile)
	m.signers = p.certificates("metadata.signing_certificate_file", c.Metadata.SigningFile)
	if c.Metadata.CAFile != "" {
		m.roots = x509.NewCertPool()
		for _, ca := range p.anyCertificates("metadata.ca_file", c.Metadata.CAFile) {
			m.roots.AddCert(ca)
		}
	}
	return m, errors.Join(p.list...)
}

func (c *Config) checkSource(p *problems) {
	m := c.Metadata
	p.add(m.URL != "" && m.File != "", "metadata.file: give url or file, one of the two")
	p.add(m.URL == "" && m.CAFile != "", "metadata.ca_file: has no meaning without url")
	if m.URL != "" {
		u, err := url.Parse(m.URL)
		p.add(err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil, "metadata.url: must begin with https://, "+
			"without a user name")
	}
	if m.URL != "" || m.File != "" {
		p.add(c.Endpoint.SSOURL+c.Endpoint.SLOURL != "", "endpoint: comes from the metadata")
		return
	}
	p.add(m.SigningFile != "", "metadata.signing_certificate_file: has no meaning without url or file")
	p.add(c.Endpoint.SSOURL == "", "metadata: give url or file, or endpoint.sso_url and certificate_file")
	p.add(c.CertificateFile == "", "certificate_file: is required without metadata: nothing could be believed")
	for key, address := range map[string]string{"sso_url": c.Endpoint.SSOURL, "slo_url": c.Endpoint.SLOURL} {
		p.add(address != "" && !safeAddress(address), "endpoint.%s: must begin with https://", key)
	}
}

// safeAddress is one to which a browser can be sent with a message: https, or this machine.
func safeAddress(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (c *Config) checkNames(p *problems) {
	_, known := nameIDFormats[c.NameIDFormat]
	p.add(!known && c.NameIDFormat != "any",
		"name_id_format: %q is none of persistent, emailAddress, unspecified, transient, any", c.NameIDFormat)
	a := c.Attributes
	p.add(a.Username == "", "attributes.username: is required")
	lasting := c.NameIDFormat == "persistent" || c.NameIDFormat == "any"
	p.add(a.Subject == "" && !lasting, "attributes.subject: is required, as a NameID that is not persistent can pass from one "+
		"person to another: name an attribute that never changes")
	p.add(a.Subject == fromNameID, "attributes.subject: leave it out to take a persistent NameID")
	p.add(a.GroupsSeparator != "" && a.Groups == "", "attributes.groups_separator: has no meaning without groups")
	p.add(len(c.OurEntityID) > 1024, "our_entity_id: must have at most 1024 characters")
	for i, contact := range c.Contacts {
		p.add(!strings.Contains(contact.Email, "@"), "contacts[%d].email: is no mail address", i)
	}
}

func (c *Config) checkChoices(p *problems) {
	p.oneOf("want_signed", c.WantSigned, "", "assertion", "response", "both")
	p.oneOf("binding", c.Binding, "", byRedirect, byPost)
	p.oneOf("endpoint.sso_binding", c.Endpoint.SSOBinding, byRedirect, byPost)
	p.oneOf("endpoint.slo_binding", c.Endpoint.SLOBinding, byRedirect, byPost)
	for key, list := range map[string][]string{"authn_contexts": c.AuthnContexts, "factors_from": c.FactorsFrom} {
		p.add(slices.Contains(list, ""), "%s: holds an empty text", key)
	}
	for _, context := range c.FactorsFrom {
		p.add(len(c.AuthnContexts) > 0 && !slices.Contains(c.AuthnContexts, context),
			"factors_from: %q is not among authn_contexts, so it would be refused", context)
	}
}

// nameIDFormats are the long names of NameID formats (saml-core 8.3).
var nameIDFormats = map[string]string{
	"persistent":   "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
	"transient":    "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
	"emailAddress": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
	"unspecified":  "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
}

// problems collects what is wrong with a configuration.
type problems struct{ list []error }

func (p *problems) add(bad bool, format string, args ...any) {
	if bad {
		p.list = append(p.list, fmt.Errorf(format, args...))
	}
}

func (p *problems) oneOf(key, value string, allowed ...string) {
	p.add(!slices.Contains(allowed, value), "%s: %q is none of %s", key, value, strings.Join(allowed, ", "))
}

// certificates reads those that are to verify signatures.
func (p *problems) certificates(key, file string) []*x509.Certificate {
	list := p.anyCertificates(key, file)
	for _, c := range list {
		err := strongKey(c)
		p.add(err != nil, "%s: %v", key, err)
	}
	return list
}

func (p *problems) anyCertificates(key, file string) (list []*x509.Certificate) {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		p.add(true, "%s: %v", key, err)
		return nil
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		p.add(err != nil, "%s: %v", key, err)
		if err == nil {
			list = append(list, c)
		}
	}
	p.add(len(list) == 0, "%s: %s holds no PEM certificate", key, file)
	return list
}

// strongKey refuses keys whose signatures others could make.
func strongKey(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("the RSA key of %s has %d bits, fewer than 2048", c.Subject, key.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			return fmt.Errorf("the key of %s is on a curve of %d bits, fewer than 256", c.Subject, key.Curve.Params().BitSize)
		}
	default:
		return fmt.Errorf("the key of %s is neither RSA nor ECDSA", c.Subject)
	}
	return nil
}

// providerID is what can stand in an address.
var providerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
