package ldap

import (
	"context"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// exchange is Directory.Exchange. The connection is a new one: an idle one may have died unnoticed, and the request must
// not be repeated to find out.
func (d *directory) exchange(ctx context.Context, dn, attribute string, old, next authn.Secret) error {
	list, err := d.list(ctx)
	if err != nil {
		return err
	}
	return list.each(ctx, func(s *server) (decided bool, err error) {
		if !s.secure && !s.config.StartTLS {
			return true, authn.Errorf(authn.Unavailable, reasonConfig, "%s: a password does not travel in clear", s.url)
		}
		ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
		defer cancel()
		c, err := s.searches.get(ctx, true)
		if err != nil {
			return false, err
		}
		c.broken = true // and closed afterwards: the pool has its own
		defer s.searches.put(c)
		request := goldap.NewModifyRequest(dn, nil)
		request.Delete(attribute, []string{old.Reveal()})
		request.Add(attribute, []string{next.Reveal()})
		err = c.do(ctx, func() error { return c.Modify(request) })
		if err == nil {
			return true, nil
		}
		if _, answered := resultCode(err); !answered {
			return true, fromNetwork(ctx, c, err)
		}
		return d.config.dialect.unchanged(s.url, err)
	})
}
