// Package ldap proves passwords against an LDAP directory: it searches the user with a service account and binds as the
// entry that came back.
//
// It owns what is particular to LDAP: connections and their pools, fail-over between servers, deadlines, filters, groups
// and the password policy control. It leaves to package authn whether an attempt is allowed at all (throttle), what a
// refusal may reveal, and who the IT user is. It speaks the protocol through go-ldap only.
package ldap

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// recheckAfter is how old the knowledge that a DN is a subject may be when a bind succeeds. A cached account that is older
// is read again after the bind: its entry may have been deleted, and the DN given to another person, whose password has
// just been proven. A replicated directory needs as long to agree with itself, so a search would not be surer than this.
// Who wants one for every sign-in all the same sets a negative cache_ttl.
const recheckAfter = 10 * time.Second

// directory is a configured LDAP directory. It is safe for concurrent use.
type directory struct {
	id      string
	config  Config
	base    *goldap.DN
	wanted  []string // attributes of a user's entry
	servers servers  // as configured
	located *located // instead of servers, where a dialect finds them
	cache   *cache
	seen    sightings
}

// New makes a provider of a directory. It reads the certificate files and reports every mistake in cfg at once, naming
// the YAML key; it dials nothing, so a directory that is down does not keep idbridge from starting.
//
// Errors of the provider have the Kinds BadCredentials, Locked and Unavailable; docs/errors.md lists the reasons.
func New(id, label string, cfg Config, route authn.Route) (authn.Provider, error) {
	match, routeErr := route.Matcher()
	d, err := open(id, cfg)
	if err := errors.Join(routeErr, err); err != nil {
		return authn.Provider{}, err
	}
	p := authn.Provider{
		ID: id, Label: label, Match: match, Password: d, Lookup: d.Lookup,
		Explain: d.Explain, Members: d.Members, Check: d.Check, Inspect: d.Inspect, GroupRule: d.config.Groups.rule,
		Close: (&Directory{d}).Close, Ends: (&Directory{d}).Ends,
	}
	if cfg.ChangePassword {
		p.ChangePassword = d.ChangePassword
	}
	return p, nil
}

func open(id string, cfg Config) (*directory, error) {
	endpoints, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	d := &directory{id: id, config: cfg, cache: newCache(id, cfg.CacheTTL)}
	d.base, _ = goldap.ParseDN(cfg.BaseDN) // prepare has parsed it
	a := cfg.Attributes
	d.wanted = []string{a.Subject, a.Username, a.Name, a.Email}
	if cfg.Groups.Source == groupsMemberOf {
		d.wanted = append(d.wanted, cfg.Groups.Attribute)
	}
	if cfg.dialect.Servers != nil {
		t, _ := cfg.tlsConfig() // prepare has checked it
		d.located = &located{config: &d.config, tls: t}
	}
	for _, e := range endpoints {
		d.servers = append(d.servers, newServer(e, &d.config))
	}
	return d, nil
}

// Find searches the account behind a user name, or remembers it from less than cache_ttl ago. It implements
// authn.PasswordProvider.
func (d *directory) Find(ctx context.Context, username string) (authn.Account, error) {
	if err := checkName(username); err != nil {
		return authn.Account{}, d.by(err)
	}
	if a, ok := d.cache.find(username); ok {
		return a, nil
	}
	a, err := d.search(ctx, username)
	if err != nil {
		return authn.Account{}, d.by(err)
	}
	d.cache.add(username, a)
	return a, nil
}

// checkName refuses what a directory's matching rules may read as another name: they skip spaces at the ends, and what
// they do to control characters differs. Package authn refuses more.
func checkName(username string) error {
	if username == "" || !utf8.ValidString(username) || strings.TrimSpace(username) != username ||
		strings.ContainsFunc(username, unicode.IsControl) {
		return &authn.Error{Kind: authn.BadCredentials, Reason: reasonMalformedName}
	}
	return nil
}

// search asks the directory for the account and its groups, on one connection.
func (d *directory) search(ctx context.Context, username string) (a authn.Account, err error) {
	err = d.searching(ctx, func(ctx context.Context, c *conn) (err error) {
		a, err = d.searchOn(ctx, c, username)
		return err
	})
	return a, err
}

func (d *directory) searchOn(ctx context.Context, c *conn, username string) (authn.Account, error) {
	e, err := d.findEntry(ctx, c, username)
	if err != nil {
		return authn.Account{}, err
	}
	a, err := d.account(e, username)
	if err != nil {
		return authn.Account{}, err
	}
	a.Groups, err = d.groups(ctx, c, e, a.Username)
	return a, err
}

// Verify binds as the account, once. It implements authn.PasswordProvider.
func (d *directory) Verify(ctx context.Context, account authn.Account, password authn.Secret) (authn.Identity, error) {
	if err := CheckBind(account.Ref, password); err != nil {
		return authn.Identity{}, d.by(err)
	}
	if err := d.settle(ctx, account, d.bind(ctx, account.Ref, password)); err != nil {
		return authn.Identity{}, d.by(err)
	}
	id := account.Identity
	id.Factors = []string{authn.FactorPassword}
	return id, nil
}

// CheckBind refuses what would bind anonymously, and succeed: RFC 4513 section 5.1.2.
func CheckBind(dn string, password authn.Secret) error {
	switch {
	case password == "":
		return &authn.Error{Kind: authn.BadCredentials, Reason: reasonEmptyPassword}
	case strings.ContainsRune(password.Reveal(), 0):
		return &authn.Error{Kind: authn.BadCredentials, Reason: reasonMalformedPass}
	case dn == "":
		return authn.Errorf(authn.Internal, "bad_account", "the account has no DN")
	}
	return nil
}

