package authn_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// memoryLogins keeps logins in memory; what the databases do is tested in store.
type memoryLogins struct {
	mu   sync.Mutex
	kept map[string]authn.Login
	down error
	race func() // once, before something is saved or ended
}

func (m *memoryLogins) raced() {
	if race := m.race; race != nil {
		m.race = nil
		race()
	}
}

func (m *memoryLogins) Login(_ context.Context, id string) (authn.Login, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.kept[id]
	l.Account.Factors = slices.Clone(l.Account.Factors)
	return l, ok, m.down
}

func (m *memoryLogins) SaveLogin(_ context.Context, l authn.Login) (bool, error) {
	m.raced()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil || m.kept[l.ID].Version != l.Version-1 {
		return false, m.down
	}
	m.kept[l.ID] = l
	return true, nil
}

func (m *memoryLogins) EndLogin(_ context.Context, id string, version int64) (bool, error) {
	m.raced()
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.kept[id]
	if m.down != nil || !ok || l.Version != version {
		return false, m.down
	}
	delete(m.kept, id)
	return true, nil
}

func (m *memoryLogins) only(t *testing.T) authn.Login {
	t.Helper()
	if len(m.kept) != 1 {
		t.Fatalf("%d logins are kept, want 1", len(m.kept))
	}
	for _, l := range m.kept {
		return l
	}
	return authn.Login{}
}

// enroller accepts the enrolment code INVITE and the first code 123456.
type enroller struct{ redeemed, confirmed int }

func (e *enroller) Redeem(_ context.Context, _ authn.ITUser, code authn.Secret) error {
	if code != "INVITE" {
		return &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_invitation"}
	}
	e.redeemed++
	return nil
}

func (e *enroller) Confirm(_ context.Context, _ authn.ITUser, device, code string) ([]authn.Secret, error) {
	if device != "d1" || code != "123456" {
		return nil, &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_code"}
	}
	e.confirmed++
	return []authn.Secret{"R1"}, nil
}

// company is a redirect provider that answers with what the test wants.
type company struct {
	state    string
	asked    authn.Ask
	identity authn.Identity
	err      error
	pending  []byte
	finished int
	finish   func()
}

func (c *company) Begin(_ context.Context, ask authn.Ask) (authn.Redirect, error) {
	c.state, c.asked = ask.State, ask
	return authn.Redirect{URL: "https://idp.example.com/sso", Pending: []byte("request-1")}, c.err
}

func (c *company) Finish(_ context.Context, pending []byte, _ authn.Reply) (authn.Identity, error) {
	c.finished++
	c.pending = pending
	if c.finish != nil {
		c.finish()
	}
	return c.identity, c.err
}

// flowBench is a Flow on a bench: corp asks for passwords, idp redirects.
type flowBench struct {
	*bench
	*authn.Flow
	logins  *memoryLogins
	enrol   *enroller
	idp     *company
	changed []string // new passwords that reached corp
	change  error
}

func newFlowBench(t *testing.T) *flowBench {
	f := &flowBench{
		logins: &memoryLogins{kept: map[string]authn.Login{}}, enrol: &enroller{},
		idp: &company{identity: authn.Identity{Provider: "idp", Subject: "s-ann", Username: "ann@example.com", Factors: []string{authn.FactorIdP}}},
	}
	f.bench = newBench(t, func(c *authn.Config) {
		c.Providers[0].ChangePassword = func(_ context.Context, a authn.Account, _, next authn.Secret) error {
			if f.change == nil {
				f.changed = append(f.changed, next.Reveal())
			}
			return f.change
		}
		never := func(n string) (string, bool) { return n, false }
		c.Providers = append(c.Providers, authn.Provider{ID: "idp", Label: "Company", Match: never, Redirect: f.idp},
			authn.Provider{ID: "other", Match: never, Redirect: f.idp})
	})
	f.Flow = authn.NewFlow(f.Service, f.logins, f.enrol, 0)
	return f
}

