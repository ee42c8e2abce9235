package store

import (
	"context"
	"strings"
	"time"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/webhook"
)

const (
	selectKept = `SELECT sealed FROM kept WHERE kind = $1 AND id = $2`
	putKept    = `INSERT INTO kept (kind, id, expires, sealed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, id) DO UPDATE SET expires = excluded.expires, sealed = excluded.sealed`
)

// Keep keeps a sealed text under a kind and an id, in the place of one that is there, until it expires; of a kind at most so
// many: those go first that expire first.
func (s *Store) Keep(ctx context.Context, kind, id string, sealed []byte, expires time.Time, most int) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, putKept, kind, id, micros(expires), sealed); err != nil {
			return err
		}
		_, err := t.exec(ctx, `DELETE FROM kept WHERE kind = $1 AND id NOT IN
			(SELECT id FROM kept WHERE kind = $1 ORDER BY expires DESC, id LIMIT $2)`, kind, most)
		return err
	})
}

// KeepTelling keeps a sealed text in the place of the one before, and messages of webhooks with it, in one transaction: who
// decides by what was kept whether somebody is to be told tells them once, however many nodes decide at once. next gets the
// sealed text that is there, or nil; it may be called again when the transaction did not happen.
func (s *Store) KeepTelling(
	ctx context.Context, kind, id string, expires time.Time, next func(before []byte) (sealed []byte, tell []webhook.Message, err error),
) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, "kept "+kind); err != nil {
			return err
		}
		var before []byte
		if _, err := t.get(ctx, selectKept, []any{kind, id}, &before); err != nil {
			return err
		}
		sealed, tell, err := next(before)
		if err != nil {
			return err
		}
		for _, m := range tell {
			if err := insertMessage(ctx, t, m); err != nil {
				return err
			}
		}
		_, err = t.exec(ctx, putKept, kind, id, micros(expires), sealed)
		return err
	})
}

// Kept returns a text that is kept, also one that has expired and is not purged yet.
func (s *Store) Kept(ctx context.Context, kind, id string) (sealed []byte, found bool, err error) {
	err = s.each(ctx, selectKept, []any{kind, id}, func(scan func(...any) error) error {
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
