package authn_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
)

func TestMemoryAttemptsKeepTheContract(t *testing.T) {
	m := newMemoryAttempts()
	authntest.TestAttemptStore(t, func(*testing.T) authn.AttemptStore { return m })
}

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)} }

func failOnce(t *testing.T, th *authn.Throttle) error {
	t.Helper()
	a, err := th.Begin(t.Context(), "k")
	if err != nil {
		return err
	}
	if err := a.Failed(t.Context()); err != nil {
		t.Fatal(err)
	}
	return nil
}

// The platform's own back-off, which its users know: 3 failures → 30 s, 6 → 30 min, counted over an hour.
func TestThrottleSteps(t *testing.T) {
	c := newClock()
	th := authn.NewThrottle(newMemoryAttempts(), authn.DefaultSteps(), authn.DefaultWindow, c.now)
	for failure, block := range []time.Duration{0, 0, 30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Minute, 30 * time.Minute} {
		if err := failOnce(t, th); err != nil {
			t.Fatalf("failure %d: %v", failure+1, err)
		}
		if block == 0 {
			continue
		}
		c.at = c.at.Add(block - time.Millisecond)
		_, err := th.Begin(t.Context(), "k")
		wantError(t, err, authn.Locked, "throttled")
		c.at = c.at.Add(time.Millisecond)
	}
	c.at = c.at.Add(61 * time.Minute)
	for range 3 { // an hour later the count starts anew
		if err := failOnce(t, th); err != nil {
			t.Fatal(err)
		}
	}
}

func TestThrottleCountsReservedAttemptsAcrossNodes(t *testing.T) {
	c, store := newClock(), newMemoryAttempts()
	node := func() *authn.Throttle {
		return authn.NewThrottle(store, authn.DefaultSteps(), authn.DefaultWindow, c.now)
	}
	a, b := node(), node()
	if err := failOnce(t, a); err != nil {
		t.Fatal(err)
	}
	first, err := a.Begin(t.Context(), "k") // the second failure, reserved and not yet known to be one
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Begin(t.Context(), "k") // the third
	if err != nil {
		t.Fatal(err)
	}
	_, err = authn.NewThrottle(store, authn.DefaultSteps(), authn.DefaultWindow, c.now).Begin(t.Context(), "k")
	wantError(t, err, authn.Locked, "throttled")

	if err := second.Abandoned(t.Context()); err != nil { // it proved nothing, so it is taken back
		t.Fatal(err)
	}
	if err := first.Failed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := store.failures("k"); n != 2 {
		t.Errorf("%d failures, want 2", n)
	}
	if err := failOnce(t, b); err != nil {
		t.Errorf("the third attempt: %v", err)
	}
}

// However many guesses come at once, no more than the limit reach the source.
func TestThrottleUnderAFlood(t *testing.T) {
	c := newClock()
	th := authn.NewThrottle(newMemoryAttempts(), authn.DefaultSteps(), authn.DefaultWindow, c.now)
	var wg sync.WaitGroup
	var mu sync.Mutex
	reached := 0
	for range 200 {
		wg.Go(func() {
			a, err := th.Begin(context.Background(), "k")
			if err != nil {
				return
			}
			mu.Lock()
			reached++
			mu.Unlock()
			_ = a.Failed(context.Background())
		})
	}
	wg.Wait()
	if reached != 3 {
		t.Errorf("%d attempts reached the source, want 3", reached)
	}
}

func TestStrictThrottleCountsBeforeTheAttempt(t *testing.T) {
	store := newMemoryAttempts()
	th := authn.NewThrottle(store, authn.DefaultSteps(), authn.DefaultWindow, newClock().now).Strict()
	a, err := th.Begin(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if n := store.failures("k"); n != 1 {
		t.Errorf("%d counted before the attempt, want 1", n)
	}
	if err := a.Passed(t.Context()); err != nil || store.failures("k") != 0 {
		t.Errorf("after passing: %d, %v", store.failures("k"), err)
	}
}

func TestThrottleWaitEndsWithTheCall(t *testing.T) {
	th := authn.NewThrottle(newMemoryAttempts(), authn.DefaultSteps(), authn.DefaultWindow, time.Now)
	held, err := th.Begin(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, fmt.Errorf("enough"))
	defer cancel()
	_, err = th.Begin(ctx, "k")
	wantError(t, err, authn.Unavailable, "throttle_wait")
	if other, err := th.Begin(t.Context(), "other"); err != nil {
		t.Errorf("another key waited: %v", err)
	} else if err := other.Abandoned(t.Context()); err != nil {
		t.Error(err)
	}
	if err := held.Abandoned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := th.Begin(t.Context(), "k"); err != nil {
		t.Errorf("after release: %v", err)
	}
}

// Between reading and reserving another node may have used up the last attempt: the reservation looks again.
func TestReservationLooksAgain(t *testing.T) {
	store := newMemoryAttempts()
	c := newClock()
	blocked := authn.Attempts{Failures: 3, LastFailure: c.at, BlockedUntil: c.at.Add(30 * time.Second)}
	store.kept["k"] = authn.Attempts{Failures: 2, LastFailure: c.at}
	overtaken := overtakenStore{store, func() { store.kept["k"] = blocked }}
	_, err := authn.NewThrottle(overtaken, authn.DefaultSteps(), authn.DefaultWindow, c.now).Begin(t.Context(), "k")
	wantError(t, err, authn.Locked, "throttled")
	if store.kept["k"] != blocked {
		t.Errorf("an attempt while blocked changed the count: %+v", store.kept["k"])
	}
}

// overtakenStore is one where another node writes right after a read.
type overtakenStore struct {
	*memoryAttempts
	meanwhile func()
}

func (o overtakenStore) Attempts(ctx context.Context, key string) (authn.Attempts, error) {
	defer o.meanwhile()
	return o.memoryAttempts.Attempts(ctx, key)
}

// A blocked key costs a read and no write: a flood must not fill the writer's queue.
func TestBlockedKeysCostNoWrite(t *testing.T) {
	c, store := newClock(), newMemoryAttempts()
	th := authn.NewThrottle(store, authn.DefaultSteps(), authn.DefaultWindow, c.now)
	for range 3 {
		if err := failOnce(t, th); err != nil {
			t.Fatal(err)
		}
	}
	writes := store.tried
	_, err := th.Begin(t.Context(), "k")
	wantError(t, err, authn.Locked, "throttled")
	if store.tried != writes {
		t.Error("a blocked attempt went to the writer")
	}
}
