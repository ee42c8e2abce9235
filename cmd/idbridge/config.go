package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/strictyaml"
)

// Config is the configuration file. idbridge.example.yaml shows every key.
type Config struct {
	Listen       ListenConfig        `yaml:"listen" doc:"where the platform calls"`
	Metrics      *MetricsConfig      `yaml:"metrics" doc:"a listener of its own for /metrics, /healthz and /readyz; absent: off"`
	Portal       *PortalConfig       `yaml:"portal" doc:"the users' door: sign-in pages, second factors, sign-in tokens; absent: off"`
	Admin        *AdminConfig        `yaml:"admin" doc:"the administrators' door, on a listener of its own; absent: off"`
	Plugin       PluginConfig        `yaml:"plugin" doc:"how the bridge appears to the platform"`
	Environments []EnvironmentConfig `yaml:"environments" required:"true" doc:"the platform's environments that may call"`
	Store        StoreConfig         `yaml:"store" doc:"where rows are kept"`
	Keys         KeysConfig          `yaml:"keys" doc:"the master key that seals secrets in the store"`
	Managed      string              `yaml:"managed" enum:"file,store" default:"file" doc:"where providers, mfa and throttle are kept: file (here) or store (as versions in the database, changed without touching this file)"`
	Sources      []SourceConfig      `yaml:"sources" doc:"where IT users and their ids come from, beside idbridge users import"`
	Provisioning *ProvisioningConfig `yaml:"provisioning" doc:"IT users made at LifeTime of the members of directory groups; absent: off"`
	Coverage     []CoverageConfig    `yaml:"coverage" doc:"whose members should be able to sign in: for idbridge users coverage"`
	Webhooks     []WebhookConfig     `yaml:"webhooks" doc:"who is told of security events"`
	Audit        AuditConfig         `yaml:"audit" doc:"the record of decisions"`
	Log          LogConfig           `yaml:"log" doc:"the program's log, on standard error"`

	RefusalTime     time.Duration `yaml:"refusal_time" default:"300ms" doc:"every refusal is answered this long after the call came in"`
	CallTimeout     time.Duration `yaml:"call_timeout" default:"20s" doc:"a sign-in that takes longer is given up"`
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" default:"25s" doc:"how long calls under way may take to finish at the end"`

	ManagedConfig

	dir, file string // where relative file names begin; the file's name
	unmanaged error  // managed: store: what is wrong with the managed sections of the file, which matters before version 1 only
	leftover  bool   // managed: store: the file has managed sections all the same
}

// ListenConfig is the platform's door.
type ListenConfig struct {
	Address           string    `yaml:"address" default:"'127.0.0.1:8443'" doc:"host:port"`
	TLS               TLSConfig `yaml:"tls" doc:"the server's certificate; changed files are picked up without a restart"`
	InsecurePlaintext bool      `yaml:"insecure_plaintext" doc:"allow plain HTTP beyond this machine: passwords travel in clear"`
}

// TLSConfig is a certificate and whom to trust.
type TLSConfig struct {
	CertFile     string `yaml:"cert_file" doc:"PEM: the certificate and those that signed it"`
	KeyFile      string `yaml:"key_file" doc:"PEM: the private key"`
	ClientCAFile string `yaml:"client_ca_file" doc:"PEM: the CA of the environments' client certificates"`
}

// MetricsConfig is the operators' listener.
type MetricsConfig struct {
	Address string `yaml:"address" required:"true" doc:"host:port; plain HTTP, so keep it inside"`
}

// PluginConfig is what the platform sees.
type PluginConfig struct {
	Name      string `yaml:"name" default:"IDBridge" doc:"the plugin's name and first part of its path"`
	PublicURL string `yaml:"public_url" required:"true" doc:"how the platform reaches the bridge, such as https://idbridge.example.com:8443"`
	PortalURL string `yaml:"portal_url" doc:"where users set up a second factor; shown to those who must; absent: portal.public_url"`
	Cloud     bool   `yaml:"cloud" doc:"may be used by environments in OutSystems' cloud"`

	Configuration *ScreenConfig `yaml:"configuration" doc:"settings that the platform's administrators may change in LifeTime; needs managed: store; absent: none"`
}

// EnvironmentConfig is one environment and what proves that a call comes from it.
type EnvironmentConfig struct {
	Name              string             `yaml:"name" required:"true" doc:"as in users import"`
	Path              string             `yaml:"path" doc:"a plugin name of its own"`
	IDs               string             `yaml:"ids" enum:"mapped,module" default:"mapped" doc:"where the numeric user ids come from: mapped (users import) or module (its thin module)"`
	Credentials       *CredentialsConfig `yaml:"credentials" doc:"HTTP Basic credentials of its calls"`
	ClientCertificate *CertificateConfig `yaml:"client_certificate" doc:"the certificate that its calls come with"`
	AllowFrom         []netip.Prefix     `yaml:"allow_from" doc:"the only networks that may call; absent: any"`
	TrustAddress      bool               `yaml:"trust_address" doc:"let path and allow_from alone prove a call: only where the platform can send no credentials"`
	Integrated        bool               `yaml:"integrated_authentication" doc:"accept names that the front end's web server has authenticated"`
}

// CredentialsConfig are HTTP Basic credentials.
type CredentialsConfig struct {
	Username string       `yaml:"username" required:"true" doc:"without a colon"`
	Secret   authn.Secret `yaml:"secret" required:"true" doc:"at least 32 bytes: openssl rand -base64 32"`
}

// CertificateConfig names a client certificate.
type CertificateConfig struct {
	SAN string `yaml:"san" required:"true" doc:"DNS name, URI or e-mail address in the certificate"`
}

