package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
)

var auditKey = bytes.Repeat([]byte{7}, 32)

func auditLog(t *testing.T, s *store.Store) *audit.Log {
	t.Helper()
	l, err := audit.New(s, auditKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func fillAudit(t *testing.T, s *store.Store, n int) {
	t.Helper()
	l := auditLog(t, s)
	for i := range n {
		must(t, l.Record(t.Context(), authn.Decision{
			ID: fmt.Sprint("id", i), Time: time.Now(), Environment: "production", Username: "anna", Kind: authn.OK,
			Factors: []string{"password", "totp"}, Source: netip.MustParseAddr("127.0.0.1"), Duration: time.Millisecond,
		}))
	}
}

func testAuditRace(t *testing.T, open opener) {
	logs := []*audit.Log{auditLog(t, open(t)), auditLog(t, open(t))}
	s := open(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 4 {
				must(t, logs[i%2].Event(t.Context(), audit.Record{Time: time.Now(), ID: fmt.Sprint(i, "-", j), Action: audit.SignIn}))
			}
		})
	}
	wg.Wait()
	v, err := audit.Verify(t.Context(), s, auditKey, nil)
	if err != nil || v.Records != 200 || v.First != 1 || v.Seq != 200 {
		t.Errorf("got %+v, %v; want 200 records", v, err)
	}
}

