package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
)

// held is a store whose writer is in the middle of a write until release.
type held struct {
	*store.Store
	began, release chan struct{}
	outcome        chan error
}

// hold begins a write under ctx and returns when it has begun.
func hold(ctx context.Context, t *testing.T, s *store.Store) *held {
	t.Helper()
	h := &held{s, make(chan struct{}), make(chan struct{}), make(chan error, 1)}
	go func() {
		h.outcome <- s.WriteThen(ctx, "held", func() error {
			close(h.began)
			<-h.release
			return nil
		})
	}()
	<-h.began
	return h
}

func sqlite(t *testing.T) *store.Store {
	t.Helper()
	return handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "idbridge.db")})(t)
}

// group makes writes that share one transaction, because all of them wait when it begins.
func group(t *testing.T, s *store.Store, ends ...func() error) []error {
	t.Helper()
	h := hold(t.Context(), t, s)
	errs := make([]error, len(ends))
	var wg sync.WaitGroup
	for i, end := range ends {
		wg.Go(func() { errs[i] = s.WriteThen(t.Context(), fmt.Sprint("w", i), end) })
	}
	waitUntil(t, "all writes wait", func() bool { return s.Waiting() == len(ends) })
	close(h.release)
	wg.Wait()
	must(t, <-h.outcome)
	return errs
}

func written(t *testing.T, s *store.Store, key string) bool {
	t.Helper()
	first, err := s.UseOnce(t.Context(), "then", key, time.Now())
	must(t, err)
	return !first
}

func well() error    { return nil }
func refused() error { return authn.Errorf(authn.Locked, "own", "of the caller") }
func panics() error  { panic("a bug in a write") }

// However one write of a transaction ends, the others of it, and those after it, are written.
func TestAWriteFailsAlone(t *testing.T) {
	for reason, end := range map[string]func() error{"own": refused, "panic": panics} {
		t.Run(reason, func(t *testing.T) {
			s := sqlite(t)
			if err := s.WriteThen(t.Context(), "lone", end); authn.ReasonOf(err) != reason {
				t.Errorf("alone in its transaction: %v, want %s", err, reason)
			}
			if written(t, s, "lone") {
				t.Error("a lone write that failed was kept")
			}
			errs := group(t, s, end, well, end, well)
			for i, err := range errs {
				fails := i%2 == 0
				if fails && authn.ReasonOf(err) != reason || !fails && err != nil {
					t.Errorf("write %d of the group: %v", i, err)
				}
				if kept := written(t, s, fmt.Sprint("w", i)); kept == fails {
					t.Errorf("write %d of the group: kept is %v", i, kept)
				}
			}
			must(t, s.WriteThen(t.Context(), "after", well))
			if !written(t, s, "after") {
				t.Error("a write after them was not kept")
			}
		})
	}
}

// A caller that gives up while it waits is told so at once, and nothing is written; once the write has begun, the caller
// learns the truth.
func TestGivingUp(t *testing.T) {
	s := sqlite(t)
	begunCtx, hangUp := context.WithCancel(t.Context())
	h := hold(begunCtx, t, s)

	waitingCtx, cancel := context.WithCancelCause(t.Context())
	waits := make(chan error, 1)
	go func() { waits <- s.WriteThen(waitingCtx, "waiting", well) }()
	waitUntil(t, "it waits", func() bool { return s.Waiting() == 1 })
	why := errors.New("hung up")
	cancel(why)
	if err := <-waits; authn.ReasonOf(err) != "store_busy" || !errors.Is(err, why) {
		t.Errorf("given up while waiting: %v, want store_busy with the cause", err)
	}

	hangUp()
	select {
	case err := <-h.outcome:
		t.Errorf("a write that had begun was left alone: %v", err)
	case <-time.After(50 * time.Millisecond): // an answer must not come before the release
	}
	close(h.release)
	must(t, <-h.outcome)
	if !written(t, s, "held") || written(t, s, "waiting") {
		t.Error("what had begun must be there, what was given up not")
	}
}

// Writes that the queue has no place for wait for one, as long as their callers want to.
func TestBackPressure(t *testing.T) {
	s := sqlite(t)
	h := hold(t.Context(), t, s)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	const writes = store.QueueLength + 10
	for i := range writes {
		go func() { errs <- s.WriteThen(ctx, fmt.Sprint(i), well) }()
	}
	waitUntil(t, "the queue is full", func() bool { return s.Waiting() == store.QueueLength })
	cancel()
	for range writes {
		if err := <-errs; authn.ReasonOf(err) != "store_busy" {
			t.Errorf("got %v, want store_busy", err)
		}
	}
	close(h.release)
	must(t, <-h.outcome)
	must(t, s.WriteThen(t.Context(), "after", well))
	if n, err := s.PurgeUsed(t.Context(), time.Now()); err != nil || n != 2 {
		t.Errorf("%d writes were kept, want held and after (%v)", n, err)
	}
}

// Closing lets writes that wait finish, and refuses later ones.
func TestClosing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "idbridge.db")
	s, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	h := hold(t.Context(), t, s)
	const writes = 200 // several transactions
	waits := make(chan error)
	for i := range writes {
		go func() { waits <- s.WriteThen(t.Context(), fmt.Sprint(i), well) }()
	}
	waitUntil(t, "all wait", func() bool { return s.Waiting() == writes })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	waitUntil(t, "it is closing", s.Closing)
	close(h.release)
	must(t, <-h.outcome)
	for range writes {
		must(t, <-waits)
	}
	must(t, <-closed)
	if err := s.WriteThen(t.Context(), "late", well); authn.ReasonOf(err) != "store_unavailable" {
		t.Errorf("after Close: %v", err)
	}
	again := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	if n, err := again.PurgeUsed(t.Context(), time.Now()); err != nil || n != writes+1 {
		t.Errorf("%d writes were kept, want all that waited and not the late one (%v)", n, err)
	}
}
