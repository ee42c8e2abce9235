// Package portal is the users' door: sign-in with a browser, second factors, sign-in tokens, and what there is to know
// and to end about one's own account.
//
// It is the HTTP skin of authn.Flow: routes, cookies, headers, forms and their answers. It leaves to others what signing
// in means and when it is refused (authn), what a code is (mfa), how a page looks and reads (templates) and where rows
// are kept (store). Pages work without JavaScript, nothing changes on GET, and every redirect goes to a fixed path of
// ours: routes is the list.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/idbridge/idbridge/altcha"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/templates"
)

// Config is what a Portal is made of. Fields without a default are required.
type Config struct {
	PublicURL string // https; everything that is absolute begins with it, whatever Host a request names
	Pages     *templates.Set
	Flow      *authn.Flow
	Sessions  authn.Sessions
	Roster    authn.SessionRoster
	Tokens    Tokens
	TokenLife authn.TokenLife
	Factors   *mfa.Service
	Policy    func(authn.Identity) authn.FactorPolicy
	People    People
	Addresses *authn.Throttle // of failed attempts by network address
	Proofs    *altcha.Issuer  // of work, after several failed attempts
	Once      Once
	Journal   func(context.Context, Event) error // writes what users do to their accounts into the audit
	Providers http.Handler                       // answers identity providers at /saml/ID/metadata and /saml/ID/slo; may be nil
	Inside    Inside                             // of a door of its own; the zero value: the account, at the users' door

	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Security       SecurityContact
	Now            func() time.Time
	NewID          func() string // correlation ids
	Log            *slog.Logger
}

// Tokens keeps sign-in tokens.
type Tokens interface {
	AddToken(ctx context.Context, t authn.Token) error
	authn.TokenRoster
}

// People is what a person may know of themselves beside what their session holds.
type People interface {
	// Environments are those on which the IT user of that name could sign in.
	Environments(ctx context.Context, username string) ([]Environment, error)
	// History are the newest sign-ins of an IT user by name, granted and refused, newest first.
	History(ctx context.Context, username string) ([]SignIn, error)
}

// Environment is one on which a person is known.
type Environment struct {
	Name   string
	UserID int32 // 0: it looks the id up by itself
}

// SignIn is a line of a person's history.
type SignIn struct {
	Time        time.Time
	Portal      bool
	Environment string
	Kind        authn.Kind
	Reason      string
	Source      string
}

// Once tells whether a key is used for the first time, on all nodes; it is remembered until it expires.
type Once interface {
	UseOnce(ctx context.Context, kind, key string, expires time.Time) (first bool, err error)
}

// Event is something that a person did to their account.
type Event struct {
	Action   Action
	ID       string // correlation id
	Time     time.Time
	Identity authn.Identity
	ITUser   string
	Source   netip.Addr
	Detail   string
	Err      error // why it was refused; nil: it was done
}

// Action is what was done.
type Action string

// The actions that are worth a record. Sign-ins are recorded by authn.Flow.
const (
	SignedOut           Action = "signed out"
	SignedOutEverywhere Action = "signed out everywhere"
	SessionEnded        Action = "session ended"
	TokenMade           Action = "token made"
	TokenRevoked        Action = "token revoked"
	FactorAdded         Action = "factor added"
	FactorRemoved       Action = "factor removed"
	RecoveryRenewed     Action = "recovery codes renewed"
	FactorRefused       Action = "factor change refused" // the code that should prove who asks was wrong
)

// SecurityContact is what /.well-known/security.txt says (RFC 9116). Without a contact there is no such file.
type SecurityContact struct {
	Contacts []string // https:, mailto: or tel: URIs
	Policy   string
	Expires  time.Time
}

// Portal answers browsers. It is safe for concurrent use.
type Portal struct {
	Config
	pages   *templates.Set
	base    string // the path of the public URL, without a slash at its end
	home    string // where one is after signing in
	names   cookieNames
	cookies *cookieStore
	handler http.Handler
}

