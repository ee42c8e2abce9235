package admin

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// notices are what a page says was done just before, by a short name in its address. Nothing else of an address is shown.
var notices = map[string]string{
	"saved": "admin.notice.saved", "added": "admin.notice.added", "disabled": "admin.notice.disabled", "enabled": "admin.notice.enabled",
	"linked": "admin.notice.linked", "unlinked": "admin.notice.unlinked", "reset": "admin.notice.reset", "ended": "admin.notice.ended",
	"revoked": "admin.notice.revoked", "unlocked": "admin.notice.unlocked", "imported": "admin.notice.imported",
	"applied": "admin.notice.applied", "taken": "admin.notice.taken", "resent": "admin.notice.resent",
}

// userAction is something that is done to one IT user after a question.
type userAction struct {
	path                    string
	role                    Role
	title, question, button string // texts
	danger                  bool
	notice                  string
	do                      func(c *call, username string) error
}

// userActions is all that is. A field id or provider of the form says what of the user's is meant.
func userActions() []userAction {
	return []userAction{
		{"/users/disable", Operator, "admin.disable.title", "admin.disable.question", "admin.disable.button", true, "disabled",
			func(c *call, u string) error { _, err := c.setActive(u, false); return err }},
		{"/users/enable", Administrator, "admin.enable.title", "admin.enable.question", "admin.enable.button", false, "enabled",
			func(c *call, u string) error { _, err := c.setActive(u, true); return err }},
		{"/users/unlink", Administrator, "admin.unlink.title", "admin.unlink.question", "admin.unlink.button", true, "unlinked",
			func(c *call, u string) error { _, err := c.unlink(u, c.r.PostForm.Get("provider")); return err }},
		{"/users/factors/reset", Operator, "admin.reset.title", "admin.reset.question", "admin.reset.button", true, "reset",
			func(c *call, u string) error { _, err := c.resetFactors(u); return err }},
		{"/users/sessions/end", Operator, "admin.sessions.end.title", "admin.sessions.end.question", "admin.sessions.end.button", true, "ended",
			func(c *call, u string) error { _, err := c.endSessions(u, c.r.PostForm.Get("id")); return err }},
		{"/users/tokens/revoke", Operator, "admin.tokens.revoke.title", "admin.tokens.revoke.question", "admin.tokens.revoke.button", true,
			"revoked",
			func(c *call, u string) error { _, err := c.revokeTokens(u, c.r.PostForm.Get("id")); return err }},
		{"/users/unlock", Operator, "admin.unlock.title", "admin.unlock.question", "admin.unlock.button", false, "unlocked",
			func(c *call, u string) error { _, err := c.unlock(u); return err }},
	}
}

func userPages() []page {
	list := []page{
		{method: "GET", path: "/users", role: Viewer, act: (*call).showUsers},
		{method: "GET", path: "/users/show", role: Viewer, act: (*call).showUser},
		{method: "GET", path: "/users/new", role: Administrator, act: func(c *call) error {
			return c.showForm(http.StatusOK,
				userForm{New: true, Active: true})
		}},
		{method: "POST", path: "/users/new", role: Administrator, title: "admin.users.add", act: (*call).addUser},
		{method: "GET", path: "/users/edit", role: Administrator, act: (*call).editUser},
		{method: "POST", path: "/users/edit", role: Administrator, title: "admin.user.edit.title", act: (*call).saveUser},
		{method: "GET", path: "/users/link", role: Administrator, act: func(c *call) error { return c.showLink(http.StatusOK, linkView{}) }},
		{method: "POST", path: "/users/link/find", role: Administrator, free: true, title: "admin.link.title", act: (*call).findAccount},
		{method: "POST", path: "/users/link", role: Administrator, title: "admin.link.title", act: (*call).linkUser},
		{method: "GET", path: "/users/invite", role: Operator, act: (*call).askInvite},
		{method: "POST", path: "/users/invite", role: Operator, title: "admin.invite.title", act: (*call).showInvitation},
		{method: "GET", path: "/users/import", role: Administrator, act: func(c *call) error {
			return c.showImport(http.StatusOK,
				importView{})
		}},
		{method: "POST", path: "/users/import", role: Administrator, free: true, file: true, act: (*call).previewFile},
		{method: "POST", path: "/users/import/confirm", role: Administrator, title: "admin.import.title", act: (*call).confirmFile},
	}
	for _, a := range userActions() {
		list = append(list,
			page{method: "GET", path: a.path, role: a.role, act: func(c *call) error { return c.askAction(a) }},
			page{method: "POST", path: a.path, role: a.role, title: a.title, act: func(c *call) error { return c.doAction(a) }})
	}
	return list
}

