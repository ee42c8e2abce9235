package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/insight"
)

var _ insight.Leases = (*Store)(nil)

// Lease implements insight.Leases.
func (s *Store) Lease(ctx context.Context, name, holder string, now, until time.Time) (held bool, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		const take = `INSERT INTO leases (name, holder, expires) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE
			SET holder = excluded.holder, expires = excluded.expires WHERE leases.holder = excluded.holder OR leases.expires <= $4`
		n, err := t.exec(ctx, take, name, holder, micros(until), micros(now))
		held = n == 1
		return err
	})
	return held && err == nil, err
}
