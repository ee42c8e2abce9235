package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/idbridge/idbridge/authn"
)

// Inventory is what a copy of the database holds.
type Inventory struct {
	Schema   int64
	ITUsers  int64
	Devices  int64 // second factors
	AuditSeq int64 // number and MAC of the newest record of the audit
	AuditMAC []byte
}

// CopySQLite writes a database, which may be in use, as it is at one moment into a new file that only its owner can read. It
// reads the copy through, and marks it: CopiedAt. Nothing is migrated, so that an older idbridge can use the copy.
func CopySQLite(ctx context.Context, path, into string) (i Inventory, err error) {
	if _, err := os.Stat(path); err != nil {
		return i, unwritable(path, err)
	}
	part := into + ".part" // an empty file under the true name cannot be taken for a copy while it is made
	for _, name := range []string{into, part} {
		f, failed := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if failed != nil {
			return i, failed
		}
		_ = f.Close()
		defer func() {
			if err != nil {
				_ = os.Remove(name)
			}
		}()
	}
	if i, err = copyInto(ctx, path, part); err != nil {
		return i, explain(err)
	}
	if err = flush(part); err == nil {
		err = errors.Join(os.Rename(part, into), flush(filepath.Dir(into)))
	}
	return i, err
}

func copyInto(ctx context.Context, path, part string) (i Inventory, err error) {
	live, err := sql.Open("sqlite", sqliteName(path)+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		return i, err
	}
	_, err = live.ExecContext(ctx, `VACUUM INTO $1`, part)
	if err = errors.Join(err, live.Close()); err != nil {
		return i, err
	}
	copied, err := sql.Open("sqlite", sqliteName(part)+"?mode=rw")
	if err != nil {
		return i, err
	}
	i, err = takeStock(ctx, copied)
	return i, errors.Join(err, copied.Close())
}

// takeStock reads every page of a copy, and marks it.
func takeStock(ctx context.Context, db *sql.DB) (i Inventory, err error) {
	var sound string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&sound); err != nil {
		return i, err
	}
	if sound != "ok" {
		return i, authn.Errorf(authn.Unavailable, "store_corrupt", "the copy is damaged, and so the database may be: %s", sound)
	}
	const stock = `SELECT (SELECT MAX(version_id) FROM goose_db_version), (SELECT COUNT(*) FROM it_users),
		(SELECT COUNT(*) FROM factors WHERE confirmed > 0)`
	if err := db.QueryRowContext(ctx, stock).Scan(&i.Schema, &i.ITUsers, &i.Devices); err != nil {
		return i, err
	}
	err = db.QueryRowContext(ctx, `SELECT seq, mac FROM audit_head`).Scan(&i.AuditSeq, &i.AuditMAC)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return i, err
	}
	_, err = db.ExecContext(ctx, `INSERT INTO health (name, at) VALUES ('copy', $1)
		ON CONFLICT (name) DO UPDATE SET at = excluded.at`, time.Now().UnixMicro())
	return i, err
}

// flush makes a file, or what a folder lists, survive a power cut.
func flush(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sqliteName is a file as the driver wants it.
func sqliteName(path string) string {
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
}

// DumpCommand is the command that copies a PostgreSQL database into a file, without a password.
func DumpCommand(dsn authn.Secret, into string) (string, error) {
	c, err := pgconn.ParseConfig(string(dsn))
	if err != nil {
		return "", errors.New("store.dsn cannot be read") // the driver's error may quote it
	}
	at := &url.URL{Scheme: "postgres", User: url.User(c.User), Host: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), Path: c.Database}
	return fmt.Sprintf("pg_dump -Fc --file=%s %s", into, at), nil
}

// CopiedAt is when this database was made, as a copy of another one; zero when it is none, or Reopen was called.
func (s *Store) CopiedAt(ctx context.Context) (time.Time, error) {
	var us int64
	_, err := s.get(ctx, `SELECT at FROM health WHERE name = 'copy'`, nil, &us)
	return fromMicros(us), err
}

// Reopened is what Reopen ended, and of how many.
type Reopened struct {
	Logins, Sessions, Tokens, Invitations, RecoveryCodes, BreakGlass int64
	Devices                                                          int64 // whose codes up to a step count as used
}

// Reopen makes an older copy the database of from now on: what may have been used, ended or run out since the copy was made is
// ended, since nothing tells. Codes of authenticator apps up to a step count as used. spare leaves recovery codes good.
func (s *Store) Reopen(ctx context.Context, now time.Time, step int64, spare bool) (r Reopened, err error) {
	ends := []struct {
		n     *int64
		query string
		args  []any
	}{
		{&r.Logins, `DELETE FROM logins`, nil},
		{&r.Sessions, `DELETE FROM sessions`, nil},
		{new(int64), `DELETE FROM saml_sessions`, nil},
		{new(int64), `DELETE FROM kept`, nil},
		{&r.Tokens, `UPDATE tokens SET revoked = $1 WHERE revoked = 0 AND expires > $1`, []any{micros(now)}},
		{&r.Invitations, `DELETE FROM invites`, nil},
		{&r.BreakGlass, `UPDATE local_accounts SET active_until = 0 WHERE active_until > $1`, []any{micros(now)}},
		{&r.Devices, `UPDATE factors SET last_step = $1 WHERE confirmed > 0 AND last_step < $1`, []any{step}},
		{new(int64), `DELETE FROM factors WHERE confirmed = 0`, nil},
		{&r.RecoveryCodes, `UPDATE recovery_codes SET used = $1 WHERE used = 0 AND $2 = 0`, []any{micros(now), flag(spare)}},
		{new(int64), `DELETE FROM health WHERE name = 'copy'`, nil},
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		for _, e := range ends {
			if *e.n, err = t.exec(ctx, e.query, e.args...); err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}
