package local

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/idbridge/idbridge/authn"
)

// cost are the parameters of argon2id (RFC 9106).
type cost struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// presentCost is what passwords are hashed by now. Raise it freely: every hash is kept with its own parameters, and one
// that is weaker than this is made anew when its password is next proven.
func presentCost() cost { return cost{memory: 64 << 10, passes: 3, lanes: 4} }

const (
	saltSize = 16
	hashSize = 32
	// together is how many hashes are made at once: each takes 64 MiB and, for 80 ms, all processors.
	together = 2
)

// hasher makes and compares hashes, a few at a time. It is safe for concurrent use.
type hasher struct {
	cost  cost
	slots chan struct{}
}

func newHasher(c cost) *hasher { return &hasher{c, make(chan struct{}, together)} }

// sum waits for its turn. Unavailable (hash_wait) when ctx ends first.
func (h *hasher) sum(ctx context.Context, password authn.Secret, salt []byte, c cost) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, authn.Errorf(authn.Unavailable, "hash_wait", "too many passwords are being checked: %w", context.Cause(ctx))
	}
	return argon2.IDKey([]byte(password.Reveal()), salt, c.passes, c.memory, c.lanes, hashSize), nil
}

// hash makes a new hash in the usual text form: $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH.
func (h *hasher) hash(ctx context.Context, password authn.Secret) (string, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails; crypto/rand ends the process instead
	sum, err := h.sum(ctx, password, salt, h.cost)
	if err != nil {
		return "", err
	}
	return h.cost.header() + text.EncodeToString(salt) + "$" + text.EncodeToString(sum), nil
}

// waste costs as much as a comparison.
func (h *hasher) waste(ctx context.Context) error {
	_, err := h.sum(ctx, "nobody", make([]byte, saltSize), h.cost)
	return err
}

// Took is how long one hash takes on this machine: the best of three, for the machine may be busy with something else.
func Took() time.Duration {
	h, best := newHasher(presentCost()), time.Hour
	for range 3 {
		start := time.Now()
		_ = h.waste(context.Background()) // has nobody to wait for
		best = min(best, time.Since(start))
	}
	return best
}

// matches compares in constant time. weak tells that the hash was made by less than today's parameters.
func (h *hasher) matches(ctx context.Context, hash string, password authn.Secret) (right, weak bool, err error) {
	c, salt, want, err := parse(hash)
	if err != nil {
		return false, false, authn.Errorf(authn.Unavailable, "password_unopenable", "the stored hash: %w", err)
	}
	got, err := h.sum(ctx, password, salt, c)
	if err != nil {
		return false, false, err
	}
	weak = c.memory < h.cost.memory || c.passes < h.cost.passes
	return subtle.ConstantTimeCompare(got, want) == 1, weak, nil
}

var text = base64.RawStdEncoding

func (c cost) header() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, c.memory, c.passes, c.lanes)
}

// parse reads what hash makes, and nothing else.
func parse(hash string) (c cost, salt, sum []byte, err error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 {
		return c, nil, nil, errors.New("is not of the form $argon2id$v=19$m=,t=,p=$SALT$HASH")
	}
	if _, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.lanes); err != nil {
		return c, nil, nil, fmt.Errorf("parameters: %w", err)
	}
	if !strings.HasPrefix(hash, c.header()) || c.passes == 0 || c.lanes == 0 {
		return c, nil, nil, errors.New("is not argon2id of version 19 with whole parameters")
	}
	salt, saltErr := text.DecodeString(parts[4])
	sum, sumErr := text.DecodeString(parts[5])
	if err = errors.Join(saltErr, sumErr); err == nil && (len(salt) != saltSize || len(sum) != hashSize) {
		err = errors.New("salt or hash is cut off")
	}
	return c, salt, sum, err
}
