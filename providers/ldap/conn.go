package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// maxAnswer caps what a server may send for one request. The decoder needs many times as much memory as the bytes it
// reads; an entry and a page of groups need far less than this.
const maxAnswer = 1 << 20

// errTooMuch ends a connection whose server sends more than maxAnswer.
var errTooMuch = errors.New("ldap: answer too large")

// conn is a connection to one server. It is used by one caller at a time.
type conn struct {
	*goldap.Conn
	server    *server
	stream    *stream
	tcp       net.Conn
	broken    bool // not to be used again
	reused    bool // was idle in a pool before this use
	idleSince time.Time
}

// stream counts what was read since the last request, so that a server cannot make us read for ever.
type stream struct {
	net.Conn
	read    atomic.Int64
	overrun atomic.Bool
}

func (s *stream) Read(p []byte) (int, error) {
	if s.read.Load() >= maxAnswer {
		s.overrun.Store(true)
		return 0, errTooMuch
	}
	n, err := s.Conn.Read(p)
	s.read.Add(int64(n))
	return n, err
}

func (s *stream) received() bool { return s.read.Load() > 0 }

// dial connects, with TLS where configured, within ctx. Nothing is sent in clear unless the configuration says so.
func dial(ctx context.Context, s *server) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	d := net.Dialer{Resolver: s.config.dialect.Resolver}
	tcp, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, authn.Errorf(authn.Unavailable, reasonUnreachable, "%s: %w", s.url, err)
	}
	c := &conn{server: s, tcp: tcp, stream: &stream{Conn: tcp}}
	if s.secure {
		secured := tls.Client(tcp, s.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = tcp.Close()
			return nil, authn.Errorf(authn.Unavailable, reasonUnreachable, "%s: TLS: %w", s.url, err)
		}
		c.stream.Conn = secured
	}
	c.Conn = goldap.NewConn(c.stream, s.secure)
	c.Start()
	if !s.secure && s.config.StartTLS {
		if err := c.do(ctx, func() error { return c.StartTLS(s.tls) }); err != nil {
			c.abort()
			return nil, authn.Errorf(authn.Unavailable, reasonUnreachable, "%s: StartTLS: %w", s.url, err)
		}
	}
	return c, nil
}

// abort closes the connection at once, without a word to the server, whose silence may be the reason. No request may be
// under way. go-ldap's Close comes second: it ends go-ldap's goroutines, also after a refused StartTLS, which leaves one.
func (c *conn) abort() {
	c.broken = true
	_ = c.tcp.Close()
	_ = c.Close()
}

// do runs one request. When ctx ends first, the TCP connection is closed, so that the request fails at once: go-ldap
// takes no context.
func (c *conn) do(ctx context.Context, request func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.stream.read.Store(0)
	tcp := c.tcp
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	err := request()
	if !stop() {
		c.broken = true
	}
	if _, answered := resultCode(err); err != nil && !answered {
		c.broken = true
	}
	return err
}

// usable tells whether nothing is known against using the connection: the reader of go-ldap notices at once when the
// server closes it.
func (c *conn) usable() bool { return !c.broken && !c.IsClosing() }
