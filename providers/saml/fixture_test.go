package saml

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/testenv"
)

const publicURL = "https://portal.example.test"

// adminURL is that of another door.
const adminURL = "https://admin.example.test:9443"

// rowsOfTests stands in for the store, which has its own tests. Safe for concurrent use.
type rowsOfTests struct {
	mu    sync.Mutex
	keys  []OwnKey
	seen  map[string]bool
	ended []string // provider subject name

	sessions []Session
	messages []Message
}

func (m *rowsOfTests) SAMLKeys(_ context.Context, provider string) (list []OwnKey, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.Provider == provider {
			list = append(list, k)
		}
	}
	return list, nil
}

func (m *rowsOfTests) AddSAMLKey(ctx context.Context, k OwnKey, after string, ends time.Time) (bool, error) {
	list, _ := m.SAMLKeys(ctx, k.Provider)
	m.mu.Lock()
	defer m.mu.Unlock()
	newest := ""
	if len(list) > 0 {
		newest = list[len(list)-1].ID
	}
	if newest != after {
		return false, nil
	}
	for i := range m.keys {
		if m.keys[i].ID == after {
			m.keys[i].Ends = ends
		}
	}
	m.keys = append(m.keys, k)
	return true, nil
}

func (m *rowsOfTests) Seen(_ context.Context, provider, id string, _ time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := !m.seen[provider+" "+id]
	m.seen[provider+" "+id] = true
	return first, nil
}

func (m *rowsOfTests) EndAccountSessions(_ context.Context, provider, subject, name string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = append(m.ended, provider+" "+subject+" "+name)
	return 1, nil
}

// party is idbridge at a real identity provider.
type party struct {
	*provider
	sp  *ServiceProvider
	idp *testenv.SimpleSAMLphpServer
	mem *rowsOfTests
	now func() time.Time
}

// registered sets an identity provider of the kind up: ours is configured by its metadata, theirs knows our certificate.
func registered(t *testing.T, as testenv.SAMLParty, configure func(*Config)) *party {
	t.Helper()
	return registeredAt(t, testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{}), as, configure)
}

func registeredAt(t *testing.T, idp *testenv.SimpleSAMLphpServer, as testenv.SAMLParty, configure func(*Config)) *party {
	t.Helper()
	s := &party{idp: idp}
	s.sp = NewServiceProvider(s.surroundings(t.TempDir()))
	c := Config{
		EntityID: s.idp.EntityID, Metadata: Metadata{URL: s.idp.MetadataURL, CAFile: s.idp.CA.File},
		Attributes: Attributes{Username: "uid", Name: "displayName", Email: "mail", Groups: "memberOf"},
	}
	if configure != nil {
		configure(&c)
	}
	s.provider = s.add(t, "corp", c)
	s.register(t, as)
	return s
}

func (s *party) add(t *testing.T, id string, c Config) *provider {
	t.Helper()
	if _, err := s.sp.New(id, id, c, authn.Route{Default: true}); err != nil {
		t.Fatal(err)
	}
	p, err := s.sp.provider(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// register tells the identity provider about us, as it would learn from our metadata.
func (s *party) register(t *testing.T, as testenv.SAMLParty) {
	t.Helper()
	key, err := s.keys.signing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	as.EntityID, as.ACS, as.SLO, as.Certificate = s.entityID(), s.acs(), s.slo(), key.certificate.Raw
	as.OtherACS = s.acsOf("admin")
	s.idp.Register(t, as)
}

// ready is a ring and a first key for provider corp under it, made once: to make one takes longer than most tests.
var ready = sync.OnceValues(func() (*keyring.Ring, OwnKey) {
	line, err := keyring.Generate("test")
	if err != nil {
		panic(err)
	}
	r, err := keyring.Parse(line)
	if err != nil {
		panic(err)
	}
	m := &rowsOfTests{}
	k := &ownKeys{provider: "corp", store: m, sealer: r, now: time.Now}
	if _, err := k.all(context.Background()); err != nil {
		panic(err)
	}
	return r, m.keys[0]
})

// surroundings are those of a program with one store.
func (s *party) surroundings(folder string) Surroundings {
	r, k := ready()
	s.mem, s.now = &rowsOfTests{seen: map[string]bool{}, keys: []OwnKey{k}}, time.Now
	return Surroundings{
		PublicURL: publicURL, Doors: map[string]string{"admin": adminURL + "/"}, Folder: folder, Keys: s.mem, Sealer: r, Replays: s.mem, Sessions: s.mem, IdPSessions: s.mem, Messages: s.mem,
		Now: func() time.Time { return s.now() },
	}
}

// signIn goes the whole way with a browser of its own.
func (s *party) signIn(t *testing.T, name string) (authn.Identity, error) {
	t.Helper()
	return s.signInWith(t, s.idp.Browser(name, "pw-"+name))
}

func (s *party) signInWith(t *testing.T, b *testenv.SAMLBrowser) (authn.Identity, error) {
	t.Helper()
	pending, reply := s.answer(t, b)
	return s.Finish(t.Context(), pending, reply)
}

// answer goes there and comes back, without the answer being judged.
func (s *party) answer(t *testing.T, b *testenv.SAMLBrowser) (pending []byte, reply authn.Reply) {
	t.Helper()
	r, err := s.Begin(t.Context(), authn.Ask{State: "the state"})
	if err != nil {
		t.Fatal(err)
	}
	m := b.Go(t, r.URL, r.Fields)
	if m.To != s.acs() || m.Form.Get("RelayState") != "the state" {
		t.Fatalf("sent to %s with RelayState %q", m.To, m.Form.Get("RelayState"))
	}
	return r.Pending, posted(m)
}

func posted(m testenv.SAMLMessage) authn.Reply {
	return authn.Reply{Method: m.Method, Form: m.Form, RawQuery: m.Query, Arrived: time.Now()}
}

func wantReason(t *testing.T, err error, kind authn.Kind, reason string) {
	t.Helper()
	if authn.KindOf(err) != kind || authn.ReasonOf(err) != reason {
		t.Errorf("%v; want %s (%s)", err, kind, reason)
	}
}

func wantIdentity(t *testing.T, got authn.Identity, err error, want authn.Identity) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.Provider != want.Provider || got.Username != want.Username || got.Name != want.Name || got.Email != want.Email ||
		!slices.Equal(got.Groups, want.Groups) || !slices.Equal(got.Factors, want.Factors) ||
		want.Subject != "" && got.Subject != want.Subject {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// ann is how she comes back from an identity provider.
var ann = authn.Identity{
	Provider: "corp", Username: "ann", Name: "Ann Example", Email: "ann@example.test",
	Groups: []string{"developers", "administrators"}, Factors: []string{authn.FactorIdP},
}

func file(t *testing.T, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func escaped(s string) string { return url.QueryEscape(s) }

func (m *rowsOfTests) AddSAMLSession(_ context.Context, s Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions = append(m.sessions, s)
	return nil
}

func (m *rowsOfTests) SAMLSessions(_ context.Context, provider, id, name string) (list []Session, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.Provider == provider && (s.ID == id || s.Name == name) {
			list = append(list, s)
		}
	}
	return list, nil
}

func (m *rowsOfTests) RemoveSAMLSession(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions = slices.DeleteFunc(m.sessions, func(s Session) bool { return s.ID == id })
	return nil
}

func (m *rowsOfTests) AddSAMLMessage(_ context.Context, n Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, n)
	return nil
}
