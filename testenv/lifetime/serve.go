package lifetime

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// base is the path of the API.
const base = "/lifetimeapi/rest/v2"

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+strings.TrimPrefix(r.URL.Path, base))
	fault := s.fault
	s.mu.Unlock()
	rightly := http.HandlerFunc(s.rightly)
	if fault != nil {
		fault(w, r, rightly)
		return
	}
	rightly(w, r)
}

func (s *Server) rightly(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+s.Token {
		refuse(w, http.StatusForbidden, "The service account has no permission.")
		return
	}
	mux := http.NewServeMux() // exact paths: one without its last slash is not there
	mux.HandleFunc("GET "+base+"/users/{$}", s.list)
	mux.HandleFunc("POST "+base+"/users/{$}", s.create)
	mux.HandleFunc("GET "+base+"/users/{key}/{$}", s.one)
	mux.HandleFunc("PUT "+base+"/users/{key}/{$}", s.update)
	mux.HandleFunc("GET "+base+"/users/{key}/blockedlogins/{$}", s.blockedLogins)
	mux.HandleFunc("DELETE "+base+"/users/{key}/blockedlogins/{$}", s.unblock)
	mux.HandleFunc("GET "+base+"/roles/{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.roles) })
	mux.HandleFunc("GET "+base+"/teams/{$}", s.listTeams)
	mux.HandleFunc("POST "+base+"/teams/{key}/users/{$}", s.join)
	mux.HandleFunc("DELETE "+base+"/teams/{key}/users/{user}/{$}", s.leave)
	mux.HandleFunc("GET "+base+"/environments/{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.environments) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "There is no such method.")
	})
	mux.ServeHTTP(w, r)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"Errors": []string{why}, "StatusCode": status})
}

// userJSON is a user as it travels. What was not asked for is not there.
func (s *Server) userJSON(u *User, teams bool) map[string]any {
	c := s.copied(u)
	m := map[string]any{"Key": c.Key, "Username": c.Username, "Name": c.Name, "Email": c.Email, "IsActive": c.IsActive,
		"RoleKey": c.RoleKey, "RoleName": c.RoleName}
	if teams {
		m["Teams"] = append([]TeamRole{}, c.Teams...)
	}
	return m
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var list []map[string]any
	for _, u := range s.users {
		if u.IsActive || q.Get("IncludeInactive") == "true" {
			list = append(list, s.userJSON(u, q.Get("IncludeTeams") == "true"))
		}
	}
	if len(list) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, list)
}

func (s *Server) named(w http.ResponseWriter, key string) *User {
	u := s.find(func(u *User) bool { return u.Key == key })
	if u == nil {
		refuse(w, http.StatusNotFound, "User not found.")
	}
	return u
}

func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	if u := s.named(w, r.PathValue("key")); u != nil {
		answer(w, s.userJSON(u, r.URL.Query().Get("includeTeams") == "true"))
	}
}

// posted reads a user; IsActive is true where nothing is said.
func (s *Server) posted(w http.ResponseWriter, r *http.Request, key string) (u User, ok bool) {
	u.IsActive = true
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&u); err != nil {
		refuse(w, http.StatusBadRequest, "The body is no user.")
		return u, false
	}
	taken := s.find(func(o *User) bool { return o.Key != key && strings.EqualFold(o.Username, u.Username) })
	switch {
	case u.Username == "" || strings.ContainsAny(u.Username, " \t"):
		refuse(w, http.StatusBadRequest, "Invalid username.")
	case u.Name == "":
		refuse(w, http.StatusBadRequest, "Invalid name.")
	case taken != nil:
		refuse(w, http.StatusBadRequest, "Username '"+u.Username+"' already exists.")
	case s.roleName(u.RoleKey) == "":
		refuse(w, http.StatusBadRequest, "Invalid role.")
	default:
		return u, true
	}
	return u, false
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	u, ok := s.posted(w, r, "")
	if !ok {
		return
	}
	u.Key, u.Teams = Key(), nil
	s.users = append(s.users, &u)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, u.Key)
}

