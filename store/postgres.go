package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/idbridge/idbridge/authn"
)

// durable makes commits wait for the disk where the server's own setting would not; a stronger setting stays.
const durable = `SELECT set_config('synchronous_commit', 'on', false)
	WHERE current_setting('synchronous_commit') = 'off'`

const oldestPostgres = 150000

func openPostgres(ctx context.Context, c Config) (*Store, error) {
	config, err := pgx.ParseConfig(c.DSN.Reveal())
	if err != nil { // its text may quote the password
		return nil, authn.Errorf(authn.Internal, "store_config",
			"store: the PostgreSQL DSN is malformed; write postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "idbridge"
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, durable)
		return err
	}))
	conns := orDefault(c.Conns, 16)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := preparePostgres(ctx, db); err != nil {
		_ = db.Close()
		return nil, err
	}
	return &Store{driver: Postgres, db: db}, nil
}

func preparePostgres(ctx context.Context, db *sql.DB) error {
	var version int
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version)
	if err != nil {
		return explain(err)
	}
	if version < oldestPostgres {
		return authn.Errorf(authn.Unavailable, "store_version",
			"PostgreSQL %d is too old: 15 or newer is needed", version/10000)
	}
	return migratePostgres(ctx, db)
}

// attempts at a transaction that PostgreSQL ended in favour of another one.
const maxTries = 5

func (s *Store) writePostgres(ctx context.Context, change func(context.Context, *tx) error) error {
	for try := 1; ; try++ {
		err := s.tryPostgres(ctx, change)
		if err == nil || try == maxTries || !lostRace(err) {
			return err
		}
	}
}

func (s *Store) tryPostgres(ctx context.Context, change func(context.Context, *tx) error) error {
	began, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer func() { _ = began.Rollback() }()
	t := &tx{postgres: true, run: began.ExecContext, query: func(query string) (querier, error) {
		return func(ctx context.Context, args ...any) (*sql.Rows, error) {
			return began.QueryContext(ctx, query, args...)
		}, nil
	}}
	if err := change(ctx, t); err != nil {
		return err
	}
	err = began.Commit()
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return explain(err)
}
