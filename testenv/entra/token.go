package entra

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const hashSHA256 = crypto.SHA256

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// maxGroups is how many groups a JWT holds; who is in more has a link instead.
const maxGroups = 200

// tokens is the token endpoint.
func (s *Server) tokens(w http.ResponseWriter, r *http.Request) {
	list := s.tenant(r.PathValue("tenant"))
	app := s.app(list, r.PostFormValue("client_id"))
	problem := 0
	switch {
	case len(list) == 0:
		problem = 90002
	case app == nil:
		problem = 700016
	default:
		problem = s.authenticate(r, app)
	}
	if problem != 0 {
		s.refuse(w, problem)
		return
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		s.redeem(w, r, app)
	case "password":
		s.password(w, r, list, app)
	case "client_credentials":
		s.application(w, r, list, app)
	default:
		s.refuse(w, 70003)
	}
}

// authenticate judges the application's credential; 0 is good.
func (s *Server) authenticate(r *http.Request, app *App) int {
	secret, assertion := r.PostFormValue("client_secret"), r.PostFormValue("client_assertion")
	if assertion != "" {
		switch {
		case r.PostFormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
			return 900144
		case slices.Contains(app.Federated, assertion) || s.assertionFits(r, app, assertion):
			return 0
		}
		return 700027
	}
	end, known := app.Secrets[secret]
	switch {
	case secret == "":
		return 7000218
	case !known:
		return 7000215
	case !end.IsZero() && !s.Now().Before(end):
		return 7000222
	}
	return 0
}

// assertionFits verifies a private_key_jwt: PS256, x5t#S256, aud, iss, sub, jti, exp.
func (s *Server) assertionFits(r *http.Request, app *App, assertion string) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	var header struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		X5T string `json:"x5t#S256"`
	}
	var claims struct {
		Aud, Iss, Sub, Jti string
		Exp, Nbf           int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return false
	}
	now := s.Now().Unix()
	if claims.Aud != "https://"+s.Authority+r.URL.Path || claims.Iss != app.ID || claims.Sub != app.ID || claims.Jti == "" ||
		claims.Exp <= now || claims.Nbf > now+300 || header.Alg != "PS256" || header.Typ != "JWT" {
		return false
	}
	return slices.ContainsFunc(app.Certificates, func(c *x509.Certificate) bool {
		public, ok := c.PublicKey.(*rsa.PublicKey)
		sum := sha256.Sum256(c.Raw)
		return ok && header.X5T == base64.RawURLEncoding.EncodeToString(sum[:]) &&
			rsa.VerifyPSS(public, crypto.SHA256, digest(parts[0]+"."+parts[1]), signature, nil) == nil
	})
}