func (f *flowBench) visit(handle authn.Secret) authn.Visit {
	return authn.Visit{Handle: handle, ID: "v1", Source: netip.MustParseAddr("198.51.100.9"), Arrived: f.now}
}

func (f *flowBench) password(t *testing.T, user, password string) authn.Secret {
	t.Helper()
	handle, err := f.Password(t.Context(), f.visit(""), "", user, authn.Secret(password))
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return handle
}

func (f *flowBench) wantStage(t *testing.T, handle authn.Secret, want authn.Stage) {
	t.Helper()
	if got, _, err := f.Next(t.Context(), handle); err != nil || got != want {
		t.Errorf("stage %q, %v; want %q", got, err, want)
	}
}

func (f *flowBench) done(t *testing.T, handle authn.Secret, factors ...string) authn.Result {
	t.Helper()
	r, _, err := f.Done(t.Context(), f.visit(handle))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Identity.Factors, factors) {
		t.Errorf("factors %v, want %v", r.Identity.Factors, factors)
	}
	if d := f.journal.last(t); d.Kind != authn.OK || d.Method != authn.MethodPortal || d.ITUser != r.User.Username || !slices.Equal(d.Factors, factors) {
		t.Errorf("recorded %+v", d)
	}
	return r
}

// wantRefusal asserts kind and reason of an answer and of the record alike.
func (f *flowBench) wantRefusal(t *testing.T, err error, kind authn.Kind, reason string) {
	t.Helper()
	wantError(t, err, kind, reason)
	if d := f.journal.last(t); d.Kind != kind || d.Reason != reason || d.Source.String() != "198.51.100.9" || d.ID != "v1" {
		t.Errorf("recorded %+v, want %v (%s)", d, kind, reason)
	}
}

// wantUnrecorded asserts an answer that says nothing of anybody.
func (f *flowBench) wantUnrecorded(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestFlowWithAPassword(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "ann", "pw-ann")
	f.wantStage(t, handle, authn.StageDone)
	if len(f.journal.all) != 0 || len(f.users.linked) != 0 {
		t.Error("something was recorded or linked before the sign-in was done")
	}
	r := f.done(t, handle, "password")
	if r.User.Key != "k-ann" || !r.User.Linked || f.users.linked["s-ann"] != "ann" {
		t.Errorf("%+v, linked %v", r.User, f.users.linked)
	}
	_, _, err := f.Done(t.Context(), f.visit(handle))
	f.wantUnrecorded(t, err, authn.ErrLoginOver)
}

func TestFlowKeepsNoHandleAndNoPassword(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "ann", "pw-ann")
	for id, l := range f.logins.kept {
		if strings.Contains(id, handle.Reveal()) || len(id) != 64 {
			t.Errorf("the row's key %q is not a hash", id)
		}
		if l.ID != id || l.Version != 1 || !l.Expires.Equal(f.now.Add(10*time.Minute)) {
			t.Errorf("login %+v", l)
		}
	}
}

func TestFlowWithACode(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "bob", "pw-bob")
	f.wantStage(t, handle, authn.StageCode)
	_, _, err := f.Done(t.Context(), f.visit(handle))
	f.wantUnrecorded(t, err, authn.ErrLoginMoved)
	f.wantRefusal(t, f.Code(t.Context(), f.visit(handle), "000000"), authn.BadCredentials, "wrong_code")
	f.wantStage(t, handle, authn.StageCode)
	if err := f.Code(t.Context(), f.visit(handle), "123456"); err != nil {
		t.Fatal(err)
	}
	f.wantUnrecorded(t, f.Code(t.Context(), f.visit(handle), "123456"), authn.ErrLoginMoved)
	f.done(t, handle, "password", "totp")
}

