package authn

import (
	"context"
	"errors"
)

// Trial is a sign-in that was only tried.
type Trial struct {
	Identity Identity // as far as it is known
	User     ITUser   // the zero value when there is none
	Err      error    // why the password was not proven; nil where it was
	Outcomes []Outcome
}

// Try signs a user in as a plugin call would, as far as that changes nothing: the provider is asked for the account and for its
// password, once, and the outcome on each environment is told. Nothing is linked, no code is used up, and it is for the caller
// to record that it was tried. The account's own failed attempts stay as they are: while they block it, it is not tried;
// wrong passwords of trials are counted apart from them, with the same limits, so that trials are no way to guess.
func (s *Service) Try(ctx context.Context, call Call, environments []Environment) (t Trial) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.CallTimeout, errDeadline)
	defer cancel()
	in := &signIn{Call: call}
	identity, err := s.guard(ctx, in, s.try)
	if t.Identity, t.Err = in.account.Identity, err; err == nil {
		t.Identity = identity
	}
	t.Identity.Provider = in.provider.ID
	for _, e := range environments {
		one := *in
		one.Environment = e
		outcome := err
		if err == nil {
			outcome = s.enter(ctx, &one)
		}
		t.User = one.user
		t.Outcomes = append(t.Outcomes, Outcome{e, MethodCredentials, one.user.UserID, outcome})
	}
	return t
}

// enter judges what comes behind the password.
func (s *Service) enter(ctx context.Context, in *signIn) error {
	if err := s.findUser(ctx, in); err != nil {
		return err
	}
	return in.mayEnter(s.Policy(in.account.Identity))
}

// try is the part with a password.
func (s *Service) try(ctx context.Context, in *signIn) (Identity, error) {
	if err := errors.Join(checkUsername(in.Username), checkPassword(in.Password)); err != nil {
		return Identity{}, err
	}
	if isToken(in.Password) { // no directory ever hears of one
		return Identity{}, &Error{Kind: BadCredentials, Reason: "token_unknown"}
	}
	provider, name, err := s.router.route(in.Username)
	if err != nil {
		return Identity{}, err
	}
	in.provider = provider
	if err := takesPasswords(provider); err != nil {
		return Identity{}, err
	}
	if in.account, err = provider.Password.Find(ctx, name); err != nil {
		return Identity{}, err
	}
	if err := isOf(provider, in.account); err != nil {
		return Identity{}, err
	}
	if _, err := s.Throttle.Look(ctx, in.throttleKey()); err != nil {
		return Identity{}, err
	}
	return s.tryPassword(ctx, in)
}

func (s *Service) tryPassword(ctx context.Context, in *signIn) (Identity, error) {
	attempt, err := s.Throttle.Begin(ctx, "trial:"+in.throttleKey())
	if err != nil {
		return Identity{}, err
	}
	defer func() { _ = attempt.Abandoned(context.WithoutCancel(ctx)) }() // only a panic leaves it open until here
	identity, err := in.provider.Password.Verify(ctx, in.account, in.Password)
	if err := settle(ctx, attempt, err); err != nil {
		return Identity{}, err
	}
	return identity, err
}
