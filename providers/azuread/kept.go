package azuread

import (
	"context"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// How long a document is believed, and how often it is asked for.
const (
	freshFor   = 6 * time.Hour   // then it is loaded again
	goodFor    = 48 * time.Hour  // ... and this long it serves while that fails
	pressEvery = time.Minute     // least time between two loads, however many tokens with unknown keys arrive
	retryEvery = 5 * time.Second // the same while there is nothing at all
)

// kept is a document that is loaded when it is needed, by one caller for all. It is safe for concurrent use.
type kept[T any] struct {
	load    func(context.Context) (T, error)
	timeout time.Duration
	now     func() time.Time

	mu      sync.Mutex
	value   T
	loaded  time.Time // of value; zero: there is none
	tried   time.Time
	err     error         // of the last load
	loading chan struct{} // closed when the load under way ends; nil: there is none
}

// get returns the document, loaded anew if it is old or does not fit. What does not fit is returned all the same, with
// the error of the last load, if that failed.
func (k *kept[T]) get(ctx context.Context, fits func(T) bool) (T, error) {
	for waited := false; ; waited = true {
		k.mu.Lock()
		age := k.now().Sub(k.loaded)
		if !k.loaded.IsZero() && age < freshFor && fits(k.value) {
			defer k.mu.Unlock()
			return k.value, nil
		}
		if k.loading == nil && (waited || !k.mayLoad()) {
			defer k.mu.Unlock()
			return k.settle(age, fits)
		}
		loading := k.begin(ctx)
		k.mu.Unlock()
		select {
		case <-loading:
		case <-ctx.Done():
			var none T
			return none, authn.Errorf(authn.Unavailable, "entra_unreachable", "waiting for Entra: %w", context.Cause(ctx))
		}
	}
}

// settle makes do with what there is.
func (k *kept[T]) settle(age time.Duration, fits func(T) bool) (T, error) {
	var none T
	switch {
	case k.loaded.IsZero() || age >= goodFor:
		return none, k.err
	case fits(k.value):
		return k.value, nil
	}
	return k.value, k.err
}

func (k *kept[T]) mayLoad() bool {
	every := pressEvery
	if k.loaded.IsZero() {
		every = retryEvery
	}
	return k.tried.IsZero() || k.now().Sub(k.tried) >= every
}

// begin starts a load, or joins the one under way. It does not end with the caller, so that one who hangs up takes
// nothing from those who wait with him.
func (k *kept[T]) begin(ctx context.Context) chan struct{} {
	if k.loading != nil {
		return k.loading
	}
	done := make(chan struct{})
	k.loading, k.tried = done, k.now()
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.timeout)
		defer cancel()
		value, err := k.load(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.err = err; err == nil {
			k.value, k.loaded = value, k.now()
		}
		k.loading = nil
		close(done)
	}()
	return done
}

// cache remembers values until their time. It is safe for concurrent use.
type cache[T any] struct {
	mu   sync.Mutex
	now  func() time.Time
	kept map[string]expiring[T]
}

type expiring[T any] struct {
	value T
	until time.Time
}

// cacheMax is the most that is remembered. Beyond it everything is forgotten: that costs a question more.
const cacheMax = 10_000

func newCache[T any](now func() time.Time) *cache[T] {
	return &cache[T]{now: now, kept: map[string]expiring[T]{}}
}

func (c *cache[T]) get(key string) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.kept[key]
	return e.value, ok && c.now().Before(e.until)
}

func (c *cache[T]) put(key string, value T, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= cacheMax {
		clear(c.kept)
	}
	c.kept[key] = expiring[T]{value, c.now().Add(ttl)}
}