// TestFlowRefusals: every kind a password can be refused with, and that nothing is kept then.
func TestFlowRefusals(t *testing.T) {
	cases := []struct {
		name, provider, user, password string
		kind                           authn.Kind
		reason                         string
	}{
		{"wrong password", "", "ann", "x", authn.BadCredentials, "wrong_password"},
		{"unknown user", "", "eve", "x", authn.BadCredentials, "unknown_user"},
		{"empty password", "", "ann", "", authn.BadCredentials, "empty_password"},
		{"malformed name", "", "ann ", "pw-ann", authn.BadCredentials, "malformed_username"},
		{"no IT user", "", "una", "pw-una", authn.NotMapped, "no_it_user"},
		{"no IT user, wrong password", "", "una", "x", authn.BadCredentials, "wrong_password"},
		{"inactive IT user", "", "ida", "pw-ida", authn.NotMapped, "it_user_inactive"},
		{"unknown provider", "nowhere", "ann", "pw-ann", authn.BadCredentials, "no_route"},
		{"provider without passwords", "idp", "ann", "pw-ann", authn.BadCredentials, "no_passwords"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFlowBench(t)
			_, err := f.Password(t.Context(), f.visit(""), c.provider, c.user, authn.Secret(c.password))
			f.wantRefusal(t, err, c.kind, c.reason)
			if len(f.logins.kept) != 0 {
				t.Error("a login was kept")
			}
		})
	}
}

func TestFlowThrottlesLikeThePlugin(t *testing.T) {
	f := newFlowBench(t)
	for range 3 {
		_, _ = f.Password(t.Context(), f.visit(""), "", "ann", "x")
		f.now = f.now.Add(3 * time.Minute) // past the memory of refused passwords
	}
	f.now = f.now.Add(-3 * time.Minute)
	_, err := f.Password(t.Context(), f.visit(""), "", "ann", "pw-ann")
	f.wantRefusal(t, err, authn.Locked, "throttled")
	_, err = f.signIn(t, "ann", "pw-ann")
	wantError(t, err, authn.Locked, "throttled")
	if d := f.journal.last(t); d.ITUser != "ann" {
		t.Errorf("recorded for %q: its owner would not see it", d.ITUser)
	}
}

func TestFlowNeedsAnIDOnNoEnvironment(t *testing.T) {
	f := newFlowBench(t)
	f.done(t, f.password(t, "leo", "pw-leo"), "password")
}

func TestFlowInvitesWhoMustEnrol(t *testing.T) {
	f := newFlowBench(t)
	f.policy = authn.FactorRequired
	handle := f.password(t, "ann", "pw-ann")
	f.wantStage(t, handle, authn.StageInvite)
	_, err := f.Enrol(t.Context(), f.visit(handle), "d1", "123456")
	f.wantUnrecorded(t, err, authn.ErrLoginMoved)
	f.wantRefusal(t, f.Invite(t.Context(), f.visit(handle), "GUESS"), authn.BadCredentials, "wrong_invitation")
	f.wantStage(t, handle, authn.StageInvite)
	if err := f.Invite(t.Context(), f.visit(handle), "INVITE"); err != nil {
		t.Fatal(err)
	}
	f.wantStage(t, handle, authn.StageEnrol)
	_, err = f.Enrol(t.Context(), f.visit(handle), "d1", "000000")
	f.wantRefusal(t, err, authn.BadCredentials, "wrong_code")
	recovery, err := f.Enrol(t.Context(), f.visit(handle), "d1", "123456")
	if err != nil || len(recovery) != 1 {
		t.Fatalf("%v, %v", recovery, err)
	}
	f.done(t, handle, "password", "totp")
}

func TestFlowPolicies(t *testing.T) {
	cases := []struct {
		user   string
		policy authn.FactorPolicy
		want   authn.Stage
	}{
		{"ann", authn.FactorNever, authn.StageDone},
		{"ann", authn.FactorEnrolled, authn.StageDone},
		{"ann", authn.FactorRequired, authn.StageInvite},
		{"bob", authn.FactorNever, authn.StageDone},
		{"bob", authn.FactorEnrolled, authn.StageCode},
		{"bob", authn.FactorRequired, authn.StageCode},
	}
	for _, c := range cases {
		f := newFlowBench(t)
		f.policy = c.policy
		f.wantStage(t, f.password(t, c.user, "pw-"+c.user), c.want)
	}
}

