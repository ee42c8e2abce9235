// Package activedirectory proves passwords against an Active Directory domain, or the domains of a forest.
//
// It owns what is particular to that product: how a user may be written (UPN, DOMAIN\user), what a refusal and an
// account's attributes mean, the domain's lock-out policy and security groups. It leaves connections, fail-over, TLS
// and the protocol to package ldap, and to package authn whether an attempt is allowed and what a refusal may
// reveal.
package activedirectory

import (
	"context"
	"errors"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// domain is a configured domain. It is safe for concurrent use.
type domain struct {
	id        string
	config    Config
	root      string // DN of the domain
	names     names
	directory *ldap.Directory
	memory    *ldap.Directory // remembers the accounts: the directory of the provider's first domain
	held      *groupMemory
	first     *domain // of the provider, whose groups have plain names
	forest    *forest // nil: this domain is all
	trusting  []*domain
	policies  *policies
	readings  *readings
	groups    *groupNames
	access    access
	now       func() time.Time
}

// New makes a provider of a domain. It reads the certificate files and reports every mistake in cfg at once, naming the
// YAML key; it dials nothing.
//
// Errors of the provider have the Kinds BadCredentials, Locked and Unavailable, and of ChangePassword also Unsuitable;
// docs/errors.md lists the reasons.
func New(id, label string, cfg Config, route authn.Route) (authn.Provider, error) {
	match, routeErr := route.Matcher()
	d, err := open(id, cfg)
	if err := errors.Join(routeErr, err); err != nil {
		return authn.Provider{}, err
	}
	return authn.Provider{
		ID: id, Label: label, Match: match, Password: d, ChangePassword: d.ChangePassword, Lookup: d.Lookup,
		Explain: d.Explain, Members: d.Members, Check: d.Check, Inspect: d.Inspect, GroupRule: d.config.Groups.rule,
		Close: d.close, Ends: d.ends,
	}, nil
}

func open(id string, cfg Config) (*domain, error) {
	problems := cfg.prepare()
	d := &domain{id: id, config: cfg, root: domainDN(cfg.Domain), now: time.Now}
	dialect := ldap.Dialect{AnyBindName: true, SubtreeRefers: true, Refused: refused, Unchanged: unchanged,
		Resolver: resolver(cfg.DNSServers)}
	if len(cfg.URLs) == 0 {
		dialect.Servers = newLocator(cfg, dialect.Resolver, d.clock).servers
	}
	directory, err := ldap.Open(id, cfg.ldap(), dialect)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	d.directory, d.memory = directory, directory
	d.names = names{domain: cfg.Domain, short: cfg.NetBIOSNames, suffixes: cfg.UPNSuffixes, email: cfg.SignInByEmail}
	d.access = access{allow: cfg.AllowGroups, deny: cfg.DenyGroups}
	d.policies, d.readings, d.groups = newPolicies(d.clock), newReadings(d.clock), newGroupNames(d.clock)
	d.first, d.held = d, newGroupMemory(cfg.CacheTTL, d.clock)
	return d, d.openOthers()
}

// close closes the idle connections to all servers, and those in use when they are no longer.
func (d *domain) close() {
	for _, one := range append(d.others(), d) {
		one.directory.Close()
	}
	if d.forest != nil {
		d.forest.catalogue.Close()
	}
}

// clock is now, also after a test has set another one.
func (d *domain) clock() time.Time { return d.now() }

// Find searches the account behind a name in any of its spellings, or remembers it from less than cache_ttl ago. It
// implements authn.PasswordProvider. What it finds of the account's state is not told before a password was proven.
func (d *domain) Find(ctx context.Context, username string) (authn.Account, error) {
	if a, ok := d.memory.Recall(username); ok {
		return a, nil
	}
	asked := d.now()
	a, state, err := d.search(ctx, username)
	if err != nil {
		return authn.Account{}, err
	}
	d.memory.Remember(username, a)
	d.readings.keep(a.Subject, state, asked)
	return a, nil
}

// search asks for the account, its state and its groups.
func (d *domain) search(ctx context.Context, username string) (a authn.Account, s state, err error) {
	name, err := d.understand(username)
	if err != nil {
		return a, s, d.directory.By(err)
	}
	home, at, err := d.locate(ctx, name)
	if err != nil {
		return a, s, d.directory.By(err)
	}
	err = home.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) (err error) {
		a, s, err = home.searchOn(ctx, on, name, at)
		return err
	})
	return a, s, err
}

