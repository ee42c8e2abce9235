package store

import (
	"context"
	"time"
)

// Ping implements a part of authn.Ground: it writes a row and reads it back.
func (s *Store) Ping(ctx context.Context) error {
	at := time.Now().UnixMicro()
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO health (name, at) VALUES ('ping', $1)
			ON CONFLICT (name) DO UPDATE SET at = excluded.at`, at)
		return err
	})
	if err != nil {
		return err
	}
	var seen int64
	_, err = s.get(ctx, `SELECT at FROM health WHERE name = 'ping'`, nil, &seen)
	return err
}

// Clock implements a part of authn.Ground: PostgreSQL's time; zero for SQLite, whose clock is this machine's.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	if s.driver != Postgres {
		return time.Time{}, nil
	}
	var us int64
	_, err := s.get(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`, nil, &us)
	return fromMicros(us), err
}
