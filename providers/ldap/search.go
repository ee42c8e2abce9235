package ldap

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// searching runs a question over service-bound connections, on the first server that answers. A question that finds its
// idle connection dead before any byte of an answer is put once more, on a fresh connection to the same server.
func (d *directory) searching(ctx context.Context, ask func(context.Context, *conn) error) error {
	return d.searchingFor(ctx, d.config.RequestTimeout, ask)
}

// searchingFor is searching with another deadline, for questions of many requests.
func (d *directory) searchingFor(ctx context.Context, atMost time.Duration, ask func(context.Context, *conn) error) error {
	list, err := d.list(ctx)
	if err != nil {
		return err
	}
	return list.each(ctx, func(s *server) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, atMost)
		defer cancel()
		stale, err := s.ask(ctx, ask, false)
		if stale {
			_, err = s.ask(ctx, ask, true)
		}
		return answered(err), err
	})
}

// answered tells whether the outcome of a search is final. A server that is busy, broken or misconfigured decided
// nothing: searches change nothing, so another server may be asked.
func answered(err error) bool {
	return err == nil || authn.KindOf(err) != authn.Unavailable
}

func (s *server) ask(ctx context.Context, ask func(context.Context, *conn) error, fresh bool) (stale bool, err error) {
	c, err := s.searches.get(ctx, fresh)
	if err != nil {
		return false, err
	}
	defer s.searches.put(c)
	reused := c.reused
	err = ask(ctx, c)
	stale = err != nil && reused && c.broken && !c.stream.received() && ctx.Err() == nil
	return stale, err
}

// search runs one search on c. Errors have a Kind; a result code of the server that the caller may want to judge is found
// with resultCode.
func (c *conn) search(ctx context.Context, r *goldap.SearchRequest) (*goldap.SearchResult, error) {
	r.DerefAliases, r.EnforceSizeLimit = goldap.NeverDerefAliases, true
	var result *goldap.SearchResult
	err := c.do(ctx, func() (err error) {
		result, err = c.Search(r)
		return err
	})
	if err == nil || errors.Is(err, goldap.ErrSizeLimitExceeded) {
		return result, err
	}
	if _, ok := resultCode(err); ok {
		return result, err
	}
	return nil, fromNetwork(ctx, c, err)
}

// findEntry finds the one entry that the user filter matches.
func (d *directory) findEntry(ctx context.Context, c *conn, username string) (*goldap.Entry, error) {
	return d.findOne(ctx, c, d.userFilter(username), d.wanted)
}

func (d *directory) userFilter(username string) string {
	return strings.ReplaceAll(d.config.UserFilter, "{0}", goldap.EscapeFilter(username))
}

// findOne finds the one entry that a filter matches.
func (d *directory) findOne(ctx context.Context, c *conn, filter string, attributes []string) (*goldap.Entry, error) {
	found, err := d.find(ctx, c, filter, 2, attributes)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, authn.Errorf(authn.BadCredentials, reasonUnknownUser, "the filter finds no entry")
	case len(found) > 1:
		one, other := found[0].DN, found[1].DN // in any order, but told in one
		return nil, authn.Errorf(authn.BadCredentials, reasonAmbiguousUser, "the filter finds several entries, %q and %q",
			min(one, other), max(one, other))
	}
	return found[0], nil
}

// find finds the entries that a filter matches, and no more than limit.
func (d *directory) find(
	ctx context.Context, c *conn, filter string, limit int, attributes []string,
) ([]*goldap.Entry, error) {
	result, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN: d.config.BaseDN, Scope: scopes[d.config.Scope], SizeLimit: limit, Filter: filter, Attributes: attributes,
	})
	code, isAnswer := resultCode(err)
	switch {
	case errors.Is(err, goldap.ErrSizeLimitExceeded), isAnswer && code == goldap.LDAPResultSizeLimitExceeded:
		return nil, authn.Errorf(authn.BadCredentials, reasonAmbiguousUser, "the filter finds more than %d entries", limit)
	case isAnswer:
		return nil, fromResult(c.server.url, err)
	case err != nil:
		return nil, err
	}
	for _, e := range result.Entries {
		if !d.holds(e.DN) {
			return nil, authn.Errorf(authn.Unavailable, reasonBadAnswer, "%s answered with an entry %q that is not under base_dn",
				c.server.url, e.DN)
		}
	}
	return result.Entries, nil
}

// holds tells whether an entry of that name is under base_dn. Where the name ends just as base_dn is written, and nothing
// before that could make its comma part of a value, there is no need to take it apart.
func (d *directory) holds(name string) bool {
	before, ok := strings.CutSuffix(name, ","+d.config.BaseDN)
	if ok && d.config.BaseDN != "" && strings.Contains(before, "=") && !strings.ContainsAny(before, `\"`) {
		return true
	}
	dn, err := goldap.ParseDN(name)
	return err == nil && within(d.base, dn)
}

func within(base, dn *goldap.DN) bool {
	return len(dn.RDNs) > 0 && (base.EqualFold(dn) || base.AncestorOfFold(dn))
}

// account makes an Account of an entry, without groups.
func (d *directory) account(e *goldap.Entry, username string) (authn.Account, error) {
	subject, err := d.subject(e)
	if err != nil {
		return authn.Account{}, err
	}
	a := d.config.Attributes
	return authn.Account{Ref: e.DN, Identity: authn.Identity{
		Provider: d.id, Subject: subject, Username: spelled(e.GetEqualFoldAttributeValues(a.Username), username),
		Name: e.GetEqualFoldAttributeValue(a.Name), Email: e.GetEqualFoldAttributeValue(a.Email),
	}}, nil
}

// subject is the entry's stable id: text as it is, anything else in hexadecimal.
func (d *directory) subject(e *goldap.Entry) (string, error) {
	values := e.GetEqualFoldRawAttributeValues(d.config.Attributes.Subject)
	if len(values) != 1 || len(values[0]) == 0 {
		return "", authn.Errorf(authn.Unavailable, reasonConfig, "%q has %d values of %q instead of one: check attributes.subject "+
			"and that the service account may read it", e.DN, len(values), d.config.Attributes.Subject)
	}
	if !utf8.Valid(values[0]) {
		return hex.EncodeToString(values[0]), nil
	}
	return string(values[0]), nil
}

// spelled chooses the directory's spelling of what was typed. LDAP gives several values in no order.
func spelled(values []string, typed string) string {
	for _, v := range values {
		if strings.EqualFold(v, typed) {
			return v
		}
	}
	if len(values) == 1 {
		return values[0]
	}
	return typed
}

// readEntry reads one entry by its DN; found is false when it is not there or does not match the filter.
func (c *conn) readEntry(ctx context.Context, dn, filter string, attributes ...string) (e *goldap.Entry, found bool, err error) {
	result, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN: dn, Scope: goldap.ScopeBaseObject, SizeLimit: 1, Filter: filter, Attributes: attributes,
	})
	code, isAnswer := resultCode(err)
	switch {
	case isAnswer && code == goldap.LDAPResultNoSuchObject:
		return nil, false, nil
	case isAnswer:
		return nil, false, fromResult(c.server.url, err)
	case errors.Is(err, goldap.ErrSizeLimitExceeded):
		return nil, false, authn.Errorf(authn.Unavailable, reasonBadAnswer, "%s found several entries of one DN", c.server.url)
	case err != nil:
		return nil, false, err
	case len(result.Entries) == 0:
		return nil, false, nil
	}
	return result.Entries[0], true, nil
}
