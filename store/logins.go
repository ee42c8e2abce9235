package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/idbridge/idbridge/authn"
)

var _ authn.LoginStore = (*Store)(nil)

// Login implements authn.LoginStore.
func (s *Store) Login(ctx context.Context, id string) (l authn.Login, found bool, err error) {
	var data []byte
	var version, expires int64
	found, err = s.get(ctx, `SELECT version, expires, data FROM logins WHERE id = $1`, []any{id}, &version, &expires, &data)
	if err != nil || !found {
		return authn.Login{}, false, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return authn.Login{}, false, fmt.Errorf("login: %w", err)
	}
	l.ID, l.Version, l.Expires = id, version, fromMicros(expires) // the columns count, as they do for the purge
	return l, true, nil
}

// SaveLogin implements authn.LoginStore. One statement, so the database decides a race.
func (s *Store) SaveLogin(ctx context.Context, l authn.Login) (bool, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return false, fmt.Errorf("login: %w", err)
	}
	if l.Version == 1 {
		return s.changeTelling(ctx, nothing, `INSERT INTO logins (id, version, expires, data) VALUES ($1, 1, $2, $3) ON CONFLICT DO NOTHING`,
			l.ID, micros(l.Expires), data)
	}
	return s.changeTelling(ctx, nothing, `UPDATE logins SET version = $1, expires = $2, data = $3 WHERE id = $4 AND version = $5`,
		l.Version, micros(l.Expires), data, l.ID, l.Version-1)
}

// EndLogin implements authn.LoginStore.
func (s *Store) EndLogin(ctx context.Context, id string, version int64) (bool, error) {
	return s.changeTelling(ctx, nothing, `DELETE FROM logins WHERE id = $1 AND version = $2`, id, version)
}

// PurgeBrowser forgets logins, sessions and tokens that were over before a time.
func (s *Store) PurgeBrowser(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		removed = 0
		for _, table := range []string{"logins", "sessions", "tokens"} {
			n, err := t.exec(ctx, `DELETE FROM `+table+` WHERE expires < $1`, micros(before))
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	return removed, err
}
