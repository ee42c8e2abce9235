package saml

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// Bounds of the keys that may sign. A huge RSA key would make every message expensive to verify.
const (
	minRSA   = 2048
	maxRSA   = 8192
	minECDSA = 256
)

// trust is whose signatures count. The certificate that a message brings along never does.
type trust struct {
	certificates []*x509.Certificate
	allowSHA1    bool
}

// verify verifies the signature of a message or an assertion and returns what it covers: the element as it was read
// again from the very bytes that were digested, its signature taken out. Everything about the sender and the person is
// to be read from there. The element that is given is changed and no longer of use.
func (t trust) verify(e *etree.Element) (*etree.Element, *x509.Certificate, error) {
	id, _ := attr(e, "ID")
	if id == "" {
		return nil, nil, refuse("missing_id", "a signed %s without an ID", e.Tag)
	}
	sig, err := t.read(signatureOf(e), id)
	if err != nil {
		return nil, nil, err
	}
	declareInScope(e, e)
	signer, err := t.signer(sig)
	if err != nil {
		return nil, nil, err
	}
	if sig.keyInfo != nil {
		sig.element.RemoveChild(sig.keyInfo) // it is not signed, and goxmldsig would choose the certificate by it
	}
	context := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{signer}})
	context.Clock = dsig.NewFakeClockAt(signer.NotBefore) // whether it has expired was decided with the configuration
	signed, err := context.Validate(e)
	if err != nil {
		return nil, nil, refuse("signature_invalid", "the content is not what was signed: %w", err)
	}
	if got, _ := attr(signed, "ID"); got != id || !is(signed, e.NamespaceURI(), e.Tag) {
		return nil, nil, refuse("signature_invalid", "the signature is of another element")
	}
	return signed, signer, nil
}

// signature is one whose form is right.
type signature struct {
	element, info, value, keyInfo *etree.Element

	algorithm x509.SignatureAlgorithm
}

// read takes a signature apart. There is one form, that of SAML Core 5.4: one Reference to the owner's ID, enveloped, in
// exclusive canonical form.
func (t trust) read(e *etree.Element, id string) (signature, error) {
	parts := inOrder(e, "SignedInfo", "SignatureValue", "KeyInfo?")
	if parts == nil {
		return signature{}, refuse("signature_shape", "Signature is SignedInfo, SignatureValue and perhaps KeyInfo")
	}
	s := signature{element: e, info: parts[0], value: parts[1], keyInfo: parts[2]}
	info := inOrder(s.info, "CanonicalizationMethod", "SignatureMethod", "Reference")
	if info == nil {
		return s, refuse("signature_shape", "SignedInfo is two methods and exactly one Reference")
	}
	if algorithm(info[0]) != exclusive || len(info[0].ChildElements()) > 0 {
		return s, refuse("signature_canonicalisation", "%.100q", algorithm(info[0]))
	}
	var err error
	if s.algorithm, err = t.method(info[1]); err != nil {
		return s, err
	}
	return s, t.readReference(info[2], id)
}

// inOrder are the child elements of an element of XML Signature, if they are those named, in that order; a name that ends
// in ? may be missing and is nil then.
func inOrder(e *etree.Element, names ...string) []*etree.Element {
	rest := e.ChildElements()
	found := make([]*etree.Element, len(names))
	for i, name := range names {
		name, optional := strings.CutSuffix(name, "?")
		switch {
		case len(rest) > 0 && is(rest[0], nsSignature, name):
			found[i], rest = rest[0], rest[1:]
		case !optional:
			return nil
		}
	}
	if len(rest) > 0 {
		return nil
	}
	return found
}

func algorithm(e *etree.Element) string {
	value, _ := attr(e, "Algorithm")
	return value
}

// method is the signature algorithm: RSA or ECDSA with SHA-2, or SHA-1 where an old IdP was allowed it.
func (t trust) method(e *etree.Element) (x509.SignatureAlgorithm, error) {
	const more = "http://www.w3.org/2001/04/xmldsig-more#"
	name := algorithm(e)
	switch {
	case len(e.ChildElements()) > 0: // parameters, such as the length of an HMAC
	case name == more+"rsa-sha256":
		return x509.SHA256WithRSA, nil
	case name == more+"rsa-sha384":
		return x509.SHA384WithRSA, nil
	case name == more+"rsa-sha512":
		return x509.SHA512WithRSA, nil
	case name == more+"ecdsa-sha256":
		return x509.ECDSAWithSHA256, nil
	case name == more+"ecdsa-sha384":
		return x509.ECDSAWithSHA384, nil
	case name == more+"ecdsa-sha512":
		return x509.ECDSAWithSHA512, nil
	case name == nsSignature+"rsa-sha1" && t.allowSHA1:
		return x509.SHA1WithRSA, nil
	}
	return 0, refuse("signature_algorithm", "%.100q", name)
}

