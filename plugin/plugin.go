// Package plugin is the platform's door: the SOAP service OSPlatformAuthentication, through which the platform asks
// whether a user name and a password sign an IT user in.
//
// It identifies the calling environment, decodes strictly, and words the answer: what a refusal may say depends on the
// error's Kind alone. What signing in means is authn's business, and so are the checks behind Plugin_Test; TLS,
// listening and deadlines of connections are the program's.
//
// Nothing here is served to a caller who is not one of the configured environments, not even the WSDL.
package plugin

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/templates"
)

// Environment is one environment of the platform, and what proves that a call comes from it. When both a secret and a
// certificate are configured, a caller must show both.
type Environment struct {
	authn.Environment

	// Path is the environment's own plugin name, under which nobody else is served. Empty means Config.Name.
	Path string

	// Username and Secret are HTTP Basic credentials; the secret has at least MinSecret bytes.
	Username string
	Secret   authn.Secret

	// CertificateSAN is a DNS name, URI or e-mail address in the caller's certificate. The listener verifies the
	// certificate against the pinned CA; a certificate that it did not verify counts for nothing here.
	CertificateSAN string

	// AllowFrom are the only networks that may call, as seen on the connection itself. Empty means any.
	AllowFrom []netip.Prefix

	// TrustAddress lets Path and AllowFrom alone identify the environment, for a platform that can send no credentials.
	TrustAddress bool
}

// MinSecret is the least length of an environment's secret, in bytes.
const MinSecret = 32

// SignIns decides sign-ins; *authn.Service does. Errors have an authn.Kind.
type SignIns interface {
	SignIn(context.Context, authn.Call) (authn.Result, error)
	SignInIntegrated(context.Context, authn.Call) (authn.Result, error)
}

// Doctor checks whether sign-ins on an environment could work now; authn.Doctor does.
type Doctor interface {
	Diagnose(context.Context, authn.Environment) []authn.Finding
}

// Setting is a name and a text, as the platform's configuration page shows it.
type Setting struct{ Name, Value string }

// Screen is the fixed list of settings that administrators edit in the platform.
type Screen interface {
	// Settings are all of them as they are now, secrets masked.
	Settings(context.Context) ([]Setting, error)
	// Change changes those that are given, all or none, and says what came of it. Errors of the type Refusal are told to the
	// caller in their words.
	Change(context.Context, SettingsChange) (done string, err error)
}

// SettingsChange is a Plugin_SetConfigurations.
type SettingsChange struct {
	ID          string // correlation id
	Environment string
	Settings    []Setting
}

// Refusal says to the platform's administrators what is wrong with the settings that they sent: one line for each problem,
// without secrets.
type Refusal []string

func (r Refusal) Error() string { return strings.Join(r, "\n") }

// Action is what an Event tells of.
type Action string

// The actions.
const (
	Activated         Action = "activated"
	ActivationRefused Action = "activation_refused"
	Deactivated       Action = "deactivated"
	ConfigRefused     Action = "configuration_refused" // Plugin_SetConfigurations that changed nothing
	CallerRefused     Action = "caller_refused"
)

// Event is something beside sign-ins that belongs in the audit.
type Event struct {
	ID          string // correlation id
	Time        time.Time
	Action      Action
	Environment string // empty when the caller was refused
	Source      netip.Addr
	Detail      string // without secrets
}

// Journal writes an event down durably. It is called at most a few times a second for refused callers.
type Journal func(context.Context, Event) error

// Config is what the door is made of. SignIns, Doctor, Journal and NewID are required.
type Config struct {
	Name         string // plugin name of the environments that have no Path of their own
	PublicURL    string // https://bridge.example.com, as the platform reaches the bridge
	PortalURL    string // where users set up a second factor; may be empty
	Environments []Environment

	SignIns SignIns
	Doctor  Doctor
	Journal Journal
	NewID   func() string // a fresh correlation id

	Settings          func() []Setting // for Plugin_GetAllConfigurations: only what is safe to show
	Screen            Screen           // the settings that the platform's own screen may change; nil: it may change none
	PasswordSupported bool
	NamesSupported    bool // some provider can look up a name that a web server has authenticated
	Cloud             bool // may be used by an environment in OutSystems' cloud

	// Observe is told of every answer: the method (empty when the call did not get that far), and an authn.Kind's name,
	// "ok", "fault" or "refused". May be nil.
	Observe func(method, outcome string, took time.Duration)
	Now     func() time.Time
	Log     *slog.Logger
}

// door is the handler. It is safe for concurrent use.
type door struct {
	Config
	callers  []caller
	services map[string]service // by plugin name in lower case
	refusals limiter
	buffers  sync.Pool
	decoders sync.Pool
	page     *templates.Page
}

// service is what is served under one plugin name.
type service struct {
	name    string // as configured
	address string
	wsdl    []byte
}

// New checks the configuration, reporting all problems at once, and returns the door's handler. It serves /<plugin
// name>/OSPlatformAuthentication.asmx in any case of letters, and answers every other path as well, with 401 or 404,
// so it may be mounted at /.
func New(c Config) (http.Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Settings == nil {
		c.Settings = func() []Setting { return nil }
	}
	if c.Observe == nil {
		c.Observe = func(string, string, time.Duration) {}
	}
	described, err := templates.Load("service")
	if err != nil {
		return nil, err
	}
	d := &door{Config: c, services: map[string]service{}, page: described}
	d.buffers.New = func() any { return new(buffer) }
	d.decoders.New = func() any { return new(decoder) }
	for _, e := range c.Environments {
		d.callers = append(d.callers, newCaller(e, c.Name))
		name := e.pluginName(c.Name)
		d.services[lower(name)] = newService(name, c.PublicURL)
	}
	return d, nil
}

func (e Environment) pluginName(shared string) string {
	if e.Path != "" {
		return e.Path
	}
	return shared
}

func newService(name, publicURL string) service {
	address := publicURL + "/" + name + "/" + serviceFile
	return service{name: name, address: address, wsdl: wsdl(name, address)}
}

// lower folds ASCII letters only: other alphabets have letters that fold into ASCII.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
