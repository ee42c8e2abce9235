package local

import (
	"context"
	"regexp"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Register is what administrators' commands need of the accounts beside Store.
type Register interface {
	// AddLocalAccount keeps a new account, and tells whether it did: not when the name is taken.
	AddLocalAccount(ctx context.Context, a Account) (bool, error)
	// RemoveLocalAccount removes an account, and tells whether this call did.
	RemoveLocalAccount(ctx context.Context, subject string) (bool, error)
	// ActivateLocalAccount sets until when an account is active; zero: not at all. It tells whether there is one.
	ActivateLocalAccount(ctx context.Context, subject string, until time.Time) (bool, error)
}

// Books are the accounts as a whole.
type Books interface {
	Store
	Register
}

// MaxActivation is the longest activation window: what is open for longer is no exception any more.
const MaxActivation = 7 * 24 * time.Hour

// Manager makes, changes and removes accounts for an administrator, who is trusted: no window or limit of attempts
// applies. It is safe for concurrent use.
type Manager struct {
	source   *source
	register Register
}

// NewManager makes a Manager.
func NewManager(books Books, sealer Sealer) *Manager {
	return newManager(books, sealer, presentCost(), time.Now)
}

func newManager(books Books, sealer Sealer, c cost, now func() time.Time) *Manager {
	return &Manager{&source{store: books, sealer: sealer, hasher: newHasher(c), now: now}, books}
}

// username is what an account may be called: what every keyboard has, as nobody knows where it will be typed.
var username = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$`)

// Add makes an account, which is not active, and its first password, shown once: its owner must choose another one.
// Unsuitable (bad_account_name, name_taken), Unavailable.
func (m *Manager) Add(ctx context.Context, name string) (Account, authn.Secret, error) {
	if !username.MatchString(name) {
		return Account{}, "", authn.Errorf(authn.Unsuitable, "bad_account_name",
			"%q: a letter or digit, then up to 99 of A-Z a-z 0-9 . _ - @", name)
	}
	a := Account{Subject: newSubject(), Username: name}
	first, err := m.first(ctx, &a)
	if err != nil {
		return Account{}, "", err
	}
	added, err := m.register.AddLocalAccount(ctx, a)
	if err == nil && !added {
		return Account{}, "", authn.Errorf(authn.Unsuitable, "name_taken", "there is a break-glass account %q already", name)
	}
	return a, first, storeError(err)
}

// first gives an account a random password that must be changed.
func (m *Manager) first(ctx context.Context, a *Account) (password authn.Secret, err error) {
	password = Propose()
	a.Password = Password{Changed: m.source.now(), MustChange: true}
	a.Sealed, err = m.source.sealed(ctx, a.Subject, password)
	return password, err
}

// Account returns an account by name. BadCredentials (unknown_user), Unavailable.
func (m *Manager) Account(ctx context.Context, name string) (Account, error) {
	a, found, err := m.source.lookUp(ctx, name)
	if err == nil && !found {
		err = authn.Errorf(authn.BadCredentials, "unknown_user", "there is no break-glass account %q", name)
	}
	return a, err
}

// List returns all accounts, by name. Unavailable.
func (m *Manager) List(ctx context.Context) ([]Account, error) {
	accounts, err := m.source.store.LocalAccounts(ctx)
	return accounts, storeError(err)
}

// Reset gives an account a new first password, shown once. BadCredentials (unknown_user), Unavailable.
func (m *Manager) Reset(ctx context.Context, name string) (Account, authn.Secret, error) {
	a, err := m.Account(ctx, name)
	if err != nil {
		return Account{}, "", err
	}
	was := a.Sealed
	password, err := m.first(ctx, &a)
	if err != nil {
		return Account{}, "", err
	}
	return a, password, m.swapped(m.source.store.ReplaceLocalPassword(ctx, a.Subject, was, a.Password))
}

// Change puts a password of its owner's choice in the place of the current one. BadCredentials (unknown_user,
// wrong_password), Unsuitable, Unavailable.
func (m *Manager) Change(ctx context.Context, name string, current, next authn.Secret) (Account, error) {
	a, err := m.Account(ctx, name)
	if err == nil {
		a, err = m.source.compare(ctx, a, current)
	}
	if err != nil {
		return Account{}, err
	}
	return a, m.source.replace(ctx, a, current, next)
}

// Activate opens a window of time in which the account may sign in, up to MaxActivation; 0 closes it. BadCredentials
// (unknown_user), Unsuitable (window_too_long), Unavailable.
func (m *Manager) Activate(ctx context.Context, name string, window time.Duration) (Account, error) {
	if window < 0 || window > MaxActivation {
		return Account{}, authn.Errorf(authn.Unsuitable, "window_too_long", "%s: at most %s", window, days(MaxActivation))
	}
	a, err := m.Account(ctx, name)
	if err != nil {
		return Account{}, err
	}
	if a.ActiveUntil = m.source.now().Add(window); window == 0 {
		a.ActiveUntil = time.Time{}
	}
	return a, m.swapped(m.register.ActivateLocalAccount(ctx, a.Subject, a.ActiveUntil))
}

// Remove removes an account. BadCredentials (unknown_user), Unavailable.
func (m *Manager) Remove(ctx context.Context, name string) (Account, error) {
	a, err := m.Account(ctx, name)
	if err != nil {
		return Account{}, err
	}
	return a, m.swapped(m.register.RemoveLocalAccount(ctx, a.Subject))
}

// swapped is the outcome of a change that somebody else may have been faster with.
func (m *Manager) swapped(done bool, err error) error {
	if err == nil && !done {
		return authn.Errorf(authn.Unavailable, "account_changed", "somebody else has changed the account meanwhile: try again")
	}
	return storeError(err)
}
