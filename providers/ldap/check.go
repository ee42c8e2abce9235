package ldap

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// nobody is a user name for searches that are made to see whether searching works.
const nobody = "idbridge-check-nobody"

// Check tries every server, also those that sign-ins skip now: connection, TLS, service account, base DN and one search.
// The error has one line per server with a problem, and says what to do about it.
func (d *directory) Check(ctx context.Context) error {
	list, err := d.list(ctx)
	if err != nil {
		return d.by(err)
	}
	problems := make([]error, len(list))
	var wg sync.WaitGroup
	for i, s := range list {
		wg.Go(func() { problems[i] = d.checkServer(ctx, s) })
	}
	wg.Wait()
	if err := errors.Join(problems...); err != nil {
		return &authn.Error{Kind: authn.Unavailable, Reason: authn.ReasonOf(err), Provider: d.id, Err: err}
	}
	return nil
}

// checkServer visits a server. One that has just refused the service account is left alone: probes of our own health
// must not lock it.
func (d *directory) checkServer(ctx context.Context, s *server) error {
	now := time.Now()
	if err := s.refusedUs(now); err != nil {
		return err
	}
	err := d.visit(ctx, s, nil).Err
	if authn.ReasonOf(err) == reasonServiceAccount {
		s.failed(err, now)
	}
	return err
}

// probe asks what every sign-in asks.
func (d *directory) probe(ctx context.Context, c *conn) error {
	_, found, err := c.readEntry(ctx, d.config.BaseDN, "(objectClass=*)", "1.1")
	if err != nil {
		return err
	}
	if !found {
		return authn.Errorf(authn.Unavailable, reasonConfig, "%s: base_dn %q does not exist or the service account may not read it: "+
			"correct base_dn, or grant bind_dn read access", c.server.url, d.config.BaseDN)
	}
	if _, err := d.findEntry(ctx, c, nobody); err != nil && authn.ReasonOf(err) != reasonUnknownUser {
		return fmt.Errorf("%w: a search for a user that does not exist should find nothing: check user_filter and scope", err)
	}
	return nil
}

// advise adds what to do to the errors of connecting.
func advise(s *server, err error) error {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	advice := "is the server running, and does a firewall let idbridge through?"
	switch {
	case authn.ReasonOf(err) != reasonUnreachable:
		return err
	case errors.As(err, &authority):
		advice = "set ca_file to the authority that signed the server's certificate"
	case errors.As(err, &name):
		advice = "use the name in the certificate in urls, or set server_name to it"
	case s.secure || s.config.StartTLS:
		advice += " Does it offer TLS 1.2 or later on this port?"
	}
	return fmt.Errorf("%w: %s", err, advice)
}