func TestFlowChangesAnExpiredPassword(t *testing.T) {
	f := newFlowBench(t)
	expired := func(_ context.Context, a authn.Account, p authn.Secret) (authn.Identity, error) {
		switch p {
		case "pw-bob":
			return authn.Identity{}, &authn.Error{Kind: authn.Locked, Reason: authn.ReasonPasswordExpired}
		}
		return authn.Identity{}, &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_password"}
	}
	f.source.verify = expired
	_, err := f.Password(t.Context(), f.visit(""), "", "bob", "new-secret")
	f.wantRefusal(t, err, authn.BadCredentials, "wrong_password") // remembered as refused, until it is the new one
	handle := f.password(t, "bob", "pw-bob")
	f.wantStage(t, handle, authn.StageCode) // first the second factor: an old password alone changes nothing
	f.wantUnrecorded(t, f.Change(t.Context(), f.visit(handle), "pw-bob", "new-secret"), authn.ErrLoginMoved)
	if err := f.Code(t.Context(), f.visit(handle), "123456"); err != nil {
		t.Fatal(err)
	}
	f.wantStage(t, handle, authn.StageChange)
	_, _, err = f.Done(t.Context(), f.visit(handle))
	f.wantUnrecorded(t, err, authn.ErrLoginMoved)

	f.wantRefusal(t, f.Change(t.Context(), f.visit(handle), "pw-bob", "pw-bob"), authn.Unsuitable, "password_unchanged")
	f.wantRefusal(t, f.Change(t.Context(), f.visit(handle), "pw-bob", ""), authn.Unsuitable, "empty_password")
	f.change = &authn.Error{Kind: authn.Unsuitable, Reason: "password_rules"}
	f.wantRefusal(t, f.Change(t.Context(), f.visit(handle), "pw-bob", "short"), authn.Unsuitable, "password_rules")
	if d := f.journal.last(t); d.Method != authn.MethodNewPassword {
		t.Errorf("recorded as %q", d.Method)
	}
	f.change = &authn.Error{Kind: authn.BadCredentials, Reason: "wrong_password"}
	f.wantRefusal(t, f.Change(t.Context(), f.visit(handle), "guess", "new-secret"), authn.BadCredentials, "wrong_password")
	if n := f.attempts.failures(authn.ThrottleKey("corp", "s-bob")); n != 1 {
		t.Errorf("a wrong current password counted %d times, want 1", n)
	}
	f.wantStage(t, handle, authn.StageChange)

	f.change = nil
	if err := f.Change(t.Context(), f.visit(handle), "pw-bob", "new-secret"); err != nil {
		t.Fatal(err)
	}
	if d := f.journal.last(t); d.Method != authn.MethodNewPassword || d.Kind != authn.OK || d.ITUser != "bob" {
		t.Errorf("the change was recorded as %+v", d)
	}
	f.done(t, handle, "password", "totp")
	f.source.verify = nil
	f.source.people["bob"] = "new-secret"
	f.factors.used = false
	if _, err := f.signIn(t, "bob", "new-secret123456"); err != nil {
		t.Errorf("the new password is still held for refused: %v", err)
	}
}

func TestFlowCannotChangeWhatTheSourceWillNot(t *testing.T) {
	f := newFlowBench(t)
	f.Providers[0].ChangePassword = nil
	f.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) {
		return authn.Identity{}, &authn.Error{Kind: authn.Locked, Reason: authn.ReasonPasswordMustChange}
	}
	_, err := f.Password(t.Context(), f.visit(""), "", "ann", "pw-ann")
	f.wantRefusal(t, err, authn.Locked, authn.ReasonPasswordMustChange)
}

