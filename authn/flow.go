package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"time"
)

// DefaultLoginLife is how long a browser may take from its first proven factor, or from being sent away, to the end.
const DefaultLoginLife = 10 * time.Minute

// Login is a browser sign-in under way: one row on the server, bound to the browser that began it.
type Login struct {
	ID       string // hash of the handle that only the browser knows
	Version  int64  // rises by one with each change
	Expires  time.Time
	Username string  // as typed, if it was
	Provider string  // the provider that was asked
	State    string  // hash of what a redirect provider is to give back; "" while nobody is sent away
	Pending  []byte  // what that provider judges the answer by
	Account  Account // who is signing in; Account.Factors is what was proven so far
	User     ITUser
	Change   bool   // the password was right, and must be changed
	Invited  bool   // an administrator's enrolment code was redeemed
	Returns  string // the door's page to which the person wants after that; no address of a browser comes back with it
}

// LoginStore keeps logins, for all nodes at once.
type LoginStore interface {
	// Login returns a login; found is false when there is none.
	Login(ctx context.Context, id string) (l Login, found bool, err error)
	// SaveLogin keeps a login whose Version is one more than what is kept (1: it is new), and tells whether it was.
	SaveLogin(ctx context.Context, l Login) (bool, error)
	// EndLogin removes a login that has that version, and tells whether this call did it.
	EndLogin(ctx context.Context, id string, version int64) (bool, error)
}

// Enroller sets up second factors on the way of a sign-in.
type Enroller interface {
	// Redeem uses up an administrator's one-time enrolment code for that user. BadCredentials, Locked, Unavailable.
	Redeem(ctx context.Context, user ITUser, code Secret) error
	// Confirm makes a new device a factor by its first code, and returns recovery codes to be shown once.
	Confirm(ctx context.Context, user ITUser, device, code string) ([]Secret, error)
}

// Stage is what a browser sign-in waits for.
type Stage string

// The stages. Only Next decides which is next.
const (
	StageSignIn Stage = "sign-in"         // a user name and a password, or a provider to be sent to
	StageCode   Stage = "code"            // a code of the second factor
	StageChange Stage = "change-password" // a new password in place of one that has expired
	StageInvite Stage = "invitation"      // an administrator's enrolment code: a factor is required, and there is none
	StageEnrol  Stage = "enrol"           // the first code of a new device
	StageDone   Stage = "done"            // nothing more
)

// Visit is one request of a browser in the middle of a sign-in.
type Visit struct {
	Handle  Secret // what Password or Begin gave to this browser
	ID      string // correlation id
	Source  netip.Addr
	Arrived time.Time
	Returns string // Login.Returns of a login that Begin begins
}

// ErrLoginOver is the answer to a step of a login that is not, or no longer, there: it took too long, was finished in
// another tab, or the browser keeps no cookies. It is not recorded: it says nothing of anybody.
var ErrLoginOver = &Error{Kind: BadCredentials, Reason: "login_over"}

// ErrLoginMoved is the answer to a step that is not the next one: a form was sent twice, or from another tab. The browser
// should be sent to the next step. It is not recorded.
var ErrLoginMoved = &Error{Kind: BadCredentials, Reason: "login_moved"}

// Flow signs people in with a browser, step by step, by the rules of a Service. Every step changes the stored login and
// nothing else; Next alone looks at it and decides what comes; Done ends it. Every refusal is recorded before it is
// answered, and so is the sign-in as a whole. It is safe for concurrent use, also by several nodes.
type Flow struct {
	service *Service
	store   LoginStore
	enrol   Enroller
	life    time.Duration
	policy  func(Identity) FactorPolicy
	door    string // whose logins these are; empty: the users' portal's
	anew    bool   // nobody comes in by an older session at their source
}

// NewFlow makes a Flow; life 0 stands for DefaultLoginLife.
func NewFlow(s *Service, store LoginStore, enrol Enroller, life time.Duration) *Flow {
	if life == 0 {
		life = DefaultLoginLife
	}
	return &Flow{service: s, store: store, enrol: enrol, life: life, policy: s.Policy}
}

// Strict returns a Flow for a door of its own, whose logins open nothing elsewhere. It wants a second factor of everybody,
// whatever the policy; sources must have people prove anew who they are; and nobody comes in by an answer that was not asked for.
func (f *Flow) Strict(door string) *Flow {
	strict := *f
	strict.door, strict.anew = door, true
	strict.policy = func(Identity) FactorPolicy { return FactorRequired }
	return &strict
}

