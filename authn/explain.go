package authn

import (
	"context"
	"fmt"
	"time"
)

// Remark is one thing that a sign-in looks at, told to an administrator. It holds no secret.
type Remark struct {
	About string // what is looked at: "filter", "account state"
	Text  string // what it is
	Err   error  // with which a sign-in would be refused here; nil where it goes on
}

// Explanation tells how sign-ins under one name would go if the password were right.
type Explanation struct {
	Remarks  []Remark
	User     ITUser // the zero value when there is none
	Outcomes []Outcome
}

// Outcome is how such a sign-in would end on one environment.
type Outcome struct {
	Environment Environment
	Method      string // MethodCredentials; also MethodIntegrated where that is switched on
	UserID      int32
	Err         error // nil: signed in; CodeRequired: asked for a code; anything else: refused
}

// Explain goes through the steps of a sign-in, with the same code, as far as they need no password. It counts nothing,
// links nothing and is not recorded. The remarks go on behind a refusal where they can, so that an administrator sees at once
// all that has to be mended; an Outcome has the refusal that a sign-in would meet first.
func (s *Service) Explain(ctx context.Context, username string, environments []Environment) Explanation {
	ctx, cancel := context.WithTimeoutCause(ctx, s.CallTimeout, errDeadline)
	defer cancel()
	x := &explanation{Service: s, in: signIn{Call: Call{Username: username}}}
	refusal := x.source(ctx)
	for i, e := range environments {
		in := x.in
		in.Environment = e
		outcome := refusal
		if x.in.account.Subject != "" {
			outcome = first(refusal, x.enter(ctx, &in, i == 0))
		}
		x.Outcomes = append(x.Outcomes, Outcome{e, MethodCredentials, in.user.UserID, outcome})
		if e.Integrated {
			vouched := signIn{Call: in.Call}
			_, err := s.vouchedFor(ctx, &vouched)
			x.Outcomes = append(x.Outcomes, Outcome{e, MethodIntegrated, vouched.user.UserID, err})
		}
	}
	return x.Explanation
}

// Foretell goes through what Explain does behind the source, for an account that a listing has found: how sign-ins would end
// if the password were right and were not refused for a while after wrong ones. Like Explain it changes nothing.
func (s *Service) Foretell(ctx context.Context, m Member, environments []Environment) (user ITUser, outcomes []Outcome) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.CallTimeout, errDeadline)
	defer cancel()
	x := &explanation{Service: s}
	for _, e := range environments {
		in := signIn{Call: Call{Environment: e, Username: m.Username}, account: m.Account}
		err := first(m.Err, x.enter(ctx, &in, false))
		user = in.user
		outcomes = append(outcomes, Outcome{e, MethodCredentials, in.user.UserID, err})
	}
	return user, outcomes
}

// explanation is one Explain under way.
type explanation struct {
	*Service
	Explanation
	in signIn // on no environment
}

func (x *explanation) remark(about, text string, err error) {
	x.Remarks = append(x.Remarks, Remark{about, text, err})
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// source asks the provider, and returns the first refusal up to and including the bind, in the order of a sign-in.
func (x *explanation) source(ctx context.Context) error {
	name, err := x.route()
	if err != nil {
		return err
	}
	account, remarks, err := x.ask(ctx, name)
	x.Remarks = append(x.Remarks, remarks...)
	key := NameKey(x.in.provider.ID, name)
	if err == nil {
		x.in.account, key = account, ThrottleKey(account.Provider, account.Subject)
	} else {
		x.remark("account", "", err)
	}
	throttled := x.throttle(ctx, key)
	if err != nil {
		return first(throttled, err)
	}
	for _, r := range remarks {
		throttled = first(throttled, r.Err)
	}
	return throttled
}

func (x *explanation) route() (name string, err error) {
	if err := checkUsername(x.in.Username); err != nil {
		x.remark("user name", "", err)
		return "", err
	}
	provider, name, err := x.router.route(x.in.Username)
	if err != nil {
		x.remark("provider", "", err)
		return "", err
	}
	x.in.provider = provider
	found := provider.ID + ", because its match claims the name"
	if _, claimed := provider.Match(x.in.Username); !claimed {
		found = provider.ID + ", the default: no other provider claims the name"
	}
	if name != x.in.Username {
		found += fmt.Sprintf("; it is asked for %q", name)
	}
	if provider.Password == nil && provider.Redirect != nil {
		found += "; its users sign in at pages of its own, in a browser"
	}
	err = takesPasswords(provider)
	x.remark("provider", found, err)
	return name, err
}

// ask finds the account, and says as much as the provider can.
func (x *explanation) ask(ctx context.Context, name string) (a Account, remarks []Remark, err error) {
	p := x.in.provider
	if p.Explain != nil {
		a, remarks, err = p.Explain(ctx, name)
	} else {
		a, err = p.Password.Find(ctx, name)
		remarks = a.Remarks()
	}
	if ctx.Err() != nil {
		return a, remarks, late(ctx, err)
	}
	if err == nil {
		err = isOf(p, a)
	}
	return a, remarks, err
}

// Remarks tell what every source says of an account, for a provider's Explain; none of the zero value.
func (a Account) Remarks() []Remark {
	if a.Subject == "" {
		return nil
	}
	called := a.Username
	for _, more := range []string{a.Name, a.Email} {
		if more != "" {
			called += ", " + more
		}
	}
	return []Remark{{About: "subject", Text: a.Subject}, {About: "called", Text: called}}
}

func (x *explanation) throttle(ctx context.Context, key string) error {
	seen, err := x.Throttle.Look(ctx, key)
	found := "no failed attempt"
	if seen.Failures > 0 {
		found = fmt.Sprintf("%d failed attempt(s), the last at %s", seen.Failures, seen.LastFailure.UTC().Format(time.RFC3339))
	}
	x.remark("throttle", found, err)
	return err
}

// enter looks for the IT user and judges as a sign-in does behind the password. What is the same on every environment is
// told once.
func (x *explanation) enter(ctx context.Context, in *signIn, tell bool) error {
	policy := x.Policy(in.account.Identity)
	err := x.findUser(ctx, in)
	if tell {
		x.User = in.user
		x.user(in, err)
		x.factor(in, policy)
	}
	return first(err, in.mayEnter(policy))
}

func (x *explanation) user(in *signIn, err error) {
	found := in.user.Username
	err = first(err, in.isITUser())
	switch {
	case in.user.Key == "":
		found = ""
	case !in.user.Linked:
		found += ", by its name; the first sign-in links the account to it"
	default:
		found += ", linked to this account"
	}
	x.remark("IT user", found, err)
}

func (x *explanation) factor(in *signIn, policy FactorPolicy) {
	said := map[FactorPolicy]string{
		FactorNever:    "never asked for",
		FactorEnrolled: "asked of those who have one",
		FactorRequired: "required",
	}[policy]
	has := "; none is set up"
	if in.user.Enrolled {
		has = "; one is set up"
	}
	if in.user.Key == "" {
		has = ""
	}
	why := ""
	if x.PolicyWhy != nil {
		why = ", by " + x.PolicyWhy(in.account.Identity)
	}
	x.remark("second factor", said+" (policy "+string(policy)+why+")"+has, nil)
}
