package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/portal"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/templates"
)

// AdminConfig is the administrators' door.
type AdminConfig struct {
	PublicURL      string         `yaml:"public_url" required:"true" doc:"how browsers reach it, such as https://idbridge-admin.example.com:9443; https, also behind a proxy"`
	Address        string         `yaml:"address" required:"true" doc:"host:port of its listener: never shared with another door"`
	TLS            TLSConfig      `yaml:"tls" doc:"the certificate of that listener"`
	AllowFrom      []netip.Prefix `yaml:"allow_from" required:"true" doc:"the only networks that may ask anything"`
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies" doc:"the reverse proxies in front, whose X-Forwarded-For is believed"`
	Roles          []RoleConfig   `yaml:"roles" required:"true" doc:"who administers; of the rules that fit, the greatest role counts"`
	SessionIdle    time.Duration  `yaml:"session_idle" default:"15m" doc:"who does nothing for so long is signed out"`
	SessionLife    time.Duration  `yaml:"session_life" default:"10h" doc:"after so long everybody signs in again"`
	Languages      []string       `yaml:"languages" doc:"the only ones; the first is for readers of none of them; absent: all there are"`
	BrandingDir    string         `yaml:"branding_dir" doc:"a folder with pages, style or texts of your own; docs/branding.md"`
}

// RoleConfig gives a role.
type RoleConfig struct {
	Role     string `yaml:"role" required:"true" enum:"viewer,operator,administrator" doc:"viewer sees, operator helps users, administrator changes everything"`
	Provider string `yaml:"provider" required:"true" doc:"whose accounts"`
	Group    string `yaml:"group" doc:"as the provider calls it: its name, DN or id; absent: everybody of the provider, for break-glass accounts only"`
}

// admin finds what is wrong in the administrators' section.
func (k checker) admin() {
	c := k.Admin
	if c == nil {
		return
	}
	k.url("admin.public_url", c.PublicURL)
	k.refuseIf(!strings.HasPrefix(c.PublicURL, "https://"), "admin.public_url",
		"is not https: browsers keep the session's cookie only there (a reverse proxy may end TLS)")
	k.address("admin.address", c.Address)
	others := []string{k.Listen.Address}
	if k.Portal != nil {
		others = append(others, k.Portal.Address)
	}
	k.refuseIf(slices.Contains(others, c.Address), "admin.address", "is another door's: administration has a listener of its own")
	k.certificate("admin.tls", c.TLS)
	k.refuseIf(c.TLS.CertFile == "" && !loopback(c.Address), "admin.tls.cert_file",
		"is missing: without TLS passwords travel in clear (give cert_file and key_file, or listen on 127.0.0.1 behind a proxy)")
	for key, d := range map[string]time.Duration{"session_idle": c.SessionIdle, "session_life": c.SessionLife} {
		k.refuseIf(d <= 0, "admin."+key, "must be longer than 0s")
	}
	k.roles(c.Roles)
	_, err := templates.NewAdmin(k.path(c.BrandingDir), c.Languages...)
	k.refuseIf(err != nil, "admin.branding_dir", "%v", err)
}

func (k checker) roles(rules []RoleConfig) {
	if k.Managed == managedByStore { // the providers are not here; whoever changes them is told when no administrator is left
		return
	}
	types := map[string]string{}
	for _, p := range k.Providers {
		types[p.ID] = p.Type
	}
	for i, r := range rules {
		kind, known := types[r.Provider]
		k.refuseIf(!known, at("admin.roles", i)+".provider", "there is no provider %q", r.Provider)
		k.refuseIf(known && r.Group == "" && kind != breakGlass, at("admin.roles", i)+".group",
			"is missing: everybody of %s would be %s (only break-glass accounts may all be)", r.Provider, r.Role)
		if p, ok := k.made[r.Provider]; ok && r.Group != "" {
			k.groupRule(at("admin.roles", i)+".group", r.Group, p)
		}
	}
}

