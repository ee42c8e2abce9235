package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"github.com/idbridge/idbridge/authn"
)

// Settings of every SQLite connection. WAL lets readers go on while the writer commits; synchronous=FULL flushes the
// WAL at each commit, so that what was answered survives a power cut.
const (
	sqlitePragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_pragma=foreign_keys(1)&_pragma=trusted_schema(0)"
	// The writer appends to the audit: 1 MiB of pages is plenty, where 2 MiB, the default, would fill up and lie there.
	sqliteWriter = sqlitePragmas + "&_txlock=immediate&_pragma=cache_size(-1024)"
	// A reader's pages are forgotten whenever the writer has committed; 2 MiB for each, the default, would only lie there.
	sqliteReader = sqlitePragmas + "&_pragma=query_only(1)&_pragma=cache_size(-256)"
)

func openSQLite(ctx context.Context, c Config) (*Store, error) {
	path, err := filepath.Abs(c.Path)
	if c.Path == "" || err != nil {
		return nil, authn.Errorf(authn.Internal, "store_config",
			"store: SQLite needs the path of a file: %w", errors.Join(err))
	}
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	_, _ = sqlite.Fdatasync(true) // as SQLite is built for Linux; where it is not to be had, fsync does as well
	name := sqliteName(path)
	write, err := sql.Open("sqlite", name+sqliteWriter)
	if err != nil {
		return nil, explain(err)
	}
	w, err := migrateAndWrite(ctx, write, path)
	if err != nil {
		_ = write.Close()
		return nil, authn.Errorf(authn.Unavailable, authn.ReasonOf(err), "%s: %w", path, err)
	}
	read, err := sql.Open("sqlite", name+sqliteReader)
	if err != nil {
		return nil, errors.Join(explain(err), w.close())
	}
	conns := orDefault(c.Conns, 4)
	read.SetMaxOpenConns(conns)
	read.SetMaxIdleConns(conns)
	return &Store{driver: SQLite, db: read, writer: w, cache: w.cache}, nil
}

func migrateAndWrite(ctx context.Context, db *sql.DB, path string) (*writer, error) {
	if err := migrateSQLite(ctx, db); err != nil {
		return nil, err
	}
	return newWriter(ctx, db, path)
}

// makePrivate makes the file before SQLite would, because SQLite leaves its mode to the umask; the WAL takes it over.
func makePrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return unwritable(path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unwritable(path, err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = f.Chmod(0o600)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return unwritable(path, err)
	}
	return nil
}

func unwritable(path string, err error) error {
	hint := "check the path"
	if errors.Is(err, fs.ErrPermission) {
		hint = "the user that runs idbridge must be able to write this file and its folder"
	}
	return authn.Errorf(authn.Unavailable, "store_read_only", "cannot open the database %s: %w; %s", path, err, hint)
}

func orDefault(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}
