package main

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/idbridge/idbridge/altcha"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/portal"
	"github.com/idbridge/idbridge/templates"
)

// PortalConfig is the users' door.
type PortalConfig struct {
	PublicURL        string         `yaml:"public_url" required:"true" doc:"how browsers reach the portal, such as https://signin.example.com; https, also behind a proxy"`
	Address          string         `yaml:"address" doc:"host:port of a listener of its own; absent: the portal is on listen.address too"`
	TLS              TLSConfig      `yaml:"tls" doc:"the certificate of that listener"`
	TrustedProxies   []netip.Prefix `yaml:"trusted_proxies" doc:"the reverse proxies in front, whose X-Forwarded-For is believed"`
	Languages        []string       `yaml:"languages" doc:"the only ones; the first is for readers of none of them; absent: all there are"`
	BrandingDir      string         `yaml:"branding_dir" doc:"a folder with pages, style or texts of your own; docs/branding.md"`
	SecurityContacts []string       `yaml:"security_contacts" doc:"whom /.well-known/security.txt names: https:, mailto: or tel: URIs"`
	SecurityPolicy   string         `yaml:"security_policy" doc:"where your policy for those who find a weakness is"`
	SessionIdle      time.Duration  `yaml:"session_idle" default:"30m" doc:"who does nothing for so long is signed out"`
	SessionLife      time.Duration  `yaml:"session_life" default:"10h" doc:"after so long everybody signs in again"`
	TokenFirstUse    time.Duration  `yaml:"token_first_use" default:"5m" doc:"within which a sign-in token must be used for the first time"`
	TokenLife        time.Duration  `yaml:"token_life" default:"10h" doc:"how long a sign-in token works: a working day"`
}

// checkPortal finds what is wrong in the portal's section.
func (k checker) portal() {
	c := k.Portal
	if c == nil {
		return
	}
	k.url("portal.public_url", c.PublicURL)
	k.refuseIf(!strings.HasPrefix(c.PublicURL, "https://"), "portal.public_url",
		"is not https: browsers keep the session's cookie only there (a reverse proxy may end TLS)")
	if c.Address != "" {
		k.address("portal.address", c.Address)
		k.refuseIf(c.Address == k.Listen.Address, "portal.address", "is the same as listen.address (leave it out to share that one)")
		k.certificate("portal.tls", c.TLS)
		k.refuseIf(c.TLS.CertFile == "" && !loopback(c.Address), "portal.tls.cert_file",
			"is missing: without TLS passwords travel in clear (give cert_file and key_file, or listen on 127.0.0.1 behind a proxy)")
	}
	k.refuseIf(c.Address == "" && c.TLS != TLSConfig{}, "portal.tls", "is for portal.address; the shared listener has listen.tls")
	for i, contact := range c.SecurityContacts {
		k.refuseIf(!strings.Contains(contact, ":"), at("portal.security_contacts", i), "%q is no URI (mailto:security@example.com)", contact)
	}
	for key, d := range map[string]time.Duration{"session_idle": c.SessionIdle, "session_life": c.SessionLife,
		"token_first_use": c.TokenFirstUse, "token_life": c.TokenLife} {
		k.refuseIf(d <= 0, "portal."+key, "must be longer than 0s")
	}
	_, err := templates.New(k.path(c.BrandingDir), c.Languages...)
	k.refuseIf(err != nil, "portal.branding_dir", "%v", err)
}

// newPortal makes the users' door; nil when it is not configured.
func newPortal(b *backend, w *bridge, service *authn.Service) (http.Handler, error) {
	c := b.config.Portal
	if c == nil {
		return nil, nil
	}
	pages, err := templates.New(b.config.path(c.BrandingDir), c.Languages...)
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
	return portal.New(portal.Config{
		PublicURL: c.PublicURL, Pages: pages, Flow: authn.NewFlow(service, b.store, b.factors, 0),
		Sessions: authn.Sessions{Store: b.store, Idle: c.SessionIdle, Life: c.SessionLife, Now: time.Now}, Roster: b.store,
		Tokens: b.store, TokenLife: authn.TokenLife{FirstUse: c.TokenFirstUse, Life: c.TokenLife},
		Factors: b.factors, Policy: policy, People: self{b}, Once: b.store, Proofs: proofs, Journal: b.portalJournal, Providers: b.saml.Handler(),
		Addresses:      b.address,
		TrustedProxies: c.TrustedProxies,
		Security:       portal.SecurityContact{Contacts: c.SecurityContacts, Policy: c.SecurityPolicy},
		Now:            time.Now, NewID: newID, Log: w.log,
	})
}

