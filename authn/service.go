package authn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Defaults of Config.
const (
	DefaultRefusalTime = 300 * time.Millisecond
	DefaultCallTimeout = 20 * time.Second
	auditTimeout       = 10 * time.Second
)

// errDeadline is the cause of a call's own deadline, told apart from a caller that hung up.
var errDeadline = errors.New("the sign-in took longer than the call timeout")

// Config is what a Service is made of. All fields without a default are required.
type Config struct {
	Providers []Provider
	Default   string // id of the provider for names that no other claims; "" for none
	Users     ITUsers
	Factors   SecondFactors
	Policy    func(Identity) FactorPolicy // asked with what the source says of the account
	PolicyWhy func(Identity) string       // which rule gives that policy, for Explain; may be nil
	Throttle  *Throttle
	Auditor   Auditor
	Tokens    TokenStore // sign-in tokens; nil: none are accepted

	RefusalTime time.Duration // every refusal is answered this long after arrival; default 300 ms, negative: at once
	CallTimeout time.Duration // default 20 s
	Now         func() time.Time
	Panicked    func(correlationID string, value any, stack []byte) // a bug, for the log; may be nil

	// Before is the service whose place the new one takes, whose memory of refused passwords goes on; nil for the first.
	Before *Service
}

// Service signs users in with one call, as the plugin contract does. It is safe for concurrent use.
type Service struct {
	Config
	router  router
	refused *refused
}

// NewService validates the configuration; it dials nothing.
func NewService(c Config) (*Service, error) {
	if c.Users == nil || c.Factors == nil || c.Policy == nil || c.Throttle == nil || c.Auditor == nil {
		return nil, errors.New("authn: Config lacks Users, Factors, Policy, Throttle or Auditor")
	}
	if c.RefusalTime == 0 {
		c.RefusalTime = DefaultRefusalTime
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = DefaultCallTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Panicked == nil {
		c.Panicked = func(string, any, []byte) {}
	}
	s := &Service{Config: c, router: router{c.Providers, c.Default}, refused: newRefused(c.Now)}
	if c.Before != nil {
		s.refused = c.Before.refused
		s.Before = nil // it is replaced, so nothing of it may be kept
	}
	return s, nil
}

// SignIn decides whether a user name and a password, with a code where policy wants one, sign an IT user in. The decision
// is recorded before SignIn returns; without a record there is no sign-in. Every error has a Kind.
func (s *Service) SignIn(ctx context.Context, call Call) (Result, error) {
	return s.decide(ctx, call, MethodCredentials, s.withPassword)
}

// SignInIntegrated decides for a name that a trusted web server has already authenticated.
func (s *Service) SignInIntegrated(ctx context.Context, call Call) (Result, error) {
	return s.decide(ctx, call, MethodIntegrated, s.withName)
}

// signIn is one sign-in under way: what is known so far, for the steps that follow and for the record.
type signIn struct {
	Call
	chosen   string // id of the provider that the person picked; "" to go by the name
	provider Provider
	account  Account
	user     ITUser
	unmapped error // why there is no IT user; told only after the password was proven
	code     string
	proof    FactorProof

	mustChange bool // the password was right, and has to be changed
}

// prover is a way of signing in: it fills in what it learns and returns the proven identity.
type prover func(context.Context, *signIn) (Identity, error)

func (s *Service) decide(ctx context.Context, call Call, method string, prove prover) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.CallTimeout, errDeadline)
	defer cancel()
	in := &signIn{Call: call}
	identity, err := s.guard(ctx, in, prove)
	if err == nil {
		in.account.Identity = identity
	}
	if recordErr := s.record(ctx, in, method, err); recordErr != nil {
		err = recordErr
	}
	if err != nil {
		s.hold(ctx, call.Arrived)
		return Result{}, err
	}
	return Result{Identity: identity, User: in.user}, nil
}

