package strictxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func testLimits() Limits { return Limits{Depth: 4, Attributes: 4, Namespaces: 5} }

type refusal struct {
	message string
	want    Malformation
}

// refused are messages that encoding/xml takes, or that two parsers may read differently. The plugin's tests have more of
// them inside of SOAP.
func refused() map[string]refusal {
	return map[string]refusal{
		"empty":                 {"", Truncated},
		"Latin-1":               {"<a>jos\xe9</a>", NotUTF8},
		"declared as Latin-1":   {`<?xml version="1.0" encoding="iso-8859-1"?><a/>`, NotUTF8},
		"version 1.1":           {`<?xml version="1.1"?><a/>`, BadDeclaration},
		"NUL":                   {"<a>\x00</a>", IllegalCharacter},
		"noncharacter":          {"<a>\uFFFF</a>", IllegalCharacter},
		"DOCTYPE":               {`<!DOCTYPE a><a/>`, Doctype},
		"DOCTYPE with entity":   {`<!DOCTYPE a [<!ENTITY e "v">]><a>&e;</a>`, Doctype},
		"entity of one's own":   {`<a>&e;</a>`, BadReference},
		"NUL by reference":      {`<a>&#0;</a>`, BadReference},
		"comment":               {`<a>admin<!-- -->x</a>`, Comment},
		"instruction":           {`<a>admin<?x y?></a>`, Instruction},
		"text before":           {`x<a/>`, BadMarkup},
		"CDATA before":          {`<![CDATA[ ]]><a/>`, BadMarkup},
		"]]> in text":           {`<a>]]></a>`, BadMarkup},
		"< in an attribute":     {`<a b="<"/>`, BadMarkup},
		"tab in an attribute":   {"<a b='\t'/>", BadMarkup},
		"two colons":            {`<a:b:c xmlns:a="urn:a"/>`, BadMarkup},
		"non-ASCII name":        {`<é/>`, BadMarkup},
		"second root":           {`<a/><b/>`, TrailingData},
		"text after":            {`<a/>x`, TrailingData},
		"crossed tags":          {`<a><b></a></b>`, MismatchedTag},
		"end by another prefix": {`<p:a xmlns:p="urn:x" xmlns:q="urn:x"></q:a>`, MismatchedTag},
		"cut off":               {`<a><b>`, Truncated},
		"attribute twice":       {`<a b="" b=""/>`, DuplicateAttribute},
		"twice by prefixes":     {`<a xmlns:p="urn:x" xmlns:q="urn:x" p:b="" q:b=""/>`, DuplicateAttribute},
		"undeclared prefix":     {`<p:a/>`, UndeclaredPrefix},
		"prefix out of scope":   {`<a><b xmlns:p="urn:x"/><p:c/></a>`, UndeclaredPrefix},
		"prefix unbound":        {`<a xmlns:p=""/>`, BadNamespace},
		"xml rebound":           {`<a xmlns:xml="urn:x"/>`, BadNamespace},
		"xmlns bound":           {`<a xmlns:xmlns="urn:x"/>`, BadNamespace},
		"too deep":              {strings.Repeat("<a>", 5), TooDeep},
		"too many attributes":   {`<a b="" c="" d="" e="" f=""/>`, TooManyAttributes},
		"too many namespaces":   {strings.Repeat(`<a xmlns:p="urn:p" xmlns:q="urn:q">`, 3), BadNamespace},
	}
}

