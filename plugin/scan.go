package plugin

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Bounds of a message. The platform's own requests use a depth of 4 and a handful of attributes.
const (
	maxDepth      = 16
	maxAttributes = 16 // of one element
	maxNamespaces = 32 // declared at once
	xmlNamespace  = "http://www.w3.org/XML/1998/namespace"
	xmlnsReserved = "http://www.w3.org/2000/xmlns/"
)

// A malformation is why a message was refused. It is a stable code for the log; the caller only learns that the message
// was not understood.
type malformation string

func (m malformation) Error() string { return "malformed message: " + string(m) }

// Malformations that the scanner finds. decode.go has those of SOAP and of the contract.
const (
	notUTF8           malformation = "not_utf8"
	illegalCharacter  malformation = "illegal_character"
	doctype           malformation = "doctype"
	comment           malformation = "comment"
	instruction       malformation = "processing_instruction"
	badDeclaration    malformation = "bad_xml_declaration"
	badMarkup         malformation = "bad_markup"
	badReference      malformation = "bad_reference" // neither a predefined entity nor a legal character reference
	mismatchedTag     malformation = "mismatched_tag"
	truncated         malformation = "truncated"
	trailingData      malformation = "trailing_data"
	tooDeep           malformation = "depth"
	tooManyAttributes malformation = "too_many_attributes"
	duplicateAttr     malformation = "duplicate_attribute"
	undeclaredPrefix  malformation = "undeclared_prefix"
	badNamespace      malformation = "bad_namespace_declaration"
)

type tokenKind uint8

const (
	startTag tokenKind = iota
	endTag             // also follows the start of an empty element
	text               // one stretch of character data, references resolved
	endOfInput
)

// name is a qualified name as written; an unprefixed name has an empty prefix.
type name struct{ prefix, local []byte }

func (n name) equal(o name) bool {
	return bytes.Equal(n.prefix, o.prefix) && bytes.Equal(n.local, o.local)
}

type attribute struct {
	name
	space, value []byte
}

type binding struct {
	prefix, space []byte
	depth         int
}

// scanner reads the small part of XML 1.0 with namespaces that a SOAP message needs, and refuses everything else: it
// has no document types, comments, processing instructions, entities of one's own or encodings but UTF-8, and names
// are ASCII.
//
// It stands in for encoding/xml, which accepts all those, takes undeclared prefixes and duplicate attributes, and lets
// markup run on after the root. FuzzScan holds it to this: what the scanner accepts, encoding/xml reads the same way.
//
// Slices it hands out point into the message or into scratch space of its own.
type scanner struct {
	in    []byte
	pos   int
	open  []name
	bound []binding
	empty bool // the element just opened was closed in the same tag
	root  bool // the root element has been opened

	name  []byte // local name of the last tag
	space []byte // and its namespace, for a start tag
	attrs []attribute
	data  []byte // of the last text

	openArray  [maxDepth]name
	boundArray [8]binding
	attrArray  [maxAttributes]attribute
}

// reset starts a message, checks its characters once and for all, and steps over byte order mark and XML declaration.
func (s *scanner) reset(message []byte) error {
	s.in, s.pos, s.empty, s.root = message, 0, false, false
	s.open, s.bound, s.attrs = s.openArray[:0], s.boundArray[:0], s.attrArray[:0]
	if !utf8.Valid(message) {
		return notUTF8
	}
	if bytes.HasPrefix(message, []byte("\xEF\xBB\xBF")) {
		s.pos = 3
	}
	for i, c := range message {
		if c < 0x20 && !isSpace(c) || c == 0xEF && !legal(firstRune(message[i:])) {
			return illegalCharacter
		}
	}
	return s.declaration()
}

func firstRune(b []byte) rune {
	r, _ := utf8.DecodeRune(b)
	return r
}

