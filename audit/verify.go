package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/idbridge/idbridge/authn"
)

// Reasons why a chain is not what was written, as authn.ReasonOf tells them.
const (
	WrongKey    = "wrong_key"    // written under another key
	HeadChanged = "head_changed" // the row that remembers both ends was changed or removed
	Missing     = "missing"      // a record is not there
	Reordered   = "reordered"    // a record is genuine but stands, under another number, in the wrong place
	Changed     = "changed"      // a record was changed or forged
	CutOff      = "cut_off"      // records at the end are not there
	Inserted    = "inserted"     // there is a forged record after the last one
)

// Broken says where a chain breaks first.
type Broken struct {
	Seq    int64 // number of the record; 0 when it is not one record
	Reason string
}

func (b *Broken) Error() string { return fmt.Sprintf("record %d: %s", b.Seq, b.Reason) }

// Verified is what a sound chain holds. Seq and MAC, kept elsewhere, prove later that nothing up to there was
// rewritten.
type Verified struct {
	Records  int64 // without those of a broken part
	First    int64 // 0 when there is none
	Seq      int64
	MAC      []byte
	PurgedTo int64   // number of the last purged record
	Breaks   []Break // acknowledged by a Restart; what stands before has not changed since
}

// verifyPage is few enough for a sign-in not to notice that it shares a core with them.
const verifyPage = 250

// Verify checks the whole chain as it is now; records appended meanwhile do not matter. Each page calls progress, which
// may be nil, and may rest there. A chain that does not hold gives Untrusted with one of the reasons above and a *Broken in
// its tree, unless a Restart acknowledged the break as it is found. A purge that takes away what has not been checked yet
// makes it start again.
func Verify(ctx context.Context, store Reader, key []byte, progress func(done, total int64)) (Verified, error) {
	for {
		head, err := store.AuditHead(ctx)
		if err != nil {
			return Verified{}, err
		}
		v, err := verify(ctx, store, newMacer(key), head, progress)
		var at *Broken
		if !errors.As(err, &at) {
			return v, err
		}
		now, headErr := store.AuditHead(ctx)
		if headErr != nil {
			return Verified{}, headErr
		}
		if !now.purgedInto(head, at) || newMacer(key).checkHead(now) != nil {
			return v, err
		}
	}
}

// purgedInto tells whether a purge since then may be why the chain did not hold at a record: it took the record away, or the
// one before it. Of a break further on it is not, or who verifies slower than others purge would never tell of one.
func (h Head) purgedInto(then Head, at *Broken) bool {
	return h.PurgedSeq != then.PurgedSeq && at.Seq <= h.PurgedSeq+1
}

func verify(ctx context.Context, store Reader, m *macer, h Head, progress func(done, total int64)) (Verified, error) {
	w := newWalk(m, h)
	if err := m.checkHead(h); err != nil {
		return w.Verified, broken(0, authn.ReasonOf(err))
	}
	if err := w.all(ctx, store, progress); err != nil {
		return w.Verified, err
	}
	return w.Verified, w.breach
}

// walk goes along the chain, from what was purged to the end that the head tells.
type walk struct {
	Verified
	m      *macer
	head   Head
	last   int64     // number of the last row seen
	from   int64     // number of the first row after the last restart
	found  hash.Hash // over all rows from there, as they are
	breach error     // where the chain broke first after the last restart
	beyond bool      // rows that were appended since the check began
}

func newWalk(m *macer, h Head) *walk {
	return &walk{
		Verified: Verified{Seq: h.PurgedSeq, MAC: h.PurgedMAC, PurgedTo: h.PurgedSeq},
		m:        m, head: h, last: h.PurgedSeq, from: h.PurgedSeq + 1, found: sha256.New(),
	}
}

// all sees every row; then breach is the answer.
func (w *walk) all(ctx context.Context, store Reader, progress func(done, total int64)) error {
	for more := true; more; {
		rows, err := store.AuditRows(ctx, w.last, verifyPage)
		if err != nil {
			return err
		}
		for i := range rows {
			w.step(&rows[i], nextOf(rows, i))
		}
		if progress != nil {
			progress(min(w.last, w.head.Seq)-w.head.PurgedSeq, w.head.Seq-w.head.PurgedSeq)
		}
		more = len(rows) == verifyPage && !w.beyond
	}
	if w.breach == nil {
		w.breach = w.end()
	}
	return nil
}

func nextOf(rows []Row, i int) *Row {
	if i+1 < len(rows) {
		return &rows[i+1]
	}
	return nil
}

func (w *walk) step(row, next *Row) {
	w.last = row.Seq
	if b, is := w.m.breakOf(row); is && w.acknowledges(b) {
		w.Breaks, w.breach = append(w.Breaks, b), nil
		w.from, w.found = row.Seq+1, sha256.New()
		w.holds(row)
		return
	}
	w.m.addTo(w.found, row)
	switch {
	case w.breach != nil || w.beyond:
	case row.Seq > w.head.Seq:
		w.breach = w.afterEnd(row)
	default:
		w.breach = w.follow(row, next)
	}
}

// follow checks that a row is the one after the rows seen so far.
func (w *walk) follow(row, next *Row) error {
	if row.Seq != w.Seq+1 {
		return broken(w.Seq+1, Missing)
	}
	if !hmac.Equal(row.MAC, w.m.record(w.MAC, &row.Record)) {
		return broken(row.Seq, w.whyNot(row, next))
	}
	w.holds(row)
	return nil
}

func (w *walk) holds(row *Row) {
	if w.Records == 0 {
		w.First = row.Seq
	}
	w.Records, w.Seq, w.MAC = w.Records+1, row.Seq, row.MAC
}

// whyNot tells a record that was moved from one that was changed: under the next number it would be the right one.
func (w *walk) whyNot(row, next *Row) string {
	if next == nil {
		return Changed
	}
	moved := next.Record
	moved.Seq = row.Seq
	if hmac.Equal(next.MAC, w.m.record(w.MAC, &moved)) {
		return Reordered
	}
	return Changed
}

// afterEnd judges a row behind the end as it was when the check began: appended since, or forged.
func (w *walk) afterEnd(row *Row) error {
	if err := w.end(); err != nil {
		return err
	}
	if row.Seq != w.Seq+1 || !hmac.Equal(row.MAC, w.m.record(w.MAC, &row.Record)) {
		return broken(row.Seq, Inserted)
	}
	w.beyond = true
	return nil
}

// end checks that the rows seen so far reach the end that the head tells.
func (w *walk) end() error {
	switch {
	case w.Seq < w.head.Seq:
		return broken(w.Seq+1, CutOff)
	case w.Seq == w.head.Seq && w.Seq > 0 && !sameMAC(w.MAC, w.head.MAC):
		return broken(w.Seq, Changed)
	}
	return nil
}

func broken(seq int64, reason string) error {
	return authn.Errorf(authn.Untrusted, reason, "the audit chain does not hold: %w", &Broken{seq, reason})
}
