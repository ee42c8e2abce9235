package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
)

func refusedFor(t *testing.T, err error, reason string) {
	t.Helper()
	if authn.KindOf(err) != authn.NotMapped || authn.ReasonOf(err) != reason {
		t.Errorf("got %v (%s), want not_mapped (%s): %v", authn.KindOf(err), authn.ReasonOf(err), reason, err)
	}
}

func directory(t *testing.T, s *store.Store) *itusers.Directory {
	t.Helper()
	d, err := itusers.NewDirectory(s, map[string]itusers.Match{
		"corp": {Attribute: "username"}, "other": {Attribute: "username"}, "shared": {Attribute: "username", Shared: true},
	}, func() time.Time { return began })
	must(t, err)
	return d
}

func manager(s *store.Store) itusers.Manager {
	return itusers.Manager{Store: s, Now: func() time.Time { return began }}
}

func account(provider, subject, username string) authn.Account {
	return authn.Account{Identity: authn.Identity{Provider: provider, Subject: subject, Username: username}}
}

func importText(t *testing.T, s *store.Store, text string) itusers.Report {
	t.Helper()
	r, err := importWith(s, text)
	if err != nil {
		t.Fatal(err, r.Problems)
	}
	return r
}

func importWith(s *store.Store, text string) (itusers.Report, error) {
	return manager(s).Import(context.Background(), strings.NewReader(text), itusers.CSV,
		itusers.Options{Environments: []string{"development", "production"}})
}

