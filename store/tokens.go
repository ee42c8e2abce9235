package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/idbridge/idbridge/authn"
)

var (
	_ authn.TokenStore  = (*Store)(nil)
	_ authn.TokenRoster = (*Store)(nil)
)

// tokenData is what of a token never changes and is never searched for.
type tokenData struct {
	Names        []string
	Identity     authn.Identity
	Label        string
	Environments []string
}

// AddToken implements authn.TokenStore.
func (s *Store) AddToken(ctx context.Context, n authn.Token) error {
	data, err := json.Marshal(tokenData{n.Names, n.Identity, n.Label, n.Environments})
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	_, err = s.changeTelling(ctx, nothing, `INSERT INTO tokens
		(hash, id, it_user, created, expires, first_use_by, revoked, first_used, last_used, last_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, '', $7)`,
		n.Hash, n.ID, n.User, micros(n.Created), micros(n.Expires), micros(n.FirstUseBy), data)
	return err
}

const tokenColumns = `hash, id, it_user, created, expires, first_use_by, revoked, first_used, last_used, last_at, data`

func scanToken(scan func(...any) error) (t authn.Token, err error) {
	var data []byte
	times := [...]*time.Time{&t.Created, &t.Expires, &t.FirstUseBy, &t.Revoked, &t.FirstUsed, &t.LastUsed}
	var us [len(times)]int64
	err = scan(&t.Hash, &t.ID, &t.User, &us[0], &us[1], &us[2], &us[3], &us[4], &us[5], &t.LastEnvironment, &data)
	if err != nil {
		return t, err
	}
	for i, at := range times {
		*at = fromMicros(us[i])
	}
	var d tokenData
	if err := json.Unmarshal(data, &d); err != nil {
		return t, fmt.Errorf("token: %w", err)
	}
	t.Names, t.Identity, t.Label, t.Environments = d.Names, d.Identity, d.Label, d.Environments
	return t, nil
}

// UseToken implements authn.TokenStore.
func (s *Store) UseToken(ctx context.Context, hash string, use func(*authn.Token) error) (found bool, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		found = false
		if err := t.lock(ctx, "token "+hash); err != nil {
			return err
		}
		var token authn.Token
		err := t.each(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE hash = $1`, []any{hash},
			func(scan func(...any) error) (err error) {
				found = true
				token, err = scanToken(scan)
				return err
			})
		if err != nil || !found {
			return err
		}
		if err := use(&token); err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE tokens SET first_used = $1, last_used = $2, last_at = $3 WHERE hash = $4`,
			micros(token.FirstUsed), micros(token.LastUsed), token.LastEnvironment, hash)
		return err
	})
	return found && err == nil, err
}

// Tokens implements authn.TokenRoster.
func (s *Store) Tokens(ctx context.Context, user string, now time.Time) (list []authn.Token, err error) {
	const query = `SELECT ` + tokenColumns + ` FROM tokens WHERE it_user = $1 AND revoked = 0 AND expires > $2
		AND (first_used > 0 OR first_use_by > $2) ORDER BY created DESC, id`
	err = s.each(ctx, query, []any{user, micros(now)}, func(scan func(...any) error) error {
		t, err := scanToken(scan)
		list = append(list, t)
		return err
	})
	return list, err
}

// RevokeTokens implements authn.TokenRoster. A use under way on PostgreSQL waits for the row or is waited for.
func (s *Store) RevokeTokens(ctx context.Context, user, id string, at time.Time) (revoked int, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `UPDATE tokens SET revoked = $1 WHERE it_user = $2 AND revoked = 0 AND ($3 = '' OR id = $3)`,
			micros(at), user, id)
		revoked = int(n)
		return err
	})
	return revoked, err
}