// bind proves a password on a connection that is used for nothing but binds. The question is put once: a bind whose
// answer is lost may have been counted by the directory, so it is repeated neither here nor on another server. Only a
// connection that could not be made leads to the next server.
func (d *directory) bind(ctx context.Context, dn string, password authn.Secret) error {
	list, err := d.list(ctx)
	if err != nil {
		return err
	}
	return list.each(ctx, func(s *server) (asked bool, err error) {
		ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
		defer cancel()
		c, err := s.binds.get(ctx, false)
		if err != nil {
			return false, err
		}
		defer s.binds.put(c)
		var result *goldap.SimpleBindResult
		err = c.do(ctx, func() (err error) {
			result, err = c.SimpleBind(&goldap.SimpleBindRequest{Username: dn, Password: password.Reveal(), Controls: policyRequest})
			return err
		})
		if _, answered := resultCode(err); err != nil && !answered {
			return true, fromNetwork(ctx, c, err)
		}
		return true, d.config.dialect.outcome(s.url, result, err)
	})
}

// settle judges the outcome of a bind by what the directory says of the entry now.
//
// Where the account came out of the cache, the entry may have been renamed or replaced since the search. Then neither
// success nor refusal is about the account that was found: the outcome is Unavailable, which counts as nothing, and the
// next attempt searches anew.
func (d *directory) settle(ctx context.Context, account authn.Account, outcome error) error {
	refused := authn.KindOf(outcome) == authn.BadCredentials
	if outcome != nil && !refused {
		return outcome
	}
	age, cached := d.cache.age(account)
	if refused {
		d.cache.drop(account)
	}
	if cached && (refused || age > recheckAfter) {
		if err := d.recheck(ctx, account); err != nil {
			return err
		}
	}
	if outcome == nil && d.config.DisabledFilter != "" {
		return d.checkEnabled(ctx, account.Ref)
	}
	return outcome
}

// recheck tells whether the account's DN still is the account's subject.
func (d *directory) recheck(ctx context.Context, account authn.Account) error {
	var subject string
	err := d.searching(ctx, func(ctx context.Context, c *conn) error {
		e, found, err := c.readEntry(ctx, account.Ref, "(objectClass=*)", d.config.Attributes.Subject)
		if err != nil || !found {
			return err
		}
		subject, err = d.subject(e)
		return err
	})
	if err != nil {
		return err
	}
	if subject != account.Subject {
		d.cache.drop(account)
		return authn.Errorf(authn.Unavailable, reasonChanged, "%q is not the entry any more that was found", account.Ref)
	}
	d.cache.confirm(account)
	return nil
}

// checkEnabled asks whether the entry matches disabled_filter.
func (d *directory) checkEnabled(ctx context.Context, dn string) error {
	return d.searching(ctx, func(ctx context.Context, c *conn) error {
		_, disabled, err := c.readEntry(ctx, dn, d.config.DisabledFilter, "1.1")
		if err == nil && disabled {
			return authn.Errorf(authn.Locked, reasonDisabled, "the entry matches disabled_filter")
		}
		return err
	})
}

// Lookup finds an account whose name a web server in front has vouched for, and re-checks its state at the directory. It
// never answers from the cache. An account that the directory locked counts as locked until the directory clears
// pwdAccountLockedTime: when the lock ends by itself is not visible without the policy. That a password has expired is
// visible nowhere before a bind; use disabled_filter for what else must keep users out.
func (d *directory) Lookup(ctx context.Context, username string) (authn.Identity, error) {
	if err := checkName(username); err != nil {
		return authn.Identity{}, d.by(err)
	}
	a, err := d.search(ctx, username)
	if err == nil {
		err = d.checkState(ctx, a.Ref)
	}
	if err == nil && d.config.DisabledFilter != "" {
		err = d.checkEnabled(ctx, a.Ref)
	}
	if err != nil {
		return authn.Identity{}, d.by(err)
	}
	return a.Identity, nil
}

// checkState reads the operational attributes of the password policy overlay.
func (d *directory) checkState(ctx context.Context, dn string) error {
	return d.searching(ctx, func(ctx context.Context, c *conn) error {
		e, found, err := c.readEntry(ctx, dn, "(objectClass=*)", attrLockedTime, attrReset)
		switch {
		case err != nil:
			return err
		case !found:
			return authn.Errorf(authn.BadCredentials, reasonUnknownUser, "the entry is gone")
		}
		return stateOf(e)
	})
}

// stateOf is what the password policy overlay says of an entry.
func stateOf(e *goldap.Entry) error {
	switch {
	case e.GetEqualFoldAttributeValue(attrLockedTime) != "":
		return authn.Errorf(authn.Locked, reasonLocked, "%s is set", attrLockedTime)
	case strings.EqualFold(e.GetEqualFoldAttributeValue(attrReset), "TRUE"):
		return authn.Errorf(authn.Locked, reasonMustChange, "%s is set", attrReset)
	}
	return nil
}

// by names the provider in an error.
func (d *directory) by(err error) error {
	var e *authn.Error
	if !errors.As(err, &e) {
		e = authn.Errorf(authn.Unavailable, reasonUnreachable, "%w", err)
	}
	named := *e // errors of a skipped server are shared between callers
	named.Provider = d.id
	return &named
}
