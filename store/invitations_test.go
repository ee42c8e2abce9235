package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/idbridge/idbridge/store"
)

// confirmed keeps n confirmed devices of k-ann, d0 and so on, and one recovery code.
func confirmed(t *testing.T, s *store.Store, n int) {
	t.Helper()
	addUsers(t, s, "ann")
	for i := range n {
		must(t, s.AddDevice(t.Context(), device(i)))
		if done, _, err := s.ConfirmDevice(t.Context(), device(i), codes(i)); err != nil || !done {
			t.Fatal(done, err)
		}
	}
}

func testManaging(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	s := nodes[0]
	confirmed(t, s, 2)
	must(t, s.AddDevice(t.Context(), device(2))) // waits for its first code
	for _, c := range []struct {
		user, device string
		want         bool
	}{{"k-ann", "d1", true}, {"k-bob", "d1", false}, {"k-ann", "none", false}} {
		if named, err := s.NameDevice(t.Context(), c.user, c.device, "of "+c.user+" 📱"); err != nil || named != c.want {
			t.Errorf("%s %s was named: %v, %v", c.user, c.device, named, err)
		}
	}
	devices, err := nodes[1].Devices(t.Context(), "k-ann")
	must(t, err)
	if len(devices) != 3 || devices[0].Name != "" || devices[1].Name != "of k-ann 📱" {
		t.Errorf("%+v", devices)
	}
	for user, want := range map[string]bool{"k-bob": false, "k-ann": true} {
		if kept, err := s.ReplaceRecoveryCodes(t.Context(), user, codes(8)); err != nil || kept != want {
			t.Errorf("recovery codes of %s were kept: %v, %v", user, kept, err)
		}
	}
	for _, c := range []struct {
		user, device string
		last, want   bool
		codes        int
	}{
		{"k-bob", "d0", true, false, 1}, {"k-ann", "d2", true, false, 1}, {"k-ann", "d0", false, true, 1},
		{"k-ann", "d1", false, false, 1}, {"k-ann", "d1", true, true, 0}, {"k-ann", "d1", true, false, 0},
	} {
		if removed, err := s.RemoveDevice(t.Context(), c.user, c.device, c.last); err != nil || removed != c.want {
			t.Errorf("%+v: removed %v, %v", c, removed, err)
		}
		if list, err := s.RecoveryCodes(t.Context(), "k-ann"); err != nil || len(list) != c.codes {
			t.Errorf("%+v: recovery codes %+v, %v", c, list, err)
		}
	}
}

func testInvitations(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	s, later := nodes[0], began.Add(time.Hour)
	addUsers(t, s, "ann", "bob")
	hash := []byte{0, 255}
	must(t, s.AddInvitation(t.Context(), "k-ann", []byte("first"), later))
	must(t, s.AddInvitation(t.Context(), "k-ann", hash, later))
	must(t, s.AddInvitation(t.Context(), "k-bob", []byte("bob's"), later))
	for _, c := range []struct {
		user, hash string
		at         time.Time
	}{{"k-ann", "first", began}, {"k-ann", "bob's", began}, {"k-bob", string(hash), began}, {"k-ann", string(hash), later}} {
		if used, err := s.UseInvitation(t.Context(), c.user, []byte(c.hash), c.at); err != nil || used {
			t.Errorf("%+v was used: %v", c, err)
		}
	}
	if n := raceFor(t, nodes, func(s *store.Store) (bool, error) {
		return s.UseInvitation(t.Context(), "k-ann", hash, later.Add(-time.Microsecond))
	}); n != 1 {
		t.Errorf("%d used one enrolment code", n)
	}
	_, err := s.RemoveFactors(t.Context(), "k-bob")
	must(t, err)
	if used, err := s.UseInvitation(t.Context(), "k-bob", []byte("bob's"), began); err != nil || used {
		t.Errorf("an enrolment code outlived the removal of everything (%v)", err)
	}
}

// All devices are removed at once: with the last one, whichever it is, the recovery codes go.
func raceRemoveDevices(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	confirmed(t, s, racers)
	all(t, overlap(func(i int) error {
		_, err := s.RemoveDevice(context.Background(), "k-ann", fmt.Sprint("d", i), true)
		return err
	}))
	devices, err := s.Devices(t.Context(), "k-ann")
	must(t, err)
	if list, err := s.RecoveryCodes(t.Context(), "k-ann"); err != nil || len(list) != 0 || len(devices) != 0 {
		t.Errorf("%d devices, %d recovery codes left, %v", len(devices), len(list), err)
	}
}

// Who must have a factor keeps one, also when all are removed at once.
func raceLastRemoved(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	confirmed(t, s, racers)
	all(t, overlap(func(i int) error {
		_, err := s.RemoveDevice(context.Background(), "k-ann", fmt.Sprint("d", i), false)
		return err
	}))
	if devices, err := s.Devices(t.Context(), "k-ann"); err != nil || len(devices) != 1 {
		t.Errorf("%d devices left, want 1 (%v)", len(devices), err)
	}
}

func raceReplaceCodes(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	confirmed(t, s, 1)
	all(t, overlap(func(i int) error {
		_, err := s.ReplaceRecoveryCodes(context.Background(), "k-ann", codes(20+i))
		return err
	}))
	if list, err := s.RecoveryCodes(t.Context(), "k-ann"); err != nil || len(list) != 1 {
		t.Errorf("%d sets of recovery codes, want 1 (%v)", len(list), err)
	}
}

func raceInvitation(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	addUsers(t, s, "ann")
	must(t, s.AddInvitation(t.Context(), "k-ann", []byte("one"), began.Add(time.Hour)))
	wantOne(t, winners(t, overlap, func(int) (bool, error) {
		return s.UseInvitation(context.Background(), "k-ann", []byte("one"), began)
	}))
}