func (s *Server) update(w http.ResponseWriter, r *http.Request) {
	old := s.named(w, r.PathValue("key"))
	if old == nil {
		return
	}
	u, ok := s.posted(w, r, old.Key)
	if !ok {
		return
	}
	old.Username, old.Name, old.Email, old.IsActive, old.RoleKey = u.Username, u.Name, u.Email, u.IsActive, u.RoleKey
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, old.Key)
}

func (s *Server) listTeams(w http.ResponseWriter, _ *http.Request) {
	type userRole struct{ UserKey, Name, Username, RoleKey, RoleName string }
	type team struct {
		Key         string     `json:"key"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		Users       []userRole `json:"users"`
	}
	list := []team{}
	for _, t := range s.teams {
		one := team{t.Key, t.Name, "", []userRole{}}
		for _, u := range s.users {
			for _, at := range u.Teams {
				if at.TeamKey == t.Key {
					one.Users = append(one.Users, userRole{u.Key, u.Name, u.Username, at.RoleKey, s.roleName(at.RoleKey)})
				}
			}
		}
		list = append(list, one)
	}
	answer(w, list)
}

func (s *Server) team(w http.ResponseWriter, key string) bool {
	if slices.ContainsFunc(s.teams, func(t Team) bool { return t.Key == key }) {
		return true
	}
	refuse(w, http.StatusNotFound, "Team not found.")
	return false
}

func (s *Server) join(w http.ResponseWriter, r *http.Request) {
	var body struct {
		UserKey string `json:"userKey"`
		RoleKey string `json:"roleKey"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body); err != nil || !s.team(w, r.PathValue("key")) {
		return
	}
	u := s.named(w, body.UserKey)
	switch {
	case u == nil:
	case s.roleName(body.RoleKey) == "":
		refuse(w, http.StatusBadRequest, "Invalid role.")
	case slices.ContainsFunc(u.Teams, func(t TeamRole) bool { return t.TeamKey == r.PathValue("key") }):
		refuse(w, http.StatusBadRequest, "The user is in the team already.")
	default:
		u.Teams = append(u.Teams, TeamRole{TeamKey: r.PathValue("key"), RoleKey: body.RoleKey})
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *Server) leave(w http.ResponseWriter, r *http.Request) {
	u := s.named(w, r.PathValue("user"))
	if u == nil || !s.team(w, r.PathValue("key")) {
		return
	}
	n := len(u.Teams)
	u.Teams = slices.DeleteFunc(u.Teams, func(t TeamRole) bool { return t.TeamKey == r.PathValue("key") })
	if len(u.Teams) == n {
		refuse(w, http.StatusNotFound, "The user is not in the team.")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) asked(r *http.Request, b Blocked) bool {
	q := r.URL.Query()
	return b.UserKey == r.PathValue("key") && (q.Get("EnvironmentKey") == "" || q.Get("EnvironmentKey") == b.EnvironmentKey) &&
		(q.Get("IpAddress") == "" || q.Get("IpAddress") == b.IpAddress)
}

func (s *Server) blockedLogins(w http.ResponseWriter, r *http.Request) {
	if s.named(w, r.PathValue("key")) == nil {
		return
	}
	type row struct {
		EnvironmentKey, IpAddress string //nolint:revive // the API's spelling
		BlockedUntil              string
	}
	list := []row{}
	for _, b := range s.blocked {
		if s.asked(r, b) {
			list = append(list, row{b.EnvironmentKey, b.IpAddress, time.Date(2026, 11, 29, 23, 0, 0, 0, time.UTC).Format(time.RFC3339)})
		}
	}
	if len(list) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, list)
}

func (s *Server) unblock(w http.ResponseWriter, r *http.Request) {
	if s.named(w, r.PathValue("key")) == nil {
		return
	}
	s.blocked = slices.DeleteFunc(s.blocked, func(b Blocked) bool { return s.asked(r, b) })
	w.WriteHeader(http.StatusNoContent)
}