func accepted() []string {
	return []string{
		`<a xmlns="urn:a" xmlns:b="urn:b" b:c="&lt;" d=">"><b:e/>x<![CDATA[y]]>&#x1F600;<e xmlns=""/></a>`,
		"\uFEFF<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\r\n<a xml:lang='en'>\r\n</a >\n",
		`<a><b xmlns:p="urn:x"><p:c/></b><b xmlns:p="urn:y"><p:c p:d='"'/></b></a>`,
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range refused() {
		if _, err := scanAll([]byte(tt.message)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestAccepted(t *testing.T) {
	for _, message := range accepted() {
		if _, err := scanAll([]byte(message)); err != nil {
			t.Errorf("%s: %v", message, err)
		}
	}
}

func TestWhatATagDeclares(t *testing.T) {
	var s Scanner
	if err := s.Reset([]byte(`<a xmlns:p="urn:p"><b xmlns="urn:d" xmlns:q="urn:q" c=""><![CDATA[x]]></b></a>`), testLimits()); err != nil {
		t.Fatal(err)
	}
	want := []string{"p=urn:p", "=urn:d q=urn:q"}
	for _, declared := range want {
		if kind, err := s.Next(); kind != StartTag || err != nil {
			t.Fatal(kind, err)
		}
		var got []string
		for _, b := range s.Declared() {
			got = append(got, string(b.Prefix)+"="+string(b.Space))
		}
		if strings.Join(got, " ") != declared {
			t.Errorf("got %q, want %q", got, declared)
		}
	}
	if kind, err := s.Next(); kind != CDATA || err != nil || string(s.Data) != "x" {
		t.Error(kind, err)
	}
}

// FuzzScan: whatever the scanner accepts, encoding/xml accepts too and reads the same way.
func FuzzScan(f *testing.F) {
	for _, tt := range refused() {
		f.Add([]byte(tt.message))
	}
	for _, message := range accepted() {
		f.Add([]byte(message))
	}
	f.Add([]byte(`<a xmlns="urn:a" xmlns:b="urn:b" b:c="&lt;" d=">"><b:e/>x<![CDATA[y]]>&#x1F600;<e xmlns=""/></a>`))
	f.Fuzz(func(t *testing.T, message []byte) {
		ours, err := scanAll(message)
		if err != nil {
			return
		}
		theirs, err := encodingXML(message)
		if err != nil {
			t.Fatalf("encoding/xml refuses %q: %v", message, err)
		}
		if ours != theirs {
			t.Fatalf("%q\nours   %q\ntheirs %q", message, ours, theirs)
		}
	})
}

// scanAll spells out what the scanner reads.
func scanAll(message []byte) (string, error) {
	var s Scanner
	if err := s.Reset(message, testLimits()); err != nil {
		return "", err
	}
	var b spelling
	for {
		kind, err := s.Next()
		if err != nil {
			return "", err
		}
		switch kind {
		case StartTag:
			b.start(string(s.Space), string(s.Local))
			for _, a := range s.Attrs {
				b.attribute(string(a.Space), string(a.Local), string(a.Value))
			}
		case EndTag:
			b.end(string(s.Local))
		case Text, CDATA:
			b.text(string(s.Data))
		case EndOfInput:
			return b.String(), nil
		}
	}
}

// encodingXML spells out what encoding/xml reads, leaving out what carries no meaning: the byte order mark, the
// declaration, space around the root and declarations of namespaces.
func encodingXML(message []byte) (string, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(message, []byte("\uFEFF"))))
	var b spelling
	for depth := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			b.start(token.Name.Space, token.Name.Local)
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && a.Name != (xml.Name{Local: "xmlns"}) {
					b.attribute(a.Name.Space, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			depth--
			b.end(token.Name.Local)
		case xml.CharData:
			if depth > 0 {
				b.text(string(token))
			} else if len(bytes.TrimSpace(token)) > 0 {
				return "", errors.New("text outside the root")
			}
		case xml.ProcInst:
			if token.Target != "xml" {
				return "", errors.New("processing instruction")
			}
		default:
			return "", errors.New("comment or directive")
		}
	}
}

// spelling joins adjacent text, which two readers may cut differently.
type spelling struct {
	strings.Builder
	inText bool
}

func (b *spelling) mark(s ...string) {
	b.inText = false
	b.WriteString("\n" + strings.Join(s, "|"))
}
func (b *spelling) start(space, local string)            { b.mark("start", space, local) }
func (b *spelling) attribute(space, local, value string) { b.mark("attribute", space, local, value) }
func (b *spelling) end(local string)                     { b.mark("end", local) }
func (b *spelling) text(s string) {
	if !b.inText && s != "" {
		b.mark("text", "")
		b.inText = true
	}
	b.WriteString(s)
}
