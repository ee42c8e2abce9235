package keyring

import (
	"context"
	"crypto/rand"
	"fmt"
)

// DataKeyStore keeps small named keys, sealed.
type DataKeyStore interface {
	// DataKey returns the sealed key of that name, nil when there is none.
	DataKey(ctx context.Context, name string) ([]byte, error)
	// AddDataKey keeps sealed under the name unless there is one already, and returns the one that is kept: of two
	// nodes that race, both get the same.
	AddDataKey(ctx context.Context, name string, sealed []byte) (kept []byte, err error)
}

// DataKey returns the 32-byte key of that name, and makes it at the first call. Use one per purpose ("audit-chain"), so
// that the master key itself only ever seals.
func DataKey(ctx context.Context, store DataKeyStore, ring *Ring, name string) ([]byte, error) {
	sealed, err := store.DataKey(ctx, name)
	if err == nil && sealed == nil {
		sealed, err = newDataKey(ctx, store, ring, name)
	}
	if err != nil {
		return nil, fmt.Errorf("data key %s: %w", name, err)
	}
	key, err := ring.Open(sealed, DataKeyAD(name))
	if err != nil {
		return nil, fmt.Errorf("data key %s: %w", name, err)
	}
	return key, nil
}

func newDataKey(ctx context.Context, store DataKeyStore, ring *Ring, name string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	sealed, err := ring.Seal(key, DataKeyAD(name))
	if err != nil {
		return nil, err
	}
	return store.AddDataKey(ctx, name, sealed)
}

// DataKeyAD is what a sealed data key is bound to.
func DataKeyAD(name string) []byte { return []byte("data-key:" + name) }
