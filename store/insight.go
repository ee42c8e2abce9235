package store

import (
	"context"
	"math"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/insight"
)

var (
	_ insight.Index   = (*Store)(nil)
	_ insight.Counter = (*Store)(nil)
)

// indexLock is held by whoever changes the index. Who takes the audit's lock too takes this one first: sign-ins wait for
// that one.
const indexLock = "insight"

var (
	insertIndex = newBulk(`INSERT INTO audit_index (class, time, seq) VALUES `, 3, ` ON CONFLICT DO NOTHING`, 32, 1)
	insertNames = newBulk(`INSERT INTO audit_names (name, time, seq, class) VALUES `, 4, ` ON CONFLICT DO NOTHING`, 32, 1)
	insertIDs   = newBulk(`INSERT INTO audit_ids (id, seq) VALUES `, 2, ` ON CONFLICT DO NOTHING`, 32, 1)
	addCounts   = newBulk(`INSERT INTO audit_counts (width, at, class, bucket, n) VALUES `, 5,
		` ON CONFLICT (width, at, class, bucket) DO UPDATE SET n = audit_counts.n + excluded.n`, 16, 1)
)

// IndexAudit implements insight.Index.
func (s *Store) IndexAudit(ctx context.Context, limit int) (p insight.Progress, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		p, err = indexAudit(ctx, t, limit)
		return err
	})
	return p, err
}

func indexAudit(ctx context.Context, t *tx, limit int) (p insight.Progress, err error) {
	p, rows, err := follow(ctx, t, indexLock, limit)
	if err != nil || len(rows) == 0 {
		return p, err
	}
	x := newIndexing(len(rows))
	if x.classes, err = auditClasses(ctx, t); err != nil {
		return p, err
	}
	for _, r := range rows {
		if err := x.add(ctx, t, insight.EntryOf(r.Record)); err != nil {
			return p, err
		}
	}
	return p, x.write(ctx, t)
}

// follow reads the records behind a follower's place and moves the place behind them. Whoever else follows waits.
func follow(ctx context.Context, t *tx, follower string, limit int) (p insight.Progress, rows []audit.Row, err error) {
	if err := t.lock(ctx, follower); err != nil {
		return p, nil, err
	}
	p, err = place(ctx, t, follower)
	if err != nil || p.Behind <= 0 {
		return p, nil, err
	}
	err = t.each(ctx, selectAudit, []any{p.Place, limit}, func(scan func(...any) error) error {
		row, err := scanAudit(scan)
		rows = append(rows, row)
		return err
	})
	if err != nil || len(rows) == 0 {
		return p, nil, err
	}
	last := rows[len(rows)-1].Seq
	p = insight.Progress{Records: len(rows), Place: last, Behind: p.Place + p.Behind - last}
	_, err = t.exec(ctx, `INSERT INTO audit_places (follower, seq) VALUES ($1, $2)
		ON CONFLICT (follower) DO UPDATE SET seq = excluded.seq`, follower, last)
	return p, rows, err
}

// place is where a follower is: not before what was purged, nor behind the end.
func place(ctx context.Context, from getter, follower string) (p insight.Progress, err error) {
	head, err := auditHead(ctx, from)
	if err != nil {
		return p, err
	}
	if _, err := from.get(ctx, `SELECT seq FROM audit_places WHERE follower = $1`, []any{follower}, &p.Place); err != nil {
		return p, err
	}
	p.Place = min(max(p.Place, head.PurgedSeq), head.Seq)
	p.Behind = head.Seq - p.Place
	return p, nil
}

// auditClasses are the numbers of the classes.
func auditClasses(ctx context.Context, from reader) (map[insight.Class]int64, error) {
	classes := map[insight.Class]int64{}
	const query = `SELECT class, action, environment, provider, kind, throttled FROM audit_classes`
	err := from.each(ctx, query, nil, func(scan func(...any) error) error {
		var c insight.Class
		var number int64
		err := scan(&number, &c.Action, &c.Environment, &c.Provider, &c.Kind, &c.Throttled)
		classes[c] = number
		return err
	})
	return classes, err
}

// indexing is a batch of records that is put into the index.
type indexing struct {
	classes           map[insight.Class]int64
	index, names, ids []any
	counts            map[count]int64
}

// count is what is counted together.
type count struct {
	width, at, class int64
	bucket           int
}

func newIndexing(records int) *indexing {
	return &indexing{
		index: make([]any, 0, 3*records), names: make([]any, 0, 8*records), ids: make([]any, 0, 2*records), counts: map[count]int64{},
	}
}