// Choice is a provider that people can sign in with.
type Choice struct {
	ID, Label          string
	Password, Redirect bool
}

// Choices are the providers, in the order of the configuration.
func (f *Flow) Choices() (list []Choice) {
	for _, p := range f.service.Providers {
		if p.Password != nil || p.Redirect != nil {
			list = append(list, Choice{p.ID, p.Label, p.Password != nil, p.Redirect != nil})
		}
	}
	return list
}

// Route is the provider that a user name belongs to; found is false when none, or more than one, claims it.
func (f *Flow) Route(username string) (choice Choice, found bool) {
	p, _, err := f.service.router.route(username)
	return Choice{p.ID, p.Label, p.Password != nil, p.Redirect != nil}, err == nil
}

// Next is the step that a login waits for, and the login. ErrLoginOver, Unavailable.
func (f *Flow) Next(ctx context.Context, handle Secret) (Stage, Login, error) {
	l, err := f.load(ctx, handle)
	return f.next(l), l, err
}

func (f *Flow) next(l Login) Stage {
	policy := f.policy(l.Account.Identity)
	second := policy == FactorNever || l.Account.SecondFactor()
	switch {
	case len(l.Account.Factors) == 0:
		return StageSignIn
	case !second && l.User.Enrolled:
		return StageCode
	case l.Change:
		return StageChange
	case !second && policy == FactorRequired && !l.Invited:
		return StageInvite
	case !second && policy == FactorRequired:
		return StageEnrol
	}
	return StageDone
}

// Password begins a login with a user name and a password. provider is the one that the person picked, or empty to go by
// the name. The handle is for the browser alone. All kinds but CodeRequired and NotEnrolled, which are steps here.
func (f *Flow) Password(ctx context.Context, v Visit, provider, username string, password Secret) (Secret, error) {
	in := f.visit(v, Login{})
	in.chosen, in.Username, in.Password = provider, username, password
	var l Login
	err := f.attempt(ctx, in, MethodPortal, func(ctx context.Context) error {
		if err := f.service.find(ctx, in); err != nil {
			return err
		}
		identity, err := f.service.throttled(ctx, in, f.provePassword)
		if err != nil {
			return err
		}
		l = f.newLogin(in.provider.ID)
		l.Username, l.Account, l.User, l.Change = cut(username), in.account, in.user, in.mustChange
		l.Account.Identity = identity
		return nil
	})
	if err != nil {
		return "", err
	}
	return f.begin(ctx, in, l)
}

// provePassword asks the provider. A password that is right but has expired is proven too, where it can be changed here.
func (f *Flow) provePassword(ctx context.Context, in *signIn) (Identity, error) {
	if err := f.service.findUser(ctx, in); err != nil {
		return Identity{}, err
	}
	identity, err := f.service.verify(ctx, in, in.Password)
	if mustChange(err) && in.provider.ChangePassword != nil {
		in.mustChange, identity, err = true, in.account.Identity, nil
		identity.Factors = []string{FactorPassword}
	}
	if err != nil {
		return Identity{}, err
	}
	return identity, in.isITUser()
}

// Reasons of a Locked that a new password ends. A provider gives them only after the password was proven.
const (
	ReasonPasswordExpired    = "password_expired"
	ReasonPasswordMustChange = "password_must_change"
)

// ReasonNotActivated is the reason of a Locked that no door tells from a wrong password: the account is for emergencies, and
// nobody has declared one.
const ReasonNotActivated = "not_activated"

func mustChange(err error) bool {
	reason := ReasonOf(err)
	return KindOf(err) == Locked && (reason == ReasonPasswordExpired || reason == ReasonPasswordMustChange)
}

// Begin begins a login at a redirect provider. The handle is for the browser alone, the Redirect is where to send it.
// BadCredentials (no_route, no_redirect), Unavailable, Internal.
func (f *Flow) Begin(ctx context.Context, v Visit, provider string) (handle Secret, to Redirect, err error) {
	in, state := f.visit(v, Login{}), newHandle()
	var l Login
	err = f.attempt(ctx, in, MethodPortal, func(ctx context.Context) error {
		if err := f.redirecting(in, provider); err != nil {
			return err
		}
		if to, err = in.provider.Redirect.Begin(ctx, Ask{state.Reveal(), f.door, f.anew}); err != nil {
			return err
		}
		l = f.newLogin(provider)
		l.State, l.Pending, l.Returns = hashHandle(state), to.Pending, v.Returns
		return nil
	})
	if err != nil {
		return "", Redirect{}, err
	}
	handle, err = f.begin(ctx, in, l)
	to.Pending = nil // it stays here
	return handle, to, err
}