// legal is the Char production of XML 1.0.
func legal(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD ||
		r >= 0x10000 && r <= utf8.MaxRune
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// declaration accepts version 1.0, then encoding UTF-8, then standalone, each but the version optional.
func (s *scanner) declaration() error {
	if !s.ahead("<?xml") || s.pos+5 < len(s.in) && !isSpace(s.in[s.pos+5]) {
		return nil
	}
	s.pos += len("<?xml")
	version, err := s.pseudoAttribute("version")
	if err != nil || string(version) != "1.0" {
		return badDeclaration
	}
	encoding, err := s.pseudoAttribute("encoding")
	if err != nil {
		return err
	}
	if encoding != nil && !bytes.EqualFold(encoding, []byte("utf-8")) {
		return notUTF8
	}
	standalone, err := s.pseudoAttribute("standalone")
	if err != nil || standalone != nil && string(standalone) != "yes" && string(standalone) != "no" {
		return badDeclaration
	}
	s.skipSpace()
	if !s.take("?>") {
		return badDeclaration
	}
	return nil
}

// pseudoAttribute reads one part of the XML declaration; nil when another or none follows.
func (s *scanner) pseudoAttribute(want string) ([]byte, error) {
	start := s.pos
	if !s.skipSpace() || !s.take(want) {
		s.pos = start
		return nil, nil
	}
	value, err := s.quoted()
	if err != nil || bytes.ContainsAny(value, "&?<>") {
		return nil, badDeclaration
	}
	return value, nil
}

// next reads one token. After the root element it yields endOfInput, or trailingData when anything but space follows.
func (s *scanner) next() (tokenKind, error) {
	if s.empty {
		s.empty = false
		return endTag, s.close(s.open[len(s.open)-1])
	}
	if len(s.open) == 0 {
		s.skipSpace()
	}
	switch {
	case s.pos == len(s.in) && len(s.open) == 0 && s.root:
		return endOfInput, nil
	case s.pos == len(s.in):
		return endOfInput, truncated
	case len(s.open) == 0 && s.root:
		return endOfInput, trailingData
	case s.in[s.pos] != '<':
		return text, s.characters()
	case s.ahead("</"):
		return endTag, s.endTag()
	case s.ahead("<![CDATA["):
		return text, s.cdata()
	case s.ahead("<!--"):
		return text, comment
	case s.ahead("<!"):
		return text, doctype
	case s.ahead("<?"):
		return text, instruction
	}
	return startTag, s.startTag()
}

func (s *scanner) characters() error {
	end := bytes.IndexByte(s.in[s.pos:], '<')
	if end < 0 {
		end = len(s.in) - s.pos
	}
	raw := s.in[s.pos : s.pos+end]
	s.pos += end
	if len(s.open) == 0 || bytes.Contains(raw, []byte("]]>")) {
		return badMarkup
	}
	data, err := resolve(raw)
	s.data = data
	return err
}

func (s *scanner) cdata() error {
	s.pos += len("<![CDATA[")
	end := bytes.Index(s.in[s.pos:], []byte("]]>"))
	if end < 0 {
		return truncated
	}
	if len(s.open) == 0 {
		return badMarkup
	}
	s.data = newlines(s.in[s.pos : s.pos+end])
	s.pos += end + len("]]>")
	return nil
}

// newlines does what XML 1.0, 2.11 asks: a line ends in one line feed, however it was sent.
func newlines(raw []byte) []byte {
	if bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
}

// resolve replaces references by what they stand for. What a reference stands for is never read as markup.
func resolve(raw []byte) ([]byte, error) {
	raw = newlines(raw)
	amp := bytes.IndexByte(raw, '&')
	if amp < 0 {
		return raw, nil
	}
	out := make([]byte, 0, len(raw))
	for amp >= 0 {
		out, raw = append(out, raw[:amp]...), raw[amp+1:]
		end := bytes.IndexByte(raw, ';')
		if end < 0 {
			return nil, badReference
		}
		r, ok := referred(string(raw[:end]))
		if !ok {
			return nil, badReference
		}
		out, raw = utf8.AppendRune(out, r), raw[end+1:]
		amp = bytes.IndexByte(raw, '&')
	}
	return append(out, raw...), nil
}

// referred is the character that a reference, without & and ;, stands for.
func referred(ref string) (rune, bool) {
	switch ref {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	if len(ref) < 2 || ref[0] != '#' {
		return 0, false
	}
	digits, base := ref[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32) // takes no sign and, with an explicit base, no underscore
	if err != nil || n > utf8.MaxRune || !legal(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

func (s *scanner) startTag() error {
	s.pos++
	s.root = true
	if len(s.open) == maxDepth {
		return tooDeep
	}
	n, err := s.qualified()
	if err != nil {
		return err
	}
	s.open = append(s.open, n)
	if err := s.attributes(); err != nil {
		return err
	}
	if err := s.declareNamespaces(); err != nil {
		return err
	}
	s.name = n.local
	if s.space, err = s.lookup(n.prefix); err != nil {
		return err
	}
	return s.qualifyAttributes()
}

// attributes reads up to the end of the start tag.
func (s *scanner) attributes() error {
	s.attrs = s.attrs[:0]
	for {
		spaced := s.skipSpace()
		switch {
		case s.take(">"):
			return nil
		case s.take("/>"):
			s.empty = true
			return nil
		case s.pos == len(s.in):
			return truncated
		case !spaced:
			return badMarkup
		case len(s.attrs) == maxAttributes:
			return tooManyAttributes
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

func (s *scanner) attribute() error {
	n, err := s.qualified()
	if err != nil {
		return err
	}
	for _, a := range s.attrs {
		if a.equal(n) {
			return duplicateAttr
		}
	}
	raw, err := s.quoted()
	if err != nil {
		return err
	}
	value, err := resolve(raw)
	s.attrs = append(s.attrs, attribute{name: n, value: value})
	return err
}

// quoted reads = and a quoted value. Tabs and line ends are refused there: parsers differ in what they make of them.
func (s *scanner) quoted() ([]byte, error) {
	s.skipSpace()
	if !s.take("=") {
		return nil, badMarkup
	}
	s.skipSpace()
	if s.pos == len(s.in) {
		return nil, truncated
	}
	quote := s.in[s.pos]
	if quote != '"' && quote != '\'' {
		return nil, badMarkup
	}
	end := bytes.IndexByte(s.in[s.pos+1:], quote)
	if end < 0 {
		return nil, truncated
	}
	value := s.in[s.pos+1 : s.pos+1+end]
	s.pos += end + 2
	if bytes.ContainsAny(value, "<\t\r\n") {
		return nil, badMarkup
	}
	return value, nil
}

func (a attribute) isDeclaration() bool {
	return string(a.prefix) == "xmlns" || len(a.prefix) == 0 && string(a.local) == "xmlns"
}

func (s *scanner) declareNamespaces() error {
	for _, a := range s.attrs {
		if !a.isDeclaration() {
			continue
		}
		b := binding{space: a.value, depth: len(s.open)}
		if len(a.prefix) > 0 {
			b.prefix = a.local
		}
		reserved := string(b.space) == xmlNamespace || string(b.space) == xmlnsReserved
		unbinds := len(b.prefix) > 0 && len(b.space) == 0 // only namespaces 1.1 knows that
		fixed := string(b.prefix) == "xml" || string(b.prefix) == "xmlns"
		if reserved || unbinds || fixed || len(s.bound) == maxNamespaces {
			return badNamespace
		}
		s.bound = append(s.bound, b)
	}
	return nil
}

// lookup is the namespace of a prefix; an empty prefix that was not declared has none.
func (s *scanner) lookup(prefix []byte) ([]byte, error) {
	for i := len(s.bound) - 1; i >= 0; i-- {
		if bytes.Equal(s.bound[i].prefix, prefix) {
			return s.bound[i].space, nil
		}
	}
	switch string(prefix) {
	case "":
		return nil, nil
	case "xml":
		return []byte(xmlNamespace), nil
	}
	return nil, undeclaredPrefix
}

// qualifyAttributes resolves the prefixes of attributes, drops the declarations, and refuses two that mean the same.
func (s *scanner) qualifyAttributes() error {
	kept := s.attrs[:0]
	for _, a := range s.attrs {
		if a.isDeclaration() {
			continue
		}
		if len(a.prefix) > 0 {
			space, err := s.lookup(a.prefix)
			if err != nil {
				return err
			}
			a.space = space
		}
		for _, k := range kept {
			if bytes.Equal(k.local, a.local) && bytes.Equal(k.space, a.space) {
				return duplicateAttr
			}
		}
		kept = append(kept, a)
	}
	s.attrs = kept
	return nil
}

func (s *scanner) endTag() error {
	s.pos += len("</")
	n, err := s.qualified()
	if err != nil {
		return err
	}
	s.skipSpace()
	if !s.take(">") {
		return badMarkup
	}
	return s.close(n)
}

func (s *scanner) close(n name) error {
	top := len(s.open) - 1
	if top < 0 || !s.open[top].equal(n) {
		return mismatchedTag
	}
	for i := len(s.bound); i > 0 && s.bound[i-1].depth > top; i-- {
		s.bound = s.bound[:i-1]
	}
	s.open, s.name = s.open[:top], n.local
	return nil
}

// qualified reads a name: ASCII letters, digits and -._ with at most one colon inside.
func (s *scanner) qualified() (name, error) {
	first, err := s.ncName()
	if err != nil || !s.take(":") {
		return name{local: first}, err
	}
	local, err := s.ncName()
	return name{prefix: first, local: local}, err
}

func (s *scanner) ncName() ([]byte, error) {
	start := s.pos
	for s.pos < len(s.in) && isNameByte(s.in[s.pos], s.pos == start) {
		s.pos++
	}
	if s.pos == len(s.in) {
		return nil, truncated
	}
	if s.pos == start {
		return nil, badMarkup
	}
	return s.in[start:s.pos], nil
}

func isNameByte(c byte, first bool) bool {
	letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
	return letter || !first && (c >= '0' && c <= '9' || c == '-' || c == '.')
}

func (s *scanner) ahead(prefix string) bool {
	return len(s.in)-s.pos >= len(prefix) && string(s.in[s.pos:s.pos+len(prefix)]) == prefix
}

func (s *scanner) take(prefix string) bool {
	if !s.ahead(prefix) {
		return false
	}
	s.pos += len(prefix)
	return true
}

func (s *scanner) skipSpace() bool {
	start := s.pos
	for s.pos < len(s.in) && isSpace(s.in[s.pos]) {
		s.pos++
	}
	return s.pos > start
}
