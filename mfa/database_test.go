package mfa_test

import (
	"path/filepath"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/store"
)

// openDatabase opens SQLite in dir, where ann and bob are IT users. The store's conformance suite makes PostgreSQL
// keep the same promises.
func openDatabase(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(dir, "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, user := range []authn.ITUser{ann, bob} {
		err := s.ChangeUser(t.Context(), user.Username, func(u *itusers.User) error {
			u.Key, u.Username = user.Key, user.Username
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}
