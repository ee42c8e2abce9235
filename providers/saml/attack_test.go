package saml

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/idbridge/idbridge/authn"
)

// attack is an answer that must be refused, and for which reason. It starts from the usual answer, of which the assertion
// is signed, and the usual expectation.
type attack struct {
	want   string
	answer func(*answer)             // before anything is signed
	tree   func(root *etree.Element) // after
	raw    func([]byte) []byte       // at last
	expect func(*expectation)
	kind   authn.Kind // Untrusted when zero
}

func (a attack) make() ([]byte, expectation) {
	base, e := usual(), expecting()
	if a.answer != nil {
		a.answer(&base)
	}
	root := base.tree()
	if a.tree != nil {
		a.tree(root)
	}
	raw := serialize(root)
	if a.raw != nil {
		raw = a.raw(raw)
	}
	if a.expect != nil {
		a.expect(&e)
	}
	return raw, e
}

func TestAttacks(t *testing.T) {
	for name, a := range attacks() {
		t.Run(name, func(t *testing.T) {
			raw, e := a.make()
			v, err := judged(t, raw, e)
			kind := a.kind
			if kind == authn.Internal {
				kind = authn.Untrusted
			}
			if authn.ReasonOf(err) != a.want || authn.KindOf(err) != kind {
				t.Fatalf("got %v, want %s\n%.3000s", err, a.want, raw)
			}
			if v.NameID != "" || v.Attributes != nil {
				t.Errorf("refused, and told: %+v", v)
			}
			if seen := e.Replays.(*memory).seen; len(seen) > 0 && a.want != "replayed" {
				t.Errorf("a refused assertion was used up: %v", seen)
			}
		})
	}
}

func attacks() map[string]attack {
	all := map[string]attack{}
	for _, part := range []map[string]attack{
		wrapping(), signatures(), algorithms(), markup(), floods(), content(), times(), encrypted(),
	} {
		for name, a := range part {
			if _, twice := all[name]; twice {
				panic("two attacks are called " + name)
			}
			all[name] = a
		}
	}
	return all
}

// evil is a copy of an assertion or a response that says admin, without a signature.
func evil(e *etree.Element) *etree.Element {
	c := e.Copy()
	if s := c.SelectElement("Signature"); s != nil {
		c.RemoveChild(s)
	}
	for _, n := range c.FindElements(".//NameID") {
		n.SetText("admin")
	}
	return c
}

func setID(e *etree.Element, id string) { e.CreateAttr("ID", id) }

func assertionOf(root *etree.Element) *etree.Element { return root.SelectElement("Assertion") }

func onlyResponse(a *answer) { a.signAssertion, a.signResponse = nil, byIdP() }

// wrapping are the eight classic signature wrappings (Somorovsky and others, "On Breaking SAML", 2012), in the numbering
// of SAML Raider, and those that were found since.
func wrapping() map[string]attack {
	return map[string]attack{
		"XSW 1": {want: "misplaced_assertion", answer: onlyResponse, tree: func(root *etree.Element) {
			original := evil(root)
			original.FindElement(".//NameID").SetText("ann")
			root.SelectElement("Signature").AddChild(original)
			setID(root, "_evil")
			root.FindElement("./Assertion//NameID").SetText("admin")
		}},
		"XSW 2": {want: "misplaced_assertion", answer: onlyResponse, tree: func(root *etree.Element) {
			original := root.Copy()
			original.RemoveChild(original.SelectElement("Signature"))
			root.InsertChildAt(root.SelectElement("Signature").Index(), original)
			setID(root, "_evil")
		}},
		"XSW 3": {want: "several_assertions", tree: func(root *etree.Element) {
			e := evil(assertionOf(root))
			setID(e, "_evil")
			root.InsertChildAt(assertionOf(root).Index(), e)
		}},
		"XSW 4": {want: "several_assertions", tree: func(root *etree.Element) {
			e := evil(assertionOf(root))
			setID(e, "_evil")
			e.AddChild(assertionOf(root))
			root.AddChild(e)
		}},
		"XSW 5": {want: "several_assertions", tree: func(root *etree.Element) {
			original := assertionOf(root).Copy()
			original.RemoveChild(original.SelectElement("Signature"))
			setID(assertionOf(root), "_evil")
			root.AddChild(original)
		}},
		"XSW 6": {want: "several_assertions", tree: func(root *etree.Element) {
			original := assertionOf(root).Copy()
			original.RemoveChild(original.SelectElement("Signature"))
			setID(assertionOf(root), "_evil")
			assertionOf(root).SelectElement("Signature").AddChild(original)
		}},
		"XSW 7": {want: "misplaced_assertion", tree: func(root *etree.Element) {
			extensions := etree.NewElement("samlp:Extensions")
			extensions.AddChild(evil(assertionOf(root)))
			root.InsertChildAt(1, extensions)
		}},
		"XSW 8": {want: "signature_object", tree: func(root *etree.Element) {
			original := assertionOf(root).Copy()
			original.RemoveChild(original.SelectElement("Signature"))
			setID(assertionOf(root), "_evil")
			assertionOf(root).SelectElement("Signature").CreateElement("ds:Object").AddChild(original)
		}},
		"evil assertion beside the signed one": {want: "several_assertions", tree: func(root *etree.Element) {
			e := evil(assertionOf(root))
			setID(e, "_evil")
			root.AddChild(e)
		}},
		"signed assertion in the advice of the evil one": {want: "misplaced_assertion", tree: func(root *etree.Element) {
			signed := assertionOf(root)
			outer := evil(signed)
			outer.Tag = "Claims"
			setID(outer, "_evil")
			root.RemoveChild(signed)
			outer.CreateElement("saml:Advice").AddChild(signed)
			root.AddChild(outer)
		}},
		"signed assertion in a status detail": {want: "misplaced_assertion", tree: func(root *etree.Element) { // CVE-2024-45409
			signed := assertionOf(root)
			root.AddChild(evil(signed))
			root.SelectElement("Status").CreateElement("samlp:StatusDetail").AddChild(signed)
		}},
		"signed response inside an evil one": {want: "misplaced_signature", answer: onlyResponse, tree: func(root *etree.Element) {
			inner := root.Copy()
			root.RemoveChild(root.SelectElement("Signature"))
			root.RemoveChild(assertionOf(root))
			root.AddChild(inner)
			setID(root, "_evil")
		}},
		"assertion of another namespace": {want: "misplaced_assertion", tree: func(root *etree.Element) {
			a := evil(assertionOf(root))
			a.Space = ""
			a.CreateAttr("xmlns", "urn:oasis:names:tc:SAML:1.0:assertion")
			root.InsertChildAt(0, a)
		}},
		"an assertion for the answer": {want: "wrong_root", raw: func(raw []byte) []byte {
			return serialize(assertionOf(parseTest(string(raw))))
		}},
		"another message for the answer":  {want: "wrong_root", raw: swap("samlp:Response", "samlp:LogoutResponse")},
		"a response of another namespace": {want: "wrong_root", raw: swap(nsProtocol, "urn:oasis:names:tc:SAML:1.0:protocol")},
		"encrypted beside the signed one": {want: "several_assertions", tree: func(root *etree.Element) {
			root.AddChild(toSP().wrap(evil(assertionOf(root))))
		}},
		"the same id twice": {want: "duplicate_id", tree: func(root *etree.Element) {
			root.SelectElement("Status").CreateAttr("ID", "_assertion1")
		}},
		"the same id as Id": {want: "duplicate_id", tree: func(root *etree.Element) {
			assertionOf(root).SelectElement("Signature").CreateAttr("Id", "_assertion1")
		}},
		"the response with the assertion's id": {want: "duplicate_id", tree: func(root *etree.Element) { setID(root, "_assertion1") }},
		"xml:id":                               {want: "bad_id", tree: func(root *etree.Element) { root.CreateAttr("xml:id", "_assertion1") }},
		"an ID of a namespace": {want: "bad_id", tree: func(root *etree.Element) { // libraries that look at the local name only
			a := assertionOf(root)
			a.Attr = append([]etree.Attr{{Space: "samlp", Key: "ID", Value: "_assertion1"}}, a.Attr...)
			setID(a, "_evil")
		}},
		"an empty id":          {want: "bad_id", answer: func(a *answer) { a.assertion = `ID="" Version="2.0" IssueInstant="` + at(0) + `"` }},
		"an id with a colon":   {want: "bad_id", tree: func(root *etree.Element) { setID(root, "a:b") }},
		"an id without end":    {want: "bad_id", tree: func(root *etree.Element) { setID(root, strings.Repeat("a", 257)) }},
		"an id that is a path": {want: "bad_id", tree: func(root *etree.Element) { setID(root, "xpointer(/)") }},
	}
}

