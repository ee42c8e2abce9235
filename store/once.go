package store

import (
	"context"
	"time"
)

// UseOnce tells whether this is the first use of a key of that kind, and makes every later one not the first: of any
// number of callers on any number of nodes exactly one is. The key is kept until it is purged after expires. On an
// error the caller must refuse: it may or may not have been the first.
func (s *Store) UseOnce(ctx context.Context, kind, key string, expires time.Time) (first bool, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `INSERT INTO single_use (kind, key, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			kind, key, micros(expires))
		first = n == 1
		return err
	})
	return first && err == nil, err
}

// PurgeUsed forgets used keys that expired before a time.
func (s *Store) PurgeUsed(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		removed, err = t.exec(ctx, `DELETE FROM single_use WHERE expires < $1`, micros(before))
		return err
	})
	return removed, err
}
