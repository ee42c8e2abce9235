package itusers

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Manager changes IT users for an administrator. User names are taken in upper or lower case.
type Manager struct {
	Store Registry
	Now   func() time.Time
}

// List returns the selected users, sorted by user name. Unavailable.
func (m Manager) List(ctx context.Context, f Filter) ([]User, error) {
	users, err := m.Store.Users(ctx, f)
	return users, storeError(err)
}

// Show returns one user. NotMapped (no_it_user), Unavailable.
func (m Manager) Show(ctx context.Context, username string) (User, error) {
	name := authn.FoldName(username)
	if name == "" { // a filter by no name finds everybody
		return User{}, unknown(username)
	}
	users, err := m.Store.Users(ctx, Filter{Username: name})
	switch {
	case err != nil:
		return User{}, storeError(err)
	case len(users) == 0:
		return User{}, unknown(username)
	}
	return users[0], nil
}

// SetActive enables or disables a user. NotMapped (no_it_user), Unavailable.
func (m Manager) SetActive(ctx context.Context, username string, active bool) (Change, error) {
	return m.change(ctx, username, func(u *User) error {
		if u.Active == active {
			return errUnchanged
		}
		u.Active = active
		return nil
	})
}

// Link makes an account the user's one account at its provider, in place of any other. name is the account's user name,
// for people to read. NotMapped (no_it_user; subject_linked_elsewhere: unlink it there first), Unavailable.
func (m Manager) Link(ctx context.Context, username, provider, subject, name string) (Change, error) {
	if provider == "" || subject == "" {
		return Change{}, authn.Errorf(authn.NotMapped, "incomplete_link", "a link needs a provider and a subject")
	}
	return m.change(ctx, username, func(u *User) error {
		link := Link{provider, subject, name, m.Now()}
		for i, l := range u.Links {
			switch {
			case l.Provider != provider:
			case l.Subject == subject:
				return errUnchanged
			default:
				u.Links[i] = link
				return nil
			}
		}
		u.Links = append(u.Links, link)
		return nil
	})
}

// Unlink removes the user's link at a provider; the next account that matches by name is linked anew. NotMapped
// (no_it_user, not_linked), Unavailable.
func (m Manager) Unlink(ctx context.Context, username, provider string) (Change, error) {
	return m.change(ctx, username, func(u *User) error {
		n := len(u.Links)
		u.Links = slices.DeleteFunc(u.Links, func(l Link) bool { return l.Provider == provider })
		if len(u.Links) == n {
			return authn.Errorf(authn.NotMapped, "not_linked", "IT user %q has no account at provider %q", u.Username, provider)
		}
		return nil
	})
}

// errUnchanged ends a change without a write.
var errUnchanged = errors.New("nothing to change")

func unknown(username string) error {
	return authn.Errorf(authn.NotMapped, "no_it_user", "no IT user is named %q", username)
}

func (m Manager) change(ctx context.Context, username string, change func(*User) error) (c Change, err error) {
	err = m.Store.ChangeUser(ctx, authn.FoldName(username), func(u *User) error {
		if u.Key == "" {
			return unknown(username)
		}
		c.Before = u.clone()
		err := change(u)
		c.After = u.clone()
		return err
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return Change{}, storeError(err)
	}
	return c, nil
}