func (c *call) askAction(a userAction) error {
	u, err := c.find(c.r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	view := confirmView{shell: c.shell("/users"), Title: c.v.Text(a.title), Question: c.v.Text(a.question, u.Username),
		Button: c.v.Text(a.button),
		Action: c.to(a.path, "name", u.Username), Danger: a.danger, Back: c.userLink(u.Username), Fields: []field{{"name", u.Username}}}
	for _, name := range []string{"id", "provider"} {
		if value := c.r.URL.Query().Get(name); value != "" {
			view.Fields = append(view.Fields, field{name, value})
		}
	}
	return c.ask(view)
}

func (c *call) doAction(a userAction) error {
	username := c.r.PostForm.Get("name")
	if err := a.do(c, username); err != nil {
		return err
	}
	return c.backToUser(username, a.notice)
}

func (c *call) userLink(username string) string { return c.to("/users/show", "name", username) }

func (c *call) backToUser(username, notice string) error {
	c.v.GoTo("/users/show", "name", username, "notice", notice)
	return nil
}

type usersView struct {
	shell
	Text, State, Environment string
	States                   []option
	Environments             []string
	Users                    []userRow
	Next, First              string // addresses
	MayAdd                   bool
}

// option is one of a choice.
type option struct {
	Value, Name string
	Chosen      bool
}

type userRow struct {
	itusers.User
	URL    string
	Linked []string
	On     []string // environments
}

func (c *call) showUsers() error {
	q := c.r.URL.Query()
	users, next, err := c.listUsers()
	if err != nil {
		return err
	}
	view := usersView{shell: c.shell("/users"), Text: q.Get("text"), State: q.Get("state"), Environment: q.Get("environment"),
		Environments: c.Environments, MayAdd: c.role >= Administrator}
	for _, s := range []struct{ value, key string }{{"", "admin.users.all"}, {"active", "admin.users.active"}, {"disabled",
		"admin.users.disabled"},
		{"unlinked", "admin.users.unlinked"}, {"no_factor", "admin.users.nofactor"}} {
		view.States = append(view.States, option{s.value, c.v.Text(s.key), s.value == view.State})
	}
	for _, u := range users {
		row := userRow{User: u, URL: c.userLink(u.Username), On: slices.Sorted(maps.Keys(u.IDs))}
		for _, l := range u.Links {
			row.Linked = append(row.Linked, l.Provider)
		}
		view.Users = append(view.Users, row)
	}
	if next != "" {
		view.Next = c.to("/users", "text", view.Text, "state", view.State, "environment", view.Environment, "cursor", next)
	}
	if q.Get("cursor") != "" {
		view.First = c.to("/users", "text", view.Text, "state", view.State, "environment", view.Environment)
	}
	return c.show(http.StatusOK, "users", view)
}

type userView struct {
	shell
	User     itusers.User
	IDs      []idRow
	Devices  []deviceRow
	Recovery int
	Tokens   []tokenRow
	Sessions []sessionRow
	Blocks   []blockRow
	Recent   []recentRow
	Can      map[string]bool // what the caller may ask for, by its path
	Self     bool
	Name     string
}

type idRow struct {
	Environment string
	ID          int32 // 0: none
}

type deviceRow struct {
	Name        string
	Since, Used time.Time
}

type tokenRow struct {
	ID, Environment  string
	Made, Used, Ends time.Time
}

type sessionRow struct {
	ID, Agent, Address string
	Admin              bool
	Since, Seen        time.Time
}

type blockRow struct {
	What     string
	Failures int
	Until    time.Time
}

type recentRow struct {
	When                 time.Time
	Granted, Portal      bool
	Why, Reason          string
	Environment, Address string
}

var blockText = map[string]string{"password": "admin.block.password", "code": "admin.block.code", "token": "admin.block.token"}

func (c *call) showUser() error {
	p, err := c.person(c.r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	view := userView{shell: c.shell("/users"), User: p.User, Recovery: p.recovery, Can: c.can(), Name: p.Username,
		Self: authn.FoldName(p.Username) == authn.FoldName(c.me().Username)}
	if p.Name != "" {
		view.Name = p.Name
	}
	for _, e := range c.Environments {
		view.IDs = append(view.IDs, idRow{e, p.IDs[e]})
	}
	for _, d := range p.devices {
		view.Devices = append(view.Devices, deviceRow{d.Name, d.Confirmed, d.LastUsed()})
	}
	for _, t := range p.tokens {
		view.Tokens = append(view.Tokens, tokenRow{t.ID, strings.Join(t.Environments, ", "), t.Created, t.LastUsed, t.Expires})
	}
	for _, s := range p.sessions {
		view.Sessions = append(view.Sessions, sessionRow{s.ID, c.v.Agent(s.Agent), s.Source.String(), s.Door == Door, s.Created, s.Seen})
	}
	for _, b := range p.blocks {
		view.Blocks = append(view.Blocks, blockRow{c.v.Text(blockText[b.what], b.provider), b.Failures, b.BlockedUntil})
	}
	return c.showPerson(view)
}

func (c *call) showPerson(view userView) error {
	history, err := c.Portal.People.History(c.ctx(), view.User.Username)
	if err != nil {
		return unavailable(err)
	}
	for _, s := range history {
		row := recentRow{When: s.Time, Granted: s.Kind == authn.OK, Portal: s.Portal, Environment: s.Environment, Address: s.Source}
		if !row.Granted {
			row.Why, row.Reason = c.reason(s.Reason), s.Reason
		}
		view.Recent = append(view.Recent, row)
	}
	return c.show(http.StatusOK, "user", view)
}

// can is what the caller may ask for, by its path.
func (c *call) can() map[string]bool {
	can := map[string]bool{}
	for _, p := range c.pages {
		if c.role >= p.role {
			can[p.path] = true
		}
	}
	return can
}

type userForm struct {
	shell
	New, Active           bool
	Username, Name, Email string
	IDs                   []idField
	Back                  string
}

type idField struct {
	Environment, Field, Value string
}

func (c *call) showForm(status int, view userForm) error {
	notice := view.Problem
	view.shell = c.shell("/users")
	view.Problem = notice
	if view.IDs == nil {
		for i, e := range c.Environments {
			view.IDs = append(view.IDs, idField{e, idName(i), ""})
		}
	}
	view.Back = c.to("/users")
	if !view.New {
		view.Back = c.userLink(view.Username)
	}
	return c.show(status, "useredit", view)
}

func idName(i int) string { return "id-" + strconv.Itoa(i) }

func (c *call) editUser() error {
	u, err := c.Users.Show(c.ctx(), c.r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	view := userForm{Username: u.Username, Name: u.Name, Email: u.Email, Active: u.Active}
	for i, e := range c.Environments {
		one := idField{e, idName(i), ""}
		if id := u.IDs[e]; id != 0 {
			one.Value = strconv.Itoa(int(id))
		}
		view.IDs = append(view.IDs, one)
	}
	return c.showForm(http.StatusOK, view)
}

// typed is what the form says.
func (c *call) typed() (view userForm, e itusers.Edit, err error) {
	form := c.r.PostForm
	view = userForm{Username: strings.TrimSpace(form.Get("username")), Name: strings.TrimSpace(form.Get("fullname")),
		Email: strings.TrimSpace(form.Get("email")), Active: true}
	e = itusers.Edit{Name: &view.Name, Email: &view.Email, IDs: map[string]int32{}}
	for i, environment := range c.Environments {
		text := strings.TrimSpace(form.Get(idName(i)))
		view.IDs = append(view.IDs, idField{environment, idName(i), text})
		if text == "" {
			e.IDs[environment] = 0
			continue
		}
		n, bad := strconv.ParseInt(text, 10, 32)
		if bad != nil || n < 1 {
			err = invalid(c.v.Text("admin.problem.id", text, environment))
			continue
		}
		e.IDs[environment] = int32(n)
	}
	return view, e, err
}

func (c *call) addUser() error {
	view, e, err := c.typed()
	view.New = true
	if err == nil {
		_, err = c.create(view.Username, e)
	}
	return c.saved(view, err, "added")
}

func (c *call) saveUser() error {
	view, e, err := c.typed()
	if err == nil {
		_, err = c.edit(view.Username, e)
	}
	return c.saved(view, err, "saved")
}

// saved goes back to the user, or shows the form again with what was wrong.
func (c *call) saved(view userForm, err error, notice string) error {
	if mendable(err) && refusalOf(err).code != "no_it_user" {
		view.Problem = c.told(err)
		return c.showForm(http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	return c.backToUser(view.Username, notice)
}

type linkView struct {
	shell
	User             string
	Providers        []option
	Finds            map[string]bool
	AnySubject       bool // some provider's accounts cannot be looked up
	Account, Subject string
	Found            *authn.Account
	Provider, Label  string
	Before           string // the account that is linked there now
	proof
	NoFocus bool
	Back    string
}

func (c *call) showLink(status int, view linkView) error {
	if view.User == "" {
		view.User = c.r.URL.Query().Get("name")
	}
	u, err := c.find(view.User)
	if err != nil {
		return err
	}
	problem := view.Problem
	view.shell, view.User, view.Back = c.shell("/users"), u.Username, c.userLink(u.Username)
	view.Problem = problem
	for _, p := range c.Accounts.Providers() {
		view.Providers = append(view.Providers, option{p.ID, p.Label, p.ID == view.Provider})
		view.AnySubject = view.AnySubject || !p.Finds
		if p.ID == view.Provider {
			view.Label = p.Label
		}
	}
	return c.show(status, "link", view)
}

func (c *call) typedLink() linkView {
	form := c.r.PostForm
	return linkView{User: form.Get("name"), Provider: form.Get("provider"), Account: strings.TrimSpace(form.Get("account")),
		Subject: strings.TrimSpace(form.Get("subject"))}
}

// findAccount looks the account up that is to be linked, and shows it.
func (c *call) findAccount() error {
	view := c.typedLink()
	u, err := c.Users.Show(c.ctx(), view.User)
	if err != nil {
		return err
	}
	account, err := c.account(view.Provider, view.Account, view.Subject)
	if mendable(err) {
		view.Problem = c.told(err)
		return c.showLink(http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	view.Found = &account
	if view.proof, err = c.proof(); err != nil {
		return err
	}
	for _, l := range u.Links {
		if l.Provider == view.Provider && l.Subject != account.Subject {
			view.Before = l.Username
		}
	}
	return c.showLink(http.StatusOK, view)
}

func (c *call) linkUser() error {
	view := c.typedLink()
	_, err := c.link(view.User, view.Provider, view.Account, view.Subject)
	if mendable(err) {
		view.Problem = c.told(err)
		return c.showLink(http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	return c.backToUser(view.User, "linked")
}

func (c *call) askInvite() error {
	u, err := c.find(c.r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	return c.ask(confirmView{shell: c.shell("/users"), Title: c.v.Text("admin.invite.title"),
		Question: c.v.Text("admin.invite.question", u.Username), Button: c.v.Text("admin.invite.button"),
		Action: c.to("/users/invite", "name", u.Username), Back: c.userLink(u.Username), Fields: []field{{"name", u.Username}}})
}

type invitationView struct {
	shell
	User, Code, Back string
	Until            time.Time
}

// showInvitation makes an enrolment code and shows it, this once.
func (c *call) showInvitation() error {
	username := c.r.PostForm.Get("name")
	code, until, err := c.invite(username)
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, "invitation", invitationView{shell: c.shell("/users"), User: username, Code: code.Reveal(),
		Back: c.userLink(username), Until: until})
}

type importView struct {
	shell
	Environments []string
	Environment  string
	Name         string
	Preview      *Import
	Rows         []importRow
	Problems     []problemRow
	More         int // rows that are not shown
	proof
	NoFocus bool
}

type problemRow struct {
	Line int
	Text string
}

type importRow struct {
	ImportRow
	Changes []string
}

func (c *call) showImport(status int, view importView) error {
	problem := view.Problem
	view.shell, view.Environments = c.shell("/users"), c.Environments
	view.Problem = problem
	return c.show(status, "import", view)
}

// previewFile shows what importing the file would do.
func (c *call) previewFile() error {
	view := importView{Environment: c.r.PostForm.Get("environment")}
	file, header, err := c.r.FormFile("file")
	if err != nil {
		view.Problem = c.v.Text("admin.import.missing")
		return c.showImport(http.StatusUnprocessableEntity, view)
	}
	defer file.Close()
	format := itusers.CSV
	if strings.HasSuffix(strings.ToLower(header.Filename), ".json") {
		format = itusers.JSON
	}
	preview, err := c.preview(file, header.Filename, format, view.Environment)
	if mendable(err) {
		view.Problem = c.told(err)
		return c.showImport(http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	view.Preview, view.Name = &preview, header.Filename
	if view.proof, err = c.proof(); err != nil {
		return err
	}
	for _, row := range preview.Rows {
		view.Rows = append(view.Rows, importRow{row, c.changes(row.What)})
	}
	for _, p := range preview.Problems {
		view.Problems = append(view.Problems, problemRow{p.Line, c.problem(p.Of)})
	}
	view.More = preview.Added + preview.Changed - len(preview.Rows)
	return c.showImport(http.StatusOK, view)
}

func (c *call) confirmFile() error {
	_, err := c.confirm(c.r.PostForm.Get("id"))
	if mendable(err) {
		view := importView{}
		view.Problem = c.v.Text("admin.problem.outdated")
		return c.showImport(http.StatusConflict, view)
	}
	if err != nil {
		return err
	}
	c.v.GoTo("/users", "notice", "imported")
	return nil
}
