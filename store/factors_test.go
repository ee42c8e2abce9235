package store_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
)

var began = time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC)

// addUsers keeps IT users whose keys are "k-" and their names.
func addUsers(t *testing.T, s *store.Store, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, s.ChangeUser(t.Context(), name, func(u *itusers.User) error {
			u.Key, u.Username, u.Active = "k-"+name, name, true
			return nil
		}))
	}
}

// raceFor lets 50 callers on two nodes want the same thing, and returns how many were told that they have it.
func raceFor(t *testing.T, nodes [2]*store.Store, want func(s *store.Store) (bool, error)) int64 {
	t.Helper()
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			switch ok, err := want(nodes[i%2]); {
			case err != nil:
				t.Error(err)
			case ok:
				won.Add(1)
			}
		})
	}
	wg.Wait()
	return won.Load()
}

func testFactors(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	s := nodes[0]
	addUsers(t, s, "fay", "gus")
	d := mfa.Device{ID: "d1", User: "k-fay", Sealed: []byte{1, 0, 255}, Created: began}
	must(t, s.AddDevice(t.Context(), mfa.Device{ID: "d0", User: "k-fay", Sealed: []byte("given up"), Created: began}))
	must(t, s.AddDevice(t.Context(), d))
	got, err := nodes[1].Devices(t.Context(), "k-fay")
	must(t, err)
	if len(got) != 1 || got[0].ID != "d1" || string(got[0].Sealed) != string(d.Sealed) || !got[0].Created.Equal(began) || !got[0].Confirmed.IsZero() {
		t.Fatalf("%+v", got)
	}
	if used, err := s.UseStep(t.Context(), "d1", 5); err != nil || used {
		t.Errorf("a step of an unconfirmed device was used: %v, %v", used, err)
	}

	d.Confirmed, d.LastStep = began.Add(time.Second), 100
	codes := []mfa.RecoveryCode{{ID: "r1", Hash: []byte{1, 2}}, {ID: "r2", Hash: []byte{3, 4}}}
	if n := raceFor(t, nodes, func(s *store.Store) (bool, error) {
		confirmed, kept, err := s.ConfirmDevice(t.Context(), d, codes)
		if confirmed != kept {
			t.Errorf("confirmed %v, codes kept %v", confirmed, kept)
		}
		return confirmed, err
	}); n != 1 {
		t.Errorf("%d confirmed the device, want 1", n)
	}
	holders, err := s.Holders(t.Context())
	must(t, err)
	if !slices.Contains(holders, mfa.Holder{Username: "fay", Devices: 1, RecoveryCodes: 2}) ||
		slices.ContainsFunc(holders, func(h mfa.Holder) bool { return h.Username == "gus" }) {
		t.Errorf("holders %+v", holders)
	}
	for step, want := range map[int64]int64{99: 0, 100: 0, 101: 1} {
		if n := raceFor(t, nodes, func(s *store.Store) (bool, error) { return s.UseStep(t.Context(), "d1", step) }); n != want {
			t.Errorf("%d used step %d, want %d", n, step, want)
		}
	}
	if n := raceFor(t, nodes, func(s *store.Store) (bool, error) { return s.UseRecoveryCode(t.Context(), "r1", began) }); n != 1 {
		t.Errorf("%d used a recovery code, want 1", n)
	}
	kept, err := s.RecoveryCodes(t.Context(), "k-fay")
	must(t, err)
	if len(kept) != 2 || !kept[0].Used || kept[1].Used || string(kept[1].Hash) != "\x03\x04" {
		t.Errorf("%+v", kept)
	}
	testMoreDevices(t, s)
}

func testMoreDevices(t *testing.T, s *store.Store) {
	second := mfa.Device{ID: "d2", User: "k-fay", Created: began.Add(time.Hour), Sealed: []byte("x"), Confirmed: began, LastStep: 1}
	must(t, s.AddDevice(t.Context(), second))
	stranger := second
	stranger.User = "k-gus"
	if confirmed, _, err := s.ConfirmDevice(t.Context(), stranger, nil); err != nil || confirmed {
		t.Errorf("confirmed for another user: %v", err)
	}
	more := []mfa.RecoveryCode{{ID: "r3", Hash: []byte{5}}}
	if confirmed, kept, err := s.ConfirmDevice(t.Context(), second, more); err != nil || !confirmed || kept {
		t.Errorf("second device: %v, codes kept although there were unused ones: %v, %v", confirmed, kept, err)
	}
	if n, err := s.RemoveFactors(t.Context(), "k-gus"); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.RemoveFactors(t.Context(), "k-fay"); err != nil || n != 2 {
		t.Errorf("removed %d, %v; want 2", n, err)
	}
	devices, err := s.Devices(t.Context(), "k-fay")
	codes, codesErr := s.RecoveryCodes(t.Context(), "k-fay")
	if err != nil || codesErr != nil || len(devices) != 0 || len(codes) != 0 {
		t.Errorf("left: %v, %v", devices, codes)
	}
}

