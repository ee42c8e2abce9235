package azuread

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/saml"
)

// Claims of Entra's assertions, by their names there.
const (
	claimObject   = "http://schemas.microsoft.com/identity/claims/objectidentifier"
	claimTenant   = "http://schemas.microsoft.com/identity/claims/tenantid"
	claimDisplay  = "http://schemas.microsoft.com/identity/claims/displayname"
	claimProvider = "http://schemas.microsoft.com/identity/claims/identityprovider"
	claimName     = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
	claimEmail    = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"
	claimGiven    = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname"
	claimSurname  = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname"
	claimGroups   = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
	claimRoles    = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
	claimMethods  = "http://schemas.microsoft.com/claims/authnmethodsreferences"
	claimLink     = "http://schemas.microsoft.com/claims/groups.link" // in place of more than 150 groups

	methodMFA = "http://schemas.microsoft.com/claims/multipleauthn"
)

// samlSide is the provider with protocol: saml. Package saml judges the answers; this reads who they are about.
type samlSide struct{ *provider }

// open adds the tenant to the service provider, with Entra's defaults: the metadata of this one application, whose signing
// certificate is its own; a signed assertion; no authentication context asked for, as Entra fails where it does not match.
func (s samlSide) open(label string, route authn.Route, sp *saml.ServiceProvider) (authn.Provider, error) {
	made, err := sp.NewDialect(s.id, label, s.samlConfig(), saml.Dialect{Person: s.person}, route)
	if err != nil || len(s.config.Credentials) == 0 {
		return made, err
	}
	check, inspect := made.Check, made.Inspect
	made.Check = func(ctx context.Context) error {
		if err := check(ctx); err != nil {
			return err
		}
		return s.by(s.probe(ctx))
	}
	made.Inspect = func(ctx context.Context, say func(string)) []authn.Finding {
		return append(inspect(ctx, say), s.inspectCredentials(ctx)...)
	}
	return made, nil
}

func (s samlSide) samlConfig() saml.Config {
	metadata := url.URL{
		Scheme: "https", Host: s.config.Authority, Path: "/" + s.config.Tenant + "/federationmetadata/2007-06/federationmetadata.xml",
		RawQuery: url.Values{"appid": {s.config.ClientID}}.Encode(),
	}
	return saml.Config{
		EntityID: stsIssuer(s.config.Authority, s.config.Tenant), NameIDFormat: "any", WantSigned: "assertion",
		Metadata:   saml.Metadata{URL: metadata.String(), CAFile: s.config.CAFile},
		Attributes: saml.Attributes{Subject: claimObject, Username: s.config.UsernameClaim},
	}
}

// stsIssuer is a tenant's entityID. Only China's cloud has one of its own.
func stsIssuer(authority, tenant string) string {
	if authority == "login.partner.microsoftonline.cn" {
		return "https://sts.chinacloudapi.cn/" + tenant + "/"
	}
	return "https://sts.windows.net/" + tenant + "/"
}

// person is whom an assertion is about: the same person, under the same subject, as an ID token would tell of.
func (s samlSide) person(ctx context.Context, said saml.Said) (authn.Identity, error) {
	c, err := s.read(said)
	if err != nil {
		return authn.Identity{}, s.by(err)
	}
	id, err := s.identity(c)
	if err != nil {
		return id, s.by(err)
	}
	id.Groups, err = s.groupsOf(ctx, c, said)
	return id, s.by(err)
}

// read takes the claims of an assertion for those of an ID token.
func (s samlSide) read(said saml.Said) (c claims, err error) {
	r := reader{said: said}
	c = claims{
		Tenant: strings.ToLower(r.one(claimTenant)), Object: strings.ToLower(r.one(claimObject)),
		Name: r.first(claimDisplay), Email: r.first(claimEmail), IdP: r.first(claimProvider),
		Roles: r.all(claimRoles), Groups: r.all(claimGroups), all: map[string]any{s.config.UsernameClaim: r.one(s.config.UsernameClaim)},
	}
	if c.Name == "" {
		c.Name = strings.TrimSpace(r.first(claimGiven) + " " + r.first(claimSurname))
	}
	if slices.Contains(r.all(claimMethods), methodMFA) {
		c.Methods = []string{"mfa"}
	}
	switch {
	case r.err != nil:
		return c, r.err
	case !guid.MatchString(c.Tenant) || !guid.MatchString(c.Object):
		return c, refuse("attribute_malformed", "tenantid or objectidentifier is no ID")
	case c.Tenant != s.config.Tenant:
		return c, refuse("other_tenant", "the assertion is of tenant %s", c.Tenant)
	}
	return c, nil
}

// reader reads claims and keeps the first error.
type reader struct {
	said saml.Said
	err  error
}

func (r *reader) all(name string) []string {
	values, err := r.said.Values(name)
	if err != nil && r.err == nil {
		r.err = err
	}
	return values
}

func (r *reader) first(name string) string {
	if values := r.all(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// one is a claim that must be there once.
func (r *reader) one(name string) string {
	values := r.all(name)
	if r.err == nil && len(values) != 1 {
		r.err = refuse("attribute_missing", "the claim %q has %d values, not one: see Attributes & Claims of the enterprise application",
			name, len(values))
	}
	return r.first(name)
}

// groupsOf are the person's groups. Microsoft Graph is asked with the application's own permissions, as there is no token of
// the person's.
func (s samlSide) groupsOf(ctx context.Context, c claims, said saml.Said) ([]string, error) {
	_, overage := said.Attributes[claimLink]
	switch {
	case s.config.Groups.Source == groupsNone:
		return nil, nil
	case s.config.Groups.Source == groupsRoles:
		return c.Roles, nil
	case s.config.Groups.By == byID && !overage && c.holdsGroups():
		return c.Groups, nil
	case len(s.config.Credentials) > 0:
		return s.graphGroups(ctx, c.subject(), "/users/"+c.Object, s.application)
	case overage:
		return nil, authn.Errorf(authn.Unavailable, "groups_incomplete", "more groups than an assertion holds (150): give idbridge credentials, "+
			"so that it can ask Microsoft Graph, or use app roles")
	}
	return c.Groups, nil
}