func (x *indexing) add(ctx context.Context, t *tx, e insight.Entry) error {
	class, known := x.classes[e.Class]
	if !known {
		class = int64(len(x.classes)) + 1
		const insert = `INSERT INTO audit_classes (class, action, environment, provider, kind, throttled, sign_in)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`
		c := e.Class
		_, err := t.exec(ctx, insert, class, c.Action, c.Environment, c.Provider, c.Kind, flag(c.Throttled), flag(c.SignIn()))
		if err != nil {
			return err
		}
		x.classes[c] = class
	}
	x.index = append(x.index, class, e.Time, e.Seq)
	for _, name := range e.Names {
		x.names = append(x.names, []byte(name), e.Time, e.Seq, class)
	}
	if e.ID != "" {
		x.ids = append(x.ids, e.ID, e.Seq)
	}
	for _, width := range insight.Widths {
		x.counts[count{int64(width / time.Second), e.Time - e.Time%width.Microseconds(), class, e.Bucket}]++
	}
	return nil
}

func (x *indexing) write(ctx context.Context, t *tx) error {
	counts := make([]any, 0, 5*len(x.counts))
	for c, n := range x.counts {
		counts = append(counts, c.width, c.at, c.class, c.bucket, n)
	}
	for _, rows := range []struct {
		bulk
		values []any
	}{{insertIndex, x.index}, {insertNames, x.names}, {insertIDs, x.ids}, {addCounts, counts}} {
		if err := rows.run(ctx, t, rows.values); err != nil {
			return err
		}
	}
	return nil
}

// PurgeCounts implements insight.Index.
func (s *Store) PurgeCounts(ctx context.Context, width time.Duration, before time.Time) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM audit_counts WHERE width = $1 AND at < $2`, int64(width/time.Second), micros(before))
		return err
	})
}

// dropIndexed takes the records behind one up to another out of the index, before they go themselves. A record that is not
// in the index will not come into it: its follower reads the audit under the same lock.
func dropIndexed(ctx context.Context, t *tx, after int64, rows []audit.Row) error {
	last, newest, names := rows[len(rows)-1].Seq, int64(0), map[string]bool{}
	for _, r := range rows {
		e := insight.EntryOf(r.Record)
		newest = max(newest, e.Time)
		for _, name := range e.Names {
			names[name] = true
		}
	}
	for name := range names {
		const drop = `DELETE FROM audit_names WHERE name = $1 AND time <= $2 AND seq <= $3`
		if _, err := t.exec(ctx, drop, []byte(name), newest, last); err != nil {
			return err
		}
	}
	const gone = ` FROM audit a WHERE a.seq > $1 AND a.seq <= $2`
	_, err := t.exec(ctx, `DELETE FROM audit_ids WHERE (id, seq) IN (SELECT a.id, a.seq`+gone+`)`, after, last)
	if err != nil {
		return err
	}
	classes, err := auditClasses(ctx, t)
	for _, class := range classes {
		const drop = `DELETE FROM audit_index WHERE class = $1 AND time <= $2 AND seq <= $3`
		if _, dropErr := t.exec(ctx, drop, class, newest, last); err == nil {
			err = dropErr
		}
	}
	return err
}

// AuditCounts implements insight.Counter. The database reads the counts in the order of their key and nothing more: to join
// and to sum them up there takes several times as long.
func (s *Store) AuditCounts(ctx context.Context, q insight.CountQuery) (list []insight.Count, err error) {
	classes, err := auditClasses(ctx, s)
	if err != nil {
		return nil, err
	}
	wanted := map[int64]insight.Class{}
	for class, number := range classes {
		if class.SignIn() || !q.SignIns {
			if (q.Environment == "" || q.Environment == class.Environment) && (q.Provider == "" || q.Provider == class.Provider) {
				wanted[number] = insight.Class{Kind: class.Kind, Throttled: class.Throttled}
			}
		}
	}
	const query = `SELECT at, class, bucket, n FROM audit_counts WHERE width = $1 AND at >= $2 AND at < $3 ORDER BY at, class, bucket`
	args := []any{int64(q.Width / time.Second), micros(q.From), micros(q.Until)}
	sums, last := map[insight.Count]int{}, int64(math.MinInt64) // of one span: where each is in the list
	err = s.each(ctx, query, args, func(scan func(...any) error) error {
		var at, class, n int64
		var bucket int
		if err := scan(&at, &class, &bucket, &n); err != nil {
			return err
		}
		kind, ok := wanted[class]
		if !ok {
			return nil
		}
		if at != last {
			clear(sums)
			last = at
		}
		c := insight.Count{At: fromMicros(at), Kind: kind.Kind, Bucket: bucket, Throttled: kind.Throttled}
		i, known := sums[c]
		if !known {
			i = len(list)
			sums[c], list = i, append(list, c)
		}
		list[i].N += n
		return nil
	})
	return list, err
}