func TestFlowOtherRefusalsStayRefusals(t *testing.T) {
	for _, refusal := range []*authn.Error{
		{Kind: authn.Locked, Reason: "account_disabled"},
		{Kind: authn.BadCredentials, Reason: authn.ReasonPasswordExpired}, // not proven
	} {
		f := newFlowBench(t)
		f.source.verify = func(context.Context, authn.Account, authn.Secret) (authn.Identity, error) {
			return authn.Identity{}, refusal
		}
		_, err := f.Password(t.Context(), f.visit(""), "", "ann", "pw-ann")
		f.wantRefusal(t, err, refusal.Kind, refusal.Reason)
	}
}

func (f *flowBench) away(t *testing.T) authn.Secret {
	t.Helper()
	handle, to, err := f.Begin(t.Context(), f.visit(""), "idp")
	if err != nil || to.URL != "https://idp.example.com/sso" || to.Pending != nil {
		t.Fatalf("%+v, %v", to, err)
	}
	f.wantStage(t, handle, authn.StageSignIn)
	return handle
}

func TestFlowWithARedirect(t *testing.T) {
	f := newFlowBench(t)
	handle := f.away(t)
	if l := f.logins.only(t); strings.Contains(l.State, f.idp.state) {
		t.Error("the state is kept as it is")
	}
	if err := f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}); err != nil {
		t.Fatal(err)
	}
	if string(f.idp.pending) != "request-1" {
		t.Errorf("the provider got %q", f.idp.pending)
	}
	f.done(t, handle, "idp")
}

func TestFlowTakesTheIdPsSecondFactor(t *testing.T) {
	f := newFlowBench(t)
	f.policy = authn.FactorRequired
	f.idp.identity.Subject = "s-bob"
	f.idp.identity.Factors = []string{authn.FactorIdP, authn.FactorIdPMFA}
	handle := f.away(t)
	if err := f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}); err != nil {
		t.Fatal(err)
	}
	f.done(t, handle, "idp", "idp_mfa")
}

func TestFlowJudgesAnAnswerOnce(t *testing.T) {
	f := newFlowBench(t)
	handle := f.away(t)
	f.idp.err = &authn.Error{Kind: authn.Untrusted, Reason: "bad_signature"}
	f.wantRefusal(t, f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}), authn.Untrusted, "bad_signature")
	f.idp.err = nil
	f.wantRefusal(t, f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}), authn.Untrusted, "state_mismatch")
	if f.idp.finished != 1 {
		t.Errorf("%d answers were judged, want 1", f.idp.finished)
	}
}

// TestFlowJudgesOneOfTwoAnswers: of two that come at the same moment, the slower is not even looked at.
func TestFlowJudgesOneOfTwoAnswers(t *testing.T) {
	f := newFlowBench(t)
	handle := f.away(t)
	f.logins.race = func() {
		if err := f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}); err != nil {
			t.Error(err)
		}
	}
	f.wantUnrecorded(t, f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}), authn.ErrLoginMoved)
	if f.idp.finished != 1 {
		t.Errorf("%d answers were judged, want 1", f.idp.finished)
	}
}

func TestFlowTakesNoAnswerThatItDidNotAskFor(t *testing.T) {
	f := newFlowBench(t)
	handle := f.away(t)
	other := f.idp.state
	f.away(t) // another browser's
	mine := f.idp.state
	answers := []struct {
		name, provider, state string
		handle                authn.Secret
		reason                string
	}{
		{"another browser's answer", "idp", mine, handle, "state_mismatch"},
		{"another provider's answer", "other", other, handle, "state_mismatch"},
		{"no state", "idp", "", handle, "state_mismatch"},
		{"without a login", "idp", other, "", "answer_without_login"},
		{"with a login made up", "idp", other, "ABC", "answer_without_login"},
	}
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			f.wantRefusal(t, f.Return(t.Context(), f.visit(a.handle), a.provider, a.state, authn.Reply{}), authn.Untrusted, a.reason)
		})
	}
	err := f.Return(t.Context(), f.visit(handle), "corp", other, authn.Reply{})
	f.wantRefusal(t, err, authn.BadCredentials, "no_redirect")
	if f.idp.finished != 0 {
		t.Error("an answer was judged")
	}
}

