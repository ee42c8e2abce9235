package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/insight"
)

var _ insight.Finder = (*Store)(nil)

// Bounds of one search, so that no question can stop the server.
const (
	lookAt    = 2000 // rows of one name, or of the audit's tail
	lookAmong = 800  // of all records, each read whole, where too many names begin alike
	mostNames = 256  // names that are looked up one by one
	atOnce    = 16   // keys that are looked up by one statement
	mostOfID  = 1000 // records under one correlation id
)

// FindAudit implements insight.Finder.
func (s *Store) FindAudit(ctx context.Context, q insight.Query) (page insight.Page, err error) {
	at, err := place(ctx, s, indexLock)
	if err != nil {
		return page, err
	}
	tail, err := s.auditTail(ctx, at.Place)
	if err != nil {
		return page, err
	}
	if at.Behind > int64(len(tail)) {
		page.Behind = at.Behind
	}
	f := &finding{Store: s, q: q, limit: q.Limit + 1}
	for _, row := range tail {
		if q.Wants(row.Record) && f.behind(insight.PlaceOf(row.Record)) {
			f.found = append(f.found, hit{place: insight.PlaceOf(row.Record), row: &row})
		}
	}
	if err := f.look(ctx); err != nil {
		return page, err
	}
	page.Records, page.Next, err = f.page(ctx)
	return page, err
}

// auditTail are the newest records behind a number, newest first.
func (s *Store) auditTail(ctx context.Context, after int64) (rows []audit.Row, err error) {
	const query = `SELECT ` + auditColumns + ` FROM audit WHERE seq > $1 ORDER BY seq DESC LIMIT $2`
	err = s.each(ctx, query, []any{after, lookAt}, func(scan func(...any) error) error {
		row, err := scanAudit(scan)
		rows = append(rows, row)
		return err
	})
	return rows, err
}

// finding is one search under way.
type finding struct {
	*Store
	q     insight.Query
	limit int // one more than fit on the page, to know whether there are more

	wanted map[int64]bool // classes; nil: all
	found  []hit          // in any order
	until  insight.Place  // where a bound was met: what stands behind was not looked at everywhere
}

// hit is a record that was found; its row is read when it is known to be on the page.
type hit struct {
	place insight.Place
	class int64
	row   *audit.Row
}

// behind tells whether a place is behind that of the page before.
func (f *finding) behind(p insight.Place) bool { return f.q.After.IsZero() || f.q.After.Newer(p) }

// stopped notes that rows behind a place were not looked at.
func (f *finding) stopped(at insight.Place) {
	if at.Newer(f.until) {
		f.until = at
	}
}

func (f *finding) look(ctx context.Context) error {
	if f.q.ID != "" {
		return f.byID(ctx)
	}
	classes, err := f.classes(ctx)
	if err != nil || len(classes) == 0 {
		return err
	}
	if f.q.User == "" {
		return f.byClass(ctx, classes, f.limit)
	}
	names := [][]byte{[]byte(insight.Name(f.q.User))}
	if f.q.Prefix {
		if names, err = f.names(ctx, names[0]); err != nil {
			return err
		}
	}
	if len(names) > mostNames {
		return f.among(ctx, classes)
	}
	return f.byName(ctx, names)
}

// classes are those asked for.
func (f *finding) classes(ctx context.Context) (list []int64, err error) {
	all, err := auditClasses(ctx, f.Store)
	f.wanted = map[int64]bool{}
	for class, number := range all {
		if f.q.Has(class) {
			f.wanted[number] = true
			list = append(list, number)
		}
	}
	slices.Sort(list)
	return list, err
}

// span bounds a search by time: $1 and $2 are the place before, $3 the time it begins with, $4 how many rows.
const span = ` AND time >= $3 AND time <= $1 AND (time < $1 OR seq < $2) ORDER BY time DESC, seq DESC LIMIT $4`

func (f *finding) span(limit int) []any {
	before := insight.Place{Time: math.MaxInt64, Seq: math.MaxInt64}
	if !f.q.Until.IsZero() {
		before = insight.Place{Time: f.q.Until.UnixMicro() - 1, Seq: math.MaxInt64}
	}
	if !f.q.After.IsZero() && before.Newer(f.q.After) {
		before = f.q.After
	}
	return []any{before.Time, before.Seq, micros(f.q.From), limit}
}

// eachOf is a statement that looks several keys up, each newest first, and keeps the newest rows of all.
func eachOf(one string) string {
	var parts []string
	for i := range atOnce {
		parts = append(parts, fmt.Sprintf(`SELECT * FROM (%s) AS k%d`, strings.ReplaceAll(one, "$key", fmt.Sprintf("$%d", i+5)), i))
	}
	return `SELECT class, time, seq FROM (` + strings.Join(parts, ` UNION ALL `) + `) AS hits ORDER BY time DESC, seq DESC LIMIT $4`
}

var (
	selectByClass = eachOf(`SELECT class, time, seq FROM audit_index WHERE class = $key` + span)
	selectByName  = eachOf(`SELECT class, time, seq FROM audit_names WHERE name = $key` + span)
)

// byClass finds the newest records of some classes.
func (f *finding) byClass(ctx context.Context, classes []int64, limit int) error {
	for some := range slices.Chunk(classes, atOnce) {
		args := f.span(limit)
		for i := range atOnce {
			if i < len(some) {
				args = append(args, some[i])
				continue
			}
			args = append(args, int64(-1))
		}
		if _, err := f.hits(ctx, selectByClass, args); err != nil {
			return err
		}
	}
	return nil
}

