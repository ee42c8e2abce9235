package entra

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/testenv"
)

func (s *Server) login() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.handle("discovery", s.discovery))
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.handle("keys", s.jwks))
	mux.HandleFunc("GET /{tenant}/federationmetadata/2007-06/federationmetadata.xml", s.handle("federation", s.federation))
	mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", s.handle("authorize", s.authorize))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/authorize", s.handle("authorize", s.authorize))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", s.handle("token", s.tokens))
	return mux
}

// issuer of a tenant; the documents that are for all organisations have a placeholder instead.
func (s *Server) issuer(tenant string) string {
	if tenant == "organizations" || tenant == "common" {
		tenant = "{tenantid}"
	}
	return "https://" + s.Authority + "/" + tenant + "/v2.0"
}

// discovery is the document of a tenant.
func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	if len(s.tenant(tenant)) == 0 {
		s.refuse(w, 90002)
		return
	}
	base := "https://" + s.Authority + "/" + tenant
	sendJSON(w, http.StatusOK, map[string]any{
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"issuer":                                s.issuer(tenant),
		"request_uri_parameter_supported":       false,
		"userinfo_endpoint":                     "https://" + s.Graph + "/oidc/userinfo",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"end_session_endpoint":                  base + "/oauth2/v2.0/logout",
		"tenant_region_scope":                   "EU",
		"cloud_instance_name":                   "microsoftonline.com",
		"msgraph_host":                          s.Graph,
	})
}

func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	var keys []map[string]any
	for _, k := range s.keys {
		keys = append(keys, map[string]any{
			"kty": "RSA", "use": "sig", "kid": k.id, "x5t": k.id,
			"n":      base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()),
			"e":      base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes()),
			"issuer": s.issuer(r.PathValue("tenant")), "cloud_instance_name": "microsoftonline.com",
		})
	}
	sendJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// code is what an authorisation code stands for.
type code struct {
	tenant                             *Tenant
	authority                          string // in the address that it was asked at
	person                             *Person
	client, redirect, challenge, nonce string
	scopes                             []string
	contexts                           []string
	dated                              bool // the ID token is to say when the person signed in
	redeemed                           bool
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Sign in to your account</title>
<form method="post"><p>{{.}}</p>
<input type="email" name="loginfmt" autofocus> <input type="password" name="passwd"> <button id="idSIButton9">Sign in</button>
</form>`))

// authorize shows a sign-in page, and sends who has signed in back. An error that could send somebody to a wrong place is
// told on the page.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	list := s.tenant(r.PathValue("tenant"))
	app := s.app(list, q.Get("client_id"))
	problem := 0
	switch {
	case len(list) == 0:
		problem = 90002
	case app == nil:
		problem = 700016
	case r.PathValue("tenant") == "organizations" && !app.MultiTenant:
		problem = 50194
	case !slices.Contains(app.RedirectURIs, q.Get("redirect_uri")):
		problem = 50011
	}
	if problem != 0 {
		w.WriteHeader(http.StatusBadRequest)
		_ = page.Execute(w, s.describe(problem))
		return
	}
	if r.Method == http.MethodGet {
		_ = page.Execute(w, "")
		return
	}
	t, p := find(list, r.PostFormValue("loginfmt"))
	if p == nil || p.Password != r.PostFormValue("passwd") {
		_ = page.Execute(w, "Your account or password is incorrect.")
		return
	}
	back := s.answer(r.PathValue("tenant"), t, app, p, q)
	back.Set("state", q.Get("state"))
	back.Set("session_state", GUID("session "+p.OID))
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// answer is what the browser takes back.
func (s *Server) answer(authority string, t *Tenant, app *App, p *Person, q url.Values) url.Values {
	problem := 0
	switch {
	case p.Refused != 0:
		problem = p.Refused
	case q.Get("response_type") != "code":
		problem = 700054
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		problem = 501491
	case !s.consented(app, q.Get("scope")):
		problem = 65004
	}
	if problem != 0 {
		return url.Values{"error": {meaningOf(problem).oauth}, "error_description": {s.describe(problem)},
			"error_uri": {fmt.Sprintf("https://%s/error?code=%d", s.Authority, problem)}}
	}
	id := "1." + random()
	s.codes[id] = &code{
		tenant: t, authority: authority, person: p, client: app.ID, redirect: q.Get("redirect_uri"),
		challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), scopes: strings.Fields(q.Get("scope")),
		contexts: wantedContexts(q.Get("claims")), dated: q.Has("max_age"),
	}
	return url.Values{"code": {id}}
}

// wantedContexts are the authentication contexts that a claims request asks for.
func wantedContexts(claims string) []string {
	var asked struct {
		IDToken struct {
			ACRS struct {
				Value string `json:"value"`
			} `json:"acrs"`
		} `json:"id_token"`
	}
	if json.Unmarshal([]byte(claims), &asked) != nil || asked.IDToken.ACRS.Value == "" {
		return nil
	}
	return []string{asked.IDToken.ACRS.Value}
}

// consented tells whether the tenant has consented to all scopes of Graph that are asked for.
func (s *Server) consented(app *App, scope string) bool {
	for _, one := range strings.Fields(scope) {
		name, ofGraph := strings.CutPrefix(one, "https://"+s.Graph+"/")
		if ofGraph && name != ".default" && !slices.Contains(app.Scopes, name) {
			return false
		}
	}
	return true
}

// SignIn plays a person with a browser: it opens the address, signs in, and returns the query that the browser takes back
// to redirectURI.
func (s *Server) SignIn(tb testenv.TB, address, upn, password string) string {
	tb.Helper()
	form := url.Values{"loginfmt": {upn}, "passwd": {password}}
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		tb.Fatalf("nobody was sent back: %s", resp.Status)
	}
	return to.RawQuery
}

// Sign signs a token with RS256, whatever its header says, unless it is finished already.
func (t *Token) sign() (string, error) {
	if t.Raw != "" {
		return t.Raw, nil
	}
	header, err := json.Marshal(t.Header)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(t.Claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := rsa.SignPKCS1v15(nil, t.Key, hashSHA256, digest(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), err
}
