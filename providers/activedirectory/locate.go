package activedirectory

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// How long what DNS said is taken for granted, and when it is asked again after it gave no answer.
const (
	locatedFor = 10 * time.Minute
	locateIn   = 30 * time.Second
	firstIn    = time.Second // while nothing is known
	dnsTimeout = 5 * time.Second
)

// locator finds the domain controllers as the domain's own computers do, by the SRV records that controllers register,
// [MS-ADTS] section 6.3.2.3. While DNS is silent it goes on with those that it knows.
type locator struct {
	records  []string // SRV records in the order of their servers' preference
	within   []string // domains that a server may be in
	port     string   // of ldaps, which no record names
	startTLS bool
	resolver *net.Resolver
	now      func() time.Time

	mu     sync.Mutex
	urls   []string
	why    error // of the last question
	next   time.Time
	asking bool
}

func newLocator(c Config, r *net.Resolver, now func() time.Time) *locator {
	l := &locator{within: []string{c.Domain}, port: "636", startTLS: c.StartTLS, resolver: r, now: now}
	if c.Site != "" {
		l.records = append(l.records, "_ldap._tcp."+c.Site+"._sites.dc._msdcs."+c.Domain)
	}
	l.records = append(l.records, "_ldap._tcp.dc._msdcs."+c.Domain)
	return l
}

// newCatalogueLocator finds the global catalogue servers of a forest, which may be in any of its domains.
func newCatalogueLocator(c Config, r *net.Resolver, now func() time.Time) *locator {
	l := &locator{within: []string{c.Domain, c.Forest.Root}, port: "3269", startTLS: c.StartTLS, resolver: r, now: now}
	for _, d := range c.Forest.Domains {
		l.within = append(l.within, d.Domain)
	}
	if c.Site != "" {
		l.records = append(l.records, "_gc._tcp."+c.Site+"._sites."+c.Forest.Root)
	}
	l.records = append(l.records, "_gc._tcp."+c.Forest.Root)
	return l
}

// servers are the URLs of the domain controllers. Unavailable while none was ever found. Only then a caller waits
// for DNS: what is known serves until a question beside it is answered.
func (l *locator) servers(ctx context.Context) ([]string, error) {
	l.mu.Lock()
	urls, why := l.urls, l.why
	due := !l.now().Before(l.next) && !l.asking
	l.asking = l.asking || due && len(urls) > 0
	l.mu.Unlock()
	switch {
	case !due:
		return urls, why
	case len(urls) > 0:
		go l.ask(context.WithoutCancel(ctx))
		return urls, nil
	}
	l.ask(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.urls, l.why
}

// ask puts the question, within dnsTimeout, and keeps the answer. No answer takes nothing away.
func (l *locator) ask(ctx context.Context) {
	urls, err := l.lookup(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking = false
	switch {
	case err == nil:
		l.urls, l.why, l.next = urls, nil, l.now().Add(locatedFor)
	case len(l.urls) > 0:
		l.next = l.now().Add(locateIn)
	case ctx.Err() != nil: // the caller's time was up, which says nothing about DNS
		l.why = err
	default:
		l.why, l.next = err, l.now().Add(firstIn)
	}
}

// lookup asks for the controllers of the site, then for all of them.
func (l *locator) lookup(ctx context.Context) (urls []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	for _, name := range l.records {
		_, records, lookupErr := l.resolver.LookupSRV(ctx, "", "", name+".")
		if lookupErr != nil {
			err = lookupErr
		}
		for _, r := range records {
			if u, ok := l.url(r); ok && !slices.Contains(urls, u) {
				urls = append(urls, u)
			}
		}
	}
	if len(urls) > 0 {
		return urls, nil
	}
	if err == nil {
		err = &net.DNSError{Err: "no domain controller in the domain itself", Name: l.records[0]}
	}
	return nil, authn.Errorf(authn.Unavailable, "directory_unreachable",
		"finding domain controllers: %w: set dns_servers to servers that know the domain, or list urls", err)
}

// url is the server of a record. Who can forge DNS must not be able to name a server elsewhere, for which a
// certificate of a public authority is easily had: only names in the domain are taken.
func (l *locator) url(r *net.SRV) (string, bool) {
	host := strings.ToLower(strings.TrimSuffix(r.Target, "."))
	inside := func(domain string) bool { return strings.HasSuffix(host, "."+strings.ToLower(domain)) }
	if !slices.ContainsFunc(l.within, inside) || !isDomain(host) {
		return "", false
	}
	if l.startTLS {
		return "ldap://" + net.JoinHostPort(host, strconv.Itoa(int(r.Port))), true
	}
	return "ldaps://" + host + ":" + l.port, true
}

// resolver asks the DNS servers given, in turn, or as the system does.
func resolver(addresses []string) *net.Resolver {
	if len(addresses) == 0 {
		return nil
	}
	var turn atomic.Uint32
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		address, err := dnsAddress(addresses[int(turn.Add(1)-1)%len(addresses)])
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, address.String())
	}}
}

func dnsAddress(text string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(ip, 53), nil
	}
	return netip.ParseAddrPort(text)
}
