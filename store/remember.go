package store

import (
	"context"

	"github.com/idbridge/idbridge/authn"
)

// rememberAtOnce is how many users one transaction of RememberUsers reads: other writes wait for it, a millisecond or two.
const rememberAtOnce = 200

// RememberUsers reads the IT users who have signed in before, so that the next time they need not be looked for one by
// one, which costs several times as much. It is for a program that begins to serve. On PostgreSQL nothing is remembered.
func (s *Store) RememberUsers(ctx context.Context, environments []string) error {
	if s.cache == nil {
		return nil
	}
	n := 0
	for _, e := range environments {
		for last, more := (linkKey{environment: e}), true; more && n < maxUsers; {
			some, err := s.rememberUsers(ctx, last)
			if err != nil {
				return err
			}
			if more = len(some) == rememberAtOnce; more {
				last = some[len(some)-1].key
			}
			n += len(some)
		}
	}
	return nil
}

type linkedUser struct {
	key  linkKey
	user authn.ITUser
}

// rememberUsers reads those that come after a link. It does so as a write: while it holds the database's lock nobody can
// change what it has read, and the writer knows under which header that counts.
func (s *Store) rememberUsers(ctx context.Context, last linkKey) (some []linkedUser, err error) {
	const query = `SELECT l.provider, l.subject, ` + onEnvironment + ` FROM links l
		JOIN it_users u ON u.key = l.it_user
		LEFT JOIN it_user_ids i ON i.it_user = u.key AND i.environment = $1
		WHERE (l.provider, l.subject) > ($2, $3) ORDER BY l.provider, l.subject LIMIT $4`
	remember := func(c *cache) {
		for _, one := range some {
			makeRoom(c.users, one.key, maxUsers)
			c.users[one.key] = one.user
		}
	}
	err = s.writeTelling(ctx, remember, func(ctx context.Context, t *tx) error {
		args := []any{last.environment, last.provider, last.subject, rememberAtOnce}
		return t.each(ctx, query, args, func(scan func(...any) error) error {
			one := linkedUser{linkKey{environment: last.environment}, authn.ITUser{Linked: true}}
			u := &one.user
			err := scan(&one.key.provider, &one.key.subject, &u.Key, &u.Username, &u.Active, &u.UserID, &u.Enrolled)
			some = append(some, one)
			return err
		})
	})
	return some, err
}
