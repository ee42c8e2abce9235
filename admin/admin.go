// Package admin is the administrators' door: pages and a JSON API on a listener of their own, for members of configured
// groups who have proven a second factor.
//
// It knows who may do what (roles), when a factor must be proven again (step-up), how each thing is asked for and shown,
// and that every change is recorded with what was before and after. It leaves to others how people sign in (portal, of
// which it is a second instance), what IT users are and how they change (itusers), what a code is (mfa), and what has a
// record (audit). It knows no adapter, SQL or YAML: each part that is administered is reached through a small interface.
package admin

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/portal"
)

// Door is the name of the administrators' door among those of browsers: its cookies and sessions are its own.
const Door = "admin"

// Config is what an Admin is made of. Fields without a default are required.
type Config struct {
	Portal       portal.Config  // how people sign in here; New sets what is inside
	AllowFrom    []netip.Prefix // the only networks that may ask anything
	Roles        []Rule
	Users        itusers.Manager
	Count        func(context.Context) (itusers.Counts, error)
	Accounts     Accounts
	Environments []string
	Throttle     *authn.Throttle                           // of failed sign-ins
	Journal      func(context.Context, audit.Record) error // appends to the audit
	Insight      insight.Searcher
	Messages     insight.Messages // of SAML, where their log is kept; may be nil
	Counts       insight.Counter

	Configuration Configuration
	Proposals     Proposals
	Blocks        insight.Blocks
	Ends          func(context.Context) []Ending // of certificates and secrets
	Sources       Sources
	Coverage      Coverer
	Webhooks      Webhooks
	Verifier      Verifier
	Keeper        Keeper
	Leases        insight.Leases                 // let one job of a kind go on at a time, over all nodes
	Background    func(do func(context.Context)) // runs what outlives its request, until the process ends
}

// Accounts are those that IT users can be linked to.
type Accounts interface {
	// Providers are all of them, in the order of the configuration.
	Providers() []Provider
	// Find finds an account by name at a provider that Finds. BadCredentials when there is none, Unavailable.
	Find(ctx context.Context, provider, name string) (authn.Account, error)
}

// Provider is one that IT users can be linked at.
type Provider struct {
	ID, Label string
	Finds     bool // accounts there can be found by name
}

// Admin answers administrators. It is safe for concurrent use.
type Admin struct {
	Config
	portal *portal.Portal
	inside *http.ServeMux
	pages  []page
	api    []operation
	spec   []byte
}

// New validates the configuration; it reads nothing.
func New(c Config) (*Admin, error) {
	if !c.complete() {
		return nil, errors.New("admin: Config lacks a field")
	}
	if err := checkRules(c.Roles); err != nil {
		return nil, err
	}
	a := &Admin{Config: c, inside: http.NewServeMux()}
	a.pages, a.api = pages(), operations()
	a.spec = a.document()
	a.route()
	c.Portal.Flow = c.Portal.Flow.Strict(Door)
	c.Portal.Inside = portal.Inside{Name: Door, Pages: a.isPage, Serve: a.serve, CrossOrigin: a.foreign}
	var err error
	a.portal, err = portal.New(c.Portal)
	return a, err
}

func (c Config) complete() bool {
	functions := c.Count != nil && c.Journal != nil && c.Ends != nil && c.Background != nil && c.Throttle != nil
	parts := []any{c.Accounts, c.Insight.Finder, c.Counts, c.Configuration, c.Proposals, c.Blocks.BlockStore, c.Sources, c.Coverage,
		c.Webhooks, c.Verifier, c.Keeper, c.Leases}
	return len(c.AllowFrom) > 0 && len(c.Roles) > 0 && functions && !slices.Contains(parts, nil)
}

// ServeHTTP implements http.Handler. Who does not ask from an allowed network learns nothing, not even what this is.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source := a.portal.AddressOf(r)
	if !slices.ContainsFunc(a.AllowFrom, func(n netip.Prefix) bool { return n.Contains(source) }) {
		a.Portal.Log.Warn("admin: asked from a network that may not", "source", source.String())
		http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		return
	}
	a.portal.ServeHTTP(w, r)
}

// call is one request and who makes it.
type call struct {
	*Admin
	v    *portal.Visitor
	w    http.ResponseWriter
	r    *http.Request
	role Role
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (a *Admin) now() time.Time { return a.Portal.Now() }

type visitorKey struct{}

// serve answers what is inside.
func (a *Admin) serve(v *portal.Visitor) {
	a.inside.ServeHTTP(v.W, v.R.WithContext(context.WithValue(v.R.Context(), visitorKey{}, v)))
}

// handler makes a call of a request.
func (a *Admin) handler(act func(*call)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, _ := r.Context().Value(visitorKey{}).(*portal.Visitor)
		act(&call{Admin: a, v: v, w: w, r: r})
	})
}

// route puts pages and operations where they are asked for. A path that is asked for with another method is told so.
func (a *Admin) route() {
	methods := map[string][]string{}
	for _, p := range a.pages {
		a.inside.Handle(p.method+" "+p.pattern(), a.handler(func(c *call) { c.page(p) }))
	}
	for _, op := range a.api {
		a.inside.Handle(op.method+" "+apiBase+op.path, a.handler(func(c *call) { c.operation(op) }))
		methods[op.path] = append(methods[op.path], op.method)
	}
	for path, allowed := range methods {
		a.inside.Handle(apiBase+path, a.handler(func(c *call) { c.wrongMethod(allowed) }))
	}
	a.inside.Handle("/api/", a.handler(func(c *call) { c.fail(errNoSuchPath) }))
	a.inside.Handle("/", a.handler(func(c *call) { c.v.Missing() }))
}

// may tells whether the caller may do what is for a role; the reason is a refusal. Roles are looked up each time, so a
// configuration that takes one away counts at once.
func (c *call) may(role Role) error {
	s := c.v.Session()
	switch {
	case s.ID == "":
		return errSignedOut
	case !s.Identity.SecondFactor():
		return errNoFactor
	}
	c.role = roleOf(c.Roles, s.Identity)
	switch {
	case c.role == None:
		return errNoRole
	case c.role < role:
		return errRole
	}
	return nil
}

// note records a change that the caller made.
func (c *call) note(r audit.Record) error {
	r = c.signed(r)
	if err := c.Journal(context.WithoutCancel(c.ctx()), r); err != nil {
		return authn.Errorf(authn.Unavailable, "unrecorded_change", "it was done, but could not be written into the audit: %w", err)
	}
	return nil
}

// signed is a record of what the caller does.
func (c *call) signed(r audit.Record) audit.Record {
	r.ID, r.Time, r.Actor, r.Source = c.v.ID, c.now(), c.actor(), c.v.Source.String()
	if r.Kind == "" {
		r.Kind = authn.OK.String()
	}
	return r
}

// actor is how the audit names the caller.
func (c *call) actor() string { return "admin:" + c.v.Session().Username }
