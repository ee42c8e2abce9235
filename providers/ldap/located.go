package ldap

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"

	"github.com/idbridge/idbridge/authn"
)

// located are servers that are not configured but found, and may change while the program runs. One that stays keeps
// its connections and its history.
type located struct {
	config *Config
	tls    *tls.Config

	mu      sync.Mutex
	servers servers
}

// list are the servers to ask now, in order of preference, and at least one: nobody asked must not read as nobody
// objected.
func (d *directory) list(ctx context.Context) (servers, error) {
	if d.located == nil {
		return d.servers, nil
	}
	urls, err := d.config.dialect.Servers(ctx)
	if err != nil {
		return nil, err
	}
	if len(urls) == 0 {
		return nil, authn.Errorf(authn.Unavailable, reasonUnreachable, "no server is known")
	}
	return d.located.update(urls)
}

// update takes over a new list. Those that are gone finish what they are doing.
func (l *located) update(urls []string) (servers, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next servers
	for _, u := range urls {
		at := slices.IndexFunc(l.servers, func(s *server) bool { return s.url == u })
		if at >= 0 {
			next = append(next, l.servers[at])
			continue
		}
		e, _, err := parseURL(u)
		if err != nil {
			return nil, authn.Errorf(authn.Unavailable, reasonConfig, "server %q: %w", u, err)
		}
		e.tls = withServerName(l.tls, l.config.ServerName, e.address)
		next = append(next, newServer(e, l.config))
	}
	for _, s := range l.servers {
		if !slices.Contains(next, s) {
			servers{s}.close()
		}
	}
	l.servers = next
	return next, nil
}

func (l *located) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers.close()
}
