// Package lifetime stands in for OutSystems LifeTime's REST API v2 in tests, as no test can reach one.
//
// It is built from what OutSystems publishes of the API: paths that end in a slash, the names and the letters of JSON, text
// for the key of a new user, 204 for an empty list, {Errors, StatusCode} for errors. It shares no code with the client that
// it tests. Faults are switched on by tests. Nothing but tests may import it.
package lifetime

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/idbridge/idbridge/testenv"
)

// User is an IT user. Teams and application roles have endpoints of their own.
type User struct {
	Key, Username, Name, Email string
	IsActive                   bool
	RoleKey, RoleName          string
	Teams                      []TeamRole
}

// TeamRole is a team that a user is in, and as what.
type TeamRole struct{ TeamKey, TeamName, RoleKey, RoleName string }

// Role is a role.
type Role struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

// Team is a team.
type Team struct{ Key, Name string }

// Environment is an environment.
type Environment struct{ Key, Name, HostName, EnvironmentType, DatabaseProvider string }

// Blocked is a login that the platform blocks after too many failures.
type Blocked struct{ UserKey, EnvironmentKey, IpAddress string } //nolint:revive // the API's spelling

// Fault is what goes wrong with a request: it answers in the server's place. nil: nothing does.
type Fault func(w http.ResponseWriter, r *http.Request, rightly http.Handler)

// Server is a LifeTime with one service account.
type Server struct {
	URL, CAFile string
	Token       string
	Account     string // key of the service account that the token belongs to

	mu           sync.Mutex
	users        []*User
	roles        []Role
	teams        []Team
	environments []Environment
	blocked      []Blocked
	fault        Fault
	requests     []string
}

// Start runs a LifeTime with roles Developer, Operator and Administrator, teams Web and Core, and the environments
// Development and Production, until the test ends.
func Start(tb testenv.TB) *Server {
	tb.Helper()
	ca := testenv.CA(tb)
	s := &Server{CAFile: ca.File, Account: Key()}
	subject := base64.StdEncoding.EncodeToString([]byte(s.Account))
	payload, _ := json.Marshal(map[string]string{"iat": "1742394519", "sub": subject, "jti": rand.Text()})
	s.Token = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." + base64.RawURLEncoding.EncodeToString(payload) + "." + rand.Text()
	for _, name := range []string{"Developer", "Operator", "Administrator"} {
		s.roles = append(s.roles, Role{Key(), name})
	}
	s.teams = []Team{{Key(), "Web"}, {Key(), "Core"}}
	s.environments = []Environment{
		{Key(), "Development", "dev.example.test", "Development", "SQL Server"},
		{Key(), "Production", "prod.example.test", "Production", "SQL Server"},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s)
	_ = h.Listener.Close()
	h.Listener = l
	h.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(tb).TLS}, MinVersion: tls.VersionTLS12}
	h.Config.ErrorLog = nil
	h.StartTLS()
	tb.Cleanup(h.Close)
	s.URL = "https://" + l.Addr().String()
	return s
}

// Key makes a GUID.
func Key() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Add adds users; one without a key gets one, one without a role is a Developer.
func (s *Server) Add(users ...User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range users {
		if u.Key == "" {
			u.Key = Key()
		}
		if u.RoleKey == "" {
			u.RoleKey = s.roles[0].Key
		}
		s.users = append(s.users, &u)
	}
}

// Remove takes a user away, which the real one never does.
func (s *Server) Remove(username string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = slices.DeleteFunc(s.users, func(u *User) bool { return u.Username == username })
}

// User is a copy of a user; the zero value when there is none.
func (s *Server) User(username string) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.find(func(u *User) bool { return u.Username == username }); u != nil {
		return s.copied(u)
	}
	return User{}
}

// Change changes a user as an administrator of the platform would.
func (s *Server) Change(username string, change func(*User)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.find(func(u *User) bool { return u.Username == username }); u != nil {
		change(u)
	}
}

// Block blocks logins.
func (s *Server) Block(list ...Blocked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = append(s.blocked, list...)
}

// Team is the key of a team, Role that of a role.
func (s *Server) Team(name string) string {
	return s.teams[slices.IndexFunc(s.teams, func(t Team) bool { return t.Name == name })].Key
}

// Role is the key of a role.
func (s *Server) Role(name string) string {
	return s.roles[slices.IndexFunc(s.roles, func(r Role) bool { return r.Name == name })].Key
}

// Environment is the key of an environment.
func (s *Server) Environment(name string) string {
	return s.environments[slices.IndexFunc(s.environments, func(e Environment) bool { return e.Name == name })].Key
}

// Break switches a fault on; nil switches it off.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Requests are those since the last call, as "GET /users/".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.requests
	s.requests = nil
	return list
}

// Writes are the requests among them that change something.
func (s *Server) Writes() []string {
	return slices.DeleteFunc(s.Requests(), func(r string) bool { return strings.HasPrefix(r, "GET ") })
}

func (s *Server) find(is func(*User) bool) *User {
	if i := slices.IndexFunc(s.users, is); i >= 0 {
		return s.users[i]
	}
	return nil
}

// copied is a user with the names of roles and teams filled in, as the server does.
func (s *Server) copied(u *User) User {
	c := *u
	c.RoleName = s.roleName(u.RoleKey)
	c.Teams = nil
	for _, t := range u.Teams {
		for _, team := range s.teams {
			if team.Key == t.TeamKey {
				t.TeamName = team.Name
			}
		}
		t.RoleName = s.roleName(t.RoleKey)
		c.Teams = append(c.Teams, t)
	}
	return c
}

func (s *Server) roleName(key string) string {
	for _, r := range s.roles {
		if r.Key == key {
			return r.Name
		}
	}
	return ""
}