func testDataKeys(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	line, err := keyring.Generate("one")
	must(t, err)
	ring, err := keyring.Parse(line)
	must(t, err)
	var mu sync.Mutex
	seen := map[string]int{}
	raceFor(t, nodes, func(s *store.Store) (bool, error) {
		key, err := keyring.DataKey(context.Background(), s, ring, "race")
		mu.Lock()
		defer mu.Unlock()
		seen[string(key)]++
		return false, err
	})
	if len(seen) != 1 {
		t.Errorf("%d different keys were made by nodes that raced, want 1", len(seen))
	}
	if other, err := keyring.DataKey(t.Context(), nodes[0], ring, "other"); err != nil || seen[string(other)] != 0 || len(other) != 32 {
		t.Errorf("another name has the same key: %v", err)
	}
	swapped, err := nodes[0].DataKey(t.Context(), "other")
	must(t, err)
	if _, err := ring.Open(swapped, keyring.DataKeyAD("race")); err == nil {
		t.Error("a data key opens under another name")
	}
}

// Rotation changes every sealed text and no meaning, and leaves alone what was replaced meanwhile.
func testRotation(t *testing.T, open opener) {
	s := open(t)
	addUsers(t, s, "rot")
	oldLine, err := keyring.Generate("old")
	must(t, err)
	newLine, err := keyring.Generate("new")
	must(t, err)
	older, err := keyring.Parse(oldLine)
	must(t, err)
	both, err := keyring.Parse(newLine + "\n" + oldLine)
	must(t, err)
	sealed, err := older.Seal([]byte("totp secret"), mfa.SecretAD("k-rot", "rot1"))
	must(t, err)
	must(t, s.AddDevice(t.Context(), mfa.Device{ID: "rot1", User: "k-rot", Sealed: sealed, Created: began}))

	n, err := both.Reseal(t.Context(), s.FactorSecrets(), nil)
	if err != nil || n != 1 {
		t.Fatalf("resealed %d, %v", n, err)
	}
	devices, err := s.Devices(t.Context(), "k-rot")
	must(t, err)
	plain, err := both.Open(devices[0].Sealed, mfa.SecretAD("k-rot", "rot1"))
	if err != nil || string(plain) != "totp secret" || !both.Current(devices[0].Sealed) {
		t.Errorf("%q, %v", plain, err)
	}
	must(t, s.FactorSecrets().ReplaceSealed(t.Context(), keyring.Sealed{ID: "rot1", Text: sealed}, []byte("stale")))
	if again, err := s.Devices(t.Context(), "k-rot"); err != nil || string(again[0].Sealed) != string(devices[0].Sealed) {
		t.Errorf("a text that had been replaced meanwhile was overwritten: %v", err)
	}

	_, err = s.AddDataKey(t.Context(), "rotated", mustSeal(t, older, "data", keyring.DataKeyAD("rotated")))
	must(t, err)
	must(t, s.DataKeys().ReplaceSealed(t.Context(), keyring.Sealed{ID: "nobody's"}, nil))
	page, err := s.DataKeys().SealedAfter(t.Context(), "rotate", 1)
	if err != nil || len(page) != 1 || page[0].ID != "rotated" {
		t.Fatalf("%v, %v", page, err)
	}
	if plain, err := older.Open(page[0].Text, page[0].AD); err != nil || string(plain) != "data" {
		t.Errorf("%q, %v", plain, err)
	}
	if n, err := s.DataKeys().CountSealed(t.Context()); err != nil || n < 1 {
		t.Errorf("%d, %v", n, err)
	}
	_, err = both.Reseal(t.Context(), s.DataKeys(), nil)
	must(t, err)
	if text, err := s.DataKey(t.Context(), "rotated"); err != nil || !both.Current(text) {
		t.Errorf("the data key is not under the current key: %v", err)
	}
}

func mustSeal(t *testing.T, r *keyring.Ring, plain string, ad []byte) []byte {
	t.Helper()
	sealed, err := r.Seal([]byte(plain), ad)
	must(t, err)
	return sealed
}