// testRecycledName is the story of one user name and two people.
func testRecycledName(t *testing.T, open opener) {
	s := open(t)
	d, m := directory(t, s), manager(s)
	importText(t, s, "username,active,id:production,id:development\nRecy,yes,1001,\n")
	find := func(provider, subject, name string) (authn.ITUser, error) {
		return d.Find(t.Context(), account(provider, subject, name), "production")
	}

	first, err := find("corp", "subject-1", "rECY")
	must(t, err)
	want := authn.ITUser{Key: first.Key, Username: "Recy", Active: true, UserID: 1001}
	if first != want || first.Key == "" {
		t.Errorf("got %+v, want %+v", first, want)
	}
	must(t, d.Link(t.Context(), account("corp", "subject-1", "recy").Identity, first))
	must(t, d.Link(t.Context(), account("corp", "subject-1", "recy").Identity, first)) // two sign-ins at once

	want.Linked = true
	for _, name := range []string{"recy", "married.now", "bob"} { // from now on the link decides, not the name
		if u, err := find("corp", "subject-1", name); err != nil || u != want {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
	if u, err := d.Find(t.Context(), account("corp", "subject-1", "recy"), "development"); err != nil || u.UserID != 0 || !u.Linked {
		t.Errorf("on an environment without id: %+v, %v", u, err)
	}

	_, err = find("corp", "subject-2", "recy") // the name was given to another person
	refusedFor(t, err, "name_belongs_to_another_subject")
	refusedFor(t, d.Link(t.Context(), account("corp", "subject-2", "recy").Identity, first), "name_belongs_to_another_subject")
	_, err = find("other", "subject-2", "recy") // who can have that name at another provider is not that person
	refusedFor(t, err, "linked_at_another_provider")
	refusedFor(t, d.Link(t.Context(), account("other", "subject-2", "recy").Identity, first), "no_it_user")
	if u, err := find("shared", "subject-2", "recy"); err != nil || u.Linked { // unless the configuration says so
		t.Errorf("%+v, %v", u, err)
	}
	must(t, d.Link(t.Context(), account("shared", "subject-2", "recy").Identity, first))
	_, err = find("nomatch", "subject-1", "recy")
	refusedFor(t, err, "not_linked")
	_, err = find("corp", "subject-3", "nobody")
	refusedFor(t, err, "no_it_user")
	_, err = find("corp", "subject-3", "")
	refusedFor(t, err, "no_match_attribute")

	change, err := m.Link(t.Context(), "RECY", "corp", "subject-2", "recy") // an administrator relinks
	must(t, err)
	if len(change.Before.Links) != 2 || change.Before.Links[0].Subject != "subject-1" || !slices.ContainsFunc(change.After.Links,
		func(l itusers.Link) bool { return l.Provider == "corp" && l.Subject == "subject-2" }) {
		t.Errorf("%+v", change)
	}
	if u, err := find("corp", "subject-2", "recy"); err != nil || !u.Linked {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = find("corp", "subject-1", "recy")
	refusedFor(t, err, "name_belongs_to_another_subject")
	_, err = m.Unlink(t.Context(), "recy", "corp")
	must(t, err)
	_, err = m.Unlink(t.Context(), "recy", "corp")
	refusedFor(t, err, "not_linked")
	_, err = m.Unlink(t.Context(), "recy", "shared")
	must(t, err)
	if u, err := find("corp", "subject-1", "recy"); err != nil || u.Linked {
		t.Errorf("%+v, %v", u, err)
	}
	refusedFor(t, d.Link(t.Context(), account("corp", "s", "x").Identity, authn.ITUser{Key: "gone", Username: "gone"}), "no_it_user")
}

// testRacingLinks lets many accounts want one IT user: one subject gets it, on whatever node.
func testRacingLinks(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	addUsers(t, nodes[0], "raced", "raced2")
	var mu sync.Mutex
	winners := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			subject := fmt.Sprint("racer-", i%5)
			err := directory(t, nodes[i%2]).Link(t.Context(), account("corp", subject, "raced").Identity, authn.ITUser{Key: "k-raced", Username: "raced"})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				winners[subject] = true
			} else if authn.ReasonOf(err) != "name_belongs_to_another_subject" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(winners) != 1 {
		t.Errorf("winners %v, want one", winners)
	}
	for subject := range winners {
		id := account("corp", subject, "raced2").Identity
		refusedFor(t, directory(t, nodes[1]).Link(t.Context(), id, authn.ITUser{Key: "k-raced2", Username: "raced2"}), "subject_linked_elsewhere")
		_, err := manager(nodes[0]).Link(t.Context(), "raced2", "corp", subject, "raced2")
		refusedFor(t, err, "subject_linked_elsewhere")
	}
}

// testRacingProviders lets accounts of two providers want one IT user at once: one provider gets it.
func testRacingProviders(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	for round := range 10 {
		name := fmt.Sprint("wanted", round)
		addUsers(t, nodes[0], name)
		var wg sync.WaitGroup
		var won atomic.Int32
		for i, provider := range []string{"corp", "other"} {
			wg.Go(func() {
				user := authn.ITUser{Key: "k-" + name, Username: name}
				if directory(t, nodes[i]).Link(t.Context(), account(provider, name, name).Identity, user) == nil {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d providers won, want one", round, won.Load())
		}
	}
}

func testManage(t *testing.T, open opener) {
	s := open(t)
	m := manager(s)
	importText(t, s, "username,name,email,active,id:production\nmaude,Maude O'Hara,m@example.org,yes,2001\nmauve,100%,,no,\n")
	before, err := s.MappedUsers(t.Context(), authn.Environment{Name: "production"})
	must(t, err)
	module, err := s.MappedUsers(t.Context(), authn.Environment{Name: "none", IDs: authn.IDsModule})
	must(t, err)

	change, err := m.SetActive(t.Context(), "MAUDE", false)
	if err != nil || !change.Before.Active || change.After.Active || change.After.IDs["production"] != 2001 {
		t.Errorf("%+v, %v", change, err)
	}
	if change, err = m.SetActive(t.Context(), "maude", false); err != nil || !reflect.DeepEqual(change.Before, change.After) {
		t.Errorf("%+v, %v", change, err)
	}
	if n, err := s.MappedUsers(t.Context(), authn.Environment{Name: "production"}); err != nil || n != before-1 {
		t.Errorf("%d mapped users, %v; want %d", n, err, before-1)
	}
	if n, err := s.MappedUsers(t.Context(), authn.Environment{Name: "none", IDs: authn.IDsModule}); err != nil || n != module-1 {
		t.Errorf("%d active users, %v; want %d", n, err, module-1)
	}
	_, err = m.SetActive(t.Context(), "nobody", true)
	refusedFor(t, err, "no_it_user")
	_, err = m.Show(t.Context(), "nobody")
	refusedFor(t, err, "no_it_user")
	_, err = m.Link(t.Context(), "maude", "corp", "", "")
	refusedFor(t, err, "incomplete_link")
	_, err = m.Link(t.Context(), "maude", "corp", "s-maude", "maude")
	must(t, err)
	got, err := m.Show(t.Context(), "Maude")
	want := itusers.User{Key: got.Key, Username: "maude", Name: "Maude O'Hara", Email: "m@example.org", IDs: map[string]int32{"production": 2001},
		Links: []itusers.Link{{Provider: "corp", Subject: "s-maude", Username: "maude", Since: began}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}

	for text, f := range map[string]itusers.Filter{
		"maude mauve": {Text: "MAU"}, "mauve": {Text: "0%"}, "": {Text: "ma_de"}, "maude": {Text: "o'hara"},
		"maude.": {Text: "mau", Environment: "production"}, "mauve.": {Text: "mau", Unlinked: true},
		"maude mauve.": {Text: "mau", Inactive: true}, "maude..": {Text: "mau", Limit: 1}, "mauve..": {Text: "mau", After: "Maude"},
	} {
		users, err := m.List(t.Context(), f)
		must(t, err)
		var names []string
		for _, u := range users {
			names = append(names, u.Username)
		}
		if got := strings.Join(names, " "); got != strings.TrimRight(text, ".") {
			t.Errorf("%+v: %q, want %q", f, got, strings.TrimRight(text, "."))
		}
	}
}

// found are the user names that a text finds.
func found(t *testing.T, s *store.Store, f itusers.Filter) string {
	t.Helper()
	users, err := s.Users(t.Context(), f)
	must(t, err)
	var names []string
	for _, u := range users {
		names = append(names, u.Username)
	}
	return strings.Join(names, " ")
}

// testUserSearch: any part, upper and lower case of any alphabet, however an accent is written; what was changed is found as
// it is now.
func testUserSearch(t *testing.T, open opener) {
	s := open(t)
	long := strings.Repeat("ß", authn.MaxUsername/2)
	importText(t, s, "username,name,email,active,id:production\nZoë,ÖZDEMİR Çağla,Zoe.Oz@Example.ORG,true,7001\n"+
		"anders,ΔΗΜΗΤΡΙΟΣ A\u030a,x_y%z@example.org,false,7002\n"+long+","+long+",ẞẞ1@example.org,true,7003\nback\\slash,Plain,,true,7004\n")
	for text, want := range map[string]string{
		"özdem": "Zoë", "ÖZDEM": "Zoë", "ZOE\u0308": "Zoë", "çağ": "Zoë", "ÇAĞL": "Zoë", "oz@ex": "Zoë", "δημητ": "anders", "å": "anders",
		"A\u030a": "anders", "x_y": "anders", "y%Z": "anders", "x%z": "", "x__%": "", "sh": "back\\slash", "k\\S": "back\\slash", `\\`: "",
		"ßß1@EXAMPLE": long, "example.org": "anders Zoë " + long, "rsδ": "", "zz": "",
	} {
		if got := found(t, s, itusers.Filter{Text: text, Limit: 50}); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for want, f := range map[string]itusers.Filter{
		"anders": {Text: "EXAMPLE", Inactive: true}, "Zoë": {Text: "example", Active: true, Limit: 1}, "back\\slash": {ID: 7004, Environment: "production", Text: "PLAIN"},
	} {
		if got := found(t, s, f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	must(t, s.ChangeUser(t.Context(), "anders", func(u *itusers.User) error {
		u.Username, u.Name, u.Email = "Björn", "Émile", ""
		return nil
	}))
	for text, want := range map[string]string{"ΔΗΜ": "", "x_y": "", "anders": "", "ÉMI": "Björn", "JÖR": "Björn"} {
		if got := found(t, s, itusers.Filter{Text: text}); got != want {
			t.Errorf("after the change, %q: %q, want %q", text, got, want)
		}
	}
}

// testSearchFilled: users who were there before the column are found too.
func testSearchFilled(t *testing.T, driver, source string, open opener) {
	s := open(t)
	importText(t, s, "username,name,id:production\nzoe,ÖZDEMİR,7001\nanders,Ångström,7002\n")
	before(t, driver, source, 10)
	_, err := rawDatabase(t, driver, source).ExecContext(t.Context(), `UPDATE it_users SET search = ''`)
	must(t, err)
	s = open(t)
	if one, two := found(t, s, itusers.Filter{Text: "özdem"}), found(t, s, itusers.Filter{Text: "ÅNG"}); one != "zoe" || two != "anders" {
		t.Errorf("%q and %q", one, two)
	}
}

func testImport(t *testing.T, open opener) {
	s := open(t)
	m := manager(s)
	options := itusers.Options{Environments: []string{"development", "production"}}
	text := "username,email,id:production\nimpa,a@example.org,3001\nimpb,b@example.org,3002\n"

	options.DryRun = true
	dry, err := m.Import(t.Context(), strings.NewReader(text), itusers.CSV, options)
	if err != nil || dry.Added != 2 {
		t.Fatalf("%+v, %v", dry, err)
	}
	_, err = m.Show(t.Context(), "impa")
	refusedFor(t, err, "no_it_user")

	if r := importText(t, s, text); r.Added != 2 || !slices.Equal(r.Rows[1].What, dry.Rows[1].What) {
		t.Errorf("%+v", r)
	}
	if r := importText(t, s, text); r.Unchanged != 2 || len(r.Rows) != 0 {
		t.Errorf("%+v", r)
	}
	_, err = m.Link(t.Context(), "impa", "corp", "s-impa", "impa")
	must(t, err)
	if r := importText(t, s, "username,id:production\nimpa,3002\nimpb,3001\n"); r.Changed != 2 { // exchanged
		t.Errorf("%+v", r)
	}
	if u, err := directory(t, s).Find(t.Context(), account("corp", "s-impa", ""), "production"); err != nil || u.UserID != 3002 || !u.Linked {
		t.Errorf("after an import: %+v, %v", u, err)
	}

	// All or nothing: one id that is taken, and none of the rows is kept.
	options.DryRun = false
	r, err := m.Import(t.Context(), strings.NewReader("username,id:production\nimpc,3003\nimpd,3001\n"), itusers.CSV, options)
	if !errors.Is(err, itusers.ErrRefused) || len(r.Problems) != 1 || r.Problems[0].Line != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = m.Show(t.Context(), "impc")
	refusedFor(t, err, "no_it_user")
}

// Two imports of the same new users on two nodes: one adds them, the other finds them there.
func testRacingImports(t *testing.T, open opener) {
	var text strings.Builder
	text.WriteString("username,id:production\n")
	for i := range 450 {
		fmt.Fprintf(&text, "racing%03d,%d\n", i, 500_000+i)
	}
	var mu sync.Mutex
	added, unchanged := 0, 0
	var wg sync.WaitGroup
	for range 4 {
		s := open(t)
		wg.Go(func() {
			r, err := manager(s).Import(context.Background(), strings.NewReader(text.String()), itusers.CSV, itusers.Options{Environments: []string{"production"}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err, r.Problems)
			}
			added, unchanged = added+r.Added, unchanged+r.Unchanged
		})
	}
	wg.Wait()
	if added != 450 || unchanged != 3*450 {
		t.Errorf("%d added and %d unchanged, want 450 and %d", added, unchanged, 3*450)
	}
}

// The database itself refuses an id that two users would have, whatever the code above it believes.
func testIDsAreUnique(t *testing.T, open opener) {
	s := open(t)
	addUsers(t, s, "uni1", "uni2")
	give := func(name string) error {
		return s.ChangeUser(t.Context(), name, func(u *itusers.User) error {
			u.IDs = map[string]int32{"production": 777_777}
			return nil
		})
	}
	must(t, give("uni1"))
	if err := give("uni2"); err == nil {
		t.Error("two users have one id on one environment")
	}
}

func testEnrolledIsSeen(t *testing.T, open opener) {
	s := open(t)
	addUsers(t, s, "enro")
	id := account("corp", "s-enro", "enro")
	must(t, directory(t, s).Link(t.Context(), id.Identity, authn.ITUser{Key: "k-enro"}))
	enrolled := func() bool {
		u, err := directory(t, s).Find(t.Context(), id, "production")
		must(t, err)
		return u.Enrolled
	}
	d := mfa.Device{ID: "enro1", User: "k-enro", Created: began, Confirmed: began}
	must(t, s.AddDevice(t.Context(), mfa.Device{ID: "enro1", User: "k-enro", Sealed: []byte("x"), Created: began}))
	if enrolled() {
		t.Error("an unconfirmed device counts")
	}
	_, _, err := s.ConfirmDevice(t.Context(), d, nil)
	must(t, err)
	if !enrolled() {
		t.Error("a confirmed device does not count")
	}
}

// largeFile is an import file of n users with ids on two environments.
func largeFile(n int) string {
	var text strings.Builder
	text.WriteString("username,name,email,active,id:development,id:production\n")
	for i := range n {
		fmt.Fprintf(&text, "large%06d,Name %d,l%d@example.org,true,%d,%d\n", i, i, i, 1_000_000+i, 2_000_000+i)
	}
	return text.String()
}

func testLargeImport(t *testing.T, open opener) {
	s := open(t)
	const n = 5_001 // full batches and a rest; BenchmarkImport has 100,000
	for _, want := range []itusers.Report{{Added: n}, {Unchanged: n}} {
		last := 0
		r, err := manager(s).Import(t.Context(), strings.NewReader(largeFile(n)), itusers.CSV,
			itusers.Options{Environments: []string{"development", "production"}, Progress: func(done, _ int) { last = done }})
		if err != nil || r.Added != want.Added || r.Unchanged != want.Unchanged || last != want.Added {
			t.Fatalf("added %d, unchanged %d, progress to %d, %v", r.Added, r.Unchanged, last, err)
		}
	}
	users, err := s.Users(t.Context(), itusers.Filter{})
	must(t, err)
	if len(users) != n || users[n-1].Username != "large005000" || users[n-1].IDs["production"] != 2_005_000 {
		t.Errorf("%d users, the last %+v", len(users), users[len(users)-1])
	}
}

// BenchmarkImport imports 100,000 new users into an empty SQLite database.
func BenchmarkImport(b *testing.B) {
	text := largeFile(100_000)
	for b.Loop() {
		s := benchStore(b)
		_, err := manager(s).Import(b.Context(), strings.NewReader(text), itusers.CSV, itusers.Options{Environments: []string{"development", "production"}})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFindLinked is the read that every sign-in makes, among 10,000 users.
func BenchmarkFindLinked(b *testing.B) {
	s := benchStore(b)
	_, err := manager(s).Import(b.Context(), strings.NewReader(largeFile(10_000)), itusers.CSV, itusers.Options{Environments: []string{"development", "production"}})
	if err == nil {
		_, err = manager(s).Link(b.Context(), "large005000", "corp", "subject", "x")
	}
	for b.Loop() {
		u, findErr := s.FindLinked(b.Context(), "corp", "subject", "production")
		if err != nil || findErr != nil || u.UserID != 2_005_000 {
			b.Fatal(u, err, findErr)
		}
	}
}

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(b.TempDir(), "bench.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// testUserPages: pages of every length hold together, and each state selects whom it names.
func testUserPages(t *testing.T, open opener) {
	s := open(t)
	var text strings.Builder
	text.WriteString("username,id:production,active\n")
	for i := range 150 {
		fmt.Fprintf(&text, "u%03d,%d,%v\n", i, i+1, i != 7)
	}
	importText(t, s, text.String())
	for _, limit := range []int{1, 2, 63, 64, 65, 150, 151, 600} {
		names, after := []string{}, ""
		for {
			page, err := s.Users(t.Context(), itusers.Filter{Limit: limit, After: after})
			must(t, err)
			for _, u := range page {
				names, after = append(names, u.Username), u.Username
			}
			if len(page) < limit {
				break
			}
		}
		if len(names) != 150 || !slices.IsSorted(names) {
			t.Errorf("by %d: %d users", limit, len(names))
		}
	}
	for name, one := range map[string]struct {
		f    itusers.Filter
		want int
	}{
		"active": {itusers.Filter{Active: true}, 149}, "inactive": {itusers.Filter{Inactive: true, Limit: 9}, 1}, "by id": {itusers.Filter{Environment: "production", ID: 8}, 1},
		"no such id": {itusers.Filter{Environment: "development", ID: 8, Limit: 9}, 0}, "without a factor": {itusers.Filter{NoFactor: true, Limit: 200}, 150},
	} {
		if users, err := s.Users(t.Context(), one.f); err != nil || len(users) != one.want {
			t.Errorf("%s: %d users, %v", name, len(users), err)
		}
	}
	if c, err := s.CountUsers(t.Context()); err != nil || c != (itusers.Counts{All: 150, Inactive: 1, Unlinked: 149, NoFactor: 149}) {
		t.Errorf("counts %+v, %v", c, err)
	}
}