// signatures that are missing, somebody else's, of something else, or of another shape.
func signatures() map[string]attack {
	return map[string]attack{
		"stripped": {want: "not_signed", tree: func(root *etree.Element) {
			assertionOf(root).RemoveChild(assertionOf(root).SelectElement("Signature"))
		}},
		"assertion not signed where it should be": {want: "assertion_not_signed", answer: onlyResponse,
			expect: func(e *expectation) { e.WantSigned = signedAssertion }},
		"assertion not signed where both should be": {want: "assertion_not_signed", answer: onlyResponse,
			expect: func(e *expectation) { e.WantSigned = signedBoth }},
		"response not signed where it should be":   {want: "response_not_signed", expect: func(e *expectation) { e.WantSigned = signedResponse }},
		"response not signed where both should be": {want: "response_not_signed", expect: func(e *expectation) { e.WantSigned = signedBoth }},
		"foreign key": {want: "unknown_signer", answer: func(a *answer) { a.signAssertion.by = testKeys().foreign }},
		"foreign key with the IdP's certificate": {want: "unknown_signer", answer: func(a *answer) {
			a.signAssertion.by = testKeys().foreign
			a.signAssertion.keyInfo = keyInfo(testKeys().idp.cert)
		}},
		"foreign key on the response, right one on the assertion": {want: "unknown_signer", answer: func(a *answer) {
			a.signResponse = &how{by: testKeys().foreign}
		}},
		"foreign key on the assertion, right one on the response": {want: "unknown_signer", answer: func(a *answer) {
			a.signResponse, a.signAssertion = byIdP(), &how{by: testKeys().foreign}
		}},
		"a certificate that was taken away": {want: "unknown_signer", expect: func(e *expectation) {
			e.Certificates = []*x509.Certificate{testKeys().next.cert, testKeys().ec.cert}
		}},
		"no certificates": {want: "no_certificate", expect: func(e *expectation) { e.Certificates = nil }},
		"changed name":    {want: "signature_invalid", tree: func(root *etree.Element) { root.FindElement(".//NameID").SetText("admin") }},
		"changed attribute": {want: "signature_invalid", tree: func(root *etree.Element) {
			root.FindElement(".//AttributeValue").SetText("admin@example.test")
		}},
		"changed response": {want: "signature_invalid", answer: onlyResponse,
			tree: func(root *etree.Element) { root.FindElement(".//NameID").SetText("admin") }},
		"added attribute": {want: "signature_invalid", tree: func(root *etree.Element) {
			root.FindElement(".//AttributeStatement").AddChild(root.FindElement(".//Attribute").Copy())
		}},
		"changed digest": {want: "unknown_signer", tree: func(root *etree.Element) {
			root.FindElement(".//DigestValue").SetText(base64.StdEncoding.EncodeToString(make([]byte, 32)))
		}},
		"changed SignedInfo": {want: "unknown_signer", tree: func(root *etree.Element) {
			root.FindElement(".//SignedInfo").CreateAttr("Id", "x")
		}},
		"comment in the digest": {want: "xml_comment", raw: swap("<ds:DigestValue>", "<ds:DigestValue><!--x-->")}, // CVE-2025-29775
		"empty SignatureValue":  {want: "unknown_signer", tree: func(root *etree.Element) { root.FindElement(".//SignatureValue").SetText("") }},
		"SignatureValue that is no base64": {want: "signature_shape", tree: func(root *etree.Element) {
			root.FindElement(".//SignatureValue").SetText("!")
		}},
		"empty Signature": {want: "signature_shape", tree: func(root *etree.Element) {
			root.FindElement(".//Signature").Child = nil
		}},
		"two SignedInfos": {want: "signature_shape", tree: func(root *etree.Element) { // CVE-2025-29774
			root.FindElement(".//Signature").InsertChildAt(0, root.FindElement(".//SignedInfo").Copy())
		}},
		"a second SignedInfo at the end": {want: "signature_shape", tree: func(root *etree.Element) {
			root.FindElement(".//Signature").AddChild(root.FindElement(".//SignedInfo").Copy())
		}},
		"two SignatureValues": {want: "signature_shape", tree: func(root *etree.Element) {
			root.FindElement(".//Signature").AddChild(root.FindElement(".//SignatureValue").Copy())
		}},
		"two references": {want: "signature_shape", answer: func(a *answer) {
			a.signAssertion.more = `<ds:Reference URI="#_response1"><ds:Transforms>` + usualTransforms +
				`</ds:Transforms><ds:DigestMethod Algorithm="` + sha256URI + `"/><ds:DigestValue>AA==</ds:DigestValue></ds:Reference>`
		}},
		"no reference": {want: "signature_shape", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) {
				sig.FindElement("./SignedInfo").RemoveChild(sig.FindElement("./SignedInfo/Reference"))
			}
		}},
		"two DigestValues": {want: "signature_shape", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) {
				r := sig.FindElement("./SignedInfo/Reference")
				r.AddChild(r.SelectElement("DigestValue").Copy())
			}
		}},
		"element in the DigestValue": {want: "signature_shape", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) { sig.FindElement(".//DigestValue").CreateElement("ds:x") }
		}},
		"parameters of the digest": {want: "signature_shape", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) { sig.FindElement(".//DigestMethod").CreateElement("ds:x") }
		}},
		"SignedInfo of another namespace": {want: "signature_shape", tree: func(root *etree.Element) {
			root.FindElement(".//SignedInfo").CreateAttr("xmlns:ds", "urn:x")
		}},
		"ds:Object": {want: "signature_object", tree: func(root *etree.Element) {
			root.FindElement(".//Signature").CreateElement("ds:Object")
		}},
		"reference to the whole document": {want: "signature_reference", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) { sig.FindElement(".//Reference").CreateAttr("URI", "") }
		}},
		"reference without a URI": {want: "signature_reference", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) { sig.FindElement(".//Reference").RemoveAttr("URI") }
		}},
		"reference to something else":  {want: "signature_reference", answer: func(a *answer) { a.signAssertion.reference = "#_response1" }},
		"reference by XPointer":        {want: "signature_reference", answer: func(a *answer) { a.signAssertion.reference = "#xpointer(id('_assertion1'))" }},
		"reference to another address": {want: "signature_reference", answer: func(a *answer) { a.signAssertion.reference = "http://127.0.0.1/x" }},
		"the assertion's signature as the response's": {want: "signature_reference", tree: func(root *etree.Element) {
			root.InsertChildAt(1, assertionOf(root).SelectElement("Signature"))
		}},
		"signature before the Issuer": {want: "misplaced_signature", tree: func(root *etree.Element) {
			a := assertionOf(root)
			a.InsertChildAt(0, a.SelectElement("Signature"))
		}},
		"signature at the end": {want: "misplaced_signature", tree: func(root *etree.Element) {
			assertionOf(root).AddChild(assertionOf(root).SelectElement("Signature"))
		}},
		"signature behind something else": {want: "misplaced_signature", tree: func(root *etree.Element) {
			assertionOf(root).AddChild(assertionOf(root).SelectElement("Issuer"))
			assertionOf(root).InsertChildAt(0, root.FindElement(".//Subject"))
		}},
		"signature in the subject": {want: "misplaced_signature", tree: func(root *etree.Element) {
			root.FindElement(".//Subject").AddChild(assertionOf(root).SelectElement("Signature"))
		}},
		"signature in the extensions": {want: "misplaced_signature", tree: func(root *etree.Element) {
			e := etree.NewElement("samlp:Extensions")
			e.AddChild(assertionOf(root).SelectElement("Signature"))
			root.InsertChildAt(1, e)
		}},
		"two signatures": {want: "misplaced_signature", tree: func(root *etree.Element) {
			a := assertionOf(root)
			a.InsertChildAt(1, a.SelectElement("Signature").Copy())
		}},
		"a signature of another namespace": {want: "misplaced_signature", tree: func(root *etree.Element) {
			s := assertionOf(root).SelectElement("Signature")
			s.Space = ""
			s.CreateAttr("xmlns", "urn:x")
		}},
		"response signed without an ID": {want: "missing_id", answer: func(a *answer) {
			onlyResponse(a)
			a.response = strings.Replace(a.response, `ID="_response1"`, "", 1)
		}},
		"signed without an ID": {want: "missing_id", answer: func(a *answer) {
			a.assertion = `Version="2.0" IssueInstant="` + at(0) + `"`
		}},
	}
}

