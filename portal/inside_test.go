package portal

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

// withInside is a rig beside whose portal there is a door of its own, on the same rows.
func withInside(t *testing.T) (users, admins *rig) {
	t.Helper()
	users = newRig(t)
	admins = &rig{t: t, store: users.store, factors: users.factors, corp: users.corp, idp: users.idp}
	admins.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { admins.portal.ServeHTTP(w, q) }))
	t.Cleanup(admins.server.Close)
	c := users.portal.Config
	c.PublicURL, c.Flow = admins.server.URL, c.Flow.Strict("admin")
	c.Inside = Inside{Name: "admin", Pages: func(path string) bool { return path == "/secrets" || path == "/" }, Serve: func(v *Visitor) {
		switch {
		case v.Session().ID == "":
			v.SignIn()
		case v.R.URL.Path == "/renew":
			if err := v.Renew(); err != nil {
				v.Fail(err)
			}
			v.GoTo("/secrets")
		case v.R.URL.Path == "/secrets" || v.R.URL.Path == "/":
			fmt.Fprintf(v.W, "%s at %s", v.Session().Username, v.R.URL.Path)
		default:
			v.Missing()
		}
	}}
	var err error
	admins.portal, err = New(c)
	users.must(err)
	return users, admins
}

// A door of its own signs people in with a second factor, whatever the policy, leads them back to where they wanted to be,
// and has nothing of the users' account.
func TestInside(t *testing.T) {
	users, admins := withInside(t)
	secret := users.enrol("ann")
	b := admins.browser()
	b.get("/secrets").wants(t, "nobody", http.StatusSeeOther, "/login?return=%2Fsecrets")
	b.get("/login?return=https://evil.example/").wants(t, "elsewhere", http.StatusOK, `action="/login"`)
	b.post("/login?return=/secrets", "username", "ann", "password", "pw-ann").wants(t, "the password", http.StatusSeeOther, "/login/next")
	in := b.post("/login/code?return=/secrets", "code", users.code(secret)).wants(t, "the code", http.StatusSeeOther, "/secrets")
	b.follow(in).wants(t, "inside", http.StatusOK, "ann at /secrets")
	before := b.cookie("__Host-idbridge-admin")
	b.post("/renew").wants(t, "renewing", http.StatusSeeOther)
	if after := b.cookie("__Host-idbridge-admin"); after == before || after == "" {
		t.Error("the session kept its id")
	}
	for _, path := range []string{"/account", "/account/tokens", "/account/factors/add"} {
		b.get(path).wants(t, path, http.StatusNotFound)
		b.post(path).wants(t, path, http.StatusNotFound)
	}
	b.get("/login/code").wants(t, "a form's address", http.StatusSeeOther)
	b.get("/login").wants(t, "signing in again", http.StatusSeeOther, "/")
	if policy := b.get("/secrets").header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Error("what is inside lacks the headers")
	}
	b.header = http.Header{"Origin": {"https://evil.example"}}
	b.post("/renew").wants(t, "from elsewhere", http.StatusForbidden, "another site")
	b = admins.browser()
	b.signIn("bob").wants(t, "without a factor", http.StatusSeeOther, "/login/next")
	b.get("/login/next").wants(t, "the next step", http.StatusOK, "enrolment code")
}

// Who comes back from an identity provider comes in at the door at which they began, in the browser in which they began, once.
func TestInsideByAnIdentityProvider(t *testing.T) {
	users, admins := withInside(t)
	admins.portal.Flow = users.flow(authn.Provider{ID: "idp", Label: "Partner login", Redirect: users.idp, Unsolicited: true}).Strict("admin")
	b, other := admins.browser(), users.browser()
	b.post("/login/begin", "provider", "idp").wants(t, "sent away", http.StatusOK)
	if users.idp.asked.Door != "admin" || !users.idp.asked.Anew {
		t.Errorf("asked %+v", users.idp.asked)
	}
	answer := []string{"SAMLResponse", "x", "RelayState", users.idp.asked.State}
	admins.browser().post("/saml/idp/acs", answer...).wants(t, "another browser", http.StatusForbidden, "could not be trusted")
	other.client.Jar.SetCookies(mustURL(other), []*http.Cookie{{Name: "__Host-idbridge-login", Value: b.cookie("__Host-idbridge-admin-login"),
		Path: "/", Secure: true}})
	other.post("/saml/idp/acs", answer...).wants(t, "the portal", http.StatusForbidden, "could not be trusted")
	b.post("/saml/idp/acs", answer...).wants(t, "the answer", http.StatusSeeOther, "/")
	b.get("/secrets").wants(t, "inside", http.StatusOK, "ann at /secrets")
	b.post("/saml/idp/acs", answer...).wants(t, "the answer again", http.StatusForbidden, "could not be trusted")
}

// Who wanted to a page before they went to an identity provider comes there, whatever the address says to which they come back;
// and to nothing but a page of the door.
func TestInsideLeadsBackFromAnIdentityProvider(t *testing.T) {
	users, admins := withInside(t)
	admins.portal.Flow = users.flow(authn.Provider{ID: "idp", Label: "Partner login", Redirect: users.idp}).Strict("admin")
	for wanted, comes := range map[string]string{"/secrets": "/secrets?begun=1", "https://evil.example/": "/?begun=1", "/elsewhere": "/?begun=1", "": "/?begun=1"} {
		b := admins.browser()
		b.post("/login/begin?return="+url.QueryEscape(wanted), "provider", "idp").wants(t, "sent away", http.StatusOK)
		p := b.post("/saml/idp/acs", "SAMLResponse", "x", "RelayState", users.idp.asked.State)
		if p.status != http.StatusSeeOther || p.location != comes {
			t.Errorf("who wanted %q comes to %d %q", wanted, p.status, p.location)
		}
	}
}

// A session of one door is worth nothing at the other, under neither cookie's name; and both can be on one host.
func TestSessionsOfTwoDoors(t *testing.T) {
	users, admins := withInside(t)
	secret := users.enrol("ann")
	desk, office := users.browser(), admins.browser()
	desk.signIn("ann")
	desk.post("/login/code", "code", users.code(secret)).wants(t, "the portal", http.StatusSeeOther, "/account")
	users.later(authn.DefaultLoginLife)
	office.signIn("ann")
	office.post("/login/code", "code", users.code(secret)).wants(t, "the other door", http.StatusSeeOther, "/")
	own, theirs := desk.cookie("__Host-idbridge"), office.cookie("__Host-idbridge-admin")
	if own == "" || theirs == "" || office.cookie("__Host-idbridge") != "" || desk.cookie("__Host-idbridge-admin") != "" {
		t.Fatal("the cookies do not tell the doors apart")
	}
	steal := func(r *rig, path, value string) page {
		b := r.browser()
		for _, name := range []string{"__Host-idbridge", "__Host-idbridge-admin"} {
			b.client.Jar.SetCookies(mustURL(b), []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
		}
		return b.get(path)
	}
	steal(admins, "/secrets", own).wants(t, "the portal's session at the other door", http.StatusSeeOther, "/login")
	steal(users, "/account", theirs).wants(t, "the other door's session at the portal", http.StatusSeeOther, "/login")
	steal(admins, "/secrets", theirs).wants(t, "its own", http.StatusOK, "ann")
	steal(users, "/account", own).wants(t, "its own", http.StatusOK, "ann")
}