func decodePart(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

// redeem turns a code into tokens, once.
func (s *Server) redeem(w http.ResponseWriter, r *http.Request, app *App) {
	c := s.codes[r.PostFormValue("code")]
	problem := 0
	switch {
	case c == nil || c.client != app.ID:
		problem = 70000
	case c.authority != r.PathValue("tenant"):
		problem = 700005
	case c.redeemed:
		problem = 54005
	case c.redirect != r.PostFormValue("redirect_uri"):
		problem = 50011
	case base64.RawURLEncoding.EncodeToString(digest(r.PostFormValue("code_verifier"))) != c.challenge:
		problem = 501481
	}
	if problem != 0 {
		s.refuse(w, problem)
		return
	}
	c.redeemed = true
	s.issue(w, app, c)
}

// password is the password grant (ROPC).
func (s *Server) password(w http.ResponseWriter, r *http.Request, list []*Tenant, app *App) {
	t, p := find(list, r.PostFormValue("username"))
	problem := 0
	switch {
	case r.PathValue("tenant") == "common":
		problem = 9001023
	case p == nil || p.Guest:
		problem = 50034
	case p.Refused == 50053:
		problem = 50053
	case p.Password != r.PostFormValue("password"):
		problem = 50126
	case p.Refused != 0:
		problem = p.Refused
	case p.Demand != 0:
		problem = p.Demand
	case !s.consented(app, r.PostFormValue("scope")):
		problem = 65001
	}
	if problem != 0 {
		s.refuse(w, problem)
		return
	}
	s.issue(w, app, &code{tenant: t, person: p, scopes: strings.Fields(r.PostFormValue("scope"))})
}

// application is the client credentials grant, for Graph.
func (s *Server) application(w http.ResponseWriter, r *http.Request, list []*Tenant, app *App) {
	if r.PostFormValue("scope") != "https://"+s.Graph+"/.default" {
		s.refuse(w, 70011)
		return
	}
	token := random()
	s.access[token] = access{tenant: list[0], app: true, granted: app.Permissions, ends: s.Now().Add(time.Hour)}
	sendJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": token})
}

func (s *Server) issue(w http.ResponseWriter, app *App, c *code) {
	token := &Token{Header: map[string]any{"typ": "JWT", "alg": "RS256"}, Claims: s.claims(app, c)}
	last := s.keys[len(s.keys)-1]
	token.Header["kid"], token.Key = last.id, last.key
	if s.token != nil {
		s.token(token)
	}
	signed, err := token.sign()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := map[string]any{
		"token_type": "Bearer", "scope": strings.Join(c.scopes, " "), "expires_in": 4000, "ext_expires_in": 4000,
		"access_token": random(),
	}
	if signed != "-" {
		body["id_token"] = signed
	}
	granted := []string{}
	for _, scope := range c.scopes {
		if name, ok := strings.CutPrefix(scope, "https://"+s.Graph+"/"); ok {
			granted = append(granted, name)
		}
	}
	s.access[body["access_token"].(string)] = access{
		tenant: c.tenant, person: c.person, granted: granted, ends: s.Now().Add(time.Hour),
	}
	sendJSON(w, http.StatusOK, body)
}

// claims are those of a v2.0 ID token. They begin five minutes ago.
func (s *Server) claims(app *App, c *code) map[string]any {
	p, began := c.person, s.Now().Unix()-300
	s.seq++
	claims := map[string]any{
		"aud": app.ID, "iss": s.issuer(c.tenant.ID), "iat": began, "nbf": began, "exp": began + 3900, "name": p.Name, "oid": p.OID,
		"preferred_username": p.UPN, "rh": "0.AAAA.", "sid": GUID("session " + p.OID), "sub": GUID(app.ID + p.OID),
		"tid": c.tenant.ID, "uti": fmt.Sprint("uti", s.seq), "ver": "2.0",
	}
	optional := func(name string, there bool, value any) {
		if there {
			claims[name] = value
		}
	}
	optional("nonce", c.nonce != "", c.nonce)
	optional("email", p.Mail != "" && slices.Contains(c.scopes, "email"), p.Mail)
	optional("roles", len(p.Roles) > 0, p.Roles)
	optional("amr", len(p.Methods) > 0 && slices.Contains(app.OptionalClaims, "amr"), p.Methods)
	optional("idp", p.Guest, "https://sts.windows.net/"+p.HomeID+"/")
	optional("auth_time", c.dated, s.Now().Unix())
	if slices.Contains(app.OptionalClaims, "acct") {
		claims["acct"] = map[bool]int{false: 0, true: 1}[p.Guest]
	}
	for _, wanted := range c.contexts {
		optional("acrs", slices.Contains(p.Contexts, wanted), []string{wanted})
	}
	switch {
	case !app.GroupsClaim || len(p.Groups) == 0:
	case len(p.Groups) > maxGroups:
		claims["_claim_names"] = map[string]any{"groups": "src1"}
		claims["_claim_sources"] = map[string]any{"src1": map[string]any{
			"endpoint": "https://graph.windows.net/" + c.tenant.ID + "/users/" + p.OID + "/getMemberObjects"}}
	default:
		claims["groups"] = p.Groups
	}
	return claims
}