// New validates the configuration; it reads nothing.
func New(c Config) (*Portal, error) {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("portal: the public URL %q is not an https URL without a query", c.PublicURL)
	}
	for _, needed := range []any{c.Pages, c.Flow, c.Factors, c.Addresses, c.Proofs, c.People, c.Tokens, c.Once, c.Roster, c.Policy,
		c.Journal, c.Now, c.NewID, c.Log} {
		if v := reflect.ValueOf(needed); !v.IsValid() || v.Kind() != reflect.Struct && v.IsZero() {
			return nil, errors.New("portal: Config lacks a field")
		}
	}
	p := &Portal{Config: c, pages: c.Pages, base: strings.TrimSuffix(u.Path, "/"), home: "/account", names: cookiesOf(c.Inside.Name)}
	if p.Sessions.Door = c.Inside.Name; c.Inside.Serve != nil {
		p.home = "/"
	}
	p.cookies = &cookieStore{sessions: p.Sessions, roster: c.Roster}
	p.handler, err = p.doors("https://" + u.Host)
	return p, err
}

// doors puts the routes behind what every request passes: headers, and the check where a form comes from.
func (p *Portal) doors(origin string) (http.Handler, error) {
	mux := http.NewServeMux()
	for _, route := range p.routes() {
		mux.Handle(route.method+" "+route.path, p.serve(route))
	}
	mux.Handle("/", p.serve(p.elsewhere()))
	if p.Providers != nil {
		mux.Handle("GET /saml/{provider}/metadata", p.Providers)
		mux.Handle("/saml/{provider}/slo", p.Providers)
	}
	origins := http.NewCrossOriginProtection()
	if err := origins.AddTrustedOrigin(origin); err != nil { // a proxy in front may change Host
		return nil, fmt.Errorf("portal: %w", err)
	}
	origins.AddInsecureBypassPattern("POST " + answerPath)
	origins.AddInsecureBypassPattern("POST /saml/{provider}/slo") // messages there are signed
	origins.SetDenyHandler(p.serve(route{public: true, act: (*visit).crossOrigin}))
	return p.secured(http.StripPrefix(p.base, origins.Handler(mux))), nil
}

// ServeHTTP implements http.Handler.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// maxForm is the largest form we read. A SAML answer is at most 256 KiB, in base64.
const maxForm = 512 << 10

// visit is one request and its answer.
type visit struct {
	*Portal
	w http.ResponseWriter
	r *http.Request
	frame
	authn.Visit
	session authn.Session // of who is signed in; the zero value: nobody
}

// serve runs one route: reads the form, looks who is there, and turns an error into a page.
func (p *Portal) serve(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Portal: p, w: w, r: r, frame: p.frame(r)}
		v.Visit = authn.Visit{ID: p.NewID(), Source: p.source(r), Arrived: p.Now()}
		defer func() {
			if value := recover(); value != nil {
				p.Log.Error("panic", "id", v.ID, "panic", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
				v.showError(authn.Errorf(authn.Internal, "panic", "a bug"))
			}
		}()
		if err := v.run(to); err != nil {
			v.showError(err)
		}
	})
}

func (v *visit) run(to route) error {
	if !to.raw {
		v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
		if err := v.r.ParseForm(); err != nil {
			return errTooLarge
		}
	}
	v.Handle = v.loginCookie()
	if to.public {
		return to.act(v)
	}
	session, err := v.cookies.Get(v.r, v.names.session)
	if err != nil {
		return err
	}
	if row, signedIn := session.Values[rowKey].(authn.Session); signedIn {
		v.session, v.Who = row, personName(row)
	}
	if to.signedIn && v.session.ID == "" {
		return v.signInFirst()
	}
	return to.act(v)
}

func personName(s authn.Session) string {
	if s.Identity.Name != "" {
		return s.Identity.Name
	}
	return s.Username
}

// show writes a page.
func (v *visit) show(status int, page string, view any) error {
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Language", v.Language)
	out := &lateStatus{ResponseWriter: v.w, status: status}
	if err := v.pages.Render(out, v.Language, page, view); err != nil {
		return authn.Errorf(authn.Internal, "page", "showing %s: %w", page, err)
	}
	return nil
}

// lateStatus writes the status with the first byte of a page, so that a page that cannot be made can still be an error.
type lateStatus struct {
	http.ResponseWriter
	status int
}

func (l *lateStatus) Write(b []byte) (int, error) {
	if l.status != 0 {
		l.WriteHeader(l.status)
		l.status = 0
	}
	return l.ResponseWriter.Write(b)
}

// goTo redirects to one of our own pages, so that the browser's back and reload repeat nothing.
func (v *visit) goTo(path string, query ...string) error {
	http.Redirect(v.w, v.r, v.Link(path, query...), http.StatusSeeOther)
	return nil
}

// text is a text in the reader's language.
func (v *visit) text(key string, args ...any) string { return v.pages.Text(v.Language, key, args...) }
