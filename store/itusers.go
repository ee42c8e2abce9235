package store

import (
	"context"
	"iter"
	"slices"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

var (
	_ itusers.Finder   = (*Store)(nil)
	_ itusers.Registry = (*Store)(nil)
)

// onEnvironment are the columns of an authn.ITUser; u is it_users and i its id on one environment.
const onEnvironment = `u.key, u.username, u.active, COALESCE(i.id, 0), ` + enrolled

// enrolled tells whether user u has a second factor.
const enrolled = `EXISTS (SELECT 1 FROM factors f WHERE f.it_user = u.key AND f.confirmed > 0)`

// FindLinked implements itusers.Finder. It is on the path of every sign-in: one statement, all of it by key, or none.
func (s *Store) FindLinked(ctx context.Context, provider, subject, environment string) (authn.ITUser, error) {
	return s.cache.user(linkKey{provider, subject, environment}, func() (authn.ITUser, error) {
		return s.findLinked(ctx, provider, subject, environment)
	})
}

func (s *Store) findLinked(ctx context.Context, provider, subject, environment string) (authn.ITUser, error) {
	const query = `SELECT ` + onEnvironment + ` FROM links l
		JOIN it_users u ON u.key = l.it_user
		LEFT JOIN it_user_ids i ON i.it_user = u.key AND i.environment = $1
		WHERE l.provider = $2 AND l.subject = $3`
	u := authn.ITUser{Linked: true}
	found, err := s.get(ctx, query, []any{environment, provider, subject},
		&u.Key, &u.Username, &u.Active, &u.UserID, &u.Enrolled)
	if !found {
		return authn.ITUser{}, err
	}
	return u, nil
}

// FindNamed implements itusers.Finder.
func (s *Store) FindNamed(
	ctx context.Context, folded, provider, environment string,
) (u authn.ITUser, at itusers.Standing, err error) {
	const query = `SELECT ` + onEnvironment + `, COALESCE(l.subject, ''), ` + linkedElsewhere + ` FROM it_users u
		LEFT JOIN it_user_ids i ON i.it_user = u.key AND i.environment = $1
		LEFT JOIN links l ON l.it_user = u.key AND l.provider = $2
		WHERE u.folded = $3`
	found, err := s.get(ctx, query, []any{environment, provider, folded},
		&u.Key, &u.Username, &u.Active, &u.UserID, &u.Enrolled, &at.Subject, &at.Elsewhere)
	if !found {
		return authn.ITUser{}, itusers.Standing{}, err
	}
	return u, at, nil
}

// linkedElsewhere tells whether user u has a link at a provider other than $2.
const linkedElsewhere = `EXISTS (SELECT 1 FROM links x WHERE x.it_user = u.key AND x.provider <> $2)`

// AddLink implements itusers.Finder. The two unique keys of the table decide a race at one provider, the lock one between
// providers.
func (s *Store) AddLink(
	ctx context.Context, user string, l itusers.Link, alone bool,
) (holder, subject string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		holder, subject = "", ""
		if err := tx.lock(ctx, "link "+user); err != nil {
			return err
		}
		elsewhere := false
		if alone {
			const query = `SELECT ` + linkedElsewhere + ` FROM it_users u WHERE u.key = $1`
			if _, err := tx.get(ctx, query, []any{user, l.Provider}, &elsewhere); err != nil {
				return err
			}
		}
		if !elsewhere {
			if _, err := insertLink(ctx, tx, user, l); err != nil {
				return err
			}
		}
		holder, subject, err = standing(ctx, tx, user, l)
		return err
	})
	return holder, subject, err
}

// standing is the link that stands: the account's, or else the user's. With one statement for both, SQLite would look at all links
// of the provider.
func standing(ctx context.Context, tx *tx, user string, l itusers.Link) (holder, subject string, err error) {
	const ofAccount = `SELECT it_user, subject FROM links WHERE provider = $1 AND subject = $2`
	found, err := tx.get(ctx, ofAccount, []any{l.Provider, l.Subject}, &holder, &subject)
	if err != nil || found {
		return holder, subject, err
	}
	const ofUser = `SELECT it_user, subject FROM links WHERE provider = $1 AND it_user = $2`
	_, err = tx.get(ctx, ofUser, []any{l.Provider, user}, &holder, &subject)
	return holder, subject, err
}