// A door of its own asks for answers of its own, which are the person's own proof of now; what was begun there is continued
// nowhere else, nor the other way round.
func TestFlowOfAnotherDoor(t *testing.T) {
	f := newFlowBench(t)
	f.Providers[1].Unsolicited = true
	users, admins := f.Flow, f.Strict("admin")
	portals := f.away(t)
	state := f.idp.state
	if f.idp.asked != (authn.Ask{State: state}) {
		t.Errorf("the portal asks %+v", f.idp.asked)
	}
	handle, _, err := admins.Begin(t.Context(), f.visit(""), "idp")
	if want := (authn.Ask{State: f.idp.state, Door: "admin", Anew: true}); err != nil || f.idp.asked != want {
		t.Fatalf("%v; asks %+v", err, f.idp.asked)
	}
	f.wantRefusal(t, admins.Return(t.Context(), f.visit(portals), "idp", state, authn.Reply{}), authn.Untrusted, "answer_without_login")
	f.wantRefusal(t, users.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}), authn.Untrusted, "answer_without_login")
	_, err = admins.Unsolicited(t.Context(), f.visit(""), "idp", authn.Reply{})
	f.wantRefusal(t, err, authn.Untrusted, "answer_without_login")
	if f.idp.finished != 0 {
		t.Error("an answer was judged")
	}
	if err := admins.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}); err != nil {
		t.Fatal(err)
	}
	if stage, _, err := admins.Next(t.Context(), handle); err != nil || stage != authn.StageInvite {
		t.Errorf("without a second factor: %s, %v", stage, err)
	}
}

func TestFlowTakesUnsolicitedAnswersWhereAllowed(t *testing.T) {
	f := newFlowBench(t)
	_, err := f.Unsolicited(t.Context(), f.visit(""), "idp", authn.Reply{})
	f.wantRefusal(t, err, authn.Untrusted, "answer_without_login")
	_, err = f.Unsolicited(t.Context(), f.visit(""), "corp", authn.Reply{})
	f.wantRefusal(t, err, authn.BadCredentials, "no_redirect")
	if f.idp.finished != 0 {
		t.Error("an answer was judged")
	}
	f.Providers[1].Unsolicited = true
	f.idp.pending = []byte("before")
	handle, err := f.Unsolicited(t.Context(), f.visit(""), "idp", authn.Reply{})
	if err != nil || f.idp.pending != nil {
		t.Fatalf("%v; the provider got %q", err, f.idp.pending)
	}
	f.done(t, handle, "idp")

	f.idp.identity.Subject = "s-una"
	_, err = f.Unsolicited(t.Context(), f.visit(""), "idp", authn.Reply{})
	f.wantRefusal(t, err, authn.NotMapped, "no_it_user")
	f.idp.err = &authn.Error{Kind: authn.Untrusted, Reason: "replayed"}
	_, err = f.Unsolicited(t.Context(), f.visit(""), "idp", authn.Reply{})
	f.wantRefusal(t, err, authn.Untrusted, "replayed")
	if len(f.logins.kept) != 0 {
		t.Error("a login was kept")
	}
}

func TestFlowDistrustsWhatAProviderReturns(t *testing.T) {
	cases := map[string]func(*authn.Identity){
		"another provider": func(i *authn.Identity) { i.Provider = "corp" },
		"no subject":       func(i *authn.Identity) { i.Subject = "" },
		"nothing proven":   func(i *authn.Identity) { i.Factors = nil },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFlowBench(t)
			spoil(&f.idp.identity)
			handle := f.away(t)
			err := f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{})
			f.wantRefusal(t, err, authn.Internal, "bad_provider")
			f.wantStage(t, handle, authn.StageSignIn)
		})
	}
}

