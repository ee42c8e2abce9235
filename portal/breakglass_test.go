package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/local"
	"github.com/idbridge/idbridge/store"
)

// glass puts a provider of break-glass accounts in the place of the others, with an account bg-ann that has its first
// password, and fills in who manages it.
func glass(t *testing.T, manager **local.Manager, first *authn.Secret) func(*Config) {
	return func(c *Config) {
		rows := c.Roster.(*store.Store)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		line, err := keyring.Generate("glass")
		must(err)
		ring, err := keyring.Parse(line)
		must(err)
		provider, err := local.New("glass", "Break glass", local.Config{}, authn.Route{Pattern: "bg-.+"}, rows, ring)
		must(err)
		users, err := itusers.NewDirectory(rows, map[string]itusers.Match{"glass": {Attribute: "username", Template: "{0}"}}, c.Now)
		must(err)
		service, err := authn.NewService(authn.Config{
			Providers: []authn.Provider{provider}, Users: users, Factors: c.Factors, Auditor: noAudit{}, Tokens: rows, RefusalTime: -1,
			Policy:   func(authn.Identity) authn.FactorPolicy { return authn.FactorRequired },
			Throttle: authn.NewThrottle(rows, authn.DefaultSteps(), authn.DefaultWindow, c.Now), Now: c.Now,
		})
		must(err)
		c.Flow = authn.NewFlow(service, rows, c.Factors, 0)
		_, err = itusers.Manager{Store: rows, Now: c.Now}.Import(t.Context(), strings.NewReader("username\nbg-ann\n"), itusers.CSV, itusers.Options{})
		must(err)
		*manager = local.NewManager(rows, ring)
		_, *first, err = (*manager).Add(t.Context(), "bg-ann")
		must(err)
	}
}

// The day on which every directory is down: outside of its window a break-glass account is nobody's business; within it the
// first password is changed on the way, after the code.
func TestABreakGlassAccount(t *testing.T) {
	var manager *local.Manager
	var first authn.Secret
	r := newRig(t, glass(t, &manager, &first))
	secret := r.enrol("bg-ann")
	b := r.browser()
	asleep := b.post("/login", "username", "bg-ann", "password", first.Reveal())
	wrong := b.post("/login", "username", "bg-ann", "password", "not the password")
	if asleep.status != http.StatusUnauthorized || asleep.status != wrong.status || asleep.problem() != wrong.problem() {
		t.Errorf("outside of the window the right password is told from a wrong one: %d %q, %d %q",
			asleep.status, asleep.problem(), wrong.status, wrong.problem())
	}
	account, err := manager.Activate(t.Context(), "bg-ann", time.Hour)
	r.must(err)
	b.follow(b.post("/login", "username", "bg-ann", "password", first.Reveal())).wants(t, "within it", http.StatusOK, "Enter your code")
	b.follow(b.post("/login/code", "code", r.code(secret))).wants(t, "after the code", http.StatusOK, "Choose a new password")
	b.post("/login/password", "current", first.Reveal(), "new", "my bg-ann password", "again", "my bg-ann password").
		wants(t, "with the user name in it", http.StatusUnprocessableEntity, "rules refuse")
	b.follow(b.post("/login/password", "current", first.Reveal(), "new", "correct horse battery", "again", "correct horse battery")).
		wants(t, "changed", http.StatusOK, "Welcome")
	sessions, err := r.store.Sessions(t.Context(), r.user("bg-ann").Key)
	if err != nil || len(sessions) != 1 || sessions[0].Identity.Provider != "glass" || sessions[0].Expires.After(account.ActiveUntil) {
		t.Errorf("the session outlives the window, %s: %+v, %v", account.ActiveUntil, sessions, err)
	}
	b.post("/account/tokens", "once", "1").wants(t, "a token", http.StatusOK)
	tokens, err := r.store.Tokens(t.Context(), r.user("bg-ann").Key, r.clock())
	if err != nil || len(tokens) != 1 || tokens[0].Expires.After(account.ActiveUntil) {
		t.Errorf("the token outlives the window, %s: %+v, %v", account.ActiveUntil, tokens, err)
	}
}

// problem is what a page says was wrong.
func (p page) problem() string {
	_, after, _ := strings.Cut(p.body, `role="alert"`)
	text, _, _ := strings.Cut(after, "</")
	return text
}
