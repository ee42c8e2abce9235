// Package strictxml reads XML as strictly as messages of strangers need it: SOAP requests and SAML answers.
//
// It stands in for encoding/xml, which accepts document types, comments inside text, undeclared prefixes and duplicate
// attributes, and lets markup run on after the root. It leaves to its callers what the elements mean, and how many there
// may be.
package strictxml

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Limits bound what one message may ask for. The size of the message is for the caller to bound.
type Limits struct {
	Depth      int // of elements
	Attributes int // of one element, declarations of namespaces among them
	Namespaces int // declared at once
}

const (
	xmlNamespace  = "http://www.w3.org/XML/1998/namespace"
	xmlnsReserved = "http://www.w3.org/2000/xmlns/"
)

// A Malformation is why a message was refused. It is a stable code for the log; the sender only learns that the message
// was not understood.
type Malformation string

func (m Malformation) Error() string { return "malformed message: " + string(m) }

// The malformations that a Scanner finds.
const (
	NotUTF8            Malformation = "not_utf8"
	IllegalCharacter   Malformation = "illegal_character"
	Doctype            Malformation = "doctype"
	Comment            Malformation = "comment"
	Instruction        Malformation = "processing_instruction"
	BadDeclaration     Malformation = "bad_xml_declaration"
	BadMarkup          Malformation = "bad_markup"
	BadReference       Malformation = "bad_reference" // neither a predefined entity nor a legal character reference
	MismatchedTag      Malformation = "mismatched_tag"
	Truncated          Malformation = "truncated"
	TrailingData       Malformation = "trailing_data"
	TooDeep            Malformation = "depth"
	TooManyAttributes  Malformation = "too_many_attributes"
	DuplicateAttribute Malformation = "duplicate_attribute"
	UndeclaredPrefix   Malformation = "undeclared_prefix"
	BadNamespace       Malformation = "bad_namespace_declaration"
)

// Kind is a kind of token.
type Kind uint8

// The kinds of token.
const (
	StartTag Kind = iota
	EndTag        // also follows the start of an empty element
	Text          // one stretch of character data, references resolved
	CDATA         // the same, as it stood in a CDATA section
	EndOfInput
)

// Name is a qualified name as written; an unprefixed name has an empty prefix.
type Name struct{ Prefix, Local []byte }

func (n Name) equal(o Name) bool {
	return bytes.Equal(n.Prefix, o.Prefix) && bytes.Equal(n.Local, o.Local)
}

// Attribute is an attribute that is not a declaration of a namespace.
type Attribute struct {
	Name
	Space, Value []byte
}

// Binding is a declared namespace; the default namespace has an empty prefix.
type Binding struct {
	Prefix, Space []byte
	depth         int
}

// Scanner reads the small part of XML 1.0 with namespaces that such messages need, and refuses everything else: it has
// no document types, comments, processing instructions, entities of one's own or encodings but UTF-8, and names are
// ASCII. FuzzScan holds it to this: what the scanner accepts, encoding/xml reads the same way.
//
// Slices it hands out point into the message or into scratch space of its own, and are good until the next token. Not
// safe for concurrent use; the zero value is ready for Reset.
type Scanner struct {
	Name              // of the last tag
	Space []byte      // namespace of the last start tag
	Attrs []Attribute // of the last start tag
	Data  []byte      // of the last text

	limits Limits
	in     []byte
	pos    int
	open   []Name
	bound  []Binding
	empty  bool // the element just opened was closed in the same tag
	root   bool // the root element has been opened

	openArray  [16]Name
	boundArray [8]Binding
	attrArray  [16]Attribute
}

// Reset starts a message, checks its characters once and for all, and steps over byte order mark and XML declaration.
func (s *Scanner) Reset(message []byte, limits Limits) error {
	s.limits = limits
	s.in, s.pos, s.empty, s.root = message, 0, false, false
	s.open, s.bound, s.Attrs = s.openArray[:0], s.boundArray[:0], s.attrArray[:0]
	if !utf8.Valid(message) {
		return NotUTF8
	}
	if bytes.HasPrefix(message, []byte("\xEF\xBB\xBF")) {
		s.pos = 3
	}
	for i, c := range message {
		if c < 0x20 && !isSpace(c) || c == 0xEF && !Legal(firstRune(message[i:])) {
			return IllegalCharacter
		}
	}
	return s.declaration()
}

// Depth is how many elements are open.
func (s *Scanner) Depth() int { return len(s.open) }

// Declared are the namespaces that the last start tag declared.
func (s *Scanner) Declared() []Binding {
	first := len(s.bound)
	for first > 0 && s.bound[first-1].depth == len(s.open) {
		first--
	}
	return s.bound[first:]
}

func firstRune(b []byte) rune {
	r, _ := utf8.DecodeRune(b)
	return r
}

