package saml

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/idbridge/idbridge/authn"
)

// MaxMetadata is how many bytes of metadata are read.
const MaxMetadata = 1 << 20

// Limits of metadata. That of a whole federation may be long, but nobody needs it to be deep.
const (
	maxMetadataDepth    = 32
	maxMetadataElements = 20_000
)

const nsMetadata = "urn:oasis:names:tc:SAML:2.0:metadata"

// bindingURIs are the bindings in messages and metadata (saml-bindings 3.4, 3.5).
var bindingURIs = map[string]string{byRedirect: saml.HTTPRedirectBinding, byPost: saml.HTTPPostBinding}

// peer is what is known of an identity provider at one time. It is immutable.
type peer struct {
	sso                map[string]string   // address by binding
	slo                map[string]sloPlace // by binding
	certificates       []*x509.Certificate
	unpinned           []*x509.Certificate // that it names too, and certificate_file does not
	wantSignedRequests bool
	validUntil         time.Time     // zero: for ever
	cacheFor           time.Duration // zero: it says nothing
	read               time.Time     // when it was; zero: written down by hand
}

// sloPlace is where logout messages go.
type sloPlace struct{ requests, responses string }

// metadataReader reads the metadata of one identity provider.
type metadataReader struct {
	entityID string
	signers  []*x509.Certificate // one of them must have signed; nil: nobody need
	pins     []*x509.Certificate // the only ones to be trusted; nil: all
}

// read takes in metadata, or the identity provider's part of a federation's. It trusts nothing that a pin, the entityID,
// a signature that is asked for or validUntil speaks against. Kind: Unavailable.
func (m metadataReader) read(text []byte, now time.Time) (peer, error) {
	if err := bounded(text); err != nil {
		return peer{}, badMetadata("metadata_malformed", "%w", err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil || doc.Root() == nil {
		return peer{}, badMetadata("metadata_malformed", "it is no XML: %w", err)
	}
	root, err := m.verified(doc.Root())
	if err != nil {
		return peer{}, badMetadata("metadata_signature", "%w", err)
	}
	return m.find(root, now)
}

// find looks for the identity provider and reads what is said of it.
func (m metadataReader) find(root *etree.Element, now time.Time) (p peer, err error) {
	path := entityPath(root, m.entityID, 0)
	if path == nil {
		return p, badMetadata("metadata_other_entity", "it does not describe %q but %q: is entity_id right?", m.entityID,
			cut(cmp.Or(value(root, "entityID"), root.Tag)))
	}
	for _, e := range path {
		if err := p.limit(e); err != nil {
			return p, badMetadata("metadata_malformed", "%w", err)
		}
	}
	roles := children(path[len(path)-1], nsMetadata, "IDPSSODescriptor")
	if len(roles) != 1 {
		return p, badMetadata("metadata_malformed", "it describes %d identity providers under this entityID, not one", len(roles))
	}
	if err := p.role(roles[0], m.pins); err != nil {
		return p, badMetadata("metadata_malformed", "%w", err)
	}
	if !p.validUntil.IsZero() && !now.Before(p.validUntil) {
		return p, badMetadata("metadata_expired", "it was valid until %s", p.validUntil.Format(time.RFC3339))
	}
	return p, nil
}

// bounded refuses what no metadata needs, before it is held in memory as a tree.
func bounded(text []byte) error {
	if len(text) > MaxMetadata {
		return errors.New("it is longer than 1 MiB")
	}
	depth, elements := 0, 0
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("it is no XML: %w", err)
		}
		switch token.(type) {
		case xml.Directive:
			return errors.New("it holds a document type")
		case xml.StartElement:
			depth, elements = depth+1, elements+1
		case xml.EndElement:
			depth--
		}
		if depth > maxMetadataDepth || elements > maxMetadataElements {
			return fmt.Errorf("it is deeper than %d or has more than %d elements", maxMetadataDepth, maxMetadataElements)
		}
	}
}

// verified is the part of metadata that a configured certificate signed: all of it, or nothing.
func (m metadataReader) verified(root *etree.Element) (*etree.Element, error) {
	if m.signers == nil {
		return root, nil
	}
	if of := signaturesOf(root); len(of) != 1 || of[0].Parent() != root {
		return nil, fmt.Errorf("it has %d signatures of the whole, not one", len(of))
	}
	signed, _, err := trust{certificates: m.signers}.verify(root)
	if err != nil {
		return nil, fmt.Errorf("metadata.signing_certificate_file: %w", err)
	}
	return signed, nil
}

// signaturesOf are the signatures, wherever they stand, that say they are of the whole: those goxmldsig chooses from.
func signaturesOf(root *etree.Element) (list []*etree.Element) {
	for _, r := range root.FindElements(".//Reference") {
		if to := value(r, "URI"); to != "" && to != "#"+value(root, "ID") {
			continue
		}
		if info := r.Parent(); info != nil && is(r, nsSignature, "Reference") && info.Parent() != nil {
			list = append(list, info.Parent())
		}
	}
	return list
}

