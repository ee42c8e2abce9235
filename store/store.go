// Package store keeps idbridge's rows, in SQLite (one file, the default) or in PostgreSQL 15 or newer.
//
// It knows SQL, transactions, migrations and what a database's errors mean. What the rows mean, and what may be changed
// when, is decided by the packages whose small interfaces it implements: authn, audit, itusers, mfa and keyring.
//
// # Adding queries
//
// One file per subject, with methods on *Store. Queries are constants in one text for both databases: parameters are
// $1, $2 ..., types and columns are those of migrations/*.sql. Read with get and each; write with write, whose function
// gets a tx with get, each and exec. Read-modify-write calls tx.lock first: SQLite has one writer at a time anyway,
// PostgreSQL needs it, also where there is no row yet to lock. A write that changes nothing of what Attempts and FindLinked
// read may say so with writeTelling, and spare the cache. Then add a test to the table in conformance_test.go.
//
// # Durability
//
// When write returns nil, the rows survive a crash of the process and of the machine: SQLite runs in WAL mode with
// synchronous=FULL, PostgreSQL with synchronous_commit at least on.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// Driver names a database.
type Driver string

// The databases.
const (
	SQLite   Driver = "sqlite"
	Postgres Driver = "postgres"
)

// Config says where the rows are.
type Config struct {
	Driver Driver
	Path   string       // SQLite: the file; it and its folder are made when missing, readable for the owner only
	DSN    authn.Secret // PostgreSQL: URL or key=value text
	Conns  int          // most connections that read (SQLite) or are open (PostgreSQL); default 4 and 16
}

// Store is one handle on the database. It is safe for concurrent use, also with other processes on the same database.
//
// Errors of the database are authn.Unavailable with a reason: store_unavailable, store_busy, store_full, store_corrupt,
// store_read_only. Errors of a caller's function come back as they are.
type Store struct {
	driver Driver
	db     *sql.DB  // SQLite: reads only; PostgreSQL: everything
	stmts  sync.Map // query text → *sql.Stmt of db; SQLite only, pgx keeps statements by itself
	writer *writer  // SQLite only
	cache  *cache   // SQLite only, and may be nil there

	auditHead atomic.Pointer[audit.Head] // as this process left it last; others may have moved it since
}

// Open connects, and brings the tables up to this program's version. Several processes may do so at once.
func Open(ctx context.Context, c Config) (*Store, error) {
	switch c.Driver {
	case SQLite:
		return openSQLite(ctx, c)
	case Postgres:
		return openPostgres(ctx, c)
	}
	return nil, fmt.Errorf("store: driver %q is none of sqlite, postgres", c.Driver)
}

// Close waits for writes under way and closes the database. Calls after it fail.
func (s *Store) Close() error {
	var err error
	if s.writer != nil {
		err = s.writer.close()
	}
	s.stmts.Range(func(_, stmt any) bool {
		_ = stmt.(*sql.Stmt).Close()
		return true
	})
	return errors.Join(err, s.db.Close())
}

// querier is what *sql.Stmt, *sql.DB and *sql.Tx have in common once the query text is chosen.
type querier func(ctx context.Context, args ...any) (*sql.Rows, error)

func (s *Store) querier(ctx context.Context, query string) (querier, error) {
	if s.driver == Postgres {
		return func(ctx context.Context, args ...any) (*sql.Rows, error) {
			return s.db.QueryContext(ctx, query, args...)
		}, nil
	}
	if stmt, ok := s.stmts.Load(query); ok {
		return stmt.(*sql.Stmt).QueryContext, nil
	}
	stmt, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, lost := s.stmts.LoadOrStore(query, stmt); lost {
		_ = stmt.Close()
		stmt = first.(*sql.Stmt)
	}
	return stmt.QueryContext, nil
}

// get reads one row into dest and tells whether there was one. On SQLite it takes microseconds and waits for nobody, so
// ctx is only looked at before: to watch it meanwhile would cost two goroutines, more than the read itself.
func (s *Store) get(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	if s.driver == SQLite {
		if ctx.Err() != nil {
			return false, explain(context.Cause(ctx))
		}
		ctx = context.WithoutCancel(ctx)
	}
	q, err := s.querier(ctx, query)
	if err != nil {
		return false, explain(err)
	}
	return getRow(ctx, q, args, dest)
}

// each calls row for every row of the result; row calls scan once. It must not use the store itself.
func (s *Store) each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error {
	q, err := s.querier(ctx, query)
	if err != nil {
		return explain(err)
	}
	return eachRow(ctx, q, args, row)
}

func getRow(ctx context.Context, q querier, args, dest []any) (found bool, err error) {
	err = eachRow(ctx, q, args, func(scan func(...any) error) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	})
	return found && err == nil, err
}

func eachRow(ctx context.Context, q querier, args []any, row func(scan func(...any) error) error) error {
	rows, err := q(ctx, args...)
	if err != nil {
		return explain(err)
	}
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			_ = rows.Close()
			return explain(err)
		}
	}
	return explain(errors.Join(rows.Err(), rows.Close()))
}

// tx is one write transaction. It is not safe for concurrent use.
type tx struct {
	postgres bool
	query    func(query string) (querier, error)
	run      func(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (t *tx) get(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	q, err := t.query(query)
	if err != nil {
		return false, explain(err)
	}
	return getRow(ctx, q, args, dest)
}

func (t *tx) each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error {
	q, err := t.query(query)
	if err != nil {
		return explain(err)
	}
	return eachRow(ctx, q, args, row)
}

// exec changes rows and tells how many.
func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := t.run(ctx, query, args...)
	if err != nil {
		return 0, explain(err)
	}
	n, err := res.RowsAffected()
	return n, explain(err)
}

// lock makes other transactions that lock the same name wait until this one ends.
func (t *tx) lock(ctx context.Context, name string) error {
	if !t.postgres {
		return nil
	}
	_, err := t.exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, name)
	return err
}

// write runs change in one transaction, and returns nil only when it is durable. An error of change rolls back and is
// returned as it is. change may be called more than once. On SQLite ctx counts until the transaction begins; from then
// on write waits for the true outcome.
func (s *Store) write(ctx context.Context, change func(context.Context, *tx) error) error {
	return s.writeTelling(ctx, (*cache).clear, change)
}

// writeTelling is write for a change that leaves most or all of what the cache holds as it is: tell says what it did not.
// Where in doubt, use write.
func (s *Store) writeTelling(ctx context.Context, tell func(*cache), change func(context.Context, *tx) error) error {
	if s.writer != nil {
		return s.writer.do(ctx, tell, change)
	}
	return s.writePostgres(ctx, change)
}

// micros is a time as it is kept: Unix microseconds, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the time that micros keeps.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