// SignOut says where to send a browser whose session has just ended, so that the source ends its own too. A Redirect
// without URL means nowhere. Unavailable, Internal: our session has ended all the same.
func (f *Flow) SignOut(ctx context.Context, identity Identity) (Redirect, error) {
	p, known := f.service.router.byID(identity.Provider)
	if !known || p.SignOut == nil {
		return Redirect{}, nil
	}
	return p.SignOut(ctx, identity)
}

func (f *Flow) redirecting(in *signIn, provider string) error {
	p, known := f.service.router.byID(provider)
	if !known {
		return &Error{Kind: BadCredentials, Reason: "no_route"}
	}
	in.provider = p
	if p.Redirect == nil {
		return &Error{Kind: BadCredentials, Reason: "no_redirect", Provider: p.ID}
	}
	return nil
}

// Return takes the answer that a browser brings back from a redirect provider. Untrusted when this browser did not ask
// for it, or has brought one already; the kinds of RedirectProvider.Finish; NotMapped.
func (f *Flow) Return(ctx context.Context, v Visit, provider, state string, reply Reply) error {
	l, err := f.load(ctx, v.Handle)
	in := f.visit(v, l)
	if err != nil {
		if errors.Is(err, ErrLoginOver) {
			err = errAnswerWithoutLogin()
		}
		in.provider.ID = provider
	}
	return f.attempt(ctx, in, MethodPortal, func(ctx context.Context) error {
		if err == nil {
			err = f.finish(ctx, in, l, provider, Secret(state), reply)
		}
		return err
	})
}

func (f *Flow) finish(ctx context.Context, in *signIn, l Login, provider string, state Secret, reply Reply) error {
	if err := f.redirecting(in, provider); err != nil {
		return err
	}
	same := subtle.ConstantTimeCompare([]byte(l.State), []byte(hashHandle(state))) == 1
	if !same || l.Provider != provider {
		return &Error{Kind: Untrusted, Reason: "state_mismatch", Provider: provider}
	}
	pending := l.Pending
	l.State, l.Pending = "", nil
	if err := f.save(ctx, &l); err != nil { // before the answer is judged: it gets one chance
		return err
	}
	if err := f.judge(ctx, in, pending, reply); err != nil {
		return err
	}
	l.Account, l.User = in.account, in.user
	return f.save(ctx, &l)
}

func errAnswerWithoutLogin() error {
	return Errorf(Untrusted, "answer_without_login", "this browser has not begun, or has finished, this sign-in")
}

// Unsolicited takes an answer that nobody here asked for: somebody began at their identity provider. Only a provider that
// says Unsolicited takes one; who can make a browser post it can sign that browser in as somebody of their choice. The
// handle is for the browser alone. Untrusted; the kinds of RedirectProvider.Finish; NotMapped.
func (f *Flow) Unsolicited(ctx context.Context, v Visit, provider string, reply Reply) (Secret, error) {
	in := f.visit(v, Login{})
	err := f.attempt(ctx, in, MethodPortal, func(ctx context.Context) error {
		if err := f.redirecting(in, provider); err != nil {
			return err
		}
		if !in.provider.Unsolicited || f.anew {
			return errAnswerWithoutLogin()
		}
		return f.judge(ctx, in, nil, reply)
	})
	if err != nil {
		return "", err
	}
	l := f.newLogin(provider)
	l.Account, l.User = in.account, in.user
	return f.begin(ctx, in, l)
}

// judge lets the provider judge an answer, and looks for the IT user behind it.
func (f *Flow) judge(ctx context.Context, in *signIn, pending []byte, reply Reply) error {
	identity, err := in.provider.Redirect.Finish(ctx, pending, reply)
	if ctx.Err() != nil {
		return late(ctx, err)
	}
	if err != nil {
		return err
	}
	if provider := in.provider.ID; identity.Provider != provider || identity.Subject == "" || len(identity.Factors) == 0 {
		return Errorf(Internal, "bad_provider", "provider %q returned an identity without its id, a subject or a factor", provider)
	}
	in.account = Account{Identity: identity}
	if err := f.service.findUser(ctx, in); err != nil {
		return err
	}
	return in.isITUser()
}