// proofs makes proofs of work, under a key that all nodes have.
func (b *backend) proofs() (*altcha.Issuer, error) {
	key, err := keyring.DataKey(context.Background(), b.store, b.ring, "altcha")
	if err != nil {
		return nil, err
	}
	return &altcha.Issuer{Key: key, Life: altcha.DefaultLife, Now: time.Now,
		Once: func(ctx context.Context, nonce string, expires time.Time) (bool, error) {
			return b.store.UseOnce(ctx, "altcha", nonce, expires)
		}}, nil
}

// beside sends the platform's calls to the plugin and everything else to the portal, where both share a listener.
func (c Config) beside(door, users http.Handler) http.Handler {
	names := map[string]bool{strings.ToLower(c.Plugin.Name): true}
	for _, e := range c.Environments {
		names[strings.ToLower(e.Path)] = e.Path != ""
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if names[strings.ToLower(first)] {
			door.ServeHTTP(w, r)
			return
		}
		users.ServeHTTP(w, r)
	})
}

// self is what people may know of themselves.
type self struct{ *backend }

// Environments implements portal.People.
func (s self) Environments(ctx context.Context, username string) (list []portal.Environment, err error) {
	u, err := s.users.Show(ctx, username)
	if err != nil {
		return nil, err
	}
	for _, e := range s.config.Environments {
		if id := u.IDs[e.Name]; id != 0 || authn.IDSource(e.IDs) == authn.IDsModule {
			list = append(list, portal.Environment{Name: e.Name, UserID: id})
		}
	}
	return list, nil
}

// How far back a person's history goes, so that a page costs the same however long the audit is.
const (
	historyAmong = 100_000
	historyLines = 20
)

// History implements portal.People.
func (s self) History(ctx context.Context, username string) (list []portal.SignIn, err error) {
	records, err := s.store.RecordsOf(ctx, username, historyAmong, historyLines)
	for _, r := range records {
		switch r.Action {
		case audit.SignIn, audit.IntegratedSignIn, audit.PortalSignIn:
			list = append(list, portal.SignIn{Time: r.Time, Portal: r.Action == audit.PortalSignIn, Environment: r.Environment,
				Kind: kindNamed(r.Kind), Reason: r.Reason, Source: r.Source})
		}
	}
	return list, err
}

// kindNamed is the kind of a name in the audit.
func kindNamed(name string) authn.Kind {
	for _, k := range append(authn.Kinds(), authn.OK) {
		if k.String() == name {
			return k
		}
	}
	return authn.Internal
}

// portalJournal writes what people do to their own accounts into the audit.
func (b *backend) portalJournal(ctx context.Context, e portal.Event) error {
	r := audit.Record{Time: e.Time, ID: e.ID, Action: string(e.Action), Provider: e.Identity.Provider, Subject: e.Identity.Subject,
		Username: e.Identity.Username, ITUser: e.ITUser, Kind: authn.OK.String(), Detail: e.Detail}
	if e.Source.IsValid() {
		r.Source = e.Source.String()
	}
	if e.Err != nil {
		r.Kind, r.Reason = authn.KindOf(e.Err).String(), authn.ReasonOf(e.Err)
	}
	return b.audit.Event(ctx, r)
}

// toldPortalURL is the address that users are told who must set up a second factor.
func (c Config) toldPortalURL() string {
	if c.Plugin.PortalURL == "" && c.Portal != nil {
		return c.Portal.PublicURL
	}
	return c.Plugin.PortalURL
}
