package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/mfa"
)

var _ mfa.Store = (*Store)(nil)

// Devices implements mfa.DeviceStore.
func (s *Store) Devices(ctx context.Context, user string) (devices []mfa.Device, err error) {
	const query = `SELECT id, it_user, sealed, created, confirmed, last_step, name FROM factors
		WHERE it_user = $1 ORDER BY created, id`
	err = s.each(ctx, query, []any{user}, func(scan func(...any) error) error {
		var d mfa.Device
		var created, confirmed int64
		err := scan(&d.ID, &d.User, &d.Sealed, &created, &confirmed, &d.LastStep, &d.Name)
		d.Created, d.Confirmed = fromMicros(created), fromMicros(confirmed)
		devices = append(devices, d)
		return err
	})
	return devices, err
}

// Holders implements mfa.Roster.
func (s *Store) Holders(ctx context.Context) (holders []mfa.Holder, err error) {
	const query = `SELECT u.username, COUNT(*),
		(SELECT COUNT(*) FROM recovery_codes r WHERE r.it_user = u.key AND r.used = 0)
		FROM factors f JOIN it_users u ON u.key = f.it_user
		WHERE f.confirmed > 0 GROUP BY u.key, u.username, u.folded ORDER BY u.folded`
	err = s.each(ctx, query, nil, func(scan func(...any) error) error {
		var h mfa.Holder
		err := scan(&h.Username, &h.Devices, &h.RecoveryCodes)
		holders = append(holders, h)
		return err
	})
	return holders, err
}

// UseStep implements mfa.DeviceStore. The comparison and the update are one statement, so the database decides a race.
func (s *Store) UseStep(ctx context.Context, device string, step int64) (bool, error) {
	const query = `UPDATE factors SET last_step = $1 WHERE id = $2 AND confirmed > 0 AND last_step < $1`
	return s.changeTelling(ctx, nothing, query, step, device)
}

// RecoveryCodes implements mfa.RecoveryStore.
func (s *Store) RecoveryCodes(ctx context.Context, user string) (codes []mfa.RecoveryCode, err error) {
	const query = `SELECT id, hash, used FROM recovery_codes WHERE it_user = $1 ORDER BY id`
	err = s.each(ctx, query, []any{user}, func(scan func(...any) error) error {
		var c mfa.RecoveryCode
		var used int64
		err := scan(&c.ID, &c.Hash, &used)
		c.Used = used != 0
		codes = append(codes, c)
		return err
	})
	return codes, err
}

// UseRecoveryCode implements mfa.RecoveryStore.
func (s *Store) UseRecoveryCode(ctx context.Context, id string, at time.Time) (bool, error) {
	return s.changeTelling(ctx, nothing, `UPDATE recovery_codes SET used = $1 WHERE id = $2 AND used = 0`, micros(at), id)
}

// change runs one statement as a transaction and tells whether it changed a row.
func (s *Store) change(ctx context.Context, query string, args ...any) (changed bool, err error) {
	return s.changeTelling(ctx, (*cache).clear, query, args...)
}

// changeTelling is change as writeTelling is write.
func (s *Store) changeTelling(
	ctx context.Context, tell func(*cache), query string, args ...any,
) (changed bool, err error) {
	err = s.writeTelling(ctx, tell, func(ctx context.Context, tx *tx) error {
		n, err := tx.exec(ctx, query, args...)
		changed = n > 0
		return err
	})
	return changed && err == nil, err
}

// AddDevice implements mfa.EnrolmentStore.
func (s *Store) AddDevice(ctx context.Context, d mfa.Device) error {
	return s.write(ctx, func(ctx context.Context, tx *tx) error {
		if err := tx.lock(ctx, "factors "+d.User); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM factors WHERE it_user = $1 AND confirmed = 0`, d.User); err != nil {
			return err
		}
		if err := deviceFits(ctx, tx, d.User); err != nil {
			return err
		}
		return insertDevice(ctx, tx, d)
	})
}

func insertDevice(ctx context.Context, tx *tx, d mfa.Device) error {
	const query = `INSERT INTO factors (id, it_user, sealed, created, confirmed, last_step)
		VALUES ($1, $2, $3, $4, 0, 0)`
	_, err := tx.exec(ctx, query, d.ID, d.User, d.Sealed, micros(d.Created))
	return err
}

// deviceFits gives the error of mfa.CheckLimit for the devices a user has confirmed.
func deviceFits(ctx context.Context, tx *tx, user string) error {
	n, err := confirmedDevices(ctx, tx, user)
	if err != nil {
		return err
	}
	return mfa.CheckLimit(n)
}

func confirmedDevices(ctx context.Context, tx *tx, user string) (n int, err error) {
	_, err = tx.get(ctx, `SELECT COUNT(*) FROM factors WHERE it_user = $1 AND confirmed > 0`, []any{user}, &n)
	return n, err
}

// ConfirmDevice implements mfa.EnrolmentStore.
func (s *Store) ConfirmDevice(
	ctx context.Context, d mfa.Device, codes []mfa.RecoveryCode,
) (confirmed, kept bool, err error) {
	const query = `UPDATE factors SET confirmed = $1, last_step = $2
		WHERE id = $3 AND it_user = $4 AND confirmed = 0`
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		confirmed, kept = false, false
		if err := tx.lock(ctx, "factors "+d.User); err != nil {
			return err
		}
		if err := deviceFits(ctx, tx, d.User); err != nil {
			return err
		}
		n, err := tx.exec(ctx, query, micros(d.Confirmed), d.LastStep, d.ID, d.User)
		if err != nil || n == 0 {
			return err
		}
		confirmed = true
		kept, err = addRecoveryCodes(ctx, tx, d.User, codes)
		return err
	})
	return confirmed, kept, err
}

// addRecoveryCodes keeps codes in the place of used-up ones.
func addRecoveryCodes(ctx context.Context, tx *tx, user string, codes []mfa.RecoveryCode) (bool, error) {
	unused := 0
	const count = `SELECT COUNT(*) FROM recovery_codes WHERE it_user = $1 AND used = 0`
	if _, err := tx.get(ctx, count, []any{user}, &unused); err != nil || unused > 0 {
		return false, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM recovery_codes WHERE it_user = $1`, user); err != nil {
		return false, err
	}
	for _, c := range codes {
		const insert = `INSERT INTO recovery_codes (id, it_user, hash, used) VALUES ($1, $2, $3, 0)`
		if _, err := tx.exec(ctx, insert, c.ID, user, c.Hash); err != nil {
			return false, err
		}
	}
	return true, nil
}

// RemoveFactors implements mfa.EnrolmentStore.
func (s *Store) RemoveFactors(ctx context.Context, user string) (devices int, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		if err := tx.lock(ctx, "factors "+user); err != nil {
			return err
		}
		n, err := confirmedDevices(ctx, tx, user)
		if err != nil {
			return err
		}
		devices = n
		if _, err := tx.exec(ctx, `DELETE FROM factors WHERE it_user = $1`, user); err != nil {
			return err
		}
		for _, remove := range []string{`DELETE FROM recovery_codes WHERE it_user = $1`, `DELETE FROM invites WHERE it_user = $1`} {
			if _, err := tx.exec(ctx, remove, user); err != nil {
				return err
			}
		}
		return nil
	})
	return devices, err
}
