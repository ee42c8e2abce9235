package saml

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Surroundings are what the service provider needs of the program around it. While only a configuration is checked all
// of it may be missing.
type Surroundings struct {
	PublicURL   string            // of the portal: every address of ours begins with it
	Doors       map[string]string // public URLs of other doors, by name, to which people come back too
	Folder      string            // for last good copies of metadata; "" keeps none
	OnlyLook    bool              // reads last good copies, and writes none
	Keys        KeyStore
	Sealer      Sealer
	Replays     Replays
	Sessions    Sessions
	IdPSessions SessionStore
	Messages    MessageLog       // nil: none is kept
	Log         *slog.Logger     // nil: nothing is told
	Now         func() time.Time // nil: time.Now
}

// ServiceProvider is idbridge towards all its SAML identity providers. Each of them has addresses, keys and an entityID of
// its own, so that what one of them says can never pass for another's word. It is safe for concurrent use.
type ServiceProvider struct {
	around Surroundings

	mu        sync.Mutex
	providers map[string]*provider
}

// NewServiceProvider makes one that knows no identity provider yet.
func NewServiceProvider(s Surroundings) *ServiceProvider {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.PublicURL = strings.TrimRight(s.PublicURL, "/")
	return &ServiceProvider{around: s, providers: map[string]*provider{}}
}

// provider is one identity provider. It implements authn.RedirectProvider.
type provider struct {
	Surroundings
	id, label string
	config    Config
	dialect   Dialect
	pins      []*x509.Certificate
	source    *source
	keys      *ownKeys
	journal   journal
}

// New adds an identity provider. It validates and never dials. The error names the keys to change.
func (s *ServiceProvider) New(id, label string, c Config, route authn.Route) (authn.Provider, error) {
	return s.NewDialect(id, label, c, Dialect{}, route)
}

// NewDialect is New for an identity product that has a package of its own.
func (s *ServiceProvider) NewDialect(id, label string, c Config, d Dialect, route authn.Route) (authn.Provider, error) {
	m, err := c.prepare()
	if !providerID.MatchString(id) {
		err = errors.Join(err, errors.New("the id is part of addresses: use 1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit"))
	}
	match, routeErr := route.Matcher()
	if err := errors.Join(err, routeErr); err != nil {
		return authn.Provider{}, err
	}
	p := &provider{Surroundings: s.around, id: id, label: label, config: c, dialect: d, pins: m.certificates}
	p.source = p.newSource(m)
	p.keys = &ownKeys{provider: id, store: s.around.Keys, sealer: s.around.Sealer, now: p.Now}
	s.mu.Lock()
	s.providers[id] = p
	s.mu.Unlock()
	return authn.Provider{ID: id, Label: label, Match: match, Redirect: p, Unsolicited: c.IdPInitiated, SignOut: p.signOut,
		Check: p.check, Inspect: p.inspect, GroupRule: c.Attributes.groupRule}, nil
}

func (p *provider) newSource(m material) *source {
	c := p.config
	if c.Metadata.URL == "" && c.Metadata.File == "" {
		known := peer{sso: map[string]string{c.Endpoint.SSOBinding: c.Endpoint.SSOURL}, certificates: m.certificates}
		if c.Endpoint.SLOURL != "" {
			known.slo = map[string]sloPlace{c.Endpoint.SLOBinding: {c.Endpoint.SLOURL, c.Endpoint.SLOURL}}
		}
		return writtenDown(known, p.Now)
	}
	s := &source{
		reader: metadataReader{entityID: c.EntityID, signers: m.signers, pins: m.certificates},
		load:   fromFile(c.Metadata.File), every: fileEvery, now: p.Now, log: p.Log, loading: make(chan struct{}, 1),
	}
	if c.Metadata.URL != "" {
		s.load, s.every = fromURL(c.Metadata.URL, m.roots), refreshEvery
		if p.Folder != "" {
			s.copy, s.onlyLook = filepath.Join(p.Folder, p.id+".xml"), p.OnlyLook
		}
	}
	return s
}

// The addresses of one identity provider's messages to us.
func (p *provider) address(last string) string {
	return p.PublicURL + "/saml/" + url.PathEscape(p.id) + "/" + last
}

func (p *provider) acs() string { return p.address("acs") }

// acsOf is where answers for a door come; empty: nowhere.
func (p *provider) acsOf(door string) string {
	at, known := p.Doors[door]
	switch {
	case p.PublicURL == "":
		return ""
	case door == "":
		return p.acs()
	case !known:
		return ""
	}
	return strings.TrimRight(at, "/") + "/saml/" + url.PathEscape(p.id) + "/acs"
}

// consumers are all addresses to which answers come, the portal's first.
func (p *provider) consumers() []string {
	list := []string{p.acs()}
	for _, door := range slices.Sorted(maps.Keys(p.Doors)) {
		list = append(list, p.acsOf(door))
	}
	return list
}

func (p *provider) slo() string { return p.address("slo") }

// entityID is what we are called at this identity provider: an audience that no other one's answers have.
func (p *provider) entityID() string {
	if p.config.OurEntityID != "" {
		return p.config.OurEntityID
	}
	return p.address("metadata")
}

// Run keeps the metadata of all identity providers fresh until ctx is done.
func (s *ServiceProvider) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.warn(ctx) })
	for _, p := range s.list() {
		all.Go(func() { p.source.run(ctx) })
	}
	all.Wait()
}

// warn tells the log once a day what will end sign-ins, the first time when the metadata should have been read.
func (s *ServiceProvider) warn(ctx context.Context) {
	for pause := time.Minute; ; pause = 24 * time.Hour {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		for _, p := range s.list() {
			for _, f := range p.findings(ctx) {
				if !f.OK() {
					s.around.Log.WarnContext(ctx, "saml: "+f.Problem, "provider", p.id, "check", f.Check)
				}
			}
		}
	}
}

func (s *ServiceProvider) list() (list []*provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.providers {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *provider) int { return strings.Compare(a.id, b.id) })
	return list
}

func (s *ServiceProvider) provider(id string) (*provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.providers[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no SAML provider %q", id)
}

// good are the certificates whose signatures are believed today.
func (p *provider) good(all []*x509.Certificate) (good []*x509.Certificate) {
	now := p.Now()
	for _, c := range all {
		begins, ends := c.NotBefore.Add(-p.config.ClockSkew), c.NotAfter.Add(p.config.ClockSkew)
		if p.config.AllowExpired || now.After(begins) && now.Before(ends) {
			good = append(good, c)
		}
	}
	return good
}

func errExpired() error {
	return authn.Errorf(authn.Unavailable, "certificates_expired",
		"every signing certificate of the identity provider has expired, or is not valid yet")
}

func errNoPublicURL() error {
	return authn.Errorf(authn.Unavailable, "no_public_url",
		"the portal has no public URL, so nobody could come back from the identity provider")
}
