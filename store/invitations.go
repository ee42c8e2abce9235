package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/mfa"
)

// NameDevice implements mfa.ManagementStore.
func (s *Store) NameDevice(ctx context.Context, user, device, name string) (bool, error) {
	return s.change(ctx, `UPDATE factors SET name = $1 WHERE id = $2 AND it_user = $3`, name, device, user)
}

// RemoveDevice implements mfa.ManagementStore.
func (s *Store) RemoveDevice(ctx context.Context, user, device string, last bool) (removed bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		removed = false
		if err := tx.lock(ctx, "factors "+user); err != nil {
			return err
		}
		n, err := confirmedDevices(ctx, tx, user)
		if err != nil || n <= 1 && !last {
			return err
		}
		gone, err := tx.exec(ctx, `DELETE FROM factors WHERE id = $1 AND it_user = $2 AND confirmed > 0`, device, user)
		if err != nil || gone == 0 {
			return err
		}
		removed = true
		if n == 1 { // codes without a device would be a factor that nobody can see
			_, err = tx.exec(ctx, `DELETE FROM recovery_codes WHERE it_user = $1`, user)
		}
		return err
	})
	return removed && err == nil, err
}

// ReplaceRecoveryCodes implements mfa.ManagementStore.
func (s *Store) ReplaceRecoveryCodes(ctx context.Context, user string, codes []mfa.RecoveryCode) (kept bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		kept = false
		if err := tx.lock(ctx, "factors "+user); err != nil {
			return err
		}
		if n, err := confirmedDevices(ctx, tx, user); err != nil || n == 0 {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM recovery_codes WHERE it_user = $1`, user); err != nil {
			return err
		}
		kept, err = addRecoveryCodes(ctx, tx, user, codes)
		return err
	})
	return kept && err == nil, err
}

// AddInvitation implements mfa.InvitationStore.
func (s *Store) AddInvitation(ctx context.Context, user string, hash []byte, expires time.Time) error {
	_, err := s.change(ctx, `INSERT INTO invites (it_user, hash, expires) VALUES ($1, $2, $3)
		ON CONFLICT (it_user) DO UPDATE SET hash = excluded.hash, expires = excluded.expires`, user, hash, micros(expires))
	return err
}

// UseInvitation implements mfa.InvitationStore. Comparing and removing are one statement, so the database decides a race.
func (s *Store) UseInvitation(ctx context.Context, user string, hash []byte, now time.Time) (bool, error) {
	return s.change(ctx, `DELETE FROM invites WHERE it_user = $1 AND hash = $2 AND expires > $3`, user, hash, micros(now))
}
