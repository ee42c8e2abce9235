package saml

import (
	"strings"

	"github.com/beevik/etree"
)

// message is a document that the gate let through.
type message struct {
	root      *etree.Element
	assertion *etree.Element // the only Assertion, or the only EncryptedAssertion; nil when there is none
	encrypted bool           // which of the two
}

// admit is the gate: it parses a message and refuses every shape that a signature could be wrapped in. What remains has
// the root that was asked for, at most one assertion, which is the root or its child, signatures at most where the root
// or the assertion has its own, and no id twice. Nothing in it is trusted yet.
func admit(raw []byte, root string) (message, error) {
	g := gate{want: root, ids: map[string]bool{}}
	var err error
	g.root, err = parse(raw, g.visit)
	return g.message, err
}

// gate sees each element of a message once, in the order of their start tags.
type gate struct {
	message
	want string
	ids  map[string]bool
}

func (g *gate) visit(space string, e *etree.Element) error {
	if e.Parent() == nil {
		if err := g.checkRoot(space, e); err != nil {
			return err
		}
	}
	if err := g.checkID(e); err != nil {
		return err
	}
	if err := checkNamespaces(e); err != nil {
		return err
	}
	// By the local name alone, in every namespace: a second reader may be less exact than we are.
	switch e.Tag {
	case "Assertion", "EncryptedAssertion":
		return g.checkAssertion(space, e)
	case "Signature":
		return g.checkSignature(space, e)
	case "Object":
		return refuse("signature_object", "a ds:Object can carry what was signed away from where it is read")
	}
	return nil
}

func (g *gate) checkRoot(space string, e *etree.Element) error {
	g.root = e
	want := nsProtocol
	if g.want == "Assertion" {
		want = nsAssertion
	}
	if e.Tag != g.want || space != want {
		return refuse("wrong_root", "the document is a {%.100q}%.100q, not a %s", space, e.Tag, g.want)
	}
	return nil
}

// checkID sees to it that an id means one element. Whatever looks like one counts, so that it cannot matter which
// attribute a signature library takes for the id.
func (g *gate) checkID(e *etree.Element) error {
	for _, a := range e.Attr {
		if !strings.EqualFold(a.Key, "id") || a.Space == "xmlns" {
			continue
		}
		switch {
		case a.Space != "" || !isID(a.Value):
			return refuse("bad_id", "%.100q is no id", a.FullKey()+"="+a.Value)
		case g.ids[a.Value]:
			return refuse("duplicate_id", "the id %q is given twice", a.Value)
		}
		g.ids[a.Value] = true
	}
	return nil
}

// checkNamespaces refuses names that are no absolute URIs. Canonical XML is not defined for them, and a library that fails
// there may go on with what it has: nothing, whose digest anybody can know.
func checkNamespaces(e *etree.Element) error {
	for _, a := range e.Attr {
		if declares := a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns"; declares && a.Value != "" && !isURI(a.Value) {
			return refuse("bad_namespace", "%.100q is no absolute URI", a.Value)
		}
	}
	return nil
}

// isURI is a narrow form of an absolute URI: a scheme, then characters that need no escape, with at most one fragment.
func isURI(s string) bool {
	scheme, rest, found := strings.Cut(s, ":")
	for i, c := range []byte(scheme) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	usual := func(r rune) bool {
		return r|0x20 >= 'a' && r|0x20 <= 'z' || strings.ContainsRune("0123456789-._~:/?#@!$&'()*+,;=", r)
	}
	return found && scheme != "" && strings.Count(rest, "#") <= 1 && strings.IndexFunc(rest, func(r rune) bool { return !usual(r) }) < 0
}

// isID is the form of an NCName in ASCII, but for its first character, which some IdPs get wrong.
func isID(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 256
}

func (g *gate) checkAssertion(space string, e *etree.Element) error {
	switch {
	case g.assertion != nil:
		return refuse("several_assertions", "more than one Assertion or EncryptedAssertion")
	case space != nsAssertion, e != g.root && (e.Parent() != g.root || g.want != "Response"):
		return refuse("misplaced_assertion", "an assertion stands only directly in a Response")
	}
	g.assertion, g.encrypted = e, e.Tag == "EncryptedAssertion"
	return nil
}

// checkSignature: a signature belongs to the root or to the assertion in clear and stands where the schema has it, behind
// the Issuer, which is the first child. So there is never a second one of the same owner, either.
func (g *gate) checkSignature(space string, e *etree.Element) error {
	owner := e.Parent()
	if space != nsSignature || owner != g.root && (owner != g.assertion || g.encrypted) {
		return refuse("misplaced_signature", "a Signature stands only directly in the message or in its assertion")
	}
	if before := owner.ChildElements(); len(before) != 2 || !is(before[0], nsAssertion, "Issuer") {
		return refuse("misplaced_signature", "a Signature stands only directly behind the Issuer")
	}
	return nil
}

// signatureOf is the signature of a message or an assertion; nil without one.
func signatureOf(e *etree.Element) *etree.Element { return child(e, nsSignature, "Signature") }
