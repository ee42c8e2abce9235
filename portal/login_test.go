package portal

import (
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func TestSigningIn(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.get("/").wants(t, "the start", http.StatusSeeOther, "/login")
	b.get("/login").wants(t, "the first page", http.StatusOK, `name="password"`, "Partner login")
	done := b.signIn("ann").wants(t, "signing in", http.StatusSeeOther, "/account?begun=1")
	for _, c := range done.cookies {
		if c.Name == sessionCookie && (!c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "") {
			t.Errorf("the session's cookie is %s", c)
		}
	}
	b.follow(done).wants(t, "the account", http.StatusOK, "ann &lt;b&gt;&amp;", "Make a sign-in token", "1042")
	b.get("/login").wants(t, "signing in again", http.StatusSeeOther, "/account")
	if _, found, _ := r.store.Session(t.Context(), b.cookie(sessionCookie)); found {
		t.Error("what the cookie holds is kept on the server as it is")
	}
}

func TestRefusalsAtTheDoor(t *testing.T) {
	for _, c := range []struct {
		name, user, password string
		prepare              func(*rig)
		status               int
		text                 string
	}{
		{"wrong password", "ann", "wrong", nil, http.StatusUnauthorized, "User name or password is not right"},
		{"unknown user", "nothere", "wrong", nil, http.StatusUnauthorized, "User name or password is not right"},
		{"no route", "x@nowhere.test", "wrong", nil, http.StatusUnauthorized, "User name or password is not right"},
		{"no IT user", "nobody", "pw-nobody", nil, http.StatusForbidden, "no OutSystems user"},
		{"directory down", "ann", "pw-ann", func(r *rig) { r.corp.down = true }, http.StatusServiceUnavailable, "does not answer"},
	} {
		r := newRig(t)
		if c.prepare != nil {
			c.prepare(r)
		}
		b := r.browser()
		p := b.post("/login", "username", c.user, "password", c.password).wants(t, c.name, c.status, c.text, `value="`+c.user+`"`)
		guesses := 0
		if c.status == http.StatusUnauthorized {
			guesses = 1
		}
		r.counted(guesses)
		if strings.Contains(p.body, c.password+`"`) || b.cookie(loginCookie) != "" {
			t.Errorf("%s: the password is on the page, or a login was begun", c.name)
		}
	}
}

// Three failures of a user block that user for a moment, and a name that nobody has no less: the block tells nobody apart.
func TestLimitByUser(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	b := r.browser()
	for i, user := range []string{"ann", "nothere"} {
		b.header.Set("X-Forwarded-For", fmt.Sprint("192.0.2.", i)) // so that only the user's own limit is met
		for n := range 3 {
			b.post("/login", "username", user, "password", fmt.Sprint("wrong ", n)).wants(t, user, http.StatusUnauthorized, "is not right")
		}
		b.signIn(user).wants(t, user+" after three", http.StatusTooManyRequests, fewMinutes, `value="`+user+`"`)
	}
	r.later(31 * time.Second)
	b.signIn("ann").wants(t, "half a minute later", http.StatusSeeOther, "/account")
}

// A name without a password is no attempt: it is asked for, and a name with a domain that signs in elsewhere needs none.
func TestTheNameFirst(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	for range 6 {
		b.post("/login", "username", "ann").wants(t, "the name alone", http.StatusUnprocessableEntity, "type your password too",
			`value="ann"`, `maxlength="1024" autofocus`)
	}
	if p := b.get("/login"); strings.Contains(p.body, "data-challenge") || strings.Contains(p.body, `autocomplete="current-password" required`) {
		t.Error("it was counted, or the browser insists on a password where a name may do without")
	}
	b.signIn("ann").wants(t, "with the password", http.StatusSeeOther, "/account")
}

// The page knows how this browser signed in the last time.
func TestTheUsualProvider(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	const marked = `autofocus>Sign in with Partner login <span class="sub">last used</span>`
	if p := b.get("/login"); strings.Contains(p.body, "last used") || !strings.Contains(p.body, `maxlength="256" autofocus`) {
		t.Error("a provider is marked that was never used")
	}
	b.post("/login/begin", "provider", "idp")
	b.get("/login").wants(t, "the button was used", http.StatusOK, marked)
	b.signIn("bob")
	b.post("/signout")
	if p := b.get("/login"); strings.Contains(p.body, "last used") {
		t.Error("marked after a password")
	}
}

// Where there is nothing to choose, the browser goes on by itself, unless there is something to read first.
func TestTheOnlyProvider(t *testing.T) {
	r := newRig(t)
	two := r.browser().get("/login")
	r.portal.Flow = r.flow(authn.Provider{ID: "idp", Label: "Partner login", Redirect: r.idp})
	b := r.browser()
	const onward = `action="/login/begin" data-submit>`
	b.get("/login").wants(t, "the first page", http.StatusOK, onward, "Sign in with Partner login")
	for what, p := range map[string]page{
		"a notice":  b.get("/login?notice=expired"),
		"a problem": b.post("/login", "username", "ann", "password", "x"),
		"a choice":  two,
	} {
		if strings.Contains(p.body, onward) {
			t.Errorf("%s: the browser leaves", what)
		}
	}
}

func TestTheCodeOnTheWay(t *testing.T) {
	r := newRig(t)
	secret := r.enrol("ann")
	b := r.browser()
	asked := b.signIn("ann")
	b.follow(asked).wants(t, "after the password", http.StatusOK, "Enter your code")
	for _, c := range asked.cookies {
		if c.MaxAge > 0 && (c.Name != loginCookie || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge > 600) {
			t.Errorf("a cookie: %s", c)
		}
	}
	if c := b.cookie(sessionCookie); c != "" {
		t.Error("a session before the second factor")
	}
	b.get("/account").wants(t, "the account before the code", http.StatusSeeOther, "/login?return=%2Faccount")
	b.post("/login/code", "code", "000000").wants(t, "a wrong code", http.StatusUnauthorized, "The code is not right")
	code := r.code(secret)
	b.follow(b.post("/login/code", "code", code[:3]+" "+code[3:])).wants(t, "the code", http.StatusOK, "Welcome")
	if b.cookie(loginCookie) != "" || b.cookie(sessionCookie) == "" {
		t.Error("the login's cookie stays, or there is no session")
	}
	b.post("/login/code", "code", code).wants(t, "the form again", http.StatusSeeOther, "/account")

	other := r.browser()
	other.signIn("ann")
	other.post("/login/code", "code", code).wants(t, "the same code again", http.StatusUnauthorized, "was used already")
	r.later(time.Minute)
	late := r.code(secret)
	r.later(30 * time.Second)
	other.post("/login/code", "code", late).wants(t, "from a clock that is half a minute slow", http.StatusSeeOther, "/account")
}

// A required factor that is missing: an administrator's code, a device, recovery codes, and then the account.
func TestEnrollingOnTheWay(t *testing.T) {
	r := newRig(t)
	r.policy = authn.FactorRequired
	b := r.browser()
	b.follow(b.signIn("ann")).wants(t, "after the password", http.StatusOK, "Enrolment code")
	b.post("/login/enrol/show").wants(t, "skipping the invitation", http.StatusSeeOther, "/login/next")
	b.post("/login/invite", "invitation", "BCDF-GHJK-LMNP-QRST").wants(t, "a wrong code", http.StatusUnauthorized, "enrolment code is not right")
	invitation, _, err := r.factors.Invite(t.Context(), r.user("ann"))
	r.must(err)
	b.follow(b.post("/login/invite", "invitation", invitation.Reveal())).wants(t, "the invitation", http.StatusOK, "Show the picture")
	shown := b.post("/login/enrol/show").wants(t, "the picture", http.StatusOK, "<svg", "ann")
	secret := strings.ReplaceAll(secretText.FindString(shown.body), " ", "")
	id := hidden(t, shown, "enrolment")
	again := b.post("/login/enrol", "enrolment", id, "code", "000000").wants(t, "a wrong first code", http.StatusUnauthorized, "The code is not right")
	if strings.Contains(again.body, "<svg viewBox=\"0 0 6") || secretText.MatchString(again.body) {
		t.Error("the secret is shown a second time")
	}
	b.post("/login/enrol", "enrolment", "of-before", "code", r.code(secret)).wants(t, "a device that is gone", http.StatusSeeOther, "/login/next")
	saved := b.post("/login/enrol", "enrolment", id, "code", r.code(secret), "device", "My phone").
		wants(t, "the first code", http.StatusOK, "Save your recovery codes", "data:text/plain", `action="/login/finish"`)
	if n := len(recoveryText.FindAllString(saved.body, -1)); n < 10 {
		t.Errorf("%d recovery codes", n)
	}
	b.follow(b.post("/login/finish")).wants(t, "the end", http.StatusOK, "Welcome", "My phone")
	if got := r.actions(); !slices.Equal(got, []Action{FactorAdded}) || r.events[0].ITUser != "ann" {
		t.Errorf("recorded %+v", r.events)
	}
}

var (
	secretText   = regexp.MustCompile(`(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}`)
	recoveryText = regexp.MustCompile(`<code>(?:[A-Z]{4}-){4}[A-Z]{4}</code>`)
)

// hidden is the value of a hidden field.
func hidden(t *testing.T, p page, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("no hidden field %s on %s", name, title.FindString(p.body))
	}
	return m[1]
}