// searchOn asks one domain controller. at is what the catalogue of a forest knows of the account already, or nil.
func (d *domain) searchOn(
	ctx context.Context, on *ldap.Session, name name, at *place,
) (a authn.Account, s state, err error) {
	if at != nil {
		return d.readAt(ctx, on, *at)
	}
	e, err := on.FindOne(ctx, name.filter, append(identityAttributes(), stateAttributes()...)...)
	if err != nil {
		return a, s, err
	}
	if err := name.fits(e); err != nil {
		return a, s, err
	}
	return d.read(ctx, on, e, false)
}

// read makes an account of an entry. It asks for the groups unless they are remembered; withTokens says that their SIDs
// came with the entry.
func (d *domain) read(
	ctx context.Context, on *ldap.Session, e ldap.Entry, withTokens bool,
) (a authn.Account, s state, err error) {
	if a, err = d.account(e); err != nil {
		return a, s, err
	}
	if s, err = readState(e); err != nil {
		return a, s, err
	}
	groups, held := d.held.recall(a.Subject)
	if !held {
		if groups, err = d.groupsOf(ctx, on, e, withTokens); err != nil {
			return a, s, err
		}
		d.held.keep(a.Subject, groups)
	}
	a.Groups = groups
	return a, s, nil
}

// Verify binds as the account, once, unless one more wrong password could lock it. It implements
// authn.PasswordProvider.
func (d *domain) Verify(ctx context.Context, account authn.Account, password authn.Secret) (authn.Identity, error) {
	if err := ldap.CheckBind(account.Ref, password); err != nil {
		return authn.Identity{}, d.directory.By(err)
	}
	home, err := d.homeOf(account)
	if err != nil {
		return authn.Identity{}, err
	}
	if _, err := home.mayTry(ctx, account); err != nil {
		return authn.Identity{}, err
	}
	err = home.directory.Bind(ctx, account.Ref, password)
	d.readings.tried(account.Subject)
	if err != nil {
		return authn.Identity{}, err
	}
	if err := d.access.check(account.Groups); err != nil {
		return authn.Identity{}, d.directory.By(err)
	}
	id := account.Identity
	id.Factors = []string{authn.FactorPassword}
	return id, nil
}

// homeOf is the domain of an account that Find returned.
func (d *domain) homeOf(account authn.Account) (*domain, error) {
	if home := d.home(account.Ref); home != nil {
		return home, nil
	}
	return nil, d.directory.By(authn.Errorf(authn.Internal, "bad_account", "%q is in no domain of ours", account.Ref))
}

// mayTry reads how many wrong passwords the account has left. The reading that came with the search serves one attempt;
// any other attempt reads anew, and learns with it whether the DN still is the account that was found.
func (d *domain) mayTry(ctx context.Context, account authn.Account) (state, error) {
	s, fresh := d.readings.take(account.Subject)
	limit, known := d.policies.recall(d.root, s)
	var err error
	if !fresh || !known {
		err = d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) (err error) {
			if !fresh {
				if s, err = d.stateNow(ctx, on, account); err != nil {
					return err
				}
			}
			limit, err = d.policies.of(ctx, on, d.root, s)
			return err
		})
	}
	if err == nil {
		err = d.directory.By(s.mayTry(limit, d.config.LockoutMargin, d.now()))
	}
	return s, err
}

// stateNow reads the state of an account that was found earlier.
func (d *domain) stateNow(ctx context.Context, on *ldap.Session, account authn.Account) (state, error) {
	e, found, err := on.Read(ctx, account.Ref, append(stateAttributes(), attrGUID)...)
	if err != nil {
		return state{}, err
	}
	subject := ""
	if found {
		if subject, err = subjectOf(e); err != nil {
			return state{}, err
		}
	}
	if subject != account.Subject {
		d.memory.Forget(account)
		return state{}, authn.Errorf(authn.Unavailable, reasonChanged, "%q is not the entry any more that was found",
			account.Ref)
	}
	return readState(e)
}

// Lookup finds an account whose name a web server in front has vouched for, and re-checks its state. Only the groups may
// be remembered from less than cache_ttl ago.
func (d *domain) Lookup(ctx context.Context, username string) (authn.Identity, error) {
	a, s, err := d.search(ctx, username)
	if err != nil {
		return authn.Identity{}, err
	}
	if err := errors.Join(s.mayEnter(d.now()), d.access.check(a.Groups)); err != nil {
		return authn.Identity{}, d.directory.By(err)
	}
	return a.Identity, nil
}

// check tries every server of the domain, and whether its lock-out policies can be read.
func (d *domain) check(ctx context.Context) error {
	if err := d.directory.Check(ctx); err != nil {
		return err
	}
	return d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		_, _, err := d.readPolicies(ctx, on)
		return err
	})
}
