package portal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// begins sends people where they want to be.
func (v *visit) begins() error {
	if v.session.ID != "" {
		return v.goTo(v.home)
	}
	return v.goTo("/login")
}

// begun marks the address that follows the setting of a cookie: a browser that comes there without one keeps none.
const begun = "begun"

// signInFirst answers a page of people who are signed in to a browser where nobody is.
func (v *visit) signInFirst() error {
	if v.r.URL.Query().Has(begun) {
		return errCookies
	}
	if v.r.Method != http.MethodGet { // what was typed is gone, so say so
		return v.goTo("/login", "notice", "expired")
	}
	return v.goTo("/login", "return", v.here())
}

// here is the page that was asked for, with the query of its address: what it is about is in there.
func (v *visit) here() string { return withQuery(v.getPath(v.r), v.r.URL.Query()) }

func withQuery(path string, query url.Values) string {
	for _, name := range []string{"lang", "notice", "return", begun} {
		query.Del(name)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// wanted is where somebody wanted to go before signing in, if that is one of our own pages.
func (p *Portal) wanted(r *http.Request) string {
	path, raw, _ := strings.Cut(r.URL.Query().Get("return"), "?")
	query, err := url.ParseQuery(raw)
	if err != nil {
		query = nil
	}
	if p.isInside(path) {
		return withQuery(path, query)
	}
	for _, to := range p.routes() {
		if to.method == http.MethodGet && to.signedIn && to.path == path {
			return withQuery(path, query)
		}
	}
	return ""
}

// returnTo is where to go after signing in.
func (v *visit) returnTo() string {
	if path, _, _ := strings.Cut(v.returns, "?"); path != "" {
		return path
	}
	return v.home
}

// returnQuery is the query of that address, names and values in turn.
func (v *visit) returnQuery() (pairs []string) {
	_, raw, _ := strings.Cut(v.returns, "?")
	query, _ := url.ParseQuery(raw) // was read before
	for name := range query {
		pairs = append(pairs, name, query.Get(name))
	}
	return pairs
}

// signIn is the first page.
func (v *visit) signIn() error {
	if v.session.ID != "" {
		return v.goTo(v.returnTo(), v.returnQuery()...)
	}
	switch v.r.URL.Query().Get("notice") {
	case "expired":
		v.Notice = v.text("signin.expired")
	case "again":
		v.Notice = v.text("signin.again")
	case "kept":
		v.Notice = v.text("signin.kept")
	}
	return v.showSignIn(http.StatusOK, "")
}

func (v *visit) showSignIn(status int, username string) error {
	view := signInView{frame: v.frame, Username: username, Focus: "username"}
	if username != "" {
		view.Focus = "password"
	}
	usual, _ := v.r.Cookie(v.names.usual)
	for _, c := range v.Flow.Choices() {
		view.Passwords = view.Passwords || c.Password
		if c.Redirect {
			last := usual != nil && usual.Value == c.ID
			view.Redirects = append(view.Redirects, choice{c.ID, c.Label, last})
			if last && username == "" {
				view.Focus = "choice"
			}
		}
	}
	view.Only = !view.Passwords && len(view.Redirects) == 1 && v.Problem == "" && v.Notice == ""
	var err error
	if view.Challenge, err = v.challenge(); err != nil {
		return err
	}
	return v.show(status, "signin", view)
}

// password begins a sign-in with a user name and a password.
func (v *visit) password() error {
	username := v.r.PostForm.Get("username")
	if choice, found := v.Flow.Route(username); found && !choice.Password && choice.Redirect {
		return v.beginAt(choice)
	}
	if v.r.PostForm.Get("password") == "" { // the name was typed first, as some of us do: it is no attempt
		v.Problem = v.text("signin.empty")
		return v.showSignIn(http.StatusUnprocessableEntity, username)
	}
	handle, err := v.tryPassword(username)
	if err != nil {
		status, text, ok := v.problem(err)
		if !ok {
			return err
		}
		v.Problem = text
		return v.showSignIn(status, username)
	}
	v.Handle = handle
	v.setLoginCookie(handle, false)
	v.rememberUsual("")
	return v.onward()
}

func (v *visit) tryPassword(username string) (authn.Secret, error) {
	failures, err := v.mayTry()
	if err == nil {
		err = v.mayGuess(failures)
	}
	if err != nil {
		return "", err
	}
	handle, err := v.Flow.Password(v.r.Context(), v.Visit, "", username, authn.Secret(v.r.PostForm.Get("password")))
	v.tried(err)
	return handle, err
}

// begin begins a sign-in at a provider's own pages.
func (v *visit) begin() error {
	for _, c := range v.Flow.Choices() {
		if c.ID == v.r.PostForm.Get("provider") && c.Redirect {
			return v.beginAt(c)
		}
	}
	return errNotFound
}

// beginAt sends the browser away with a page of ours, not with a redirect: a policy that lets forms post only to us would
// also hold for redirects that follow a form.
func (v *visit) beginAt(c authn.Choice) error {
	v.Returns = v.returns
	handle, to, err := v.Flow.Begin(v.r.Context(), v.Visit, c.ID)
	if err != nil {
		return err
	}
	v.setLoginCookie(handle, true)
	v.rememberUsual(c.ID)
	return v.sendTo(leaveView{frame: v.frame, Provider: c.Label}, to)
}

// sendTo shows the page that sends the browser away.
func (v *visit) sendTo(view leaveView, to authn.Redirect) error {
	view.URL = to.URL
	for name, values := range to.Fields {
		for _, value := range values {
			view.Fields = append(view.Fields, field{name, value})
		}
	}
	if to.Fields != nil {
		if err := v.allowFormsTo(to.URL); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "leave", view)
}

// answer takes what a browser brings back from a provider.
func (v *visit) answer() error {
	state := v.r.PostForm.Get("RelayState")
	if v.r.Method == http.MethodGet {
		state = v.r.URL.Query().Get("state")
	}
	reply := authn.Reply{Method: v.r.Method, Form: v.r.PostForm, RawQuery: v.r.URL.RawQuery, Arrived: v.Arrived}
	provider := v.r.PathValue("provider")
	if v.Handle != "" {
		if err := v.Flow.Return(v.r.Context(), v.Visit, provider, state, reply); err != nil {
			return err
		}
		return v.onward()
	}
	handle, err := v.Flow.Unsolicited(v.r.Context(), v.Visit, provider, reply) // nothing was begun in this browser
	if err != nil {
		return err
	}
	v.Handle = handle
	v.setLoginCookie(handle, false)
	return v.onward()
}

// onward ends a step. A login that waits for nothing more is done at once; everything else is next's to decide.
func (v *visit) onward() error {
	stage, _, err := v.Flow.Next(v.r.Context(), v.Handle)
	if err != nil {
		return v.lost(err)
	}
	if stage == authn.StageDone {
		return v.finish()
	}
	return v.goTo("/login/next", begun, "1")
}

// finish signs the browser in.
func (v *visit) finish() error {
	result, login, err := v.Flow.Done(v.r.Context(), v.Visit)
	if err != nil {
		return v.lost(err)
	}
	if err := v.enter(result, login); err != nil {
		return err
	}
	v.returns = cmp.Or(v.returns, login.Returns)
	return v.goTo(v.returnTo(), append(v.returnQuery(), begun, "1")...)
}

// lost answers a step of a login that has moved on without it: another tab, a form sent twice, the back button.
func (v *visit) lost(err error) error {
	switch {
	case errors.Is(err, authn.ErrLoginMoved):
		return v.goTo("/login/next")
	case !errors.Is(err, authn.ErrLoginOver):
		return err
	case v.session.ID != "":
		return v.goTo(v.home)
	case v.Handle == "" && v.r.URL.Query().Has(begun):
		return errCookies
	}
	return errLoginOver
}

// next shows what the login waits for.
func (v *visit) next() error {
	stage, login, err := v.Flow.Next(v.r.Context(), v.Handle)
	if err != nil {
		return v.lost(err)
	}
	return v.showStage(http.StatusOK, stage, login)
}

func (v *visit) showStage(status int, stage authn.Stage, l authn.Login) error {
	name := accountName(l)
	switch stage {
	case authn.StageCode:
		return v.show(status, "code", codeView{frame: v.frame, Username: name, Action: "/login/code", Recovery: v.r.PostForm.Has("recovery")})
	case authn.StageChange:
		return v.show(status, "password", passwordView{frame: v.frame, Username: name})
	case authn.StageInvite:
		return v.show(status, "invite", inviteView{frame: v.frame, Username: name})
	case authn.StageEnrol:
		return v.show(status, "confirm", confirmView{frame: v.frame, Title: v.text("enrol.title"),
			Question: v.text("enrol.begin"), Button: v.text("enrol.begin.button"), Action: "/login/enrol/show"})
	case authn.StageDone: // only when the browser was interrupted just before the end
		return v.show(status, "confirm", confirmView{frame: v.frame, Title: v.text("done.title"), Question: v.text("done.lead"),
			Button: v.text("code.button"), Action: "/login/finish"})
	}
	return v.goTo("/login")
}

// accountName is what we call the person on the way.
func accountName(l authn.Login) string {
	if l.User.Username != "" {
		return l.User.Username
	}
	return l.Username
}

// step runs one step of the login. A refusal that a person can mend is told beside the same form.
func (v *visit) step(problem string, act func() error) error {
	if _, err := v.mayTry(); err != nil {
		return v.again(problem, err)
	}
	err := act()
	v.tried(err)
	if err != nil {
		return v.again(problem, err)
	}
	return v.onward()
}

// again shows the form of the present stage with what was wrong.
func (v *visit) again(problem string, refused error) error {
	status, text, ok := v.problem(refused)
	if !ok {
		return v.lost(refused)
	}
	if authn.KindOf(refused) == authn.BadCredentials {
		text = v.text(problem)
	}
	stage, login, err := v.Flow.Next(v.r.Context(), v.Handle)
	if err != nil {
		return v.lost(err)
	}
	v.Problem = text
	return v.showStage(status, stage, login)
}

// code proves the second factor, with a code or a recovery code.
func (v *visit) code() error {
	code, problem := typedProof(v.r)
	return v.step(problem, func() error { return v.Flow.Code(v.r.Context(), v.Visit, code) })
}

// change replaces an expired password.
func (v *visit) change() error {
	form := v.r.PostForm
	if form.Get("new") != form.Get("again") {
		stage, login, err := v.Flow.Next(v.r.Context(), v.Handle)
		if err != nil {
			return v.lost(err)
		}
		v.Problem = v.text("password.differ")
		return v.showStage(http.StatusUnprocessableEntity, stage, login)
	}
	return v.step("problem.credentials", func() error {
		return v.Flow.Change(v.r.Context(), v.Visit, authn.Secret(form.Get("current")), authn.Secret(form.Get("new")))
	})
}

// invite redeems an administrator's enrolment code.
func (v *visit) invite() error {
	return v.step("problem.invitation", func() error {
		return v.Flow.Invite(v.r.Context(), v.Visit, authn.Secret(strings.TrimSpace(v.r.PostForm.Get("invitation"))))
	})
}

// enrolShow makes a secret and shows it, this once.
func (v *visit) enrolShow() error {
	stage, login, err := v.Flow.Next(v.r.Context(), v.Handle)
	if err != nil {
		return v.lost(err)
	}
	if stage != authn.StageEnrol {
		return v.lost(authn.ErrLoginMoved)
	}
	return v.showSecret(login.User, "/login/enrol")
}

// enrol confirms the new device by its first code, and shows the recovery codes, this once. The sign-in goes on when they
// were saved.
func (v *visit) enrol() error {
	stage, login, err := v.Flow.Next(v.r.Context(), v.Handle)
	if err != nil {
		return v.lost(err)
	}
	if stage != authn.StageEnrol {
		return v.lost(authn.ErrLoginMoved)
	}
	recovery, err := v.Flow.Enrol(v.r.Context(), v.Visit, v.r.PostForm.Get("enrolment"), typedCode(v.r))
	v.tried(err)
	if gone(err) {
		return v.goTo("/login/next")
	}
	if status, text, ok := v.problem(err); err != nil && ok {
		return v.secretAgain(status, text, err, login.User, "/login/enrol")
	}
	if err != nil {
		return v.lost(err)
	}
	if err := v.named(login); err != nil {
		return err
	}
	if len(recovery) == 0 {
		return v.onward()
	}
	return v.showRecovery(recovery, accountName(login), "/login/finish", true)
}

// named gives the new device its name, and records it.
func (v *visit) named(l authn.Login) error {
	ctx := context.WithoutCancel(v.r.Context())
	if err := v.Factors.Name(ctx, l.User, v.r.PostForm.Get("enrolment"), v.r.PostForm.Get("device")); err != nil {
		return err
	}
	return unavailable(v.Journal(ctx, Event{Action: FactorAdded, ID: v.ID, Time: v.Arrived, Identity: l.Account.Identity,
		ITUser: l.User.Username, Source: v.Source}))
}

// cancel forgets the login.
func (v *visit) cancel() error {
	if err := v.Flow.Cancel(v.r.Context(), v.Handle); err != nil {
		return err
	}
	v.setLoginCookie("", false)
	return v.goTo("/login")
}
