package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/idbridge/idbridge/authn"
)

// SQLite's primary result codes that an administrator can do something about.
const (
	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteReadOnly = 8
	sqliteCorrupt  = 11
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteNotADB   = 26
)

// explain turns a database's error into Unavailable with a reason and a hint; other errors, such as those of a caller's
// own function, stay as they are. No database error holds a row's values of ours that are secret: those are sealed.
func explain(err error) error {
	var known *authn.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return explainSQLite(lite)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return explainPostgres(pg)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err) {
		return authn.Errorf(authn.Unavailable, "store_unavailable", "the database does not answer: %w", err)
	}
	return err
}

func explainSQLite(err *sqlite.Error) error {
	reason, hint := "store_unavailable", ""
	switch err.Code() & 0xff {
	case sqliteBusy, sqliteLocked:
		reason, hint = "store_busy", "another process holds the database; is a backup or another tool using it?"
	case sqliteReadOnly, sqliteCantOpen:
		reason, hint = "store_read_only", "the user that runs idbridge must be able to write the file and its folder"
	case sqliteFull:
		reason, hint = "store_full", "the disk is full; make room and go on, nothing is lost"
	case sqliteCorrupt, sqliteNotADB:
		reason, hint = "store_corrupt", "the file is damaged or no idbridge database; restore it from a backup"
	default:
		return authn.Errorf(authn.Unavailable, reason, "SQLite: %w", err)
	}
	return authn.Errorf(authn.Unavailable, reason, "SQLite: %w; %s", err, hint)
}

func explainPostgres(err *pgconn.PgError) error {
	reason := "store_unavailable"
	switch {
	case err.Code == "53100":
		reason = "store_full"
	case err.Code == "25006":
		reason = "store_read_only"
	case strings.HasPrefix(err.Code, "XX"):
		reason = "store_corrupt"
	}
	return authn.Errorf(authn.Unavailable, reason, "PostgreSQL: %w", err)
}

// lostRace tells whether PostgreSQL ended a transaction in favour of another: serialization failure or deadlock.
func lostRace(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}
