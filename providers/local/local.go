// Package local is the provider of break-glass accounts: a few accounts that idbridge keeps itself, for the day on which
// every directory is down.
//
// It knows their passwords (argon2id, sealed), when one must be changed, and the activation window outside of which no
// account signs in. It leaves to others the second factor that its accounts must always have (the policy of
// cmd/idbridge, mfa), the limits of failed attempts (authn), who may make and activate accounts (the commands that call
// Manager), and where rows are kept (store). Its accounts have no Lookup: no web server's word signs one of them in.
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/idbridge/idbridge/authn"
)

// Password is a password as it is kept.
type Password struct {
	Sealed     []byte // its hash with the parameters it was made by, sealed and bound to the account's subject
	Changed    time.Time
	MustChange bool // it was made by an administrator, and only lets its owner choose another one
}

// Account is a break-glass account.
type Account struct {
	Subject  string // random, so never given to another account
	Username string
	Password
	ActiveUntil time.Time // zero: not active
}

// Store is what signing in needs of the accounts. Names are compared as authn.FoldName makes them.
type Store interface {
	// LocalAccount returns the account of a folded name; found is false when there is none.
	LocalAccount(ctx context.Context, folded string) (a Account, found bool, err error)
	// LocalAccounts returns all of them, by name.
	LocalAccounts(ctx context.Context) ([]Account, error)
	// ReplaceLocalPassword puts next in the place of the password whose Sealed is was, and tells whether this call did.
	ReplaceLocalPassword(ctx context.Context, subject string, was []byte, next Password) (bool, error)
}

// Sealer keeps hashes readable for us alone; ad is what each is bound to. Who can only write to the database can thus
// not plant a password of their own, and who has a copy of it has nothing to try passwords on.
type Sealer interface {
	Seal(plain, ad []byte) ([]byte, error)
	Open(sealed, ad []byte) ([]byte, error)
}

// SealAD is what the hash of an account is bound to: moved to another account's row it does not open.
func SealAD(subject string) []byte { return []byte("local:" + subject) }

// source implements authn.PasswordProvider.
type source struct {
	id     string
	config Config
	store  Store // nil while only the configuration is checked
	sealer Sealer
	hasher *hasher
	now    func() time.Time
}

// New validates the configuration. store and sealer may be nil as long as nothing is asked but Check.
func New(id, label string, c Config, route authn.Route, store Store, sealer Sealer) (authn.Provider, error) {
	return newProvider(label, route, &source{id, c, store, sealer, newHasher(presentCost()), time.Now})
}

func newProvider(label string, route authn.Route, s *source) (authn.Provider, error) {
	match, err := route.Matcher()
	if err = errors.Join(err, s.config.check()); err != nil {
		return authn.Provider{}, err
	}
	return authn.Provider{
		ID: s.id, Label: label, Match: match, Password: s, ChangePassword: s.changePassword, Check: s.check,
	}, nil
}

// Find implements authn.PasswordProvider. A name that nobody has costs as much as a password that is wrong: one hash.
func (s *source) Find(ctx context.Context, username string) (authn.Account, error) {
	a, found, err := s.lookUp(ctx, username)
	if err != nil {
		return authn.Account{}, err
	}
	if !found {
		if err := s.hasher.waste(ctx); err != nil {
			return authn.Account{}, err
		}
		return authn.Account{}, s.refuse(authn.BadCredentials, "unknown_user")
	}
	return authn.Account{Identity: s.identity(a), Ref: a.Username}, nil
}

// lookUp takes the name literally. What no database could hold is nobody's name.
func (s *source) lookUp(ctx context.Context, username string) (Account, bool, error) {
	if strings.ContainsRune(username, 0) || !utf8.ValidString(username) {
		return Account{}, false, nil
	}
	a, found, err := s.store.LocalAccount(ctx, authn.FoldName(username))
	return a, found, storeError(err)
}

// identity is also what a sign-in ends with that changed its password on the way; no session outlives the window.
func (s *source) identity(a Account) authn.Identity {
	i := authn.Identity{Provider: s.id, Subject: a.Subject, Username: a.Username, Name: a.Username}
	if !s.config.AlwaysActive {
		i.Until = a.ActiveUntil
	}
	return i
}

func (s *source) refuse(kind authn.Kind, reason string) *authn.Error {
	return &authn.Error{Kind: kind, Reason: reason, Provider: s.id}
}

// Verify implements authn.PasswordProvider. What else keeps the account out is told only after the password was proven:
// Locked (not_activated, password_must_change). Unavailable also when the stored hash does not open
// (password_unopenable) or too many hashes wait (hash_wait).
func (s *source) Verify(ctx context.Context, account authn.Account, password authn.Secret) (authn.Identity, error) {
	a, err := s.prove(ctx, account, password)
	if err != nil {
		return authn.Identity{}, err
	}
	if err := s.mayEnter(a); err != nil {
		return authn.Identity{}, err
	}
	identity := s.identity(a)
	identity.Factors = []string{authn.FactorPassword}
	return identity, nil
}

