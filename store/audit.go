package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/insight"
)

var (
	_ audit.Store   = (*Store)(nil)
	_ audit.History = (*Store)(nil)
)

const (
	auditColumns = `seq, time, id, action, actor, environment, username, provider, subject, it_user, kind, reason, factors,
		source, duration, detail, mac`
	auditWidth  = 17
	selectAudit = `SELECT ` + auditColumns + ` FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`
	// The newest of a user's records behind $2, where the index ends, or in the index: the audit itself has none by user, as each
	// would cost every sign-in.
	selectAuditOf   = `SELECT ` + auditColumns + ` FROM audit WHERE it_user = $1 AND seq > $2 ORDER BY seq DESC LIMIT $3`
	selectIndexedOf = `SELECT ` + auditColumns + ` FROM audit WHERE it_user = $1 AND seq IN (SELECT k.seq FROM
		(SELECT n.seq FROM audit_names n WHERE n.name = $2 ORDER BY n.time DESC, n.seq DESC LIMIT $3) k
		WHERE k.seq > $4 AND k.seq <= $5) ORDER BY seq DESC LIMIT $6`
	// Without its row the head is that of the last record, unsealed: a head that was removed is not an empty chain.
	selectAuditHead = `SELECT h.key_id, COALESCE(h.seq, m.last, 0), h.mac, COALESCE(h.purged_seq, 0), h.purged_mac, h.seal
		FROM (SELECT MAX(seq) AS last FROM audit) m
		LEFT JOIN audit_head h ON h.name = 'head' AND LENGTH(h.seal) > 0`
	updateAuditHead = `INSERT INTO audit_head (name, key_id, seq, mac, purged_seq, purged_mac, seal)
		VALUES ('head', $1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET key_id = excluded.key_id,
		seq = excluded.seq, mac = excluded.mac, purged_seq = excluded.purged_seq, purged_mac = excluded.purged_mac,
		seal = excluded.seal`
	// For a head that is known: it changes nothing where the head is another one by now, or was tampered with.
	moveAuditHead = `UPDATE audit_head SET key_id = $1, seq = $2, mac = $3, purged_seq = $4, purged_mac = $5, seal = $6
		WHERE name = 'head' AND key_id = $7 AND seq = $8 AND mac = $9 AND purged_seq = $10 AND purged_mac = $11 AND seal = $12`
)

// auditInserts are statements for that many records: few texts to keep prepared, few statements for a batch.
var auditInserts = newBulk("INSERT INTO audit ("+auditColumns+") VALUES ", auditWidth, "", 16, 8, 4, 2, 1)

// AppendAudit implements audit.Chain.
func (s *Store) AppendAudit(ctx context.Context, link func(audit.Head) ([]audit.Row, audit.Head, error)) error {
	var head audit.Head
	err := s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) (err error) {
		if err = t.lock(ctx, "audit"); err != nil {
			return err
		}
		if last := s.auditHead.Load(); last != nil {
			var goesOn bool
			if head, goesOn, err = goOnFrom(ctx, t, *last, link); err != nil || goesOn {
				return err
			}
		}
		head, err = appendAudit(ctx, t, link)
		return err
	})
	if err == nil {
		s.auditHead.Store(&head)
	}
	return err
}

// goOnFrom appends behind the head that this process left last. goesOn is false, and nothing was written, where that is not
// the head any more.
func goOnFrom(
	ctx context.Context, t *tx, last audit.Head, link func(audit.Head) ([]audit.Row, audit.Head, error),
) (head audit.Head, goesOn bool, err error) {
	rows, head, refused := link(last)
	if refused != nil {
		return head, false, nil //nolint:nilerr // the head that is there decides
	}
	n, err := t.exec(ctx, moveAuditHead, append(headValues(head), headValues(last)...)...)
	if err != nil || n == 0 {
		return head, false, err
	}
	return head, true, insertAudit(ctx, t, rows)
}

// appendAudit appends behind the head that is there.
func appendAudit(
	ctx context.Context, t *tx, link func(audit.Head) ([]audit.Row, audit.Head, error),
) (audit.Head, error) {
	head, err := auditHead(ctx, t)
	if err != nil {
		return head, err
	}
	rows, head, err := link(head)
	if err != nil {
		return head, err
	}
	if err := insertAudit(ctx, t, rows); err != nil {
		return head, err
	}
	return head, putAuditHead(ctx, t, head)
}

func insertAudit(ctx context.Context, t *tx, rows []audit.Row) error {
	args := make([]any, 0, len(rows)*auditWidth)
	for i := range rows {
		args = appendAuditRow(args, &rows[i])
	}
	return auditInserts.run(ctx, t, args)
}