func TestAnExpiredPassword(t *testing.T) {
	r := newRig(t)
	r.corp.expired = true
	b := r.browser()
	b.follow(b.signIn("ann")).wants(t, "after the password", http.StatusOK, "Choose a new password")
	b.post("/login/password", "current", "pw-ann", "new", "long-enough", "again", "another").
		wants(t, "two new ones", http.StatusUnprocessableEntity, "not the same")
	b.post("/login/password", "current", "pw-ann", "new", "short", "again", "short").
		wants(t, "too short", http.StatusUnprocessableEntity, "rules refuse")
	b.post("/login/password", "current", "wrong", "new", "long-enough", "again", "long-enough").
		wants(t, "wrong old one", http.StatusUnauthorized, "not right")
	b.follow(b.post("/login/password", "current", "pw-ann", "new", "long-enough", "again", "long-enough")).
		wants(t, "changed", http.StatusOK, "Welcome")
}

// A provider with pages of its own: by its button, or by the domain of the name; the answer comes from another site.
func TestAProviderElsewhere(t *testing.T) {
	r := newRig(t)
	r.idp.fields = url.Values{"SAMLRequest": {"request"}}
	b := r.browser()
	away := b.post("/login", "username", "ann@idp.example.test", "password", "").
		wants(t, "by the domain", http.StatusOK, `action="https://idp.example.test/sso"`, `value="request"`)
	if policy := away.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://idp.example.test;") {
		t.Errorf("the page may not post where it should: %s", policy)
	}
	for _, c := range away.cookies {
		if c.Name == loginCookie && (c.SameSite != http.SameSiteNoneMode || !c.Secure || !c.HttpOnly) {
			t.Errorf("the login's cookie: %s", c)
		}
	}
	b.header.Set("Origin", "https://idp.example.test")
	b.header.Set("Sec-Fetch-Site", "cross-site")
	b.post("/saml/idp/acs", "SAMLResponse", "x", "RelayState", "wrong").wants(t, "another state", http.StatusForbidden, "could not be trusted")
	back := b.post("/saml/idp/acs", "SAMLResponse", "x", "RelayState", r.idp.state).wants(t, "the answer", http.StatusSeeOther, "/account")
	b.header = http.Header{}
	b.follow(back).wants(t, "the account", http.StatusOK, "Partner login")
	b.post("/saml/idp/acs", "SAMLResponse", "x", "RelayState", r.idp.state).wants(t, "the answer again", http.StatusForbidden, "could not be trusted")

	c := r.browser()
	r.idp.fields = nil
	c.post("/login/begin", "provider", "idp").wants(t, "by the button", http.StatusOK, `http-equiv="refresh"`)
	c.follow(c.get("/oidc/idp/callback?code=1&state="+r.idp.state)).wants(t, "the answer by GET", http.StatusOK, "Welcome")
	c.post("/login/begin", "provider", "corp").wants(t, "one without pages", http.StatusNotFound)
	stranger := r.browser()
	stranger.get("/oidc/idp/callback?code=1&state="+r.idp.state).wants(t, "another browser", http.StatusForbidden, "could not be trusted")
	if !strings.Contains(r.logged.String(), "answer_without_login") {
		t.Error("the log does not say why")
	}
}

