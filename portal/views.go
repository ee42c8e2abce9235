package portal

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The views are what the pages of templates/portal show, one type for each page. Every text in them is one that people
// may read; what they may not is not in here.

// frame is what every page has around it.
type frame struct {
	Language  string
	Languages []languageLink
	Chosen    string // the language, if the reader has chosen one; empty: the browser's
	Who       string // the name of who is signed in; empty: nobody
	Problem   string // what went wrong with the form, if something did
	Notice    string // what was done
	returns   string // where to go after signing in, with its query
	base      string // the path of the public URL
}

// languageLink is this page in another language.
type languageLink struct {
	Code, Name, URL string
	Current         bool
}

// Link is the address of one of our pages, with the chosen language; query holds names and values in turn.
func (f frame) Link(path string, query ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	if f.Chosen != "" {
		q.Set("lang", f.Chosen)
	}
	if f.returns != "" && strings.HasPrefix(path, "/login") {
		q.Set("return", f.returns)
	}
	u := url.URL{Path: f.base + path, RawQuery: q.Encode()}
	return u.String()
}

// frame is the frame of a page that answers r.
func (p *Portal) frame(r *http.Request) frame {
	asked := r.URL.Query().Get("lang")
	f := frame{base: p.base, returns: p.wanted(r), Language: p.pages.Choose(asked, r.Header.Get("Accept-Language"))}
	if f.Language == asked {
		f.Chosen = asked
	}
	here := p.getPath(r)
	keep := r.URL.Query()
	keep.Del("notice")
	keep.Del(begun)
	for _, l := range p.pages.Languages() {
		keep.Set("lang", l.Code)
		u := url.URL{Path: p.base + here, RawQuery: keep.Encode()}
		f.Languages = append(f.Languages, languageLink{l.Code, l.Name, u.String(), l.Code == f.Language})
	}
	return f
}

type signInView struct {
	frame
	Username  string // as it was typed before
	Passwords bool   // there is a provider that takes passwords
	Redirects []choice
	Only      bool   // there is nothing to choose and nothing to tell: the browser goes on by itself
	Focus     string // where typing begins: username, password, choice
	Challenge *challengeView
}

// choice is a provider with a page of its own.
type choice struct {
	ID, Label string
	Last      bool // this browser used it the last time
}

// challengeView is a proof of work to be done by the browser.
type challengeView struct {
	JSON, Strings string
	Script, Style string // addresses
	Wait          int    // seconds, where there is no JavaScript
}

type codeView struct {
	frame
	Username string
	Action   string
	Fields   []field
	Recovery bool // the recovery code was the problem
	NoFocus  bool
}

type inviteView struct {
	frame
	Username string
}

type enrolView struct {
	frame
	ID, Account, Secret string
	QR                  template.HTML
	Device              string
	Action              string
	NoFocus             bool
}

type recoveryView struct {
	frame
	Account  string
	Codes    []string
	Download template.URL // the codes as a file
	Onward   string
	Post     bool // going on changes something
}

type passwordView struct {
	frame
	Username string
}

type leaveView struct {
	frame
	Provider string
	Leaving  bool // signing out there; otherwise in
	URL      string
	Fields   []field // to be posted; none: a plain link
}

// field is a hidden field of a form.
type field struct{ Name, Value string }

type accountView struct {
	frame
	Name, Provider, Username, Email, ITUser, Subject string

	Environments []environmentView
	CanToken     bool
	Once         string // makes the form good for one token
	Tokens       []tokenRow
	Devices      []deviceRow
	RecoveryLeft int
	CanEnrol     bool
	Sessions     []sessionRow
	Recent       []recentRow
}

type environmentView struct {
	Name   string
	UserID int32 // 0: the environment looks it up by itself
}

type tokenRow struct {
	ID, Environment, Where string
	Made, Used, Ends       time.Time
}

type deviceRow struct {
	ID, Name    string
	Since, Used time.Time
}

type sessionRow struct {
	ID, Agent, Address string
	Since, Seen        time.Time
	Current            bool
}

type recentRow struct {
	When        time.Time
	Granted     bool
	Portal      bool
	Why         string
	Environment string
	Address     string
}

type tokenView struct {
	frame
	Groups              []string
	ITUser, Environment string
	FirstUse            time.Time
	Lifetime            string
}

type confirmView struct {
	frame
	Title, Question, Button, Action string
	Fields                          []field
	NeedsCode, Danger, NoFocus      bool
	Recovery                        bool   // the recovery code was the problem
	Back                            string // where not doing it leads; empty: one can only start over
}

type errorView struct {
	frame
	Title, Explain string
	ID             string // the correlation id
}

type signedOutView struct{ frame }
