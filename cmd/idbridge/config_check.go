package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/plugin"
	"github.com/idbridge/idbridge/strictyaml"
)

// checker finds what is wrong between keys and puts it at their positions.
type checker struct {
	Config
	doc  *strictyaml.Document
	made map[string]authn.Provider // those of the file that can be made, without break-glass accounts
}

// refuseIf notes a problem at a key.
func (k checker) refuseIf(bad bool, path, format string, args ...any) {
	if bad {
		k.doc.Refuse(path, format, args...)
	}
}

func newChecker(c Config, doc *strictyaml.Document) checker {
	return checker{c, doc, map[string]authn.Provider{}}
}

func (c Config) check(doc *strictyaml.Document) {
	k := newChecker(c, doc)
	k.listeners()
	k.plugin()
	k.portal()
	k.environments()
	k.storeAndKeys()
	k.webhooks()
	k.providers()
	k.admin()
	k.sources()
	k.provisioning()
	k.coverage()
	k.throttle()
}

func (k checker) listeners() {
	k.address("listen.address", k.Listen.Address)
	if k.Metrics != nil {
		k.address("metrics.address", k.Metrics.Address)
		k.refuseIf(k.Metrics.Address == k.Listen.Address, "metrics.address", "is the same as listen.address")
	}
	t := k.Listen.TLS
	k.certificate("listen.tls", t)
	k.refuseIf(t.ClientCAFile != "" && t.CertFile == "", "listen.tls.client_ca_file", "needs cert_file and key_file")
	k.refuseIf(t.CertFile == "" && !k.Listen.InsecurePlaintext && !loopback(k.Listen.Address), "listen.tls.cert_file",
		"is missing: without TLS passwords travel in clear (give cert_file and key_file, or listen on 127.0.0.1, "+
			"or say insecure_plaintext: true)")
	if t.ClientCAFile != "" {
		_, err := readRoots(t.ClientCAFile)
		k.refuseIf(err != nil, "listen.tls.client_ca_file", "%v", err)
	}
}

func (k checker) certificate(path string, t TLSConfig) {
	k.refuseIf((t.CertFile == "") != (t.KeyFile == ""), path, "cert_file and key_file belong together")
	if t.CertFile != "" && t.KeyFile != "" {
		_, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		k.refuseIf(err != nil, path+".cert_file", "%v", err)
	}
}

// at is the place of one of a list.
func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func (k checker) address(path, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	}
	k.refuseIf(err != nil, path, "%q is not host:port (such as 0.0.0.0:8443)", address)
}

// loopback tells whether only this machine can reach an address.
func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (k checker) plugin() {
	k.refuseIf(!pluginName.MatchString(k.Plugin.Name), "plugin.name", "want a letter, then letters, digits, - or _")
	k.url("plugin.public_url", k.Plugin.PublicURL)
	k.screen()
	if k.Plugin.PortalURL != "" {
		k.url("plugin.portal_url", k.Plugin.PortalURL)
	}
}

