package store

import (
	"context"
	"strings"
	"time"

	"github.com/idbridge/idbridge/keyring"
)

// Keep keeps a sealed text under a kind and an id, in the place of one that is there, until it expires; of a kind at most so
// many: those go first that expire first.
func (s *Store) Keep(ctx context.Context, kind, id string, sealed []byte, expires time.Time, most int) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		const put = `INSERT INTO kept (kind, id, expires, sealed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (kind, id) DO UPDATE SET expires = excluded.expires, sealed = excluded.sealed`
		if _, err := t.exec(ctx, put, kind, id, micros(expires), sealed); err != nil {
			return err
		}
		_, err := t.exec(ctx, `DELETE FROM kept WHERE kind = $1 AND id NOT IN
			(SELECT id FROM kept WHERE kind = $1 ORDER BY expires DESC, id LIMIT $2)`, kind, most)
		return err
	})
}

// Kept returns a text that is kept, also one that has expired and is not purged yet.
func (s *Store) Kept(ctx context.Context, kind, id string) (sealed []byte, found bool, err error) {
	err = s.each(ctx, `SELECT sealed FROM kept WHERE kind = $1 AND id = $2`, []any{kind, id}, func(scan func(...any) error) error {
		found = true
		return scan(&sealed)
	})
	return sealed, found && err == nil, err
}

// Drop forgets a text, and tells whether this call did it: of racing nodes one does.
func (s *Store) Drop(ctx context.Context, kind, id string) (dropped bool, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM kept WHERE kind = $1 AND id = $2`, kind, id)
		dropped = n == 1
		return err
	})
	return dropped && err == nil, err
}

// PurgeKept forgets what expired before a time.
func (s *Store) PurgeKept(ctx context.Context, before time.Time) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM kept WHERE expires < $1`, micros(before))
		return err
	})
}

// KeptAD is what a kept text is bound to.
func KeptAD(kind, id string) []byte { return []byte("kept:" + kind + ":" + id) }

// KeptTexts is the shelf of what is kept, for keyring.Ring.Reseal.
func (s *Store) KeptTexts() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM kept`,
		page:  `SELECT kind || ':' || id, '', sealed FROM kept WHERE kind || ':' || id > $1 ORDER BY 1 LIMIT $2`,
		put:   `UPDATE kept SET sealed = $1 WHERE kind || ':' || id = $2 AND sealed = $3`,
		ad: func(_, place string) []byte {
			kind, id, _ := strings.Cut(place, ":")
			return KeptAD(kind, id)
		},
	}
}