// Code proves the second factor. BadCredentials for a wrong code, Locked after too many, ErrLoginMoved, ErrLoginOver.
func (f *Flow) Code(ctx context.Context, v Visit, code string) error {
	return f.step(ctx, v, StageCode, MethodPortal, func(ctx context.Context, _ *signIn, l *Login) error {
		proof, err := f.service.Factors.Check(ctx, l.User, code)
		if err != nil {
			return err
		}
		if err := f.service.Factors.Accept(ctx, proof); err != nil {
			return err
		}
		l.Account.Factors = append(l.Account.Factors, proof.Factor)
		return nil
	})
}

// Change replaces a password that has expired. BadCredentials when the current one is wrong, Unsuitable when the source
// refuses the new one, Locked, Unavailable, ErrLoginMoved, ErrLoginOver.
func (f *Flow) Change(ctx context.Context, v Visit, current, next Secret) error {
	err := f.step(ctx, v, StageChange, MethodNewPassword, func(ctx context.Context, in *signIn, l *Login) error {
		in.Password = current
		if err := checkPassword(current); err != nil {
			return err
		}
		if err := mayBecome(current, next); err != nil {
			return err
		}
		_, err := f.service.throttled(ctx, in, func(ctx context.Context, in *signIn) (Identity, error) {
			return Identity{}, f.change(ctx, in, next)
		})
		l.Change = l.Change && err != nil
		return err
	})
	return err
}

// mayBecome refuses a new password that no source should be asked about.
func mayBecome(current, next Secret) error {
	if err := checkPassword(next); err != nil {
		return &Error{Kind: Unsuitable, Reason: ReasonOf(err)}
	}
	if current == next {
		return &Error{Kind: Unsuitable, Reason: "password_unchanged"}
	}
	return nil
}

func (f *Flow) change(ctx context.Context, in *signIn, next Secret) error {
	if in.provider.ChangePassword == nil {
		return &Error{Kind: Locked, Reason: "no_password_change", Provider: in.provider.ID}
	}
	err := in.provider.ChangePassword(ctx, in.account, in.Password, next)
	if ctx.Err() != nil {
		return late(ctx, err)
	}
	if err != nil {
		return err
	}
	f.service.refused.forget(in.throttleKey(), next)
	return f.service.record(ctx, in, MethodNewPassword, nil)
}

// Invite redeems an administrator's enrolment code. BadCredentials, Locked, Unavailable, ErrLoginMoved, ErrLoginOver.
func (f *Flow) Invite(ctx context.Context, v Visit, code Secret) error {
	return f.step(ctx, v, StageInvite, MethodPortal, func(ctx context.Context, _ *signIn, l *Login) error {
		l.Invited = true
		return f.enrol.Redeem(ctx, l.User, code)
	})
}

// Enrol confirms the device that the person is setting up by its first code, which proves the second factor too. It
// returns recovery codes to be shown once. BadCredentials, Locked, Unavailable, ErrLoginMoved, ErrLoginOver.
func (f *Flow) Enrol(ctx context.Context, v Visit, device, code string) (recovery []Secret, err error) {
	err = f.step(ctx, v, StageEnrol, MethodPortal, func(ctx context.Context, _ *signIn, l *Login) error {
		recovery, err = f.enrol.Confirm(ctx, l.User, device, code)
		l.User.Enrolled = true
		l.Account.Factors = append(l.Account.Factors, FactorTOTP)
		return err
	})
	if err != nil {
		return nil, err
	}
	return recovery, nil
}

// Done ends a login that waits for nothing more: whoever gets its result, one caller only, may let the person in. The IT
// user is looked up again, and the sign-in is recorded. NotMapped, Unavailable, ErrLoginMoved, ErrLoginOver.
func (f *Flow) Done(ctx context.Context, v Visit) (Result, Login, error) {
	l, err := f.load(ctx, v.Handle)
	if err != nil {
		return Result{}, Login{}, err
	}
	if f.next(l) != StageDone {
		return Result{}, Login{}, ErrLoginMoved
	}
	in := f.visit(v, l)
	ctx, cancel := context.WithTimeoutCause(ctx, f.service.CallTimeout, errDeadline)
	defer cancel()
	identity, err := f.service.guard(ctx, in, func(ctx context.Context, in *signIn) (Identity, error) {
		return l.Account.Identity, f.enter(ctx, in, l)
	})
	if isLoginError(err) {
		return Result{}, Login{}, err
	}
	if recordErr := f.service.record(ctx, in, MethodPortal, err); recordErr != nil {
		err = recordErr
	}
	if err != nil {
		return Result{}, Login{}, err
	}
	return Result{Identity: identity, User: in.user}, l, nil
}