// pluginName is what the platform accepts as the name of a module.
var pluginName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,99}$`)

func (k checker) url(path, text string) {
	u, err := url.Parse(text)
	bad := err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.User != nil
	k.refuseIf(bad, path, "%q is not a URL such as https://idbridge.example.com, without credentials or a query", text)
}

func (k checker) environments() {
	k.refuseIf(len(k.Environments) == 0, "environments", "is empty: nobody could call")
	owners := map[string]string{}
	for i, e := range k.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		k.environment(at, e)
		k.once(owners, at+".name", "name "+strings.ToLower(e.Name))
		if e.Path != "" {
			k.once(owners, at+".path", "path "+strings.ToLower(e.Path))
		}
		if e.Credentials != nil {
			k.once(owners, at+".credentials.username", "username "+e.Credentials.Username)
			k.once(owners, at+".credentials.secret", "secret "+e.Credentials.Secret.Reveal())
		}
		if e.ClientCertificate != nil {
			k.once(owners, at+".client_certificate.san", "san "+strings.ToLower(e.ClientCertificate.SAN))
		}
	}
}

// once refuses what another place of the file has already; owners remembers who had it first.
func (k checker) once(owners map[string]string, path, key string) {
	if first, taken := owners[key]; taken {
		k.doc.Refuse(path, "is the same as %s", first)
		return
	}
	owners[key] = path
}

func (k checker) environment(at string, e EnvironmentConfig) {
	proof := e.Credentials != nil || e.ClientCertificate != nil
	k.refuseIf(e.Path != "" && !pluginName.MatchString(e.Path), at+".path", "want a letter, then letters, digits, - or _")
	k.refuseIf(!proof && !e.TrustAddress, at, "nothing proves its calls (give credentials or client_certificate)")
	if c := e.Credentials; c != nil {
		k.refuseIf(strings.Contains(c.Username, ":"), at+".credentials.username", "may not hold a colon: HTTP Basic ends it there")
		k.refuseIf(len(c.Secret) < plugin.MinSecret, at+".credentials.secret",
			"has fewer than %d bytes (openssl rand -base64 32)", plugin.MinSecret)
	}
	k.refuseIf(e.ClientCertificate != nil && k.Listen.TLS.ClientCAFile == "", at+".client_certificate",
		"needs listen.tls.client_ca_file: without a CA no certificate can be verified")
	if e.TrustAddress {
		k.trust(at+".trust_address", e, proof)
	}
}

func (k checker) trust(at string, e EnvironmentConfig, proof bool) {
	k.refuseIf(proof, at, "would make the secret or certificate useless (remove one of them)")
	k.refuseIf(e.Path == "", at, "needs a path of the environment's own")
	k.refuseIf(len(e.AllowFrom) == 0, at, "needs allow_from")
	k.refuseIf(slices.ContainsFunc(e.AllowFrom, func(p netip.Prefix) bool { return p.Bits() == 0 }), at,
		"with a network of all addresses would trust everybody")
}

func (k checker) storeAndKeys() {
	k.refuseIf(k.Store.Driver == "postgres" && k.Store.DSN == "", "store.dsn", "is missing (give it, or dsn_file)")
	k.refuseIf(k.Store.Driver == "sqlite" && k.Store.DSN != "", "store.dsn", "is only for driver: postgres")
	k.refuseIf(k.Store.Conns < 0, "store.conns", "is negative")
	k.refuseIf((k.Keys.File == "") == (k.Keys.Env == ""), "keys",
		"give file or env, one of the two (idbridge keys generate > idbridge.keys)")
}

func (k checker) providers() {
	k.refuseIf(len(k.Providers) == 0, "providers", "is empty: nobody could sign in (list the directories that know the users)")
	owners := map[string]string{}
	for i, p := range k.Providers {
		at := fmt.Sprintf("providers[%d]", i)
		k.once(owners, at+".id", "id "+p.ID)
		if p.Match.Default {
			k.once(owners, at+".match.default", "default")
		}
		k.match(at+".match", p.Match, owners, p.byBrowser())
		k.refuseIf(!strings.Contains(p.ITUser.Template, "{0}"), at+".it_user.template", "has no {0} for the attribute")
		if p.Type == breakGlass {
			k.once(owners, at+".type", "break-glass accounts")
			always := (p.Factor.Policy == "" || p.Factor.Policy == string(authn.FactorRequired)) && len(p.Factor.Groups) == 0
			k.refuseIf(!always, at+".factor", "break-glass accounts always need a second factor (leave it out)")
		}
		k.provider(at, p)
	}
}

// match checks the rules by which typed names are routed. A provider that people choose in a browser needs none.
func (k checker) match(at string, m MatchConfig, owners map[string]string, byBrowser bool) {
	for j, domain := range m.Domains {
		k.once(owners, fmt.Sprintf("%s.domains[%d]", at, j), "domain "+strings.ToLower(domain))
	}
	for j, prefix := range m.Prefixes {
		k.once(owners, fmt.Sprintf("%s.prefixes[%d]", at, j), "prefix "+strings.ToLower(prefix))
	}
	_, err := authn.Route{Pattern: m.Pattern}.Matcher()
	k.refuseIf(err != nil, at+".pattern", "%v", err)
	none := len(m.Domains)+len(m.Prefixes) == 0 && m.Pattern == "" && !m.Default
	k.refuseIf(none && !byBrowser, at, "claims no user name (give domains, prefixes, pattern or default: true)")
}

// provider asks the provider itself what is wrong with its settings. Constructors dial nothing.
func (k checker) provider(at string, p ProviderConfig) {
	kind, ok := providers(footing{})[p.Type]
	if !ok || p.Settings == nil || k.doc.Wrong(at) {
		return
	}
	made, err := kind.make(p.ID, p.label(), p.Settings, p.route())
	k.refuseAll(at, err)
	if err != nil || p.Type == breakGlass {
		return
	}
	k.made[p.ID] = made
	for i, r := range p.Factor.Groups {
		k.groupRule(fmt.Sprintf("%s.factor.groups[%d].group", at, i), r.Group, made)
	}
}

// refuseAll puts what a constructor says at the keys that it names.
func (k checker) refuseAll(at string, err error) {
	for _, problem := range flatten(err) {
		if key, text, ok := strings.Cut(problem, ": "); ok && keyPath.MatchString(key) {
			k.doc.Refuse(at+"."+key, "%s", text)
		} else {
			k.doc.Refuse(at, "%s", problem)
		}
	}
}

// groupRule refuses a rule that nobody would ever meet: a second factor that is asked of no one is noticed too late.
func (k checker) groupRule(path, group string, p authn.Provider) {
	err := errors.New("users of this provider have no groups")
	if p.GroupRule != nil {
		err = p.GroupRule(group)
	}
	k.refuseIf(err != nil, path, "%v", err)
}

// keyPath is the key of its settings that a provider's error begins with.
var keyPath = regexp.MustCompile(`^[a-z0-9_.\[\]]+$`)

// flatten takes joined errors apart.
func flatten(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func (k checker) throttle() {
	last := 0
	for i, s := range k.Throttle.Steps {
		at := fmt.Sprintf("throttle.steps[%d]", i)
		k.refuseIf(s.Failures <= last, at+".failures", "must be greater than %d: steps rise", last)
		k.refuseIf(s.Block <= 0, at+".block", "must be longer than 0s")
		last = s.Failures
	}
	k.refuseIf(len(k.Throttle.Steps) == 0, "throttle.steps", "is empty: passwords could be guessed without end")
	k.refuseIf(k.Throttle.Window <= 0, "throttle.window", "must be longer than 0s")
	k.refuseIf(k.CallTimeout <= 0, "call_timeout", "must be longer than 0s")
	k.refuseIf(k.RefusalTime < 0, "refusal_time", "is negative")
	k.refuseIf(k.Audit.Retention < 0, "audit.retention", "is negative")
	k.refuseIf(k.Audit.VerifyEvery < 0 || k.Audit.VerifyEvery > 0 && k.Audit.VerifyEvery < time.Minute, "audit.verify_every",
		"is shorter than a minute (0s: never)")
	k.refuseIf(k.RefusalTime >= k.CallTimeout, "refusal_time", "must be shorter than call_timeout")
}
