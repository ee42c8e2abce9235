package plugin

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/idbridge/idbridge/strictxml"
)

// buffer collects an answer. Answers are written by hand: they are few and fixed in shape, and encoding/xml would cost
// more than the rest of the door together.
type buffer struct{ bytes.Buffer }

// text writes character data, or the inside of a quoted attribute. What XML cannot hold becomes U+FFFD.
func (b *buffer) text(s string) {
	from := 0
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if esc := escaped(r, size); esc != "" {
			b.WriteString(s[from:i])
			b.WriteString(esc)
			from = i + size
		}
		i += size
	}
	b.WriteString(s[from:])
}

// escaped is what to write for a character; empty for the character itself.
func escaped(r rune, size int) string {
	switch r {
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '&':
		return "&amp;"
	case '"':
		return "&#34;"
	case '\r': // a reader would make a line feed of it
		return "&#13;"
	}
	if !strictxml.Legal(r) || r == utf8.RuneError && size == 1 {
		return "\uFFFD"
	}
	return ""
}

func (b *buffer) element(name, value string) {
	b.open(name)
	b.text(value)
	b.close(name)
}

func (b *buffer) open(name string)  { b.WriteByte('<'); b.WriteString(name); b.WriteByte('>') }
func (b *buffer) close(name string) { b.WriteString("</"); b.WriteString(name); b.WriteByte('>') }

const declaration = `<?xml version="1.0" encoding="utf-8"?>`

func (b *buffer) openEnvelope(v version) {
	b.WriteString(declaration)
	b.WriteString(`<soap:Envelope xmlns:soap="`)
	b.WriteString(string(v))
	b.WriteString(`"><soap:Body>`)
}

func (b *buffer) closeEnvelope() { b.WriteString("</soap:Body></soap:Envelope>") }

// response writes the answer to a request, in the request's version and namespace.
func (b *buffer) response(req request, a answer) {
	b.openEnvelope(req.version)
	b.WriteByte('<')
	b.WriteString(req.method)
	b.WriteString(`Response xmlns="`)
	b.text(req.namespace)
	b.WriteString(`">`)
	switch req.method {
	case getCapabilities:
		b.pairs("SupportedCapabilities", "Capability", a.pairs)
	case getAllConfigurations:
		b.pairs("Configuration", "PluginAPIConfigurationParameter", a.pairs)
	case authenticateWithCredentials, authenticateWithUsername:
		b.element("UserId", strconv.FormatInt(int64(a.userID), 10))
	}
	if req.method != onDeactivation {
		b.status(a.status)
	}
	b.close(req.method + "Response")
	b.closeEnvelope()
}

func (b *buffer) pairs(list, item string, pairs []Setting) {
	b.open(list)
	for _, p := range pairs {
		b.open(item)
		b.element("Name", p.Name)
		b.element("Value", p.Value)
		b.close(item)
	}
	b.close(list)
}

func (b *buffer) status(s status) {
	b.open("Status")
	b.element("Success", strconv.FormatBool(s.success))
	b.element("ResponseId", strconv.Itoa(s.id))
	b.element("ResponseMessage", s.message)
	b.element("ResponseAdditionalInfo", s.info)
	b.close("Status")
}

// fault writes a SOAP fault. Its text is one of a handful of constants: a caller learns nothing of what is inside.
func (b *buffer) fault(v version, f fault) {
	b.openEnvelope(v)
	b.open("soap:Fault")
	if v == soap12 {
		b.open("soap:Code")
		b.element("soap:Value", "soap:"+f.code12)
		b.close("soap:Code")
		b.WriteString(`<soap:Reason><soap:Text xml:lang="en">`)
		b.text(f.text)
		b.WriteString("</soap:Text></soap:Reason>")
	} else {
		b.element("faultcode", "soap:"+f.code11)
		b.element("faultstring", f.text)
	}
	b.close("soap:Fault")
	b.closeEnvelope()
}
