package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/altcha"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/portal"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/templates"
)

// rig is the administrators' door beside a portal, on a real database, in front of a directory in memory.
type rig struct {
	t       testing.TB
	store   *store.Store
	users   itusers.Manager
	factors *mfa.Service
	limits  *authn.Throttle
	audit   *audit.Log
	managed *managed
	door    *admin.Admin
	server  *httptest.Server
	config  admin.Config
	secrets map[string]string // of the second factors
	jobs    sync.WaitGroup

	mu      sync.Mutex
	now     time.Time
	records []audit.Record
	logged  bytes.Buffer
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// The people of the tests: each is an IT user and an account of the directory corp, and has a second factor.
const people = "username,name,email,id:production\nalice,Alice Albright,alice@example.com,1\noscar,Oscar,oscar@example.com,2\n" +
	"vera,Vera,vera@example.com,3\nnorm,Norm,norm@example.com,4\nglass-gail,Gail,,5\nidp-ida,Ida,,6\n" +
	"ursula,Ursula Ursprung,ursula@example.com,1001\nuwe,Uwe <b>&,uwe@example.com,1002\n"

// directory knows everybody whose password is pw-NAME, and their groups.
type directory struct{ provider string }

func (d directory) Find(_ context.Context, name string) (authn.Account, error) {
	if name == "" || strings.Contains(name, "stranger") {
		return authn.Account{}, &authn.Error{Kind: authn.BadCredentials, Reason: "unknown_user"}
	}
	groups := map[string][]string{"alice": {"cn=IT Admins,ou=groups,dc=example,dc=com", "IT Admins"}, "oscar": {"helpdesk", "others"}, "vera": {"AUDITORS"}}
	return authn.Account{Identity: authn.Identity{Provider: d.provider, Subject: "s-" + name, Username: name, Name: name, Groups: groups[name]}}, nil
}

func (d directory) Verify(_ context.Context, a authn.Account, password authn.Secret) (authn.Identity, error) {
	if password.Reveal() != "pw-"+a.Username {
		return authn.Identity{}, &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_password"}
	}
	id := a.Identity
	id.Factors = []string{authn.FactorPassword}
	if strings.HasPrefix(a.Username, "idp-") {
		id.Factors = []string{authn.FactorIdP, authn.FactorIdPMFA}
	}
	return id, nil
}

type accounts struct{}

func (accounts) Providers() []admin.Provider {
	return []admin.Provider{{ID: "corp", Label: "Corporate directory", Finds: true}, {ID: "glass", Label: "Break-glass", Finds: true},
		{ID: "sso", Label: "Partner login"}}
}

func (accounts) Find(ctx context.Context, provider, name string) (authn.Account, error) {
	return directory{provider}.Find(ctx, name)
}

type self struct{}

func (self) Environments(context.Context, string) ([]portal.Environment, error) { return nil, nil }

func (self) History(context.Context, string) ([]portal.SignIn, error) {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	return []portal.SignIn{{Time: at, Environment: "production", Kind: authn.OK, Source: "10.20.0.4"},
		{Time: at, Portal: true, Kind: authn.BadCredentials, Reason: "wrong_password", Source: "192.0.2.1"}}, nil
}

// peopled are the files of a database with the people of the tests: made once, as its tables take longer than a test.
var peopled = sync.OnceValues(func() (files map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "idbridge-admin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	rows, err := store.Open(context.Background(), store.Config{Driver: store.SQLite, Path: filepath.Join(dir, "x.db")})
	if err != nil {
		return nil, err
	}
	users := itusers.Manager{Store: rows, Now: time.Now}
	_, err = users.Import(context.Background(), strings.NewReader(people), itusers.CSV,
		itusers.Options{Environments: []string{"production", "quality"}})
	if err := errors.Join(err, rows.Close()); err != nil {
		return nil, err
	}
	files = map[string][]byte{}
	for _, name := range []string{"x.db", "x.db-wal"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return files, nil
})

func newRig(t testing.TB, change ...func(*admin.Config)) *rig {
	t.Helper()
	r := &rig{t: t, managed: newManaged(), now: time.Now().Truncate(time.Second), secrets: map[string]string{}}
	dir := t.TempDir()
	files, err := peopled()
	r.must(err)
	for name, text := range files {
		r.must(os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	rows, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(dir, "x.db")})
	r.must(err)
	t.Cleanup(func() { _ = rows.Close() })
	r.store, r.users = rows, itusers.Manager{Store: rows, Now: r.clock}
	r.audit, err = audit.New(rows, []byte("a key for tests, of thirty-two b"))
	r.must(err)
	t.Cleanup(r.audit.Close)
	t.Cleanup(r.jobs.Wait)
	r.config = r.made()
	r.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.door.ServeHTTP(w, q) }))
	t.Cleanup(r.server.Close)
	r.config.Portal.PublicURL = r.server.URL
	for _, f := range change {
		f(&r.config)
	}
	r.door, err = admin.New(r.config)
	r.must(err)
	return r
}