func testAuditText(t *testing.T, open opener) {
	s := open(t)
	l := auditLog(t, s)
	typed := "=cmd\x00\xff" + strings.Repeat("ü", 4000)
	must(t, l.Event(t.Context(), audit.Record{Time: time.Now(), Username: typed, Action: audit.SignIn}))
	if _, err := audit.Verify(t.Context(), s, auditKey, nil); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if n, err := audit.Export(t.Context(), s, &out, audit.CSV, time.Time{}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[1][6], "'=cmd\uFFFD\uFFFD") {
		t.Errorf("%v, %.80q", err, lines)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen int64
	must(t, audit.Tail(ctx, s, 1, time.Millisecond, func(r audit.Row) error {
		if seen = r.Seq; seen == 1 {
			return l.Event(ctx, audit.Record{Time: time.Now(), Action: audit.Activation})
		}
		cancel()
		return nil
	}))
	if seen != 2 {
		t.Errorf("following saw record %d last, want 2", seen)
	}
}

func testAuditPurge(t *testing.T, open opener) {
	s := open(t)
	l := auditLog(t, s)
	now := time.Now()
	for _, age := range []time.Duration{5, 4, 1, 3} { // the last is older than one that stays
		must(t, l.Event(t.Context(), audit.Record{Time: now.Add(-age * time.Hour), Action: audit.SignIn}))
	}
	if n, err := l.Purge(t.Context(), now.Add(-2*time.Hour), "root"); err != nil || n != 2 {
		t.Fatalf("purged %d, %v; want 2", n, err)
	}
	v, err := audit.Verify(t.Context(), s, auditKey, nil)
	if err != nil || v.PurgedTo != 2 || v.First != 3 || v.Seq != 5 {
		t.Errorf("%+v, %v; want 3 to 5 with the purge recorded", v, err)
	}
}

func testAuditOf(t *testing.T, open opener) {
	s := open(t)
	l := auditLog(t, s)
	for i, user := range []string{"ann", "bob", "ann", "", "ann", "bob"} {
		must(t, l.Event(t.Context(), audit.Record{Time: began, Action: audit.SignIn, Username: "ann", ITUser: user, ID: strconv.Itoa(i)}))
	}
	for indexed := 0; indexed <= 6; indexed += 3 { // none of them is in the index, some are, all are
		for _, c := range []struct {
			user         string
			among, limit int
			want         string
		}{{"ann", 100, 10, "420"}, {"ann", 100, 2, "42"}, {"ann", 4, 10, "42"}, {"bob", 1, 10, "5"}, {"eve", 100, 10, ""}, {"Ann", 100, 10, ""}} {
			list, err := s.RecordsOf(t.Context(), c.user, c.among, c.limit)
			got := ""
			for _, r := range list {
				got += r.ID
			}
			if err != nil || got != c.want {
				t.Errorf("%d in the index, %+v: %q, %v", indexed, c, got, err)
			}
		}
		if p, err := s.IndexAudit(t.Context(), 3); err != nil || p.Place != int64(min(indexed+3, 6)) {
			t.Fatalf("%+v, %v", p, err)
		}
	}
}

// tampering is what somebody with write access to the database could do, and what Verify must say to it.
var tampering = []struct {
	name, sql, reason string
	seq               int64
}{
	{"a field", `UPDATE audit SET username = 'eve' WHERE seq = 5`, audit.Changed, 5},
	{"the time", `UPDATE audit SET time = time + 1 WHERE seq = 5`, audit.Changed, 5},
	{"text moved between fields", `UPDATE audit SET actor = environment, environment = '' WHERE seq = 5`, audit.Changed, 5},
	{"one removed", `DELETE FROM audit WHERE seq = 5`, audit.Missing, 5},
	{"one removed, the rest renumbered", `DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = -seq WHERE seq > 5;
		UPDATE audit SET seq = -seq - 1 WHERE seq < 0`, audit.Changed, 5},
	{"the first removed", `DELETE FROM audit WHERE seq = 1`, audit.Missing, 1},
	{"cut off", `DELETE FROM audit WHERE seq > 8`, audit.CutOff, 9},
	{"cut off, head too", `DELETE FROM audit WHERE seq > 8;
		UPDATE audit_head SET seq = 8, mac = (SELECT mac FROM audit WHERE seq = 8)`, audit.HeadChanged, 0},
	{"purge faked", `DELETE FROM audit WHERE seq <= 3`, audit.Missing, 1},
	{"purge faked, head too", `UPDATE audit_head SET purged_seq = 3, purged_mac = (SELECT mac FROM audit WHERE seq = 3);
		DELETE FROM audit WHERE seq <= 3`, audit.HeadChanged, 0},
	{"head removed", `DELETE FROM audit_head`, audit.HeadChanged, 0},
	{"head emptied", `UPDATE audit_head SET seq = 0, seal = substr(seal, 1, 0)`, audit.HeadChanged, 0},
	{"two swapped", `UPDATE audit SET seq = -5 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6;
		UPDATE audit SET seq = 6 WHERE seq = -5`, audit.Reordered, 5},
	{"forged at the end", `INSERT INTO audit SELECT 11, time, id, action, actor, environment, username, provider, subject,
		it_user, kind, reason, factors, source, duration, detail, mac FROM audit WHERE seq = 10`, audit.Inserted, 11},
	{"another key", `UPDATE audit_head SET key_id = mac`, audit.WrongKey, 0},
}

const (
	keepAudit    = `CREATE TABLE a AS SELECT * FROM audit; CREATE TABLE h AS SELECT * FROM audit_head`
	restoreAudit = `DELETE FROM audit; DELETE FROM audit_head; INSERT INTO audit SELECT * FROM a;
		INSERT INTO audit_head SELECT * FROM h`
)

// run is somebody else with write access to the database.
func run(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	for q := range strings.SplitSeq(query, ";") {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func testTampering(t *testing.T, driver, source string, open opener) {
	s := open(t)
	fillAudit(t, s, 10)
	db := rawDatabase(t, driver, source)
	run(t, db, keepAudit)
	for _, c := range tampering {
		run(t, db, c.sql)
		wantBroken(t, c.name, s, auditKey, c.reason, c.seq)
		if c.reason == audit.HeadChanged || c.reason == audit.WrongKey {
			err := auditLog(t, s).Event(t.Context(), audit.Record{Time: time.Now()})
			if authn.ReasonOf(err) != c.reason {
				t.Errorf("%s: the forged head was continued: %v", c.name, err)
			}
		}
		run(t, db, restoreAudit)
	}
	wantBroken(t, "wrong key", s, bytes.Repeat([]byte{8}, 32), audit.WrongKey, 0)
	if v, err := audit.Verify(t.Context(), s, auditKey, nil); err != nil || v.Records != 10 {
		t.Errorf("put back as it was: %+v, %v", v, err)
	}
}

func wantBroken(t *testing.T, name string, s *store.Store, key []byte, reason string, seq int64) {
	t.Helper()
	_, err := audit.Verify(t.Context(), s, key, nil)
	var b *audit.Broken
	if !errors.As(err, &b) || authn.KindOf(err) != authn.Untrusted || authn.ReasonOf(err) != reason || b.Seq != seq {
		t.Errorf("%s: %v; want %s at %d", name, err, reason, seq)
	}
}
