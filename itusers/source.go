package itusers

import (
	"context"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Source is where IT users, or their ids, come from.
type Source interface {
	// Users hands every user whom the source knows to take, once each, and returns nil only when these were all: what was
	// cut off is an error. An error of take ends it and is returned. Unavailable, Internal.
	Users(ctx context.Context, take func(Listed) error) error
	// Check tells whether the source could be read now, and what it is, for people.
	Check(ctx context.Context) (seen string, err error)
}

// Listed is what a source says of one user. About what is nil or missing it says nothing.
type Listed struct {
	Ref         string // the source's own name of the user, which never changes; empty: it knows none but the user name
	Username    string
	Name, Email *string
	Active      *bool
	IDs         map[string]int32 // by environment
}

// Owns says what a source decides.
type Owns string

// What a source may own.
const (
	// OwnsNothing: it adds users and changes what it says something about. An id that another user holds is refused, and
	// who is missing stays.
	OwnsNothing Owns = "nothing"
	// OwnsIDs: it says which id a user who is known here has, and nothing else. It takes an id away from who has it no more.
	OwnsIDs Owns = "ids"
	// OwnsUsers: as both above; besides, it renames users, and who is missing from it is deactivated.
	OwnsUsers Owns = "users"
)

// Limit is how much one run may change without somebody who says so.
type Limit struct {
	Percent int // of the users that the source owns
	Floor   int // ... but so many always, as a tenth of few users is nobody
}

// Of is how many changes are allowed where so many users are owned.
func (l Limit) Of(owned int) int { return max(l.Floor, (owned*l.Percent+99)/100) }

// Feed is one configured source and what it may do here.
type Feed struct {
	ID           string
	Type         string // for people
	Source       Source
	Owns         Owns
	Environments []string // those that are known
	Limit        Limit
	Protected    []string      // user names that no run changes
	Every        time.Duration // 0: by hand only
}

func (f Feed) protects(u User) bool {
	for _, name := range f.Protected {
		if u.Key != "" && authn.FoldName(name) == authn.FoldName(u.Username) {
			return true
		}
	}
	return false
}

// tidy makes a name or an e-mail address of a source fit to be shown. Nobody is kept out for a space behind it.
func tidy(text *string) *string {
	if text == nil {
		return nil
	}
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, *text))
	for len(clean) > authn.MaxUsername {
		runes := []rune(clean)
		clean = string(runes[:len(runes)-1])
	}
	return &clean
}
