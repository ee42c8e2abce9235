package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// Defaults of Config.
const (
	DefaultUserFilter     = "(&(objectClass=person)(uid={0}))"
	DefaultDialTimeout    = 5 * time.Second
	DefaultRequestTimeout = 10 * time.Second
	DefaultCacheTTL       = 120 * time.Second
	DefaultSearchPool     = 16
	DefaultBindPool       = 16
)

// Config is one LDAP directory: one or more servers that hold the same entries. Zero values mean the defaults.
type Config struct {
	URLs []string `yaml:"urls" required:"true" doc:"servers in order of preference: ldap[s]://server:port or, as the platform writes it, ldap[s]://server:port/BaseDN"`

	StartTLS          bool   `yaml:"start_tls" doc:"upgrade ldap:// connections to TLS before anything else is sent"`
	InsecurePlaintext bool   `yaml:"insecure_plaintext" doc:"allow ldap:// in clear: passwords cross the network readable"`
	CAFile            string `yaml:"ca_file" doc:"PEM file of the authorities that may have signed the servers' certificates; default: the system's"`
	ClientCertFile    string `yaml:"client_cert_file" doc:"PEM certificate shown to the servers"`
	ClientKeyFile     string `yaml:"client_key_file" doc:"PEM key of client_cert_file"`
	ServerName        string `yaml:"server_name" doc:"name expected in the servers' certificates; default: the host in the URL"`

	BindDN       string       `yaml:"bind_dn" doc:"DN of the service account that searches; empty searches anonymously"`
	BindPassword authn.Secret `yaml:"bind_password" doc:"password of the service account"`

	BaseDN         string     `yaml:"base_dn" doc:"where users are searched; default: the DN in the URL"`
	Scope          string     `yaml:"scope" enum:"sub,one,base" doc:"sub (default), one or base"`
	UserFilter     string     `yaml:"user_filter" doc:"finds a user; {0} is the user name; default (&(objectClass=person)(uid={0}))"`
	DisabledFilter string     `yaml:"disabled_filter" doc:"matches accounts that may not sign in, for instance (nsAccountLock=TRUE)"`
	Attributes     Attributes `yaml:"attributes" doc:"which attributes of an entry are read"`
	Groups         Groups     `yaml:"groups" doc:"how the groups of a user are found"`

	ChangePassword bool `yaml:"change_password" doc:"users may change their own password: the server takes the extended operation of RFC 3062 from them"`

	DialTimeout    time.Duration `yaml:"dial_timeout" doc:"to connect, with TLS; default 5s"`
	RequestTimeout time.Duration `yaml:"request_timeout" doc:"for one answer of a server; default 10s"`
	SearchPool     int           `yaml:"search_pool" doc:"connections per server for searches; default 16"`
	BindPool       int           `yaml:"bind_pool" doc:"connections per server for users' binds; default 16"`
	CacheTTL       time.Duration `yaml:"cache_ttl" doc:"how long a found account is remembered, never a password; default 120s, negative: not at all"`

	dialect Dialect
}

// Attributes names the attributes that become an authn.Identity.
type Attributes struct {
	Subject  string `yaml:"subject" doc:"never changes and is never given to another entry; default entryUUID"`
	Username string `yaml:"username" doc:"the user name as the directory spells it; default uid"`
	Name     string `yaml:"name" doc:"the person's name; default cn"`
	Email    string `yaml:"email" doc:"the mail address; default mail"`
}

// Groups says how the groups of a user are found. The list is complete, or the sign-in is refused as Unavailable.
type Groups struct {
	Source    string   `yaml:"source" enum:"none,memberOf,search" doc:"none (default), memberOf: read from the user's entry, or search: groups that list the user"`
	BaseDN    string   `yaml:"base_dn" doc:"where groups are searched; default base_dn"`
	Attribute string   `yaml:"attribute" doc:"the attribute of source memberOf; default memberOf"`
	Kinds     []string `yaml:"kinds" enum:"groupOfNames,groupOfUniqueNames,posixGroup" doc:"for source search: groupOfNames, groupOfUniqueNames, posixGroup; default all three"`
	Nested    bool     `yaml:"nested" doc:"follow groups in groups, at most 10 deep and 1000 in all"`
	Name      string   `yaml:"name" doc:"dn (default), or the attribute that names a group, for instance cn"`
}

