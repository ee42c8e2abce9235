// Package authn is the core of idbridge: what signing in means.
//
// It knows the words (identity, account, provider, IT user, factor), the order in which a sign-in is checked, what counts
// as a failed attempt and what a refusal may reveal. It leaves to others how a directory is asked (providers/...), how a
// caller reaches us (plugin, portal), where rows are kept (store) and what a code is (mfa). It imports none of them and no
// net/http, SQL or XML: each of them is reached through a small interface defined here.
package authn

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Identity is a person as one provider proved them to be.
type Identity struct {
	Provider string // id of the configured provider
	Subject  string // never changes and is never re-issued at that provider: objectGUID, entryUUID, tid+oid
	Username string // as the provider spells it, not as it was typed
	Name     string
	Email    string
	Groups   []string // under each name by which rules may call them; complete, or the provider returned an error
	Factors  []string // what was proven, in order: FactorPassword, FactorTOTP ...

	Until   time.Time // the source wants no session of ours beyond this; zero: it says nothing
	Session string    // the source's own name of its session, for single logout
}

// Factor names, as they appear in Identity.Factors and in the audit.
const (
	FactorPassword = "password"
	FactorTOTP     = "totp"
	FactorRecovery = "recovery"
	FactorFrontEnd = "frontend" // integrated authentication: the web server in front vouched for the name
	FactorIdP      = "idp"      // an identity provider vouched for the person
	FactorIdPMFA   = "idp_mfa"  // ... and for a second factor of its own, which counts as one here
	FactorToken    = "token"    // a sign-in token, made in the portal after a full sign-in
)

// SecondFactor tells whether one was proven.
func (i Identity) SecondFactor() bool {
	return slices.ContainsFunc(i.Factors, func(f string) bool {
		return f == FactorTOTP || f == FactorRecovery || f == FactorIdPMFA
	})
}

// Account is what a provider knows about a name before anything has been proven. Its Identity carries no Factors.
type Account struct {
	Identity
	Ref string // the provider's own handle, for instance a DN; opaque to everyone else
}

// Member is an account that a listing of its source found.
type Member struct {
	Account
	Err error // with which the source would refuse this account whatever its password, as far as that can be seen; nil: it would not
}

// Provider is one configured identity source. A capability is a field: nil means it cannot.
type Provider struct {
	ID, Label string

	// Match says whether a typed user name belongs to this provider, and under which name the provider should be asked
	// for it (a domain may be taken off). Exactly one provider is asked: there is no falling through to another.
	Match func(username string) (name string, ok bool)

	Password PasswordProvider

	// Redirect signs people in at the source's own pages. Browsers only: a plugin call has nobody to send away.
	Redirect RedirectProvider

	// Unsolicited says that Redirect.Finish also takes answers that nobody asked for, from people who began there.
	Unsolicited bool

	// SignOut says where to send a browser whose session of ours has just ended, so that the source ends its own. A Redirect
	// without URL means nowhere. Unavailable, Internal: then nothing more is done, ours has ended all the same.
	SignOut func(ctx context.Context, identity Identity) (Redirect, error)

	// ChangePassword replaces the password of an account that Find returned, as its owner, who proves the current one.
	// BadCredentials when the current one is wrong, Unsuitable when the source's rules refuse the new one, Locked where
	// the source does not let this account change it, Unavailable.
	ChangePassword func(ctx context.Context, account Account, current, next Secret) error

	// Lookup finds the account behind a name that a trusted web server has already authenticated, and re-checks at the
	// source that the account may sign in: Locked if not. Only for integrated authentication.
	Lookup func(ctx context.Context, username string) (Identity, error)

	// Explain finds an account as Password.Find does, but never in a cache, and tells what it looks at and what the source
	// says of the account's right to sign in. It changes nothing. The remarks are there also when the account is not found.
	Explain func(ctx context.Context, username string) (Account, []Remark, error)

	// Members hands every account that is in a group to take, once each, in no order; all accounts where the group is
	// empty. Who is in a group is decided as at a sign-in, nested and primary groups included. The listing is complete, or
	// there is an error: also for a group that is not there. It may take long and is bounded by ctx only; an error of take ends
	// it and is returned. Unavailable, Internal.
	Members func(ctx context.Context, group string, take func(Member) error) error

	// Check tells whether sign-ins through this provider could work now; the error says what to do about it.
	Check func(ctx context.Context) error

	// Inspect looks closer than Check, for an administrator who waits: each server, its certificate and its clock, our own
	// account there, how many people could be found. It tells say what takes long. Deadlines are its own.
	Inspect func(ctx context.Context, say func(text string)) []Finding

	// Ends tells when the credentials end by which we are known to the source, the authorities that we know it by, and the
	// certificates that its servers have shown when Check looked last. It asks nobody. Nil: none ends.
	Ends func() []End

	// GroupRule tells whether a group of this source can be what a rule calls it; the error says what to do about it. Nil: the
	// source tells no groups, and no rule for one would ever match.
	GroupRule func(group string) error

	// Close ends what runs on behind the provider, such as idle connections. It is called once, when the configuration has
	// been replaced and nobody asks the provider any more. Nil: there is nothing to end.
	Close func()
}

// End is when something ends that sign-ins need.
type End struct {
	What string // for administrators; never a secret
	At   time.Time
}