// guard turns a panic into Internal, and anything that comes after the deadline into Unavailable.
func (s *Service) guard(ctx context.Context, in *signIn, prove prover) (id Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.Panicked(in.ID, v, debug.Stack())
			id, err = Identity{}, &Error{Kind: Internal, Reason: "panic", Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	id, err = prove(ctx, in)
	if ctx.Err() != nil && KindOf(err) != Unavailable {
		return Identity{}, late(ctx, err)
	}
	return id, err
}

func late(ctx context.Context, err error) error {
	reason := "caller_gone"
	if errors.Is(context.Cause(ctx), errDeadline) {
		reason = "deadline"
	}
	return &Error{Kind: Unavailable, Reason: reason, Err: errors.Join(context.Cause(ctx), err)}
}

// record writes the decision down even when the caller is gone.
func (s *Service) record(ctx context.Context, in *signIn, method string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	d := Decision{
		ID: in.ID, Time: in.Arrived, Method: method, Environment: in.Environment.Name,
		Username: cut(in.Username), Provider: in.provider.ID, Subject: in.account.Subject, ITUser: in.user.Username,
		Kind: KindOf(err), Factors: in.account.Factors, Source: in.Source, Duration: s.Now().Sub(in.Arrived),
	}
	if err != nil {
		d.Reason, d.Err = ReasonOf(err), err
	}
	if err := s.Auditor.Record(ctx, d); err != nil {
		return &Error{Kind: Unavailable, Reason: "audit_unavailable", Err: fmt.Errorf("audit: %w", err)}
	}
	return nil
}

// cut keeps a typed name from filling the audit; what is left is valid UTF-8.
func cut(name string) string { return cutTo(name, MaxUsername) }

func cutTo(text string, bytes int) string {
	if len(text) > bytes {
		text = text[:bytes]
	}
	return string([]rune(text))
}

// hold waits until the moment at which every refusal is answered, whatever its reason.
func (s *Service) hold(ctx context.Context, arrived time.Time) {
	wait := time.NewTimer(s.RefusalTime - s.Now().Sub(arrived))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// withPassword runs the checks of a user name and password sign-in, in the order that docs/architecture.md explains.
func (s *Service) withPassword(ctx context.Context, in *signIn) (Identity, error) {
	if s.Tokens != nil && isToken(in.Password) {
		return s.withToken(ctx, in)
	}
	if err := s.find(ctx, in); err != nil {
		return Identity{}, err
	}
	return s.throttled(ctx, in, s.prove)
}

// throttled runs one attempt at the account's password under its throttle.
func (s *Service) throttled(ctx context.Context, in *signIn, prove prover) (Identity, error) {
	attempt, err := s.Throttle.Begin(ctx, in.throttleKey())
	if err != nil {
		_ = s.findUser(ctx, in) // so that the record of the refusal has its IT user, who is shown it
		return Identity{}, err
	}
	defer func() { _ = attempt.Abandoned(context.WithoutCancel(ctx)) }() // only a panic leaves it open until here
	identity, err := prove(ctx, in)
	if err := settle(ctx, attempt, err); err != nil {
		return Identity{}, err
	}
	return identity, err
}

// find checks what was typed, routes it to one provider and asks it for the account. An unknown name is counted like a
// wrong password, under the name itself.
func (s *Service) find(ctx context.Context, in *signIn) error {
	if err := checkUsername(in.Username); err != nil {
		return err
	}
	if err := checkPassword(in.Password); err != nil {
		return err
	}
	provider, name, err := s.router.pick(in.chosen, in.Username)
	if err != nil {
		return err
	}
	in.provider = provider
	if err := takesPasswords(provider); err != nil {
		return err
	}
	in.account, err = provider.Password.Find(ctx, name)
	switch {
	case ctx.Err() != nil:
		return late(ctx, err)
	case KindOf(err) == BadCredentials:
		return s.countUnknown(ctx, provider.ID, name, err)
	case err == nil:
		return isOf(provider, in.account)
	}
	return err
}

func takesPasswords(p Provider) error {
	if p.Password == nil {
		return &Error{Kind: BadCredentials, Reason: "no_passwords", Provider: p.ID}
	}
	return nil
}

// isOf finds the bug of a provider whose accounts could be taken for another's.
func isOf(p Provider, a Account) error {
	if a.Provider != p.ID || a.Subject == "" {
		return Errorf(Internal, "bad_provider", "provider %q returned an account without its id or a subject", p.ID)
	}
	return nil
}

func (s *Service) countUnknown(ctx context.Context, provider, name string, cause error) error {
	attempt, err := s.Throttle.Begin(ctx, NameKey(provider, name))
	if err != nil {
		return err
	}
	return errors.Join(attempt.Failed(context.WithoutCancel(ctx)), cause)
}

func (in *signIn) throttleKey() string { return ThrottleKey(in.account.Provider, in.account.Subject) }

// settle ends the attempt as the outcome wants it: only BadCredentials of the password counts.
func settle(ctx context.Context, a *Attempt, outcome error) error {
	ctx = context.WithoutCancel(ctx) // a caller that hangs up must not undo the count
	switch {
	case outcome == nil:
		return a.Passed(ctx)
	case KindOf(outcome) == BadCredentials && ReasonOf(outcome) != reasonRepeated && !isFactorError(outcome):
		return a.Failed(ctx)
	}
	return a.Abandoned(ctx)
}

// reasonRepeated marks a password that was refused a moment ago and came again: a tool left open, not a guess.
const reasonRepeated = "repeated_password"

// factorError marks a refusal by the second factor, which keeps its own count.
type factorError struct{ error }

func (e factorError) Unwrap() error { return e.error }

func isFactorError(err error) bool {
	var f factorError
	return errors.As(err, &f)
}

// prove is what happens between the throttle and the record: IT user, code, password, then use the code up and link.
func (s *Service) prove(ctx context.Context, in *signIn) (Identity, error) {
	if err := s.findUser(ctx, in); err != nil {
		return Identity{}, err
	}
	policy := s.Policy(in.account.Identity)
	password, err := s.checkCode(ctx, in, policy)
	if err != nil {
		return Identity{}, factorError{err}
	}
	identity, err := s.verify(ctx, in, password)
	if err != nil {
		return Identity{}, err
	}
	if err := in.mayEnter(policy); err != nil {
		return Identity{}, err
	}
	if in.code != "" {
		if err := s.Factors.Accept(ctx, in.proof); err != nil {
			return Identity{}, factorError{err}
		}
		identity.Factors = append(identity.Factors, in.proof.Factor)
	}
	return identity, s.link(ctx, in, identity)
}

// findUser looks for the IT user. That there is none is kept back until the password was proven.
func (s *Service) findUser(ctx context.Context, in *signIn) error {
	user, err := s.Users.Find(ctx, in.account, in.Environment.Name)
	if KindOf(err) == NotMapped {
		in.unmapped = err
		return nil
	}
	in.user = user
	return storeError(err)
}

// checkCode takes the code off the typed password of a user who has a second factor and verifies it: a wrong code must
// not cost a bind.
func (s *Service) checkCode(ctx context.Context, in *signIn, policy FactorPolicy) (Secret, error) {
	if policy == FactorNever || !in.user.Enrolled {
		return in.Password, nil
	}
	password, code, ok := s.Factors.Split(in.Password)
	if !ok {
		return in.Password, nil
	}
	proof, err := s.Factors.Check(ctx, in.user, code)
	if err != nil {
		return "", storeError(err)
	}
	in.code, in.proof = code, proof
	return password, nil
}

// verify asks the provider, unless it has refused this very password a moment ago.
func (s *Service) verify(ctx context.Context, in *signIn, password Secret) (Identity, error) {
	if s.refused.seen(in.throttleKey(), password) {
		return Identity{}, &Error{Kind: BadCredentials, Reason: reasonRepeated, Provider: in.provider.ID}
	}
	identity, err := in.provider.Password.Verify(ctx, in.account, password)
	if ctx.Err() != nil {
		return Identity{}, late(ctx, err)
	}
	if KindOf(err) == BadCredentials {
		s.refused.add(in.throttleKey(), password)
	}
	if err != nil {
		return Identity{}, err
	}
	if identity.Provider != in.account.Provider || identity.Subject != in.account.Subject {
		return Identity{}, Errorf(Untrusted, "subject_changed", "the provider found one account and verified another")
	}
	return identity, nil
}

// mayEnter judges, after the password was proven, the IT user and whether a code is still missing.
func (in *signIn) mayEnter(policy FactorPolicy) error {
	if err := in.isITUser(); err != nil {
		return err
	}
	switch {
	case in.user.UserID == 0 && in.Environment.IDs != IDsModule:
		return &Error{Kind: NotMapped, Reason: "no_id_on_environment"}
	case policy == FactorRequired && !in.user.Enrolled:
		return &Error{Kind: NotEnrolled, Reason: "factor_required"}
	case policy != FactorNever && in.user.Enrolled && in.code == "":
		return &Error{Kind: CodeRequired, Reason: "code_missing"}
	}
	return nil
}

// isITUser judges whether there is an active IT user behind the account, on whichever environment.
func (in *signIn) isITUser() error {
	if in.unmapped == nil && !in.user.Active {
		return &Error{Kind: NotMapped, Reason: "it_user_inactive"}
	}
	return in.unmapped
}

func (s *Service) link(ctx context.Context, in *signIn, identity Identity) error {
	if in.user.Linked {
		return nil
	}
	if err := s.Users.Link(ctx, identity, in.user); err != nil {
		return storeError(err)
	}
	in.user.Linked = true
	return nil
}

// withName runs the checks of integrated authentication, and links.
func (s *Service) withName(ctx context.Context, in *signIn) (Identity, error) {
	identity, err := s.vouchedFor(ctx, in)
	if err != nil {
		return Identity{}, err
	}
	identity.Factors = []string{FactorFrontEnd}
	return identity, s.link(ctx, in, identity)
}

// vouchedFor judges a name that a web server has authenticated. A code cannot be given there, so who would be asked for
// one cannot sign in this way.
func (s *Service) vouchedFor(ctx context.Context, in *signIn) (Identity, error) {
	if !in.Environment.Integrated {
		return Identity{}, &Error{Kind: BadCredentials, Reason: "integrated_off"}
	}
	if err := checkUsername(in.Username); err != nil {
		return Identity{}, err
	}
	provider, name, err := s.router.route(in.Username)
	if err != nil {
		return Identity{}, err
	}
	in.provider = provider
	if provider.Lookup == nil {
		return Identity{}, &Error{Kind: BadCredentials, Reason: "no_integrated", Provider: provider.ID}
	}
	identity, err := provider.Lookup(ctx, name)
	if err != nil {
		return Identity{}, err
	}
	in.account = Account{Identity: identity}
	if err := s.findUser(ctx, in); err != nil {
		return Identity{}, err
	}
	return identity, in.mayEnter(s.Policy(identity))
}
