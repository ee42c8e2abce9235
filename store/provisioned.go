package store

import (
	"context"
	"strings"

	"github.com/idbridge/idbridge/itusers/lifetime"
)

var _ lifetime.Ledger = (*Store)(nil)

// Provisioned implements lifetime.Ledger.
func (s *Store) Provisioned(ctx context.Context, target string) (list []lifetime.Provisioned, err error) {
	const query = `SELECT key, provider, subject, username, active, teams FROM provisioned WHERE target = $1 ORDER BY provider, subject`
	err = s.each(ctx, query, []any{target}, func(scan func(...any) error) error {
		var p lifetime.Provisioned
		var teams string
		err := scan(&p.Key, &p.Provider, &p.Subject, &p.Username, &p.Active, &teams)
		if teams != "" {
			p.Teams = strings.Split(teams, ",") // keys are GUIDs
		}
		list = append(list, p)
		return err
	})
	return list, err
}

// PutProvisioned implements lifetime.Ledger.
func (s *Store) PutProvisioned(ctx context.Context, run, target string, p lifetime.Provisioned) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, tx *tx) error {
		if err := holdsLease(ctx, tx, run); err != nil {
			return err
		}
		const put = `INSERT INTO provisioned (target, key, provider, subject, username, active, teams) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (target, provider, subject) DO UPDATE SET key = excluded.key, username = excluded.username,
			active = excluded.active, teams = excluded.teams`
		_, err := tx.exec(ctx, put, target, p.Key, p.Provider, p.Subject, p.Username, flag(p.Active), strings.Join(p.Teams, ","))
		return err
	})
}

// DropProvisioned implements lifetime.Ledger.
func (s *Store) DropProvisioned(ctx context.Context, run, target string, p lifetime.Provisioned) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, tx *tx) error {
		if err := holdsLease(ctx, tx, run); err != nil {
			return err
		}
		const drop = `DELETE FROM provisioned WHERE target = $1 AND provider = $2 AND subject = $3`
		_, err := tx.exec(ctx, drop, target, p.Provider, p.Subject)
		return err
	})
}
