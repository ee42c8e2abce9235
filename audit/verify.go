package audit

import (
	"context"
	"crypto/hmac"
	"fmt"

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

// Verified is what a sound chain holds. Seq and MAC, kept elsewhere, prove later that nothing up to there was rewritten.
type Verified struct {
	Records  int64
	First    int64 // 0 when there is none
	Seq      int64
	MAC      []byte
	PurgedTo int64 // number of the last purged record
}

const verifyPage = 1000

// Verify checks the whole chain as it is now; records appended meanwhile do not matter. Each page calls progress, which
// may be nil. A chain that does not hold gives Untrusted with one of the reasons above and a *Broken in its tree.
// A purge while it runs makes it start again.
func Verify(ctx context.Context, store Reader, key []byte, progress func(done, total int64)) (Verified, error) {
	for {
		head, err := store.AuditHead(ctx)
		if err != nil {
			return Verified{}, err
		}
		v, err := verify(ctx, store, newMacer(key), head, progress)
		if err == nil {
			return v, nil
		}
		now, headErr := store.AuditHead(ctx)
		if headErr != nil {
			return Verified{}, headErr
		}
		if now.PurgedSeq == head.PurgedSeq || newMacer(key).checkHead(now) != nil {
			return v, err
		}
	}
}

func verify(ctx context.Context, store Reader, m *macer, h Head, progress func(done, total int64)) (Verified, error) {
	v := Verified{Seq: h.PurgedSeq, MAC: h.PurgedMAC, PurgedTo: h.PurgedSeq}
	if err := m.checkHead(h); err != nil {
		return v, broken(0, authn.ReasonOf(err))
	}
	for {
		rows, err := store.AuditRows(ctx, v.Seq, verifyPage)
		if err != nil {
			return v, err
		}
		for i := range rows {
			if rows[i].Seq > h.Seq && h.Seq > 0 {
				return v, afterEnd(m, v, h, &rows[i])
			}
			if err := v.follow(m, &rows[i], nextOf(rows, i)); err != nil {
				return v, err
			}
		}
		if progress != nil {
			progress(v.Records, h.Seq-h.PurgedSeq)
		}
		if len(rows) < verifyPage {
			return v, atEnd(v, h)
		}
	}
}

func nextOf(rows []Row, i int) *Row {
	if i+1 < len(rows) {
		return &rows[i+1]
	}
	return nil
}

// follow checks that a row is the one after the rows seen so far.
func (v *Verified) follow(m *macer, row, next *Row) error {
	if row.Seq != v.Seq+1 {
		return broken(v.Seq+1, Missing)
	}
	if !hmac.Equal(row.MAC, m.record(v.MAC, &row.Record)) {
		return broken(row.Seq, v.whyNot(m, row, next))
	}
	if v.Records == 0 {
		v.First = row.Seq
	}
	v.Records, v.Seq, v.MAC = v.Records+1, row.Seq, row.MAC
	return nil
}

// whyNot tells a record that was moved from one that was changed: under the next number it would be the right one.
func (v *Verified) whyNot(m *macer, row, next *Row) string {
	if next == nil {
		return Changed
	}
	moved := next.Record
	moved.Seq = row.Seq
	if hmac.Equal(next.MAC, m.record(v.MAC, &moved)) {
		return Reordered
	}
	return Changed
}

// afterEnd judges a row behind the end as it was when the check began: appended since, or forged.
func afterEnd(m *macer, v Verified, h Head, row *Row) error {
	if err := atEnd(v, h); err != nil {
		return err
	}
	if row.Seq != v.Seq+1 || !hmac.Equal(row.MAC, m.record(v.MAC, &row.Record)) {
		return broken(row.Seq, Inserted)
	}
	return nil
}

func atEnd(v Verified, h Head) error {
	switch {
	case v.Seq < h.Seq:
		return broken(v.Seq+1, CutOff)
	case v.Seq > h.Seq:
		return broken(h.Seq+1, HeadChanged)
	case v.Seq > 0 && !sameMAC(v.MAC, h.MAC):
		return broken(v.Seq, Changed)
	}
	return nil
}

func broken(seq int64, reason string) error {
	return authn.Errorf(authn.Untrusted, reason, "the audit chain does not hold: %w", &Broken{seq, reason})
}
