package store_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

const (
	childPath   = "IDBRIDGE_STORE_TEST_CHILD"
	changerPath = "IDBRIDGE_STORE_TEST_CHANGER"
)

// TestMain lets the test binary play the process that is killed, and the one that changes rows.
func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		writeForever(path)
	}
	if path := os.Getenv(changerPath); path != "" {
		changeOnDemand(path)
	}
	os.Exit(m.Run())
}

// writeForever prints the id of each record once it was acknowledged.
func writeForever(path string) {
	s, err := store.Open(context.Background(), store.Config{Driver: store.SQLite, Path: path})
	if err != nil {
		panic(err)
	}
	l, err := audit.New(s, auditKey)
	if err != nil {
		panic(err)
	}
	for i := range 8 {
		go func() {
			for j := 0; ; j++ {
				id := fmt.Sprintf("%d-%d", i, j)
				if err := l.Event(context.Background(), audit.Record{Time: time.Now(), ID: id}); err != nil {
					panic(err)
				}
				fmt.Println(id)
			}
		}()
	}
	select {}
}

func TestKill9LosesNothingAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "idbridge.db")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childPath+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	s := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	l := auditLog(t, s) // a second process on the same file
	acknowledged := map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		acknowledged[lines.Text()] = true
		if n := len(acknowledged); n%50 == 0 && n < 500 {
			id := fmt.Sprint("parent-", n)
			must(t, l.Event(t.Context(), audit.Record{Time: time.Now(), ID: id}))
			acknowledged[id] = true
		} else if n >= 500 {
			must(t, child.Process.Kill())
		}
	}
	_ = child.Wait()
	if len(acknowledged) < 500 {
		t.Fatalf("the child wrote only %d records", len(acknowledged))
	}
	if _, err := audit.Verify(t.Context(), s, auditKey, nil); err != nil {
		t.Error(err)
	}
	rows, err := s.AuditRows(t.Context(), 0, 1<<30)
	must(t, err)
	for _, r := range rows {
		delete(acknowledged, r.ID)
	}
	if len(acknowledged) != 0 {
		t.Errorf("lost: %v", acknowledged)
	}
}

func TestPostgresAway(t *testing.T) {
	server := testenv.Postgres(t)
	s := handles(store.Config{Driver: store.Postgres, DSN: authn.Secret(server.DSN)})(t)
	must(t, s.Ping(t.Context()))
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	if err := s.Ping(ctx); authn.KindOf(err) != authn.Unavailable {
		t.Errorf("while the server is away: %v, want unavailable", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("came back after %v, the deadline was 2s", took)
	}
	server.Start()
	must(t, s.Ping(t.Context()))
}

func TestBadDSNShowsNoPassword(t *testing.T) {
	for _, dsn := range []string{"postgres://u:canary@127.0.0.1:1/x?connect_timeout=1", "postgres://u:canary@[/x", "password=canary port=x"} {
		_, err := store.Open(t.Context(), store.Config{Driver: store.Postgres, DSN: authn.Secret(dsn)})
		if err == nil || bytes.Contains([]byte(err.Error()), []byte("canary")) {
			t.Errorf("got %v", err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "idbridge.db")
	s := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	must(t, s.LimitPages(t.Context(), 1))
	var err error
	kept := 0
	for err == nil {
		if _, err = s.UseOnce(t.Context(), "fill", fmt.Sprintf("%d-%04000d", kept, 0), time.Now()); err == nil {
			kept++
		}
	}
	if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != "store_full" {
		t.Errorf("got %v, want store_full", err)
	}
	must(t, s.LimitPages(t.Context(), 1<<30))
	if first, err := s.UseOnce(t.Context(), "fill", "after", time.Now()); err != nil || !first {
		t.Errorf("with room again: %v, %v", first, err)
	}
}

func TestRefusesWhatItCannotOpen(t *testing.T) {
	dir := t.TempDir()
	newer := filepath.Join(dir, "newer.db")
	must(t, handles(store.Config{Driver: store.SQLite, Path: newer})(t).Ping(t.Context()))
	db, err := sql.Open("sqlite", newer)
	must(t, err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
	must(t, err)
	must(t, db.Close())
	text := filepath.Join(dir, "text.db")
	must(t, os.WriteFile(text, bytes.Repeat([]byte("no database "), 1000), 0o600))
	for path, reason := range map[string]string{newer: "store_newer", text: "store_corrupt", filepath.Join(text, "x.db"): "store_read_only", dir: "store_read_only"} {
		_, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: path})
		if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != reason {
			t.Errorf("%s: %v, want %s", path, err, reason)
		}
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	must(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "new", "idbridge.db")
	must(t, handles(store.Config{Driver: store.SQLite, Path: path})(t).Ping(t.Context()))
	for name, want := range map[string]os.FileMode{"": 0o700, "idbridge.db": 0o600, "idbridge.db-wal": 0o600, "idbridge.db-shm": 0o600} {
		info, err := os.Stat(filepath.Join(dir, "new", name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	s, err := store.Open(b.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(b.TempDir(), "x.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	l, err := audit.New(s, auditKey)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	d := authn.Decision{ID: "0123456789abcdef", Username: "user00042", Environment: "production", Provider: "corp",
		Subject: "8d2a2f7e-0000-0000-0000-000000000042", ITUser: "user00042", Kind: authn.OK, Factors: []string{"password"}}
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d := d
			d.Time = time.Now()
			if _, err := s.Attempts(context.Background(), "subject:corp:8d2a2f7e"); err != nil {
				b.Error(err)
			}
			if err := l.Record(context.Background(), d); err != nil {
				b.Error(err)
			}
		}
	})
}
