package activedirectory

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// nameServer is a DNS server (RFC 1035, RFC 2782) that knows a few names.
type nameServer struct {
	address string
	mu      sync.Mutex
	hosts   map[string]string   // A
	srv     map[string][]string // SRV: the targets, all with port 389
	mute    bool
	asked   int
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{address: c.LocalAddr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer(buf[:n]); answer != nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return s
}

func (s *nameServer) set(srv []string, hosts map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv, s.hosts = map[string][]string{"_ldap._tcp.dc._msdcs.example.test.": srv}, hosts
}

// answer answers the one question of a query.
func (s *nameServer) answer(query []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.mute || len(query) < 17 {
		return nil
	}
	name, end := "", 12
	for query[end] != 0 {
		n := int(query[end])
		name += strings.ToLower(string(query[end+1:end+1+n])) + "."
		end += 1 + n
	}
	end += 5
	var records [][]byte
	switch kind := binary.BigEndian.Uint16(query[end-4:]); kind {
	case 1:
		if ip, err := netip.ParseAddr(s.hosts[name]); err == nil {
			records = append(records, record(kind, ip.AsSlice()))
		}
	case 33:
		for i, target := range s.srv[name] {
			records = append(records, record(kind, append([]byte{0, byte(i), 0, 1, 389 >> 8, 389 & 0xff}, wireName(target)...)))
		}
	}
	code := byte(0)
	if len(records) == 0 && s.hosts[name] == "" {
		code = 3 // no such name
	}
	answer := []byte{query[0], query[1], 0x85, 0x80 | code, 0, 1, 0, byte(len(records)), 0, 0, 0, 0}
	answer = append(answer, query[12:end]...)
	for _, r := range records {
		answer = append(answer, r...)
	}
	return answer
}

func record(kind uint16, data []byte) []byte {
	r := []byte{0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60}
	return append(binary.BigEndian.AppendUint16(r, uint16(len(data))), data...)
}

func wireName(name string) (b []byte) {
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// found is a configuration without urls.
func found(dc *testenv.SambaDC, s *nameServer) Config {
	c := configFor(dc)
	c.URLs, c.DNSServers = nil, []string{s.address}
	return c
}

func TestControllersFoundByDNS(t *testing.T) {
	first, second := testenv.SambaPair(t, testenv.SambaConfig{})
	dns := startNameServer(t)
	hosts := map[string]string{"dc1.example.test.": first.Address, "dc2.example.test.": second.Address}
	dns.set([]string{"dc1.example.test"}, hosts)
	startTLS := found(first, dns)
	startTLS.StartTLS = true
	if _, err := signIn(t.Context(), connect(t, startTLS), "alice", testenv.SambaPassword("alice")); err != nil {
		t.Errorf("StartTLS: %v", err)
	}
	d := connect(t, found(first, dns))
	var later atomic.Int64
	d.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	signsIn := func(when string) {
		t.Helper()
		if _, err := signIn(t.Context(), d, "alice", testenv.SambaPassword("alice")); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	signsIn("at first")
	dns.mu.Lock()
	asked := dns.asked
	dns.mu.Unlock()
	signsIn("again")
	dns.mu.Lock()
	if dns.asked != asked {
		t.Error("DNS is asked for every sign-in")
	}
	dns.mute = true
	dns.mu.Unlock()
	later.Store(int64(locatedFor))
	began := time.Now()
	signsIn("while DNS is silent")
	if took := time.Since(began); took > dnsTimeout/2 {
		t.Errorf("a sign-in waited %v for DNS", took)
	}
	dns.mu.Lock()
	dns.mute = false
	dns.mu.Unlock()

	dns.set([]string{"dc2.example.test"}, hosts)
	first.Kill()
	for deadline := time.Now().Add(3 * dnsTimeout); ; time.Sleep(50 * time.Millisecond) {
		later.Add(int64(locateIn))
		_, err := signIn(t.Context(), d, "alice", testenv.SambaPassword("alice"))
		if err == nil {
			break
		}
		if authn.KindOf(err) != authn.Unavailable || time.Now().After(deadline) {
			t.Fatalf("the old controller is gone: %v", err)
		}
	}
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestForgedRecords: who can forge DNS names a server elsewhere. It is not even connected to.
func TestForgedRecords(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dns := startNameServer(t)
	for _, forged := range []string{"dc1.example.test.evil.example", "evil.example", "evilexample.test", "example.test"} {
		dns.set([]string{forged}, map[string]string{forged + ".": dc.Address})
		_, err := connect(t, found(dc, dns)).Find(t.Context(), "alice")
		wantReason(t, err, authn.Unavailable, "directory_unreachable")
		if err == nil || !strings.Contains(err.Error(), "no domain controller in the domain") {
			t.Errorf("%s: %v", forged, err)
		}
	}
	dns.set([]string{"dc9.example.test"}, map[string]string{"dc9.example.test.": dc.Address})
	_, err := connect(t, found(dc, dns)).Find(t.Context(), "alice")
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a name in the domain that the certificate does not hold: %v", err)
	}
}

func TestNoDNS(t *testing.T) {
	dns := startNameServer(t)
	d := connect(t, Config{
		Domain: "example.test", DNSServers: []string{dns.address}, BindDN: "svc@example.test", BindPassword: "x",
	})
	later := time.Duration(0)
	d.now = func() time.Time { return time.Now().Add(later) }
	for range 3 {
		_, err := d.Find(t.Context(), "alice")
		wantReason(t, err, authn.Unavailable, "directory_unreachable")
		if err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("DNS's own words are missing: %v", err)
		}
	}
	dns.mu.Lock()
	asked := dns.asked
	dns.mu.Unlock()
	later = firstIn
	_, _ = d.Find(t.Context(), "alice")
	dns.mu.Lock()
	defer dns.mu.Unlock()
	if asked == 0 || asked > 2 || dns.asked == asked {
		t.Errorf("DNS was asked %d times, then %d", asked, dns.asked)
	}
}

func TestTheSiteComesFirst(t *testing.T) {
	dns := startNameServer(t)
	dns.set([]string{"far.example.test", "near.example.test"}, nil)
	dns.mu.Lock()
	dns.srv["_ldap._tcp.berlin._sites.dc._msdcs.example.test."] = []string{"near.example.test"}
	dns.mu.Unlock()
	c := Config{Domain: "example.test", Site: "Berlin"}
	urls, err := newLocator(c, resolver([]string{dns.address}), time.Now).servers(t.Context())
	if err != nil || strings.Join(urls, " ") != "ldaps://near.example.test:636 ldaps://far.example.test:636" {
		t.Errorf("%q, %v", urls, err)
	}
}

// TestWhenDNSIsAskedAgain: soon while nothing is known, later while something is, and at once after a caller who had no
// time left.
func TestWhenDNSIsAskedAgain(t *testing.T) {
	dns := startNameServer(t)
	now := time.Now()
	l := newLocator(Config{Domain: "example.test"}, resolver([]string{dns.address}), func() time.Time { return now })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	l.ask(gone)
	if !l.next.IsZero() || l.why == nil {
		t.Errorf("a caller without time: next at %v, %v", l.next, l.why)
	}
	l.ask(t.Context())
	if l.next != now.Add(firstIn) || l.why == nil {
		t.Errorf("nothing known: next at %v, %v", l.next, l.why)
	}
	dns.set([]string{"dc1.example.test"}, nil)
	l.ask(t.Context())
	if l.next != now.Add(locatedFor) || l.why != nil {
		t.Errorf("known: next at %v, %v", l.next, l.why)
	}
	dns.set(nil, nil)
	l.ask(t.Context())
	if l.next != now.Add(locateIn) || len(l.urls) != 1 {
		t.Errorf("known from before: next at %v, %q", l.next, l.urls)
	}
}