// entityPath is the way from the root to the one EntityDescriptor of an entityID; nil when there is none, or several.
func entityPath(e *etree.Element, entityID string, depth int) (path []*etree.Element) {
	switch {
	case depth > maxMetadataDepth || e.NamespaceURI() != nsMetadata:
		return nil
	case e.Tag == "EntityDescriptor" && value(e, "entityID") == entityID:
		return []*etree.Element{e}
	case e.Tag != "EntitiesDescriptor":
		return nil
	}
	for _, child := range e.ChildElements() {
		inner := entityPath(child, entityID, depth+1)
		if inner != nil && path != nil {
			return nil
		} else if inner != nil {
			path = append([]*etree.Element{e}, inner...)
		}
	}
	return path
}

// limit reads how long an element may be used. Of several the shortest counts.
func (p *peer) limit(e *etree.Element) error {
	if text := value(e, "validUntil"); text != "" {
		var t saml.RelaxedTime
		if err := t.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("validUntil %q: %w", cut(text), err)
		}
		if until := time.Time(t); p.validUntil.IsZero() || until.Before(p.validUntil) {
			p.validUntil = until
		}
	}
	if text := value(e, "cacheDuration"); text != "" {
		var d saml.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("cacheDuration %q: %w", cut(text), err)
		}
		if keep := time.Duration(d); keep > 0 && (p.cacheFor == 0 || keep < p.cacheFor) {
			p.cacheFor = keep
		}
	}
	return nil
}

// role reads an IDPSSODescriptor (saml-metadata 2.4.3).
func (p *peer) role(e *etree.Element, pins []*x509.Certificate) error {
	if err := p.limit(e); err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(value(e, "protocolSupportEnumeration")), nsProtocol) {
		return errors.New("its identity provider does not speak SAML 2.0")
	}
	wants := value(e, "WantAuthnRequestsSigned")
	p.wantSignedRequests = wants == "true" || wants == "1"
	p.endpoints(e)
	if len(p.sso) == 0 {
		return errors.New("it names no https address to sign in at, by redirect or POST")
	}
	return p.keys(e, pins)
}

func (p *peer) endpoints(role *etree.Element) {
	p.sso, p.slo = map[string]string{}, map[string]sloPlace{}
	for name, uri := range bindingURIs {
		for _, e := range children(role, nsMetadata, "SingleSignOnService") {
			if at := value(e, "Location"); value(e, "Binding") == uri && safeAddress(at) && p.sso[name] == "" {
				p.sso[name] = at
			}
		}
		for _, e := range children(role, nsMetadata, "SingleLogoutService") {
			at := value(e, "Location")
			back := cmp.Or(value(e, "ResponseLocation"), at)
			if value(e, "Binding") == uri && safeAddress(at) && safeAddress(back) && p.slo[name].requests == "" {
				p.slo[name] = sloPlace{at, back}
			}
		}
	}
}

// keys reads the certificates that may sign. One that is too weak is left out, like one that is not pinned; that none is
// left is an error.
func (p *peer) keys(role *etree.Element, pins []*x509.Certificate) error {
	var left []error
	for _, k := range children(role, nsMetadata, "KeyDescriptor") {
		if use := cmp.Or(value(k, "use"), "signing"); use != "signing" {
			continue
		}
		for _, c := range certificatesIn(k, &left) {
			switch err := strongKey(c); {
			case err != nil:
				left = append(left, err)
			case pins != nil && !slices.ContainsFunc(pins, c.Equal):
				left = append(left, fmt.Errorf("the certificate %s is not in certificate_file", fingerprint(c)))
				p.unpinned = append(p.unpinned, c)
			case !slices.ContainsFunc(p.certificates, c.Equal):
				p.certificates = append(p.certificates, c)
			}
		}
	}
	if len(p.certificates) == 0 {
		return fmt.Errorf("it names no certificate that could be trusted: %w", errors.Join(left...))
	}
	return nil
}

func certificatesIn(k *etree.Element, left *[]error) (list []*x509.Certificate) {
	for _, info := range children(k, nsSignature, "KeyInfo") {
		for _, data := range children(info, nsSignature, "X509Data") {
			for _, e := range children(data, nsSignature, "X509Certificate") {
				der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(e.Text()), ""))
				if err != nil {
					*left = append(*left, errors.New("a certificate is no base64"))
					continue
				}
				c, err := x509.ParseCertificate(der)
				if err != nil {
					*left = append(*left, fmt.Errorf("a certificate: %w", err))
					continue
				}
				list = append(list, c)
			}
		}
	}
	return list
}

// value is an attribute, empty when it is absent.
func value(e *etree.Element, name string) string {
	v, _ := attr(e, name)
	return v
}

// badMetadata is an error about an identity provider's own description.
func badMetadata(reason, format string, args ...any) error {
	return authn.Errorf(authn.Unavailable, reason, "metadata: "+format, args...)
}

// fingerprint names a certificate as administrators compare them: SHA-256, in hexadecimal.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// cut keeps what others wrote from filling the log.
func cut(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
