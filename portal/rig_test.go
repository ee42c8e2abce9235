package portal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/idbridge/idbridge/altcha"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/templates"
)

// The cookies of the users' door.
var sessionCookie, loginCookie = cookiesOf("").session, cookiesOf("").login

// rig is a portal on a real database, in front of a directory and an identity provider in memory.
type rig struct {
	t       *testing.T
	store   *store.Store
	factors *mfa.Service
	portal  *Portal
	server  *httptest.Server
	corp    *directory
	idp     *identityProvider

	mu     sync.Mutex
	now    time.Time
	events []Event
	policy authn.FactorPolicy
	logged bytes.Buffer
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

// directory knows passwords; the subject of ann is s-ann.
type directory struct {
	mu        sync.Mutex
	passwords map[string]string
	expired   bool
	down      bool
}

func (d *directory) Find(_ context.Context, name string) (authn.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return authn.Account{}, &authn.Error{Kind: authn.Unavailable, Reason: "directory_silent"}
	}
	if _, ok := d.passwords[name]; !ok {
		return authn.Account{}, &authn.Error{Kind: authn.BadCredentials, Reason: "unknown_user"}
	}
	return authn.Account{Identity: authn.Identity{Provider: "corp", Subject: "s-" + name, Username: name, Name: name + " <b>&"}}, nil
}

func (d *directory) Verify(_ context.Context, a authn.Account, password authn.Secret) (authn.Identity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passwords[a.Username] != password.Reveal() {
		return authn.Identity{}, &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_password"}
	}
	if d.expired {
		return authn.Identity{}, &authn.Error{Kind: authn.Locked, Reason: authn.ReasonPasswordExpired}
	}
	id := a.Identity
	id.Factors = []string{authn.FactorPassword}
	return id, nil
}

func (d *directory) change(_ context.Context, a authn.Account, current, next authn.Secret) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.passwords[a.Username] != current.Reveal():
		return &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_password"}
	case len(next) < 8:
		return &authn.Error{Kind: authn.Unsuitable, Reason: "password_too_short"}
	}
	d.passwords[a.Username], d.expired = next.Reveal(), false
	return nil
}

// identityProvider says that whoever comes back is ann.
type identityProvider struct {
	mu     sync.Mutex
	state  string
	asked  authn.Ask
	fields url.Values
	reply  authn.Reply
	refuse error // what Finish says
	out    authn.Redirect
	outErr error
}

func (i *identityProvider) signOut(_ context.Context, identity authn.Identity) (authn.Redirect, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if identity.Session != "their session" {
		return authn.Redirect{}, errors.New("whose session is that?")
	}
	return i.out, i.outErr
}

func (i *identityProvider) Begin(_ context.Context, ask authn.Ask) (authn.Redirect, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state, i.asked = ask.State, ask
	return authn.Redirect{URL: "https://idp.example.test/sso", Fields: i.fields, Pending: []byte("pending")}, nil
}

func (i *identityProvider) Finish(_ context.Context, _ []byte, reply authn.Reply) (authn.Identity, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reply = reply
	if reply.Form.Get("SAMLResponse") == "" && reply.RawQuery == "" {
		return authn.Identity{}, &authn.Error{Kind: authn.Untrusted, Reason: "bad_signature"}
	}
	if i.refuse != nil {
		return authn.Identity{}, i.refuse
	}
	return authn.Identity{Provider: "idp", Subject: "i-ann", Username: "ann", Session: "their session", Factors: []string{authn.FactorIdP, authn.FactorIdPMFA}}, nil
}

// people answers from fixed lists.
type people struct{ history []SignIn }

func (people) Environments(context.Context, string) ([]Environment, error) {
	return []Environment{{"production", 1042}, {"quality", 0}}, nil
}

func (p people) History(context.Context, string) ([]SignIn, error) { return p.history, nil }

type noAudit struct{}