// hits adds what a statement finds, as far as its class is wanted, and returns where it ended when it met its bound.
func (f *finding) hits(ctx context.Context, query string, args []any) (end insight.Place, err error) {
	n := 0
	err = f.each(ctx, query, args, func(scan func(...any) error) error {
		var h hit
		err := scan(&h.class, &h.place.Time, &h.place.Seq)
		if n++; f.wanted == nil || f.wanted[h.class] {
			f.found = append(f.found, h)
		}
		end = h.place
		return err
	})
	if n < args[3].(int) {
		end = insight.Place{}
	}
	return end, err
}

// selectNames hops from one name to the next in the index: $1 is how they begin, $2 its length, $3 how many at most.
const selectNames = `WITH RECURSIVE n (name) AS (
	SELECT (SELECT a.name FROM audit_names a WHERE a.name >= $1 ORDER BY a.name LIMIT 1) UNION ALL
	SELECT (SELECT a.name FROM audit_names a WHERE a.name > n.name ORDER BY a.name LIMIT 1) FROM n WHERE SUBSTR(n.name, 1, $2) = $1
	) SELECT name FROM n WHERE SUBSTR(name, 1, $2) = $1 LIMIT $3`

// names are those that begin so, or more than mostNames of them.
func (f *finding) names(ctx context.Context, prefix []byte) (list [][]byte, err error) {
	err = f.each(ctx, selectNames, []any{prefix, len(prefix), mostNames + 1}, func(scan func(...any) error) error {
		var name []byte
		err := scan(&name)
		list = append(list, name)
		return err
	})
	return list, err
}

// byName finds the newest records of some names. Where the class matters too, more rows are looked at than are kept.
func (f *finding) byName(ctx context.Context, names [][]byte) error {
	limit := f.limit
	if f.q.Narrow() {
		limit = lookAt
	}
	for some := range slices.Chunk(names, atOnce) {
		args := f.span(limit)
		for i := range atOnce {
			if i < len(some) {
				args = append(args, some[i])
				continue
			}
			args = append(args, []byte{})
		}
		end, err := f.hits(ctx, selectByName, args)
		if err != nil {
			return err
		}
		if !end.IsZero() {
			f.stopped(end)
		}
	}
	return nil
}

// among looks through the newest records of the classes, whoever they are about: so many names begin alike that there
// must be some among them.
func (f *finding) among(ctx context.Context, classes []int64) error {
	before := f.found
	f.found = nil
	if err := f.byClass(ctx, classes, lookAmong); err != nil {
		return err
	}
	f.sort()
	all := f.found[:min(len(f.found), lookAmong)]
	if len(all) == lookAmong {
		f.stopped(all[lookAmong-1].place)
	}
	f.found = before
	return f.read(ctx, all, func(h hit) {
		if f.q.Wants(h.row.Record) {
			f.found = append(f.found, h)
		}
	})
}

// byID finds the records under one correlation id.
func (f *finding) byID(ctx context.Context) error {
	const query = `SELECT seq FROM audit_ids WHERE id = $1 ORDER BY seq DESC LIMIT $2`
	var all []hit
	err := f.each(ctx, query, []any{f.q.ID, mostOfID}, func(scan func(...any) error) error {
		var h hit
		err := scan(&h.place.Seq)
		all = append(all, h)
		return err
	})
	if err != nil {
		return err
	}
	return f.read(ctx, all, func(h hit) {
		if h.place = insight.PlaceOf(h.row.Record); f.q.Wants(h.row.Record) && f.behind(h.place) {
			f.found = append(f.found, h)
		}
	})
}

func (f *finding) sort() {
	slices.SortFunc(f.found, func(a, b hit) int {
		switch {
		case a.place.Newer(b.place):
			return -1
		case b.place.Newer(a.place):
			return 1
		}
		return 0
	})
}

// page are the rows of what was found, and where to go on. A record that went from the tail into the index meanwhile was
// found twice; one that was purged meanwhile is left out.
func (f *finding) page(ctx context.Context) (rows []audit.Row, next insight.Place, err error) {
	f.sort()
	all := slices.CompactFunc(f.found, func(a, b hit) bool { return a.place == b.place })
	if !f.until.IsZero() {
		next = f.until
		all = slices.DeleteFunc(all, func(h hit) bool { return next.Newer(h.place) })
	}
	if len(all) > f.q.Limit {
		all = all[:f.q.Limit]
		next = all[len(all)-1].place
	}
	err = f.read(ctx, all, func(h hit) { rows = append(rows, *h.row) })
	return rows, next, err
}

// manyAtOnce is for rows that are read whole in large numbers: on PostgreSQL each statement is a way there and back.
const manyAtOnce = 128

var selectAuditSeqs = map[int]string{
	atOnce:     `SELECT ` + auditColumns + ` FROM audit WHERE seq IN ` + tuples(1, atOnce),
	manyAtOnce: `SELECT ` + auditColumns + ` FROM audit WHERE seq IN ` + tuples(1, manyAtOnce),
}

// read hands over the hits with their rows, in order.
func (f *finding) read(ctx context.Context, hits []hit, each func(hit)) error {
	width := atOnce
	if len(hits) > manyAtOnce {
		width = manyAtOnce
	}
	for some := range slices.Chunk(hits, width) {
		args, missing := make([]any, width), false
		for i := range args {
			args[i] = int64(0)
			if i < len(some) && some[i].row == nil {
				args[i], missing = some[i].place.Seq, true
			}
		}
		rows := map[int64]*audit.Row{}
		if missing {
			err := f.each(ctx, selectAuditSeqs[width], args, func(scan func(...any) error) error {
				row, err := scanAudit(scan)
				rows[row.Seq] = &row
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, h := range some {
			if h.row == nil {
				h.row = rows[h.place.Seq]
			}
			if h.row != nil {
				each(h)
			}
		}
	}
	return nil
}