// algorithms that prove nothing, or that change what is signed.
func algorithms() map[string]attack {
	method := func(uri string) func(*answer) { return func(a *answer) { a.signAssertion.method = uri } }
	digest := func(uri string) func(*answer) { return func(a *answer) { a.signAssertion.digest = uri } }
	transforms := func(algorithms ...string) func(*answer) {
		return func(a *answer) {
			for _, t := range algorithms {
				a.signAssertion.transforms += `<ds:Transform Algorithm="` + t + `"/>`
			}
		}
	}
	inside := func(xml string) func(*answer) {
		return func(a *answer) {
			a.signAssertion.transforms = `<ds:Transform Algorithm="` + enveloped + `"/><ds:Transform Algorithm="` + exclusive + `">` +
				xml + `</ds:Transform>`
		}
	}
	xpath := `<ds:XPath>not(ancestor-or-self::Subject)</ds:XPath>`
	return map[string]attack{
		"RSA-SHA1":                         {want: "signature_algorithm", answer: method(nsSignature + "rsa-sha1")},
		"RSA-MD5":                          {want: "signature_algorithm", answer: method(moreURI("rsa-md5"))},
		"HMAC-SHA256":                      {want: "signature_algorithm", answer: method(moreURI("hmac-sha256"))},
		"HMAC-SHA1 where SHA-1 is allowed": {want: "signature_algorithm", answer: method(nsSignature + "hmac-sha1"), expect: func(e *expectation) { e.AllowSHA1 = true }},
		"DSA":                              {want: "signature_algorithm", answer: method(nsSignature + "dsa-sha1")},
		"no algorithm":                     {want: "signature_algorithm", answer: method("none")},
		"parameters of the algorithm": {want: "signature_algorithm", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) {
				sig.FindElement(".//SignatureMethod").CreateElement("ds:HMACOutputLength").SetText("8")
			}
		}},
		"RSA for an ECDSA certificate": {want: "unknown_signer", expect: func(e *expectation) {
			e.Certificates = []*x509.Certificate{testKeys().ec.cert}
		}},
		"ECDSA in ASN.1": {want: "unknown_signer",
			answer: func(a *answer) { a.signAssertion.by, a.signAssertion.method = testKeys().ec, moreURI("ecdsa-sha256") },
			expect: func(e *expectation) { e.Certificates = []*x509.Certificate{testKeys().ec.cert} },
			tree: func(root *etree.Element) {
				value := root.FindElement(".//SignatureValue")
				raw, _ := base64.StdEncoding.DecodeString(value.Text())
				value.SetText(base64.StdEncoding.EncodeToString(inDER(raw, testKeys().ec.cert)))
			}},
		"RSA with 1024 bits": {want: "weak_key", answer: func(a *answer) { a.signAssertion.by = testKeys().weak },
			expect: func(e *expectation) { e.Certificates = []*x509.Certificate{testKeys().weak.cert} }},
		"SHA-1 digest":                   {want: "digest_algorithm", answer: digest(nsSignature + "sha1")},
		"MD5 digest":                     {want: "digest_algorithm", answer: digest(moreURI("md5"))},
		"inclusive canonical SignedInfo": {want: "signature_canonicalisation", answer: func(a *answer) { a.signAssertion.canonical = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315" }},
		"SignedInfo with comments":       {want: "signature_canonicalisation", answer: func(a *answer) { a.signAssertion.canonical = exclusive + "WithComments" }},
		"parameters of the canonical form": {want: "signature_canonicalisation", answer: func(a *answer) {
			a.signAssertion.edit = func(sig *etree.Element) { sig.FindElement(".//CanonicalizationMethod").CreateElement("ds:XPath") }
		}},
		"enveloped twice":          {want: "signature_transforms", answer: transforms(enveloped, enveloped, exclusive)},
		"enveloped twice, no form": {want: "signature_transforms", answer: transforms(enveloped, enveloped)},
		"canonical form twice":     {want: "signature_transforms", answer: transforms(enveloped, exclusive, exclusive)},
		"the other way round":      {want: "signature_transforms", answer: transforms(exclusive, enveloped)},
		"not enveloped":            {want: "signature_transforms", answer: transforms(exclusive)},
		"no canonical form":        {want: "signature_transforms", answer: transforms(enveloped)},
		"inclusive form":           {want: "signature_transforms", answer: transforms(enveloped, "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")},
		"form with comments":       {want: "signature_transforms", answer: transforms(enveloped, exclusive+"WithComments")},
		"XPath":                    {want: "signature_transforms", answer: transforms(enveloped, "http://www.w3.org/TR/1999/REC-xpath-19991116")},
		"XPath filter 2":           {want: "signature_transforms", answer: transforms("http://www.w3.org/2002/06/xmldsig-filter2", exclusive)},
		"XSLT":                     {want: "signature_transforms", answer: transforms(enveloped, "http://www.w3.org/TR/1999/REC-xslt-19991116")},
		"base64 transform":         {want: "signature_transforms", answer: transforms(enveloped, nsSignature+"base64")},
		"XPath in a transform":     {want: "signature_transforms", answer: inside(xpath)},
		"two parameters":           {want: "signature_transforms", answer: inside(`<a xmlns="` + exclusive + `"/><b/>`)},
		"long PrefixList":          {want: "signature_transforms", answer: inside(`<ec:InclusiveNamespaces xmlns:ec="` + exclusive + `" PrefixList="` + strings.Repeat("x ", 200) + `"/>`)},
		"parameters of enveloped": {want: "signature_transforms", answer: func(a *answer) {
			a.signAssertion.transforms = `<ds:Transform Algorithm="` + enveloped + `">` + xpath + `</ds:Transform><ds:Transform Algorithm="` + exclusive + `"/>`
		}},
	}
}

