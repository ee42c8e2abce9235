// Package azuread signs people in at Microsoft Entra ID (Azure AD).
//
// It owns what is particular to that product: tenants and national clouds, the application's credentials, what an ID token
// must say, guests, groups that do not fit into a token, and what AADSTS numbers mean. With a browser it is OpenID
// Connect's authorisation code flow with PKCE; the password grant for callers without a browser is off by default. It
// leaves to others where answers arrive and which login they belong to (portal), and which IT user a person is (itusers).
//
//	redirect.go     there and back with a browser, by OpenID Connect
//	saml.go         the same by SAML, on top of package saml: what Entra's assertions say
//	password.go     names and passwords, where the tenant allows that
//	token.go        the token endpoint
//	credentials.go  what proves that it is idbridge that asks: secret, certificate or workload identity
//	authority.go    addresses and signing keys of a tenant
//	claims.go       every check of an ID token, each with a reason of its own
//	groups.go       groups and app roles, complete or an error
//	graph.go        Microsoft Graph
//	aadsts.go       Entra's errors: kind, reason, and what to do
//	inspect.go      what an administrator should know before users notice
package azuread

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/saml"
)

// provider is one application in one tenant. It is safe for concurrent use.
type provider struct {
	id        string
	config    Config
	callbacks map[string]string // where answers arrive, by door; nil while the portal has no public URL
	web       *web
	home      *authority // the tenant's own
	front     *authority // where browsers are sent: home, or that of all organisations
	wallet    *wallet
	groups    *cache[[]string]
	appToken  *cache[string]
	probed    *cache[error] // what Entra said last of our credentials
	now       func() time.Time
}

// Surroundings are what a provider needs of the program around it. While only a configuration is checked PublicURL may be
// missing.
type Surroundings struct {
	PublicURL string                // of the portal; that there is none is found by Check
	Doors     map[string]string     // public URLs of other doors, by name, to which people come back too
	SAML      *saml.ServiceProvider // for protocol: saml
}

// New makes a provider of an application. It reads the certificate files and reports every mistake at once, naming the
// YAML key; it dials nothing.
//
// docs/errors.md lists the reasons of the provider's errors.
func New(id, label string, c Config, route authn.Route, around Surroundings) (authn.Provider, error) {
	p, err := open(id, c, around)
	match, routeErr := route.Matcher()
	if err := errors.Join(routeErr, err); err != nil {
		return authn.Provider{}, err
	}
	made := authn.Provider{ID: id, Label: label, Match: match, Redirect: p, Check: p.check, Inspect: p.inspect}
	if p.config.Protocol == protocolSAML {
		if made, err = (samlSide{provider: p}).open(label, route, around.SAML); err != nil {
			return authn.Provider{}, err
		}
	}
	made.Close = p.web.client.CloseIdleConnections
	made.GroupRule = p.config.Groups.rule
	if c.PasswordGrant {
		made.Password = passwords{p}
	}
	made.Ends = p.wallet.ends
	return made, nil
}

func open(id string, c Config, around Surroundings) (*provider, error) {
	held, problems := c.prepare()
	if !addressable.MatchString(id) {
		problems = append(problems, errors.New(
			"the id is part of an address: use 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first"))
	}
	web, err := newWeb(c.CAFile, c.RequestTimeout)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	p := &provider{id: id, config: c, web: web, now: time.Now}
	clock := func() time.Time { return p.now() }
	p.home = newAuthority(web, c.Authority, c.Tenant, clock)
	p.front = p.home
	if len(c.AllowedTenants) > 0 {
		p.front = newAuthority(web, c.Authority, organisations, clock)
	}
	p.wallet = &wallet{held: held, now: clock}
	p.groups, p.appToken = newCache[[]string](clock), newCache[string](clock)
	p.probed = newCache[error](clock)
	if around.PublicURL != "" {
		p.callbacks = map[string]string{"": p.callbackAt(around.PublicURL)}
		for door, at := range around.Doors {
			p.callbacks[door] = p.callbackAt(at)
		}
	}
	return p, nil
}

func (p *provider) callbackAt(publicURL string) string {
	return strings.TrimRight(publicURL, "/") + "/oidc/" + url.PathEscape(p.id) + "/callback"
}

// addressable is an id that stands in an address as it is.
var addressable = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// by puts the provider's name on an error.
func (p *provider) by(err error) error {
	var e *authn.Error
	if !errors.As(err, &e) || e.Provider != "" {
		return err
	}
	named := *e
	named.Provider = p.id
	return &named
}

func errNoPublicURL() *authn.Error {
	return authn.Errorf(authn.Unavailable, "no_public_url",
		"the portal has no public URL, so nobody could come back from "+
			"Entra: set portal.public_url")
}