// prove reads the account again, as it is now, and compares the password.
func (s *source) prove(ctx context.Context, account authn.Account, password authn.Secret) (Account, error) {
	if password == "" || strings.ContainsRune(password.Reveal(), 0) {
		return Account{}, s.refuse(authn.BadCredentials, "malformed_password")
	}
	a, found, err := s.lookUp(ctx, account.Ref)
	if err != nil {
		return Account{}, err
	}
	if !found || a.Subject != account.Subject { // removed since it was found, and perhaps made anew
		return Account{}, s.refuse(authn.BadCredentials, "unknown_user")
	}
	return s.compare(ctx, a, password)
}

func (s *source) compare(ctx context.Context, a Account, password authn.Secret) (Account, error) {
	hash, err := s.sealer.Open(a.Sealed, SealAD(a.Subject))
	if err != nil {
		return Account{}, authn.Errorf(authn.Unavailable, "password_unopenable", "account %s: %w", a.Username, err)
	}
	right, weak, err := s.hasher.matches(ctx, string(hash), password)
	switch {
	case err != nil:
		return Account{}, err
	case !right:
		return Account{}, s.refuse(authn.BadCredentials, "wrong_password")
	case weak:
		return s.strengthen(ctx, a, password), nil
	}
	return a, nil
}

// strengthen hashes a password anew that was hashed by weaker parameters than today's. Where that cannot be kept, the
// old hash stays: it is no reason to refuse anybody.
func (s *source) strengthen(ctx context.Context, a Account, password authn.Secret) Account {
	next, err := s.sealed(ctx, a.Subject, password)
	if err != nil {
		return a
	}
	stronger := a
	stronger.Sealed = next
	if done, err := s.store.ReplaceLocalPassword(ctx, a.Subject, a.Sealed, stronger.Password); err != nil || !done {
		return a
	}
	return stronger
}

// sealed is the hash of a password, ready to be kept.
func (s *source) sealed(ctx context.Context, subject string, password authn.Secret) ([]byte, error) {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	sealed, err := s.sealer.Seal([]byte(hash), SealAD(subject))
	if err != nil {
		return nil, authn.Errorf(authn.Internal, "bad_account", "sealing a password: %w", err)
	}
	return sealed, nil
}

// mayEnter judges an account whose password was proven.
func (s *source) mayEnter(a Account) error {
	switch {
	case !s.active(a):
		return s.refuse(authn.Locked, authn.ReasonNotActivated)
	case a.MustChange:
		return s.refuse(authn.Locked, "password_must_change")
	}
	return nil
}

func (s *source) active(a Account) bool {
	return s.config.AlwaysActive || s.now().Before(a.ActiveUntil)
}

// changePassword is authn.Provider.ChangePassword: only within the activation window.
func (s *source) changePassword(ctx context.Context, account authn.Account, current, next authn.Secret) error {
	a, err := s.prove(ctx, account, current)
	if err != nil {
		return err
	}
	if !s.active(a) {
		return s.refuse(authn.Locked, authn.ReasonNotActivated)
	}
	return s.replace(ctx, a, current, next)
}

// replace keeps a password of its owner's choice in place of the one that was proven.
func (s *source) replace(ctx context.Context, a Account, current, next authn.Secret) error {
	if err := checkPassword(a.Username, current, next); err != nil {
		return err
	}
	sealed, err := s.sealed(ctx, a.Subject, next)
	if err != nil {
		return err
	}
	done, err := s.store.ReplaceLocalPassword(ctx, a.Subject, a.Sealed, Password{Sealed: sealed, Changed: s.now()})
	if err == nil && !done {
		return s.refuse(authn.Unavailable, "account_changed")
	}
	return storeError(err)
}

// check tells whether anybody could sign in here: the store answers, and has an account.
func (s *source) check(ctx context.Context) error {
	if s.store == nil {
		return authn.Errorf(authn.Unavailable, "store_unavailable", "break-glass accounts are in the store, which could not be opened")
	}
	accounts, err := s.store.LocalAccounts(ctx)
	if err == nil && len(accounts) == 0 {
		return authn.Errorf(authn.Unavailable, "no_accounts", "there is no break-glass account yet: idbridge breakglass add USER")
	}
	return storeError(err)
}

func storeError(err error) error {
	var known *authn.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return authn.Errorf(authn.Unavailable, "store_unavailable", "break-glass accounts: %w", err)
}

// newSubject is long enough never to come again.
func newSubject() string { return rand.Text() }

// Warnings are what an administrator should know of the accounts, one line each.
func Warnings(c Config, accounts []Account, now time.Time) (list []string) {
	for _, a := range slices.Clone(accounts) {
		age := now.Sub(a.Changed)
		switch {
		case a.MustChange:
			list = append(list, a.Username+": its owner has not chosen a password yet, so it could not sign in (idbridge breakglass passwd "+
				a.Username+")")
		case c.RotateAfter > 0 && age > c.RotateAfter:
			list = append(list, a.Username+": its password is "+days(age)+" old, rotate_after is "+days(c.RotateAfter)+
				" (idbridge breakglass passwd "+a.Username+")")
		}
		if !c.AlwaysActive && now.Before(a.ActiveUntil) {
			list = append(list, a.Username+": is active until "+a.ActiveUntil.UTC().Format(time.RFC3339)+
				" (idbridge breakglass deactivate "+a.Username+")")
		}
	}
	return list
}
