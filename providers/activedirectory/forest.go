package activedirectory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// maxNamesakes bounds how many accounts of a forest may have a name in common: each domain can have an "admin".
const maxNamesakes = 200

// forest is several domains that are signed in to as one, and the global catalogue in which their accounts are found.
//
// The catalogue knows of every account in which domain it is, and not much more: state, groups and the proof of the
// password are asked of a domain controller of that domain, the account's home.
type forest struct {
	catalogue *ldap.Directory
	domains   []*domain // the first is the one of the provider
}

// openOthers makes the other domains and the catalogue of d. They share what d remembers of accounts.
func (d *domain) openOthers() (err error) {
	if d.trusting, err = d.openEach("groups.trusting_domains", d.config.Groups.TrustingDomains); err != nil {
		return err
	}
	if len(d.config.Forest.Domains) == 0 {
		return nil
	}
	others, err := d.openEach("forest.domains", d.config.Forest.Domains)
	if err != nil {
		return err
	}
	catalogue, err := d.openCatalogue()
	if err != nil {
		return fmt.Errorf("forest.global_catalogue: %w", err)
	}
	f := &forest{catalogue: catalogue, domains: append([]*domain{d}, others...)}
	for _, one := range f.domains {
		one.forest = f
	}
	return nil
}

func (d *domain) openEach(key string, others []OtherDomain) (list []*domain, err error) {
	for i, other := range others {
		c := d.config
		c.Domain, c.NetBIOSNames, c.URLs = other.Domain, other.NetBIOSNames, other.URLs
		c.BaseDN, c.Forest, c.Groups.TrustingDomains = "", Forest{}, nil
		one, err := open(d.id, c)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
		one.now = d.clock
		one.first, one.policies, one.readings, one.memory, one.held = d, d.policies, d.readings, d.memory, d.held
		list = append(list, one)
	}
	return list, nil
}

func (d *domain) openCatalogue() (*ldap.Directory, error) {
	dialect := ldap.Dialect{AnyBindName: true, SubtreeRefers: true, WholeTree: true, Resolver: resolver(d.config.DNSServers)}
	c := d.config.ldap()
	if c.URLs = d.config.Forest.GlobalCatalogue; len(c.URLs) == 0 {
		dialect.Servers = newCatalogueLocator(d.config, dialect.Resolver, d.clock).servers
	}
	c.BaseDN = ""
	return ldap.Open(d.id, c, dialect)
}

// home is the domain that an entry is in; nil where it is none of those that are configured.
func (d *domain) home(dn string) *domain {
	if d.forest == nil {
		return d
	}
	name := ldap.DomainOf(dn)
	for _, one := range d.forest.domains {
		if strings.EqualFold(one.config.Domain, name) {
			return one
		}
	}
	return nil
}

// understand reads a typed name as the domain that it names does, or else the first one.
func (d *domain) understand(typed string) (name, error) {
	if d.forest == nil {
		return d.names.read(typed)
	}
	short, _, slashed := strings.Cut(typed, `\`)
	suffix := typed[strings.LastIndexByte(typed, '@')+1:]
	for _, one := range d.forest.domains {
		if slashed && one.names.isShort(short) || !slashed && strings.EqualFold(suffix, one.config.Domain) {
			return one.names.read(typed)
		}
	}
	return d.names.read(typed)
}

// place is where the catalogue has seen an account.
type place struct{ dn, subject string }

// locate finds the home of an account in the catalogue; without a forest it is d, and nothing is asked.
func (d *domain) locate(ctx context.Context, n name) (home *domain, at *place, err error) {
	if d.forest == nil {
		return d, nil, nil
	}
	found, err := d.forest.find(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	home = d.home(found.DN())
	if home == nil || !ldap.Within(found.DN(), home.config.BaseDN) {
		return nil, nil, authn.Errorf(authn.BadCredentials, reasonUnknownUser,
			"%q is neither in domain nor in one of forest.domains, or not below base_dn", found.DN())
	}
	subject, err := subjectOf(found)
	return home, &place{dn: found.DN(), subject: subject}, err
}

// find finds the one account of the forest that a name means. A sAMAccountName means the account of one domain only.
func (f *forest) find(ctx context.Context, n name) (found ldap.Entry, err error) {
	err = f.catalogue.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		list, err := on.Find(ctx, n.filter, maxNamesakes, attrGUID, attrSAM, attrUPN, attrMail)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(e ldap.Entry) bool { return !n.means(e) })
		switch len(list) {
		case 0:
			return authn.Errorf(authn.BadCredentials, reasonUnknownUser, "the global catalogue finds no account")
		case 1:
			found = list[0]
			return n.fits(found)
		}
		return authn.Errorf(authn.BadCredentials, reasonAmbiguousUser, "the global catalogue finds %q and %q",
			list[0].DN(), list[1].DN())
	})
	return found, err
}

// readAt reads an account that the catalogue has found, all of it in one question. The catalogue may lag behind.
func (d *domain) readAt(ctx context.Context, on *ldap.Session, at place) (a authn.Account, s state, err error) {
	wanted := append(identityAttributes(), stateAttributes()...)
	_, held := d.held.recall(at.subject)
	withTokens := d.config.Groups.Source == sourceTokenGroups && !held
	if withTokens {
		wanted = append(wanted, attrTokenGroups)
	}
	e, found, err := on.Read(ctx, at.dn, wanted...)
	if err != nil {
		return a, s, err
	}
	if found {
		if a, s, err = d.read(ctx, on, e, withTokens); err != nil {
			return a, s, err
		}
	}
	if a.Subject != at.subject {
		return a, s, authn.Errorf(authn.Unavailable, reasonChanged,
			"%q is in the global catalogue, and another entry or none at %s", at.dn, on.Server())
	}
	return a, s, nil
}

// nameForeign finds the names of groups of other domains in the catalogue, as far as it knows them.
func (d *domain) nameForeign(ctx context.Context, sids []sid, known map[string]groupName) error {
	if d.forest == nil || len(sids) == 0 {
		return nil
	}
	return d.forest.catalogue.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		return d.groups.resolve(ctx, on, "", sids, known)
	})
}

// Check tries every domain controller and catalogue, and whether the lock-out policies can be read.
func (d *domain) Check(ctx context.Context) error {
	if len(d.others()) == 0 {
		return d.check(ctx)
	}
	problems := []error{d.check(ctx)}
	if d.forest != nil {
		problems = append(problems, d.forest.catalogue.Check(ctx))
		for _, one := range d.forest.domains[1:] {
			problems = append(problems, one.check(ctx))
		}
	}
	for _, one := range d.trusting {
		problems = append(problems, one.directory.Check(ctx))
	}
	err := errors.Join(problems...)
	if err == nil {
		return nil
	}
	return &authn.Error{Kind: authn.Unavailable, Reason: authn.ReasonOf(err), Provider: d.id, Err: err}
}
