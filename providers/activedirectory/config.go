package activedirectory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// DefaultLockoutMargin is how many wrong passwords every account keeps in reserve.
const DefaultLockoutMargin = 1

// Config is one domain. Zero values mean the defaults.
type Config struct {
	Domain        string   `yaml:"domain" required:"true" doc:"the domain's DNS name, for instance corp.example.com; a name without a domain belongs to it"`
	NetBIOSNames  []string `yaml:"netbios_names" doc:"the domain's short names, as in CORP\\user; default: the first part of domain"`
	UPNSuffixes   []string `yaml:"upn_suffixes" doc:"suffixes besides domain in the names that users sign in with, as in user@example.com"`
	SignInByEmail bool     `yaml:"sign_in_by_email" doc:"accept the mail address as a name too"`

	URLs         []string     `yaml:"urls" doc:"domain controllers in order of preference, ldaps://dc1.corp.example.com; the PDC emulator first: it counts wrong passwords of the whole domain; default: those that DNS knows"`
	Site         string       `yaml:"site" doc:"without urls: the site whose domain controllers are asked first"`
	DNSServers   []string     `yaml:"dns_servers" doc:"address or address:port of the DNS servers that know the domain; default: the system's"`
	StartTLS     bool         `yaml:"start_tls" doc:"upgrade ldap:// connections to TLS before anything else is sent"`
	CAFile       string       `yaml:"ca_file" doc:"PEM file of the authorities that may have signed the servers' certificates; default: the system's"`
	ServerName   string       `yaml:"server_name" doc:"name expected in the servers' certificates; default: the host in the URL"`
	BindDN       string       `yaml:"bind_dn" required:"true" doc:"the service account that searches: svc@corp.example.com, CORP\\svc or a DN"`
	BindPassword authn.Secret `yaml:"bind_password" required:"true" doc:"password of the service account"`

	BaseDN      string   `yaml:"base_dn" doc:"where users are searched; default: the whole domain"`
	Username    string   `yaml:"username" enum:"sAMAccountName,userPrincipalName" doc:"what the user is called from here on, however the name was typed; default sAMAccountName"`
	Groups      Groups   `yaml:"groups" doc:"the groups of a user"`
	Forest      Forest   `yaml:"forest" doc:"the other domains of the forest whose users sign in"`
	AllowGroups []string `yaml:"allow_groups" doc:"only members may sign in; each by DN, sAMAccountName or SID; default: everybody"`
	DenyGroups  []string `yaml:"deny_groups" doc:"members may not sign in, also if allowed; each by DN, sAMAccountName or SID"`

	LockoutMargin int `yaml:"lockout_margin" doc:"wrong passwords that are left to an account before the domain would lock it; default 1, plus one for each further idbridge process is safest"`

	DialTimeout    time.Duration `yaml:"dial_timeout" doc:"to connect, with TLS; default 5s"`
	RequestTimeout time.Duration `yaml:"request_timeout" doc:"for one answer of a server; default 10s"`
	SearchPool     int           `yaml:"search_pool" doc:"connections per server for searches; default 16"`
	BindPool       int           `yaml:"bind_pool" doc:"connections per server for users' binds; default 16"`
	CacheTTL       time.Duration `yaml:"cache_ttl" doc:"how long a found account and its groups are remembered, never a password; default 120s, negative: not at all"`
}

// Forest is the domains beside the first one, and where the accounts of all of them are found.
type Forest struct {
	Root            string        `yaml:"root" doc:"DNS name of the forest's root domain; default: domain"`
	GlobalCatalogue []string      `yaml:"global_catalogue" doc:"global catalogue servers in order of preference, ldaps://dc1.corp.example.com:3269; default: those that DNS knows"`
	Domains         []OtherDomain `yaml:"domains" doc:"the other domains; without any there is no forest"`
}