func swap(old, with string) func([]byte) []byte {
	return func(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte(old), []byte(with)) }
}

// once replaces the first place only.
func once(old, with string) func([]byte) []byte {
	return func(raw []byte) []byte { return bytes.Replace(raw, []byte(old), []byte(with), 1) }
}

func before(with string) func([]byte) []byte {
	return func(raw []byte) []byte { return append([]byte(with), raw...) }
}

func behind(with string) func([]byte) []byte {
	return func(raw []byte) []byte { return append(bytes.Clone(raw), with...) }
}

// markup that readers take differently.
func markup() map[string]attack {
	return map[string]attack{
		"empty":                     {want: "xml_truncated", raw: func([]byte) []byte { return nil }},
		"not XML":                   {want: "xml_bad_markup", raw: func([]byte) []byte { return []byte("hello") }},
		"UTF-16":                    {want: "xml_not_utf8", raw: func([]byte) []byte { return []byte("\xff\xfe<\x00") }},
		"Latin-1":                   {want: "xml_not_utf8", raw: swap(">ann<", ">jos\xe9<")},
		"DOCTYPE":                   {want: "xml_doctype", raw: before(`<!DOCTYPE samlp:Response>`)},
		"an entity":                 {want: "xml_doctype", raw: before(`<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>`)},
		"billion laughs":            {want: "xml_doctype", raw: before(`<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>`)},
		"entity without DOCTYPE":    {want: "xml_bad_reference", raw: swap(">ann<", ">&admin;<")},
		"comment in the NameID":     {want: "xml_comment", raw: swap(">ann<", ">admin<!-- -->ann<")},
		"comment at the end":        {want: "xml_trailing_data", raw: behind(`<!-- -->`)},
		"instruction in the NameID": {want: "xml_processing_instruction", raw: swap(">ann<", ">admin<?x?>ann<")},
		"style sheet":               {want: "xml_processing_instruction", raw: before(`<?xml-stylesheet href="x"?>`)},
		"CDATA in the NameID":       {want: "xml_cdata", raw: swap(">ann<", "><![CDATA[ann]]><")},
		"CDATA behind the NameID":   {want: "xml_cdata", raw: swap(">ann<", ">an<![CDATA[n]]><")},
		"element in the NameID": {want: "signature_invalid", tree: func(root *etree.Element) {
			root.FindElement(".//NameID").CreateElement("x")
		}},
		"second root":                          {want: "xml_trailing_data", raw: behind(`<samlp:Response xmlns:samlp="` + nsProtocol + `"/>`)},
		"text behind":                          {want: "xml_trailing_data", raw: behind(`x`)},
		"NUL behind":                           {want: "xml_illegal_character", raw: behind("\x00")},
		"NUL in the name":                      {want: "xml_illegal_character", raw: swap(">ann<", ">ann\x00<")},
		"attribute twice":                      {want: "xml_duplicate_attribute", raw: once(` Version="2.0"`, ` Version="2.0" Version="2.0"`)},
		"ID twice":                             {want: "xml_duplicate_attribute", raw: swap(`ID="_assertion1"`, `ID="_evil" ID="_assertion1"`)},
		"undeclared prefix":                    {want: "xml_undeclared_prefix", raw: once(` Version="2.0"`, ` Version="2.0" x:y=""`)},
		"prefix bound to nothing":              {want: "xml_bad_namespace_declaration", raw: once(`xmlns:xs="http://www.w3.org/2001/XMLSchema"`, `xmlns:saml2=""`)},
		"relative namespace":                   {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `../x`)}, // void canonicalisation, 2025
		"relative default namespace":           {want: "bad_namespace", raw: swap(`<samlp:Status>`, `<samlp:Status xmlns="x">`)},
		"namespace with a space":               {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `urn:a b`)},
		"namespace with a brace":               {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `urn:a{b`)},
		"namespace with two ends":              {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `urn:a#b#c`)},
		"namespace with no scheme":             {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `:a`)},
		"namespace with a number for a scheme": {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `1:a`)},
		"namespace with a broken scheme":       {want: "bad_namespace", raw: once(`http://www.w3.org/2001/XMLSchema`, `a_b:a`)},
		"crossed tags":                         {want: "xml_mismatched_tag", raw: swap("</saml:Subject>", "</saml:Subjekt>")},
		"text in the end tag":                  {want: "xml_bad_markup", raw: swap("</saml:Subject>", `</saml:Subject x="">`)},
		"cut off":                              {want: "xml_truncated", raw: func(raw []byte) []byte { return raw[:len(raw)-1] }},
		"another encoding declared":            {want: "xml_not_utf8", raw: before(`<?xml version="1.0" encoding="utf-7"?>`)},
		"XML 1.1":                              {want: "xml_declaration", raw: before(`<?xml version="1.1"?>`)},
		"colons in a name":                     {want: "xml_bad_markup", raw: swap("saml:Issuer>", "saml::Issuer>")},
	}
}

// floods are messages that would cost much if they were let in.
func floods() map[string]attack {
	fill := func(xml string, n int) func(*answer) {
		return func(a *answer) { a.extensions = `<samlp:Extensions>` + strings.Repeat(xml, n) + `</samlp:Extensions>` }
	}
	return map[string]attack{
		"too large":  {want: "message_too_large", answer: fill(strings.Repeat("x", 1024), 257)},
		"elements":   {want: "message_too_complex", answer: fill(`<x/>`, maxElements)},
		"attributes": {want: "message_too_complex", answer: fill(`<x a="" b="" c="" d="" e=""/>`, maxAttributes/5)},
		"attributes of one": {want: "xml_too_many_attributes", answer: func(a *answer) {
			a.extensions = `<x`
			for i := range 33 {
				a.extensions += ` a` + strings.Repeat("x", i) + `=""`
			}
			a.extensions += `/>`
		}},
		"depth": {want: "xml_depth", answer: func(a *answer) {
			a.extensions = strings.Repeat("<x>", 32) + strings.Repeat("</x>", 32)
		}},
		"namespaces": {want: "xml_bad_namespace_declaration", answer: func(a *answer) {
			for i := range 23 {
				a.namespaces += ` xmlns:a` + strings.Repeat("x", i) + `="urn:x"`
			}
		}},
		"namespaces in depth": {want: "xml_bad_namespace_declaration", answer: func(a *answer) {
			a.extensions = strings.Repeat(`<x xmlns:a="urn:a" xmlns:b="urn:b">`, 15) + strings.Repeat(`</x>`, 15)
		}},
		"transforms": {want: "signature_transforms", answer: func(a *answer) {
			a.signAssertion.transforms = strings.Repeat(`<ds:Transform Algorithm="`+enveloped+`"/>`, 1000)
		}},
		"references": {want: "signature_shape", answer: func(a *answer) {
			a.signAssertion.more = strings.Repeat(`<ds:Reference URI="#_assertion1"/>`, 1000)
		}},
	}
}

