package saml

import (
	"errors"
	"strings"

	"github.com/beevik/etree"

	"github.com/idbridge/idbridge/strictxml"
)

// Namespaces of the messages.
const (
	nsProtocol    = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion   = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsSignature   = "http://www.w3.org/2000/09/xmldsig#"
	nsEncryption  = "http://www.w3.org/2001/04/xmlenc#"
	nsExclusive   = "http://www.w3.org/2001/10/xml-exc-c14n#"
	nsEncryption1 = "http://www.w3.org/2009/xmlenc11#"
)

// Bounds of a message. An answer with a thousand groups has a depth of 5, a few more than a thousand elements and about
// eight namespaces; what is allowed decides what a message can cost before its signature is known.
const (
	maxMessage    = 256 << 10 // bytes
	maxElements   = 2000
	maxAttributes = 4000 // of all elements together
)

func limits() strictxml.Limits { return strictxml.Limits{Depth: 32, Attributes: 32, Namespaces: 24} }

// parse reads a message strictly, and once, into the tree that goxmldsig works on. Each element is shown to visit, with
// its namespace, when its start tag has been read. Every refusal of the XML as such has a reason that begins with xml_.
func parse(raw []byte, visit func(space string, e *etree.Element) error) (*etree.Element, error) {
	if len(raw) > maxMessage {
		return nil, refuse("message_too_large", "more than %d bytes", maxMessage)
	}
	var s strictxml.Scanner
	if err := s.Reset(raw, limits()); err != nil {
		return nil, malformed(err)
	}
	var root, open *etree.Element
	for elements, attributes := 0, 0; ; {
		kind, err := s.Next()
		if err != nil {
			return nil, malformed(err)
		}
		switch kind {
		case strictxml.EndOfInput:
			return root, nil
		case strictxml.CDATA:
			return nil, refuse("xml_cdata", "CDATA section") // no IdP sends one, and readers differ in what they make of it
		case strictxml.Text:
			open.CreateText(string(s.Data))
		case strictxml.EndTag:
			open = open.Parent()
		case strictxml.StartTag:
			if open = element(&s, open); root == nil {
				root = open
			}
			elements, attributes = elements+1, attributes+len(open.Attr)
			if elements > maxElements || attributes > maxAttributes {
				return nil, refuse("message_too_complex", "more than %d elements or %d attributes", maxElements, maxAttributes)
			}
			if err := visit(string(s.Space), open); err != nil {
				return nil, err
			}
		}
	}
}

// element makes an element of the tag that was just read, and the last child of its parent.
func element(s *strictxml.Scanner, parent *etree.Element) *etree.Element {
	declared := s.Declared()
	e := &etree.Element{Space: string(s.Prefix), Tag: string(s.Local)}
	e.Attr = make([]etree.Attr, 0, len(declared)+len(s.Attrs))
	for _, d := range declared {
		e.Attr = append(e.Attr, declaration(string(d.Prefix), string(d.Space)))
	}
	for _, a := range s.Attrs {
		e.Attr = append(e.Attr, etree.Attr{Space: string(a.Prefix), Key: string(a.Local), Value: string(a.Value)})
	}
	if parent != nil {
		parent.AddChild(e)
	}
	return e
}

// declaration is the attribute that declares a namespace.
func declaration(prefix, space string) etree.Attr {
	if prefix == "" {
		return etree.Attr{Key: "xmlns", Value: space}
	}
	return etree.Attr{Space: "xmlns", Key: prefix, Value: space}
}

func malformed(err error) error {
	code := "malformed"
	var m strictxml.Malformation
	if errors.As(err, &m) {
		code = string(m)
	}
	return refuse("xml_"+strings.TrimPrefix(code, "bad_xml_"), "%w", err)
}

// is tells whether an element has a name.
func is(e *etree.Element, space, local string) bool {
	return e.Tag == local && e.NamespaceURI() == space
}

// children are the child elements of a name; none of a nil element.
func children(e *etree.Element, space, local string) (all []*etree.Element) {
	if e == nil {
		return nil
	}
	for _, c := range e.Child {
		if c, ok := c.(*etree.Element); ok && is(c, space, local) {
			all = append(all, c)
		}
	}
	return all
}

// child is the only child element of a name: nil when there is none or, as nobody could say which is meant, several.
func child(e *etree.Element, space, local string) *etree.Element {
	if all := children(e, space, local); len(all) == 1 {
		return all[0]
	}
	return nil
}

// attr is the value of an attribute without a prefix. etree's own look-up takes one of any namespace for it.
func attr(e *etree.Element, name string) (value string, given bool) {
	for _, a := range e.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value, true
		}
	}
	return "", false
}

// text is all the text of an element, which must have no other content, or else it is empty: what readers make of text
// around an element differs.
func text(e *etree.Element) (string, bool) {
	var all string
	for _, c := range e.Child {
		data, ok := c.(*etree.CharData)
		if !ok {
			return "", false
		}
		all += data.Data
	}
	return all, true
}

// uri is the text of an element whose type is a URI, where space around it means nothing.
func uri(e *etree.Element) string {
	all, _ := text(e)
	return strings.Trim(all, " \t\r\n")
}
