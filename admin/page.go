package admin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/portal"
)

// page is one thing that a browser can ask for. What changes anything is a POST.
type page struct {
	method, path string
	role         Role
	free         bool   // a POST that changes nothing
	file         bool   // the form comes with a file
	title        string // a text: what a POST does, for who comes back to it after signing in; empty: nobody can
	act          func(*call) error
}

func (p page) pattern() string {
	if p.path == "/" {
		return "/{$}"
	}
	return p.path
}

// pages is every page that there is.
func pages() []page {
	return slices.Concat([]page{{method: "GET", path: "/", role: Viewer, act: (*call).overview}}, resumePages(), userPages(),
		auditPages(), configurationPages(), healthPages(), webhookPages(), verificationPages())
}

// isPage tells whether people may be led to a path after signing in.
func (a *Admin) isPage(path string) bool {
	return slices.ContainsFunc(a.pages, func(p page) bool { return p.method == http.MethodGet && p.path == path })
}

// maxForm is the largest form that is read.
const maxForm = 1 << 20

// page answers a request for a page.
func (c *call) page(p page) {
	c.header("")
	if err := c.may(p.role); err != nil {
		c.turnAway(p, err)
		return
	}
	if p.method == http.MethodGet {
		c.done(p.act(c))
		return
	}
	if err := c.readForm(p.file); err != nil {
		c.done(err)
		return
	}
	if !p.free {
		if asked, err := c.prove(); asked || err != nil {
			c.done(err)
			return
		}
	}
	c.done(p.act(c))
}

func (c *call) readForm(file bool) error {
	var err error
	if file {
		c.patient()
		err = c.r.ParseMultipartForm(maxUpload)
	} else {
		c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxForm)
		err = c.r.ParseForm()
	}
	if err != nil {
		return errTooLarge
	}
	return nil
}

// turnAway answers who may not see the page.
func (c *call) turnAway(p page, err error) {
	switch {
	case errors.Is(err, errSignedOut):
		if kept, err := c.keepOfLapsed(p); kept || err != nil {
			c.done(err)
			return
		}
		c.v.SignIn()
	case errors.Is(err, errNoFactor):
		c.v.Refuse(http.StatusForbidden, c.v.Text("admin.refused.factor.title"), c.v.Text("admin.refused.factor"))
	case errors.Is(err, errNoRole):
		c.v.Refuse(http.StatusForbidden, c.v.Text("admin.refused.norole.title"), c.v.Text("admin.refused.norole"))
	default:
		c.v.Refuse(http.StatusForbidden, c.v.Text("admin.refused.role.title"), c.v.Text("admin.refused.role"))
	}
}

// done ends a page's visit: an error becomes a page that says what to do.
func (c *call) done(err error) {
	if err == nil {
		return
	}
	var known *refusal
	switch refused := refusalOf(err); {
	case errors.Is(err, errNoSuchThing), refused.code == "no_it_user", refused.code == "no_provider", refused.code == "no_version":
		c.v.Missing()
	case errors.As(err, &known):
		c.v.Refuse(refused.status, c.v.Text("admin.refused.title"), c.told(err))
	default:
		c.v.Fail(err)
	}
}

// prove sees to it that a change comes from who proved a factor a short time ago. Where that is not so, and the form
// brings no code, the same form is shown again with a field for one; who has no codes here signs in again, and the form is kept
// meanwhile. Nothing that was typed is lost.
func (c *call) prove() (asked bool, err error) {
	if c.fresh() {
		return false, nil
	}
	can, err := c.canStepUp(c.ctx())
	if err != nil {
		return true, err
	}
	if !can {
		return true, c.signInAgain()
	}
	code := c.r.PostForm.Get(codeField)
	if code == "" {
		return true, c.askCode("")
	}
	if err = c.stepUp(code); err == nil {
		return false, nil
	}
	_, problem, ok := c.v.Problem(err)
	if !ok {
		return true, err
	}
	if authn.KindOf(err) == authn.BadCredentials {
		problem = c.v.Text("problem.code")
	}
	return true, c.askCode(problem)
}

// Names of fields of a form that are not shown again.
const (
	codeField     = "code"
	passwordField = "password"
)

