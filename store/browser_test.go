package store_test

import (
	"errors"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
)

// userKey imports an IT user and returns their key.
func userKey(t *testing.T, s *store.Store, name string) string {
	t.Helper()
	importText(t, s, "username\n"+name+"\n")
	u, err := manager(s).Show(t.Context(), name)
	must(t, err)
	return u.Key
}

func testLogins(t *testing.T, open opener) {
	nodes := []*store.Store{open(t), open(t)}
	l := authn.Login{
		ID: "l1", Version: 1, Expires: began.Add(time.Minute), Username: "ann", Provider: "corp", State: "s", Pending: []byte{0, 1, 255},
		Account: authn.Account{Identity: authn.Identity{Provider: "corp", Subject: "x", Factors: []string{"password"}}, Ref: "cn=ann"},
		User:    authn.ITUser{Key: "k", Username: "ann", Active: true, Enrolled: true}, Change: true, Invited: true,
	}
	saved, err := nodes[0].SaveLogin(t.Context(), l)
	if err != nil || !saved {
		t.Fatalf("%v, %v", saved, err)
	}
	if again, err := nodes[1].SaveLogin(t.Context(), l); again || err != nil {
		t.Errorf("the same version again: %v, %v", again, err)
	}
	got, found, err := nodes[1].Login(t.Context(), "l1")
	if got.Expires.Equal(l.Expires) {
		got.Expires = l.Expires
	}
	if err != nil || !found || !reflect.DeepEqual(got, l) {
		t.Errorf("got %+v, %v, %v\nwant %+v", got, found, err, l)
	}
	if _, found, err := nodes[0].Login(t.Context(), "other"); found || err != nil {
		t.Errorf("another: %v, %v", found, err)
	}
	l.Version = 2
	if n := race(nodes, func(s *store.Store) (bool, error) { return s.SaveLogin(t.Context(), l) }, t); n != 1 {
		t.Errorf("%d of fifty changed a version, want 1", n)
	}
	if ended, err := nodes[0].EndLogin(t.Context(), "l1", 1); ended || err != nil {
		t.Errorf("an old version was ended: %v, %v", ended, err)
	}
	if n := race(nodes, func(s *store.Store) (bool, error) { return s.EndLogin(t.Context(), "l1", 2) }, t); n != 1 {
		t.Errorf("%d of fifty ended a login, want 1", n)
	}
}