// Sources of groups.
const (
	groupsNone     = "none"
	groupsMemberOf = "memberOf"
	groupsSearch   = "search"
)

var scopes = map[string]int{
	"sub": goldap.ScopeWholeSubtree, "one": goldap.ScopeSingleLevel, "base": goldap.ScopeBaseObject,
}

func (c *Config) setDefaults() {
	setDefault(&c.Scope, "sub")
	setDefault(&c.UserFilter, DefaultUserFilter)
	setDefault(&c.Attributes.Subject, "entryUUID")
	setDefault(&c.Attributes.Username, "uid")
	setDefault(&c.Attributes.Name, "cn")
	setDefault(&c.Attributes.Email, "mail")
	setDefault(&c.Groups.Source, groupsNone)
	setDefault(&c.Groups.BaseDN, c.BaseDN)
	setDefault(&c.Groups.Attribute, "memberOf")
	setDefault(&c.Groups.Name, "dn")
	setDefault(&c.DialTimeout, DefaultDialTimeout)
	setDefault(&c.RequestTimeout, DefaultRequestTimeout)
	setDefault(&c.CacheTTL, DefaultCacheTTL)
	setDefault(&c.SearchPool, DefaultSearchPool)
	setDefault(&c.BindPool, DefaultBindPool)
	if len(c.Groups.Kinds) == 0 {
		c.Groups.Kinds = []string{"groupOfNames", "groupOfUniqueNames", "posixGroup"}
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// endpoint is one server as configured.
type endpoint struct {
	address string // host:port
	url     string // for messages; holds no secret
	secure  bool   // ldaps
	tls     *tls.Config
}

// prepare fills in defaults and validates everything at once: each error names the key to change.
func (c *Config) prepare() ([]endpoint, error) {
	var errs []error
	endpoints, base, urlErrs := c.endpoints()
	errs = append(errs, urlErrs...)
	setDefault(&c.BaseDN, base)
	c.setDefaults()
	errs = append(errs, c.checkNames(base)...)
	errs = append(errs, c.checkNumbers()...)
	tlsConfig, tlsErrs := c.tlsConfig()
	errs = append(errs, tlsErrs...)
	for i := range endpoints {
		endpoints[i].tls = withServerName(tlsConfig, c.ServerName, endpoints[i].address)
	}
	return endpoints, errors.Join(errs...)
}

func (c *Config) endpoints() (list []endpoint, base string, errs []error) {
	if len(c.URLs) == 0 && c.dialect.Servers == nil {
		errs = append(errs, errors.New("urls: at least one server is needed, for instance ldaps://directory.example.com"))
	}
	for i, text := range c.URLs {
		e, dn, err := parseURL(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("urls[%d]: %w", i, err))
			continue
		case base != "" && dn != "" && !sameDN(base, dn):
			errs = append(errs, fmt.Errorf("urls[%d]: the base DN %q differs from %q in another URL", i, dn, base))
		case !e.secure && !c.StartTLS && !c.InsecurePlaintext:
			errs = append(errs, fmt.Errorf("urls[%d]: ldap:// sends passwords in clear: use ldaps://, start_tls: true, "+
				"or say insecure_plaintext: true", i))
		}
		setDefault(&base, dn)
		list = append(list, e)
	}
	if c.StartTLS && c.InsecurePlaintext {
		errs = append(errs, errors.New("insecure_plaintext: has no meaning with start_tls"))
	}
	return list, base, errs
}

// parseURL reads ldap[s]://server[:port][/BaseDN]. The DN may be percent-encoded or not.
func parseURL(text string) (e endpoint, base string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return e, "", errors.New("not a URL") // url's own error quotes the text, which may hold a password
	case u.Scheme != "ldap" && u.Scheme != "ldaps":
		return e, "", errors.New("must begin with ldaps:// or ldap://")
	case u.User != nil:
		return e, "", errors.New("must not hold a user name or password: use bind_dn and bind_password")
	case u.Hostname() == "":
		return e, "", errors.New("names no server")
	case u.RawQuery != "" || u.Fragment != "":
		return e, "", errors.New("attributes, scope and filter have keys of their own: attributes, scope, user_filter")
	}
	port := u.Port()
	e.secure = u.Scheme == "ldaps"
	if port == "" {
		port = map[bool]string{false: "389", true: "636"}[e.secure]
	}
	e.address = net.JoinHostPort(u.Hostname(), port)
	e.url = u.Scheme + "://" + e.address
	base = strings.TrimPrefix(u.Path, "/")
	if _, err := goldap.ParseDN(base); err != nil {
		return e, "", fmt.Errorf("the part after the server is not a DN: %w", err)
	}
	return e, base, nil
}

