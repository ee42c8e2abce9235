package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/keyring"
)

// shelf is a table in memory; the real ones are tested in store, on both databases.
type shelf struct {
	texts    map[string][]byte
	replaced int
	failAt   int
}

func (s *shelf) CountSealed(context.Context) (int, error) { return len(s.texts), nil }

func (s *shelf) SealedAfter(_ context.Context, after string, limit int) (all []keyring.Sealed, _ error) {
	for id, text := range s.texts {
		if id > after {
			all = append(all, keyring.Sealed{ID: id, Text: text, AD: []byte("ad " + id)})
		}
	}
	slices.SortFunc(all, func(a, b keyring.Sealed) int { return strings.Compare(a.ID, b.ID) })
	return all[:min(limit, len(all))], nil
}

func (s *shelf) ReplaceSealed(_ context.Context, old keyring.Sealed, next []byte) error {
	if s.replaced++; s.replaced == s.failAt {
		return errors.New("power cut")
	}
	s.texts[old.ID] = next
	return nil
}

func TestResealGoesOnWhereItWasInterrupted(t *testing.T) {
	a, b := line(t, "a"), line(t, "b")
	old, both := ring(t, a), ring(t, b, a)
	s := &shelf{texts: map[string][]byte{}, failAt: 300}
	for i := range 600 {
		id := fmt.Sprintf("row%03d", i)
		s.texts[id] = seal(t, old, "secret of "+id, "ad "+id)
	}
	if n, err := both.Reseal(t.Context(), s, nil); err == nil || n != 299 {
		t.Fatalf("%d, %v", n, err)
	}
	var steps []string
	n, err := both.Reseal(t.Context(), s, func(done, total int) { steps = append(steps, fmt.Sprint(done, "/", total)) })
	if err != nil || n != 301 {
		t.Fatalf("%d, %v", n, err)
	}
	if want := []string{"256/600", "512/600", "600/600"}; !slices.Equal(steps, want) {
		t.Errorf("progress %v, want %v", steps, want)
	}
	alone := ring(t, b) // the old line can be dropped now
	for id, text := range s.texts {
		if plain, err := alone.Open(text, []byte("ad "+id)); err != nil || string(plain) != "secret of "+id {
			t.Fatalf("%s: %q, %v", id, plain, err)
		}
	}
	if n, err := both.Reseal(t.Context(), s, nil); err != nil || n != 0 {
		t.Errorf("a second run changed %d, %v", n, err)
	}
}

func TestResealStopsAtWhatItCannotOpen(t *testing.T) {
	s := &shelf{texts: map[string][]byte{"row": seal(t, ring(t, line(t, "lost")), "x", "ad row")}}
	_, err := ring(t, line(t, "b")).Reseal(t.Context(), s, nil)
	if !errors.Is(err, keyring.ErrSealed) || !strings.Contains(err.Error(), "row: ") {
		t.Errorf("%v", err)
	}
}
