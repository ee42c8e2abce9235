package store

import (
	"context"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
)

var _ keyring.DataKeyStore = (*Store)(nil)

const selectDataKey = `SELECT sealed FROM data_keys WHERE name = $1`

// DataKey implements keyring.DataKeyStore.
func (s *Store) DataKey(ctx context.Context, name string) (sealed []byte, err error) {
	_, err = s.get(ctx, selectDataKey, []any{name}, &sealed)
	return sealed, err
}

// AddDataKey implements keyring.DataKeyStore.
func (s *Store) AddDataKey(ctx context.Context, name string, sealed []byte) (kept []byte, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		_, err := tx.exec(ctx, `INSERT INTO data_keys (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, sealed)
		if err != nil {
			return err
		}
		_, err = tx.get(ctx, selectDataKey, []any{name}, &kept)
		return err
	})
	return kept, err
}

// DataKeys is the shelf of the data keys, for keyring.Ring.Reseal.
func (s *Store) DataKeys() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM data_keys`,
		page:  `SELECT name, '', sealed FROM data_keys WHERE name > $1 ORDER BY name LIMIT $2`,
		put:   `UPDATE data_keys SET sealed = $1 WHERE name = $2 AND sealed = $3`,
		ad:    func(_, name string) []byte { return keyring.DataKeyAD(name) },
	}
}

// FactorSecrets is the shelf of the second factors' secrets, for keyring.Ring.Reseal.
func (s *Store) FactorSecrets() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM factors`,
		page:  `SELECT id, it_user, sealed FROM factors WHERE id > $1 ORDER BY id LIMIT $2`,
		put:   `UPDATE factors SET sealed = $1 WHERE id = $2 AND sealed = $3`,
		ad:    mfa.SecretAD,
	}
}

// shelf is a table with something sealed in it.
type shelf struct {
	*Store
	count, page, put string
	ad               func(owner, id string) []byte
}

// CountSealed implements keyring.Shelf.
func (s shelf) CountSealed(ctx context.Context) (n int, err error) {
	_, err = s.get(ctx, s.count, nil, &n)
	return n, err
}

// SealedAfter implements keyring.Shelf.
func (s shelf) SealedAfter(ctx context.Context, after string, limit int) (texts []keyring.Sealed, err error) {
	err = s.each(ctx, s.page, []any{after, limit}, func(scan func(...any) error) error {
		var t keyring.Sealed
		var owner string
		err := scan(&t.ID, &owner, &t.Text)
		t.AD = s.ad(owner, t.ID)
		texts = append(texts, t)
		return err
	})
	return texts, err
}

// ReplaceSealed implements keyring.Shelf.
func (s shelf) ReplaceSealed(ctx context.Context, old keyring.Sealed, next []byte) error {
	_, err := s.change(ctx, s.put, next, old.ID, old.Text)
	return err
}