// OtherDomain is a domain beside the first one, whose service account searches it too.
type OtherDomain struct {
	Domain       string   `yaml:"domain" required:"true" doc:"the domain's DNS name"`
	NetBIOSNames []string `yaml:"netbios_names" doc:"the domain's short names, as in EMEA\\user; default: the first part of domain"`
	URLs         []string `yaml:"urls" doc:"domain controllers of this domain in order of preference; default: those that DNS knows"`
}

// Groups says how the groups of a user are found. The list is complete, or the sign-in is refused as Unavailable.
type Groups struct {
	Source          string        `yaml:"source" enum:"tokenGroups,chain,none" doc:"tokenGroups (default): all security groups, nested ones and the primary group too; chain: distribution groups as well, slower; none"`
	TrustingDomains []OtherDomain `yaml:"trusting_domains" doc:"domains of other forests that trust this one, whose groups count too: there the users are foreign security principals"`
}

const (
	sourceTokenGroups = "tokenGroups"
	sourceChain       = "chain"
	sourceNone        = "none"
)

// prepare fills in defaults and validates what package ldap does not: each error names the key to change.
func (c *Config) prepare() (errs []error) {
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	c.setDefaults()
	add(!isDomain(c.Domain), "domain: %q is not the DNS name of a domain, for instance corp.example.com", c.Domain)
	for i, s := range c.NetBIOSNames {
		add(s == "" || strings.ContainsAny(s, `\/@." `), "netbios_names[%d]: %q is not a short name, for instance CORP", i, s)
	}
	for i, s := range c.UPNSuffixes {
		add(s == "" || strings.ContainsAny(s, `\/@ `), "upn_suffixes[%d]: %q is not a suffix, for instance example.com", i, s)
	}
	add(c.BindDN == "", "bind_dn: is required: Active Directory answers nothing to strangers")
	add(c.BindPassword == "", "bind_password: is required")
	add(!ldap.Within(c.BaseDN, domainDN(c.Domain)), "base_dn: %q is not in the domain %s", c.BaseDN, c.Domain)
	add(c.Username != attrSAM && c.Username != attrUPN, "username: %q is neither %s nor %s", c.Username, attrSAM, attrUPN)
	add(!slices.Contains([]string{sourceTokenGroups, sourceChain, sourceNone}, c.Groups.Source),
		"groups.source: %q is none of %s, %s, %s", c.Groups.Source, sourceTokenGroups, sourceChain, sourceNone)
	add(c.Groups.Source == sourceNone && len(c.Groups.TrustingDomains) > 0,
		"groups.trusting_domains: cannot be asked with groups.source: none")
	add(c.LockoutMargin < 1 || c.LockoutMargin > 100, "lockout_margin: %d is not between 1 and 100", c.LockoutMargin)
	for i, u := range c.URLs {
		plain := strings.HasPrefix(u, "ldap:") && !c.StartTLS
		add(plain, "urls[%d]: ldap:// sends passwords in clear: use ldaps:// or start_tls: true", i)
	}
	add(c.Site != "" && (len(c.URLs) > 0 || !isDomain(c.Site) || strings.Contains(c.Site, ".")),
		"site: %q is not the name of a site, or urls are given", c.Site)
	for i, s := range c.DNSServers {
		_, err := dnsAddress(s)
		add(err != nil, "dns_servers[%d]: %q is not an address or address:port", i, s)
	}
	return append(append(errs, c.checkOthers()...), c.checkAccess()...)
}