// PasswordProvider proves passwords. It is asked in two steps, so that the throttle and the second factor are keyed by
// the source's own stable id, and are looked at, before a password reaches the source.
//
// Both methods are safe for concurrent use and return within ctx. Kinds: BadCredentials, Locked, Unavailable, Internal.
type PasswordProvider interface {
	// Find resolves a name to exactly one account. BadCredentials when there is none, or more than one.
	Find(ctx context.Context, username string) (Account, error)
	// Verify proves the password of an account that Find returned, with at most one attempt at the source.
	// BadCredentials for a wrong or empty password, Locked where the source forbids the account, Unavailable where it
	// did not answer, NotEnrolled where the password is right and the source asks for more than a password: a browser can
	// give that. On success Identity.Factors is {FactorPassword} and Subject is the account's.
	Verify(ctx context.Context, account Account, password Secret) (Identity, error)
}

// IDSource says where an environment's numeric user ids come from.
type IDSource string

// The sources of ids.
const (
	IDsMapped IDSource = "mapped" // from the IT users kept here; without an id the user is NotMapped on that environment
	IDsModule IDSource = "module" // the environment's thin module looks the id up by user name; none is needed here
)

// Environment is one environment of the platform's infrastructure, as configured.
type Environment struct {
	Name       string
	IDs        IDSource // empty means IDsMapped
	Integrated bool     // integrated authentication is switched on
}

// ITUser is a user of the platform, as one environment knows them.
type ITUser struct {
	Key      string // our own key, never shown to the platform
	Username string
	Active   bool
	UserID   int32 // on the environment asked for; 0 when there is none
	Linked   bool  // the account is linked to this IT user; false when it only matches by name so far
	Enrolled bool  // has a confirmed second factor
}

// ITUsers finds the IT user behind an account.
type ITUsers interface {
	// Find returns the IT user linked to the account's provider and subject, or the one the account would be linked to
	// at its first sign-in. It changes nothing. NotMapped when there is none, or when the candidate belongs to another
	// subject already; the error's Reason tells which. The ITUser's activity and id are for the caller to judge.
	Find(ctx context.Context, account Account, environment string) (ITUser, error)
	// Link records the first sign-in. NotMapped when another subject was faster.
	Link(ctx context.Context, identity Identity, user ITUser) error
}

// SecondFactors verifies codes. It counts wrong codes itself, per IT user, before it verifies.
type SecondFactors interface {
	// Split takes a trailing code off a typed password. ok is false when the text cannot end in one.
	Split(typed Secret) (password Secret, code string, ok bool)
	// Check verifies a code without using it up. BadCredentials when it is wrong or was used, Locked after too many.
	Check(ctx context.Context, user ITUser, code string) (FactorProof, error)
	// Accept uses the code up. BadCredentials when another sign-in has used it since Check.
	Accept(ctx context.Context, proof FactorProof) error
}

// FactorProof is a verified but not yet used-up code.
type FactorProof struct {
	User   string // ITUser.Key
	Factor string // FactorTOTP or FactorRecovery
	ID     string // which device or recovery code
	Step   int64  // TOTP: the time step the code belongs to
}

// FactorPolicy says when a second factor is asked for.
type FactorPolicy string

// The policies, from the mildest.
const (
	FactorNever    FactorPolicy = "never"    // not even of those who have one
	FactorEnrolled FactorPolicy = "enrolled" // asked of those who have one
	FactorRequired FactorPolicy = "required" // who has none cannot sign in
)

// Call is one sign-in asked for by the platform.
type Call struct {
	ID          string // correlation id
	Environment Environment
	Username    string // as typed
	Password    Secret // empty for integrated authentication
	Source      netip.Addr
	Arrived     time.Time
}

// Result is a sign-in that was granted and recorded.
type Result struct {
	Identity Identity
	User     ITUser
}

// Decision is the record of one sign-in, granted or refused.
type Decision struct {
	ID          string
	Time        time.Time // when the call came in
	Method      string    // MethodCredentials, MethodPortal ...
	Environment string
	Username    string // as typed, cut to a sane length
	Provider    string
	Subject     string
	ITUser      string // user name of the IT user
	Kind        Kind   // OK when granted
	Reason      string // stable code, for instance wrong_password
	Err         error  // the whole refusal, for the log; the audit keeps Kind and Reason. Holds no secret; nil when granted
	Factors     []string
	Source      netip.Addr
	Duration    time.Duration // until the decision was made, without the wait that hides it
}

// Methods of a Decision.
const (
	MethodCredentials = "credentials"
	MethodIntegrated  = "integrated"
	MethodPortal      = "portal"          // a step of a browser sign-in that was refused, or the whole that was granted
	MethodNewPassword = "password change" // on the way of a browser sign-in
)

// Auditor writes decisions down. Record returns only after the decision is durable; a sign-in whose decision could not be
// recorded is not granted.
type Auditor interface {
	Record(ctx context.Context, d Decision) error
}

// Secret is a text that never shows itself: every way of printing it gives <secret>. Reveal is the only way out.
type Secret string

const redacted = "<secret>"

// Reveal returns the text itself, for the one place that must have it.
func (s Secret) Reveal() string { return string(s) }

// String hides the text from %v, %s, %q and %x.
func (s Secret) String() string { return redacted }

// GoString hides it from %#v.
func (s Secret) GoString() string { return redacted }

// MarshalText hides it from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides it from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
