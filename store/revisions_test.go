package store_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/store"
)

func testRing(t *testing.T, ids ...string) *keyring.Ring {
	t.Helper()
	text := ""
	for _, id := range ids {
		line, ok := ringLines.Load(id)
		if !ok {
			made, err := keyring.Generate(id)
			must(t, err)
			line, _ = ringLines.LoadOrStore(id, made)
		}
		text += fmt.Sprintln(line)
	}
	r, err := keyring.Parse(text)
	must(t, err)
	return r
}

// ringLines are the lines of key files, by id, so that a ring can be made again with another key before it.
var ringLines sync.Map

func history(t *testing.T, s *store.Store, ids ...string) revision.History {
	t.Helper()
	return revision.History{Store: s, Sealer: testRing(t, ids...), Now: time.Now}
}

func testRevisions(t *testing.T, open opener) {
	s := open(t)
	h := history(t, s, "revisions")
	if last, err := h.Last(t.Context()); err != nil || last.Number != 0 {
		t.Fatalf("an empty store has version %d, %v", last.Number, err)
	}
	for i := range int64(3) {
		draft := revision.Draft{Base: i, Author: "os:ann", Comment: fmt.Sprint("change ", i+1), Text: fmt.Appendf(nil, "text %d", i+1)}
		v, err := h.Save(t.Context(), draft)
		if err != nil || v.Number != i+1 {
			t.Fatalf("%+v, %v", v.Info, err)
		}
		got, err := history(t, open(t), "revisions").Last(t.Context())
		if err != nil || got.Info != v.Info || string(got.Text) != string(draft.Text) {
			t.Errorf("saved %+v, read %+v %q, %v", v.Info, got.Info, got.Text, err)
		}
	}
	list, err := h.List(t.Context(), 3, 1)
	if err != nil || len(list) != 1 || list[0].Number != 2 || list[0].Comment != "change 2" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = h.List(t.Context(), 0, 50); err != nil || len(list) != 3 || list[0].Number != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := h.Get(t.Context(), 4); !errors.Is(err, revision.ErrUnknown) {
		t.Error(err)
	}
	// A base that is old, one that never was, and none at all.
	for _, base := range []int64{2, 4, 0, -1} {
		_, err := h.Save(t.Context(), revision.Draft{Base: base, Text: []byte("lost")})
		var moved revision.MovedError
		if !errors.Is(err, revision.ErrMoved) || !errors.As(err, &moved) || moved.Last.Number != 3 || moved.Last.Author != "os:ann" {
			t.Errorf("made from %d: %v", base, err)
		}
	}
	if _, err := h.Save(t.Context(), revision.Draft{Base: 3, Text: make([]byte, revision.MaxText+1)}); err == nil {
		t.Error("a text of any size is kept")
	}
}