// insertLink adds nothing when there is no such user, or when the account or the user is linked already.
func insertLink(ctx context.Context, tx *tx, user string, l itusers.Link) (added bool, err error) {
	const query = `INSERT INTO links (provider, subject, it_user, username, since)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), key, CAST($3 AS TEXT), CAST($4 AS BIGINT) FROM it_users
		WHERE key = $5
		ON CONFLICT DO NOTHING`
	n, err := tx.exec(ctx, query, l.Provider, l.Subject, l.Username, micros(l.Since), user)
	return n > 0, err
}

// MappedUsers implements part of authn.Ground.
func (s *Store) MappedUsers(ctx context.Context, env authn.Environment) (n int, err error) {
	if env.IDs == authn.IDsModule {
		_, err = s.get(ctx, `SELECT COUNT(*) FROM it_users WHERE active = 1`, nil, &n)
		return n, err
	}
	const query = `SELECT COUNT(*) FROM it_user_ids i JOIN it_users u ON u.key = i.it_user
		WHERE i.environment = $1 AND u.active = 1`
	_, err = s.get(ctx, query, []any{env.Name}, &n)
	return n, err
}

// Users implements itusers.Registry.
func (s *Store) Users(ctx context.Context, f itusers.Filter) ([]itusers.User, error) {
	return selectUsers(ctx, s, f)
}

// CountUsers counts IT users, for an overview.
func (s *Store) CountUsers(ctx context.Context) (c itusers.Counts, err error) {
	const query = `SELECT COUNT(*), COUNT(CASE WHEN u.active = 0 THEN 1 END),
		COUNT(CASE WHEN u.active = 1 AND ` + lacksLink + ` THEN 1 END), COUNT(CASE WHEN u.active = 1 AND ` + lacksFactor + ` THEN 1 END)
		FROM it_users u`
	_, err = s.get(ctx, query, nil, &c.All, &c.Inactive, &c.Unlinked, &c.NoFactor)
	return c, err
}

// ChangeUser implements itusers.Registry.
func (s *Store) ChangeUser(ctx context.Context, folded string, change func(*itusers.User) error) error {
	return s.write(ctx, func(ctx context.Context, tx *tx) error {
		if err := tx.lock(ctx, "it_users"); err != nil {
			return err
		}
		users, err := selectUsers(ctx, tx, itusers.Filter{Username: folded})
		if err != nil {
			return err
		}
		users = append(users, itusers.User{}) // without key when there is none
		before := slices.Clone(users[0].Links)
		if err := change(&users[0]); err != nil {
			return err
		}
		if err := putUsers(ctx, tx, users[:1]); err != nil {
			return err
		}
		return putLinks(ctx, tx, users[0], before)
	})
}

// putLinks writes only what differs, so that a link that stays keeps its row.
func putLinks(ctx context.Context, tx *tx, u itusers.User, before []itusers.Link) error {
	for _, l := range before {
		if slices.Contains(u.Links, l) {
			continue
		}
		const remove = `DELETE FROM links WHERE provider = $1 AND subject = $2`
		if _, err := tx.exec(ctx, remove, l.Provider, l.Subject); err != nil {
			return err
		}
	}
	for _, l := range u.Links {
		if slices.Contains(before, l) {
			continue
		}
		added, err := insertLink(ctx, tx, u.Key, l)
		if err != nil {
			return err
		}
		if !added {
			return authn.Errorf(authn.NotMapped, "subject_linked_elsewhere",
				"the account %q at provider %q is linked to another IT user; unlink it there first", l.Subject, l.Provider)
		}
	}
	return nil
}

// ChangeUsers implements itusers.Registry.
func (s *Store) ChangeUsers(ctx context.Context, change func([]itusers.User) (iter.Seq[itusers.User], error)) error {
	return s.write(ctx, func(ctx context.Context, tx *tx) error {
		if err := tx.lock(ctx, "it_users"); err != nil {
			return err
		}
		users, err := selectUsers(ctx, tx, itusers.Filter{})
		if err != nil {
			return err
		}
		next, err := change(users)
		if err != nil {
			return err
		}
		return putUsers(ctx, tx, slices.Collect(next))
	})
}
