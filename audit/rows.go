package audit

import (
	"context"
	"crypto/hmac"
	"errors"
)

// VerifyRows checks single rows, as a search found them, without the whole chain: each must be what was written behind the
// row before it. It returns a reason for each, Changed or Missing (the row before is not there), and "" for those that hold.
// That no other row was removed, only Verify tells. Unavailable.
func VerifyRows(ctx context.Context, store Reader, key []byte, rows []Row) ([]string, error) {
	if len(key) < 32 {
		return nil, errors.New("audit: a key of at least 32 bytes is needed")
	}
	m := newMacer(key)
	head, err := store.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	reasons := make([]string, len(rows))
	for i := range rows {
		if reasons[i], err = m.verifyRow(ctx, store, head, &rows[i]); err != nil {
			return nil, err
		}
	}
	return reasons, nil
}

func (m *macer) verifyRow(ctx context.Context, store Reader, h Head, row *Row) (reason string, err error) {
	if _, is := m.breakOf(row); is {
		return "", nil // a restart depends on all rows before it, not on one
	}
	var before []byte
	switch row.Seq {
	case 1:
	case h.PurgedSeq + 1:
		if m.checkHead(h) != nil {
			return Missing, nil //nolint:nilerr // that is what was asked for
		}
		before = h.PurgedMAC
	default:
		previous, err := store.AuditRows(ctx, row.Seq-2, 1)
		if err != nil {
			return "", err
		}
		if len(previous) == 0 || previous[0].Seq != row.Seq-1 {
			return Missing, nil
		}
		before = previous[0].MAC
	}
	if !hmac.Equal(row.MAC, m.record(before, &row.Record)) {
		return Changed, nil
	}
	return "", nil
}
