package ldap

import (
	"context"
	"strings"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// ChangePassword replaces the password of an account that Find returned, as its owner: it binds with the current one and
// asks for the modification of RFC 3062 on that same connection. It implements authn.Provider, where change_password is
// on.
//
// A server that lets nobody in with an expired password, not even to change it, makes that Locked. An error of the Kind
// Unavailable does not say whether the password was changed.
func (d *directory) ChangePassword(ctx context.Context, account authn.Account, current, next authn.Secret) error {
	err := CheckBind(account.Ref, current)
	if err == nil {
		err = checkNext(next)
	}
	if err == nil {
		err = d.mayChange(ctx, account)
	}
	if err == nil {
		err = d.change(ctx, account.Ref, current, next)
	}
	if err != nil {
		return d.by(err)
	}
	return nil
}

// checkNext refuses what is no password. An empty one would make the server choose one, RFC 3062 section 2.
func checkNext(next authn.Secret) error {
	text := next.Reveal()
	if text == "" || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return &authn.Error{Kind: authn.Unsuitable, Reason: reasonMalformedPass}
	}
	return nil
}

// mayChange makes sure that the entry still is the account, and is not disabled: a password of it would be of no use.
func (d *directory) mayChange(ctx context.Context, account authn.Account) error {
	if err := d.recheck(ctx, account); err != nil {
		return err
	}
	if d.config.DisabledFilter == "" {
		return nil
	}
	return d.checkEnabled(ctx, account.Ref)
}

// change binds and modifies on a connection of its own, once.
func (d *directory) change(ctx context.Context, dn string, current, next authn.Secret) error {
	list, err := d.list(ctx)
	if err != nil {
		return err
	}
	return list.each(ctx, func(s *server) (asked bool, err error) {
		ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
		defer cancel()
		c, err := s.binds.get(ctx, true)
		if err != nil {
			return false, err
		}
		c.broken = true // no other user's bind comes after this one
		defer s.binds.put(c)
		return true, d.changeOn(ctx, c, dn, current, next)
	})
}

func (d *directory) changeOn(ctx context.Context, c *conn, dn string, current, next authn.Secret) error {
	request := &goldap.SimpleBindRequest{Username: dn, Password: current.Reveal(), Controls: policyRequest}
	var bound *goldap.SimpleBindResult
	err := c.do(ctx, func() (err error) {
		bound, err = c.SimpleBind(request)
		return err
	})
	if err != nil {
		if _, answered := resultCode(err); !answered {
			return fromNetwork(ctx, c, err)
		}
		return d.config.dialect.outcome(c.server.url, bound, err)
	}
	err = c.do(ctx, func() error {
		_, err := c.PasswordModify(goldap.NewPasswordModifyRequest("", current.Reveal(), next.Reveal()))
		return err
	})
	if err == nil {
		return nil
	}
	code, answered := resultCode(err)
	switch {
	case !answered:
		return fromNetwork(ctx, c, err)
	case code == goldap.LDAPResultConstraintViolation:
		return authn.Errorf(authn.Unsuitable, reasonUnsuitable, "%s answered %s", c.server.url, describe(err))
	case code == goldap.LDAPResultProtocolError: // RFC 4511 section 4.12: an extended operation that it does not know
		return authn.Errorf(authn.Unavailable, reasonConfig, "%s does not change passwords as RFC 3062 says: switch "+
			"change_password off: %s", c.server.url, describe(err))
	case code == goldap.LDAPResultInsufficientAccessRights:
		return authn.Errorf(authn.Locked, reasonCannotChange, "%s answered %s", c.server.url, describe(err))
	}
	return fromResult(c.server.url, err)
}
