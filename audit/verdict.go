package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Kept is a record as somebody keeps it elsewhere. It proves later that nothing up to there is missing or was rewritten, not
// even together with the rest of the database.
type Kept struct {
	Seq int64
	MAC []byte
}

func (k Kept) String() string { return fmt.Sprintf("%d:%x", k.Seq, k.MAC) }

// ParseKept reads NUMBER:MAC. One that was cut off on its way is none, and no alarm.
func ParseKept(text string) (Kept, error) {
	number, text, _ := strings.Cut(strings.TrimSpace(text), ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	mac, macErr := hex.DecodeString(text)
	if err != nil || macErr != nil || seq < 1 || len(mac) != sha256.Size {
		return Kept{}, errors.New("want NUMBER:MAC, as idbridge audit verify and idbridge backup print it")
	}
	return Kept{seq, mac}, nil
}

// What became of a Kept.
const (
	KeptNotAsked = "not_asked"
	KeptThere    = "there"  // as it was
	KeptPurged   = "purged" // nothing can be said of it
	KeptLost     = "lost"   // missing, or another record is in its place: the chain holds, but is not the one from then
)

// Verdict is what Examine has found, for people: commands, pages and metrics tell the same.
type Verdict struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"` // zero: it ended early, and is no verdict
	Actor   string    `json:"actor" doc:"who asked for it; schedule: nobody"`

	Holds    bool    `json:"holds" doc:"nothing was changed, removed, inserted or moved, and what was kept is there"`
	Records  int64   `json:"records" doc:"without those of a broken part"`
	First    int64   `json:"first" doc:"number of the first record; 0: there is none"`
	Last     int64   `json:"last" doc:"number of the last record as far as the chain holds"`
	MAC      string  `json:"mac" doc:"of that record; LAST:MAC, kept elsewhere, proves later that nothing up to there was rewritten"`
	PurgedTo int64   `json:"purged_to" doc:"number of the last record that was purged"`
	Restarts []Break `json:"restarts" doc:"breaks that were acknowledged; what stands before has not changed since"`
	Kept     string  `json:"kept" enum:"not_asked,there,purged,lost" doc:"what became of the record that was kept elsewhere"`

	Broken int64  `json:"broken" doc:"number of the first record that is wrong; 0: it is not one record"`
	Reason string `json:"reason" doc:"why it does not hold: docs/errors.md"`
	Text   string `json:"text" doc:"the same in words, and what cannot be said"`
}

// Examine verifies the whole chain, and that a record that was kept elsewhere is in it; kept may be nil. That it does not
// hold is a Verdict and no error. progress is that of Verify.
func Examine(
	ctx context.Context, store Reader, key []byte, actor string, kept *Kept, progress func(done, total int64),
) (Verdict, error) {
	d := Verdict{Started: time.Now().UTC(), Actor: actor, Holds: true, Kept: KeptNotAsked}
	v, err := Verify(ctx, store, key, progress)
	d.take(v)
	if err == nil && kept != nil {
		err = d.lookFor(ctx, store, *kept)
	}
	var at *Broken
	switch {
	case errors.As(err, &at):
		d.Holds, d.Broken, d.Reason, d.Text = false, at.Seq, authn.ReasonOf(err), err.Error()
	case err != nil:
		return d, err
	}
	d.Ended = time.Now().UTC()
	return d, nil
}

func (d *Verdict) take(v Verified) {
	d.Records, d.First, d.Last, d.PurgedTo = v.Records, v.First, v.Seq, v.PurgedTo
	d.MAC, d.Restarts = hex.EncodeToString(v.MAC), append([]Break{}, v.Breaks...)
}

// lookFor looks for the record that was kept in a chain that holds.
func (d *Verdict) lookFor(ctx context.Context, store Reader, k Kept) error {
	d.Kept = KeptLost
	if k.Seq > d.Last {
		return authn.Errorf(authn.Untrusted, CutOff, "the audit ends with number %d; up to %d it was there: %d record(s) are missing, "+
			"as when an older copy of the database was put in place: %w", d.Last, k.Seq, k.Seq-d.Last, &Broken{d.Last + 1, CutOff})
	}
	rows, err := store.AuditRows(ctx, k.Seq-1, 1)
	if err != nil {
		return err
	}
	if len(rows) == 0 || rows[0].Seq != k.Seq { // or it was purged a moment ago
		head, err := store.AuditHead(ctx)
		if err != nil {
			return err
		}
		d.PurgedTo = max(d.PurgedTo, head.PurgedSeq)
	}
	if k.Seq <= d.PurgedTo {
		return d.purged(k)
	}
	if len(rows) == 0 || rows[0].Seq != k.Seq || !sameMAC(rows[0].MAC, k.MAC) {
		return authn.Errorf(authn.Untrusted, Changed, "number %d is another record than the one that was kept: an older copy of the "+
			"database was put in place and written on, or the audit was rewritten by somebody who has the key: %w", k.Seq,
			&Broken{k.Seq, Changed})
	}
	d.Kept = KeptThere
	return nil
}

func (d *Verdict) purged(k Kept) error {
	d.Kept = KeptPurged
	d.Text = fmt.Sprintf("number %d was purged since, as everything up to %d was: nothing can be said of it", k.Seq, d.PurgedTo)
	return nil
}

// Same tells whether two verdicts are of one finding.
func (d Verdict) Same(o Verdict) bool {
	return d.Holds == o.Holds && d.Broken == o.Broken && d.Reason == o.Reason
}

// Record is the record of a verification that has ended, or of one that ended early with an error.
func (d Verdict) Record(err error) Record {
	r := Record{Action: VerifyEnded, Actor: d.Actor, Time: time.Now(), Kind: authn.OK.String(),
		Detail: fmt.Sprintf("%d record(s), up to number %d, mac %s", d.Records, d.Last, d.MAC)}
	switch {
	case err != nil:
		r.Kind, r.Reason, r.Detail = authn.KindOf(err).String(), authn.ReasonOf(err), err.Error()
	case !d.Holds:
		r.Kind, r.Reason, r.Detail = authn.Untrusted.String(), d.Reason, d.Text
	}
	return r
}