func (noAudit) Record(context.Context, authn.Decision) error { return nil }

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Now().Truncate(time.Second), policy: authn.FactorEnrolled, idp: &identityProvider{},
		corp: &directory{passwords: map[string]string{"ann": "pw-ann", "bob": "pw-bob", "nobody": "pw-nobody"}}}
	rows, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "x.db")})
	r.must(err)
	t.Cleanup(func() { _ = rows.Close() })
	r.store = rows
	manager := itusers.Manager{Store: rows, Now: r.clock}
	_, err = manager.Import(t.Context(), strings.NewReader("username\nann\nbob\n"), itusers.CSV, itusers.Options{})
	r.must(err)
	_, err = manager.Link(t.Context(), "ann", "idp", "i-ann", "ann")
	r.must(err)
	c := r.config()
	r.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.portal.ServeHTTP(w, q) }))
	t.Cleanup(r.server.Close)
	c.PublicURL = r.server.URL
	for _, f := range change {
		f(&c)
	}
	r.portal, err = New(c)
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) config() Config {
	line, err := keyring.Generate("test")
	r.must(err)
	ring, err := keyring.Parse(line)
	r.must(err)
	throttle := authn.NewThrottle(r.store, authn.DefaultSteps(), authn.DefaultWindow, r.clock)
	r.factors, err = mfa.New(mfa.Config{Store: r.store, Sealer: ring, Throttle: throttle, Issuer: "Example", Now: r.clock})
	r.must(err)
	any := func(n string) (string, bool) { return n, !strings.Contains(n, "@") }
	partner := func(n string) (string, bool) { return n, strings.HasSuffix(n, "@idp.example.test") }
	pages, err := templates.New("")
	r.must(err)
	return Config{
		Pages: pages, Flow: r.flow(
			authn.Provider{ID: "corp", Label: "Corporate directory", Match: any, Password: r.corp, ChangePassword: r.corp.change},
			authn.Provider{ID: "idp", Label: "Partner login", Match: partner, Redirect: r.idp, SignOut: r.idp.signOut}),
		Roster: r.store, Tokens: r.store, Factors: r.factors,
		Sessions:  authn.Sessions{Store: r.store, Idle: authn.DefaultSessionIdle, Life: authn.DefaultSessionLife, Now: r.clock},
		Addresses: authn.NewThrottle(r.store, AddressSteps(), authn.DefaultWindow, r.clock), Once: r.store, Policy: r.policyOf,
		Proofs: &altcha.Issuer{Key: []byte("a key for tests, of thirty-two b"), Life: altcha.DefaultLife, Now: r.clock,
			Once: func(ctx context.Context, nonce string, expires time.Time) (bool, error) {
				return r.store.UseOnce(ctx, "altcha", nonce, expires)
			}},
		People: people{}, Now: r.clock, NewID: func() string { return "the-correlation-id" },
		Journal: func(_ context.Context, e Event) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
			return nil
		},
		Log: slog.New(slog.NewTextHandler(&r.logged, nil)),
	}
}

func (r *rig) policyOf(authn.Identity) authn.FactorPolicy {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policy
}

// flow signs people in at the providers given.
func (r *rig) flow(providers ...authn.Provider) *authn.Flow {
	match := itusers.Match{Attribute: "username", Template: "{0}", Shared: true}
	users, err := itusers.NewDirectory(r.store, map[string]itusers.Match{"corp": match, "idp": match}, r.clock)
	r.must(err)
	service, err := authn.NewService(authn.Config{
		Providers: providers, Users: users, Factors: r.factors, Policy: r.policyOf, Auditor: noAudit{}, Tokens: r.store,
		Throttle: authn.NewThrottle(r.store, authn.DefaultSteps(), authn.DefaultWindow, r.clock), RefusalTime: -1, Now: r.clock,
	})
	r.must(err)
	return authn.NewFlow(service, r.store, r.factors, 0)
}

// browser keeps cookies and follows nothing by itself.
type browser struct {
	*rig
	client *http.Client
	header http.Header
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	r.must(err)
	c := r.server.Client()
	return &browser{r, &http.Client{Transport: c.Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, http.Header{}}
}

// page is an answer.
type page struct {
	status   int
	header   http.Header
	body     string
	location string // of a redirect, without the host
	cookies  []*http.Cookie
}

func (b *browser) send(method, path string, form url.Values) page {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(form.Encode()))
	b.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", b.server.URL)
	for name, values := range b.header {
		request.Header[name] = values
	}
	response, err := b.client.Do(request)
	b.must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	b.must(err)
	return page{response.StatusCode, response.Header, string(body), response.Header.Get("Location"), response.Cookies()}
}

func (b *browser) get(path string) page { b.t.Helper(); return b.send("GET", path, nil) }

// post sends a form of names and values in turn.
func (b *browser) post(path string, fields ...string) page {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send("POST", path, form)
}

func (b *browser) follow(p page) page {
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
func (p page) wants(t *testing.T, what string, status int, words ...string) page {
	t.Helper()
	if p.status != status {
		t.Errorf("%s: status %d, want %d (to %q)\n%s", what, p.status, status, p.location, title.FindString(p.body))
	}
	for _, w := range words {
		if !strings.Contains(p.body, w) && !strings.Contains(p.location, w) {
			t.Errorf("%s: %q is not there (%s %s)", what, w, p.location, title.FindString(p.body))
		}
	}
	return p
}

var title = regexp.MustCompile(`<h1>.*</h1>`)

func (b *browser) signIn(user string) page {
	b.t.Helper()
	return b.post("/login", "username", user, "password", "pw-"+user)
}

// enrolled gives ann a device, whose first code is used.
func (r *rig) enrol(username string) (secret string) {
	r.t.Helper()
	u, err := itusers.Manager{Store: r.store, Now: r.clock}.Show(r.t.Context(), username)
	r.must(err)
	user := authn.ITUser{Key: u.Key, Username: u.Username}
	e, err := r.factors.Enrol(r.t.Context(), user)
	r.must(err)
	secret = strings.ReplaceAll(e.Secret.Reveal(), " ", "")
	_, err = r.factors.Confirm(r.t.Context(), user, e.ID, r.code(secret))
	r.must(err)
	r.later(time.Minute)
	return secret
}

func (r *rig) code(secret string) string {
	r.t.Helper()
	code, err := totp.GenerateCode(secret, r.clock())
	r.must(err)
	return code
}

// cookie is one that the browser would send.
func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.server.URL)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

func (r *rig) user(username string) authn.ITUser {
	r.t.Helper()
	u, err := itusers.Manager{Store: r.store, Now: r.clock}.Show(r.t.Context(), username)
	r.must(err)
	return authn.ITUser{Key: u.Key, Username: u.Username, Active: true}
}
