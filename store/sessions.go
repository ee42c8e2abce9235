package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/idbridge/idbridge/authn"
)

var (
	_ authn.SessionStore  = (*Store)(nil)
	_ authn.SessionRoster = (*Store)(nil)
)

// AddSession implements authn.SessionStore.
func (s *Store) AddSession(ctx context.Context, n authn.Session, replaces string) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	return s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM sessions WHERE id = $1`, replaces); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO sessions (id, it_user, provider, subject, name, seen, expires, data)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, n.ID, n.User, n.Identity.Provider, n.Identity.Subject,
			n.Identity.Session, micros(n.Seen), micros(n.Expires), data)
		return err
	})
}

// Session implements authn.SessionStore. That the IT user is active is part of the statement: disabling one ends all of
// their sessions at once, on every node.
func (s *Store) Session(ctx context.Context, id string) (session authn.Session, found bool, err error) {
	const query = `SELECT s.id, s.seen, s.data FROM sessions s JOIN it_users u ON u.key = s.it_user
		WHERE s.id = $1 AND u.active = 1`
	err = s.each(ctx, query, []any{id}, func(scan func(...any) error) error {
		found = true
		session, err = scanSession(scan)
		return err
	})
	return session, found && err == nil, err
}

func scanSession(scan func(...any) error) (session authn.Session, err error) {
	var id string
	var seen int64
	var data []byte
	if err := scan(&id, &seen, &data); err != nil {
		return session, err
	}
	if err := json.Unmarshal(data, &session); err != nil {
		return session, fmt.Errorf("session: %w", err)
	}
	session.ID, session.Seen = id, fromMicros(seen)
	return session, nil
}

// SaveSession implements authn.SessionStore.
func (s *Store) SaveSession(ctx context.Context, n authn.Session) (bool, error) {
	data, err := json.Marshal(n)
	if err != nil {
		return false, fmt.Errorf("session: %w", err)
	}
	return s.changeTelling(ctx, nothing, `UPDATE sessions SET seen = $1, data = $2 WHERE id = $3`, micros(n.Seen), data, n.ID)
}

// Sessions implements authn.SessionRoster.
func (s *Store) Sessions(ctx context.Context, user string) (list []authn.Session, err error) {
	err = s.each(ctx, `SELECT id, seen, data FROM sessions WHERE it_user = $1 ORDER BY seen DESC, id`, []any{user},
		func(scan func(...any) error) error {
			session, err := scanSession(scan)
			list = append(list, session)
			return err
		})
	return list, err
}

// EndSessions implements authn.SessionRoster.
func (s *Store) EndSessions(ctx context.Context, user, id string) (ended int, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM sessions WHERE it_user = $1 AND ($2 = '' OR id = $2)`, user, id)
		ended = int(n)
		return err
	})
	return ended, err
}

// EndAccountSessions ends the sessions of an account at a provider, as its single logout wants it: those that the
// provider calls by that name, all of them when the name is empty. It tells how many there were.
func (s *Store) EndAccountSessions(ctx context.Context, provider, subject, name string) (ended int, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM sessions WHERE provider = $1 AND subject = $2 AND ($3 = '' OR name = $3)`,
			provider, subject, name)
		ended = int(n)
		return err
	})
	return ended, err
}
