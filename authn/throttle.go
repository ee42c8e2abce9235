package authn

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Attempts is what is remembered about failed attempts under one key.
type Attempts struct {
	Failures     int
	LastFailure  time.Time
	BlockedUntil time.Time
}

// AttemptStore keeps Attempts, shared by all nodes and surviving restarts.
type AttemptStore interface {
	// Attempts returns what is kept under key, the zero value when there is nothing.
	Attempts(ctx context.Context, key string) (Attempts, error)
	// UpdateAttempts replaces what is kept under key by change's result, atomically across nodes; the zero value removes
	// it. change may be called more than once. An error from change is returned as it is and nothing is written.
	UpdateAttempts(ctx context.Context, key string, change func(Attempts) (Attempts, error)) error
}

// Step is one rung of a back-off: from that many failures on, each further one blocks for that long.
type Step struct {
	Failures int
	Block    time.Duration
}

// DefaultSteps are the platform's own, which its users know: 30 seconds after 3 failures, 30 minutes after 6.
func DefaultSteps() []Step { return []Step{{3, 30 * time.Second}, {6, 30 * time.Minute}} }

// DefaultWindow is how long a failure is remembered after the last one.
const DefaultWindow = time.Hour

// Throttle limits failed attempts per key. It is safe for concurrent use.
//
// Attempts on one key are taken one at a time within a process. Across processes, an attempt on a key that has failures
// already is counted before it is made and taken back when it turns out not to be a failure; so with N processes at most
// N-1 attempts more than the limit can ever reach a source, and only when all of them start on a clean key at once.
type Throttle struct {
	store  AttemptStore
	steps  []Step
	window time.Duration
	now    func() time.Time
	strict bool
	keys   *keyLock
}

// NewThrottle makes a Throttle; steps must rise in Failures.
func NewThrottle(store AttemptStore, steps []Step, window time.Duration, now func() time.Time) *Throttle {
	return &Throttle{store: store, steps: steps, window: window, now: now, keys: &keyLock{}}
}

// With returns a Throttle with other limits that takes its attempts in turn with those of t: what a new configuration
// replaces t with while attempts are under way.
func (t *Throttle) With(steps []Step, window time.Duration) *Throttle {
	return &Throttle{store: t.store, steps: steps, window: window, now: t.now, strict: t.strict, keys: t.keys}
}

// Strict returns a Throttle that counts every attempt before it is made, also the first one on a clean key.
func (t *Throttle) Strict() *Throttle {
	return &Throttle{store: t.store, steps: t.steps, window: t.window, now: t.now, strict: true, keys: t.keys}
}

// Attempt is one attempt under way. The first of its methods that is called ends it, the others then do nothing: like a
// transaction's Rollback, Abandoned can be deferred.
type Attempt struct {
	t        *Throttle
	key      string
	before   Attempts
	reserved bool
	ended    bool
	unlock   func()
}

// Begin starts an attempt under key. Locked while the key is blocked; Unavailable when the store does not answer.
func (t *Throttle) Begin(ctx context.Context, key string) (*Attempt, error) {
	unlock, err := t.keys.lock(ctx, key)
	if err != nil {
		return nil, Errorf(Unavailable, "throttle_wait", "waiting for an earlier attempt: %w", err)
	}
	a := &Attempt{t: t, key: key, unlock: unlock}
	if err := a.begin(ctx); err != nil {
		unlock()
		return nil, err
	}
	return a, nil
}

func (a *Attempt) begin(ctx context.Context) error {
	seen, err := a.t.store.Attempts(ctx, a.key)
	if err != nil {
		return storeError(err)
	}
	if err := a.t.blocked(seen); err != nil {
		return err
	}
	a.before = a.t.current(seen)
	if a.before.Failures == 0 && !a.t.strict {
		return nil
	}
	a.reserved = true
	return storeError(a.t.store.UpdateAttempts(ctx, a.key, func(now Attempts) (Attempts, error) {
		if err := a.t.blocked(now); err != nil {
			return now, err
		}
		a.before = a.t.current(now)
		return a.t.fail(now), nil
	}))
}

