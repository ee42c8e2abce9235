// Package itusers keeps the platform's IT users: their ids on each environment, and which account at which provider
// each of them is.
//
// It decides which IT user an account is, imports IT users from files and changes single ones for an administrator. It
// leaves to others whether an IT user may sign in (authn judges activity and ids), where rows are kept (store) and the
// record of changes (the caller audits the Changes that every call returns).
package itusers

import (
	"context"
	"iter"
	"maps"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// User is one IT user with everything that is kept of them.
type User struct {
	Key      string // random, never shown to the platform, never reused
	Username string // as the platform spells it; unique without regard to case
	Name     string
	Email    string
	Active   bool
	IDs      map[string]int32 // environment → the user's id there
	Links    []Link           // at most one per provider
	Enrolled bool             // has a confirmed second factor; what is changed here is not kept
}

// Link says that an account is an IT user. The account is named by what never changes, not by its user name.
type Link struct {
	Provider string
	Subject  string
	Username string // as the provider spelled it when the link was made; for people to read
	Since    time.Time
}

// Filter selects users; the zero value selects all.
type Filter struct {
	Username    string // exactly this one, folded with authn.FoldName
	Text        string // in user name, name or e-mail, in upper or lower case
	Environment string // only those with an id there
	ID          int32  // only the one with this id in Environment
	Inactive    bool   // only those who are not active
	Active      bool   // only those who are
	Unlinked    bool   // only those without any link
	NoFactor    bool   // only those without a second factor
	After       string // only user names that sort after this one: the last of the page before
	Limit       int    // 0: no limit
}

// Finder is what a sign-in needs of the store.
type Finder interface {
	// FindLinked returns the IT user an account is linked to, with the id on the environment, in one read. The key is
	// empty when there is none.
	FindLinked(ctx context.Context, provider, subject, environment string) (authn.ITUser, error)
	// FindNamed returns the IT user of a user name (folded with authn.FoldName) as FindLinked does, and how it is linked
	// already.
	FindNamed(ctx context.Context, folded, provider, environment string) (authn.ITUser, Standing, error)
	// AddLink links an account to the user, unless the account or the user at that provider is linked already, or with
	// alone the user is linked at another provider. It returns the key and the subject of the link that stands at the
	// provider afterwards: its own, or the one in the way. The key is empty when there is no such link.
	AddLink(ctx context.Context, user string, link Link, alone bool) (holder, subject string, err error)
}

// Standing is how an IT user is linked already.
type Standing struct {
	Subject   string // at the provider asked for; empty for none
	Elsewhere bool   // at another provider
}

// Registry is what managing IT users needs of the store. An error from change is returned as it is and nothing is
// written.
type Registry interface {
	// Users returns the selected users, sorted by folded user name.
	Users(ctx context.Context, f Filter) ([]User, error)
	// ChangeUser replaces one user, found by folded user name, by what change makes of them, in one transaction. change
	// gets a User without key when there is none; it may be called more than once. NotMapped (subject_linked_elsewhere)
	// when a link it adds is another user's.
	ChangeUser(ctx context.Context, folded string, change func(*User) error) error
	// ChangeUsers hands all users, without their links, to change and keeps the ones it returns, new or changed, in one
	// transaction. Links stay as they are. change may be called more than once; ids may be exchanged between users.
	ChangeUsers(ctx context.Context, change func([]User) (iter.Seq[User], error)) error
}

// Counts are how many IT users there are.
type Counts struct {
	All      int
	Inactive int
	Unlinked int // active, and without any link
	NoFactor int // active, and without a second factor
}

// Change is what became of a user, for the audit. Before has no key when the user is new.
type Change struct{ Before, After User }

func (u User) clone() User {
	u.IDs = maps.Clone(u.IDs)
	u.Links = append([]Link(nil), u.Links...)
	return u
}