// askCode shows the form that was sent, with a field for a code.
func (c *call) askCode(problem string) error {
	view := confirmView{shell: c.shell(""), Title: c.v.Text("admin.stepup.title"), Question: c.v.Text("admin.stepup.question"),
		Button: c.v.Text("admin.stepup.button"), Action: c.v.Frame().Link(c.r.URL.Path), proof: proof{NeedsCode: true},
		Back: c.v.Frame().Link("/")}
	for name, values := range c.r.PostForm {
		for _, value := range values {
			if name != codeField && name != passwordField { // a password never comes back
				view.Fields = append(view.Fields, field{name, value})
			}
		}
	}
	slices.SortFunc(view.Fields, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	view.Problem = problem
	return c.show(http.StatusForbidden, "confirm", view)
}

// show writes one of our pages.
func (c *call) show(status int, name string, view any) error {
	c.v.Show(status, "admin/"+name, view)
	return nil
}

// ask shows a question whose answer is a form.
func (c *call) ask(view confirmView) error {
	var err error
	if view.proof, err = c.proof(); err != nil {
		return err
	}
	if view.Away { // nothing is typed yet
		return c.v.SignInAgain("again", "")
	}
	return c.show(http.StatusOK, "confirm", view)
}

// told is what was wrong, in words for who asked.
func (c *call) told(err error) string {
	refused := refusalOf(err)
	key, ok := map[string]string{
		"that_is_you": "admin.problem.yourself", "has_factor": "admin.problem.hasfactor", "preview_outdated": "admin.problem.outdated",
		"too_large": "error.toolarge", "subject_linked_elsewhere": "admin.problem.linked", "unknown_user": "admin.problem.noaccount",
		"no_such_account": "admin.problem.noaccount", "not_linked": "admin.problem.notlinked",
		"managed_by_file": "admin.problem.file", "configuration_moved": "admin.problem.moved", "nothing_changed": "admin.problem.same",
		"proposal_outdated": "admin.problem.proposal", "form_over": "admin.problem.form",
	}[refused.code]
	var own worded
	var wrong itusers.Invalid
	switch {
	case errors.As(err, &own):
		return c.v.Text(own.key, own.of...)
	case errors.As(err, &wrong):
		return c.problems(wrong)
	case ok:
		return c.v.Text(key)
	case len(refused.faults) > 0:
		return strings.Join(refused.faults, "; ")
	}
	if why := c.reason(refused.code); why != "" {
		return why
	}
	return refused.title
}

// mendable tells whether an error is for who filled in the form.
func mendable(err error) bool {
	return err != nil && refusalOf(err).status < http.StatusInternalServerError
}

// shell is what every page here has around it.
type shell struct {
	portal.Frame
	Role string
	Nav  []navItem
}

// navItem is a way to a part of the administration.
type navItem struct {
	URL, Name string
	Current   bool
}

type field struct{ Name, Value string }

type confirmView struct {
	shell
	proof
	Title, Question, Button, Action string
	Facts                           []field // that are shown
	Fields                          []field
	Danger, NoFocus                 bool
	Back                            string // where not doing it leads
}

// shell makes the frame of a page of the part that begins with a path.
func (c *call) shell(part string) shell {
	s := shell{Frame: c.v.Frame(), Role: c.v.Text(roleText[c.role])}
	for _, item := range parts {
		s.Nav = append(s.Nav, navItem{s.Link(item.path), c.v.Text(item.key), item.path == part})
	}
	if key, ok := notices[c.r.URL.Query().Get("notice")]; ok {
		s.Notice = c.v.Text(key)
	}
	return s
}

// parts are the parts of the administration, in their order.
var parts = []struct{ path, key string }{{"/", "admin.nav.overview"}, {"/users", "admin.nav.users"}, {"/providers",
	"admin.nav.providers"}, {"/sources", "admin.nav.sources"},
	{"/audit", "admin.nav.audit"}, {"/charts", "admin.nav.charts"}, {"/blocked", "admin.nav.blocked"}, {"/endings", "admin.nav.endings"},
	{"/webhooks", "admin.nav.webhooks"}}

var roleText = map[Role]string{None: "admin.role.viewer", Viewer: "admin.role.viewer", Operator: "admin.role.operator",
	Administrator: "admin.role.administrator"}

// to is an address of ours with a query of names and values, of which empty ones are left out.
func (c *call) to(path string, query ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			q.Set(query[i], query[i+1])
		}
	}
	var pairs []string
	for name := range q {
		pairs = append(pairs, name, q.Get(name))
	}
	return c.v.Frame().Link(path, pairs...)
}