// Legal is the Char production of XML 1.0: the characters that a message may hold at all.
func Legal(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD ||
		r >= 0x10000 && r <= utf8.MaxRune
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// declaration accepts version 1.0, then encoding UTF-8, then standalone, each but the version optional.
func (s *Scanner) declaration() error {
	if !s.ahead("<?xml") || s.pos+5 < len(s.in) && !isSpace(s.in[s.pos+5]) {
		return nil
	}
	s.pos += len("<?xml")
	version, err := s.pseudoAttribute("version")
	if err != nil || string(version) != "1.0" {
		return BadDeclaration
	}
	encoding, err := s.pseudoAttribute("encoding")
	if err != nil {
		return err
	}
	if encoding != nil && !bytes.EqualFold(encoding, []byte("utf-8")) {
		return NotUTF8
	}
	standalone, err := s.pseudoAttribute("standalone")
	if err != nil || standalone != nil && string(standalone) != "yes" && string(standalone) != "no" {
		return BadDeclaration
	}
	s.skipSpace()
	if !s.take("?>") {
		return BadDeclaration
	}
	return nil
}

// pseudoAttribute reads one part of the XML declaration; nil when another or none follows.
func (s *Scanner) pseudoAttribute(want string) ([]byte, error) {
	start := s.pos
	if !s.skipSpace() || !s.take(want) {
		s.pos = start
		return nil, nil
	}
	value, err := s.quoted()
	if err != nil || bytes.ContainsAny(value, "&?<>") {
		return nil, BadDeclaration
	}
	return value, nil
}

// Next reads one token. After the root element it yields EndOfInput, or TrailingData when anything but space follows.
func (s *Scanner) Next() (Kind, error) {
	if s.empty {
		s.empty = false
		return EndTag, s.close(s.open[len(s.open)-1])
	}
	if len(s.open) == 0 {
		s.skipSpace()
	}
	switch {
	case s.pos == len(s.in) && len(s.open) == 0 && s.root:
		return EndOfInput, nil
	case s.pos == len(s.in):
		return EndOfInput, Truncated
	case len(s.open) == 0 && s.root:
		return EndOfInput, TrailingData
	case s.in[s.pos] != '<':
		return Text, s.characters()
	case s.ahead("</"):
		return EndTag, s.endTag()
	case s.ahead("<![CDATA["):
		return CDATA, s.cdata()
	case s.ahead("<!--"):
		return Text, Comment
	case s.ahead("<!"):
		return Text, Doctype
	case s.ahead("<?"):
		return Text, Instruction
	}
	return StartTag, s.startTag()
}

func (s *Scanner) characters() error {
	end := bytes.IndexByte(s.in[s.pos:], '<')
	if end < 0 {
		end = len(s.in) - s.pos
	}
	raw := s.in[s.pos : s.pos+end]
	s.pos += end
	if len(s.open) == 0 || bytes.Contains(raw, []byte("]]>")) {
		return BadMarkup
	}
	data, err := resolve(raw)
	s.Data = data
	return err
}

func (s *Scanner) cdata() error {
	s.pos += len("<![CDATA[")
	end := bytes.Index(s.in[s.pos:], []byte("]]>"))
	if end < 0 {
		return Truncated
	}
	if len(s.open) == 0 {
		return BadMarkup
	}
	s.Data = newlines(s.in[s.pos : s.pos+end])
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
			return nil, BadReference
		}
		r, ok := referred(string(raw[:end]))
		if !ok {
			return nil, BadReference
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
	if err != nil || n > utf8.MaxRune || !Legal(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

func (s *Scanner) startTag() error {
	s.pos++
	s.root = true
	if len(s.open) == s.limits.Depth {
		return TooDeep
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
	s.Name = n
	if s.Space, err = s.lookup(n.Prefix); err != nil {
		return err
	}
	return s.qualifyAttributes()
}

// attributes reads up to the end of the start tag.
func (s *Scanner) attributes() error {
	s.Attrs = s.Attrs[:0]
	for {
		spaced := s.skipSpace()
		switch {
		case s.take(">"):
			return nil
		case s.take("/>"):
			s.empty = true
			return nil
		case s.pos == len(s.in):
			return Truncated
		case !spaced:
			return BadMarkup
		case len(s.Attrs) == s.limits.Attributes:
			return TooManyAttributes
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

func (s *Scanner) attribute() error {
	n, err := s.qualified()
	if err != nil {
		return err
	}
	for _, a := range s.Attrs {
		if a.equal(n) {
			return DuplicateAttribute
		}
	}
	raw, err := s.quoted()
	if err != nil {
		return err
	}
	value, err := resolve(raw)
	s.Attrs = append(s.Attrs, Attribute{Name: n, Value: value})
	return err
}

// quoted reads = and a quoted value. Tabs and line ends are refused there: parsers differ in what they make of them.
func (s *Scanner) quoted() ([]byte, error) {
	s.skipSpace()
	if !s.take("=") {
		return nil, BadMarkup
	}
	s.skipSpace()
	if s.pos == len(s.in) {
		return nil, Truncated
	}
	quote := s.in[s.pos]
	if quote != '"' && quote != '\'' {
		return nil, BadMarkup
	}
	end := bytes.IndexByte(s.in[s.pos+1:], quote)
	if end < 0 {
		return nil, Truncated
	}
	value := s.in[s.pos+1 : s.pos+1+end]
	s.pos += end + 2
	if bytes.ContainsAny(value, "<\t\r\n") {
		return nil, BadMarkup
	}
	return value, nil
}

func (a Attribute) isDeclaration() bool {
	return string(a.Prefix) == "xmlns" || len(a.Prefix) == 0 && string(a.Local) == "xmlns"
}

func (s *Scanner) declareNamespaces() error {
	for _, a := range s.Attrs {
		if !a.isDeclaration() {
			continue
		}
		b := Binding{Space: a.Value, depth: len(s.open)}
		if len(a.Prefix) > 0 {
			b.Prefix = a.Local
		}
		reserved := string(b.Space) == xmlNamespace || string(b.Space) == xmlnsReserved
		unbinds := len(b.Prefix) > 0 && len(b.Space) == 0 // only namespaces 1.1 knows that
		fixed := string(b.Prefix) == "xml" || string(b.Prefix) == "xmlns"
		if reserved || unbinds || fixed || len(s.bound) == s.limits.Namespaces {
			return BadNamespace
		}
		s.bound = append(s.bound, b)
	}
	return nil
}

// lookup is the namespace of a prefix; an empty prefix that was not declared has none.
func (s *Scanner) lookup(prefix []byte) ([]byte, error) {
	for i := len(s.bound) - 1; i >= 0; i-- {
		if bytes.Equal(s.bound[i].Prefix, prefix) {
			return s.bound[i].Space, nil
		}
	}
	switch string(prefix) {
	case "":
		return nil, nil
	case "xml":
		return []byte(xmlNamespace), nil
	}
	return nil, UndeclaredPrefix
}

// qualifyAttributes resolves the prefixes of attributes, drops the declarations, and refuses two that mean the same.
func (s *Scanner) qualifyAttributes() error {
	kept := s.Attrs[:0]
	for _, a := range s.Attrs {
		if a.isDeclaration() {
			continue
		}
		if len(a.Prefix) > 0 {
			space, err := s.lookup(a.Prefix)
			if err != nil {
				return err
			}
			a.Space = space
		}
		for _, k := range kept {
			if bytes.Equal(k.Local, a.Local) && bytes.Equal(k.Space, a.Space) {
				return DuplicateAttribute
			}
		}
		kept = append(kept, a)
	}
	s.Attrs = kept
	return nil
}

func (s *Scanner) endTag() error {
	s.pos += len("</")
	n, err := s.qualified()
	if err != nil {
		return err
	}
	s.skipSpace()
	if !s.take(">") {
		return BadMarkup
	}
	return s.close(n)
}

func (s *Scanner) close(n Name) error {
	top := len(s.open) - 1
	if top < 0 || !s.open[top].equal(n) {
		return MismatchedTag
	}
	for i := len(s.bound); i > 0 && s.bound[i-1].depth > top; i-- {
		s.bound = s.bound[:i-1]
	}
	s.open, s.Name = s.open[:top], n
	return nil
}

// qualified reads a name: ASCII letters, digits and -._ with at most one colon inside.
func (s *Scanner) qualified() (Name, error) {
	first, err := s.ncName()
	if err != nil || !s.take(":") {
		return Name{Local: first}, err
	}
	local, err := s.ncName()
	return Name{Prefix: first, Local: local}, err
}

func (s *Scanner) ncName() ([]byte, error) {
	start := s.pos
	for s.pos < len(s.in) && isNameByte(s.in[s.pos], s.pos == start) {
		s.pos++
	}
	if s.pos == len(s.in) {
		return nil, Truncated
	}
	if s.pos == start {
		return nil, BadMarkup
	}
	return s.in[start:s.pos], nil
}

func isNameByte(c byte, first bool) bool {
	letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
	return letter || !first && (c >= '0' && c <= '9' || c == '-' || c == '.')
}

func (s *Scanner) ahead(prefix string) bool {
	return len(s.in)-s.pos >= len(prefix) && string(s.in[s.pos:s.pos+len(prefix)]) == prefix
}

func (s *Scanner) take(prefix string) bool {
	if !s.ahead(prefix) {
		return false
	}
	s.pos += len(prefix)
	return true
}

func (s *Scanner) skipSpace() bool {
	start := s.pos
	for s.pos < len(s.in) && isSpace(s.in[s.pos]) {
		s.pos++
	}
	return s.pos > start
}
