package plugin

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// pluginName is what the platform accepts as the name of a module, and what needs no escaping in a URL.
var pluginName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,99}$`)

func (c *Config) validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf("plugin: "+format, args...)) }
	if c.SignIns == nil || c.Doctor == nil || c.Journal == nil || c.NewID == nil {
		add("Config lacks SignIns, Doctor, Journal or NewID")
	}
	if !pluginName.MatchString(c.Name) {
		add("name %q: want a letter, then letters, digits, - or _", c.Name)
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		add("public URL: want https://host, without credentials or a query")
	}
	if len(c.Environments) == 0 {
		add("no environment is configured: nobody could call")
	}
	for _, e := range c.Environments {
		for _, p := range e.problems() {
			add("environment %q: %s", e.Name, p)
		}
	}
	for _, p := range c.collisions() {
		add("%s", p)
	}
	return errors.Join(problems...)
}

func (e Environment) problems() (list []string) {
	check := func(bad bool, problem string) {
		if bad {
			list = append(list, problem)
		}
	}
	credentials := e.Username != "" || e.Secret != ""
	check(e.Name == "", "it has no name")
	check(e.Path != "" && !pluginName.MatchString(e.Path), "path: want a letter, then letters, digits, - or _")
	check((e.Username == "") != (e.Secret == ""), "a user name and a secret belong together")
	check(strings.Contains(e.Username, ":"), "the user name may not hold a colon: HTTP Basic ends it there")
	check(e.Secret != "" && len(e.Secret) < MinSecret, fmt.Sprintf("the secret has fewer than %d bytes", MinSecret))
	check(!credentials && e.CertificateSAN == "" && !e.TrustAddress,
		"nothing identifies its calls: set a user name and secret, or a certificate")
	check(e.TrustAddress && e.Path == "", "trust_address needs a path of its own")
	check(e.TrustAddress && len(e.AllowFrom) == 0, "trust_address needs allow_from")
	check(e.TrustAddress && (credentials || e.CertificateSAN != ""),
		"trust_address would make its secret or certificate useless: take one away")
	for _, p := range e.AllowFrom {
		check(!p.IsValid(), "allow_from holds an invalid network")
		check(p.IsValid() && p.Bits() == 0 && e.TrustAddress, "trust_address with "+p.String()+" would trust everybody")
	}
	return list
}

// collisions finds two environments that one call could be taken for.
func (c *Config) collisions() (list []string) {
	owners := map[string]string{}
	claim := func(environment, what, key string) {
		if key == "" {
			return
		}
		if owner, taken := owners[what+key]; taken {
			list = append(list, fmt.Sprintf("environments %q and %q have the same %s", owner, environment, what))
			return
		}
		owners[what+key] = environment
	}
	for _, e := range c.Environments {
		claim(e.Name, "name", lower(e.Name))
		claim(e.Name, "path", lower(e.Path))
		claim(e.Name, "user name", e.Username)
		claim(e.Name, "secret", e.Secret.Reveal())
		claim(e.Name, "certificate name", lower(e.CertificateSAN))
		if e.Path != "" && lower(e.Path) == lower(c.Name) {
			list = append(list, fmt.Sprintf("environment %q: its own path is the shared plugin name", e.Name))
		}
	}
	return list
}
