package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"math"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// A chain that broke cannot be mended, and a broken head or a lost key would refuse every sign-in for ever. So an
// administrator may restart it openly. The restart is a record of its own kind: it says what was found, and holds a
// hash over all rows before it as they are at that moment, back to the start or the restart before. Nothing is removed.
// Verify takes a restart for an acknowledged break when its MAC is right and the hash still fits: the broken part is
// frozen, and what changes in it later shows again. Rows that were purged since cannot be hashed any more; then the MAC
// alone decides.

// Break is one that a restart acknowledged.
type Break struct {
	Seq   int64     `json:"seq,omitzero"` // of the restart's record, which itself leaves these three out
	Time  time.Time `json:"time,omitzero"`
	Actor string    `json:"actor,omitzero"`

	Reason string `json:"reason"` // why the chain did not hold: WrongKey, HeadChanged, ...
	Broken int64  `json:"broken"` // number of the first record that was wrong; 0 when it was not one record
	Why    string `json:"why"`    // in the administrator's words
	From   int64  `json:"from"`   // number of the first row under the hash
	SHA256 string `json:"sha256"` // of the rows from there to the restart
}

// Reasons why there is no restart.
const (
	NotBroken   = "not_broken"  // the chain holds
	StillMoving = "audit_moves" // records came while the chain was read
)

const (
	maxWhy       = 500
	restartTries = 5
)

// Restart begins a new part of a chain that does not hold, under key, and returns what its record says. why is text of
// 1 to 500 bytes. Internal: not_broken; Unavailable: the store's reasons, or audit_moves while others keep appending.
func Restart(ctx context.Context, store Store, key []byte, actor, why string) (Break, error) {
	if why == "" || len(why) > maxWhy || len(key) < 32 {
		return Break{}, errors.New("audit: a restart needs a key, and a reason of 1 to 500 bytes")
	}
	for range restartTries {
		b, err := restart(ctx, store, newMacer(key), Record{Time: time.Now(), Action: Restarted, Actor: actor}, why)
		if authn.ReasonOf(err) != StillMoving {
			return b, err
		}
	}
	return Break{}, errMoved
}

var errMoved = authn.Errorf(authn.Unavailable, StillMoving,
	"records came while the chain was read: stop idbridge serve, restart the chain, start it again")

// restart reads without a lock, because that can take long, and then lets the head tell whether anything was appended
// meanwhile.
func restart(ctx context.Context, store Store, m *macer, r Record, why string) (Break, error) {
	head, err := store.AuditHead(ctx)
	if err != nil {
		return Break{}, err
	}
	w, err := survey(ctx, store, m, head)
	if err != nil {
		return Break{}, err
	}
	b, err := w.newBreak(&r, why)
	if err != nil {
		return Break{}, err
	}
	err = store.AppendAudit(ctx, func(now Head) ([]Row, Head, error) {
		if !now.equal(head) {
			return nil, Head{}, errMoved
		}
		next := w.head
		next.KeyID, next.Seq, next.MAC = m.id, r.Seq, m.restart(&r)
		next.Seal = m.seal(next)
		return []Row{{r, next.MAC}}, next, nil
	})
	return b, err
}

// survey sees every row and keeps, as the head to go on from, what can be believed of the one that was found.
func survey(ctx context.Context, store Store, m *macer, found Head) (*walk, error) {
	untrusted := m.checkHead(found)
	if untrusted != nil {
		rows, err := store.AuditRows(ctx, 0, 1)
		if err != nil {
			return nil, err
		}
		found = Head{Seq: math.MaxInt64}
		if len(rows) > 0 {
			found.PurgedSeq = rows[0].Seq - 1
		}
	}
	w := newWalk(m, found)
	if err := w.all(ctx, store, nil); err != nil {
		return nil, err
	}
	if untrusted != nil {
		w.breach = broken(0, authn.ReasonOf(untrusted))
		w.head.Seq = w.last
	}
	return w, nil
}

// newBreak fills the restart's record in.
func (w *walk) newBreak(r *Record, why string) (Break, error) {
	var at *Broken
	if !errors.As(w.breach, &at) {
		return Break{}, authn.Errorf(authn.Internal, NotBroken, "the audit chain holds: there is nothing to restart")
	}
	r.Seq = max(w.last, w.head.Seq) + 1
	if r.Seq <= 0 {
		return Break{}, authn.Errorf(authn.Internal, Inserted,
			"a forged record has the highest number there is; remove it first")
	}
	b := Break{Reason: at.Reason, Broken: at.Seq, Why: why, From: w.from, SHA256: hex.EncodeToString(w.found.Sum(nil))}
	detail, err := json.Marshal(b)
	if err != nil {
		return Break{}, err
	}
	r.Kind, r.Reason, r.Detail = authn.OK.String(), at.Reason, string(detail)
	r.normalise()
	b.Seq, b.Time, b.Actor = r.Seq, r.Time, r.Actor
	return b, nil
}

// restart is the MAC of a restart's record, which continues nothing. No other record can have it.
func (m *macer) restart(r *Record) []byte {
	m.buf = r.encode(m.buf[:0])
	return m.sum("restart", nil, m.buf)
}

// breakOf tells whether a row is the record of a restart, and of what.
func (m *macer) breakOf(row *Row) (b Break, is bool) {
	if row.Action != Restarted || !hmac.Equal(row.MAC, m.restart(&row.Record)) {
		return Break{}, false
	}
	err := json.Unmarshal([]byte(row.Detail), &b)
	b.Seq, b.Time, b.Actor = row.Seq, row.Time, row.Actor
	return b, err == nil
}

// acknowledges tells whether what stands before a restart is what the restart found.
func (w *walk) acknowledges(b Break) bool {
	if b.From <= w.PurgedTo {
		return true
	}
	return b.From == w.from && b.SHA256 == hex.EncodeToString(w.found.Sum(nil))
}

// addTo hashes a row as it is, whether it is genuine or not.
func (m *macer) addTo(h hash.Hash, row *Row) {
	m.buf = appendText(row.encode(m.buf[:0]), row.MAC)
	h.Write(m.buf)
}

func (h Head) equal(o Head) bool {
	return h.Seq == o.Seq && h.PurgedSeq == o.PurgedSeq && bytes.Equal(h.KeyID, o.KeyID) && bytes.Equal(h.MAC, o.MAC) &&
		bytes.Equal(h.PurgedMAC, o.PurgedMAC) && bytes.Equal(h.Seal, o.Seal)
}
