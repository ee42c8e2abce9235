package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/idbridge/idbridge/authn"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is PostgreSQL's advisory lock under which one node at a time migrates; any number nobody else uses.
const migrationLock int64 = 0x1db71d9e

// sessionLock waits for the migrations of other nodes.
type sessionLock struct{}

func (sessionLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, migrationLock)
	return err
}

func (sessionLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, migrationLock)
	return err
}

func migratePostgres(ctx context.Context, db *sql.DB) error {
	return explain(migrate(ctx, goose.DialectPostgres, db, goose.WithSessionLocker(sessionLock{})))
}

// migrateSQLite tries again for a while: each migration is one transaction, and the process that comes second at one
// finds it done when it looks again.
func migrateSQLite(ctx context.Context, db *sql.DB) error {
	for try := 1; ; try++ {
		err := migrate(ctx, goose.DialectSQLite3, db)
		var refused *authn.Error
		if err == nil || errors.As(err, &refused) || try == 20 {
			return explain(err)
		}
		if reason := authn.ReasonOf(explain(err)); reason != "store_busy" && reason != "store_unavailable" {
			return explain(err)
		}
		select {
		case <-ctx.Done():
			return explain(errors.Join(err, context.Cause(ctx)))
		case <-time.After(time.Duration(try) * 5 * time.Millisecond):
		}
	}
}

func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, options ...goose.ProviderOption) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	if dialect == goose.DialectSQLite3 {
		files = sqliteFiles{files}
	}
	options = append(options, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(fillSearch, fillLists(dialect)))
	p, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err == nil && current > target {
		return authn.Errorf(authn.Unavailable, "store_newer",
			"the database has version %d, this program knows %d: start the newer idbridge, or restore the backup made before it",
			current, target)
	}
	return err
}

// sqliteFiles are the migrations with tables as SQLite finds rows fastest. They mean the same.
type sqliteFiles struct{ fs.FS }

func (f sqliteFiles) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return file, err
	}
	text, err := io.ReadAll(file)
	return rewritten{file, strings.NewReader(onSQLite(string(text)))}, err
}

type rewritten struct {
	fs.File
	text *strings.Reader
}

func (r rewritten) Read(p []byte) (int, error) { return r.text.Read(p) }

var createTable = regexp.MustCompile(`(?s)CREATE TABLE .*?\n\);`)

// onSQLite keeps each row in the tree of its primary key. Otherwise SQLite numbers the rows, keeps them in a tree by that
// number, and the primary key in a second one that leads to it: twice the pages to read for a row and to write for a new
// one. A single number as the key can be that number itself, but only when its type is called INTEGER.
func onSQLite(text string) string {
	return createTable.ReplaceAllStringFunc(text, func(table string) string {
		if strings.Contains(table, "BIGINT PRIMARY KEY") {
			return strings.Replace(table, "BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY", 1)
		}
		return strings.TrimSuffix(table, ";") + " WITHOUT ROWID;"
	})
}