// TestRefusedElsewhere: what an identity provider says of somebody is told in words of ours, with the number by which the
// administrator finds its own.
func TestRefusedElsewhere(t *testing.T) {
	number := regexp.MustCompile(`<dd><code>([^<]+)</code>`)
	for reason, want := range map[string]string{
		"conditional_access": "A rule of your organisation", "consent_missing": "has not approved", "not_assigned": "may not sign in",
		"idp_mfa_required": "asks for more proof",
	} {
		r, kind := newRig(t), authn.Locked
		if reason == "idp_mfa_required" {
			kind = authn.NotEnrolled
		}
		r.idp.refuse = authn.Errorf(kind, reason, "AADSTS53003: only for the log")
		b := r.browser()
		b.post("/login/begin", "provider", "idp")
		page := b.get("/oidc/idp/callback?error=access_denied&state="+r.idp.state).wants(t, reason, http.StatusForbidden, "You cannot sign in now", want)
		if id := number.FindStringSubmatch(page.body); id == nil || strings.Contains(page.body, "AADSTS") {
			t.Errorf("%s: the number %q, or the inside: %s", reason, id, page.body)
		}
	}
}

// Where people get lost: the back button, two tabs, a login that is over, cookies refused.
func TestGettingLost(t *testing.T) {
	r := newRig(t)
	secret := r.enrol("ann")
	b := r.browser()
	b.get("/login/next").wants(t, "no login", http.StatusBadRequest, "This sign-in is over")
	b.get("/login/next?begun=1").wants(t, "no cookie came back", http.StatusBadRequest, "refuses cookies")
	b.get("/account?begun=1").wants(t, "no session came back", http.StatusBadRequest, "refuses cookies")
	b.signIn("ann")
	r.later(11 * time.Minute)
	b.post("/login/code", "code", r.code(secret)).wants(t, "after eleven minutes", http.StatusBadRequest, "This sign-in is over")
	b.signIn("ann")
	b.post("/login/finish").wants(t, "finishing too early", http.StatusSeeOther, "/login/next")
	b.post("/login/password", "new", "x", "again", "x").wants(t, "a form of another step", http.StatusSeeOther, "/login/next")
	b.post("/login/cancel").wants(t, "starting over", http.StatusSeeOther, "/login")
	b.post("/login/code", "code", r.code(secret)).wants(t, "after starting over", http.StatusBadRequest, "This sign-in is over")
	r.counted(0) // who is lost does not guess
}

