package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Ends tells when what we trust the servers by, and what we show them, ends, and the certificates of the servers that were
// visited within sightingsLast. The files are read anew: they may have been replaced.
func (d *Directory) Ends() []authn.End {
	return append(d.d.config.ends(), d.d.seen.ends(time.Now())...)
}

func (c Config) ends() (list []authn.End) {
	if at, ok := lastEnd(c.CAFile); ok {
		list = append(list, authn.End{What: "authorities in ca_file", At: at})
	}
	if pair, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile); c.ClientCertFile != "" && err == nil {
		list = append(list, authn.End{What: "client certificate", At: pair.Leaf.NotAfter})
	}
	return list
}

// lastEnd is when the last certificate of a file ends: until then one of them can vouch for a server.
func lastEnd(file string) (last time.Time, ok bool) {
	text, err := os.ReadFile(file)
	if file == "" || err != nil {
		return last, false
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.NotAfter.After(last) {
			last, ok = c.NotAfter, true
		}
	}
	return last, ok
}

// sightingsLast is how long a server that is not visited any more is told of: it may have been taken away.
const sightingsLast = 7 * 24 * time.Hour

// sightings are the certificates that servers have shown, by host. They are safe for concurrent use.
type sightings struct {
	mu     sync.Mutex
	byHost map[string]sighting
}

type sighting struct{ ends, at time.Time }

func (s *sightings) note(v Visit, at time.Time) {
	ends, _, ok := v.certificateEnd() // or that of an authority above it, where that is sooner
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byHost == nil {
		s.byHost = map[string]sighting{}
	}
	s.byHost[v.Host()] = sighting{ends, at}
}

func (s *sightings) ends(now time.Time) (list []authn.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for host, one := range s.byHost {
		if now.Sub(one.at) < sightingsLast {
			list = append(list, authn.End{What: "certificate shown by " + host, At: one.ends})
		}
	}
	return list
}
