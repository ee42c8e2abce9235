package plugin

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// refusal is why a caller was not identified: a stable code for log and journal. The caller sees 401 and nothing else.
type refusal string

const (
	noCredentials   refusal = "no_credentials"
	badCredentials  refusal = "bad_credentials"
	wrongPath       refusal = "wrong_path"        // proven to be an environment, but under another's plugin name
	wrongAddress    refusal = "wrong_address"     // proven to be an environment, but from outside its networks
	ambiguousCaller refusal = "ambiguous_caller"  // credentials of one environment, certificate of another
	incompleteProof refusal = "incomplete_proof"  // one of secret and certificate where both are configured
	untrustedPath   refusal = "untrusted_address" // a path that trusts addresses, but not this one
)

// caller is an environment, with what it must show in the form in which it is compared.
type caller struct {
	Environment
	plugin                     string // plugin name in lower case
	usernameHash, passwordHash [sha256.Size]byte
}

func newCaller(e Environment, shared string) caller {
	return caller{
		Environment: e, plugin: lower(e.pluginName(shared)),
		usernameHash: sha256.Sum256([]byte(e.Username)), passwordHash: sha256.Sum256([]byte(e.Secret.Reveal())),
	}
}

// peer is what a connection and a request show of who is calling.
type peer struct {
	plugin                     string // plugin name asked for, in lower case; may be unknown
	address                    netip.Addr
	basic                      bool
	usernameHash, passwordHash [sha256.Size]byte
	certificate                *x509.Certificate // verified by the listener; nil without one
}

func newPeer(r *http.Request, plugin string) peer {
	p := peer{plugin: plugin, address: peerAddress(r)}
	username, password, ok := r.BasicAuth()
	if ok {
		p.basic = true
		p.usernameHash, p.passwordHash = sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && len(r.TLS.VerifiedChains[0]) > 0 {
		p.certificate = r.TLS.VerifiedChains[0][0]
	}
	return p
}

// peerAddress is the address on the connection itself, never one that a header claims.
func peerAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// identify finds the one environment that a peer has proven to be. Every environment is compared, so that the time does
// not tell how far a guess came.
func identify(callers []caller, p peer) (*caller, refusal) {
	var found *caller
	reason := noCredentials
	if p.basic || p.certificate != nil {
		reason = badCredentials
	}
	claims := 0
	for i := range callers {
		c := &callers[i]
		proven, partly := c.proven(p)
		if proven {
			found = c
		}
		if partly {
			reason = incompleteProof
		}
		if proven || partly {
			claims++
		}
	}
	switch {
	case claims > 1:
		return nil, ambiguousCaller
	case found == nil:
		return trusted(callers, p, reason)
	case found.plugin != p.plugin:
		return nil, wrongPath
	case !found.allows(p.address):
		return nil, wrongAddress
	}
	return found, ""
}

// proven compares in constant time. Both sides are hashed first, so that not even lengths are told.
func (c *caller) proven(p peer) (proven, partly bool) {
	wantsSecret, wantsCertificate := c.Secret != "", c.CertificateSAN != ""
	sameName := subtle.ConstantTimeCompare(c.usernameHash[:], p.usernameHash[:])
	samePassword := subtle.ConstantTimeCompare(c.passwordHash[:], p.passwordHash[:])
	secret := wantsSecret && p.basic && sameName&samePassword == 1
	certificate := wantsCertificate && p.certificate != nil && names(p.certificate, c.CertificateSAN)
	if wantsSecret && wantsCertificate {
		return secret && certificate, secret != certificate
	}
	return secret || certificate, false
}

// trusted is the weakest way, for an environment that it was switched on for: its own path and a trusted address.
func trusted(callers []caller, p peer, reason refusal) (*caller, refusal) {
	for i := range callers {
		c := &callers[i]
		if !c.TrustAddress || c.plugin != p.plugin {
			continue
		}
		if c.allows(p.address) {
			return c, ""
		}
		return nil, untrustedPath
	}
	return nil, reason
}

func (c *caller) allows(a netip.Addr) bool {
	return len(c.AllowFrom) == 0 || slices.ContainsFunc(c.AllowFrom, func(p netip.Prefix) bool { return p.Contains(a) })
}

// names tells whether a certificate names san as a DNS name, URI or e-mail address. Wildcards and common names do not
// count: an environment is one name.
func names(c *x509.Certificate, san string) bool {
	for _, dns := range c.DNSNames {
		if lower(dns) == lower(san) {
			return true
		}
	}
	for _, u := range c.URIs {
		if u.String() == san {
			return true
		}
	}
	return slices.Contains(c.EmailAddresses, san)
}

// limiter lets a few events through each second and counts the others, so that a stranger cannot fill log and journal.
type limiter struct {
	mu      sync.Mutex
	second  time.Time
	passed  int
	dropped int
}

const eventsPerSecond = 5

// allow tells whether to report an event, and how many were not since the last one that was.
func (l *limiter) allow(now time.Time) (ok bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Truncate(time.Second); !second.Equal(l.second) {
		l.second, l.passed = second, 0
	}
	if l.passed == eventsPerSecond {
		l.dropped++
		return false, 0
	}
	l.passed++
	dropped, l.dropped = l.dropped, 0
	return true, dropped
}