// race lets fifty callers on both nodes try, and tells how many were told yes.
func race(nodes []*store.Store, try func(*store.Store) (bool, error), t *testing.T) int64 {
	t.Helper()
	var wg sync.WaitGroup
	var won atomic.Int64
	for i := range 50 {
		wg.Go(func() {
			yes, err := try(nodes[i%2])
			if err != nil {
				t.Error(err)
			}
			if yes {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	return won.Load()
}

func session(id, user string) authn.Session {
	return authn.Session{
		ID: id, User: user, Username: "sess", Typed: "Sess", Created: began, Proven: began, Seen: began, Expires: began.Add(time.Hour),
		Identity: authn.Identity{Provider: "idp", Subject: "s1", Session: "index-" + id, Factors: []string{"idp"}},
		Source:   netip.MustParseAddr("2001:db8::1"), Agent: "Mozilla", Data: []byte("x"),
	}
}

func testSessions(t *testing.T, open opener) {
	one, two := open(t), open(t)
	user := userKey(t, one, "sess")
	want := session("a", user)
	must(t, one.AddSession(t.Context(), want, ""))
	got, found, err := two.Session(t.Context(), "a")
	if err != nil || !found || got.User != user || got.Source != want.Source || !got.Seen.Equal(began) || string(got.Data) != "x" ||
		!reflect.DeepEqual(got.Identity, want.Identity) {
		t.Errorf("got %+v, %v, %v", got, found, err)
	}
	got.Seen, got.Data = began.Add(time.Minute), []byte("y")
	if saved, err := two.SaveSession(t.Context(), got); err != nil || !saved {
		t.Errorf("%v, %v", saved, err)
	}
	if again, _, _ := one.Session(t.Context(), "a"); !again.Seen.Equal(got.Seen) || string(again.Data) != "y" {
		t.Errorf("kept %+v", again)
	}
	must(t, one.AddSession(t.Context(), session("b", user), "a"))
	if _, found, _ := two.Session(t.Context(), "a"); found {
		t.Error("the session that was replaced is still there")
	}
	if saved, err := two.SaveSession(t.Context(), got); err != nil || saved {
		t.Errorf("a session that is gone was saved: %v, %v", saved, err)
	}

	_, err = manager(two).SetActive(t.Context(), "sess", false)
	must(t, err)
	if _, found, err := one.Session(t.Context(), "b"); found || err != nil {
		t.Errorf("a disabled user's session: %v, %v", found, err)
	}
	_, err = manager(two).SetActive(t.Context(), "sess", true)
	must(t, err)
	if _, found, err := one.Session(t.Context(), "b"); found || err != nil {
		t.Errorf("the session of before, of a user who is enabled again: %v, %v", found, err)
	}

	must(t, one.AddSession(t.Context(), session("b", user), ""))
	must(t, one.AddSession(t.Context(), session("c", user), ""))
	other := userKey(t, one, "othersess")
	must(t, one.AddSession(t.Context(), session("d", other), ""))
	if list, err := two.Sessions(t.Context(), user); err != nil || len(list) != 2 || list[0].ID != "b" || list[1].ID != "c" {
		t.Errorf("listed %+v, %v", list, err)
	}
	for _, c := range []struct {
		user, id string
		want     int
	}{{other, "b", 0}, {user, "b", 1}, {user, "", 1}, {user, "", 0}} {
		if n, err := two.EndSessions(t.Context(), c.user, c.id); err != nil || n != c.want {
			t.Errorf("ended %d, %v; want %d", n, err, c.want)
		}
	}
	if _, found, _ := one.Session(t.Context(), "d"); !found {
		t.Error("somebody else's session was ended")
	}
}

func testAccountSessions(t *testing.T, open opener) {
	s := open(t)
	user := userKey(t, s, "logsout")
	for _, id := range []string{"a", "b", "c"} {
		must(t, s.AddSession(t.Context(), session(id, user), ""))
	}
	for _, c := range []struct {
		provider, subject, name string
		want                    int
	}{{"other", "s1", "", 0}, {"idp", "s2", "", 0}, {"idp", "s1", "index-x", 0}, {"idp", "s1", "index-a", 1}, {"idp", "s1", "", 2}} {
		if n, err := s.EndAccountSessions(t.Context(), c.provider, c.subject, c.name); err != nil || n != c.want {
			t.Errorf("%+v: ended %d, %v", c, n, err)
		}
	}
}

func testTokens(t *testing.T, open opener) {
	one, two := open(t), open(t)
	user := userKey(t, one, "tok")
	want := authn.Token{
		ID: "t1", Hash: "h1", User: user, Names: []string{"tok", `corp\tok`}, Label: "laptop", Environments: []string{"production"},
		Identity: authn.Identity{Provider: "corp", Subject: "x", Username: "tok", Factors: []string{"password", "totp"}},
		Created:  began, FirstUseBy: began.Add(5 * time.Minute), Expires: began.Add(time.Hour),
	}
	must(t, one.AddToken(t.Context(), want))
	refusal := errors.New("not this one")
	found, err := two.UseToken(t.Context(), "h1", func(k *authn.Token) error {
		if !k.Created.Equal(began) || !k.Expires.Equal(want.Expires) || !k.FirstUseBy.Equal(want.FirstUseBy) || k.User != user ||
			!reflect.DeepEqual(k.Identity, want.Identity) || !reflect.DeepEqual(k.Names, want.Names) || k.Label != "laptop" {
			t.Errorf("got %+v", k)
		}
		k.FirstUsed = began
		return refusal
	})
	if found || !errors.Is(err, refusal) {
		t.Errorf("a refused use: %v, %v", found, err)
	}
	if found, err := two.UseToken(t.Context(), "h2", func(*authn.Token) error { return nil }); found || err != nil {
		t.Errorf("another token: %v, %v", found, err)
	}
	list := func(now time.Time) int {
		t.Helper()
		l, err := two.Tokens(t.Context(), user, now)
		must(t, err)
		return len(l)
	}
	if list(began) != 1 || list(want.FirstUseBy) != 0 {
		t.Error("a token that was not used in time is listed, or one that may be is not")
	}
	testFirstUse(t, []*store.Store{one, two})
	if list(want.FirstUseBy) != 1 || list(want.Expires) != 0 {
		t.Error("a used token is not listed, or one that is over is")
	}
	for _, c := range []struct {
		user, id string
		want     int
	}{{"else", "", 0}, {user, "t2", 0}, {user, "t1", 1}, {user, "t1", 0}, {user, "", 0}} {
		if n, err := one.RevokeTokens(t.Context(), c.user, c.id, began); err != nil || n != c.want {
			t.Errorf("%+v: revoked %d, %v", c, n, err)
		}
	}
	_, err = two.UseToken(t.Context(), "h1", func(k *authn.Token) error {
		if !k.Revoked.Equal(began) {
			t.Error("the other node does not see that it is revoked")
		}
		return nil
	})
	must(t, err)
	if list(began) != 0 {
		t.Error("a revoked token is listed")
	}
	again, others := want, want
	again.ID, again.Hash, others.ID, others.Hash, others.User = "t3", "h3", "t4", "h4", userKey(t, one, "othertok")
	must(t, one.AddToken(t.Context(), again))
	must(t, one.AddToken(t.Context(), others))
	for _, active := range []bool{false, true} {
		_, err := manager(two).SetActive(t.Context(), "tok", active)
		must(t, err)
		for hash, ended := range map[string]bool{"h3": true, "h4": false} {
			_, err := one.UseToken(t.Context(), hash, func(k *authn.Token) error {
				if k.Revoked.IsZero() == ended {
					t.Errorf("%s with its user active %v: revoked %s", hash, active, k.Revoked)
				}
				return nil
			})
			must(t, err)
		}
	}
}

// testFirstUse lets fifty callers use a token at once: one of them is the first.
func testFirstUse(t *testing.T, nodes []*store.Store) {
	t.Helper()
	n := race(nodes, func(s *store.Store) (first bool, err error) {
		_, err = s.UseToken(t.Context(), "h1", func(k *authn.Token) error {
			if first = k.FirstUsed.IsZero(); first {
				k.FirstUsed = began
			}
			k.LastUsed, k.LastEnvironment = began.Add(time.Second), "production"
			return nil
		})
		return first, err
	}, t)
	if n != 1 {
		t.Errorf("%d of fifty were the first to use a token", n)
	}
	_, err := nodes[0].UseToken(t.Context(), "h1", func(k *authn.Token) error {
		if !k.FirstUsed.Equal(began) || !k.LastUsed.Equal(began.Add(time.Second)) || k.LastEnvironment != "production" {
			t.Errorf("kept %+v", k)
		}
		return nil
	})
	must(t, err)
}

func testPurgeBrowser(t *testing.T, open opener) {
	s := open(t)
	user := userKey(t, s, "purged")
	for i, expires := range []time.Time{began.Add(-time.Second), began} {
		id := string(rune('a' + i))
		_, err := s.SaveLogin(t.Context(), authn.Login{ID: id, Version: 1, Expires: expires})
		must(t, err)
		n := session(id, user)
		n.Expires = expires
		must(t, s.AddSession(t.Context(), n, ""))
		must(t, s.AddToken(t.Context(), authn.Token{ID: id, Hash: id, User: user, Expires: expires}))
	}
	if n, err := s.PurgeBrowser(t.Context(), began); err != nil || n != 3 {
		t.Errorf("removed %d, %v; want 3", n, err)
	}
	if _, found, _ := s.Session(t.Context(), "b"); !found {
		t.Error("a session that is not over was removed")
	}
}
