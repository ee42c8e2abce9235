package keyring

import (
	"context"
	"fmt"
)

// Sealed is one sealed text in its place.
type Sealed struct {
	ID   string // unique on its shelf
	Text []byte
	AD   []byte // what it is bound to
}

// Shelf is a place where sealed texts are kept, for instance a table.
type Shelf interface {
	// CountSealed tells how many there are.
	CountSealed(ctx context.Context) (int, error)
	// SealedAfter returns up to limit of them with ids greater than after, in the order of their ids.
	SealedAfter(ctx context.Context, after string, limit int) ([]Sealed, error)
	// ReplaceSealed puts next in the place of old.Text. Where another text is there by now, or none, it changes
	// nothing.
	ReplaceSealed(ctx context.Context, old Sealed, next []byte) error
}

const page = 256

// Reseal puts everything on a shelf under the current key and returns how many texts it changed. It can run while
// sign-ins do, and be run again after an interruption: what is current already is left alone. progress is called after
// each page and may be nil. A text that does not open stops it, with everything before it done.
func (r *Ring) Reseal(ctx context.Context, shelf Shelf, progress func(done, total int)) (changed int, err error) {
	total, err := shelf.CountSealed(ctx)
	if err != nil {
		return 0, err
	}
	for after, done := "", 0; ; {
		texts, err := shelf.SealedAfter(ctx, after, page)
		if err != nil || len(texts) == 0 {
			return changed, err
		}
		for _, s := range texts {
			if r.Current(s.Text) {
				continue
			}
			if err := r.reseal(ctx, shelf, s); err != nil {
				return changed, fmt.Errorf("%s: %w", s.ID, err)
			}
			changed++
		}
		after, done = texts[len(texts)-1].ID, done+len(texts)
		if progress != nil {
			progress(done, max(done, total)) // rows may have been added since they were counted
		}
	}
}

func (r *Ring) reseal(ctx context.Context, shelf Shelf, s Sealed) error {
	plain, err := r.Open(s.Text, s.AD)
	if err != nil {
		return err
	}
	next, err := r.Seal(plain, s.AD)
	if err != nil {
		return err
	}
	return shelf.ReplaceSealed(ctx, s, next)
}
