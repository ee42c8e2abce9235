package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/plugin"
)

// bridge is the product wired for one configuration: the doors and what the operators' pages need.
type bridge struct {
	*backend
	door    http.Handler
	portal  http.Handler // nil: not configured
	admin   http.Handler // nil: not configured
	shared  http.Handler // the platform's door, with the portal beside it where that has no listener of its own
	service *authn.Service
	doctor  authn.Doctor
	metrics *metrics
	log     *slog.Logger
}

func newBridge(b *backend, m *metrics, log *slog.Logger) (*bridge, error) {
	b.saml = b.serviceProvider(true, log)
	lends, list, fallback, err := makeOrTake(b.config, b.footing(), b.lends)
	if err != nil {
		return nil, err
	}
	b.lends = lends
	w, err := b.bridge(m, log, list, fallback)
	if err != nil {
		closeProviders(list)
	}
	return w, err
}

// bridge wires the product around its providers.
func (b *backend) bridge(m *metrics, log *slog.Logger, list []authn.Provider, fallback string) (*bridge, error) {
	service, err := newService(b, m, log, list, fallback)
	if err != nil {
		return nil, err
	}
	w := &bridge{backend: b, metrics: m, log: log, service: service, doctor: authn.Doctor{Providers: list, Ground: b.store}}
	w.door, err = plugin.New(plugin.Config{
		Name: b.config.Plugin.Name, PublicURL: b.config.Plugin.PublicURL, PortalURL: b.config.toldPortalURL(),
		Environments: b.config.callers(), SignIns: service, Doctor: w.doctor, Journal: b.journal, NewID: newID,
		Screen: b.screenOf(), Settings: b.config.shown, PasswordSupported: true, NamesSupported: slices.ContainsFunc(list, canLookUp),
		Cloud: b.config.Plugin.Cloud, Observe: m.call, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if w.portal, err = newPortal(b, w, service); err != nil {
		return nil, err
	}
	if w.admin, err = newAdmin(b, w, service); err != nil {
		return nil, err
	}
	w.shared = w.door
	if w.portal != nil && b.config.Portal.Address == "" {
		w.shared = b.config.beside(w.door, w.portal)
	}
	return w, nil
}

func newService(b *backend, m *metrics, log *slog.Logger, list []authn.Provider, fallback string) (*authn.Service, error) {
	users, err := itusers.NewDirectory(timedFinder{b.store, m}, b.config.matches(), time.Now)
	if err != nil {
		return nil, err
	}
	policy, err := b.config.policy().Func()
	if err != nil {
		return nil, err
	}
	why, err := b.config.policy().Why()
	if err != nil {
		return nil, err
	}
	glass := b.config.breakGlass()
	return authn.NewService(authn.Config{
		Providers: list, Default: fallback, Users: users, Factors: b.factors, Policy: policy, PolicyWhy: why,
		Throttle: b.throttle,
		Auditor:  observer{glassLog{b.audit, glass}, m, log, glass, b.config.RefusalTime, b.metBroken}, Tokens: b.store,
		RefusalTime: b.config.RefusalTime, CallTimeout: b.config.CallTimeout,
		Panicked: func(id string, value any, stack []byte) { logPanic(log, id, value, stack) }, Before: b.before,
	})
}

func canLookUp(p authn.Provider) bool { return p.Lookup != nil }

// logPanic tells of a bug. Only the runtime's own words are shown: another value could hold what somebody typed.
func logPanic(log *slog.Logger, id string, value any, stack []byte) {
	text := fmt.Sprintf("%T", value)
	if err, ok := value.(runtime.Error); ok {
		text = err.Error()
	}
	log.Error("panic", "id", id, "panic", text, "stack", string(stack))
}

// newID is a correlation id: the time in milliseconds, and 32 random bits. One that is later sorts later, so that the index of ids
// grows at its end, where the database has the page at hand, and not anywhere.
func newID() string {
	var b [10]byte
	binary.BigEndian.PutUint64(b[:], uint64(time.Now().UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails
	return hex.EncodeToString(b[:])
}

// matches say, by provider, how accounts find their IT user.
func (c Config) matches() map[string]itusers.Match {
	matches := map[string]itusers.Match{}
	for _, p := range c.Providers {
		if u := p.ITUser; u.Attribute != "none" {
			matches[p.ID] = itusers.Match{Attribute: u.Attribute, StripDomain: u.StripDomain, Template: u.Template, Shared: u.Shared}
		}
	}
	return matches
}

// breakGlass are the ids of the providers of break-glass accounts: one at most, but nobody here needs to know.
func (c Config) breakGlass() map[string]bool {
	ids := map[string]bool{}
	for _, p := range c.Providers {
		if p.Type == breakGlass {
			ids[p.ID] = true
		}
	}
	return ids
}

func (c Config) policy() mfa.Policy {
	policy := mfa.Policy{Default: authn.FactorPolicy(c.MFA.Policy), Providers: map[string]mfa.ProviderPolicy{}}
	for _, p := range c.Providers {
		one := mfa.ProviderPolicy{Default: authn.FactorPolicy(p.Factor.Policy)}
		for _, g := range p.Factor.Groups {
			one.Groups = append(one.Groups, mfa.GroupRule{Group: g.Group, Policy: authn.FactorPolicy(g.Policy)})
		}
		if p.Type == breakGlass { // whatever the file says: its check refuses anything else, too
			one = mfa.ProviderPolicy{Default: authn.FactorRequired}
		}
		policy.Providers[p.ID] = one
	}
	return policy
}

// callers are the environments as the door knows them.
func (c Config) callers() (list []plugin.Environment) {
	for _, e := range c.Environments {
		p := plugin.Environment{Environment: e.core(), Path: e.Path, AllowFrom: e.AllowFrom, TrustAddress: e.TrustAddress}
		if e.Credentials != nil {
			p.Username, p.Secret = e.Credentials.Username, e.Credentials.Secret
		}
		if e.ClientCertificate != nil {
			p.CertificateSAN = e.ClientCertificate.SAN
		}
		list = append(list, p)
	}
	return list
}

func (e EnvironmentConfig) core() authn.Environment {
	return authn.Environment{Name: e.Name, IDs: authn.IDSource(e.IDs), Integrated: e.Integrated}
}

// shown are the settings that the platform's administrators may see.
func (c Config) shown() []plugin.Setting {
	var ids []string
	for _, p := range c.Providers {
		ids = append(ids, p.ID+" ("+p.Type+")")
	}
	return []plugin.Setting{
		{Name: "Version", Value: version()},
		{Name: "Providers", Value: strings.Join(ids, ", ")},
		{Name: "SecondFactorPolicy", Value: c.MFA.Policy},
		{Name: "CallTimeout", Value: c.CallTimeout.String()},
	}
}

// journal writes what the door tells, beside sign-ins, into the audit.
func (b *backend) journal(ctx context.Context, e plugin.Event) error {
	r := audit.Record{Time: e.Time, ID: e.ID, Environment: e.Environment, Detail: e.Detail, Kind: authn.OK.String(), Reason: string(e.Action)}
	if e.Source.IsValid() {
		r.Source = e.Source.String()
	}
	switch e.Action {
	case plugin.Deactivated:
		r.Action = audit.Deactivation
	case plugin.CallerRefused:
		r.Action, r.Kind = audit.CallerRefused, authn.Untrusted.String()
	case plugin.ActivationRefused, plugin.ConfigRefused:
		r.Action, r.Kind = audit.Activation, authn.Unavailable.String()
	default:
		r.Action = audit.Activation
	}
	return b.audit.Event(ctx, r)
}
