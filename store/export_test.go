package store

import (
	"context"
	"fmt"
)

// LimitPages sets how many pages the SQLite file may have, and never less than it has: a full disk for tests.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var now int
		_, err := t.get(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages), nil, &now)
		return err
	})
}
