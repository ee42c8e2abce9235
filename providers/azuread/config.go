package azuread

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Defaults of Config.
const (
	DefaultAuthority      = "login.microsoftonline.com"
	DefaultUsernameClaim  = "preferred_username"
	DefaultRequestTimeout = 10 * time.Second
	DefaultCacheTTL       = 120 * time.Second
)

// Config is one application (app registration) in one tenant. Zero values mean the defaults.
type Config struct {
	Protocol string `yaml:"protocol" enum:"oidc,saml" doc:"how Entra is spoken to: oidc (OpenID Connect, default) or saml (SAML 2.0)"`
	Tenant   string `yaml:"tenant" required:"true" doc:"the directory (tenant) ID, as the app registration's overview shows it"`
	ClientID string `yaml:"client_id" required:"true" doc:"the application (client) ID, as the app registration's overview shows it"`

	Credentials []Credential `yaml:"credentials" doc:"what proves to Entra that it is idbridge that asks; a second one while one is being replaced; with saml only for Microsoft Graph"`

	AllowedTenants []string `yaml:"allowed_tenants" doc:"IDs of other tenants whose people may sign in; the application must be multi-tenant"`
	Guests         string   `yaml:"guests" enum:"refuse,accept" doc:"people of other tenants who were invited into this one; default refuse"`
	UsernameClaim  string   `yaml:"username_claim" doc:"the claim that holds the user name; default preferred_username, with saml http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"`
	Groups         Groups   `yaml:"groups" doc:"the groups or app roles of a person"`

	AcceptMFA             bool   `yaml:"accept_mfa" doc:"a second factor that Entra vouches for counts here"`
	AuthenticationContext string `yaml:"authentication_context" doc:"with accept_mfa: the Conditional Access authentication context (c1 to c99) that stands for a second factor; absent: mfa in the claim amr"`
	PasswordGrant         bool   `yaml:"password_grant" doc:"also sign in with passwords that are handed to Entra (ROPC); read docs/providers/azure-ad.md before"`

	Authority string `yaml:"authority" doc:"host of the cloud's sign-in pages: login.microsoftonline.com (default), login.microsoftonline.us or login.partner.microsoftonline.cn"`
	Graph     string `yaml:"graph" doc:"host of Microsoft Graph; default: the cloud's, graph.microsoft.com"`
	CAFile    string `yaml:"ca_file" doc:"PEM file of further authorities, where a proxy opens TLS; default: the system's"`

	RequestTimeout time.Duration `yaml:"request_timeout" doc:"for one answer of Entra or Graph; default 10s"`
	CacheTTL       time.Duration `yaml:"cache_ttl" doc:"how long groups that Graph told are remembered; default 120s, negative: not at all"`
}

// Groups says what an Identity's groups are. They are complete, or the sign-in is refused as Unavailable.
type Groups struct {
	Source string `yaml:"source" enum:"none,groups,roles" doc:"none (default); groups: of the token, or of Microsoft Graph where the token does not hold them all; roles: the application's roles"`
	By     string `yaml:"by" enum:"id,displayName,onPremisesSamAccountName" doc:"what policies call a group: id (default), displayName or onPremisesSamAccountName; all but id always ask Microsoft Graph"`
}

// rule refuses what no group is called.
func (g Groups) rule(string) error {
	if g.Source == groupsNone {
		return errors.New("no group is known with groups.source: none (set it to groups or roles)")
	}
	return nil
}

// Credential is one of: a client secret, a certificate with its key, or the token file of a workload identity.
type Credential struct {
	Secret  authn.Secret `yaml:"secret" doc:"a client secret: its value, not its ID"`
	Expires string       `yaml:"expires" doc:"the day on which the client secret ends, as 2027-05-31: idbridge check warns before it"`

	CertificateFile string `yaml:"certificate_file" doc:"PEM certificate that is uploaded to the app registration"`
	KeyFile         string `yaml:"key_file" doc:"PEM key of certificate_file, RSA of 2048 bits or more"`

	WorkloadIdentityFile string `yaml:"workload_identity_file" doc:"file with a token of the platform that idbridge runs on, for a federated credential; read anew each time"`
}

const (
	protocolOIDC = "oidc"
	protocolSAML = "saml"

	guestsRefuse = "refuse"
	guestsAccept = "accept"

	groupsNone   = "none"
	groupsGroups = "groups"
	groupsRoles  = "roles"

	byID          = "id"
	byDisplayName = "displayName"
	byOnPremises  = "onPremisesSamAccountName"
)

// personalTenant is where all personal Microsoft accounts are: nobody's directory.
const personalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// clouds are the national clouds: the host of the sign-in pages, and that of Graph.
func clouds() map[string]string {
	return map[string]string{
		"login.microsoftonline.com":        "graph.microsoft.com",
		"login.microsoftonline.us":         "graph.microsoft.us", // the DoD's is dod-graph.microsoft.us
		"login.partner.microsoftonline.cn": "microsoftgraph.chinacloudapi.cn",
	}
}

var (
	guid        = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	contextName = regexp.MustCompile(`^c[1-9][0-9]?$`)
)

