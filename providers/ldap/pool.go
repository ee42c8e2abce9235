package ldap

import (
	"context"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// How long an idle connection is trusted. A search on a stale connection is simply repeated on a fresh one. A bind never
// is, as it may have been counted: so its connections are replaced long before a firewall would have forgotten them.
const (
	searchIdle = 15 * time.Minute
	bindIdle   = time.Minute
)

// pool lends connections to one server, each to one caller at a time, and makes them when there is none.
type pool struct {
	open    func(context.Context) (*conn, error)
	maxIdle time.Duration
	slots   chan struct{} // one per connection that may exist

	mu     sync.Mutex
	idle   []*conn // the last used is the last
	closed bool
}

func newPool(size int, maxIdle time.Duration, open func(context.Context) (*conn, error)) *pool {
	return &pool{open: open, maxIdle: maxIdle, slots: make(chan struct{}, size)}
}

// get lends a connection; fresh asks for one that was never idle. Every conn must come back through put.
func (p *pool) get(ctx context.Context, fresh bool) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, authn.Errorf(authn.Unavailable, reasonBusy, "all %d connections are in use: %w",
				cap(p.slots), context.Cause(ctx))
		}
	}
	if !fresh {
		if c := p.take(); c != nil {
			return c, nil
		}
	}
	c, err := p.open(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// take finds an idle connection and drops those that are over.
func (p *pool) take() (found *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := time.Now().Add(-p.maxIdle)
	for n := len(p.idle); n > 0 && found == nil; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if c.usable() && c.idleSince.After(oldest) {
			found = c
		} else {
			c.abort()
		}
	}
	for len(p.idle) > 0 && !p.idle[0].idleSince.After(oldest) {
		p.idle[0].abort()
		p.idle = p.idle[1:]
	}
	return found
}

// put takes a connection back, and closes it if something went wrong on it.
func (p *pool) put(c *conn) {
	c.reused, c.idleSince = true, time.Now()
	p.mu.Lock()
	if c.usable() && !p.closed {
		p.idle = append(p.idle, c)
	} else {
		c.abort()
	}
	p.mu.Unlock()
	<-p.slots
}

// drain closes idle connections; those lent out are closed when they come back if the pool is to end.
func (p *pool) drain(end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.abort()
	}
	p.idle, p.closed = nil, p.closed || end
}
