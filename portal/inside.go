package portal

import (
	"cmp"
	"net/http"
	"net/netip"

	"github.com/idbridge/idbridge/authn"
)

// Inside is what stands behind the sign-in of a door of its own, in the place of the account. The door keeps what every
// door does: headers, the check where a form comes from, cookies, sessions, languages.
type Inside struct {
	Name  string                 // of the door: its cookies and its sessions are its own
	Pages func(path string) bool // whether people may be led back there after signing in
	Serve func(*Visitor)         // answers every request that is no step of signing in
	// CrossOrigin answers what comes from another site in Serve's place, and tells whether it did; may be nil.
	CrossOrigin func(*Visitor) bool
}

// Frame is what every page has around it, also those inside.
type Frame = frame

// Visitor is a request to what is inside, and who asks.
type Visitor struct {
	W http.ResponseWriter
	R *http.Request // its form is not read yet, and as long as it may be
	*visit
}

// elsewhere is the route of everything that is no route of ours.
func (p *Portal) elsewhere() route {
	if p.Inside.Serve == nil {
		return route{public: true, act: (*visit).notFound}
	}
	return route{raw: true, act: func(v *visit) error {
		if v.isRoute() {
			return v.notFound()
		}
		p.Inside.Serve(&Visitor{v.w, v.r, v})
		return nil
	}}
}

// isRoute tells whether the path is one of ours, asked for with another method.
func (v *visit) isRoute() bool {
	for _, to := range v.routes() {
		if fits(to.path, v.r.URL.Path) {
			return true
		}
	}
	return false
}

// crossOrigin answers a form that another site sent.
func (v *visit) crossOrigin() error {
	if answer := v.Inside.CrossOrigin; answer != nil && answer(&Visitor{v.w, v.r, v}) {
		return nil
	}
	return errCrossOrigin
}

// AddressOf is the address of who asks: the peer's, or the one that a listed proxy names.
func (p *Portal) AddressOf(r *http.Request) netip.Addr { return p.source(r) }

func (p *Portal) isInside(path string) bool { return p.Inside.Serve != nil && p.Inside.Pages(path) }

// Frame is what the page has around it.
func (v *Visitor) Frame() Frame { return v.frame }

// Session is that of who is signed in; the zero value: nobody.
func (v *Visitor) Session() authn.Session { return v.session }

// Show writes a page of the door's templates.
func (v *Visitor) Show(status int, page string, view any) {
	if err := v.show(status, page, view); err != nil {
		v.Fail(err)
	}
}

// GoTo redirects to one of the door's pages; query holds names and values in turn.
func (v *Visitor) GoTo(path string, query ...string) { _ = v.goTo(path, query...) }

// Text is a text in the reader's language.
func (v *Visitor) Text(key string, args ...any) string { return v.text(key, args...) }

// Agent is a browser's name for people.
func (v *Visitor) Agent(userAgent string) string { return v.agent(userAgent) }

// SignIn leads somebody who is not signed in to the sign-in, and from there back.
func (v *Visitor) SignIn() {
	if err := v.signInFirst(); err != nil {
		v.Fail(err)
	}
}

// SignInAgain ends the session of somebody who must prove anew who they are, and leads them to one of the door's pages after
// that; where none is named, back to where they are. The notice says why: again, kept.
func (v *Visitor) SignInAgain(notice, to string) error {
	return v.signInAgain(notice, cmp.Or(to, v.here()))
}

// Lapsed is the session of this browser that has ended because it was not used for a while; found is false when there is none.
func (v *Visitor) Lapsed() (s authn.Session, found bool, err error) {
	cookie, err := v.R.Cookie(v.names.session)
	if err != nil {
		return s, false, nil //nolint:nilerr // without a cookie there was none
	}
	return v.Sessions.Lapsed(v.R.Context(), authn.Secret(cookie.Value))
}

// Renew gives the session, of which a factor was just proven, a new id.
func (v *Visitor) Renew() error { return v.renew() }

// MayTry refuses an attempt at a code when too many from this address have failed.
func (v *Visitor) MayTry() error {
	_, err := v.mayTry()
	return err
}

// Tried counts an attempt that failed against the address.
func (v *Visitor) Tried(err error) { v.tried(err) }

// Problem is how a refused code is told beside the form; ok is false when there is nothing that the person could mend.
func (v *Visitor) Problem(err error) (status int, text string, ok bool) { return v.problem(err) }

// Fail ends the visit with a page that says what to do.
func (v *Visitor) Fail(err error) { v.showError(err) }

// Missing ends the visit with the page for an address where nothing is.
func (v *Visitor) Missing() { v.showError(errNotFound) }

// Refuse ends the visit with a page of that title and explanation.
func (v *Visitor) Refuse(status int, title, explain string) {
	view := errorView{frame: v.frame, Title: title, Explain: explain, ID: v.ID}
	if err := v.show(status, "error", view); err != nil {
		v.Fail(err)
	}
}