// content that is signed by the IdP, but not for us, not for this, or not in a way that we know.
func content() map[string]attack {
	confirm := func(data string) func(*answer) {
		return func(a *answer) { a.subject = subject(`<saml:NameID>ann</saml:NameID>`, confirmation(data)) }
	}
	name := func(xml string) func(*answer) {
		return func(a *answer) { a.subject = strings.Replace(a.subject, ">ann<", ">"+xml+"<", 1) }
	}
	conditioned := func(parts ...string) func(*answer) {
		return func(a *answer) { a.conditions = conditions(`NotOnOrAfter="`+at(time.Minute)+`"`, parts...) }
	}
	status := func(xml string) func(*answer) {
		return func(a *answer) { a.status, a.assertion = `<samlp:Status>`+xml+`</samlp:Status>`, "" }
	}
	response := func(old, with string) func(*answer) {
		return func(a *answer) { a.response = strings.Replace(a.response, old, with, 1) }
	}
	assertion := func(old, with string) func(*answer) {
		return func(a *answer) { a.assertion = strings.Replace(a.assertion, old, with, 1) }
	}
	const code = `<samlp:StatusCode Value="` + statusPrefix
	until, to, request := `NotOnOrAfter="`+at(time.Minute)+`" `, `Recipient="`+testACS+`" `, `InResponseTo="`+testRequest+`" `
	asked := ` InResponseTo="` + testRequest + `"`
	destination := ` Destination="` + testACS + `"`
	return map[string]attack{
		// Version and status.
		"response of SAML 1.1":         {want: "wrong_version", answer: response(`"2.0"`, `"1.1"`)},
		"response without version":     {want: "wrong_version", answer: response(`Version="2.0"`, ``)},
		"assertion of SAML 1.1":        {want: "wrong_version", answer: assertion(`"2.0"`, `"1.1"`)},
		"no status":                    {want: "status_missing", answer: func(a *answer) { a.status = "" }},
		"two statuses":                 {want: "status_missing", answer: func(a *answer) { a.status += a.status }},
		"status without a code":        {want: "status_missing", answer: status("")},
		"success without an assertion": {want: "no_assertion", answer: func(a *answer) { a.assertion = "" }},
		"failure with an assertion": {want: "idp_failed", kind: authn.Unavailable, answer: func(a *answer) {
			a.status = strings.Replace(a.status, "Success", "Responder", 1)
		}},
		"the IdP refused":     {want: "idp_refused", kind: authn.Locked, answer: status(code + `Responder">` + code + `AuthnFailed"/></samlp:StatusCode>`)},
		"the IdP denied":      {want: "idp_refused", kind: authn.Locked, answer: status(code + `Responder">` + code + `RequestDenied"/></samlp:StatusCode>`)},
		"the IdP has trouble": {want: "idp_failed", kind: authn.Unavailable, answer: status(code + `Responder"/>`)},
		"a status that ends like success": {want: "idp_failed", kind: authn.Unavailable, answer: func(a *answer) {
			a.status = `<samlp:Status><samlp:StatusCode Value="urn:x:Success"/></samlp:Status>`
		}},
		// Issuers: also the mix-up of two IdPs, of which one is evil.
		"response of another IdP":        {want: "response_issuer", answer: func(a *answer) { a.responseIssuer = `<saml:Issuer>https://evil.test</saml:Issuer>` }},
		"signed response without Issuer": {want: "misplaced_signature", answer: func(a *answer) { onlyResponse(a); a.responseIssuer = "" }},
		"two Issuers of the response":    {want: "response_issuer", answer: func(a *answer) { a.extensions = a.responseIssuer }},
		"response with an Issuer of another format": {want: "response_issuer", answer: func(a *answer) {
			a.responseIssuer = `<saml:Issuer Format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient">` + testIdP + `</saml:Issuer>`
		}},
		"assertion of another IdP": {want: "wrong_issuer", answer: func(a *answer) { a.issuer = `<saml:Issuer>https://evil.test</saml:Issuer>` }},
		"assertion without Issuer": {want: "wrong_issuer", answer: func(a *answer) { onlyResponse(a); a.issuer = "" }},
		"empty Issuer":             {want: "wrong_issuer", answer: func(a *answer) { a.issuer = `<saml:Issuer/>` }},
		"Issuer with an element":   {want: "wrong_issuer", answer: func(a *answer) { a.issuer = `<saml:Issuer>` + testIdP + `<x/></saml:Issuer>` }},
		"two Issuers":              {want: "wrong_issuer", answer: func(a *answer) { a.issuer += a.issuer; onlyResponse(a) }},
		"Issuer in other case":     {want: "wrong_issuer", answer: func(a *answer) { a.issuer = strings.Replace(a.issuer, "idp.", "IDP.", 1) }},
		// Where to, and in answer to what.
		"another destination":                   {want: "wrong_destination", answer: response(testACS, "https://other.example.test/acs")},
		"destination longer by a slash":         {want: "wrong_destination", answer: response(testACS, testACS+"/")},
		"empty destination":                     {want: "wrong_destination", answer: response(testACS, "")},
		"signed response without a destination": {want: "destination_missing", answer: func(a *answer) { onlyResponse(a); response(destination, "")(a) }},
		"destination of a namespace": {want: "destination_missing", answer: func(a *answer) {
			onlyResponse(a)
			response(destination, strings.Replace(destination, " D", " xs:D", 1))(a)
		}},
		"answer to another request":                 {want: "wrong_in_response_to", answer: response(testRequest, "_request2")},
		"answer to nothing":                         {want: "in_response_to_missing", answer: response(asked, "")},
		"answer to an empty id":                     {want: "wrong_in_response_to", answer: response(testRequest, "")},
		"unsolicited, with a foreign InResponseTo":  {want: "unexpected_in_response_to", expect: func(e *expectation) { e.RequestID = "" }},
		"unsolicited, with one in the confirmation": {want: "unexpected_in_response_to", answer: response(asked, ""), expect: func(e *expectation) { e.RequestID = "" }},
		"unsolicited, with an empty one":            {want: "unexpected_in_response_to", answer: response(testRequest, ""), expect: func(e *expectation) { e.RequestID = "" }},
		// The subject and its confirmation.
		"no ID of the assertion": {want: "missing_id", answer: func(a *answer) { onlyResponse(a); assertion(`ID="_assertion1"`, "")(a) }},
		"no subject":             {want: "subject_missing", answer: func(a *answer) { a.subject = "" }},
		"two subjects":           {want: "assertion_shape", answer: func(a *answer) { a.subject += a.subject }},
		"two NameIDs": {want: "bad_name_id", answer: func(a *answer) {
			a.subject = strings.Replace(a.subject, `<saml:SubjectConf`, `<saml:NameID>admin</saml:NameID><saml:SubjectConf`, 1)
		}},
		"empty NameID":                             {want: "bad_name_id", answer: name("")},
		"space around the NameID":                  {want: "bad_name_id", answer: name(" ann ")},
		"DEL in the NameID":                        {want: "bad_name_id", answer: name("an\x7fn")},
		"line feed in the NameID":                  {want: "bad_name_id", answer: name("an\nn")},
		"element in the NameID, signed":            {want: "bad_name_id", answer: name("admin<x/>ann")},
		"long NameID":                              {want: "bad_name_id", answer: name(strings.Repeat("a", 1025))},
		"no confirmation":                          {want: "no_bearer_confirmation", answer: func(a *answer) { a.subject = subject(`<saml:NameID>ann</saml:NameID>`) }},
		"sender-vouches":                           {want: "no_bearer_confirmation", answer: func(a *answer) { a.subject = strings.Replace(a.subject, "cm:bearer", "cm:sender-vouches", 1) }},
		"holder of key":                            {want: "no_bearer_confirmation", answer: func(a *answer) { a.subject = strings.Replace(a.subject, "cm:bearer", "cm:holder-of-key", 1) }},
		"confirmation without data":                {want: "no_bearer_confirmation", answer: func(a *answer) { a.subject = subject(`<saml:SubjectConfirmation Method="` + bearer + `"/>`) }},
		"another recipient":                        {want: "wrong_recipient", answer: confirm(until + request + `Recipient="https://other.example.test/acs"`)},
		"no recipient":                             {want: "wrong_recipient", answer: confirm(until + request)},
		"no InResponseTo in the confirmation":      {want: "in_response_to_missing", answer: confirm(until + to)},
		"another InResponseTo in the confirmation": {want: "wrong_in_response_to", answer: confirm(until + to + `InResponseTo="_request2"`)},
		"confirmation without an end":              {want: "confirmation_without_end", answer: confirm(to + request)},
		// Conditions.
		"no conditions":                  {want: "conditions_missing", answer: func(a *answer) { a.conditions = "" }},
		"two conditions":                 {want: "assertion_shape", answer: func(a *answer) { a.conditions += a.conditions }},
		"no audience":                    {want: "audience_missing", answer: conditioned()},
		"empty restriction":              {want: "wrong_audience", answer: conditioned(audience())},
		"another audience":               {want: "wrong_audience", answer: conditioned(audience("urn:other"))},
		"empty audience":                 {want: "wrong_audience", answer: conditioned(audience(""))},
		"two restrictions, ours first":   {want: "wrong_audience", answer: conditioned(audience(testSP), audience("urn:other"))},
		"two restrictions, ours last":    {want: "wrong_audience", answer: conditioned(audience("urn:other"), audience(testSP))},
		"audience that begins like ours": {want: "wrong_audience", answer: conditioned(audience(testSP + ".evil.test"))},
		"audience of another namespace":  {want: "wrong_audience", answer: conditioned(`<saml:AudienceRestriction><Audience>` + testSP + `</Audience></saml:AudienceRestriction>`)},
		"unknown condition":              {want: "unknown_condition", answer: conditioned(audience(testSP), `<saml:Condition/>`)},
		"foreign condition":              {want: "unknown_condition", answer: conditioned(audience(testSP), `<OneTimeUse xmlns="urn:x"/>`)},
		// Statements.
		"no AuthnStatement": {want: "authn_statement_missing", answer: func(a *answer) { a.authn = "" }},
		"no AuthnInstant":   {want: "bad_time", answer: func(a *answer) { a.authn = authnStatement("") }},
		"not encrypted":     {want: "not_encrypted", expect: func(e *expectation) { e.WantEncrypted = true }},
		"shown before":      {want: "replayed", expect: func(e *expectation) { e.Replays = &memory{seen: map[string]time.Time{"corp _assertion1": {}}} }},
		"memory is down":    {want: "replay_store", kind: authn.Unavailable, expect: func(e *expectation) { e.Replays = &memory{err: errStoreDown} }},
	}
}

