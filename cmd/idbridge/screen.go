package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/plugin"
	"github.com/idbridge/idbridge/providers/activedirectory"
	"github.com/idbridge/idbridge/providers/ldap"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
)

// ScreenConfig lets the platform's administrators change settings on its own screen, in LifeTime.
type ScreenConfig struct {
	Provider string `yaml:"provider" required:"true" doc:"whose settings they are: a provider of type ldap or activedirectory"`
}

// screen finds what is wrong in plugin.configuration.
func (k checker) screen() {
	if k.Plugin.Configuration == nil {
		return
	}
	k.refuseIf(k.Managed != managedByStore, "plugin.configuration", "needs managed: store (this file is never written)")
}

// The settings of the platform's screen.
const (
	screenKind     = "ProviderKind"
	screenURL      = "LDAPURL"
	screenStartTLS = "StartTLS"
	screenBaseDN   = "BaseDN"
	screenFilter   = "UserFilter"
	screenDomain   = "DefaultDomain"
	screenBindDN   = "BindDN"
	screenPassword = "BindPassword"
	screenFactor   = "SecondFactorPolicy"
)

// screenNames are all of them, in the order of the screen. There is no other way to change anything from the platform.
func screenNames() []string {
	return []string{screenKind, screenURL, screenStartTLS, screenBaseDN, screenFilter, screenDomain, screenBindDN, screenPassword,
		screenFactor}
}

// screenMask is what stands for a password that is set.
const screenMask = "********"

// The types of providers that the screen knows.
const (
	ldapType      = "ldap"
	directoryType = "activedirectory"
)

// screenKeys are the names by the keys that a problem may be about.
func screenKeys() map[string]string {
	return map[string]string{"type": screenKind, "urls": screenURL, "start_tls": screenStartTLS, "insecure_plaintext": screenURL,
		"base_dn": screenBaseDN, "user_filter": screenFilter, "domain": screenDomain, "bind_dn": screenBindDN,
		"bind_password": screenPassword, "factor.policy": screenFactor}
}

// platformScreen implements plugin.Screen.
type platformScreen struct{ *backend }

// screenOf is the platform's screen; nil where it may change nothing.
func (b *backend) screenOf() plugin.Screen {
	if b.config.Plugin.Configuration == nil {
		return nil
	}
	return platformScreen{b}
}

// screenSettings are the settings under a configuration, with the password in clear.
func (c Config) screenSettings() (map[string]string, error) {
	id := c.Plugin.Configuration.Provider
	at := slices.IndexFunc(c.Providers, func(p ProviderConfig) bool { return p.ID == id })
	if at < 0 {
		return nil, fmt.Errorf("plugin.configuration.provider: there is no provider %q", id)
	}
	p := c.Providers[at]
	set := map[string]string{screenKind: p.Type, screenFactor: string(c.policyOf(p)), screenFilter: "", screenDomain: ""}
	switch s := p.Settings.(type) {
	case ldap.Config:
		set[screenURL], set[screenStartTLS], set[screenBaseDN] = strings.Join(s.URLs, " "), truthWord(s.StartTLS), s.BaseDN
		set[screenFilter], set[screenBindDN], set[screenPassword] = s.UserFilter, s.BindDN, s.BindPassword.Reveal()
	case activedirectory.Config:
		set[screenURL], set[screenStartTLS], set[screenBaseDN] = strings.Join(s.URLs, " "), truthWord(s.StartTLS), s.BaseDN
		set[screenDomain], set[screenBindDN], set[screenPassword] = s.Domain, s.BindDN, s.BindPassword.Reveal()
	default:
		return nil, fmt.Errorf("plugin.configuration.provider: %s is of type %s, which the platform's screen does not know", id, p.Type)
	}
	return set, nil
}

