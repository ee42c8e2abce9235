package entra

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// access is what an access token for Graph allows.
type access struct {
	tenant  *Tenant
	person  *Person // nil for the application itself
	app     bool
	granted []string
	ends    time.Time
}

func (a access) may(any ...string) bool {
	return slices.ContainsFunc(any, func(one string) bool { return slices.Contains(a.granted, one) })
}

func (s *Server) graph() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1.0/me/transitiveMemberOf",
		s.handle("graph", s.bearer(func(w http.ResponseWriter, r *http.Request, a access) {
			if a.app || !a.may("User.Read", "User.Read.All", "Directory.Read.All") {
				denied(w)
				return
			}
			s.memberOf(w, r, a, a.person)
		})))
	mux.HandleFunc("GET /v1.0/users/{id}/transitiveMemberOf",
		s.handle("graph", s.bearer(func(w http.ResponseWriter, r *http.Request, a access) {
			if !a.may("User.Read.All", "Directory.Read.All") {
				denied(w)
				return
			}
			s.memberOf(w, r, a, a.tenant.person(func(p *Person) bool { return p.OID == r.PathValue("id") }))
		})))
	mux.HandleFunc("GET /v1.0/users", s.handle("graph", s.bearer(s.users)))
	return mux
}

// bearer checks the access token.
func (s *Server) bearer(serve func(http.ResponseWriter, *http.Request, access)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		a, known := s.access[token]
		if !ok || !known || !s.Now().Before(a.ends) {
			graphError(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token is missing, invalid or expired.")
			return
		}
		serve(w, r, a)
	}
}

// memberOf lists groups and directory roles, also those that groups bring, in pages.
func (s *Server) memberOf(w http.ResponseWriter, r *http.Request, a access, p *Person) {
	if p == nil {
		graphError(w, http.StatusNotFound, "Request_ResourceNotFound", "Resource does not exist.")
		return
	}
	q := r.URL.Query()
	top, err := strconv.Atoi(q.Get("$top"))
	if err != nil {
		top = 100
	}
	if top < 1 || top > 999 {
		graphError(w, http.StatusBadRequest, "Request_UnsupportedQuery", "Invalid page size specified.")
		return
	}
	skip, _ := strconv.Atoi(strings.TrimPrefix(q.Get("$skiptoken"), "page-"))
	all := p.Groups
	end := min(skip+top, len(all))
	readable := a.may("GroupMember.Read.All", "Group.Read.All", "Directory.Read.All")
	value := []map[string]any{}
	for _, id := range all[min(skip, end):end] {
		value = append(value, a.tenant.object(id, readable))
	}
	body := map[string]any{"@odata.context": "https://" + s.Graph + "/v1.0/$metadata#directoryObjects", "value": value}
	if end < len(all) {
		q.Set("$skiptoken", fmt.Sprint("page-", end))
		body["@odata.nextLink"] = (&url.URL{Scheme: "https", Host: s.Graph, Path: r.URL.Path, RawQuery: q.Encode()}).String()
	}
	sendJSON(w, http.StatusOK, body)
}

// object is a group as it is listed: who may not read groups learns no more than type and id.
func (t *Tenant) object(id string, readable bool) map[string]any {
	g := Group{ID: id, Name: "group " + id}
	if i := slices.IndexFunc(t.Groups, func(g Group) bool { return g.ID == id }); i >= 0 {
		g = t.Groups[i]
	}
	o := map[string]any{"@odata.type": "#microsoft.graph.group", "id": id, "displayName": nil, "onPremisesSamAccountName": nil}
	if g.Role {
		o["@odata.type"] = "#microsoft.graph.directoryRole"
	}
	if readable {
		o["displayName"] = g.Name
		if g.OnPremises != "" {
			o["onPremisesSamAccountName"] = g.OnPremises
		}
	}
	return o
}

// users finds people by their user principal name.
func (s *Server) users(w http.ResponseWriter, r *http.Request, a access) {
	if !a.may("User.Read.All", "User.ReadBasic.All", "Directory.Read.All") {
		denied(w)
		return
	}
	filter := r.URL.Query().Get("$filter")
	name, ok := strings.CutPrefix(filter, "userPrincipalName eq '")
	name, closed := strings.CutSuffix(name, "'")
	literal := strings.ReplaceAll(name, "''", "")
	if filter != "" && (!ok || !closed || strings.Contains(literal, "'")) {
		graphError(w, http.StatusBadRequest, "Request_UnsupportedQuery", "Invalid filter clause")
		return
	}
	value := []map[string]any{}
	for _, p := range a.tenant.People {
		if filter == "" || strings.EqualFold(p.UPN, strings.ReplaceAll(name, "''", "'")) {
			value = append(value, map[string]any{"id": p.OID, "userPrincipalName": p.UPN, "displayName": p.Name, "mail": p.Mail,
				"userType": map[bool]string{false: "Member", true: "Guest"}[p.Guest]})
		}
	}
	sendJSON(w, http.StatusOK, map[string]any{"value": value})
}

func denied(w http.ResponseWriter) {
	graphError(w, http.StatusForbidden, "Authorization_RequestDenied",
		"Insufficient privileges to complete the operation.")
}

func graphError(w http.ResponseWriter, status int, code, message string) {
	sendJSON(w, status, map[string]any{"error": map[string]any{"code": code, "message": message,
		"innerError": map[string]any{"date": "2026-11-24T10:00:00", "request-id": GUID("request"), "client-request-id": GUID("request")}}})
}
