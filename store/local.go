package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/local"
)

var _ local.Books = (*Store)(nil)

const localAccount = `SELECT subject, username, sealed, changed, must_change, active_until FROM local_accounts`

func scanLocal(scan func(...any) error) (a local.Account, err error) {
	var changed, until int64
	err = scan(&a.Subject, &a.Username, &a.Sealed, &changed, &a.MustChange, &until)
	a.Changed, a.ActiveUntil = fromMicros(changed), fromMicros(until)
	return a, err
}

// LocalAccount implements local.Store.
func (s *Store) LocalAccount(ctx context.Context, folded string) (a local.Account, found bool, err error) {
	err = s.each(ctx, localAccount+` WHERE folded = $1`, []any{folded}, func(scan func(...any) error) (err error) {
		a, err = scanLocal(scan)
		found = err == nil
		return err
	})
	return a, found, err
}

// LocalAccounts implements local.Store.
func (s *Store) LocalAccounts(ctx context.Context) (list []local.Account, err error) {
	err = s.each(ctx, localAccount+` ORDER BY folded`, nil, func(scan func(...any) error) error {
		a, err := scanLocal(scan)
		list = append(list, a)
		return err
	})
	return list, err
}

// ReplaceLocalPassword implements local.Store. The comparison and the update are one statement, so the database decides a
// race.
func (s *Store) ReplaceLocalPassword(ctx context.Context, subject string, was []byte, next local.Password) (bool, error) {
	const query = `UPDATE local_accounts SET sealed = $1, changed = $2, must_change = $3 WHERE subject = $4 AND sealed = $5`
	return s.change(ctx, query, next.Sealed, micros(next.Changed), flag(next.MustChange), subject, was)
}

// AddLocalAccount implements local.Register.
func (s *Store) AddLocalAccount(ctx context.Context, a local.Account) (bool, error) {
	const query = `INSERT INTO local_accounts (subject, username, folded, sealed, changed, must_change, active_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`
	return s.change(ctx, query, a.Subject, a.Username, authn.FoldName(a.Username), a.Sealed, micros(a.Changed),
		flag(a.MustChange), micros(a.ActiveUntil))
}

// RemoveLocalAccount implements local.Register.
func (s *Store) RemoveLocalAccount(ctx context.Context, subject string) (bool, error) {
	return s.change(ctx, `DELETE FROM local_accounts WHERE subject = $1`, subject)
}

// ActivateLocalAccount implements local.Register.
func (s *Store) ActivateLocalAccount(ctx context.Context, subject string, until time.Time) (bool, error) {
	return s.change(ctx, `UPDATE local_accounts SET active_until = $1 WHERE subject = $2`, micros(until), subject)
}

// LocalPasswords is the shelf of the break-glass accounts' hashes, for keyring.Ring.Reseal.
func (s *Store) LocalPasswords() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM local_accounts`,
		page:  `SELECT subject, '', sealed FROM local_accounts WHERE subject > $1 ORDER BY subject LIMIT $2`,
		put:   `UPDATE local_accounts SET sealed = $1 WHERE subject = $2 AND sealed = $3`,
		ad:    func(_, subject string) []byte { return local.SealAD(subject) },
	}
}
