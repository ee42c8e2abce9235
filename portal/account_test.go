package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
)

func (r *rig) actions() (list []Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		list = append(list, e.Action)
	}
	return list
}

func (r *rig) tokens(t *testing.T) []authn.Token {
	t.Helper()
	list, err := r.store.Tokens(t.Context(), r.user("ann").Key, r.clock())
	r.must(err)
	return list
}

var tokenText = regexp.MustCompile(`(?:[B-Z]{4}-<wbr>){5}[B-Z]{4}`)

// A token is shown once. The form sent again makes no second one; tokens are revoked one by one or all.
func TestTokens(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	account := b.follow(b.signIn("ann"))
	once := hidden(t, account, "once")
	shown := b.post("/account/tokens", "once", once, "environment", "quality").wants(t, "a token", http.StatusOK, "10 hours", "quality")
	if !tokenText.MatchString(shown.body) {
		t.Error("no token is shown")
	}
	b.follow(b.post("/account/tokens", "once", once)).wants(t, "the form again", http.StatusOK, "was shown already")
	b.post("/account/tokens", "once", "other", "environment", "elsewhere").wants(t, "an unknown environment", http.StatusNotFound)
	b.follow(b.post("/account/tokens")).wants(t, "a form of nobody's", http.StatusOK, "was shown already")
	list := r.tokens(t)
	if len(list) != 1 || !slices.Equal(list[0].Environments, []string{"quality"}) {
		t.Fatalf("tokens %+v", list)
	}
	if again := b.get("/account").wants(t, "the list", http.StatusOK, "quality", `value="`+list[0].ID+`"`); tokenText.MatchString(again.body) {
		t.Error("the token is shown again")
	}
	bob := r.browser()
	bob.signIn("bob")
	bob.post("/account/tokens/revoke", "id", list[0].ID)
	if len(r.tokens(t)) != 1 {
		t.Error("bob revoked ann's token")
	}
	b.post("/account/tokens/revoke").wants(t, "none named", http.StatusNotFound)
	b.follow(b.post("/account/tokens/revoke", "id", list[0].ID)).wants(t, "revoking", http.StatusOK, "The sign-in token was revoked")
	for _, once := range []string{"a", "b"} {
		b.post("/account/tokens", "once", once)
	}
	b.get("/account/tokens/revoke").wants(t, "the question", http.StatusOK, "Revoke all sign-in tokens?")
	b.follow(b.post("/account/tokens/revoke", "all", "1")).wants(t, "revoking all", http.StatusOK, "All sign-in tokens were revoked")
	if n := len(r.tokens(t)); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
	want := []Action{TokenMade, TokenRevoked, TokenMade, TokenMade, TokenRevoked}
	if got := r.actions(); !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

// Sessions end when they were idle for half an hour, after ten hours, by their owner, and with their user.
func TestSessionsEnd(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	r.later(29 * time.Minute)
	b.get("/account").wants(t, "after 29 minutes", http.StatusOK)
	r.later(31 * time.Minute)
	b.get("/account").wants(t, "after half an hour", http.StatusSeeOther, "/login?return=")
	b.follow(b.post("/account/tokens", "once", "1")).wants(t, "a form of before", http.StatusOK, "You were signed out")

	b.signIn("ann")
	for range 25 {
		r.later(25 * time.Minute)
		b.get("/account")
	}
	b.get("/account").wants(t, "after ten hours", http.StatusSeeOther, "/login?return=")

	b.signIn("ann")
	_, err := itusers.Manager{Store: r.store, Now: r.clock}.SetActive(t.Context(), "ann", false)
	r.must(err)
	b.get("/account").wants(t, "disabled", http.StatusSeeOther, "/login?return=")
}

// A person sees their browsers and ends them, but not somebody else's; signing out here leaves the others.
func TestOwnSessions(t *testing.T) {
	r := newRig(t)
	desk, phone, bob := r.browser(), r.browser(), r.browser()
	desk.header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/128.0")
	phone.header.Set("User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1")
	desk.signIn("ann")
	phone.signIn("ann")
	bob.signIn("bob")
	seen := desk.get("/account").wants(t, "the list", http.StatusOK, "Firefox on Windows", "Safari on iPhone", "This browser")
	other := regexp.MustCompile(`sessions/end"><input type="hidden" name="id" value="([^"]+)"`).FindStringSubmatch(seen.body)
	bob.post("/account/sessions/end", "id", other[1])
	phone.get("/account").wants(t, "after bob tried", http.StatusOK)
	desk.post("/account/sessions/end").wants(t, "none named", http.StatusNotFound)
	desk.follow(desk.post("/account/sessions/end", "id", other[1])).wants(t, "ending it", http.StatusOK, "The session was ended")
	phone.get("/account").wants(t, "the ended one", http.StatusSeeOther)

	phone.signIn("ann")
	before := desk.cookie(sessionCookie)
	out := desk.post("/signout").wants(t, "signing out", http.StatusSeeOther, "/signedout")
	if out.header.Get("Clear-Site-Data") != `"cache", "storage"` || desk.cookie(sessionCookie) != "" {
		t.Error("the browser keeps something")
	}
	desk.client.Jar.SetCookies(mustURL(desk), []*http.Cookie{{Name: sessionCookie, Value: before, Path: "/", Secure: true}})
	desk.get("/account").wants(t, "with the old cookie", http.StatusSeeOther)
	phone.get("/account").wants(t, "the other browser", http.StatusOK)
	desk.get("/signedout").wants(t, "the page after it", http.StatusOK, "You are signed out")
	desk.post("/signout").wants(t, "signing out again", http.StatusSeeOther, "/signedout")
	own, err := r.store.Sessions(t.Context(), r.user("ann").Key)
	r.must(err)
	phone.post("/account/sessions/end", "id", own[0].ID).wants(t, "ending one's own", http.StatusSeeOther, "/signedout")
	phone.get("/account").wants(t, "after that", http.StatusSeeOther, "/login")
	if got := r.actions(); !slices.Equal(got, []Action{SessionEnded, SignedOut, SessionEnded}) {
		t.Errorf("recorded %v", got)
	}

	desk.signIn("ann")
	phone.signIn("ann")
	desk.get("/account").wants(t, "both", http.StatusOK, "Firefox on Windows", "Safari on iPhone")
	r.later(20 * time.Minute)
	desk.get("/account")
	r.later(20 * time.Minute)
	if p := desk.get("/account").wants(t, "the one in use", http.StatusOK, "Firefox on Windows"); strings.Contains(p.body, "Safari on iPhone") {
		t.Error("a session is listed that is over")
	}
}

func TestSignOutEverywhere(t *testing.T) {
	r := newRig(t)
	desk, phone := r.browser(), r.browser()
	desk.signIn("ann")
	phone.signIn("ann")
	desk.post("/account/tokens", "once", "1")
	desk.get("/account/signout-everywhere").wants(t, "the question", http.StatusOK, "Sign out everywhere?")
	if out := desk.post("/account/signout-everywhere").wants(t, "doing it", http.StatusSeeOther, "/signedout"); out.header.Get("Clear-Site-Data") == "" {
		t.Error("the browser keeps something")
	}
	phone.get("/account").wants(t, "the other browser", http.StatusSeeOther)
	if n := len(r.tokens(t)); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
	if got := r.actions(); !slices.Contains(got, SignedOutEverywhere) {
		t.Errorf("recorded %v", got)
	}
}

// A second sign-in in the same browser takes the place of the first, under a new id.
func TestNewIDAtEveryChange(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	first := b.cookie(sessionCookie)
	b.signIn("bob")
	second := b.cookie(sessionCookie)
	if first == "" || second == "" || first == second {
		t.Errorf("ids %q and %q", first, second)
	}
	if list, err := r.store.Sessions(t.Context(), r.user("ann").Key); err != nil || len(list) != 0 {
		t.Errorf("the first session is still there: %v, %v", list, err)
	}
	b.client.Jar.SetCookies(mustURL(b), []*http.Cookie{{Name: sessionCookie, Value: "made-up-by-somebody", Path: "/", Secure: true}})
	b.signIn("ann")
	if b.cookie(sessionCookie) == "made-up-by-somebody" {
		t.Error("an id from outside was taken over")
	}
}

// A device: added with the code of the old one, named, and removed; the last one stays where one must be had.
func TestDevices(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	b.get("/account/factors/add").wants(t, "the first, fresh", http.StatusOK, "Add a device")
	shown := b.post("/account/factors/add").wants(t, "the picture", http.StatusOK, "<svg")
	secret := strings.ReplaceAll(secretText.FindString(shown.body), " ", "")
	id := hidden(t, shown, "enrolment")
	before := b.cookie(sessionCookie)
	b.post("/account/factors/confirm", "enrolment", id, "code", "123456").wants(t, "a wrong code", http.StatusUnauthorized, "The code is not right")
	b.post("/account/factors/confirm", "enrolment", id, "code", r.code(secret), "device", "Phone <1>").
		wants(t, "the first code", http.StatusOK, "Save your recovery codes")
	if b.cookie(sessionCookie) == before {
		t.Error("the session kept its id")
	}
	b.post("/account/factors/confirm", "enrolment", id, "code", r.code(secret)).wants(t, "the form again", http.StatusSeeOther, "/account/factors/add")
	r.later(time.Minute)

	b.get("/account/factors/add").wants(t, "the second", http.StatusOK, `name="code"`)
	b.post("/account/factors/add", "code", "000000").wants(t, "with a wrong code", http.StatusUnauthorized, "The code is not right")
	b.post("/account/factors/add").wants(t, "without a code", http.StatusUnauthorized, "The code is not right")
	before = b.cookie(sessionCookie)
	second := b.post("/account/factors/add", "code", r.code(secret)).wants(t, "with a code", http.StatusOK, "<svg")
	proven := b.cookie(sessionCookie)
	if proven == before {
		t.Error("the session kept its id when the old factor was proven")
	}
	secret2, id2 := strings.ReplaceAll(secretText.FindString(second.body), " ", ""), hidden(t, second, "enrolment")
	b.follow(b.post("/account/factors/confirm", "enrolment", id2, "code", r.code(secret2))).wants(t, "confirmed", http.StatusOK,
		"The device was added", "Phone &lt;1&gt;", "Authenticator app")
	r.later(time.Minute)

	bob := r.browser()
	bob.signIn("bob")
	bob.get("/account/factors/remove?id="+id).wants(t, "bob asks for ann's", http.StatusNotFound)
	bob.post("/account/factors/remove", "id", id).wants(t, "bob removes ann's", http.StatusNotFound)
	b.get("/account/factors/remove?id="+url.QueryEscape(id)).wants(t, "the question", http.StatusOK, "Phone &lt;1&gt;", `name="code"`)
	b.post("/account/factors/remove", "id", id, "code", "000000").wants(t, "with a wrong code", http.StatusUnauthorized)
	before = b.cookie(sessionCookie)
	b.follow(b.post("/account/factors/remove", "id", id, "code", r.code(secret2))).wants(t, "removed", http.StatusOK, "The device was removed")
	if before == proven || b.cookie(sessionCookie) == before {
		t.Error("the session kept its id when a factor was added, or removed")
	}
	r.later(time.Minute)
	r.policy = authn.FactorRequired
	b.post("/account/factors/remove", "id", id2, "code", r.code(secret2)).wants(t, "the last one", http.StatusForbidden, "your only device")
	r.later(time.Minute)
	r.policy = authn.FactorEnrolled
	b.follow(b.post("/account/factors/remove", "id", id2, "code", r.code(secret2))).wants(t, "removed", http.StatusOK, "With a second factor")
	if got, want := r.actions(), []Action{FactorAdded, FactorRefused, FactorRefused, FactorAdded, FactorRefused,
		FactorRemoved, FactorRemoved}; !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestTooManyDevices(t *testing.T) {
	r := newRig(t)
	var secret string
	for range mfa.MaxDevices {
		secret = r.enrol("bob")
	}
	b := r.browser()
	b.signIn("bob")
	b.post("/login/code", "code", r.code(secret))
	r.later(time.Minute)
	b.follow(b.post("/account/factors/add", "code", r.code(secret))).wants(t, "one more", http.StatusOK, "You have as many devices as there may be")
}

// Who has lost the telephone removes it, and sets up another, with recovery codes; each works once.
func TestALostDevice(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	shown := b.post("/account/factors/add").wants(t, "the picture", http.StatusOK)
	id, secret := hidden(t, shown, "enrolment"), strings.ReplaceAll(secretText.FindString(shown.body), " ", "")
	codes := recoveryText.FindAllString(b.post("/account/factors/confirm", "enrolment", id, "code", r.code(secret)).body, -1)
	for i := range codes {
		codes[i] = strings.TrimSuffix(strings.TrimPrefix(codes[i], "<code>"), "</code>")
	}
	b.get("/account/factors/remove?id="+id).wants(t, "the question", http.StatusOK, `name="recovery"`, "You do not have your telephone?")
	b.post("/account/factors/remove", "id", id, "recovery", "BCDF-BCDF-BCDF-BCDF-BCDF").
		wants(t, "a wrong one", http.StatusUnauthorized, "This recovery code is not right", `<details class="other" open>`, `value="`+id+`"`)
	b.post("/account/factors/add", "recovery", codes[0]).wants(t, "adding", http.StatusOK, "<svg")
	b.post("/account/factors/remove", "id", id, "recovery", codes[0]).wants(t, "the same again", http.StatusUnauthorized, "was used already")
	b.follow(b.post("/account/factors/remove", "id", id, "recovery", " "+strings.ToLower(codes[1]))).
		wants(t, "removing", http.StatusOK, "The device was removed")
}

// Without a device to prove it with, only a fresh sign-in may set one up.
func TestTheFirstDeviceWantsAFreshSignIn(t *testing.T) {
	r := newRig(t)
	for _, ask := range []func(*browser) page{
		func(b *browser) page { return b.get("/account/factors/add") },
		func(b *browser) page { return b.post("/account/factors/add") },
	} {
		b := r.browser()
		b.signIn("ann")
		r.later(11 * time.Minute)
		stale := ask(b).wants(t, "after eleven minutes", http.StatusSeeOther, "return=%2Faccount%2Ffactors%2Fadd")
		b.follow(stale).wants(t, "the first page", http.StatusOK, "needs a sign-in of the last ten minutes")
		if b.cookie(sessionCookie) != "" {
			t.Error("still signed in")
		}
	}
}

func TestNewRecoveryCodes(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	b.post("/account/recovery").wants(t, "without a device", http.StatusNotFound)
	secret := r.enrol("ann")
	b.get("/account/recovery").wants(t, "the question", http.StatusOK, "will no longer work", `name="code"`)
	b.post("/account/recovery", "code", "000000").wants(t, "with a wrong code", http.StatusUnauthorized)
	b.post("/account/recovery", "code", r.code(secret)).wants(t, "with a code", http.StatusOK, "Save your recovery codes", `action="/account"`)
	if got := r.actions(); !slices.Equal(got, []Action{FactorRefused, RecoveryRenewed}) || authn.ReasonOf(r.events[0].Err) != "wrong_code" {
		t.Errorf("recorded %v, the first because of %v", got, r.events[0].Err)
	}
}

// A person reads their own refusals in words that tell nobody else anything.
func TestHistory(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	r := newRig(t, func(c *Config) {
		c.People = people{[]SignIn{
			{Time: at, Portal: true, Kind: authn.OK, Source: "192.0.2.9"},
			{Time: at, Environment: "production", Kind: authn.BadCredentials, Reason: "wrong_password"},
			{Time: at, Kind: authn.BadCredentials, Reason: "code_replayed"}, {Time: at, Kind: authn.Locked, Reason: "throttled"},
			{Time: at, Kind: authn.Locked, Reason: "account_disabled"}, {Time: at, Kind: authn.NotMapped, Reason: "no_it_user"},
			{Time: at, Kind: authn.BadCredentials, Reason: "token_revoked"}, {Time: at, Kind: authn.Unavailable}, {Time: at, Kind: authn.Untrusted}, {Time: at, Kind: authn.CodeRequired},
		}}
	})
	b := r.browser()
	b.follow(b.signIn("ann")).wants(t, "the history", http.StatusOK, "192.0.2.9", "2026-11-24 09:30 UTC", "wrong password",
		"wrong or missing code", "a sign-in token that is not valid", "blocked for a while", "may not sign in", "no IT user there", "trouble on our side", "not allowed")
}

func TestNamesOfBrowsers(t *testing.T) {
	v := &visit{Portal: newRig(t).portal, frame: frame{Language: "en"}}
	for agent, want := range map[string]string{
		"":        "",
		"curl/8":  "",
		"Linux X": "Linux",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 Version/17 Safari/605":          "Safari on macOS",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537 Chrome/140 Safari/537":                        "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537 Chrome/140 Safari/537 Edg/140":           "Edge on Windows",
		"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537 Chrome/140 Mobile Safari/537":                 "Chrome on Android",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18 Safari/604": "Safari on iPhone",
	} {
		if got := v.agent(agent); got != want {
			t.Errorf("%q: %q, want %q", agent, got, want)
		}
	}
}

func mustURL(b *browser) *url.URL {
	u, err := url.Parse(b.server.URL)
	b.must(err)
	return u
}

// Signing out ends our session first; then the browser goes to where the person signed in, if sessions end there too.
func TestSignOutThereToo(t *testing.T) {
	for name, c := range map[string]struct {
		out    authn.Redirect
		err    error
		status int
		want   string
	}{
		"by link": {authn.Redirect{URL: "https://idp.example.test/slo?SAMLRequest=x"}, nil, http.StatusOK, `content="0; url=https://idp.example.test/slo?SAMLRequest=x"`},
		"by form": {authn.Redirect{URL: "https://idp.example.test/slo", Fields: url.Values{"SAMLRequest": {"logout"}}}, nil, http.StatusOK, `value="logout"`},
		"nowhere": {authn.Redirect{}, nil, http.StatusSeeOther, "/signedout"},
		"down":    {authn.Redirect{URL: "https://idp.example.test/slo"}, &authn.Error{Kind: authn.Unavailable}, http.StatusSeeOther, "/signedout"},
	} {
		for _, path := range []string{"/signout", "/account/signout-everywhere"} {
			t.Run(name+" "+path, func(t *testing.T) {
				r := newRig(t)
				r.idp.out, r.idp.outErr = c.out, c.err
				b := r.browser()
				b.post("/login/begin", "provider", "idp")
				b.follow(b.post("/saml/idp/acs", "SAMLResponse", "x", "RelayState", r.idp.state)).wants(t, "signed in", http.StatusOK, "Welcome")
				b.post(path).wants(t, "signing out", c.status, c.want)
				b.get("/account").wants(t, "after it", http.StatusSeeOther)
			})
		}
	}
}
