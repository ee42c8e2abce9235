package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/strictyaml"
)

func TestExampleIsAConfiguration(t *testing.T) {
	if _, err := parseConfig("idbridge.example.yaml", []byte(exampleConfig)); err != nil {
		t.Fatal(err)
	}
}

// TestExampleShowsEveryKey, with its comments: who begins with it must not have to look anywhere else.
func TestExampleShowsEveryKey(t *testing.T) {
	for _, path := range strictyaml.Keys(Config{}, decodeOptions("")) {
		key := path[strings.LastIndex(path, ".")+1:]
		if !regexp.MustCompile(`(?m)(^|[ #{])` + regexp.QuoteMeta(key) + `:( |$)`).MatchString(exampleConfig) {
			t.Errorf("%s is not in the example", path)
		}
	}
}

// TestEveryKeyIsExplained in the schema, which editors show.
func TestEveryKeyIsExplained(t *testing.T) {
	text, err := strictyaml.Schema(Config{}, "idbridge", decodeOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	explained := 0
	walk(root, func(properties map[string]any) {
		for key, p := range properties {
			if s, _ := p.(map[string]any); s["description"] == nil {
				t.Errorf("%s has no description", key)
			}
			explained++
		}
	})
	if keys := strictyaml.Keys(Config{}, decodeOptions("")); explained < len(keys) {
		t.Errorf("%d keys in the schema, %d in the structs", explained, len(keys))
	}
}

func walk(node any, visit func(properties map[string]any)) {
	switch n := node.(type) {
	case []any:
		for _, x := range n {
			walk(x, visit)
		}
	case map[string]any:
		if p, ok := n["properties"].(map[string]any); ok {
			visit(p)
		}
		for _, x := range n {
			walk(x, visit)
		}
	}
}

// edit replaces one text of the example by another.
func edit(t *testing.T, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(exampleConfig, pairs[i]) {
			t.Fatalf("the example has no %q", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(exampleConfig)
}

// TestWhatMustHoldBetweenKeys: each rule alone, with the place and the words of its problem.
func TestWhatMustHoldBetweenKeys(t *testing.T) {
	const secret = "secret: replace-me-with-32-bytes-of-openssl-rand"
	second := func(rest string) string {
		return "\nproviders:\n  - {id: two, type: ldap, urls: [ldaps://x/dc=x], " + rest + "}"
	}
	glass := func(id, rest string) string {
		return "\nproviders:\n  - {id: " + id + ", type: local, match: {domains: [" + id + "]}, " + rest + "}"
	}
	const password = "secret: another-secret-of-more-than-32-bytes"
	source := func(rest string) string { return "\nsources:\n  - {id: s, owns: users, " + rest + "}\nmfa:" }
	environment := func(rest string) string { return "\nenvironments:\n  - {name: other, " + rest + "}" }
	for name, test := range map[string]struct{ from, to, want string }{
		"port":        {"address: 127.0.0.1:8443", "address: 127.0.0.1", `listen.address: "127.0.0.1" is not host:port (such as 0.0.0.0:8443)`},
		"no port":     {"address: 127.0.0.1:8443", "address: 127.0.0.1:nonsense", `listen.address: "127.0.0.1:nonsense" is not host:port`},
		"plaintext":   {"address: 127.0.0.1:8443", "address: 0.0.0.0:8443", "listen.tls.cert_file: is missing: without TLS"},
		"pair":        {"tls: {}", "tls: {cert_file: a}", "listen.tls: cert_file and key_file belong together"},
		"no cert":     {"tls: {}", "tls: {cert_file: a, key_file: b}", "listen.tls.cert_file: open "},
		"ca alone":    {"tls: {}", "tls: {client_ca_file: a}", "listen.tls.client_ca_file: needs cert_file and key_file"},
		"same":        {"address: 127.0.0.1:9090", "address: 127.0.0.1:8443", "metrics.address: is the same as listen.address"},
		"name":        {"name: IDBridge", "name: 1DBridge", "plugin.name: want a letter"},
		"url":         {"public_url: https://", "public_url: https://u:p@", "plugin.public_url: "},
		"portal http": {"  public_url: https://idbridge.example.com:8443   # https", "  public_url: http://idbridge.example.com   # https", "portal.public_url: is not https"},
		"portal port": {"  #address: 127.0.0.1:8444", "  address: 127.0.0.1:8443", "portal.address: is the same as listen.address"},
		"portal open": {"  #address: 127.0.0.1:8444", "  address: 0.0.0.0:8444", "portal.tls.cert_file: is missing"},
		"portal tls":  {"  #tls: {cert_file: tls/portal.pem", "  tls: {cert_file: tls/portal.pem", "portal.tls: is for portal.address"},
		"language":    {"  #languages: [en, de, pt] ", "  languages: [en, xx] ", `portal.branding_dir: templates: there is no language "xx"`},
		"branding":    {"  #branding_dir: branding ", "  branding_dir: nowhere ", "portal.branding_dir: templates: "},
		"contact":     {"  #security_contacts: [mailto:security@example.com]", "  security_contacts: [me]", `portal.security_contacts[0]: "me" is no URI`},
		"token life":  {"  #token_life: 10h ", "  token_life: 0s ", "portal.token_life: must be longer than 0s"},
		"short":       {secret, "secret: short", "environments[0].credentials.secret: has fewer than 32 bytes"},
		"colon":       {"username: production", `username: "a:b"`, "environments[0].credentials.username: may not hold a colon"},
		"san":         {"    #client_certificate", "    client_certificate", "environments[0].client_certificate: needs listen.tls.client_ca_file"},
		"useless":     {"    #trust_address: false ", "    trust_address: true ", "environments[0].trust_address: would make the secret"},
		"nothing": {"\nenvironments:", environment("path: Other"),
			"environments[0]: nothing proves its calls (give credentials or client_certificate)"},
		"trust path": {"\nenvironments:", environment("trust_address: true, allow_from: [10.0.0.0/8]"),
			"environments[0].trust_address: needs a path of the environment's own"},
		"trust from": {"\nenvironments:", environment("trust_address: true, path: O"), "environments[0].trust_address: needs allow_from"},
		"trust all": {"\nenvironments:", environment(`trust_address: true, path: O, allow_from: ["::/0"]`),
			"environments[0].trust_address: with a network of all addresses would trust everybody"},
		"same secret": {"\nenvironments:", environment("credentials: {username: o, " + secret + "}"),
			"environments[1].credentials.secret: is the same as environments[0].credentials.secret"},
		"same name": {"\nenvironments:", "\nenvironments:\n  - {name: PRODUCTION, credentials: {username: o, " + password + "}}",
			"environments[1].name: is the same as environments[0].name"},
		"same path": {"\nenvironments:", environment("path: P, credentials: {username: o, "+password+"}") +
			"\n  - {name: third, path: p, credentials: {username: x, secret: yet-another-secret-of-more-than-32-bytes}}",
			"environments[1].path: is the same as environments[0].path"},
		"same username": {"\nenvironments:", environment("credentials: {username: production, " + password + "}"),
			"environments[1].credentials.username: is the same as environments[0].credentials.username"},
		"path": {"\nenvironments:", environment("path: a/b, credentials: {username: o, " + password + "}"),
			"environments[0].path: want a letter"},
		"no environment": {"\nenvironments:", "\nenvironments: []\nx:", "environments: is empty"},
		"no provider":    {"\nproviders:", "\nproviders: []\nx:", "providers: is empty"},
		"same domain": {"      #domains: [example.com]", "      domains: [example.com, EXAMPLE.com]",
			"providers[0].match.domains[1]: is the same as providers[0].match.domains[0]"},
		"same prefix": {"      #prefixes: [EXAMPLE]", "      prefixes: [EXAMPLE, example]",
			"providers[0].match.prefixes[1]: is the same as providers[0].match.prefixes[0]"},
		"provision whom": {"\nmfa:", "\nprovisioning: {lifetime: {url: \"https://x\", token: y}, rules: [{provider: crop, group: g, role: r}]}\nmfa:",
			`provisioning.rules[0].provider: there is no provider "crop"`},
		"provision where": {"\nmfa:", "\nprovisioning: {lifetime: {url: \"http://x\", token: y}, rules: [{provider: corp, group: g, role: r}]}\nmfa:",
			"provisioning.lifetime.url: is not a URL such as https://"},
		"provision nobody": {"\nmfa:", "\nprovisioning: {lifetime: {url: \"https://x\", token: y}, rules: []}\nmfa:", "provisioning.rules: is empty"},
		"coverage of":      {"\nmfa:", "\ncoverage: [{provider: crop}]\nmfa:", `coverage[0].provider: there is no provider "crop"`},
		"source type":      {"\nmfa:", source("type: ldap"), `sources[0].type: "ldap" is not one of file, lifetime, platformdb`},
		"source often":     {"\nmfa:", source("type: file, users_file: u.csv, interval: 1s"), "sources[0].interval: is shorter than a minute"},
		"source limit":     {"\nmfa:", source("type: file, users_file: u.csv, limit_percent: 101"), "sources[0].limit_percent: is not between"},
		"source file":      {"\nmfa:", source("type: file, users_file: u.xlsx"), "sources[0].users_file: the name of "},
		"source where":     {"\nmfa:", source("type: file, users_file: u.csv, environment: test"), `sources[0].environment: "test" is none of`},
		"source url":       {"\nmfa:", source("type: lifetime, url: \"http://x\", token: y"), "sources[0].url: is not a URL such as https://"},
		"source twice":     {"\nmfa:", source("type: file, users_file: u.csv}\n  - {id: s, owns: ids, type: file, users_file: u.csv"), "sources[1].id: is the same as sources[0].id"},
		"source tenant":    {"\nmfa:", source("type: platformdb, environment: production, driver: oracle, host: h, database: d, user: u, password: p, tenants: []"), "sources[0].tenants: is empty"},
		"metrics":          {"address: 127.0.0.1:9090", "address: 127.0.0.1", `metrics.address: "127.0.0.1" is not host:port`},
		"scheme":           {"public_url: https://", "public_url: ldap://", "plugin.public_url: "},
		"no host":          {"public_url: https://idbridge.example.com:8443", "public_url: 'https:///x'", "plugin.public_url: "},
		"query":            {"public_url: https://idbridge.example.com:8443", "public_url: 'https://x?y=z'", "plugin.public_url: "},
		"portal":           {"  #portal_url: https://", "  portal_url: ftp://", "plugin.portal_url: "},
		"conns":            {"  #conns: 0", "  conns: -1", "store.conns: is negative"},
		"no steps":         {"  steps:\n    - {failures: 3, block: 30s}\n    - {failures: 6, block: 30m}", "  steps: []", "throttle.steps: is empty"},
		"call":             {"call_timeout: 20s", "call_timeout: 0s", "call_timeout: must be longer than 0s"},
		"faster":           {"refusal_time: 300ms", "refusal_time: -1s", "refusal_time: is negative"},
		"retention":        {"retention: 400d", "retention: -1d", "audit.retention: is negative"},
		"verified often":   {"verify_every: 24h", "verify_every: 1s", "audit.verify_every: is shorter than a minute (0s: never)"},
		"no dsn":           {"driver: sqlite", "driver: postgres", "store.dsn: is missing (give it, or dsn_file)"},
		"dsn":              {"  #dsn: ", "  dsn: ", "store.dsn: is only for driver: postgres"},
		"keys":             {"  file: idbridge.keys", "  {}", "keys: give file or env, one of the two"},
		"two defaults":     {"\nproviders:", second("match: {default: true}"), "providers[1].match.default: is the same as"},
		"same provider":    {"\nproviders:\n  - id: corp", second("match: {domains: [x]}") + "\n  - id: two", "providers[1].id: is the same as"},
		"no match":         {"\nproviders:", second("label: x"), "providers[0].match: claims no user name"},
		"soft break-glass": {"\nproviders:", glass("glass", "factor: {policy: enrolled}"),
			"providers[0].factor: break-glass accounts always need a second factor"},
		"softer break-glass": {"\nproviders:", glass("glass", "factor: {groups: [{group: x, policy: never}]}"),
			"providers[0].factor: break-glass accounts always need a second factor"},
		"two break-glasses": {"\nproviders:", glass("glass", "label: x") + strings.TrimPrefix(glass("two", "label: y"), "\nproviders:"),
			"providers[1].type: is the same as providers[0].type"},
		"break-glass": {"\nproviders:", glass("glass", "rotate_after: -1d"), "providers[0].rotate_after: is negative"},
		"rule without groups": {"\nproviders:", second("match: {domains: [x]}, factor: {groups: [{group: x, policy: required}]}"),
			"providers[0].factor.groups[0].group: no group is known with groups.source: none"},
		"rule by name": {"\nproviders:", second("match: {domains: [x]}, groups: {source: memberOf}, factor: {groups: [{group: 'cn=a', policy: never}, " +
			"{group: admins, policy: required}]}"), `providers[0].factor.groups[1].group: "admins" is not a DN`},
		"rule by DN": {"group: administrators", "group: 'cn=administrators,dc=x'", `providers[0].factor.groups[0].group: "cn=administrators,dc=x" is a DN`},
		"pattern":    {"\nproviders:", second("match: {pattern: '('}"), "providers[0].match.pattern: "},
		"template":   {`      #template: "{0}"`, `      template: x`, "providers[0].it_user.template: has no {0}"},
		"of the provider": {"base_dn: ou=people,dc=example,dc=com", "base_dn: nonsense",
			`providers[0].base_dn: "nonsense" is not a DN`},
		"in the provider": {"source: search", "source: guess", `providers[0].groups.source: "guess" is not one of none, memberOf, search`},
		"bind alone":      {"    bind_dn: cn", "    #bind_dn: cn", "providers[0].bind_dn: is required with bind_password"},
		"type":            {"type: ldap", "type: lpad", `providers[0].type: "lpad" is not one of activedirectory, azuread, ldap`},
		"steps":           {"failures: 6", "failures: 3", "throttle.steps[1].failures: must be greater than 3: steps rise"},
		"no block":        {"block: 30m", "block: 0s", "throttle.steps[1].block: must be longer than 0s"},
		"window":          {"window: 1h", "window: 0s", "throttle.window: must be longer than 0s"},
		"refusal":         {"refusal_time: 300ms", "refusal_time: 20s", "refusal_time: must be shorter than call_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig("c.yaml", []byte(edit(t, test.from, test.to)))
			if err == nil || !regexp.MustCompile(`(?m)^c\.yaml:\d+:\d+: `+regexp.QuoteMeta(test.want)).MatchString(err.Error()) {
				t.Fatalf("got  %v\nwant %s", err, test.want)
			}
			if strings.Contains(err.Error(), "replace-me") {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

// TestWhatMayBe is what the rules between keys leave alone.
func TestWhatMayBe(t *testing.T) {
	for name, test := range map[string][]string{
		"nothing that is left out": {},
		"plaintext that is meant":  {"address: 127.0.0.1:8443\n  #insecure_plaintext: false", "address: 0.0.0.0:8443\n  insecure_plaintext: true"},
		"a listener by name":       {"address: 127.0.0.1:8443", "address: localhost:8443"},
		"no metrics":               {"metrics:\n  address: 127.0.0.1:9090", "#metrics:"},
		"no time for refusals":     {"refusal_time: 300ms", "refusal_time: 0s"},
		"an audit for ever":        {"retention: 400d", "retention: 0s"},
		"never verified by itself": {"verify_every: 24h", "verify_every: 0s"},
	} {
		if _, err := parseConfig("c.yaml", []byte(edit(t, test...))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBreakGlassNeedsASecondFactor whatever the configuration says, also one that its check has not seen.
func TestBreakGlassNeedsASecondFactor(t *testing.T) {
	c := Config{ManagedConfig: ManagedConfig{MFA: MFAConfig{Policy: "never"}, Providers: []ProviderConfig{
		{ID: "corp", Type: "ldap"},
		{ID: "glass", Type: "local", Factor: FactorConfig{Policy: "never", Groups: []GroupRuleConfig{{"x", "never"}}}},
	}}}
	policy, err := c.policy().Func()
	if err != nil {
		t.Fatal(err)
	}
	for provider, want := range map[string]authn.FactorPolicy{"corp": authn.FactorNever, "glass": authn.FactorRequired} {
		if got := policy(authn.Identity{Provider: provider, Groups: []string{"x"}}); got != want {
			t.Errorf("%s: %s, want %s", provider, got, want)
		}
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bind"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := edit(t, "    bind_password: replace-me", "    bind_password_file: bind")
	if _, err := parseConfig(filepath.Join(dir, "c.yaml"), []byte(text)); err != nil {
		t.Error(err)
	}
}

// TestRulesOfCertificates: those that need a certificate to be there.
func TestRulesOfCertificates(t *testing.T) {
	dir := t.TempDir()
	a, err := newAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.issue(dir, "server"); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	pair := "cert_file: " + file("server.pem") + ", key_file: " + file("server.key")
	two := "\nenvironments:\n  - {name: a, client_certificate: {san: A.x}}\n  - {name: b, client_certificate: {san: a.x}}"
	for name, test := range map[string]struct{ tls, environments, want string }{
		"good":       {pair + ", client_ca_file: " + file("ca.pem"), "\nenvironments:", ""},
		"no CA in":   {pair + ", client_ca_file: /dev/null", "\nenvironments:", "listen.tls.client_ca_file: /dev/null: no certificate"},
		"same name":  {pair + ", client_ca_file: " + file("ca.pem"), two, "environments[1].client_certificate.san: is the same as"},
		"other file": {"cert_file: " + file("ca.pem") + ", key_file: " + file("server.key"), "\nenvironments:", "listen.tls.cert_file: tls: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig(file("c.yaml"), []byte(edit(t, "address: 127.0.0.1:8443", "address: 0.0.0.0:8443", "tls: {}", "tls: {"+test.tls+"}", "\nenvironments:", test.environments)))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}
