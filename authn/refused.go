package authn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// How long, and for how many passwords, a refusal is remembered.
const (
	refusedFor = 2 * time.Minute
	refusedMax = 10_000
)

// refused remembers passwords that a source has just refused, so that a tool left open with an old password does not cost
// a bind, or a failed attempt, each time it reconnects. It keeps keyed hashes in memory only; the key dies with the process.
type refused struct {
	mu   sync.Mutex
	key  [32]byte
	till map[[32]byte]time.Time
	now  func() time.Time
}

func newRefused(now func() time.Time) *refused {
	r := &refused{till: map[[32]byte]time.Time{}, now: now}
	_, _ = rand.Read(r.key[:]) // never fails; crypto/rand ends the process instead
	return r
}

func (r *refused) hash(account string, p Secret) (sum [32]byte) {
	m := hmac.New(sha256.New, r.key[:])
	m.Write([]byte(account))
	m.Write([]byte{0}) // neither text can hold a NUL
	m.Write([]byte(p))
	m.Sum(sum[:0])
	return sum
}

func (r *refused) seen(account string, p Secret) bool {
	h := r.hash(account, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	till, ok := r.till[h]
	return ok && r.now().Before(till)
}

func (r *refused) add(account string, p Secret) {
	h := r.hash(account, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.till) >= refusedMax {
		r.drop()
	}
	r.till[h] = r.now().Add(refusedFor)
}

// forget makes a password worth a bind again: it has just become the right one.
func (r *refused) forget(account string, p Secret) {
	h := r.hash(account, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.till, h)
}

// drop forgets what is over, and everything if that is not enough: the cost is one bind more.
func (r *refused) drop() {
	now := r.now()
	for h, till := range r.till {
		if now.After(till) {
			delete(r.till, h)
		}
	}
	if len(r.till) >= refusedMax {
		clear(r.till)
	}
}
