package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/authn"
)

var _ authn.AttemptStore = (*Store)(nil)

const selectAttempts = `SELECT failures, last_failure, blocked_until FROM attempts WHERE key = $1`

// getter is a Store or a tx.
type getter interface {
	get(ctx context.Context, query string, args []any, dest ...any) (bool, error)
}

// Attempts implements authn.AttemptStore with one point read.
func (s *Store) Attempts(ctx context.Context, key string) (authn.Attempts, error) {
	return attempts(ctx, s, key)
}

func attempts(ctx context.Context, from getter, key string) (a authn.Attempts, err error) {
	var last, until int64
	_, err = from.get(ctx, selectAttempts, []any{key}, &a.Failures, &last, &until)
	a.LastFailure, a.BlockedUntil = fromMicros(last), fromMicros(until)
	return a, err
}

// UpdateAttempts implements authn.AttemptStore.
func (s *Store) UpdateAttempts(
	ctx context.Context, key string, change func(authn.Attempts) (authn.Attempts, error),
) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, "attempts:"+key); err != nil {
			return err
		}
		before, err := attempts(ctx, t, key)
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		return putAttempts(ctx, t, key, after)
	})
}

func putAttempts(ctx context.Context, t *tx, key string, a authn.Attempts) error {
	if a == (authn.Attempts{}) {
		_, err := t.exec(ctx, `DELETE FROM attempts WHERE key = $1`, key)
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO attempts (key, failures, last_failure, blocked_until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, last_failure = excluded.last_failure,
		blocked_until = excluded.blocked_until`, key, a.Failures, micros(a.LastFailure), micros(a.BlockedUntil))
	return err
}

// PurgeAttempts removes what no longer matters: the last failure is older than before and no block reaches beyond it.
func (s *Store) PurgeAttempts(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		removed, err = t.exec(ctx, `DELETE FROM attempts WHERE last_failure < $1 AND blocked_until < $1`, micros(before))
		return err
	})
	return removed, err
}
