package insight

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// Block is somebody, or an address, who has to wait after too many failed attempts.
type Block struct {
	Key      string    `json:"key"`
	What     string    `json:"what"` // authn.CountedPassword, CountedName, CountedToken, CountedCode or CountedAddress
	Provider string    `json:"provider,omitempty"`
	Of       string    `json:"of"`                // subject, user name, or network
	ITUser   string    `json:"it_user,omitempty"` // where one is known
	Failures int       `json:"failures"`
	Last     time.Time `json:"last"`
	Until    time.Time `json:"until"`
}

// BlockStore reads what the throttle keeps.
type BlockStore interface {
	// Blocked returns those who are blocked at a time, the longest first, and how many there are in all.
	Blocked(ctx context.Context, now time.Time, limit int) (list []Block, all int, err error)
	// KeysOf returns the keys of an IT user's accounts and codes, or nothing when there is no such user.
	KeysOf(ctx context.Context, folded string) ([]string, error)
}

// Throttle forgets failed attempts.
type Throttle interface {
	// Clear forgets those under a key.
	Clear(ctx context.Context, key string) error
	// Look tells of those under a key; the error is that of an attempt made now.
	Look(ctx context.Context, key string) (authn.Attempts, error)
}

// Blocks lists who is blocked, and lets an administrator end that.
type Blocks struct {
	BlockStore
	Throttle  Throttle
	Providers []string // ids of those that may be asked for a name
	Audit     func(context.Context, audit.Record) error
	Now       func() time.Time
}

// List returns up to limit of those who are blocked now, the longest first, and how many there are in all.
func (b Blocks) List(ctx context.Context, limit int) ([]Block, int, error) {
	return b.Blocked(ctx, b.Now(), limit)
}

// UnlockUser forgets the failed attempts of everything that goes by a user name: passwords, codes and tokens of the IT user,
// and attempts under the name itself. It returns the keys under which there were some. r says who does it, from where.
func (b Blocks) UnlockUser(ctx context.Context, username string, r audit.Record) ([]string, error) {
	keys, err := b.KeysOf(ctx, authn.FoldName(username))
	if err != nil {
		return nil, err
	}
	for _, provider := range b.Providers {
		keys = append(keys, authn.NameKey(provider, username))
	}
	r.Username = username
	if len(keys) > len(b.Providers) {
		r.ITUser = username
	}
	return b.unlock(ctx, append(keys, authn.TokenThrottleKey(username)), r)
}

// UnlockAddress forgets the failed attempts from an address, of IPv6 from its network.
func (b Blocks) UnlockAddress(ctx context.Context, a netip.Addr, r audit.Record) ([]string, error) {
	return b.unlock(ctx, []string{authn.AddressKey(a.Unmap())}, r)
}

// UnlockKey forgets the failed attempts under the key of a Block.
func (b Blocks) UnlockKey(ctx context.Context, key string, r audit.Record) ([]string, error) {
	return b.unlock(ctx, []string{key}, r)
}

// unlock writes the record first: an attempt that is forgotten without a trace would help whoever guesses.
func (b Blocks) unlock(ctx context.Context, keys []string, r audit.Record) (counted []string, err error) {
	for _, key := range keys {
		seen, err := b.Throttle.Look(ctx, key)
		switch {
		case authn.KindOf(err) == authn.Unavailable:
			return nil, err
		case seen.Failures > 0 || err != nil:
			counted = append(counted, key)
		}
	}
	if len(counted) == 0 {
		return nil, nil
	}
	slices.SortFunc(counted, cmp.Compare[string])
	r.Action, r.Kind, r.Detail = audit.Unlocked, authn.OK.String(), detail(counted)
	if err := b.Audit(ctx, r); err != nil {
		return nil, err
	}
	for _, key := range counted {
		if err := b.Throttle.Clear(ctx, key); err != nil {
			return nil, err
		}
	}
	return counted, nil
}

func detail(keys []string) (text string) {
	for i, key := range keys {
		if i > 0 {
			text += ", "
		}
		text += key
	}
	return text
}