// truthWord is a truth value as the platform writes it.
func truthWord(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// Settings implements plugin.Screen.
func (s platformScreen) Settings(ctx context.Context) (list []plugin.Setting, err error) {
	d, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	set, err := d.before.screenSettings()
	if err != nil {
		return nil, err
	}
	if set[screenPassword] != "" {
		set[screenPassword] = screenMask
	}
	for _, name := range screenNames() {
		list = append(list, plugin.Setting{Name: name, Value: set[name]})
	}
	return list, nil
}

// screenTries is how often a change is made again because somebody else saved a version meanwhile: the platform propagates to
// several environments at once.
const screenTries = 5

// Change implements plugin.Screen. What comes again with the same values, for instance from the next environment, makes no
// version.
func (s platformScreen) Change(ctx context.Context, c plugin.SettingsChange) (done string, err error) {
	for range screenTries {
		if done, err = s.changeOnce(ctx, c); !errors.Is(err, revision.ErrMoved) {
			return done, err
		}
	}
	return "", plugin.Refusal{"Others are changing the configuration at the same time. Please try again."}
}

func (s platformScreen) changeOnce(ctx context.Context, c plugin.SettingsChange) (string, error) {
	d, err := s.begin(ctx)
	if err != nil {
		return "", err
	}
	was, err := d.before.screenSettings()
	if err != nil {
		return "", err
	}
	wanted, problems := wantedSettings(was, c.Settings)
	if len(problems) > 0 {
		return "", problems
	}
	version, done := d.base, "Nothing changed: the settings were these already."
	if !reflect.DeepEqual(was, wanted) {
		if err := d.setScreen(was, wanted); err != nil {
			return "", refusalOfScreen(err)
		}
		info, err := d.save(ctx, "environment:"+c.Environment, "set on the platform's screen", false)
		if err != nil {
			return "", refusalOfScreen(err)
		}
		version, done = info.Number, fmt.Sprintf("Saved as version %d of idbridge's configuration.", info.Number)
	}
	return done, s.sightings().Put(ctx, revision.Sighting{Environment: c.Environment, Time: time.Now(), Version: version, Settings: wanted})
}

func (b *backend) sightings() revision.Sightings {
	return revision.Sightings{Store: b.store, Sealer: b.ring}
}

// wantedSettings are the settings with those that were sent in their place. All problems are told at once.
func wantedSettings(was map[string]string, sent []plugin.Setting) (wanted map[string]string, problems plugin.Refusal) {
	wanted, seen := map[string]string{}, map[string]bool{}
	for name, value := range was {
		wanted[name] = value
	}
	refuse := func(name, format string, args ...any) {
		problems = append(problems, name+": "+fmt.Sprintf(format, args...))
	}
	for _, one := range sent {
		switch {
		case !slices.Contains(screenNames(), one.Name):
			refuse(strconv.Quote(one.Name), "there is no such setting (there are %s)", strings.Join(screenNames(), ", "))
		case seen[one.Name]:
			refuse(one.Name, "is given twice")
		case one.Name != screenPassword:
			wanted[one.Name] = strings.TrimSpace(one.Value)
		case one.Value != screenMask:
			wanted[one.Name] = one.Value
		}
		seen[one.Name] = true
	}
	if len(sent) == 0 {
		problems = append(problems, "No setting was sent.")
	}
	wanted[screenKind] = strings.ToLower(wanted[screenKind])
	wanted[screenURL] = strings.Join(screenURLs(wanted[screenURL]), " ")
	wanted[screenFactor] = strings.ToLower(wanted[screenFactor])
	checkSettings(was, wanted, refuse)
	return wanted, problems
}

// checkSettings looks at types, and at what is mandatory. What the directory's own settings must be is judged where they are
// made.
func checkSettings(was, wanted map[string]string, refuse func(name, format string, args ...any)) {
	switch on, err := strconv.ParseBool(strings.ToLower(wanted[screenStartTLS])); {
	case err != nil:
		refuse(screenStartTLS, "%q is neither True nor False", wanted[screenStartTLS])
	default:
		wanted[screenStartTLS] = truthWord(on)
	}
	policies := []string{string(authn.FactorNever), string(authn.FactorEnrolled), string(authn.FactorRequired)}
	if !slices.Contains(policies, wanted[screenFactor]) {
		refuse(screenFactor, "%q is not one of %s", wanted[screenFactor], strings.Join(policies, ", "))
	}
	foreign, mandatory := screenDomain, []string{screenURL}
	switch wanted[screenKind] {
	case ldapType:
	case directoryType:
		foreign, mandatory = screenFilter, []string{screenDomain, screenBindDN, screenPassword}
	default:
		refuse(screenKind, "%q is not one of %s, %s", wanted[screenKind], directoryType, ldapType)
		return
	}
	if wanted[screenKind] != was[screenKind] && wanted[foreign] == was[foreign] {
		wanted[foreign] = "" // it was sent along, as it was shown for the other kind
	}
	if wanted[foreign] != "" {
		refuse(foreign, "has no meaning for the kind %s (leave it empty)", wanted[screenKind])
	}
	for _, name := range mandatory {
		if wanted[name] == "" {
			refuse(name, "is mandatory for the kind %s", wanted[screenKind])
		}
	}
	if wanted[screenPassword] != "" && wanted[screenPassword] == was[screenPassword] && goesElsewhere(was, wanted) {
		refuse(screenPassword, "must be typed again: the server is another one, and would be told the password")
	}
}

// goesElsewhere tells whether the bind password would be sent to a server that was not told it so far, or less protected.
func goesElsewhere(was, wanted map[string]string) bool {
	if was[screenStartTLS] != wanted[screenStartTLS] && wanted[screenStartTLS] == "False" {
		return true
	}
	known := screenURLs(was[screenURL])
	if len(screenURLs(wanted[screenURL])) == 0 { // those that DNS knows
		return len(known) > 0 || was[screenDomain] != wanted[screenDomain]
	}
	return slices.ContainsFunc(screenURLs(wanted[screenURL]), func(text string) bool {
		return !slices.ContainsFunc(known, func(other string) bool { return serverOf(other) == serverOf(text) })
	})
}

// serverOf is a URL without what comes behind the server.
func serverOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// screenURLs takes a list of URLs apart; blanks in a base DN are written %20 in a URL.
func screenURLs(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ';' || r == '\t' || r == '\n' || r == '\r' })
}