// times at the edges: the skew is a minute.
func times() map[string]attack {
	clock := func(d time.Duration) func(*expectation) { return func(e *expectation) { e.Now = testNow().Add(d) } }
	window := func(attributes string) func(*answer) {
		return func(a *answer) { a.conditions = conditions(attributes, audience(testSP)) }
	}
	return map[string]attack{
		"confirmation over": {want: "expired_confirmation", answer: window(""), expect: clock(6 * time.Minute)},
		"confirmation to come": {want: "early_confirmation", answer: func(a *answer) {
			a.subject = strings.Replace(a.subject, `NotOnOrAfter`, `NotBefore="`+at(61*time.Second)+`" NotOnOrAfter`, 1)
		}},
		"conditions over":     {want: "expired_assertion", answer: window(`NotOnOrAfter="` + at(-time.Minute) + `"`)},
		"conditions to come":  {want: "early_assertion", answer: window(`NotBefore="` + at(61*time.Second) + `"`)},
		"issued in future":    {want: "issued_in_future", expect: clock(-61 * time.Second), answer: window("")},
		"signed in in future": {want: "authn_in_future", answer: func(a *answer) { a.authn = authnStatement(`AuthnInstant="` + at(61*time.Second) + `"`) }},
		"second statement in future": {want: "authn_in_future", answer: func(a *answer) {
			a.authn += authnStatement(`AuthnInstant="` + at(61*time.Second) + `"`)
		}},
		"signed in too long ago": {want: "authn_too_old", expect: func(e *expectation) { e.AuthnAfter = testNow().Add(60 * time.Second) }},
		"session over": {want: "session_over", answer: func(a *answer) {
			a.authn = authnStatement(`AuthnInstant="` + at(-time.Hour) + `" SessionNotOnOrAfter="` + at(-time.Minute) + `"`)
		}},
		"no IssueInstant":         {want: "bad_time", answer: func(a *answer) { a.assertion = `ID="_assertion1" Version="2.0"` }},
		"IssueInstant of no time": {want: "bad_time", answer: func(a *answer) { a.assertion = `ID="_assertion1" Version="2.0" IssueInstant="never"` }},
		"AuthnInstant of no time": {want: "bad_time", answer: func(a *answer) { a.authn = authnStatement(`AuthnInstant="never"`) }},
		"a time of no zone":       {want: "bad_time", answer: window(`NotOnOrAfter="2026-11-24T12:05:00"`)},
		"a time of no time":       {want: "bad_time", answer: window(`NotBefore="yesterday"`)},
		"an end of no time":       {want: "bad_time", answer: func(a *answer) { a.subject = strings.Replace(a.subject, at(5*time.Minute), "never", 1) }},
		"a session of no time": {want: "bad_time", answer: func(a *answer) {
			a.authn = authnStatement(`AuthnInstant="` + at(0) + `" SessionNotOnOrAfter=""`)
		}},
	}
}

