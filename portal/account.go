package portal

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// notices are what a page says was done just before, by a short name in its address. Nothing else of an address is shown.
var notices = map[string]string{
	"token-revoked":   "tokens.revoked",
	"tokens-revoked":  "tokens.revoked.all",
	"token-shown":     "tokens.shown",
	"factor-added":    "factors.added",
	"factor-removed":  "factors.removed",
	"session-ended":   "sessions.ended",
	"factors-toomany": "factors.toomany",
}

// done goes back to the account and says what was done.
func (v *visit) done(notice string) error { return v.goTo("/account", "notice", notice) }

// account is who one is here, and everything that can be ended or made.
func (v *visit) account() error {
	if key, ok := notices[v.r.URL.Query().Get("notice")]; ok {
		v.Notice = v.text(key)
	}
	return v.showAccount(http.StatusOK)
}

func (v *visit) showAccount(status int) error {
	ctx, s := v.r.Context(), v.session
	view := accountView{frame: v.frame, Name: v.Who, Provider: v.providerLabel(s.Identity.Provider), Username: s.Identity.Username,
		Email: s.Identity.Email, ITUser: s.Username, Subject: s.Identity.Subject, Once: rand.Text(), CanToken: true, CanEnrol: true}
	for _, part := range []func(context.Context, *accountView) error{
		v.addEnvironments, v.addTokens, v.addDevices, v.addSessions, v.addHistory,
	} {
		if err := part(ctx, &view); err != nil {
			return err
		}
	}
	return v.show(status, "account", view)
}

func (p *Portal) providerLabel(id string) string {
	for _, c := range p.Flow.Choices() {
		if c.ID == id {
			return c.Label
		}
	}
	return id
}

func (v *visit) addEnvironments(ctx context.Context, view *accountView) error {
	list, err := v.People.Environments(ctx, v.session.Username)
	for _, e := range list {
		view.Environments = append(view.Environments, environmentView(e))
	}
	return unavailable(err)
}

func (v *visit) addTokens(ctx context.Context, view *accountView) error {
	list, err := v.Tokens.Tokens(ctx, v.session.User, v.Now())
	for _, t := range list {
		ends := t.Expires
		if t.FirstUsed.IsZero() {
			ends = t.FirstUseBy
		}
		view.Tokens = append(view.Tokens, tokenRow{ID: t.ID, Environment: strings.Join(t.Environments, ", "), Made: t.Created,
			Used: t.LastUsed, Where: t.LastEnvironment, Ends: ends})
	}
	return unavailable(err)
}

func (v *visit) addDevices(ctx context.Context, view *accountView) error {
	devices, err := v.Factors.Devices(ctx, v.itUser())
	if err != nil {
		return err
	}
	for _, d := range devices {
		view.Devices = append(view.Devices, deviceRow{ID: d.ID, Name: d.Name, Since: d.Confirmed, Used: d.LastUsed()})
	}
	view.RecoveryLeft, err = v.Factors.RecoveryLeft(ctx, v.itUser())
	return err
}

func (v *visit) addSessions(ctx context.Context, view *accountView) error {
	list, err := v.Roster.Sessions(ctx, v.session.User)
	for _, s := range list {
		if v.Sessions.Live(s) {
			view.Sessions = append(view.Sessions, sessionRow{ID: s.ID, Agent: v.agent(s.Agent), Address: s.Source.String(),
				Since: s.Created, Seen: s.Seen, Current: s.ID == v.session.ID})
		}
	}
	return unavailable(err)
}

func (v *visit) addHistory(ctx context.Context, view *accountView) error {
	list, err := v.People.History(ctx, v.session.Username)
	for _, one := range list {
		row := recentRow{When: one.Time, Granted: one.Kind == authn.OK, Portal: one.Portal, Environment: one.Environment, Address: one.Source}
		if !row.Granted {
			row.Why = v.text(whyRefused(one))
		}
		view.Recent = append(view.Recent, row)
	}
	return unavailable(err)
}

// whyRefused is what somebody who is signed in may know of their own refusals.
func whyRefused(s SignIn) string {
	switch s.Kind {
	case authn.BadCredentials:
		switch {
		case strings.HasPrefix(s.Reason, "token_"):
			return "recent.why.token"
		case strings.Contains(s.Reason, "code"), s.Reason == "wrong_invite":
			return "recent.why.code"
		}
		return "recent.why.password"
	case authn.CodeRequired, authn.NotEnrolled:
		return "recent.why.code"
	case authn.Locked:
		if s.Reason == "throttled" {
			return "recent.why.blocked"
		}
		return "recent.why.account"
	case authn.NotMapped:
		return "recent.why.nouser"
	case authn.Unavailable, authn.Internal:
		return "recent.why.trouble"
	}
	return "recent.why.other"
}

// unavailable gives an error of rows its kind, unless it has one.
func unavailable(err error) error {
	if err == nil || authn.KindOf(err) != authn.Internal {
		return err
	}
	return authn.Errorf(authn.Unavailable, "store_unavailable", "portal: %w", err)
}

// tell records what a person did to their account.
func (v *visit) tell(action Action, detail string) error {
	return unavailable(v.Journal(context.WithoutCancel(v.r.Context()), Event{Action: action, ID: v.ID, Time: v.Arrived,
		Identity: v.session.Identity, ITUser: v.session.Username, Source: v.Source, Detail: detail}))
}

// tellRefused records that a change of factors was refused.
func (v *visit) tellRefused(err error) error {
	return unavailable(v.Journal(context.WithoutCancel(v.r.Context()), Event{Action: FactorRefused, ID: v.ID, Time: v.Arrived,
		Identity: v.session.Identity, ITUser: v.session.Username, Source: v.Source, Err: err}))
}