// prepare fills in defaults, loads the credentials and validates: each error names the key to change.
func (c *Config) prepare() (held []credential, errs []error) {
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	c.setDefaults()
	const where = "an ID such as 72f988bf-0000-4000-8000-2d7cd011db47, as the app registration's overview shows it"
	add(!guid.MatchString(c.Tenant), "tenant: %q is not %s", c.Tenant, where)
	add(!guid.MatchString(c.ClientID), "client_id: %q is not %s", c.ClientID, where)
	add(c.Tenant == personalTenant, "tenant: personal Microsoft accounts are in nobody's directory")
	for i, t := range c.AllowedTenants {
		add(!guid.MatchString(t) || t == personalTenant, "allowed_tenants[%d]: %q is not the ID of a tenant", i, t)
	}
	add(c.Protocol != protocolOIDC && c.Protocol != protocolSAML, "protocol: %q is neither oidc nor saml", c.Protocol)
	add(!hostName.MatchString(c.Authority), "authority: %q is not a host, for instance %s", c.Authority, DefaultAuthority)
	add(c.Graph == "", "graph: is needed, as %s is none of the known clouds", c.Authority)
	add(c.Graph != "" && !hostName.MatchString(c.Graph), "graph: %q is not a host, for instance graph.microsoft.com", c.Graph)
	add(!slices.Contains([]string{guestsRefuse, guestsAccept}, c.Guests), "guests: %q is neither refuse nor accept", c.Guests)
	add(!slices.Contains([]string{groupsNone, groupsGroups, groupsRoles}, c.Groups.Source),
		"groups.source: %q is none of none, groups, roles", c.Groups.Source)
	add(!slices.Contains([]string{byID, byDisplayName, byOnPremises}, c.Groups.By),
		"groups.by: %q is none of id, displayName, onPremisesSamAccountName", c.Groups.By)
	add(c.AuthenticationContext != "" && !contextName.MatchString(c.AuthenticationContext),
		"authentication_context: %q is none of c1 to c99", c.AuthenticationContext)
	add(c.AuthenticationContext != "" && !c.AcceptMFA, "authentication_context: has no meaning without accept_mfa: true")
	add(c.RequestTimeout < 0, "request_timeout: %s is negative", c.RequestTimeout)
	errs = append(errs, c.checkPasswordGrant()...)
	errs = append(errs, c.checkSAML()...)
	add(len(c.Credentials) == 0 && c.Protocol == protocolOIDC,
		"credentials: at least one is needed: a client secret, a certificate or a workload identity")
	held, credentialErrs := loadCredentials(c.Credentials)
	return held, append(errs, credentialErrs...)
}

// checkPasswordGrant refuses what cannot be known of a person before a password was proven.
func (c *Config) checkPasswordGrant() (errs []error) {
	if !c.PasswordGrant {
		return nil
	}
	if c.Groups.Source == groupsRoles {
		errs = append(errs, fmt.Errorf("password_grant: app roles are known only after the password was proven; use groups.source: groups"))
	}
	if !slices.Contains([]string{DefaultUsernameClaim, "upn", claimName}, c.UsernameClaim) {
		errs = append(errs, fmt.Errorf("password_grant: finds people by their user principal name, so username_claim cannot be %q",
			c.UsernameClaim))
	}
	return errs
}

// checkSAML refuses what is only in OpenID Connect, or needs Microsoft Graph, which wants a credential.
func (c *Config) checkSAML() (errs []error) {
	if c.Protocol != protocolSAML {
		return nil
	}
	add := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	add(len(c.AllowedTenants) > 0, "allowed_tenants: with protocol: saml a provider is for one tenant")
	add(c.AuthenticationContext != "", "authentication_context: is only for protocol: oidc")
	add(c.PasswordGrant && len(c.Credentials) == 0, "credentials: are needed for password_grant")
	add(c.Groups.By != byID && len(c.Credentials) == 0, "credentials: are needed for groups.by: Microsoft Graph tells names")
	return errs
}

func (c *Config) setDefaults() {
	setDefault(&c.Protocol, protocolOIDC)
	if c.Protocol == protocolSAML {
		setDefault(&c.UsernameClaim, claimName)
	}
	setDefault(&c.Authority, DefaultAuthority)
	setDefault(&c.Graph, clouds()[c.Authority])
	setDefault(&c.Guests, guestsRefuse)
	setDefault(&c.UsernameClaim, DefaultUsernameClaim)
	setDefault(&c.Groups.Source, groupsNone)
	setDefault(&c.Groups.By, byID)
	setDefault(&c.RequestTimeout, DefaultRequestTimeout)
	setDefault(&c.CacheTTL, DefaultCacheTTL)
	c.Tenant, c.ClientID = strings.ToLower(c.Tenant), strings.ToLower(c.ClientID)
	c.AllowedTenants = slices.Clone(c.AllowedTenants)
	for i, t := range c.AllowedTenants {
		c.AllowedTenants[i] = strings.ToLower(t)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// hostName is a DNS name or an IPv4 address, with a port or without.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)