// encrypted are attacks on encrypted assertions and through them.
func encrypted() map[string]attack {
	enc := func(change func(*encryption)) func(*answer) {
		return func(a *answer) { a.encrypt = toSP(); change(a.encrypt) }
	}
	plain := func(f func([]byte) []byte) func(*answer) { return enc(func(x *encryption) { x.plain = f }) }
	cbc := func(f func([]byte) []byte) func(*answer) {
		return enc(func(x *encryption) { x.content, x.cipher = nsEncryption+"aes128-cbc", f })
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 0xff; return b }
	}
	edit := func(f func(*etree.Element)) func(*answer) { return enc(func(x *encryption) { x.edit = f }) }
	return map[string]attack{
		"encrypted, not signed": {want: "not_signed", answer: func(a *answer) { a.encrypt, a.signAssertion = toSP(), nil }},
		"encrypted, foreign signature": {want: "unknown_signer", answer: func(a *answer) {
			a.encrypt, a.signAssertion = toSP(), &how{by: testKeys().foreign}
		}},
		"encrypted, changed name": {want: "signature_invalid", answer: plain(swap(">ann<", ">admin<"))},
		"encrypted, response over it changed": {want: "signature_invalid",
			answer: func(a *answer) { a.encrypt, a.signResponse = toSP(), byIdP() },
			tree: func(root *etree.Element) {
				root.RemoveChild(root.SelectElement("EncryptedAssertion"))
				root.AddChild(toSP().wrap(parseTest(usual().assertionXML())))
			}},
		"encrypted, another audience": {want: "wrong_audience", answer: func(a *answer) {
			a.encrypt = toSP()
			a.conditions = conditions("", audience("urn:other"))
		}},
		"no key of ours":    {want: "no_decryption_key", answer: enc(func(*encryption) {}), expect: func(e *expectation) { e.Keys = nil }},
		"for somebody else": {want: "decryption_failed", answer: enc(func(x *encryption) { x.to = &testKeys().oldSP.PublicKey })},
		"RSA 1.5":           {want: "encryption_algorithm", answer: enc(func(x *encryption) { x.transport = nsEncryption + "rsa-1_5" })},
		"RSA 1.5 as OAEP": {want: "decryption_failed", answer: edit(func(e *etree.Element) {
			x := encryption{to: &testKeys().sp.PublicKey, transport: nsEncryption + "rsa-1_5"}
			value := parseTest(`<r xmlns:xenc="x">` + x.encryptedKey(x.to, make([]byte, 32)) + `</r>`).FindElement(".//CipherValue").Text()
			e.FindElement(".//EncryptedKey//CipherValue").SetText(value)
		})},
		"3DES": {want: "encryption_algorithm", answer: edit(func(e *etree.Element) {
			e.FindElement("./EncryptedData/EncryptionMethod").CreateAttr("Algorithm", nsEncryption+"tripledes-cbc")
		})},
		"no method": {want: "encryption_algorithm", answer: edit(func(e *etree.Element) {
			d := e.FindElement("./EncryptedData")
			d.RemoveChild(d.SelectElement("EncryptionMethod"))
		})},
		"OAEP with MD5": {want: "encryption_algorithm", answer: enc(func(x *encryption) { x.oaep = `<ds:DigestMethod Algorithm="` + moreURI("md5") + `"/>` })},
		"OAEP with an unknown mask": {want: "encryption_algorithm", answer: enc(func(x *encryption) {
			x.transport, x.oaep = nsEncryption1+"rsa-oaep", `<m:MGF xmlns:m="`+nsEncryption1+`" Algorithm="urn:x"/>`
		})},
		"OAEP with a label": {want: "encryption_algorithm", answer: enc(func(x *encryption) { x.oaep = `<xenc:OAEPparams>AA==</xenc:OAEPparams>` })},
		"GCM changed":       {want: "decryption_failed", answer: enc(func(x *encryption) { x.cipher = flip(20) })},
		"GCM tag changed":   {want: "decryption_failed", answer: enc(func(x *encryption) { x.cipher = flip(-1) })},
		"GCM too short":     {want: "decryption_failed", answer: enc(func(x *encryption) { x.cipher = func(b []byte) []byte { return b[:11] } })},
		"GCM called CBC": {want: "decryption_failed", answer: edit(func(e *etree.Element) {
			e.FindElement("./EncryptedData/EncryptionMethod").CreateAttr("Algorithm", nsEncryption+"aes256-cbc")
		})},
		"CBC, wrong padding": {want: "decryption_failed", answer: cbc(flip(-17))},
		"CBC, padding of 0":  {want: "decryption_failed", answer: cbc(func([]byte) []byte { return make([]byte, 32) })},
		"CBC, no block":      {want: "decryption_failed", answer: cbc(func(b []byte) []byte { return b[:16] })},
		"CBC, empty":         {want: "decryption_failed", answer: cbc(func(b []byte) []byte { return nil })},
		"CBC, half a block":  {want: "decryption_failed", answer: cbc(func(b []byte) []byte { return b[:len(b)-8] })},
		"CBC, other bytes":   {want: "decryption_failed", answer: cbc(flip(3))},
		"key changed":        {want: "decryption_failed", answer: enc(func(x *encryption) { x.key = flip(9) })},
		"key of another size": {want: "decryption_failed", answer: edit(func(e *etree.Element) {
			e.FindElement("./EncryptedData/EncryptionMethod").CreateAttr("Algorithm", nsEncryption1+"aes128-gcm")
		})},
		"no key": {want: "encryption_shape", answer: edit(func(e *etree.Element) {
			k := e.FindElement("./EncryptedData/KeyInfo")
			k.RemoveChild(k.SelectElement("EncryptedKey"))
		})},
		"too many keys":     {want: "encryption_shape", answer: enc(func(x *encryption) { x.keys = 5 })},
		"no EncryptedData":  {want: "encryption_shape", answer: edit(func(e *etree.Element) { e.Child = nil })},
		"two EncryptedData": {want: "encryption_shape", answer: edit(func(e *etree.Element) { e.AddChild(e.SelectElement("EncryptedData").Copy()) })},
		"no ciphertext": {want: "decryption_failed", answer: edit(func(e *etree.Element) {
			d := e.FindElement("./EncryptedData")
			d.RemoveChild(d.SelectElement("CipherData"))
		})},
		"ciphertext of no base64": {want: "decryption_failed", answer: edit(func(e *etree.Element) { e.FindElement("./EncryptedData/CipherData/CipherValue").SetText("!") })},
		"signature inside of the encryption": {want: "misplaced_signature", answer: edit(func(e *etree.Element) {
			e.InsertChildAt(0, parseTest(`<saml:Issuer xmlns:saml="`+nsAssertion+`"/>`))
			e.InsertChildAt(1, parseTest(`<ds:Signature xmlns:ds="`+nsSignature+`"/>`))
		})},
		// The gate is passed again: each of these is said to be decryption_failed, like everything that was not an assertion.
		"DOCTYPE in the plain text": {want: "decryption_failed", answer: plain(before("<!DOCTYPE x>"))},
		"comment in the plain text": {want: "decryption_failed", answer: plain(swap(">ann<", ">admin<!-- -->ann<"))},
		"two in the plain text":     {want: "decryption_failed", answer: plain(func(b []byte) []byte { return append(bytes.Clone(b), b...) })},
		"a response in the plain text": {want: "decryption_failed", answer: plain(func(b []byte) []byte {
			return []byte(`<samlp:Response xmlns:samlp="` + nsProtocol + `">` + string(b) + `</samlp:Response>`)
		})},
		"encrypted within encrypted": {want: "decryption_failed", answer: plain(func(b []byte) []byte { return serialize(toSP().wrap(parseTest(string(b)))) })},
		"wrapped in the plain text": {want: "decryption_failed", answer: plain(func(b []byte) []byte {
			signed := parseTest(string(b))
			outer := evil(signed)
			setID(outer, "_evil")
			outer.AddChild(signed)
			return serialize(outer)
		})},
		"empty plain text": {want: "decryption_failed", answer: plain(func([]byte) []byte { return nil })},
	}
}