// makeToken makes a sign-in token and shows it, this once. The form is good for one: sent again, it makes no second.
func (v *visit) makeToken() error {
	form := v.r.PostForm
	first, err := v.Once.UseOnce(v.r.Context(), "portal-form", v.session.User+" "+form.Get("once"), v.session.Expires)
	if err != nil {
		return unavailable(err)
	}
	if !first || form.Get("once") == "" {
		return v.done("token-shown")
	}
	environments, err := v.People.Environments(v.r.Context(), v.session.Username)
	if err != nil {
		return unavailable(err)
	}
	result := authn.Result{Identity: v.session.Identity, User: v.itUser()}
	secret, token := authn.NewToken(result, []string{v.session.Typed}, v.TokenLife, v.Now())
	for _, e := range environments {
		if e.Name == form.Get("environment") {
			token.Environments = []string{e.Name}
		}
	}
	if wanted := form.Get("environment"); wanted != "" && token.Environments == nil {
		return errNotFound
	}
	if err := v.Tokens.AddToken(v.r.Context(), token); err != nil {
		return unavailable(err)
	}
	if err := v.tell(TokenMade, strings.Join(token.Environments, ", ")); err != nil {
		return err
	}
	return v.show(http.StatusOK, "token", tokenView{frame: v.frame, Groups: strings.Split(secret.Reveal(), "-"), ITUser: v.session.Username,
		Environment: form.Get("environment"), FirstUse: token.FirstUseBy, Lifetime: v.lifetime(token.Expires.Sub(token.Created))})
}

func (v *visit) lifetime(d time.Duration) string {
	if d >= 2*time.Hour {
		return v.text("token.hours", strconv.Itoa(int(d/time.Hour)))
	}
	return v.text("token.minutes", strconv.Itoa(int(d/time.Minute)))
}

func (v *visit) askRevokeTokens() error {
	return v.ask(confirmView{Title: v.text("tokens.revoke.all.title"), Question: v.text("tokens.revoke.all.question"),
		Button: v.text("tokens.revoke.all.button"), Action: "/account/tokens/revoke", Danger: true,
		Fields: []field{{"all", "1"}}})
}

// ask shows a question of the account, whose answer is a form.
func (v *visit) ask(view confirmView) error {
	view.frame, view.Back = v.frame, "/account"
	status := http.StatusOK
	if v.Problem != "" {
		status = http.StatusUnauthorized
	}
	return v.show(status, "confirm", view)
}

// revokeTokens revokes one token, or all.
func (v *visit) revokeTokens() error {
	id, notice := v.r.PostForm.Get("id"), "token-revoked"
	if v.r.PostForm.Get("all") == "1" {
		id, notice = "", "tokens-revoked"
	} else if id == "" {
		return errNotFound
	}
	n, err := v.Tokens.RevokeTokens(v.r.Context(), v.session.User, id, v.Now())
	if err != nil {
		return unavailable(err)
	}
	if n > 0 {
		if err := v.tell(TokenRevoked, strconv.Itoa(n)); err != nil {
			return err
		}
	}
	return v.done(notice)
}

// endSession ends another browser's session.
func (v *visit) endSession() error {
	id := v.r.PostForm.Get("id")
	if id == "" {
		return errNotFound
	}
	n, err := v.Roster.EndSessions(v.r.Context(), v.session.User, id)
	if err != nil {
		return unavailable(err)
	}
	if n > 0 {
		if err := v.tell(SessionEnded, ""); err != nil {
			return err
		}
	}
	if id == v.session.ID {
		return v.goTo("/signedout")
	}
	return v.done("session-ended")
}

// signOut ends this browser's session. Without one there is nothing to do, and it is said all the same.
func (v *visit) signOut() error {
	if v.session.ID != "" {
		if err := v.tell(SignedOut, ""); err != nil {
			return err
		}
	}
	if err := v.leave(); err != nil {
		return err
	}
	return v.signOutThere()
}

// patience is how long a provider may take to say where people sign out.
const patience = 5 * time.Second

// signOutThere sends the browser to where the person signed in, if sessions end there too. Ours has ended already, so
// nothing that goes wrong there is of interest to them.
func (v *visit) signOutThere() error {
	ctx, cancel := context.WithTimeout(v.r.Context(), patience)
	defer cancel()
	identity := v.session.Identity
	to, err := v.Flow.SignOut(ctx, identity)
	if err != nil {
		v.Log.Warn("portal: single logout", "id", v.ID, "provider", identity.Provider, "error", err)
	}
	if err != nil || to.URL == "" {
		return v.goTo("/signedout")
	}
	return v.sendTo(leaveView{frame: v.frame, Provider: v.providerLabel(identity.Provider), Leaving: true}, to)
}

func (v *visit) signedOut() error { return v.show(http.StatusOK, "signedout", signedOutView{v.frame}) }

func (v *visit) askSignOutEverywhere() error {
	return v.ask(confirmView{Title: v.text("sessions.everywhere.title"), Question: v.text("sessions.everywhere.question"),
		Button: v.text("sessions.everywhere.button"), Action: "/account/signout-everywhere", Danger: true})
}

// signOutEverywhere ends all sessions and revokes all tokens. The tokens go first: a failure in between leaves the person
// signed in here, and so able to try again.
func (v *visit) signOutEverywhere() error {
	ctx := v.r.Context()
	if _, err := v.Tokens.RevokeTokens(ctx, v.session.User, "", v.Now()); err != nil {
		return unavailable(err)
	}
	if _, err := v.Roster.EndSessions(ctx, v.session.User, ""); err != nil {
		return unavailable(err)
	}
	if err := v.tell(SignedOutEverywhere, ""); err != nil {
		return err
	}
	if err := v.leave(); err != nil {
		return err
	}
	return v.signOutThere()
}