// end marks the attempt as ended, and says whether the store has to be told.
func (a *Attempt) end(tell bool) (release func(), ok bool) {
	if a.ended {
		return func() {}, false
	}
	a.ended = true
	return a.unlock, tell
}

// Failed counts the attempt.
func (a *Attempt) Failed(ctx context.Context) error {
	release, tell := a.end(!a.reserved)
	defer release()
	if !tell {
		return nil
	}
	return storeError(a.t.store.UpdateAttempts(ctx, a.key, func(now Attempts) (Attempts, error) {
		return a.t.fail(now), nil
	}))
}

// Passed forgets the failures under the key.
func (a *Attempt) Passed(ctx context.Context) error {
	release, tell := a.end(a.reserved)
	defer release()
	if !tell {
		return nil
	}
	return storeError(a.t.store.UpdateAttempts(ctx, a.key, func(Attempts) (Attempts, error) { return Attempts{}, nil }))
}

// Abandoned ends an attempt that proved nothing, for instance because the source was silent: it does not count.
func (a *Attempt) Abandoned(ctx context.Context) error {
	release, tell := a.end(a.reserved)
	defer release()
	if !tell {
		return nil
	}
	return storeError(a.t.store.UpdateAttempts(ctx, a.key, func(now Attempts) (Attempts, error) {
		if now.Failures <= a.before.Failures+1 {
			return a.before, nil
		}
		now.Failures--
		return now, nil
	}))
}

// Look tells what is remembered of failed attempts under key, without making one. The error is the one that an attempt
// would be refused with now.
func (t *Throttle) Look(ctx context.Context, key string) (Attempts, error) {
	seen, err := t.store.Attempts(ctx, key)
	if err != nil {
		return Attempts{}, storeError(err)
	}
	return t.current(seen), t.blocked(seen)
}

// Clear forgets the failures under the key: an administrator unblocks a user.
func (t *Throttle) Clear(ctx context.Context, key string) error {
	return storeError(t.store.UpdateAttempts(ctx, key, func(Attempts) (Attempts, error) { return Attempts{}, nil }))
}

func (t *Throttle) blocked(a Attempts) error {
	if t.now().Before(a.BlockedUntil) {
		return Errorf(Locked, "throttled", "%d failed attempts, blocked until %s", a.Failures, a.BlockedUntil.Format(time.RFC3339))
	}
	return nil
}

// current drops failures that are older than the window.
func (t *Throttle) current(a Attempts) Attempts {
	if t.now().Sub(a.LastFailure) > t.window {
		return Attempts{}
	}
	return a
}

func (t *Throttle) fail(a Attempts) Attempts {
	a = t.current(a)
	a.Failures++
	a.LastFailure = t.now()
	for _, s := range t.steps {
		if a.Failures >= s.Failures {
			a.BlockedUntil = a.LastFailure.Add(s.Block)
		}
	}
	return a
}

// storeError makes a store's error Unavailable unless it has a kind already: without the store nobody is let in, and
// nobody is blamed.
func storeError(err error) error {
	if err == nil || KindOf(err) != Internal {
		return err
	}
	return &Error{Kind: Unavailable, Reason: "store_unavailable", Err: fmt.Errorf("store: %w", err)}
}

// keyLock is one mutex per key, kept only while it is held or waited for.
type keyLock struct {
	mu   sync.Mutex
	held map[string]*keyWait
}

type keyWait struct {
	token   chan struct{} // holds one value while the key is free
	waiters int
}

func (l *keyLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*keyWait{}
	}
	w := l.held[key]
	if w == nil {
		w = &keyWait{token: make(chan struct{}, 1)}
		w.token <- struct{}{}
		l.held[key] = w
	}
	w.waiters++
	l.mu.Unlock()

	select {
	case <-w.token:
		return func() { w.token <- struct{}{}; l.drop(key, w) }, nil
	case <-ctx.Done():
		l.drop(key, w)
		return nil, context.Cause(ctx)
	}
}

func (l *keyLock) drop(key string, w *keyWait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.waiters--; w.waiters == 0 {
		delete(l.held, key)
	}
}
