package authn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
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
	now func() time.Time

	mu   sync.Mutex
	mac  hash.Hash
	text []byte // what goes into mac; cleared after use
	till map[[32]byte]time.Time
}

func newRefused(now func() time.Time) *refused {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails; crypto/rand ends the process instead
	return &refused{now: now, mac: hmac.New(sha256.New, key[:]), till: map[[32]byte]time.Time{}}
}

// hash is on the path of every sign-in, so hash and text are used again. The caller holds mu.
func (r *refused) hash(account string, p Secret) (sum [32]byte) {
	r.text = append(append(append(r.text[:0], account...), 0), p...) // neither can hold a NUL
	r.mac.Reset()
	r.mac.Write(r.text)
	r.mac.Sum(sum[:0])
	clear(r.text)
	return sum
}

func (r *refused) seen(account string, p Secret) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	till, ok := r.till[r.hash(account, p)]
	return ok && r.now().Before(till)
}

func (r *refused) add(account string, p Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.till) >= refusedMax {
		r.drop()
	}
	r.till[r.hash(account, p)] = r.now().Add(refusedFor)
}

// forget makes a password worth a bind again: it has just become the right one.
func (r *refused) forget(account string, p Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.till, r.hash(account, p))
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