func (t trust) readReference(e *etree.Element, id string) error {
	if target, _ := attr(e, "URI"); target != "#"+id {
		return refuse("signature_reference", "it points to %.100q and stands in %q", target, id)
	}
	parts := inOrder(e, "Transforms", "DigestMethod", "DigestValue")
	if parts == nil || len(parts[1].ChildElements()) > 0 || len(parts[2].ChildElements()) > 0 {
		return refuse("signature_shape", "Reference is Transforms, DigestMethod and DigestValue")
	}
	switch name := algorithm(parts[1]); {
	case name == nsEncryption+"sha256", name == "http://www.w3.org/2001/04/xmldsig-more#sha384", name == nsEncryption+"sha512":
	case name == nsSignature+"sha1" && t.allowSHA1:
	default:
		return refuse("digest_algorithm", "%.100q", name)
	}
	return readTransforms(parts[0])
}

// readTransforms takes the two that SAML knows, each exactly once: goxmldsig takes out a neighbour of the signature for
// every further enveloped-signature, so that it is not digested.
func readTransforms(e *etree.Element) error {
	transforms := inOrder(e, "Transform", "Transform")
	if transforms == nil {
		return refuse("signature_transforms", "not exactly two")
	}
	first, second := algorithm(transforms[0]), algorithm(transforms[1])
	if first != enveloped || second != exclusive {
		return refuse("signature_transforms", "%.100q, then %.100q", first, second)
	}
	inclusive := transforms[1].ChildElements()
	switch {
	case len(transforms[0].ChildElements()) > 0 || len(inclusive) > 1:
	case len(inclusive) == 1 && !is(inclusive[0], nsExclusive, "InclusiveNamespaces"):
	case len(inclusive) == 1 && len(inclusive[0].SelectAttrValue("PrefixList", "")) > 256:
	default:
		return nil
	}
	return refuse("signature_transforms", "parameters that are none of theirs")
}

// signer is the configured certificate that made a signature. goxmldsig verifies it once more, together with the digest;
// asking first keeps a stranger's message from being copied and canonicalised as a whole, once for each certificate.
func (t trust) signer(s signature) (*x509.Certificate, error) {
	encoded, _ := text(s.value)
	value, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), ""))
	if err != nil {
		return nil, refuse("signature_shape", "SignatureValue: %w", err)
	}
	info := s.info.Copy()
	declareInScope(info, s.info)
	signed, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(info)
	if err != nil {
		return nil, refuse("signature_shape", "SignedInfo: %w", err)
	}
	reason, problem := "no_certificate", "no certificate is configured"
	for _, c := range t.certificates {
		if !strong(c) {
			reason, problem = "weak_key", "the key of a configured certificate is too small, or of another kind than RSA or ECDSA"
			continue
		}
		der := inDER(value, c)
		if c.CheckSignature(s.algorithm, signed, der) == nil {
			s.value.SetText(base64.StdEncoding.EncodeToString(der))
			return c, nil
		}
		reason, problem = "unknown_signer", "no configured certificate made this signature"
	}
	return nil, refuse(reason, "%s", problem)
}

func strong(c *x509.Certificate) bool {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return key.Params().BitSize >= minECDSA
	}
	return false
}

// inDER is a signature as crypto/x509, and so goxmldsig, wants it. XML Signature writes the two numbers of ECDSA one after
// the other (RFC 4050, 3.3); crypto/x509 wants them in ASN.1. Those of RSA are the same in both.
func inDER(value []byte, c *x509.Certificate) []byte {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return value
	}
	size := (key.Params().BitSize + 7) / 8
	if len(value) != 2*size {
		return nil
	}
	der, _ := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(value[:size]), new(big.Int).SetBytes(value[size:])})
	return der
}

// declareInScope declares on an element every namespace that is in scope at a place, which is the element itself or where
// it was copied from: without its parents, it must still mean the same.
func declareInScope(e, place *etree.Element) {
	declared := map[string]bool{}
	for _, a := range e.Attr {
		declared[a.FullKey()] = true
	}
	for p := place.Parent(); p != nil; p = p.Parent() {
		for _, a := range p.Attr {
			if name := a.FullKey(); (a.Space == "xmlns" || name == "xmlns") && !declared[name] {
				declared[name] = true
				e.Attr = append(e.Attr, etree.Attr{Space: a.Space, Key: a.Key, Value: a.Value})
			}
		}
	}
}