// newAdmin makes the administrators' door; nil when it is not configured.
func newAdmin(b *backend, w *bridge, service *authn.Service) (http.Handler, error) {
	c := b.config.Admin
	if c == nil {
		return nil, nil
	}
	pages, err := templates.NewAdmin(b.config.path(c.BrandingDir), c.Languages...)
	if err != nil {
		return nil, usageError{err}
	}
	policy, err := b.config.policy().Func()
	if err != nil {
		return nil, err
	}
	proofs, err := b.proofs()
	if err != nil {
		return nil, err
	}
	return admin.New(admin.Config{
		Portal: portal.Config{
			PublicURL: c.PublicURL, Pages: pages, Flow: authn.NewFlow(service, b.store, b.factors, 0),
			Sessions: authn.Sessions{Store: b.store, Idle: c.SessionIdle, Life: c.SessionLife, Now: time.Now}, Roster: b.store,
			Tokens: b.store, Factors: b.factors, Policy: policy, People: self{b}, Once: b.store, Proofs: proofs, Journal: b.portalJournal,
			Addresses:      b.address,
			TrustedProxies: c.TrustedProxies, Now: time.Now, NewID: newID, Log: w.log,
		},
		AllowFrom: c.AllowFrom, Roles: c.rules(), Users: b.users, Count: b.store.CountUsers, Accounts: accounts(service.Providers),
		Environments: b.config.environmentNames(), Throttle: b.throttle, Journal: b.audit.Event,
		Insight: b.searcher(), Messages: samlMessageLog{b.store}, Counts: b.store, Blocks: b.blocks(), Ends: w.endings,
		Sources: feedsOf{b}, Coverage: feedsOf{b}, Webhooks: hooksOf{b}, Verifier: verifying{b},
		Configuration: managing{w, time.Now()}, Proposals: managing{w, time.Now()}, Keeper: sealedKeeper{b.store, b.ring},
		Leases: b.store, Background: b.beside,
	})
}

// sealedKeeper is an admin.Keeper that seals.
type sealedKeeper struct {
	rows *store.Store
	ring *keyring.Ring
}

// Keep implements admin.Keeper.
func (k sealedKeeper) Keep(ctx context.Context, kind, id string, text []byte, expires time.Time, most int) error {
	sealed, err := k.ring.Seal(text, store.KeptAD(kind, id))
	if err != nil {
		return err
	}
	return k.rows.Keep(ctx, kind, id, sealed, expires, most)
}

// Kept implements admin.Keeper.
func (k sealedKeeper) Kept(ctx context.Context, kind, id string) (text []byte, found bool, err error) {
	sealed, found, err := k.rows.Kept(ctx, kind, id)
	if err != nil || !found {
		return nil, false, err
	}
	text, err = k.ring.Open(sealed, store.KeptAD(kind, id))
	return text, err == nil, err
}

// Drop implements admin.Keeper.
func (k sealedKeeper) Drop(ctx context.Context, kind, id string) (bool, error) {
	return k.rows.Drop(ctx, kind, id)
}

func (c AdminConfig) rules() (list []admin.Rule) {
	for _, r := range c.Roles {
		role, _ := admin.ParseRole(r.Role) // one of three, checked with the configuration
		list = append(list, admin.Rule{Role: role, Provider: r.Provider, Group: r.Group})
	}
	return list
}

// accounts are those that IT users can be linked to.
type accounts []authn.Provider

// Providers implements admin.Accounts.
func (a accounts) Providers() (list []admin.Provider) {
	for _, p := range a {
		list = append(list, admin.Provider{ID: p.ID, Label: p.Label, Finds: p.Password != nil})
	}
	return list
}

// Find implements admin.Accounts.
func (a accounts) Find(ctx context.Context, provider, name string) (authn.Account, error) {
	for _, p := range a {
		if p.ID == provider && p.Password != nil {
			return p.Password.Find(ctx, name)
		}
	}
	return authn.Account{}, fmt.Errorf("there is no provider %q that could look a name up", provider)
}
