package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
)

// LimitPages sets how many pages the SQLite file may have, and never less than it has: a full disk for tests.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var now int
		_, err := t.get(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages), nil, &now)
		return err
	})
}

// WriteThen uses a key up and then ends the write as end does; where that is well, it writes once more.
func (s *Store) WriteThen(ctx context.Context, key string, end func() error) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO single_use (kind, key, expires) VALUES ('then', $1, 0)`, key); err != nil {
			return err
		}
		if err := end(); err != nil {
			return err
		}
		_, err := t.exec(ctx, `UPDATE single_use SET expires = 1 WHERE kind = 'then' AND key = $1`, key)
		return err
	})
}

// AddRow keeps an unconfirmed device beside the user's other ones.
func (s *Store) AddRow(ctx context.Context, d mfa.Device) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return insertDevice(ctx, t, d) })
}

// Waiting is how many writes wait for the writer.
func (s *Store) Waiting() int { return len(s.writer.jobs) }

// QueueLength is how many writes may wait.
const QueueLength = queueLength

// Closing tells whether Close was called.
func (s *Store) Closing() bool {
	select {
	case <-s.writer.quit:
		return true
	default:
		return false
	}
}

// Reads is how many rows were read although they might have been remembered.
func (s *Store) Reads() int64 { return s.cache.reads.Load() }

// FreezeHeader makes the cache read the header of another database, in which nothing changes.
func (s *Store) FreezeHeader(still *Store) {
	s.cache.index = still.cache.index
	s.cache.last, _ = s.cache.header()
}

// FindLinkedWhile is FindLinked with something that happens between the read and the end.
func (s *Store) FindLinkedWhile(ctx context.Context, provider, subject, environment string, happens func()) error {
	_, err := s.cache.user(linkKey{provider, subject, environment}, func() (authn.ITUser, error) {
		u, err := s.findLinked(ctx, provider, subject, environment)
		happens()
		return u, err
	})
	return err
}

// MaxAttempts is how many rows of attempts are remembered.
const MaxAttempts = maxAttempts

// IndexRows is how many rows the audit's index has.
func (s *Store) IndexRows(t testing.TB) (n int) {
	const query = `SELECT (SELECT COUNT(*) FROM audit_index) + (SELECT COUNT(*) FROM audit_names) + (SELECT COUNT(*) FROM audit_ids)`
	if _, err := s.get(t.Context(), query, nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// RememberAtOnce is how many users are read ahead in one transaction.
const RememberAtOnce = rememberAtOnce

// PlanOf is how SQLite finds the users of a list.
func (s *Store) PlanOf(t *testing.T, f itusers.Filter) (plan string) {
	query, args := selectKeys(f)
	err := s.each(t.Context(), `EXPLAIN QUERY PLAN `+query, args, func(scan func(...any) error) error {
		var skip int
		var step string
		err := scan(&skip, &skip, &skip, &step)
		plan += step + "\n"
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}
