package store_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/saml"
	"github.com/idbridge/idbridge/store"
)

// testSAMLKeys: of nodes that make the first key, or the next one, exactly one wins, and the one before it ends.
func testSAMLKeys(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	now := time.Now().UTC().Truncate(time.Microsecond)
	var n atomic.Int64
	race := func(after string, signs, ends time.Time) {
		t.Helper()
		raceFor(t, nodes, func(s *store.Store) (bool, error) {
			k := saml.OwnKey{ID: fmt.Sprintf("k%03d", n.Add(1)), Provider: "corp", Certificate: []byte{1}, Sealed: []byte{2}, Signs: signs}
			return s.AddSAMLKey(context.Background(), k, after, ends)
		})
	}
	race("", now, time.Time{})
	first, err := nodes[1].SAMLKeys(t.Context(), "corp")
	if err != nil || len(first) != 1 || !first[0].Signs.Equal(now) || !first[0].Ends.IsZero() {
		t.Fatalf("%+v, %v; want one key", first, err)
	}
	race(first[0].ID, now.Add(time.Hour), now.Add(2*time.Hour))
	both, err := nodes[0].SAMLKeys(t.Context(), "corp")
	if err != nil || len(both) != 2 || both[0].ID != first[0].ID || !both[0].Ends.Equal(now.Add(2*time.Hour)) || !both[1].Ends.IsZero() {
		t.Fatalf("%+v, %v; want the first one to end, and one successor", both, err)
	}
	if other, err := nodes[0].SAMLKeys(t.Context(), "other"); err != nil || len(other) != 0 {
		t.Errorf("another provider has the keys %v, %v", other, err)
	}
}

func testSAMLSecrets(t *testing.T, open opener) {
	s := open(t)
	older, both := rings(t)
	sealed, err := older.Seal([]byte("private key"), saml.KeyAD("corp", "k"))
	must(t, err)
	_, err = s.AddSAMLKey(t.Context(), saml.OwnKey{ID: "k", Provider: "corp", Certificate: []byte{1}, Sealed: sealed}, "", time.Time{})
	must(t, err)
	if n, err := both.Reseal(t.Context(), s.SAMLSecrets(), nil); err != nil || n != 1 {
		t.Fatalf("resealed %d, %v", n, err)
	}
	keys, err := s.SAMLKeys(t.Context(), "corp")
	must(t, err)
	plain, err := both.Open(keys[0].Sealed, saml.KeyAD("corp", "k"))
	if err != nil || string(plain) != "private key" || !both.Current(keys[0].Sealed) {
		t.Errorf("%q, %v", plain, err)
	}
}

// rings are one with a key, and one in which a newer key comes before it.
func rings(t *testing.T) (older, both *keyring.Ring) {
	t.Helper()
	oldLine, err := keyring.Generate("old")
	must(t, err)
	newLine, err := keyring.Generate("new")
	must(t, err)
	older, err = keyring.Parse(oldLine)
	must(t, err)
	both, err = keyring.Parse(newLine + "\n" + oldLine)
	must(t, err)
	return older, both
}

func testSAMLSessions(t *testing.T, open opener) {
	s, now := open(t), time.Now().UTC().Truncate(time.Microsecond)
	for i, name := range []string{"ann", "ann", "bob"} {
		must(t, s.AddSAMLSession(t.Context(), saml.Session{ID: fmt.Sprint(i), Provider: "corp", Subject: "s-" + name, Name: name,
			Index: fmt.Sprint("i", i), NameID: []byte(name), Expires: now.Add(time.Duration(i) * time.Hour)}))
	}
	ids := func(provider, id, name string) (ids string) {
		t.Helper()
		list, err := s.SAMLSessions(t.Context(), provider, id, name)
		must(t, err)
		for _, one := range list {
			ids += one.ID + one.Index + one.Subject + string(one.NameID) + " "
		}
		return ids
	}
	for _, c := range []struct{ provider, id, name, want string }{
		{"corp", "", "ann", "0i0s-annann 1i1s-annann "}, {"corp", "2", "", "2i2s-bobbob "}, {"other", "2", "ann", ""}, {"corp", "", "", ""},
	} {
		if got := ids(c.provider, c.id, c.name); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	must(t, s.RemoveSAMLSession(t.Context(), "1"))
	if n, err := s.PurgeSAML(t.Context(), now.Add(time.Minute), now); err != nil || n != 1 {
		t.Errorf("purged %d, %v; want 1", n, err)
	}
	if got := ids("corp", "2", "ann"); got != "2i2s-bobbob " {
		t.Errorf("left: %q", got)
	}
}

func testSAMLMessages(t *testing.T, open opener) {
	s, now := open(t), time.Now().UTC().Truncate(time.Microsecond)
	for i, provider := range []string{"corp", "other", "corp"} {
		must(t, s.AddSAMLMessage(t.Context(), saml.Message{ID: fmt.Sprint("m", i), At: now.Add(time.Duration(i) * time.Minute), Provider: provider,
			Direction: "in", Type: "Response", Message: "_a", InResponseTo: "_b", Username: "ann", Reason: "replayed", Body: []byte("<a/>")}))
	}
	must(t, s.AddSAMLMessage(t.Context(), saml.Message{ID: "m3", At: now.Add(3 * time.Minute), Provider: "corp"}))
	ids := func(provider string, limit int) (ids string) {
		t.Helper()
		list, err := s.SAMLMessages(t.Context(), provider, limit)
		must(t, err)
		for _, m := range list {
			ids += m.ID + " "
		}
		return ids
	}
	if got := ids("", 10) + "|" + ids("corp", 2) + "|" + ids("nobody", 10); got != "m3 m2 m1 m0 |m3 m2 |" {
		t.Errorf("%q", got)
	}
	list, err := s.SAMLMessages(t.Context(), "other", 1)
	must(t, err)
	want := saml.Message{ID: "m1", At: now.Add(time.Minute), Provider: "other", Direction: "in", Type: "Response", Message: "_a",
		InResponseTo: "_b", Username: "ann", Reason: "replayed", Body: []byte("<a/>")}
	if fmt.Sprintf("%+v", list[0]) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, want %+v", list[0], want)
	}
	if n, err := s.PurgeSAML(t.Context(), now, now.Add(2*time.Minute)); err != nil || n != 2 {
		t.Errorf("purged %d, %v; want 2", n, err)
	}
	if got := ids("", 10); got != "m3 m2 " {
		t.Errorf("left: %q", got)
	}
}
