package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
)

// testRestart breaks the chain in every way there is, restarts it, and goes on.
func testRestart(t *testing.T, driver, source string, open opener) {
	s := open(t)
	fillAudit(t, s, 10)
	db := rawDatabase(t, driver, source)
	run(t, db, keepAudit)
	if _, err := audit.Restart(t.Context(), s, auditKey, "root", "nothing"); authn.ReasonOf(err) != audit.NotBroken {
		t.Errorf("a sound chain was restarted: %v", err)
	}
	for _, c := range tampering {
		t.Run(c.name, func(t *testing.T) {
			run(t, db, c.sql)
			key, reason := auditKey, c.reason
			b := restart(t, s, key, reason, c.seq)
			must(t, auditLog(t, s).Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn}))
			wantBreaks(t, s, key, b)

			run(t, db, `UPDATE audit SET detail = 'changed later' WHERE seq = 4`)
			if _, err := audit.Verify(t.Context(), s, key, nil); authn.KindOf(err) != authn.Untrusted {
				t.Errorf("a change before the restart does not show: %v", err)
			}
			run(t, db, restoreAudit)
		})
	}
}

// testLostKey is the story of one chain: the key is lost, then the head is deleted, then old records are purged.
func testLostKey(t *testing.T, driver, source string, open opener) {
	s := open(t)
	fillAudit(t, s, 10)
	db := rawDatabase(t, driver, source)
	next := bytes.Repeat([]byte{8}, 32)
	l, err := audit.New(s, next)
	must(t, err)
	defer l.Close()
	event := func() error {
		return l.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn})
	}
	if err := event(); authn.ReasonOf(err) != audit.WrongKey {
		t.Fatalf("a chain of another key was continued: %v", err)
	}
	first := restart(t, s, next, audit.WrongKey, 0)
	must(t, event())
	wantBreaks(t, s, next, first)
	if first.Seq != 11 || first.From != 1 || first.Actor != "root" || first.Why != "it is lost" {
		t.Errorf("%+v", first)
	}

	run(t, db, `DELETE FROM audit_head`)
	if err := event(); authn.ReasonOf(err) != audit.HeadChanged {
		t.Errorf("a chain without head was continued: %v", err)
	}
	second := restart(t, s, next, audit.HeadChanged, 0)
	must(t, event())
	wantBreaks(t, s, next, first, second)

	rows, err := s.AuditRows(t.Context(), 0, 100)
	must(t, err)
	purgeTo := func(seq int) { // also in the middle of a broken part
		_, err := l.Purge(t.Context(), rows[seq].Time, "root")
		must(t, err)
	}
	purgeTo(5)
	wantBreaks(t, s, next, first, second)
	purgeTo(12)
	wantBreaks(t, s, next, second)
	run(t, db, `UPDATE audit SET detail = detail || ' ' WHERE seq = 13`)
	if _, err := audit.Verify(t.Context(), s, next, nil); authn.KindOf(err) != authn.Untrusted {
		t.Errorf("a changed restart is taken for one: %v", err)
	}
}

// A head that was removed after a purge must not look like a chain that begins.
func testHeadRemovedAfterPurge(t *testing.T, driver, source string, open opener) {
	s := open(t)
	fillAudit(t, s, 10)
	l := auditLog(t, s)
	_, err := l.Purge(t.Context(), time.Now().Add(time.Hour), "root")
	must(t, err)
	run(t, rawDatabase(t, driver, source), `DELETE FROM audit_head`)
	wantBroken(t, "head removed after a purge", s, auditKey, audit.HeadChanged, 0)
	if err := l.Event(t.Context(), audit.Record{}); authn.ReasonOf(err) != audit.HeadChanged {
		t.Errorf("continued: %v", err)
	}
	wantBreaks(t, s, auditKey, restart(t, s, auditKey, audit.HeadChanged, 0))
}

// Records that keep coming must not get lost between what a restart has read and what it writes.
func testRestartMeanwhile(t *testing.T, driver, source string, open opener) {
	s := open(t)
	fillAudit(t, s, 10)
	run(t, rawDatabase(t, driver, source), `UPDATE audit SET username = 'eve' WHERE seq = 5`)
	busy := &appending{Store: s, log: auditLog(t, s)}
	if _, err := audit.Restart(t.Context(), busy, auditKey, "root", "x"); authn.ReasonOf(err) != audit.StillMoving {
		t.Errorf("%v, want audit_moves", err)
	}
	busy.times = 2
	b, err := audit.Restart(t.Context(), busy, auditKey, "root", "x")
	must(t, err)
	wantBreaks(t, s, auditKey, b)
}

// appending gets a record between each reading and the writing; with times only so often.
type appending struct {
	*store.Store
	log   *audit.Log
	times int
	n     int
}

func (a *appending) AppendAudit(ctx context.Context, link func(audit.Head) ([]audit.Row, audit.Head, error)) error {
	if a.times == 0 || a.n < a.times {
		a.n++
		if err := a.log.Event(ctx, audit.Record{Time: time.Now()}); err != nil {
			return err
		}
	}
	return a.Store.AppendAudit(ctx, link)
}

func restart(t *testing.T, s *store.Store, key []byte, reason string, seq int64) audit.Break {
	t.Helper()
	b, err := audit.Restart(t.Context(), s, key, "root", "it is lost")
	if err != nil || b.Reason != reason || b.Broken != seq {
		t.Errorf("restart: %+v, %v; want %s at %d", b, err, reason, seq)
	}
	return b
}

func wantBreaks(t *testing.T, s *store.Store, key []byte, breaks ...audit.Break) {
	t.Helper()
	v, err := audit.Verify(t.Context(), s, key, nil)
	if err != nil || len(v.Breaks) != len(breaks) {
		t.Fatalf("%+v, %v; want %d acknowledged breaks", v, err, len(breaks))
	}
	for i, b := range breaks {
		if got := v.Breaks[i]; got != b {
			t.Errorf("got %+v, want %+v", got, b)
		}
	}
}

func rawDatabase(t *testing.T, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}
