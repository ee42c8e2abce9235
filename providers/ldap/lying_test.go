package ldap

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

const (
	fakeBase = "dc=example,dc=test"
	fakeUser = "uid=ana," + fakeBase
)

// fake is a server that answers requests with bytes of the test's choosing. A nil answer hangs up; an empty one is silence.
type fake struct {
	url   string
	binds atomic.Int32 // binds other than the service account's
	conns atomic.Int32 // open now
}

// answers of a fake, by what was asked. nil means the honest one.
type answers struct {
	bind, search func(id int64) []byte
	extended     func(id int64) []byte // nil: refused as unknown, as RFC 4511 section 4.12 says
	greet        []byte                // sent on every new connection
}

func lying(t *testing.T, a answers) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{url: "ldap://" + l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.conns.Add(1)
			wg.Go(func() { defer f.conns.Add(-1); f.serve(c, a) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return f
}

func (f *fake) serve(c net.Conn, a answers) {
	defer func() { _ = c.Close() }()
	if _, err := c.Write(a.greet); err != nil {
		return
	}
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		answer := f.answer(p, a)
		if answer == nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func (f *fake) answer(p *ber.Packet, a answers) []byte {
	id, op := p.Children[0].Value.(int64), p.Children[1]
	switch {
	case op.Tag == goldap.ApplicationExtendedRequest && a.extended != nil:
		return a.extended(id)
	case op.Tag == goldap.ApplicationExtendedRequest:
		return result(id, goldap.ApplicationExtendedResponse, goldap.LDAPResultProtocolError)
	case op.Tag == goldap.ApplicationSearchRequest && a.search != nil:
		return a.search(id)
	case op.Tag == goldap.ApplicationSearchRequest:
		return append(found(id, fakeUser, "1234"), result(id, goldap.ApplicationSearchResultDone, 0)...)
	case op.Children[1].Value == "cn=service":
		return result(id, goldap.ApplicationBindResponse, 0)
	}
	f.binds.Add(1)
	if a.bind != nil {
		return a.bind(id)
	}
	return result(id, goldap.ApplicationBindResponse, 0)
}

func envelope(id int64, op *ber.Packet, more ...*ber.Packet) []byte {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	for _, m := range more {
		p.AppendChild(m)
	}
	return p.Bytes()
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(id int64, tag ber.Tag, code int, more ...*ber.Packet) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	op.AppendChild(octets(""))
	op.AppendChild(octets("so it is"))
	return envelope(id, op, more...)
}

func found(id int64, dn, subject string) []byte {
	values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
	values.AppendChild(octets(subject))
	attribute := ber.NewSequence("")
	attribute.AppendChild(octets("entryUUID"))
	attribute.AppendChild(values)
	attributes := ber.NewSequence("")
	attributes.AppendChild(attribute)
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(octets(dn))
	op.AppendChild(attributes)
	return envelope(id, op)
}

// policyControl is a password policy response with bytes of the test's choosing.
func policyControl(value string) *ber.Packet {
	control := ber.NewSequence("")
	control.AppendChild(octets(goldap.ControlTypeBeheraPasswordPolicy))
	control.AppendChild(octets(value))
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(control)
	return controls
}

func fakeConfig(url string) Config {
	return Config{URLs: []string{url}, InsecurePlaintext: true, BaseDN: fakeBase, BindDN: "cn=service", BindPassword: "x",
		RequestTimeout: time.Minute} // where a test waits for silence, it says impatient
}

// impatient is for tests in which nobody answers: all others must not depend on how busy the machine is.
func impatient(c Config, reason string) Config {
	if reason == reasonSilent {
		c.RequestTimeout = 3 * time.Second
	}
	return c
}

func done(id int64) []byte { return result(id, goldap.ApplicationSearchResultDone, 0) }

func raw(b string) func(int64) []byte { return func(int64) []byte { return []byte(b) } }

func TestALyingSearch(t *testing.T) {
	code := func(n int) func(int64) []byte {
		return func(id int64) []byte { return result(id, goldap.ApplicationSearchResultDone, n) }
	}
	entries := func(dns ...string) func(int64) []byte {
		return func(id int64) (b []byte) {
			for _, dn := range dns {
				b = append(b, found(id, dn, "1234")...)
			}
			return append(b, done(id)...)
		}
	}
	for name, test := range map[string]struct {
		search func(int64) []byte
		kind   authn.Kind
		reason string
	}{
		"hangs up":            {func(int64) []byte { return nil }, authn.Unavailable, reasonUnreachable},
		"is silent":           {raw(""), authn.Unavailable, reasonSilent},
		"sends garbage":       {raw("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 200)), authn.Unavailable, reasonSilent},
		"stops half way":      {func(id int64) []byte { return found(id, fakeUser, "1")[:20] }, authn.Unavailable, reasonSilent},
		"says too much":       {func(id int64) []byte { return found(id, fakeUser, strings.Repeat("x", 2*maxAnswer)) }, authn.Unavailable, reasonBadAnswer},
		"promises gigabytes":  {raw("\x30\x84\x7f\xff\xff\xff\x02\x01\x02"), authn.Unavailable, reasonSilent},
		"answers another id":  {func(id int64) []byte { return append(found(id+7, fakeUser, "1"), done(id+7)...) }, authn.Unavailable, reasonSilent},
		"finds two":           {entries(fakeUser, "uid=bob,"+fakeBase), authn.BadCredentials, reasonAmbiguousUser},
		"finds a hundred":     {entries(strings.Split(strings.Repeat(fakeUser+"|", 100)+fakeUser, "|")...), authn.BadCredentials, reasonAmbiguousUser},
		"size limit":          {code(4), authn.BadCredentials, reasonAmbiguousUser},
		"finds none":          {code(0), authn.BadCredentials, reasonUnknownUser},
		"an empty DN":         {entries(""), authn.Unavailable, reasonBadAnswer},
		"a DN elsewhere":      {entries("uid=ana,dc=evil"), authn.Unavailable, reasonBadAnswer},
		"no DN":               {entries("hello"), authn.Unavailable, reasonBadAnswer},
		"no such base":        {code(32), authn.Unavailable, reasonConfig},
		"refers elsewhere":    {code(10), authn.Unavailable, reasonConfig},
		"may not read":        {code(50), authn.Unavailable, reasonConfig},
		"is busy":             {code(51), authn.Unavailable, reasonBusy},
		"is going down":       {code(52), authn.Unavailable, reasonBusy},
		"wants more security": {code(8), authn.Unavailable, reasonConfig},
		"an unknown code":     {code(123), authn.Unavailable, reasonBusy},
		"entry without values": {func(id int64) []byte {
			return append(bytes.Replace(found(id, fakeUser, "1234"), []byte("entryUUID"), []byte("entryUUIX"), 1), done(id)...)
		}, authn.Unavailable, reasonConfig},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := connect(t, impatient(fakeConfig(lying(t, answers{search: test.search}).url), test.reason)).Find(t.Context(), "ana")
			wantReason(t, err, test.kind, test.reason)
		})
	}
}

func TestALyingBind(t *testing.T) {
	code := func(n int, more ...*ber.Packet) func(int64) []byte {
		return func(id int64) []byte { return result(id, goldap.ApplicationBindResponse, n, more...) }
	}
	for name, test := range map[string]struct {
		bind   func(int64) []byte
		kind   authn.Kind
		reason string
	}{
		"hangs up":                   {func(int64) []byte { return nil }, authn.Unavailable, reasonUnreachable},
		"is silent":                  {raw(""), authn.Unavailable, reasonSilent},
		"stops half way":             {func(id int64) []byte { return code(0)(id)[:8] }, authn.Unavailable, reasonSilent},
		"answers another id":         {func(id int64) []byte { return code(0)(id + 1) }, authn.Unavailable, reasonSilent},
		"an unsolicited goodbye":     {func(int64) []byte { return code(52)(0) }, authn.Unavailable, reasonSilent},
		"no result in it":            {func(id int64) []byte { return envelope(id, octets("yes")) }, authn.Unavailable, reasonBadAnswer},
		"wrong password":             {code(49), authn.BadCredentials, reasonWrongPassword},
		"the entry is gone":          {code(32), authn.BadCredentials, reasonWrongPassword},
		"refers elsewhere":           {code(10), authn.Unavailable, reasonConfig},
		"is busy":                    {code(51), authn.Unavailable, reasonBusy},
		"unavailable":                {code(52), authn.Unavailable, reasonBusy},
		"wants TLS":                  {code(13), authn.Unavailable, reasonConfig},
		"too many wrong passwords":   {code(19), authn.Locked, reasonLocked},
		"inactivated":                {code(53), authn.Locked, reasonDisabled},
		"policy: locked":             {code(49, policyControl("\x30\x03\x81\x01\x01")), authn.Locked, reasonLocked},
		"policy: expired":            {code(49, policyControl("\x30\x03\x81\x01\x00")), authn.Locked, reasonExpired},
		"success, but must change":   {code(0, policyControl("\x30\x03\x81\x01\x02")), authn.Locked, reasonMustChange},
		"success, but expired":       {code(0, policyControl("\x30\x03\x81\x01\x00")), authn.Locked, reasonExpired},
		"success with a torn policy": {code(0, policyControl("\x30\x7f\x81")), authn.Unavailable, reasonBadAnswer},
		"grace logins left":          {code(0, policyControl("\x30\x05\xa0\x03\x81\x01\x02")), authn.OK, "ok"},
		"success":                    {code(0), authn.OK, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := lying(t, answers{bind: test.bind})
			_, err := signIn(t.Context(), connect(t, impatient(fakeConfig(f.url), test.reason)), "ana", "secret-canary")
			wantReason(t, err, test.kind, test.reason)
			if n := f.binds.Load(); n != 1 {
				t.Errorf("%d binds reached the server, want exactly 1", n)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestNoSecondBind: neither a refusal nor a lost answer is tried on another server.
func TestNoSecondBind(t *testing.T) {
	for name, bind := range map[string]func(int64) []byte{
		"refused": func(id int64) []byte { return result(id, goldap.ApplicationBindResponse, 49) },
		"busy":    func(id int64) []byte { return result(id, goldap.ApplicationBindResponse, 51) },
		"lost":    func(int64) []byte { return nil },
		"silent":  raw(""),
	} {
		t.Run(name, func(t *testing.T) {
			first, second := lying(t, answers{bind: bind}), lying(t, answers{})
			c := fakeConfig(first.url)
			if c.URLs = append(c.URLs, second.url); name == "silent" {
				c = impatient(c, reasonSilent)
			}
			if _, err := signIn(t.Context(), connect(t, c), "ana", "x"); err == nil {
				t.Error("signed in")
			}
			if a, b := first.binds.Load(), second.binds.Load(); a != 1 || b != 0 {
				t.Errorf("%d and %d binds, want 1 and 0", a, b)
			}
		})
	}
}

// TestStaleSearchConnection: the server closes the connection on the next question; the question is put once more.
func TestStaleSearchConnection(t *testing.T) {
	var asked atomic.Int32
	f := lying(t, answers{search: func(id int64) []byte {
		if asked.Add(1) == 2 {
			return nil
		}
		return append(found(id, fakeUser, "1234"), done(id)...)
	}})
	c := fakeConfig(f.url)
	c.CacheTTL, c.SearchPool = -1, 1
	d := connect(t, c)
	for range 2 {
		if _, err := d.Find(t.Context(), "ana"); err != nil {
			t.Error(err)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

// TestStaleBindConnection: an idle connection for binds is replaced, not trusted.
func TestStaleBindConnection(t *testing.T) {
	f := lying(t, answers{})
	d := connect(t, fakeConfig(f.url))
	if _, err := signIn(t.Context(), d, "ana", "x"); err != nil {
		t.Fatal(err)
	}
	p := d.servers[0].binds
	p.mu.Lock()
	old := p.idle[0]
	old.idleSince = old.idleSince.Add(-bindIdle)
	p.mu.Unlock()
	if _, err := signIn(t.Context(), d, "ana", "x"); err != nil {
		t.Fatal(err)
	}
	if old.usable() {
		t.Error("the stale connection is still open")
	}
}

func TestTheCallersDeadlineHolds(t *testing.T) {
	d := connect(t, fakeConfig(lying(t, answers{bind: raw("")}).url))
	a, err := d.Find(t.Context(), "ana")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = d.Verify(ctx, a, "x")
	wantReason(t, err, authn.Unavailable, reasonSilent)
	if took := time.Since(began); took > d.config.RequestTimeout/2 {
		t.Errorf("took %v", took)
	}
}

func TestAFullPoolEndsWithTheDeadline(t *testing.T) {
	c := fakeConfig(lying(t, answers{}).url)
	c.BindPool = 1
	d := connect(t, c)
	a, err := d.Find(t.Context(), "ana")
	if err != nil {
		t.Fatal(err)
	}
	d.servers[0].binds.slots <- struct{}{} // lent to somebody who does not come back
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = d.Verify(ctx, a, "x")
	wantReason(t, err, authn.Unavailable, reasonBusy)
	<-d.servers[0].binds.slots
	if _, err = d.Verify(t.Context(), a, "x"); err != nil {
		t.Error(err)
	}
}

func TestStartTLSRefusedSendsNoPassword(t *testing.T) {
	before := runtime.NumGoroutine()
	var got bytes.Buffer
	var mu sync.Mutex
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c, err := l.Accept()
		if err != nil {
			return
		}
		tee := io.TeeReader(c, &got)
		mu.Lock()
		defer mu.Unlock()
		_, _ = ber.ReadPacket(tee)
		_, _ = c.Write(result(1, goldap.ApplicationExtendedResponse, 52))
		_, _ = io.Copy(io.Discard, tee) // until the client closes
	}()
	t.Cleanup(func() { _ = l.Close() })
	c := fakeConfig("ldap://" + l.Addr().String())
	c.StartTLS, c.InsecurePlaintext, c.BindPassword = true, false, "service-canary"
	_, err = connect(t, c).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, reasonUnreachable)
	<-gone // the connection was closed by us, or this waits for ever
	eventually(t, "go-ldap stays behind", func() bool { return runtime.NumGoroutine() <= before })
	mu.Lock()
	defer mu.Unlock()
	if bytes.Contains(got.Bytes(), []byte("canary")) {
		t.Error("the service account's password was sent in clear")
	}
}

// TestNothingLeaks: after silence, hang-ups and garbage no goroutine and no connection stays behind.
func TestNothingLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("all ways to fail", func(t *testing.T) {
		for _, a := range []answers{
			{}, {search: raw("")}, {bind: raw("")}, {search: func(int64) []byte { return nil }}, {bind: raw("garbage")},
			{greet: []byte("220 smtp.example.com ready\r\n")},
		} {
			f := lying(t, a)
			c := fakeConfig(f.url)
			c.CacheTTL, c.RequestTimeout = -1, 50*time.Millisecond
			d := connect(t, c)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { _, _ = signIn(t.Context(), d, "ana", "x") })
			}
			wg.Wait()
			d.servers.close()
			eventually(t, "connections stay open", func() bool { return f.conns.Load() == 0 })
		}
	})
	eventually(t, "goroutines stay behind", func() bool { return runtime.NumGoroutine() <= before })
}

func eventually(t *testing.T, problem string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%s\n%s", problem, buf[:runtime.Stack(buf, true)])
		}
	}
}

// TestGroupsElsewhere: a part of the groups is on a server that we would have to be sent to.
func TestGroupsElsewhere(t *testing.T) {
	var asked atomic.Int32
	f := lying(t, answers{search: func(id int64) []byte {
		if asked.Add(1) == 1 {
			return append(found(id, fakeUser, "1234"), done(id)...)
		}
		op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
		op.AppendChild(octets("ldap://other.example/ou=groups"))
		return append(envelope(id, op), done(id)...)
	}})
	c := fakeConfig(f.url)
	c.Groups.Source = groupsSearch
	_, err := connect(t, c).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, reasonGroups)
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2: what a server has answered it will answer again", n)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := testenv.CA(t)
	for version, want := range map[uint16]string{tls.VersionTLS11: "protocol version", tls.VersionTLS12: "did not answer"} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{ca.Server(t).TLS}, MinVersion: tls.VersionTLS10, MaxVersion: version,
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() { _, _ = io.Copy(io.Discard, c) }()
			}
		}()
		t.Cleanup(func() { _ = l.Close() })
		c := impatient(fakeConfig("ldaps://"+l.Addr().String()), reasonSilent)
		c.CAFile, c.InsecurePlaintext = ca.File, false
		_, err = connect(t, c).Find(t.Context(), "ana")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("TLS %x: %v, want %q", version, err, want)
		}
	}
}

// TestHolds judges names that a server might give an entry, so that it passes for one of ours.
func TestHolds(t *testing.T) {
	const base = "dc=example,dc=test"
	for _, c := range []struct {
		base, name string
		want       bool
	}{
		{base, "uid=a,ou=people,dc=example,dc=test", true},
		{base, "UID=a, DC=Example, dc=TEST", true},
		{base, `cn=a\, b,dc=example,dc=test`, true},
		{base, `cn=a\,dc=example,dc=test`, false},
		{base, `cn="a,dc=example,dc=test`, false},
		{base, "uid=a,dc=test", false},
		{base, "uid=a,xdc=example,dc=test", false},
		{base, ",dc=example,dc=test", false},
		{base, "nobody,dc=example,dc=test", false},
		{base, base, true},
		{base, "", false},
		{"", "uid=a,dc=test", true},
		{"", "uid=a,", false},
	} {
		d := &directory{config: Config{BaseDN: c.base}}
		d.base, _ = goldap.ParseDN(c.base)
		if got := d.holds(c.name); got != c.want {
			t.Errorf("%q under %q: %t", c.name, c.base, got)
		}
	}
}