func TestFlowReturnsNobodyWithoutAnITUser(t *testing.T) {
	for subject, reason := range map[string]string{"s-una": "no_it_user", "s-ida": "it_user_inactive"} {
		f := newFlowBench(t)
		f.idp.identity.Subject = subject
		handle := f.away(t)
		f.wantRefusal(t, f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}), authn.NotMapped, reason)
		f.wantStage(t, handle, authn.StageSignIn)
	}
}

func TestFlowBeginRefused(t *testing.T) {
	f := newFlowBench(t)
	_, _, err := f.Begin(t.Context(), f.visit(""), "corp")
	f.wantRefusal(t, err, authn.BadCredentials, "no_redirect")
	_, _, err = f.Begin(t.Context(), f.visit(""), "nowhere")
	f.wantRefusal(t, err, authn.BadCredentials, "no_route")
	f.idp.err = &authn.Error{Kind: authn.Unavailable, Reason: "no_metadata"}
	_, _, err = f.Begin(t.Context(), f.visit(""), "idp")
	f.wantRefusal(t, err, authn.Unavailable, "no_metadata")
}

func TestFlowExpires(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "bob", "pw-bob")
	f.now = f.now.Add(authn.DefaultLoginLife)
	f.wantUnrecorded(t, f.Code(t.Context(), f.visit(handle), "123456"), authn.ErrLoginOver)
	if _, _, err := f.Next(t.Context(), handle); !errors.Is(err, authn.ErrLoginOver) {
		t.Errorf("Next: %v", err)
	}
	if f.factors.checked != 0 {
		t.Error("a code was looked at")
	}
}

// TestFlowLooksAgainAtTheEnd: what an administrator changed while somebody typed their code counts.
func TestFlowLooksAgainAtTheEnd(t *testing.T) {
	cases := map[string]struct {
		change func(*flowBench)
		kind   authn.Kind
		reason string
	}{
		"disabled": {func(f *flowBench) { f.users.bySubject["s-ann"] = authn.ITUser{Key: "k-ann", Username: "ann"} }, authn.NotMapped, "it_user_inactive"},
		"unlinked": {func(f *flowBench) { delete(f.users.bySubject, "s-ann") }, authn.NotMapped, "no_it_user"},
		"relinked": {func(f *flowBench) { f.users.bySubject["s-ann"] = f.users.bySubject["s-bob"] }, authn.NotMapped, "not_linked"},
		"lost the race": {func(f *flowBench) {
			f.users.linkErr = &authn.Error{Kind: authn.NotMapped, Reason: "name_belongs_to_another_subject"}
		}, authn.NotMapped, "name_belongs_to_another_subject"},
		"store down": {func(f *flowBench) { f.users.err = errors.New("disk") }, authn.Unavailable, "store_unavailable"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFlowBench(t)
			handle := f.password(t, "ann", "pw-ann")
			c.change(f)
			_, _, err := f.Done(t.Context(), f.visit(handle))
			f.wantRefusal(t, err, c.kind, c.reason)
		})
	}
}

func TestFlowGrantsNothingWithoutARecord(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "ann", "pw-ann")
	f.journal.down = errors.New("disk full")
	_, _, err := f.Done(t.Context(), f.visit(handle))
	wantError(t, err, authn.Unavailable, "audit_unavailable")
	f.journal.down = nil
	_, _, err = f.Done(t.Context(), f.visit(handle))
	f.wantUnrecorded(t, err, authn.ErrLoginOver)
}

