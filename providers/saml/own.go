package saml

import (
	"context"
	"encoding/base64"
	"strconv"

	"github.com/beevik/etree"
)

// What we can open, in the order we prefer; identity providers choose from it (saml-metadata 2.4.1.1).
var opens = []string{
	"http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes128-gcm",
	"http://www.w3.org/2001/04/xmlenc#aes256-cbc", "http://www.w3.org/2001/04/xmlenc#aes128-cbc",
	"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p",
}

// metadata describes us to one identity provider, signed (saml-metadata 2.3.2). It has a cacheDuration but no validUntil:
// where it was imported once by hand, nothing may break later.
func (p *provider) metadata(ctx context.Context) ([]byte, error) {
	own, err := p.keys.all(ctx)
	if err != nil {
		return nil, err
	}
	key, err := p.keys.signing(ctx)
	if err != nil {
		return nil, err
	}
	root := etree.NewElement("md:EntityDescriptor")
	root.CreateAttr("xmlns:md", nsMetadata)
	root.CreateAttr("xmlns:ds", nsSignature)
	root.CreateAttr("ID", newID())
	root.CreateAttr("entityID", p.entityID())
	root.CreateAttr("cacheDuration", "PT4H")
	p.describeRole(root, own)
	p.describePeople(root)
	if err := sign(root, key); err != nil {
		return nil, err
	}
	return written(root)
}

func (p *provider) describeRole(root *etree.Element, own []ownKey) {
	role := root.CreateElement("md:SPSSODescriptor")
	role.CreateAttr("AuthnRequestsSigned", boolean(!p.config.UnsignedRequests))
	want := signing(p.config.WantSigned)
	role.CreateAttr("WantAssertionsSigned", boolean(want == signedAssertion || want == signedBoth))
	role.CreateAttr("protocolSupportEnumeration", nsProtocol)
	for i := len(own) - 1; i >= 0; i-- { // the newest first: many take the first one to encrypt with
		describeKey(role, "signing", own[i])
		k := describeKey(role, "encryption", own[i])
		for _, algorithm := range opens {
			k.CreateElement("md:EncryptionMethod").CreateAttr("Algorithm", algorithm)
		}
	}
	for _, binding := range []string{byRedirect, byPost} {
		e := role.CreateElement("md:SingleLogoutService")
		e.CreateAttr("Binding", bindingURIs[binding])
		e.CreateAttr("Location", p.slo())
	}
	if format, ok := nameIDFormats[p.config.NameIDFormat]; ok {
		role.CreateElement("md:NameIDFormat").SetText(format)
	}
	for i, location := range p.consumers() {
		e := role.CreateElement("md:AssertionConsumerService")
		e.CreateAttr("Binding", bindingURIs[byPost])
		e.CreateAttr("Location", location)
		e.CreateAttr("index", strconv.Itoa(i))
		e.CreateAttr("isDefault", boolean(i == 0))
	}
	p.describeAttributes(role)
}

func describeKey(role *etree.Element, use string, key ownKey) *etree.Element {
	k := role.CreateElement("md:KeyDescriptor")
	k.CreateAttr("use", use)
	certificate := k.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate")
	certificate.SetText(base64.StdEncoding.EncodeToString(key.certificate.Raw))
	return k
}

// describeAttributes tells which attributes we read, so that the other side's administrator need not ask.
func (p *provider) describeAttributes(role *etree.Element) {
	a := p.config.Attributes
	service := role.CreateElement("md:AttributeConsumingService")
	service.CreateAttr("index", "0")
	localized(service, "md:ServiceName", "idbridge: sign-in of IT users")
	seen := map[string]bool{"": true, fromNameID: true}
	for _, wanted := range []struct {
		name     string
		required bool
	}{{a.Subject, true}, {a.Username, true}, {a.Name, false}, {a.Email, false}, {a.Groups, false}} {
		if seen[wanted.name] {
			continue
		}
		seen[wanted.name] = true
		e := service.CreateElement("md:RequestedAttribute")
		e.CreateAttr("Name", wanted.name)
		e.CreateAttr("isRequired", boolean(wanted.required))
	}
	if len(service.ChildElements()) == 1 { // the schema wants one attribute at least
		role.RemoveChild(service)
	}
}

// describePeople names the organization and the contacts, as far as they are configured.
func (p *provider) describePeople(root *etree.Element) {
	if o := p.config.Organization; o.Name != "" {
		address := o.URL
		if address == "" {
			address = p.PublicURL
		}
		e := root.CreateElement("md:Organization")
		localized(e, "md:OrganizationName", o.Name)
		localized(e, "md:OrganizationDisplayName", o.Name)
		localized(e, "md:OrganizationURL", address)
	}
	for _, c := range p.config.Contacts {
		e := root.CreateElement("md:ContactPerson")
		e.CreateAttr("contactType", c.Type)
		if c.Name != "" {
			e.CreateElement("md:GivenName").SetText(c.Name)
		}
		e.CreateElement("md:EmailAddress").SetText("mailto:" + c.Email)
	}
}

func localized(parent *etree.Element, name, text string) {
	e := parent.CreateElement(name)
	e.CreateAttr("xml:lang", "en")
	e.SetText(text)
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// Metadata is what one identity provider's administrator imports: signed, and stable but for the keys.
func (s *ServiceProvider) Metadata(ctx context.Context, provider string) ([]byte, error) {
	p, err := s.provider(provider)
	if err != nil {
		return nil, err
	}
	return p.metadata(ctx)
}
