package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/store"
)

// testKept: one node keeps, another goes on; of two that drop one does; the oldest of too many go; rotation.
func testKept(t *testing.T, open opener) {
	one, two := open(t), open(t)
	now, ring := time.Now(), testRing(t, "old")
	keep := func(kind, id, text string, life time.Duration) {
		t.Helper()
		sealed, err := ring.Seal([]byte(text), store.KeptAD(kind, id))
		must(t, err)
		must(t, one.Keep(t.Context(), kind, id, sealed, now.Add(life), 2))
	}
	is := func(ring *keyring.Ring, kind, id, want string) {
		t.Helper()
		sealed, found, err := two.Kept(t.Context(), kind, id)
		must(t, err)
		text := []byte{}
		if found {
			text, err = ring.Open(sealed, store.KeptAD(kind, id))
			must(t, err)
		}
		if string(text) != want {
			t.Errorf("%s %s is %q, want %q", kind, id, text, want)
		}
	}
	keep("a", "1", "first", time.Minute)
	keep("b", "1", "of another kind", time.Second)
	is(ring, "a", "1", "first")
	keep("a", "1", "changed", time.Minute)
	keep("a", "2", "second", 2*time.Minute)
	is(ring, "a", "1", "changed")
	keep("a", "3", "third", 3*time.Minute)
	is(ring, "a", "1", "")
	is(ring, "a", "2", "second")
	is(ring, "b", "1", "of another kind")

	both := testRing(t, "new", "old")
	if n, err := both.Reseal(t.Context(), two.KeptTexts(), nil); err != nil || n != 3 {
		t.Errorf("%d sealed anew, %v", n, err)
	}
	is(testRing(t, "new"), "b", "1", "of another kind")

	for i, s := range []*store.Store{one, two} {
		if dropped, err := s.Drop(context.Background(), "a", "3"); err != nil || dropped != (i == 0) {
			t.Errorf("drop %d: %t, %v", i, dropped, err)
		}
	}
	must(t, one.PurgeKept(t.Context(), now.Add(time.Minute)))
	is(both, "b", "1", "")
	is(both, "a", "2", "second")
}