func TestFlowIsDoneOnce(t *testing.T) {
	f := newFlowBench(t)
	f.users.bySubject["s-ann"] = authn.ITUser{Key: "k-ann", Username: "ann", Active: true, Linked: true}
	handle := f.password(t, "ann", "pw-ann")
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for range 20 {
		wg.Go(func() {
			_, _, err := f.Done(context.Background(), f.visit(handle))
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	won := 0
	for err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, authn.ErrLoginMoved) && !errors.Is(err, authn.ErrLoginOver) {
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 || len(f.journal.all) != 1 {
		t.Errorf("%d of 20 got in, %d records; want 1 and 1", won, len(f.journal.all))
	}
}

func TestFlowIsDoneByTheFasterOfTwo(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "ann", "pw-ann")
	f.logins.race = func() { f.done(t, handle, "password") }
	_, _, err := f.Done(t.Context(), f.visit(handle))
	f.wantUnrecorded(t, err, authn.ErrLoginMoved)
	if len(f.journal.all) != 1 {
		t.Errorf("%d records, want 1", len(f.journal.all))
	}
}

// TestFlowFormSentTwice: the slower of two is told to move on, not that its code was used.
func TestFlowFormSentTwice(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "bob", "pw-bob")
	f.Factors = &racing{factors: f.factors, other: func() {
		l := f.logins.only(t)
		l.Version++
		l.Account.Factors = append(l.Account.Factors, authn.FactorTOTP)
		_, _ = f.logins.SaveLogin(t.Context(), l)
	}}
	f.wantUnrecorded(t, f.Code(t.Context(), f.visit(handle), "123456"), authn.ErrLoginMoved)
	f.wantStage(t, handle, authn.StageDone)
}

// racing is a second factor whose code is used by the same form, sent again, in between.
type racing struct {
	*factors
	other func()
}

func (r *racing) Accept(context.Context, authn.FactorProof) error {
	r.other()
	return &authn.Error{Kind: authn.BadCredentials, Reason: "code_replayed"}
}

func TestFlowStoreDown(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "bob", "pw-bob")
	f.logins.down = errors.New("disk")
	wantError(t, f.Code(t.Context(), f.visit(handle), "123456"), authn.Unavailable, "store_unavailable")
	_, err := f.Password(t.Context(), f.visit(""), "", "ann", "pw-ann")
	f.wantRefusal(t, err, authn.Unavailable, "store_unavailable")
}

func TestFlowCancel(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "bob", "pw-bob")
	if err := f.Cancel(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	f.wantUnrecorded(t, f.Code(t.Context(), f.visit(handle), "123456"), authn.ErrLoginOver)
	if err := f.Cancel(t.Context(), handle); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestFlowForgetsRemovedProviders(t *testing.T) {
	f := newFlowBench(t)
	handle := f.password(t, "bob", "pw-bob")
	l := f.logins.only(t)
	l.Provider = "gone"
	f.logins.kept[l.ID] = l
	if _, _, err := f.Next(t.Context(), handle); !errors.Is(err, authn.ErrLoginOver) {
		t.Errorf("a login at a provider that is gone: %v", err)
	}
}

func TestFlowChoices(t *testing.T) {
	f := newFlowBench(t)
	want := []authn.Choice{{ID: "corp", Password: true}, {ID: "idp", Label: "Company", Redirect: true}, {ID: "other", Redirect: true}}
	if got := f.Choices(); !slices.Equal(got, want) {
		t.Errorf("choices %+v", got)
	}
	if c, ok := f.Route("ann"); !ok || c.ID != "corp" {
		t.Errorf("ann belongs to %+v, %v", c, ok)
	}
}

func TestFlowRefusalsAreHeldBack(t *testing.T) {
	f := newFlowBench(t)
	f.RefusalTime = 30 * time.Millisecond
	begun := time.Now()
	_, _ = f.Password(t.Context(), f.visit(""), "", "eve", "x")
	if took := time.Since(begun); took < 25*time.Millisecond {
		t.Errorf("an unknown user was refused after %s", took)
	}
}

func TestFlowPanicIsInternal(t *testing.T) {
	f := newFlowBench(t)
	handle := f.away(t)
	f.idp.finish = func() { panic("bug") }
	f.wantRefusal(t, f.Return(t.Context(), f.visit(handle), "idp", f.idp.state, authn.Reply{}), authn.Internal, "panic")
}