func (c *Config) checkNames(urlBase string) (errs []error) {
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(c.BaseDN == "" && !c.dialect.WholeTree, "base_dn: is required, here or at the end of a URL")
	add(urlBase != "" && !sameDN(c.BaseDN, urlBase), "base_dn: %q differs from %q in urls", c.BaseDN, urlBase)
	add(!isDN(c.BaseDN), "base_dn: %q is not a DN", c.BaseDN)
	add(!c.dialect.AnyBindName && !isDN(c.BindDN), "bind_dn: %q is not a DN", c.BindDN)
	add(c.BindDN != "" && c.BindPassword == "", "bind_password: is required with bind_dn (an empty one would bind anonymously)")
	add(c.BindDN == "" && c.BindPassword != "", "bind_dn: is required with bind_password")
	_, known := scopes[c.Scope]
	add(!known, "scope: %q is none of sub, one, base", c.Scope)
	add(!strings.Contains(c.UserFilter, "{0}"), "user_filter: must contain {0}, the place of the user name")
	errs = append(errs, checkFilter("user_filter", strings.ReplaceAll(c.UserFilter, "{0}", "x")))
	if c.DisabledFilter != "" {
		errs = append(errs, checkFilter("disabled_filter", c.DisabledFilter))
	}
	return append(errs, c.Groups.check()...)
}

func (g *Groups) check() (errs []error) {
	if !slices.Contains([]string{groupsNone, groupsMemberOf, groupsSearch}, g.Source) {
		errs = append(errs, fmt.Errorf("groups.source: %q is none of none, memberOf, search", g.Source))
	}
	if !isDN(g.BaseDN) {
		errs = append(errs, fmt.Errorf("groups.base_dn: %q is not a DN", g.BaseDN))
	}
	for i, kind := range g.Kinds {
		if _, ok := groupKinds[kind]; !ok {
			errs = append(errs, fmt.Errorf("groups.kinds[%d]: %q is none of groupOfNames, groupOfUniqueNames, posixGroup", i, kind))
		}
	}
	return errs
}

func (c *Config) checkNumbers() (errs []error) {
	for key, d := range map[string]time.Duration{"dial_timeout": c.DialTimeout, "request_timeout": c.RequestTimeout} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is negative", key, d))
		}
	}
	for key, n := range map[string]int{"search_pool": c.SearchPool, "bind_pool": c.BindPool} {
		if n < 0 || n > 1000 {
			errs = append(errs, fmt.Errorf("%s: %d is not between 1 and 1000", key, n))
		}
	}
	return errs
}

func (c *Config) tlsConfig() (*tls.Config, []error) {
	var errs []error
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		t.RootCAs = x509.NewCertPool()
		if err != nil {
			errs = append(errs, fmt.Errorf("ca_file: %w", err))
		} else if !t.RootCAs.AppendCertsFromPEM(pem) {
			errs = append(errs, fmt.Errorf("ca_file: %s holds no PEM certificate", c.CAFile))
		}
	}
	if c.ClientCertFile != "" || c.ClientKeyFile != "" {
		cert, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("client_cert_file, client_key_file: %w", err))
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, errs
}

func withServerName(t *tls.Config, name, address string) *tls.Config {
	t = t.Clone()
	if t.ServerName = name; name == "" {
		t.ServerName, _, _ = net.SplitHostPort(address)
	}
	return t
}

func checkFilter(key, filter string) error {
	if _, err := goldap.CompileFilter(filter); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func isDN(s string) bool {
	_, err := goldap.ParseDN(s)
	return err == nil
}

func sameDN(a, b string) bool {
	x, errX := goldap.ParseDN(a)
	y, errY := goldap.ParseDN(b)
	return errX == nil && errY == nil && x.EqualFold(y)
}