// checkOthers validates what only several domains can have wrong; the rest of each domain is checked when it is opened.
func (c *Config) checkOthers() (errs []error) {
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	f := c.Forest
	more := len(f.Domains) + len(c.Groups.TrustingDomains)
	add(len(f.Domains) == 0 && (f.Root != "" || len(f.GlobalCatalogue) > 0), "forest.domains: is required in a forest")
	add(more > 0 && strings.Contains(c.BindDN, "="),
		"bind_dn: a DN is known in its own domain only: write user@%s", c.Domain)
	add(f.Root != "" && f.Root != c.Domain && !isDomain(f.Root), "forest.root: %q is not the DNS name of a domain", f.Root)
	for i, u := range f.GlobalCatalogue {
		plain := strings.HasPrefix(u, "ldap:") && !c.StartTLS
		add(plain, "forest.global_catalogue[%d]: ldap:// sends passwords in clear: use ldaps:// or start_tls: true", i)
	}
	taken := map[string]string{}
	names := func(key, domain string, short []string) {
		if first, _, _ := strings.Cut(domain, "."); len(short) == 0 {
			short = []string{first}
		}
		for _, s := range append([]string{domain}, short...) {
			owner, known := taken[strings.ToLower(s)]
			add(known && owner != key, "%s: %q names another domain already", key, s)
			taken[strings.ToLower(s)] = key
		}
	}
	names("domain", c.Domain, c.NetBIOSNames)
	for i, d := range f.Domains {
		names(fmt.Sprintf("forest.domains[%d]", i), d.Domain, d.NetBIOSNames)
	}
	for i, d := range c.Groups.TrustingDomains {
		names(fmt.Sprintf("groups.trusting_domains[%d]", i), d.Domain, d.NetBIOSNames)
	}
	return errs
}

func (c *Config) checkAccess() (errs []error) {
	for key, groups := range map[string][]string{"allow_groups": c.AllowGroups, "deny_groups": c.DenyGroups} {
		for i, g := range groups {
			if err := c.Groups.rule(g); err != nil {
				errs = append(errs, fmt.Errorf("%s[%d]: %w", key, i, err))
			}
		}
	}
	return errs
}

// rule refuses what no group is called.
func (g Groups) rule(group string) error {
	switch {
	case g.Source == sourceNone:
		return errors.New("no group is known with groups.source: none")
	case strings.TrimSpace(group) == "":
		return errors.New("is empty")
	case strings.Contains(group, "=") && !ldap.IsDN(group):
		return fmt.Errorf("%q is not a DN", group)
	}
	return nil
}

func (c *Config) setDefaults() {
	if first, _, _ := strings.Cut(c.Domain, "."); len(c.NetBIOSNames) == 0 && first != "" {
		c.NetBIOSNames = []string{first}
	}
	if c.BaseDN == "" {
		c.BaseDN = domainDN(c.Domain)
	}
	if c.Username == "" {
		c.Username = attrSAM
	}
	if c.Groups.Source == "" {
		c.Groups.Source = sourceTokenGroups
	}
	if c.Forest.Root == "" && len(c.Forest.Domains) > 0 {
		c.Forest.Root = c.Domain
	}
	if c.LockoutMargin == 0 {
		c.LockoutMargin = DefaultLockoutMargin
	}
}

// ldap is the part of the configuration that every LDAP directory has. The filter is for Check; plain ldap:// is
// refused in prepare, with an advice that fits.
func (c *Config) ldap() ldap.Config {
	return ldap.Config{
		URLs: c.URLs, StartTLS: c.StartTLS, InsecurePlaintext: !c.StartTLS, CAFile: c.CAFile, ServerName: c.ServerName,
		BindDN: c.BindDN, BindPassword: c.BindPassword, BaseDN: c.BaseDN, UserFilter: person("(" + attrSAM + "={0})"),
		Attributes:  ldap.Attributes{Subject: attrGUID, Username: c.Username},
		DialTimeout: c.DialTimeout, RequestTimeout: c.RequestTimeout, SearchPool: c.SearchPool, BindPool: c.BindPool,
		CacheTTL: c.CacheTTL,
	}
}

// domainDN is the DN of a domain, RFC 2247.
func domainDN(domain string) string {
	if domain == "" {
		return ""
	}
	return "DC=" + strings.Join(strings.Split(domain, "."), ",DC=")
}

// isDomain accepts what DNS does, and underscores, which old domains have.
func isDomain(s string) bool {
	for _, label := range strings.Split(s, ".") {
		bad := strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		})
		if label == "" || len(label) > 63 || bad {
			return false
		}
	}
	return true
}