// StoreConfig is the database.
type StoreConfig struct {
	Driver string       `yaml:"driver" enum:"sqlite,postgres" default:"sqlite" doc:"sqlite (one file) or postgres (15 or newer)"`
	Path   string       `yaml:"path" default:"idbridge.db" doc:"sqlite: the file"`
	DSN    authn.Secret `yaml:"dsn" doc:"postgres: postgres://user:password@host/database"`
	Conns  int          `yaml:"conns" default:"0" doc:"most open connections; 0: 4 for sqlite, 16 for postgres"`
}

// KeysConfig says where the master key is.
type KeysConfig struct {
	File string `yaml:"file" doc:"a key file made by idbridge keys generate, readable for the owner only"`
	Env  string `yaml:"env" doc:"the environment variable that holds the keys instead"`
}

// ProviderConfig is one identity source. The further keys depend on its type.
type ProviderConfig struct {
	ID       string       `yaml:"id" required:"true" doc:"never change it: accounts are linked under it"`
	Type     string       `yaml:"type" required:"true" doc:"what kind of source it is"`
	Label    string       `yaml:"label" doc:"its name for people; absent: the id"`
	Match    MatchConfig  `yaml:"match" doc:"which user names belong to it"`
	Factor   FactorConfig `yaml:"factor" doc:"who of its users must prove a second factor"`
	ITUser   ITUserConfig `yaml:"it_user" doc:"how its accounts find their IT user at the first sign-in"`
	Settings any          `variants:"provider" by:"type"`
}

// MatchConfig routes user names; a name belongs to a provider if any rule matches.
type MatchConfig struct {
	Domains     []string `yaml:"domains" doc:"user@domain"`
	Prefixes    []string `yaml:"prefixes" doc:"PREFIX\\user"`
	Pattern     string   `yaml:"pattern" doc:"a regular expression for the whole name"`
	Default     bool     `yaml:"default" doc:"all names that no other provider claims; one provider only"`
	StripDomain bool     `yaml:"strip_domain" doc:"ask the source for user, not user@domain or PREFIX\\user"`
}

// FactorConfig is a policy and its exceptions by group.
type FactorConfig struct {
	Policy string            `yaml:"policy" enum:"never,enrolled,required" doc:"absent: mfa.policy"`
	Groups []GroupRuleConfig `yaml:"groups" doc:"of the rules that match, the strictest wins over policy"`
}

// GroupRuleConfig is the policy for one group.
type GroupRuleConfig struct {
	Group  string `yaml:"group" required:"true" doc:"as the provider calls it: its name, DN or id"`
	Policy string `yaml:"policy" enum:"never,enrolled,required" required:"true" doc:"for its members"`
}

// ITUserConfig links an account to the IT user of the same name.
type ITUserConfig struct {
	Attribute   string `yaml:"attribute" enum:"username,email,subject,none" default:"username" doc:"what equals the IT user's name; none: administrators link"`
	StripDomain bool   `yaml:"strip_domain" doc:"compare user, not user@domain"`
	Template    string `yaml:"template" default:"'{0}'" doc:"the IT user's name, {0} standing for the attribute"`
	Shared      bool   `yaml:"shared" doc:"also take IT users that are linked at another provider: only where both know the same people by the same names"`
}

// MFAConfig is about second factors of all providers.
type MFAConfig struct {
	Issuer string `yaml:"issuer" default:"idbridge" doc:"what authenticator apps show"`
	Policy string `yaml:"policy" enum:"never,enrolled,required" default:"enrolled" doc:"where a provider says nothing"`
}

// ThrottleConfig limits failed attempts.
type ThrottleConfig struct {
	Steps  []StepConfig  `yaml:"steps" default:"[{failures: 3, block: 30s}, {failures: 6, block: 30m}]" doc:"rising; keep them below the directory's own lock-out"`
	Window time.Duration `yaml:"window" default:"1h" doc:"how long a failure counts"`
}

// StepConfig is one rung of the back-off.
type StepConfig struct {
	Failures int           `yaml:"failures" required:"true" doc:"from so many failures on"`
	Block    time.Duration `yaml:"block" required:"true" doc:"each one blocks for so long"`
}

// AuditConfig is about the audit's records.
type AuditConfig struct {
	Retention   time.Duration `yaml:"retention" default:"400d" doc:"older records are removed; 0: never"`
	VerifyEvery time.Duration `yaml:"verify_every" default:"24h" doc:"how often serve verifies the whole chain, at a leisurely pace; 0: only when somebody asks for it"`
}

// LogConfig is about the program's log.
type LogConfig struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" default:"info" doc:"the least that is logged"`
	Format string `yaml:"format" enum:"text,json" default:"text" doc:"text or json"`
}

// decodeOptions connect the file's format with the provider table.
func decodeOptions(dir string) strictyaml.Options {
	set := strictyaml.Variants{}
	for name, kind := range providers(footing{}) {
		set[name] = kind.settings
	}
	from := strictyaml.Variants{}
	for name, kind := range sources() {
		from[name] = kind.settings
	}
	return strictyaml.Options{Dir: dir, Variants: map[string]strictyaml.Variants{"provider": set, "source": from}}
}

// loadConfig reads and checks the file. Its error holds all problems.
func loadConfig(file string) (Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Config{}, usageError{fmt.Errorf("%w (write one: idbridge config example > %s)", err, file)}
	}
	return parseConfig(file, text)
}

func parseConfig(file string, text []byte) (Config, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return Config{}, usageError{err}
	}
	c := Config{dir: dir, file: file}
	doc := strictyaml.Decode(file, text, &c, decodeOptions(dir))
	c.check(doc)
	if c.Managed == managedByStore {
		return c, c.setAside(doc)
	}
	return c, doc.Err()
}

// path resolves a file name of the configuration.
func (c Config) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}