// testRacingRevisions: of nodes that save what they made from the same version, one wins.
func testRacingRevisions(t *testing.T, open opener) {
	nodes := []revision.History{history(t, open(t), "revisions"), history(t, open(t), "revisions")}
	for base := range int64(5) {
		var wg sync.WaitGroup
		var won atomic.Int64
		for i := range 8 {
			wg.Go(func() {
				_, err := nodes[i%2].Save(t.Context(), revision.Draft{Base: base, Author: fmt.Sprint(i), Text: []byte("text")})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, revision.ErrMoved) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if last, err := nodes[0].Last(t.Context()); won.Load() != 1 || err != nil || last.Number != base+1 {
			t.Fatalf("from version %d %d nodes saved, the newest is %d, %v", base, won.Load(), last.Number, err)
		}
	}
}

func testRevisionRotation(t *testing.T, open opener) {
	s := open(t)
	h, seen := history(t, s, "old"), revision.Sightings{Store: s, Sealer: testRing(t, "old")}
	for i := range int64(12) { // 10 comes after 9, not after 1
		_, err := h.Save(t.Context(), revision.Draft{Base: i, Text: fmt.Appendf(nil, "text %d", i+1)})
		must(t, err)
	}
	must(t, seen.Put(t.Context(), revision.Sighting{Environment: "one", Settings: map[string]string{"a": "b"}}))
	both := testRing(t, "new", "old")
	for i, shelf := range []keyring.Shelf{s.RevisionTexts(), s.SightingTexts()} {
		if n, err := both.Reseal(t.Context(), shelf, nil); err != nil || n != []int{12, 1}[i] {
			t.Errorf("%d sealed anew, %v", n, err)
		}
	}
	page, err := s.RevisionTexts().SealedAfter(t.Context(), "9", 2)
	if err != nil || len(page) != 2 || page[0].ID != "10" || page[1].ID != "11" {
		t.Errorf("%v, %v", page, err)
	}
	must(t, s.RevisionTexts().ReplaceSealed(t.Context(), keyring.Sealed{ID: "9", Text: []byte("stale")}, []byte("lost")))
	h = history(t, s, "new")
	for i := range int64(12) {
		if v, err := h.Get(t.Context(), i+1); err != nil || string(v.Text) != fmt.Sprint("text ", i+1) {
			t.Errorf("version %d: %q, %v", i+1, v.Text, err)
		}
	}
	list, err := revision.Sightings{Store: s, Sealer: testRing(t, "new")}.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Settings["a"] != "b" {
		t.Errorf("%v, %v", list, err)
	}
	// A text in the place of another one does not open.
	rows, _, err := s.Revision(t.Context(), 1)
	must(t, err)
	other, _, err := s.Revision(t.Context(), 2)
	must(t, err)
	must(t, s.RevisionTexts().ReplaceSealed(t.Context(), keyring.Sealed{ID: "2", Text: other.Sealed}, rows.Sealed))
	if _, err := h.Get(t.Context(), 2); authn.ReasonOf(err) != "revision_sealed" {
		t.Errorf("version 1 passes for version 2: %v", err)
	}
}

func testSightings(t *testing.T, open opener) {
	seen := revision.Sightings{Store: open(t), Sealer: testRing(t, "sightings")}
	for i, environment := range []string{"two", "one", "two"} {
		must(t, seen.Put(t.Context(), revision.Sighting{Environment: environment, Time: began, Version: int64(i),
			Settings: map[string]string{"BaseDN": fmt.Sprint("dc=", i)}}))
	}
	list, err := revision.Sightings{Store: open(t), Sealer: testRing(t, "sightings")}.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Environment != "one" || list[1].Version != 2 || list[1].Settings["BaseDN"] != "dc=2" ||
		!list[1].Time.Equal(began) {
		t.Errorf("%+v, %v", list, err)
	}
}

// testReach: who is active counts where they are linked, once at each provider, or Nowhere.
func testReach(t *testing.T, open opener) {
	s := open(t)
	addUsers(t, s, "ann", "bob", "eve", "off")
	for _, at := range []string{"corp ann", "corp bob", "corp off", "sso ann"} {
		provider, name, _ := strings.Cut(at, " ")
		id := account(provider, "s-"+name, name)
		d, err := itusers.NewDirectory(s, map[string]itusers.Match{provider: {Attribute: "username", Template: "{0}", Shared: true}}, time.Now)
		must(t, err)
		must(t, d.Link(t.Context(), id.Identity, authn.ITUser{Key: "k-" + name}))
	}
	must(t, s.ChangeUser(t.Context(), "off", func(u *itusers.User) error { u.Active = false; return nil }))
	must(t, s.AddDevice(t.Context(), mfa.Device{ID: "reach1", User: "k-bob", Sealed: []byte("x"), Created: began}))
	for _, id := range []string{"reach2", "reach3"} { // two devices are one user
		must(t, s.AddDevice(t.Context(), mfa.Device{ID: id, User: "k-ann", Sealed: []byte("x"), Created: began}))
		_, _, err := s.ConfirmDevice(t.Context(), mfa.Device{ID: id, User: "k-ann", Created: began, Confirmed: began}, nil)
		must(t, err)
	}
	got, err := s.Reach(t.Context())
	want := map[string]itusers.Reach{"corp": {Users: 2, Enrolled: 1}, "sso": {Users: 1, Enrolled: 1}, itusers.Nowhere: {Users: 1}}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}
