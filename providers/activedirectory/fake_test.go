package activedirectory

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/idbridge/idbridge/testenv"
)

// fake is a domain controller that answers what Samba never would: it knows ana, and says of her what the test wants.
type fake struct {
	config   Config
	entry    func(base, filter string, asked []string) []fakeEntry // nil: honest
	bindCode int
	words    string // diagnostic of a bind or a modification
	searches atomic.Int32
	binds    atomic.Int32 // binds other than the service account's

	conns                atomic.Int32 // open now
	modifyCode           int
	modifies             atomic.Int32
	modified, modifiedDN string // the last modification, its operations as text

	// lie answers a request, of a kind and about an entry, with these bytes; lieHangUp closes the connection, lieSilence
	// is no answer. Empty, or a nil function: honest.
	lie func(request ber.Tag, dn string, asked []string) string
}

const (
	lieHangUp  = "hang up"
	lieSilence = "silence"
)

// Tags of requests, RFC 4511 section 4.
const (
	bindRequest   = 0
	searchRequest = 3
	modifyRequest = 6
)

type fakeEntry struct {
	dn         string
	attributes map[string][]string
}

const (
	fakeRoot = "DC=example,DC=test"
	fakeAna  = "CN=ana," + fakeRoot
)

// fakeSID is a SID of the fake's domain, or of another one.
func fakeSID(rid uint32, domain ...uint32) string {
	b := []byte{1, 5, 0, 0, 0, 0, 0, 5}
	if domain == nil {
		domain = []uint32{7}
	}
	for _, n := range []uint32{21, 1, 2, domain[0], rid} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return string(b)
}

// ana is the user. Her primary group is 513.
func ana() fakeEntry {
	return fakeEntry{fakeAna, map[string][]string{
		"objectGUID": {"0123456789abcdef"}, "objectSid": {fakeSID(1104)}, "sAMAccountName": {"ana"},
		"primaryGroupID":     {"513"},
		"userAccountControl": {"512"}, "msDS-User-Account-Control-Computed": {"0"}, "accountExpires": {"0"},
		"pwdLastSet": {"133000000000000000"}, "badPwdCount": {"0"},
	}}
}

// honest answers as a domain with three groups does.
func honest(base, filter string, asked []string) []fakeEntry {
	switch {
	case base == fakeAna && asked[0] == attrTokenGroups:
		return []fakeEntry{{fakeAna, map[string][]string{attrTokenGroups: {fakeSID(513), fakeSID(2000), fakeSID(2001)}}}}
	case base == fakeAna, strings.Contains(strings.ToLower(filter), "samaccountname=ana"):
		return []fakeEntry{ana()}
	case strings.EqualFold(base, fakeRoot) && asked[0] == attrThreshold:
		return []fakeEntry{{fakeRoot, map[string][]string{attrThreshold: {"5"}, attrWindow: {"-18000000000"}}}}
	case strings.EqualFold(base, fakeRoot) && asked[0] == attrMinLength:
		return []fakeEntry{{fakeRoot, map[string][]string{attrMinLength: {"7"}, attrMinAge: {"-864000000000"},
			attrHistory: {"24"}, attrProperties: {"1"}}}}
	case strings.Contains(filter, "objectSid="):
		return groupsIn(filter)
	}
	return nil
}

// fakeGroups are the groups of the fake's domain, by the filter of their SID. Their RIDs are 513 to 3999.
var fakeGroups = sync.OnceValue(func() map[string]fakeEntry {
	groups := map[string]fakeEntry{}
	for rid := uint32(513); rid < 4000; rid++ {
		name := fmt.Sprintf("g%d", rid)
		groups[sid(fakeSID(rid)).filter()] = fakeEntry{"CN=" + name + "," + fakeRoot,
			map[string][]string{"objectSid": {fakeSID(rid)}, "sAMAccountName": {name}}}
	}
	return groups
})

// groupsIn are the entries that the SIDs of a filter belong to.
func groupsIn(filter string) (list []fakeEntry) {
	for one := range strings.SplitAfterSeq(filter, ")") {
		if e, ok := fakeGroups()[one]; ok {
			e.attributes = maps.Clone(e.attributes)
			list = append(list, e)
		}
	}
	return list
}

func startFake(t *testing.T) *fake {
	t.Helper()
	ca := testenv.CA(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{config: Config{
		Domain: "example.test", URLs: []string{"ldaps://" + l.Addr().String()}, CAFile: ca.File, BindDN: "svc@example.test",
		BindPassword: "x", RequestTimeout: time.Minute,
	}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			wg.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() }) // connections are closed by the domain's own clean-up before
	return f
}