// setScreen puts the settings into the provider. Of another kind it takes over what both kinds have.
func (d *draft) setScreen(was, wanted map[string]string) error {
	at := d.find(d.before.Plugin.Configuration.Provider)
	p := d.next.Providers[at]
	if p.Type != wanted[screenKind] {
		p.Type, p.Settings = wanted[screenKind], otherKind(p.Settings)
	}
	urls, tls, password := screenURLs(wanted[screenURL]), wanted[screenStartTLS] == "True", authn.Secret(wanted[screenPassword])
	switch s := p.Settings.(type) {
	case ldap.Config:
		s.URLs, s.StartTLS, s.BaseDN, s.UserFilter = urls, tls, wanted[screenBaseDN], wanted[screenFilter]
		s.BindDN, s.BindPassword = wanted[screenBindDN], password
		p.Settings = s
	case activedirectory.Config:
		s.URLs, s.StartTLS, s.BaseDN, s.Domain = urls, tls, wanted[screenBaseDN], wanted[screenDomain]
		s.BindDN, s.BindPassword = wanted[screenBindDN], password
		p.Settings = s
	}
	if was[screenFactor] != wanted[screenFactor] {
		p.Factor.Policy = wanted[screenFactor]
	}
	list := slices.Clone(d.next.Providers)
	list[at] = p
	return d.setProviders(list)
}

// otherKind is what an LDAP directory and a domain have in common.
func otherKind(settings any) any {
	switch s := settings.(type) {
	case ldap.Config:
		return activedirectory.Config{CAFile: s.CAFile, ServerName: s.ServerName, DialTimeout: s.DialTimeout, RequestTimeout: s.RequestTimeout,
			SearchPool: s.SearchPool, BindPool: s.BindPool, CacheTTL: s.CacheTTL}
	case activedirectory.Config:
		return ldap.Config{CAFile: s.CAFile, ServerName: s.ServerName, DialTimeout: s.DialTimeout, RequestTimeout: s.RequestTimeout,
			SearchPool: s.SearchPool, BindPool: s.BindPool, CacheTTL: s.CacheTTL}
	}
	return settings
}

// refusalOfScreen puts what is wrong into the words of the screen: its names in place of keys.
func refusalOfScreen(err error) error {
	var problems strictyaml.Problems
	var locked lockedOut
	switch {
	case errors.As(err, &problems):
		var refusal plugin.Refusal
		for _, p := range problems {
			refusal = append(refusal, screenName(p.Path)+": "+p.Text)
		}
		return refusal
	case errors.As(err, &locked):
		return plugin.Refusal(strings.Split(locked.Error(), "\n"))
	}
	return err
}

// screenName is the name of a setting by the path of its key.
func screenName(path string) string {
	_, key, _ := strings.Cut(path, "].")
	key, _, _ = strings.Cut(key, "[")
	if name, ok := screenKeys()[key]; ok {
		return name
	}
	return path
}

// drifted is an environment of the platform whose settings are others than those in force.
type drifted struct {
	Environment string     `json:"environment"`
	Time        *time.Time `json:"time"`    // when it last sent settings; null: never
	Version     int64      `json:"version"` // that was in force then
	Differs     []differs  `json:"differs"` // empty: the same
}

type differs struct {
	Name     string `json:"name"`
	Sent     string `json:"sent"` // secrets masked
	InForce  string `json:"in_force"`
	IsSecret bool   `json:"secret,omitempty"`
}

// drift compares what each environment sent last with what is in force.
func (b *backend) drift(ctx context.Context) (list []drifted, err error) {
	if b.config.Plugin.Configuration == nil {
		return nil, usageError{errors.New("plugin.configuration is not switched on, so no environment sends settings")}
	}
	d, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	now, err := d.before.screenSettings()
	if err != nil {
		return nil, err
	}
	seen, err := b.sightings().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range b.config.Environments {
		one := drifted{Environment: e.Name, Differs: []differs{}}
		if at := slices.IndexFunc(seen, func(s revision.Sighting) bool { return s.Environment == e.Name }); at >= 0 {
			one.Time, one.Version, one.Differs = &seen[at].Time, seen[at].Version, differences(seen[at].Settings, now)
		}
		list = append(list, one)
	}
	return list, nil
}

func differences(sent, now map[string]string) []differs {
	list := []differs{}
	for _, name := range screenNames() {
		one := differs{Name: name, Sent: sent[name], InForce: now[name], IsSecret: name == screenPassword}
		if one.Sent == one.InForce {
			continue
		}
		if one.IsSecret {
			one.Sent, one.InForce = strictyaml.Mask, strictyaml.Mask
		}
		list = append(list, one)
	}
	return list
}