func (r *rig) made() admin.Config {
	line, err := keyring.Generate("test")
	r.must(err)
	ring, err := keyring.Parse(line)
	r.must(err)
	r.limits = authn.NewThrottle(r.store, authn.DefaultSteps(), authn.DefaultWindow, r.clock)
	r.factors, err = mfa.New(mfa.Config{Store: r.store, Sealer: ring, Throttle: r.limits, Issuer: "Example", Now: r.clock})
	r.must(err)
	match := itusers.Match{Attribute: "username", Template: "{0}", Shared: true}
	people, err := itusers.NewDirectory(r.store, map[string]itusers.Match{"corp": match, "glass": match}, r.clock)
	r.must(err)
	glass := func(n string) (string, bool) { return n, strings.HasPrefix(n, "glass-") }
	corp := func(n string) (string, bool) { return n, !strings.HasPrefix(n, "glass-") }
	service, err := authn.NewService(authn.Config{
		Providers: []authn.Provider{{ID: "corp", Label: "Corporate directory", Match: corp, Password: directory{"corp"}},
			{ID: "glass", Label: "Break-glass", Match: glass, Password: directory{"glass"}}},
		Users: people, Factors: r.factors, Policy: func(authn.Identity) authn.FactorPolicy { return authn.FactorEnrolled }, Throttle: r.limits,
		Auditor: r.audit, Tokens: r.store, RefusalTime: -1, Now: r.clock,
	})
	r.must(err)
	pages, err := templates.NewAdmin("")
	r.must(err)
	c := admin.Config{
		Portal: portal.Config{
			Pages: pages, Flow: authn.NewFlow(service, r.store, r.factors, 0), Roster: r.store, Tokens: r.store, Factors: r.factors,
			Sessions:  authn.Sessions{Store: r.store, Idle: 15 * time.Minute, Life: authn.DefaultSessionLife, Now: r.clock},
			Addresses: authn.NewThrottle(r.store, portal.AddressSteps(), authn.DefaultWindow, r.clock), Once: r.store,
			Policy: service.Policy, Proofs: &altcha.Issuer{Key: []byte("a key for tests, of thirty-two b"), Life: altcha.DefaultLife, Now: r.clock,
				Once: func(ctx context.Context, nonce string, expires time.Time) (bool, error) {
					return r.store.UseOnce(ctx, "altcha", nonce, expires)
				}},
			People: self{}, Now: r.clock, NewID: func() string { return "the-correlation-id" },
			Journal: func(context.Context, portal.Event) error { return nil }, Log: slog.New(slog.NewTextHandler(&r.logged, nil)),
		},
		AllowFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Roles: []admin.Rule{{Role: admin.Administrator, Provider: "corp", Group: "it admins"}, {Role: admin.Operator, Provider: "corp", Group: "helpdesk"},
			{Role: admin.Viewer, Provider: "corp", Group: "auditors"}, {Role: admin.Viewer, Provider: "corp", Group: "others"},
			{Role: admin.Administrator, Provider: "glass"}},
		Users: r.users, Count: r.store.CountUsers, Accounts: accounts{}, Environments: []string{"production", "quality"}, Throttle: r.limits,
		Journal: func(ctx context.Context, record audit.Record) error {
			r.mu.Lock()
			r.records = append(r.records, record)
			r.mu.Unlock()
			return r.audit.Event(ctx, record)
		},
		Insight: insight.Searcher{Finder: r.store}, Counts: r.store,
		Configuration: r.managed, Proposals: r.managed, Sources: feeds{}, Coverage: feeds{}, Webhooks: &hooks{rig: r}, Verifier: &verifier{rig: r},
		Keeper: r.store, Leases: r.store, Background: func(do func(context.Context)) { r.jobs.Go(func() { do(context.WithoutCancel(r.t.Context())) }) },
		Blocks: insight.Blocks{BlockStore: r.store, Throttle: r.limits, Providers: []string{"corp", "glass"}, Now: r.clock},
		Ends: func(context.Context) []admin.Ending {
			return []admin.Ending{{What: "client secret 1", Where: "cloud", At: r.clock().Add(20 * 24 * time.Hour)},
				{What: "certificate", Where: "portal.tls", At: r.clock().Add(-time.Hour)}, {What: "certificate", Where: "admin.tls", At: r.clock().Add(300 * 24 * time.Hour)}}
		},
	}
	c.Blocks.Audit = c.Journal
	return c
}

