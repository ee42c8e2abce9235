package local

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Cheap are parameters by which a test can make thousands of hashes.
func Cheap() Cost { return cost{memory: 64, passes: 1, lanes: 1} }

// Cost are parameters of argon2id.
type Cost = cost

// Present are the real ones.
func Present() Cost { return presentCost() }

// NewWith is New with other parameters and another clock.
func NewWith(id string, c Config, r authn.Route, s Store, seal Sealer, by Cost, now func() time.Time) (authn.Provider, error) {
	return newProvider("Break glass", r, &source{id, c, s, seal, newHasher(by), now})
}

// NewManagerWith is NewManager with other parameters and another clock.
func NewManagerWith(b Books, seal Sealer, by Cost, now func() time.Time) *Manager {
	return newManager(b, seal, by, now)
}

// Occupy takes all turns at hashing that a provider has, and returns what gives them back.
func Occupy(p authn.Provider) (free func()) {
	h := p.Password.(*source).hasher
	for range together {
		h.slots <- struct{}{}
	}
	return func() {
		for range together {
			<-h.slots
		}
	}
}

// Hash is a hash in text form.
func Hash(ctx context.Context, by Cost, password authn.Secret) (string, error) {
	return newHasher(by).hash(ctx, password)
}

// Matches compares as a hasher of that cost.
func Matches(ctx context.Context, by Cost, hash string, password authn.Secret) (right, weak bool, err error) {
	return newHasher(by).matches(ctx, hash, password)
}

// CheckPassword is the rule for an owner's choice.
func CheckPassword(username string, current, next authn.Secret) error {
	return checkPassword(username, current, next)
}
