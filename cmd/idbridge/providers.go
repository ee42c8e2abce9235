package main

import (
	"fmt"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/activedirectory"
	"github.com/idbridge/idbridge/providers/azuread"
	"github.com/idbridge/idbridge/providers/ldap"
	"github.com/idbridge/idbridge/providers/local"
	"github.com/idbridge/idbridge/providers/saml"
)

// kind is a type of provider: its settings in the configuration file, and what makes one of them.
type kind struct {
	settings any  // the zero value
	lends    bool // it depends on its own settings alone, and has connections: see lent
	make     func(id, label string, settings any, route authn.Route) (authn.Provider, error)
}

// rows are the small interfaces of providers that keep something in the store.
type rows interface {
	keyring.DataKeyStore
	local.Store
}

// footing is what such providers stand on. While only the configuration is looked at there is no store yet and the fields
// are nil: a constructor keeps what it gets from here, and uses it no sooner than when it is asked something.
type footing struct {
	rows   rows
	ring   *keyring.Ring
	saml   *saml.ServiceProvider
	portal string            // where browsers reach it; empty while it has no address
	doors  map[string]string // where they reach others, by name
}

// footing is what providers stand on; of no backend at all: nothing.
func (b *backend) footing() footing {
	if b == nil {
		return footing{}
	}
	return footing{rows: b.store, ring: b.ring, saml: b.saml}
}

// providers is the table of plug-ins. Adding one is its line here; see docs/adding-a-provider.md.
func providers(on footing) map[string]kind {
	if on.saml == nil {
		on.saml = saml.NewServiceProvider(saml.Surroundings{})
	}
	return map[string]kind{
		"activedirectory": provider(activedirectory.New).lending(),
		"azuread": provider(func(id, label string, c azuread.Config, route authn.Route) (authn.Provider, error) {
			return azuread.New(id, label, c, route, azuread.Surroundings{PublicURL: on.portal, Doors: on.doors, SAML: on.saml})
		}),
		"ldap": provider(ldap.New).lending(),
		breakGlass: provider(func(id, label string, c local.Config, route authn.Route) (authn.Provider, error) {
			return local.New(id, label, c, route, on.rows, on.ring)
		}),
		samlType: provider(on.saml.New),
	}
}

// breakGlass is the type of the provider whose accounts are for emergencies: they always need a second factor, and every
// attempt at one of them is loud.
const breakGlass = "local"

// provider fits a constructor into the table.
func provider[C any](construct func(id, label string, c C, route authn.Route) (authn.Provider, error)) kind {
	var zero C
	return kind{settings: zero, make: func(id, label string, settings any, route authn.Route) (authn.Provider, error) {
		c, ok := settings.(C)
		if !ok {
			return authn.Provider{}, fmt.Errorf("settings are a %T, not a %T", settings, zero)
		}
		return construct(id, label, c, route)
	}}
}

func (k kind) lending() kind {
	k.lends = true
	return k
}

// byBrowser tells whether people choose the provider in the portal, and never type a name that belongs to it.
func (p ProviderConfig) byBrowser() bool {
	entra, ok := p.Settings.(azuread.Config)
	return p.Type == samlType || ok && !entra.PasswordGrant
}

func (p ProviderConfig) label() string {
	if p.Label != "" {
		return p.Label
	}
	return p.ID
}

func (p ProviderConfig) route() authn.Route {
	m := p.Match
	return authn.Route{Domains: m.Domains, Prefixes: m.Prefixes, Pattern: m.Pattern, Default: m.Default, StripDomain: m.StripDomain}
}

// makeProviders makes all of them, in the order of the file. It dials nothing.
func makeProviders(c Config, on footing) (list []authn.Provider, fallback string, err error) {
	_, list, fallback, err = makeOrTake(c, on, nil)
	return list, fallback, err
}

// makeOrTake is makeProviders that takes those of the generation before which are as they were.
func makeOrTake(c Config, on footing, before lending) (all lending, list []authn.Provider, fallback string, err error) {
	on.portal, on.doors = c.portalURL(), c.otherDoors()
	table := providers(on)
	for i, p := range c.Providers {
		kind := table[p.Type]
		one, err := before.take(p, kind, func() (authn.Provider, error) { return kind.make(p.ID, p.label(), p.Settings, p.route()) })
		if err != nil {
			closeProviders(list)
			return nil, nil, "", usageError{fmt.Errorf("providers[%d]: %w", i, err)}
		}
		if p.Match.Default {
			fallback = p.ID
		}
		all, list = append(all, one), append(list, one.provider)
	}
	return all, list, fallback, nil
}