// recorded are the records since the last time, and none are left.
func (r *rig) recorded() (list []audit.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.records = r.records, nil
	return list
}

// browser keeps cookies and follows nothing by itself.
type browser struct {
	*rig
	client *http.Client
	header http.Header
	who    string
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	r.must(err)
	return &browser{r, &http.Client{Transport: r.server.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, http.Header{}, ""}
}

// answer is what comes back.
type answer struct {
	status   int
	header   http.Header
	body     string
	location string
}

func (b *browser) send(method, path, media string, body io.Reader) answer {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, body)
	b.must(err)
	request.Header.Set("Content-Type", media)
	request.Header.Set("Origin", b.server.URL)
	for name, values := range b.header {
		request.Header[name] = values
	}
	response, err := b.client.Do(request)
	b.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	b.must(err)
	return answer{response.StatusCode, response.Header, string(text), response.Header.Get("Location")}
}

func (b *browser) get(path string) answer { b.t.Helper(); return b.send("GET", path, "", nil) }

// post sends a form of names and values in turn.
func (b *browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.send("POST", path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

// api calls the API with a JSON body.
func (b *browser) api(method, path, body string) answer {
	b.t.Helper()
	return b.send(method, "/api/v1"+path, "application/json", strings.NewReader(body))
}

func (b *browser) follow(p answer) answer {
	b.t.Helper()
	for range 5 {
		if p.location == "" {
			return p
		}
		p = b.get(p.location)
	}
	b.t.Fatalf("redirects without end, at %s", p.location)
	return p
}

// wants checks status and what is to be read.
func (p answer) wants(t testing.TB, what string, status int, words ...string) answer {
	t.Helper()
	if p.status != status {
		t.Errorf("%s: status %d, want %d (to %q)\n%.600s", what, p.status, status, p.location, p.body)
	}
	for _, w := range words {
		if !strings.Contains(p.body, w) && !strings.Contains(p.location, w) {
			t.Errorf("%s: %q is not there (%d %s)\n%.1500s", what, w, p.status, p.location, p.body)
		}
	}
	return p
}

// problem checks that an answer is a problem with that code.
func (p answer) problem(t testing.TB, what string, status int, code string) answer {
	t.Helper()
	var got admin.Problem
	if err := json.Unmarshal([]byte(p.body), &got); err != nil || p.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: no problem: %d %s %.200s", what, p.status, p.header.Get("Content-Type"), p.body)
	}
	if p.status != status || got.Status != status || got.Code != code || got.Type != "urn:idbridge:problem:"+code || got.Title == "" ||
		got.Instance != "urn:idbridge:call:the-correlation-id" || p.header.Get("X-Correlation-Id") != "the-correlation-id" {
		t.Errorf("%s: %d %+v, want %d %s", what, p.status, got, status, code)
	}
	return p
}

// enrol gives somebody a device, whose first code is used.
func (r *rig) enrol(username string) {
	r.t.Helper()
	user := r.user(username)
	e, err := r.factors.Enrol(r.t.Context(), user)
	r.must(err)
	r.secrets[username] = strings.ReplaceAll(e.Secret.Reveal(), " ", "")
	_, err = r.factors.Confirm(r.t.Context(), user, e.ID, r.code(username))
	r.must(err)
	r.later(time.Minute)
}

func (r *rig) user(username string) authn.ITUser {
	r.t.Helper()
	u, err := r.users.Show(r.t.Context(), username)
	r.must(err)
	return authn.ITUser{Key: u.Key, Username: u.Username, Active: true}
}

func (r *rig) code(username string) string {
	r.t.Helper()
	code, err := totp.GenerateCode(r.secrets[username], r.clock())
	r.must(err)
	return code
}

// signedIn is a browser in which somebody has just signed in.
func (r *rig) signedIn(username string) *browser {
	r.t.Helper()
	b := r.browser()
	b.who = username
	if r.secrets[username] == "" && !strings.HasPrefix(username, "idp-") {
		r.enrol(username)
	}
	r.later(time.Minute)
	p := b.post("/login", "username", username, "password", "pw-"+username)
	if strings.Contains(p.location, "/login/next") {
		p = b.post("/login/code", "code", r.code(username))
	}
	p.wants(r.t, username+" signing in", http.StatusSeeOther, "/")
	r.later(time.Minute)
	r.recorded()
	return b
}

func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.server.URL)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}