func appendAuditRow(args []any, r *audit.Row) []any {
	return append(args, r.Seq, r.Time.UnixMicro(), r.ID, r.Action, r.Actor, r.Environment, r.Username, r.Provider,
		r.Subject, r.ITUser, r.Kind, r.Reason, r.Factors, r.Source, int64(r.Duration), r.Detail, r.MAC)
}

func auditHead(ctx context.Context, from getter) (h audit.Head, err error) {
	_, err = from.get(ctx, selectAuditHead, nil, &h.KeyID, &h.Seq, &h.MAC, &h.PurgedSeq, &h.PurgedMAC, &h.Seal)
	return h, err
}

func putAuditHead(ctx context.Context, t *tx, h audit.Head) error {
	_, err := t.exec(ctx, updateAuditHead, headValues(h)...)
	return err
}

func headValues(h audit.Head) []any {
	return []any{notNull(h.KeyID), h.Seq, notNull(h.MAC), h.PurgedSeq, notNull(h.PurgedMAC), notNull(h.Seal)}
}

func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// AuditHead implements audit.Reader.
func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) { return auditHead(ctx, s) }

// AuditRows implements audit.Reader.
func (s *Store) AuditRows(ctx context.Context, after int64, limit int) (rows []audit.Row, err error) {
	err = s.each(ctx, selectAudit, []any{after, limit}, func(scan func(...any) error) error {
		row, err := scanAudit(scan)
		rows = append(rows, row)
		return err
	})
	return rows, err
}

// RecordsOf implements audit.History.
func (s *Store) RecordsOf(ctx context.Context, user string, among, limit int) (list []audit.Record, err error) {
	at, err := place(ctx, s, indexLock)
	if err != nil {
		return nil, err
	}
	oldest := at.Place + at.Behind - int64(among)
	add := func(scan func(...any) error) error {
		row, err := scanAudit(scan)
		list = append(list, row.Record)
		return err
	}
	err = s.each(ctx, selectAuditOf, []any{user, max(at.Place, oldest), limit}, add)
	if left := limit - len(list); err == nil && left > 0 {
		err = s.each(ctx, selectIndexedOf, []any{user, []byte(insight.Name(user)), lookAt, oldest, at.Place, left}, add)
	}
	return list, err
}

func scanAudit(scan func(...any) error) (r audit.Row, err error) {
	var at int64
	err = scan(&r.Seq, &at, &r.ID, &r.Action, &r.Actor, &r.Environment, &r.Username, &r.Provider, &r.Subject,
		&r.ITUser, &r.Kind, &r.Reason, &r.Factors, &r.Source, &r.Duration, &r.Detail, &r.MAC)
	r.Time = time.UnixMicro(at).UTC()
	return r, err
}

// PurgeAudit implements audit.Chain.
func (s *Store) PurgeAudit(
	ctx context.Context, before time.Time, limit int, link func(audit.Head, audit.Row) (audit.Head, error),
) (removed int, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		removed, err = purgeAudit(ctx, t, before, limit, link)
		return err
	})
	if err != nil {
		removed = 0
	}
	return removed, err
}

// purgeAudit takes the records out of the index while sign-ins go on, and then itself waits for the end of the chain.
func purgeAudit(
	ctx context.Context, t *tx, before time.Time, limit int, link func(audit.Head, audit.Row) (audit.Head, error),
) (removed int, err error) {
	if err := t.lock(ctx, indexLock); err != nil {
		return 0, err
	}
	head, err := auditHead(ctx, t)
	if err != nil {
		return 0, err
	}
	rows, err := toPurge(ctx, t, head, before, limit)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	if err := dropIndexed(ctx, t, head.PurgedSeq, rows); err != nil {
		return 0, err
	}
	if err := t.lock(ctx, "audit"); err != nil {
		return 0, err
	}
	if head, err = auditHead(ctx, t); err != nil {
		return 0, err
	}
	last := rows[len(rows)-1]
	if head, err = link(head, last); err != nil {
		return 0, err
	}
	n, err := t.exec(ctx, `DELETE FROM audit WHERE seq <= $1`, last.Seq)
	if err != nil {
		return 0, err
	}
	return int(n), putAuditHead(ctx, t, head)
}

// toPurge are those of the first limit records that come before every record that has to stay.
func toPurge(ctx context.Context, t *tx, h audit.Head, before time.Time, limit int) (rows []audit.Row, err error) {
	young := false
	err = t.each(ctx, selectAudit, []any{h.PurgedSeq, limit}, func(scan func(...any) error) error {
		row, err := scanAudit(scan)
		if young = young || !row.Time.Before(before); !young {
			rows = append(rows, row)
		}
		return err
	})
	return rows, err
}
