package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/local"
	"github.com/idbridge/idbridge/store"
)

func localAccount(subject, name string) local.Account {
	return local.Account{Subject: subject, Username: name,
		Password: local.Password{Sealed: []byte{1, 0, 255}, Changed: began, MustChange: true}}
}

// sameAccount compares everything that is kept.
func sameAccount(a, b local.Account) bool {
	return a.Subject == b.Subject && a.Username == b.Username && string(a.Sealed) == string(b.Sealed) &&
		a.Changed.Equal(b.Changed) && a.MustChange == b.MustChange && a.ActiveUntil.Equal(b.ActiveUntil)
}

func testLocalAccounts(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	s := nodes[0]
	made := localAccount("s1", "BG-Ann")
	added, err := s.AddLocalAccount(t.Context(), made)
	if err != nil || !added {
		t.Fatal(added, err)
	}
	for _, taken := range []local.Account{localAccount("s2", "bg-ann"), localAccount("s1", "bg-zoe")} {
		if added, err := s.AddLocalAccount(t.Context(), taken); err != nil || added {
			t.Errorf("%s %s was added beside the first one (%v)", taken.Subject, taken.Username, err)
		}
	}
	got, found, err := nodes[1].LocalAccount(t.Context(), "bg-ann")
	if err != nil || !found || !sameAccount(got, made) || !got.ActiveUntil.IsZero() {
		t.Fatalf("%+v, %v, %v", got, found, err)
	}
	if _, found, err := s.LocalAccount(t.Context(), "BG-Ann"); err != nil || found {
		t.Errorf("a name that is not folded was found (%v)", err)
	}

	next := local.Password{Sealed: []byte("next"), Changed: began.Add(time.Hour)}
	for was, want := range map[string]bool{"other": false, string(made.Sealed): true} {
		if done, err := s.ReplaceLocalPassword(t.Context(), "s1", []byte(was), next); err != nil || done != want {
			t.Errorf("in the place of %q: %v, %v; want %v", was, done, err, want)
		}
	}
	until := began.Add(4 * time.Hour)
	if done, err := s.ActivateLocalAccount(t.Context(), "s1", until); err != nil || !done {
		t.Errorf("activate: %v, %v", done, err)
	}
	if done, err := s.ActivateLocalAccount(t.Context(), "nobody", until); err != nil || done {
		t.Errorf("nobody was activated: %v, %v", done, err)
	}
	list, err := nodes[1].LocalAccounts(t.Context())
	if err != nil || len(list) != 1 || !sameAccount(list[0], local.Account{Subject: "s1", Username: "BG-Ann", Password: next, ActiveUntil: until}) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, want := range []bool{true, false} {
		if done, err := s.RemoveLocalAccount(t.Context(), "s1"); err != nil || done != want {
			t.Errorf("remove: %v, %v; want %v", done, err, want)
		}
	}
}

func testLocalRotation(t *testing.T, open opener) {
	s := open(t)
	oldLine, err := keyring.Generate("old")
	must(t, err)
	newLine, err := keyring.Generate("new")
	must(t, err)
	older, err := keyring.Parse(oldLine)
	must(t, err)
	both, err := keyring.Parse(newLine + "\n" + oldLine)
	must(t, err)
	a := localAccount("rotated", "bg-rot")
	a.Sealed = mustSeal(t, older, "hash", local.SealAD("rotated"))
	_, err = s.AddLocalAccount(t.Context(), a)
	must(t, err)
	if n, err := both.Reseal(t.Context(), s.LocalPasswords(), nil); err != nil || n != 1 {
		t.Fatalf("resealed %d, %v", n, err)
	}
	got, _, err := s.LocalAccount(t.Context(), "bg-rot")
	must(t, err)
	plain, err := both.Open(got.Sealed, local.SealAD("rotated"))
	if err != nil || string(plain) != "hash" || !both.Current(got.Sealed) {
		t.Errorf("%q, %v", plain, err)
	}
}

func raceLocalAdd(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	wantOne(t, winners(t, overlap, func(i int) (bool, error) {
		return s.AddLocalAccount(context.Background(), localAccount(fmt.Sprint("s", i), "bg-ann"))
	}))
}

// Two owners' changes, or a change and a reset, of one password.
func raceLocalPassword(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	a := localAccount("s", "bg-ann")
	_, err := s.AddLocalAccount(t.Context(), a)
	must(t, err)
	wantOne(t, winners(t, overlap, func(i int) (bool, error) {
		return s.ReplaceLocalPassword(context.Background(), "s", a.Sealed, local.Password{Sealed: []byte{byte(i)}, Changed: began})
	}))
}