func (f *fake) serve(c net.Conn) {
	f.conns.Add(1)
	defer func() { f.conns.Add(-1); _ = c.Close() }()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		answers, lie := f.answer(p.Children[1]), f.lieTo(p.Children[1])
		switch lie {
		case "":
		case lieHangUp:
			return
		case lieSilence:
			continue
		default:
			if _, err := io.WriteString(c, lie); err != nil {
				return
			}
			continue
		}
		for _, answer := range answers {
			whole := ber.NewSequence("")
			whole.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, p.Children[0].Value, ""))
			whole.AppendChild(answer)
			if _, err := c.Write(whole.Bytes()); err != nil {
				return
			}
		}
	}
}

func (f *fake) lieTo(op *ber.Packet) string {
	if f.lie == nil {
		return ""
	}
	dn, asked := op.Children[0].Data.String(), []string(nil)
	switch op.Tag {
	case bindRequest:
		dn = op.Children[1].Data.String()
	case searchRequest:
		for _, a := range op.Children[7].Children {
			asked = append(asked, a.Value.(string))
		}
	}
	return f.lie(op.Tag, dn, asked)
}

func (f *fake) answer(op *ber.Packet) (list []*ber.Packet) {
	const bindResponse, searchEntry, searchDone, modifyResponse = 1, 4, 5, 7
	switch {
	case op.Tag == bindRequest && op.Children[1].Value == f.config.BindDN:
		return append(list, fakeResult(bindResponse, 0, ""))
	case op.Tag == bindRequest:
		f.binds.Add(1)
		return append(list, fakeResult(bindResponse, f.bindCode, f.words))
	case op.Tag == modifyRequest:
		f.modifies.Add(1)
		f.modifiedDN, f.modified = op.Children[0].Value.(string), decompileChanges(op.Children[1])
		return append(list, fakeResult(modifyResponse, f.modifyCode, f.words))
	case op.Tag != searchRequest:
		return nil
	}
	f.searches.Add(1)
	find := f.entry
	if find == nil {
		find = honest
	}
	var asked []string
	for _, a := range op.Children[7].Children {
		asked = append(asked, a.Value.(string))
	}
	for _, e := range find(op.Children[0].Value.(string), decompile(op.Children[6]), asked) {
		list = append(list, e.packet(searchEntry))
	}
	return append(list, fakeResult(searchDone, 0, ""))
}

// decompile writes a filter's equality matches as text, the value as Escape or sid.filter would; nothing else is
// needed.
func decompile(p *ber.Packet) string {
	const equality, extensible = 3, 9
	if p.Tag == extensible && len(p.Children) >= 3 { // rule, attribute, value
		c := p.Children
		return "(" + c[1].Data.String() + ":" + c[0].Data.String() + ":=" + c[2].Data.String() + ")"
	}
	if p.Tag == equality && len(p.Children) == 2 {
		value := p.Children[1].Data.String()
		if s, ok := parseSID([]byte(value)); ok {
			return s.filter()
		}
		return "(" + p.Children[0].Data.String() + "=" + value + ")"
	}
	var b strings.Builder
	for _, c := range p.Children {
		b.WriteString(decompile(c))
	}
	return b.String()
}

// decompileChanges writes the operations of a modification as text.
func decompileChanges(p *ber.Packet) (text string) {
	kinds := map[int64]string{0: "add", 1: "delete", 2: "replace"}
	for _, c := range p.Children {
		attribute := c.Children[1]
		text += kinds[c.Children[0].Value.(int64)] + " " + attribute.Children[0].Value.(string)
		for _, v := range attribute.Children[1].Children {
			text += " " + v.Data.String()
		}
		text += "; "
	}
	return text
}

// bothAuthorities is a file of the authorities of several fakes.
func bothAuthorities(t *testing.T, fakes ...*fake) string {
	t.Helper()
	var all []byte
	for _, f := range fakes {
		pem, err := os.ReadFile(f.config.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pem...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func fakeResult(tag ber.Tag, code int, words string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(words))
	return p
}

func (e fakeEntry) packet(tag ber.Tag) *ber.Packet {
	attributes := ber.NewSequence("")
	for name, values := range e.attributes {
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(octets(v))
		}
		one := ber.NewSequence("")
		one.AppendChild(octets(name))
		one.AppendChild(set)
		attributes.AppendChild(one)
	}
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(octets(e.dn))
	p.AppendChild(attributes)
	return p
}
