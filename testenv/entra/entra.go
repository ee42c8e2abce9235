// Package entra stands in for Microsoft Entra ID and Microsoft Graph in tests, as neither can be reached from them.
//
// It is built from what Microsoft publishes of the protocol: addresses, parameters, claims of v2.0 ID tokens, limits
// (200 groups in a token, 999 entries in a page), and errors (AADSTS numbers with trace and correlation id). It shares no
// code and no library with the provider that it tests: tokens are signed, and client assertions verified, by hand.
// Nothing but tests may import it.
package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// Tenant is a directory.
type Tenant struct {
	ID     string
	People []*Person
	Groups []Group
	Apps   []*App
	SAML   *Federation // nil: none
}

// Person is somebody in a tenant.
type Person struct {
	OID, UPN, Name, Mail, Password string

	Guest  bool   // from another tenant
	HomeID string // the guest's own tenant

	Groups, Roles []string // ids of groups, nested ones too; app roles
	Methods       []string // amr
	Contexts      []string // authentication contexts that the person's sign-ins satisfy

	Refused int // the AADSTS number that every sign-in ends with, once the password is right
	Demand  int // ... that only the password grant ends with: what it wants can only be done with a browser
}

// Group is a group of a tenant, or a directory role.
type Group struct {
	ID, Name, OnPremises string
	Role                 bool
}

// App is an application that is registered in a tenant.
type App struct {
	ID           string
	Secrets      map[string]time.Time // value and end; a zero end is far away
	Certificates []*x509.Certificate
	Federated    []string // tokens of a workload that are taken for its credential
	RedirectURIs []string
	MultiTenant  bool

	GroupsClaim    bool     // ID tokens carry groups
	OptionalClaims []string // of ID tokens: acct, amr ...
	Scopes         []string // of Graph, to which the tenant has consented for its users
	Permissions    []string // of Graph, that the application itself was given
}

// Token is an ID token before it is signed. A test may change it.
type Token struct {
	Header, Claims map[string]any
	Key            *rsa.PrivateKey
	Raw            string // when set, it is sent as it is
}

// Server is the sign-in service and Graph, each on a host of its own.
type Server struct {
	Authority, Graph string // host:port; of different sites than 127.0.0.1, as browsers see it
	CAFile           string
	Certificate      *x509.Certificate // of both, for a browser
	Now              func() time.Time

	mu      sync.Mutex
	client  *http.Client
	tenants map[string]*Tenant
	keys    []signingKey
	codes   map[string]*code
	access  map[string]access
	calls   map[string]int
	broken  map[string]http.HandlerFunc
	token   func(*Token)
	seq     int
}

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

// Start runs the stand-in until the test ends.
func Start(tb testenv.TB, tenants ...*Tenant) *Server {
	tb.Helper()
	ca := testenv.CA(tb)
	s := &Server{
		CAFile: ca.File, Now: time.Now, tenants: map[string]*Tenant{}, codes: map[string]*code{}, access: map[string]access{},
		calls: map[string]int{}, broken: map[string]http.HandlerFunc{},
	}
	for _, t := range tenants {
		s.tenants[t.ID] = t
	}
	s.RollOver(tb)
	certificate := ca.Server(tb).TLS
	s.Certificate = certificate.Leaf
	s.Authority = listen(tb, certificate, s.login())
	s.Graph = listen(tb, certificate, s.graph())
	s.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	tb.Cleanup(s.client.CloseIdleConnections)
	return s
}

func listen(tb testenv.TB, certificate tls.Certificate, h http.Handler) string {
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return strings.Replace(strings.TrimPrefix(server.URL, "https://"), "127.0.0.1", "localhost", 1)
}

// Change changes what the server knows while nobody is served.
func (s *Server) Change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Tokens makes every ID token pass through f before it is signed; nil ends that.
func (s *Server) Tokens(f func(*Token)) { s.Change(func() { s.token = f }) }

// Break makes one kind of request (discovery, keys, authorize, token, graph) be answered by h; nil repairs it.
func (s *Server) Break(kind string, h http.HandlerFunc) { s.Change(func() { s.broken[kind] = h }) }

// Calls counts the requests of a kind so far.
func (s *Server) Calls(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[kind]
}

// RollOver adds a signing key, which signs from now on. Keys from before stay published.
func (s *Server) RollOver(tb testenv.TB) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256(key.N.Bytes())
	s.Change(func() { s.keys = append(s.keys, signingKey{base64.RawURLEncoding.EncodeToString(sum[:20]), key}) })
}

// SigningKey is the key that signs now, with its id.
func (s *Server) SigningKey() (id string, key *rsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[len(s.keys)-1]
	return k.id, k.key
}

// handle serves one kind of request under the lock, unless the test has broken it. A broken one is served without.
func (s *Server) handle(kind string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[kind]++
		if broken := s.broken[kind]; broken != nil {
			s.mu.Unlock()
			broken(w, r)
			return
		}
		defer s.mu.Unlock()
		serve(w, r)
	}
}

// tenant is the one that an address names; several when it names all organisations.
func (s *Server) tenant(name string) (list []*Tenant) {
	for _, t := range s.tenants {
		if t.ID == name || name == "organizations" || name == "common" {
			list = append(list, t)
		}
	}
	return list
}

func (t *Tenant) app(id string) *App {
	for _, a := range t.Apps {
		if a.ID == id {
			return a
		}
	}
	return nil
}

func (t *Tenant) person(fits func(*Person) bool) *Person {
	for _, p := range t.People {
		if fits(p) {
			return p
		}
	}
	return nil
}

// app finds an application where it is registered; a multi-tenant one is known everywhere.
func (s *Server) app(list []*Tenant, id string) *App {
	for _, t := range list {
		if a := t.app(id); a != nil {
			return a
		}
	}
	for _, t := range s.tenants {
		if a := t.app(id); a != nil && a.MultiTenant {
			return a
		}
	}
	return nil
}

// find finds who has a UPN, in any of the tenants.
func find(list []*Tenant, upn string) (*Tenant, *Person) {
	for _, t := range list {
		if p := t.person(func(p *Person) bool { return strings.EqualFold(p.UPN, upn) }); p != nil {
			return t, p
		}
	}
	return nil, nil
}

// GUID makes an id that is the same in each run.
func GUID(name string) string {
	sum := sha256.Sum256([]byte(name))
	h := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("%s-%s-4%s-a%s-%s", h[:8], h[8:12], h[13:16], h[17:20], h[20:32])
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// AddTenant makes another directory known; call it within Change.
func (s *Server) AddTenant(t *Tenant) { s.tenants[t.ID] = t }
