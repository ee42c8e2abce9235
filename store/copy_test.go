package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/providers/saml"
	"github.com/idbridge/idbridge/store"
)

// TestCopy copies a database that is being written to. The copy is whole, marked, for its owner only, and nothing overwrites it.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	path, into := filepath.Join(dir, "it's live?.db"), filepath.Join(dir, "it's a copy?.db")
	s := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	addUsers(t, s, "ann", "bob")
	l := auditLog(t, s)
	must(t, l.Event(t.Context(), audit.Record{Time: began, ID: "before"}))
	held, err := store.CopySQLite(t.Context(), path, into)
	must(t, err)
	must(t, l.Event(t.Context(), audit.Record{Time: began, ID: "after"}))
	if held.ITUsers != 2 || held.AuditSeq != 1 || len(held.AuditMAC) != 32 || held.Schema < 8 {
		t.Errorf("holds %+v", held)
	}
	if info, err := os.Stat(into); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 { // the database, its WAL and index, the copy
		t.Errorf("left behind: %v, %v", left, err)
	}
	before, err := os.ReadFile(into)
	must(t, err)
	if _, err := store.CopySQLite(t.Context(), path, into); !os.IsExist(err) {
		t.Errorf("overwriting: %v", err)
	}
	if now, err := os.ReadFile(into); err != nil || string(now) != string(before) {
		t.Errorf("it was written over: %v", err)
	}
	if at, err := s.CopiedAt(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("the database itself is marked: %v, %v", at, err)
	}
	copied := handles(store.Config{Driver: store.SQLite, Path: into})(t)
	if at, err := copied.CopiedAt(t.Context()); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("the copy is of %v, %v", at, err)
	}
	if v, err := audit.Verify(t.Context(), copied, auditKey, nil); err != nil || v.Seq != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = copied.Reopen(t.Context(), began, 1, false)
	must(t, err)
	if at, err := copied.CopiedAt(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("reopened, it is still marked: %v, %v", at, err)
	}
}

func TestCopyOfWhatIsNone(t *testing.T) {
	dir := t.TempDir()
	text, into := filepath.Join(dir, "text.db"), filepath.Join(dir, "copy.db")
	must(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600))
	for path, reason := range map[string]string{text: "store_corrupt", filepath.Join(dir, "none.db"): "store_read_only"} {
		if _, err := store.CopySQLite(t.Context(), path, into); authn.ReasonOf(err) != reason {
			t.Errorf("%s: %v, want %s", path, err, reason)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestDumpCommand(t *testing.T) {
	for dsn, want := range map[authn.Secret]string{
		"postgres://u:canary@db.example.com/bridge":         "pg_dump -Fc --file=f postgres://u@db.example.com:5432/bridge",
		"host=10.0.0.1 user=u password=canary dbname=x y=z": "pg_dump -Fc --file=f postgres://u@10.0.0.1:5432/x",
		"host=/run/postgresql user=u dbname=x":              "pg_dump -Fc --file=f postgres://u@%2Frun%2Fpostgresql:5432/x",
		"postgres://u:canary@[/x":                           "",
	} {
		got, err := store.DumpCommand(dsn, "f")
		if got != want || (err != nil) != (want == "") || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

// TestReopen ends what could have been used since the copy was made, and nothing else.
func TestReopen(t *testing.T) {
	s := handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "x.db")})(t)
	later := began.Add(time.Hour)
	confirmed(t, s, 1)
	must(t, s.AddDevice(t.Context(), mfa.Device{ID: "begun", User: "k-ann", Sealed: []byte("x"), Created: began}))
	must(t, s.AddInvitation(t.Context(), "k-ann", []byte("i"), later))
	_, err := s.SaveLogin(t.Context(), authn.Login{ID: "l", Version: 1, Expires: later})
	must(t, err)
	must(t, s.AddSession(t.Context(), authn.Session{ID: "s", User: "k-ann", Expires: later}, ""))
	must(t, s.AddToken(t.Context(), authn.Token{ID: "t", Hash: "h", User: "k-ann", FirstUseBy: later, Expires: later}))
	must(t, s.AddSAMLSession(t.Context(), saml.Session{ID: "i", Provider: "sso", Name: "n", NameID: []byte("x"), Expires: later}))
	must(t, s.Keep(t.Context(), "proposal", "p", []byte("x"), later, 1))
	glass := localAccount("g", "bg-ann")
	glass.ActiveUntil = later
	_, err = s.AddLocalAccount(t.Context(), glass)
	must(t, err)

	got, err := s.Reopen(t.Context(), began, 4711, true)
	must(t, err)
	if want := (store.Reopened{Logins: 1, Sessions: 1, Tokens: 1, Invitations: 1, BreakGlass: 1, Devices: 1}); got != want {
		t.Errorf("ended %+v, want %+v", got, want)
	}
	if left, err := s.SAMLSessions(t.Context(), "sso", "i", "n"); err != nil || len(left) != 0 {
		t.Errorf("sessions at an identity provider: %+v, %v", left, err)
	}
	if _, found, err := s.Kept(t.Context(), "proposal", "p"); err != nil || found {
		t.Errorf("what was not confirmed is kept: %v, %v", found, err)
	}
	for step, want := range map[int64]bool{4711: false, 4712: true} {
		if used, err := s.UseStep(t.Context(), "d0", step); err != nil || used != want {
			t.Errorf("step %d: %v, %v", step, used, err)
		}
	}
	if devices, err := s.Devices(t.Context(), "k-ann"); err != nil || len(devices) != 1 {
		t.Errorf("%+v, %v", devices, err)
	}
	got, err = s.Reopen(t.Context(), began, 4711, false)
	must(t, err)
	if got.RecoveryCodes == 0 || got.Tokens != 0 || got.Devices != 0 {
		t.Errorf("a second time: %+v", got)
	}
	codes, err := s.RecoveryCodes(t.Context(), "k-ann")
	must(t, err)
	for _, c := range codes {
		if !c.Used {
			t.Errorf("%s is still good", c.ID)
		}
	}
}
