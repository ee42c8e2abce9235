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
	settings any // the zero value
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
		"activedirectory": provider(activedirectory.New),
		"azuread": provider(func(id, label string, c azuread.Config, route authn.Route) (authn.Provider, error) {
			return azuread.New(id, label, c, route, azuread.Surroundings{PublicURL: on.portal, Doors: on.doors, SAML: on.saml})
		}),
		"ldap": provider(ldap.New),
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
	on.portal, on.doors = c.portalURL(), c.otherDoors()
	table := providers(on)
	for i, p := range c.Providers {
		made, err := table[p.Type].make(p.ID, p.label(), p.Settings, p.route())
		if err != nil {
			return nil, "", usageError{fmt.Errorf("providers[%d]: %w", i, err)}
		}
		if p.Match.Default {
			fallback = p.ID
		}
		list = append(list, made)
	}
	return list, fallback, nil
}