// Where somebody wanted to go is one of our own pages, or it is forgotten.
func TestReturnTargets(t *testing.T) {
	r := newRig(t)
	first := r.browser()
	asked := first.follow(first.get("/account/recovery")).wants(t, "the first page", http.StatusOK, "return=%2Faccount%2Frecovery")
	form := html.UnescapeString(regexp.MustCompile(`action="(/login\?[^"]*)"`).FindStringSubmatch(asked.body)[1])
	first.post(form, "username", "ann", "password", "pw-ann").wants(t, "signing in", http.StatusSeeOther, "/account/recovery?")
	for wanted, want := range map[string]string{
		"/account/factors/add": "/account/factors/add?", "/account/nothing": "/account?", "https://evil.example": "/account?",
		"/account/factors/remove?id=x&notice=factor-removed&lang=pt": "/account/factors/remove?begun=1&id=x", "/account?id=%zz": "/account?begun=1",
		"/signedout?id=x": "/account?begun=1", "//evil.example": "/account?", "/\\evil.example": "/account?", "/signedout": "/account?", "javascript:alert(1)": "/account?",
	} {
		b := r.browser()
		done := b.post("/login?return="+url.QueryEscape(wanted), "username", "ann", "password", "pw-ann")
		if !strings.HasPrefix(done.location, want) {
			t.Errorf("to %s: sent to %s", wanted, done.location)
		}
	}
}

// A chosen language stays with the reader through every step, without a cookie.
func TestTheLanguageStays(t *testing.T) {
	r := newRig(t)
	r.enrol("ann")
	b := r.browser()
	b.get("/login?lang=de").wants(t, "German", http.StatusOK, "Benutzername", `action="/login?lang=de"`, `<html lang="de">`)
	next := b.post("/login?lang=de", "username", "ann", "password", "pw-ann").wants(t, "the password", http.StatusSeeOther, "lang=de")
	b.follow(next).wants(t, "the code", http.StatusOK, "Sechsstelliger Code", `href="/login/next?lang=pt"`)
	b.header.Set("Accept-Language", "pt-PT")
	b.get("/login").wants(t, "Portuguese by the browser", http.StatusOK, "Palavra-passe")
	b.get("/login?lang=xx").wants(t, "an unknown one", http.StatusOK, "Palavra-passe")
}
