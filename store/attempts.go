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

// Attempts implements authn.AttemptStore with one point read, or none.
func (s *Store) Attempts(ctx context.Context, key string) (authn.Attempts, error) {
	header, ok := s.cache.header()
	if !ok {
		return attempts(ctx, s, key)
	}
	a, found, all := s.cache.attemptsUnder(header, key)
	switch {
	case found:
		return a, nil
	case !all:
		s.cache.reads.Add(1)
		return attempts(ctx, s, key)
	}
	rows, err := s.fewAttempts(ctx)
	if err != nil {
		return a, err
	}
	if a, found = rows[key]; !found && len(rows) > maxAttempts {
		a, err = attempts(ctx, s, key)
	}
	s.cache.keepAttempts(header, rows)
	return a, err
}

// fewAttempts reads all rows, or one more than the cache takes.
func (s *Store) fewAttempts(ctx context.Context) (map[string]authn.Attempts, error) {
	s.cache.reads.Add(1)
	rows := map[string]authn.Attempts{}
	const query = `SELECT key, failures, last_failure, blocked_until FROM attempts LIMIT $1`
	err := s.each(ctx, query, []any{maxAttempts + 1}, func(scan func(...any) error) error {
		var key string
		var a authn.Attempts
		var last, until int64
		err := scan(&key, &a.Failures, &last, &until)
		a.LastFailure, a.BlockedUntil = fromMicros(last), fromMicros(until)
		rows[key] = a
		return err
	})
	return rows, err
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
	var after authn.Attempts
	changed := func(c *cache) { c.changeAttempts(key, after) }
	return s.writeTelling(ctx, changed, func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, "attempts:"+key); err != nil {
			return err
		}
		before, err := attempts(ctx, t, key)
		if err != nil {
			return err
		}
		if after, err = change(before); err != nil {
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