// enter is what a Service does after a password was proven: IT user, link; and the login is used up.
func (f *Flow) enter(ctx context.Context, in *signIn, l Login) error {
	if err := f.service.findUser(ctx, in); err != nil {
		return err
	}
	if err := in.isITUser(); err != nil {
		return err
	}
	if in.user.Key != l.User.Key {
		return &Error{Kind: NotMapped, Reason: "not_linked", Provider: l.Provider}
	}
	if err := f.service.link(ctx, in, l.Account.Identity); err != nil {
		return err
	}
	ended, err := f.store.EndLogin(ctx, l.ID, l.Version)
	if err == nil && !ended {
		return ErrLoginMoved
	}
	return storeError(err)
}

// Cancel forgets a login.
func (f *Flow) Cancel(ctx context.Context, handle Secret) error {
	l, err := f.load(ctx, handle)
	if err == nil {
		_, err = f.store.EndLogin(ctx, l.ID, l.Version)
	}
	if isLoginError(err) {
		return nil
	}
	return storeError(err)
}

// step runs one step of a login that waits for it, and keeps what it changed.
func (f *Flow) step(
	ctx context.Context, v Visit, want Stage, method string, act func(context.Context, *signIn, *Login) error,
) error {
	l, err := f.load(ctx, v.Handle)
	if err != nil {
		return err
	}
	if f.next(l) != want {
		return ErrLoginMoved
	}
	in := f.visit(v, l)
	return f.attempt(ctx, in, method, func(ctx context.Context) error {
		version := l.Version
		err := act(ctx, in, &l)
		if err == nil {
			return f.save(ctx, &l)
		}
		if f.moved(ctx, l.ID, version) { // the same form was sent twice, and the other one was faster
			return ErrLoginMoved
		}
		return storeError(err)
	})
}

// attempt runs what a person asked for under the Service's deadline, and records and holds back a refusal.
func (f *Flow) attempt(ctx context.Context, in *signIn, method string, act func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.service.CallTimeout, errDeadline)
	defer cancel()
	_, err := f.service.guard(ctx, in, func(ctx context.Context, _ *signIn) (Identity, error) {
		return Identity{}, act(ctx)
	})
	if err == nil || isLoginError(err) {
		return err
	}
	if recordErr := f.service.record(ctx, in, method, err); recordErr != nil {
		err = recordErr
	}
	f.service.hold(ctx, in.Arrived)
	return err
}

func isLoginError(err error) bool {
	return errors.Is(err, ErrLoginOver) || errors.Is(err, ErrLoginMoved)
}

// visit is a request as the Service's steps know it.
func (f *Flow) visit(v Visit, l Login) *signIn {
	in := &signIn{Call: Call{ID: v.ID, Username: l.Username, Source: v.Source, Arrived: v.Arrived}, account: l.Account, user: l.User}
	in.provider, _ = f.service.router.byID(l.Provider)
	return in
}

func (f *Flow) newLogin(provider string) Login {
	return Login{Provider: provider, Expires: f.service.Now().Add(f.life)}
}

// begin keeps a new login under a new handle.
func (f *Flow) begin(ctx context.Context, in *signIn, l Login) (Secret, error) {
	handle := newHandle()
	l.ID = f.id(handle)
	err := f.attempt(ctx, in, MethodPortal, func(ctx context.Context) error { return f.save(ctx, &l) })
	return handle, err
}

// id is the row of a handle: of another one at each door, so that what was begun at one is not continued at another.
func (f *Flow) id(handle Secret) string { return hashHandle(Secret(f.door) + handle) }

func (f *Flow) load(ctx context.Context, handle Secret) (Login, error) {
	if handle == "" {
		return Login{}, ErrLoginOver
	}
	l, found, err := f.store.Login(ctx, f.id(handle))
	if err != nil {
		return Login{}, storeError(err)
	}
	if !found || !f.service.Now().Before(l.Expires) {
		return Login{}, ErrLoginOver
	}
	if _, configured := f.service.router.byID(l.Provider); !configured {
		return Login{}, ErrLoginOver
	}
	return l, nil
}

func (f *Flow) save(ctx context.Context, l *Login) error {
	l.Version++
	saved, err := f.store.SaveLogin(ctx, *l)
	if err == nil && !saved {
		return ErrLoginMoved
	}
	return storeError(err)
}

func (f *Flow) moved(ctx context.Context, id string, version int64) bool {
	now, found, err := f.store.Login(ctx, id)
	return err == nil && (!found || now.Version != version)
}