// TestGate: what the gate does with other messages than responses.
func TestGate(t *testing.T) {
	logout := `<samlp:LogoutRequest xmlns:samlp="` + nsProtocol + `" xmlns:saml="` + nsAssertion + `" ID="_1">`
	assertion := usual().assertionXML()
	for name, tt := range map[string]struct{ root, xml, want string }{
		"a request to sign out":     {"LogoutRequest", logout + `</samlp:LogoutRequest>`, ""},
		"an assertion":              {"Assertion", assertion, ""},
		"an assertion in a request": {"LogoutRequest", logout + assertion + `</samlp:LogoutRequest>`, "misplaced_assertion"},
		"an assertion in an assertion": {"Assertion", strings.Replace(assertion, `</saml:Assertion>`, `<saml:Assertion/></saml:Assertion>`, 1),
			"several_assertions"},
		"an encrypted one for one":     {"Assertion", strings.ReplaceAll(assertion, "saml:Assertion", "saml:EncryptedAssertion"), "wrong_root"},
		"an assertion of the protocol": {"Assertion", strings.ReplaceAll(assertion, nsAssertion, nsProtocol), "wrong_root"},
		"a signature":                  {"Signature", `<Signature xmlns="` + nsProtocol + `"/>`, "misplaced_signature"},
	} {
		_, err := admit([]byte(tt.xml), tt.root)
		if err == nil && tt.want != "" || err != nil && authn.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestStrong: which keys may sign at all.
func TestStrong(t *testing.T) {
	rsaKey := func(bits uint) *x509.Certificate {
		return &x509.Certificate{PublicKey: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}}
	}
	ecKey := func(c elliptic.Curve) *x509.Certificate {
		return &x509.Certificate{PublicKey: &ecdsa.PublicKey{Curve: c}}
	}
	for name, tt := range map[string]struct {
		cert *x509.Certificate
		want bool
	}{
		"RSA 2047": {rsaKey(2047), false}, "RSA 2048": {rsaKey(2048), true}, "RSA 8192": {rsaKey(8192), true}, "RSA 8193": {rsaKey(8193), false},
		"P-224": {ecKey(elliptic.P224()), false}, "P-256": {ecKey(elliptic.P256()), true}, "P-521": {ecKey(elliptic.P521()), true},
		"Ed25519": {&x509.Certificate{PublicKey: ed25519.PublicKey{}}, false},
	} {
		if got := strong(tt.cert); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestOpenCBC: what is said to be padding is taken off only where it can be padding.
func TestOpenCBC(t *testing.T) {
	key := make([]byte, 16)
	for last, want := range map[byte]int{0: -1, 1: 31, 15: 17, 16: 16, 17: -1, 32: -1, 255: -1} {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		ciphertext := make([]byte, 48)
		ciphertext[47] = last
		cipher.NewCBCEncrypter(block, ciphertext[:16]).CryptBlocks(ciphertext[16:], ciphertext[16:])
		if plain, ok := openCBC(key, ciphertext); ok != (want >= 0) || ok && len(plain) != want {
			t.Errorf("padding %d: %d bytes, %v", last, len(plain), ok)
		}
	}
}

// TestReplay: the same assertion is accepted once, in a response of its own too, and not used up by one that is refused.
func TestReplay(t *testing.T) {
	e := expecting()
	raw := usual().raw()
	other := e
	other.ACS = "https://bridge.example.test/saml/other/acs"
	if _, err := judged(t, raw, other); authn.ReasonOf(err) != "wrong_destination" {
		t.Fatal(err)
	}
	if _, err := judged(t, raw, e); err != nil {
		t.Fatal(err)
	}
	again := swap("_response1", "_response2")(raw)
	if _, err := judged(t, again, e); authn.ReasonOf(err) != "replayed" {
		t.Fatal(err)
	}
	until := e.Replays.(*memory).seen["corp _assertion1"]
	if last := testNow().Add(5*time.Minute + e.Skew); !until.After(last) {
		t.Errorf("forgotten at %s, while it could be shown until %s", until, last)
	}
}

// TestReplayByAnotherConfirmation: an assertion that will fit again later, or fits another request, is remembered until then.
func TestReplayByAnotherConfirmation(t *testing.T) {
	now := confirmation(`NotOnOrAfter="` + at(time.Minute) + `" Recipient="` + testACS + `" InResponseTo="` + testRequest + `"`)
	for name, other := range map[string]string{
		"later":              `NotBefore="` + at(10*time.Minute) + `" NotOnOrAfter="` + at(time.Hour) + `" Recipient="` + testACS + `" InResponseTo="` + testRequest + `"`,
		"to another request": `NotOnOrAfter="` + at(time.Hour) + `" Recipient="` + testACS + `" InResponseTo="_request2"`,
	} {
		for _, confirmations := range [][]string{{now, confirmation(other)}, {confirmation(other), now}} {
			a := usual()
			a.subject = subject(append([]string{`<saml:NameID>ann</saml:NameID>`}, confirmations...)...)
			v, err := judged(t, a.raw(), expecting())
			if want := testNow().Add(time.Hour + 2*time.Minute); err != nil || !v.Expires.Equal(want) {
				t.Errorf("%s: remembered until %s, want %s; %v", name, v.Expires, want, err)
			}
		}
	}
}

// TestReasonsAreExplained: what an operator reads in the log stands in docs/errors.md, also the reasons that are put
// together and so escape the layout test.
func TestReasonsAreExplained(t *testing.T) {
	doc, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range attacks() {
		if !strings.Contains(string(doc), "`"+a.want+"`") {
			t.Errorf("%s: %s is not explained", name, a.want)
		}
	}
}

// TestWithoutAnExpectation: an empty field must never match an empty field of a message.
func TestWithoutAnExpectation(t *testing.T) {
	for name, empty := range map[string]func(*expectation){
		"SP": func(e *expectation) { e.SP = "" }, "ACS": func(e *expectation) { e.ACS = "" }, "IdP": func(e *expectation) { e.IdP = "" },
		"Now": func(e *expectation) { e.Now = time.Time{} }, "Replays": func(e *expectation) { e.Replays = nil },
	} {
		e := expecting()
		empty(&e)
		if _, err := judged(t, usual().raw(), e); authn.ReasonOf(err) != "bad_expectation" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
