package saml

import (
	"bytes"
	"crypto/x509"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/beevik/etree"
	validator "github.com/mattermost/xml-roundtrip-validator"

	"github.com/idbridge/idbridge/authn"
)

// FuzzGate: whatever the gate lets through, the validator that others put before encoding/xml lets through too, and etree
// reads it as the same tree. So it need not be parsed a second and a third time.
func FuzzGate(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(attacks())) {
		if raw, _ := attacks()[name].make(); len(raw) < 10<<10 { // the floods would only slow it down
			f.Add(raw)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(accepted())) {
		raw, _ := accepted()[name].make()
		f.Add(raw)
	}
	f.Add([]byte("\uFEFF<?xml version='1.0' ?>\r\n" + `<Response xmlns="` + nsProtocol + `" xmlns:a="urn:a" a:b="&#9;&quot;'>" c=''>` +
		"\r\n&#13;&amp;<a:x xml:lang='' /><y xmlns=''>\uFFFD</y></Response >\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := admit(raw, "Response")
		if err != nil {
			if authn.KindOf(err) != authn.Untrusted {
				t.Fatal(err)
			}
			return
		}
		if err := validator.Validate(bytes.NewReader(raw)); err != nil {
			t.Fatalf("the validator refuses %q: %v", raw, err)
		}
		theirs := etree.NewDocument()
		if err := theirs.ReadFromBytes(bytes.TrimPrefix(raw, []byte("\uFEFF"))); err != nil {
			t.Fatalf("etree refuses %q: %v", raw, err)
		}
		if ours, theirs := spell(m.root), spell(theirs.Root()); ours != theirs {
			t.Fatalf("%q\nours   %s\ntheirs %s", raw, ours, theirs)
		}
	})
}

// spell writes down a tree so that two of them are the same exactly when they mean the same; attributes in no order.
func spell(e *etree.Element) string {
	var b strings.Builder
	b.WriteString("<" + e.FullTag())
	var attributes []string
	for _, a := range e.Attr {
		attributes = append(attributes, a.FullKey()+"="+a.Value)
	}
	slices.Sort(attributes)
	b.WriteString(strings.Join(attributes, "\x00") + ">")
	for _, c := range e.Child {
		switch c := c.(type) {
		case *etree.Element:
			b.WriteString(spell(c))
		case *etree.CharData:
			b.WriteString(c.Data)
		default:
			b.WriteString("<?>")
		}
	}
	b.WriteString("</>")
	return b.String()
}

// FuzzJudge cuts something out of a good answer and puts something else in. Whatever comes of it is refused, or says
// exactly what was signed.
func FuzzJudge(f *testing.F) {
	type original struct {
		raw  []byte
		e    expectation
		want verified
	}
	var originals []original
	for _, name := range []string{"assertion signed", "response signed", "both signed", "ECDSA-SHA256", "InclusiveNamespaces", "nobody asked", "GCM", "CBC"} {
		raw, e := accepted()[name].make()
		want, err := judged(f, raw, e)
		if err != nil {
			f.Fatal(name, err)
		}
		originals = append(originals, original{raw, e, want})
	}
	for which, o := range originals {
		for _, place := range []string{"ID=", "<ds:Sig", "<saml:Iss", ">ann<", "<saml:Assertion", "</saml:Subj", "URI=", "<xenc:", "</samlp"} {
			at := max(bytes.Index(o.raw, []byte(place)), 0)
			f.Add(uint8(which), uint16(at), uint16(0), []byte(`<!-- -->`))
			f.Add(uint8(which), uint16(at+1), uint16(3), []byte(`admin`))
			f.Add(uint8(which), uint16(at), uint16(4), []byte(` xmlns:saml="urn:x" `))
			f.Add(uint8(which), uint16(at), uint16(40), []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, at, cut uint16, put []byte) {
		o := originals[int(which)%len(originals)]
		from := int(at) % (len(o.raw) + 1)
		to := min(from+int(cut), len(o.raw))
		raw := slices.Concat(o.raw[:from], put, o.raw[to:])
		o.e.Replays = &memory{}
		got, err := judged(t, raw, o.e)
		switch {
		case err == nil && !reflect.DeepEqual(got, o.want):
			t.Fatalf("got %+v, signed was %+v\n%s", got, o.want, raw)
		case err != nil && authn.KindOf(err) == authn.Internal:
			t.Fatalf("%v\n%s", err, raw)
		}
	})
}

// FuzzDecrypt: anybody can encrypt for us, so what comes out is as much a stranger's as what came in.
func FuzzDecrypt(f *testing.F) {
	signed := serialize(assertionOf(usual().tree()))
	around := usual()
	around.assertion = ""
	for mode := range uint8(4) {
		f.Add(mode, signed)
		f.Add(mode, []byte{})
		f.Add(mode, bytes.Repeat([]byte{16}, 48))
		f.Add(mode, swap(">ann<", "><!-- -->ann<")(signed))
	}
	f.Fuzz(func(t *testing.T, mode uint8, content []byte) {
		x := toSP()
		if mode&1 != 0 {
			x.content = nsEncryption + "aes128-cbc"
		}
		replace := func([]byte) []byte { return content }
		if x.plain = replace; mode&2 != 0 {
			x.plain, x.cipher = nil, replace
		}
		root := around.tree()
		root.AddChild(x.wrap(etree.NewElement("x")))
		v, err := judged(t, serialize(root), expecting())
		if err == nil && v.NameID != "ann" || err != nil && authn.KindOf(err) != authn.Untrusted {
			t.Fatal(v, err)
		}
	})
}

// FuzzTheQuery cuts something out of a good logout query and puts something else in. Whatever comes of it is refused, or its
// message and RelayState are those that were signed.
func FuzzTheQuery(f *testing.F) {
	key := aKey(f, 2048)
	var queries []string
	for _, relay := range []string{"", "here & there"} {
		e := etree.NewElement("samlp:LogoutRequest")
		e.CreateAttr("xmlns:samlp", nsProtocol)
		to, err := outgoing{field: "SAMLRequest", element: e, binding: byRedirect, to: "https://x", relayState: relay, key: key}.redirect()
		if err != nil {
			f.Fatal(err)
		}
		queries = append(queries, strings.TrimPrefix(to.URL, "https://x?"))
	}
	for which := range uint8(2) {
		for _, put := range []string{"", "&RelayState=x", "&SAMLRequest=x", "&SAMLResponse=x", "%", "+", "&Signature="} {
			f.Add(which, uint16(0), uint16(0), put)
			f.Add(which, uint16(20), uint16(3), put)
			f.Add(which, uint16(len(queries[which])), uint16(0), put)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, at, cut uint16, put string) {
		good := queries[which%2]
		from := int(at) % (len(good) + 1)
		query := good[:from] + put + good[min(from+int(cut), len(good)):]
		r, err := takeApart(query)
		if err == nil {
			_, err = trust{certificates: []*x509.Certificate{key.certificate}}.verifyDetached(r)
		}
		switch {
		case err != nil && authn.KindOf(err) != authn.Untrusted:
			t.Fatal(err)
		case err == nil:
			want, _ := takeApart(good)
			if r.value != want.value || r.relayState != want.relayState || r.field != want.field {
				t.Fatalf("%s is taken for %+v", query, r)
			}
		}
	})
}
