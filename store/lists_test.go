package store_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
)

// listsAgree compares lists with a look at all users. It is asked of every handle that any test of this package has opened: whatever
// tests do to links, factors and ids, and however, what lists go by must be right afterwards.
func listsAgree(t *testing.T, s *store.Store) {
	t.Helper()
	all, err := s.Users(context.Background(), itusers.Filter{})
	if err != nil && authn.KindOf(err) == authn.Unavailable { // the test has taken the database away
		return
	}
	must(t, err)
	var unlinked, noFactor []string
	on := map[string][]string{"nowhere": nil}
	counts := itusers.Counts{All: len(all)}
	for _, u := range all {
		for environment := range u.IDs {
			on[environment] = append(on[environment], u.Username)
		}
		if len(u.Links) == 0 {
			unlinked = append(unlinked, u.Username)
			counts.Unlinked += one(u.Active)
		}
		if !u.Enrolled {
			noFactor = append(noFactor, u.Username)
			counts.NoFactor += one(u.Active)
		}
		counts.Inactive += one(!u.Active)
	}
	agree := func(f itusers.Filter, want []string) {
		t.Helper()
		for _, f.Limit = range []int{0, 1 + len(all)/3} {
			if got := pages(t, s, f); !slices.Equal(got, want) {
				t.Errorf("%+v: %.200q, want %.200q", f, got, want)
			}
		}
	}
	agree(itusers.Filter{Unlinked: true}, unlinked)
	agree(itusers.Filter{NoFactor: true}, noFactor)
	for environment, want := range on {
		agree(itusers.Filter{Environment: environment}, want)
	}
	if got, err := s.CountUsers(context.Background()); err != nil || got != counts {
		t.Errorf("counts %+v, %v; want %+v", got, err, counts)
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// pages are the user names of a list, read page by page.
func pages(t *testing.T, s *store.Store, f itusers.Filter) (names []string) {
	t.Helper()
	for {
		page, err := s.Users(context.Background(), f)
		if err != nil {
			t.Error(err)
			return names
		}
		for _, u := range page {
			names = append(names, u.Username)
		}
		if len(page) == 0 || len(page) < f.Limit || f.Limit == 0 {
			return names
		}
		f.After = names[len(names)-1]
	}
}

// testLacking does everything that changes links and factors, and looks at the lists after each step.
func testLacking(t *testing.T, open opener) {
	s := open(t)
	d, m, ctx := directory(t, s), manager(s), t.Context()
	importText(t, s, "username,name,active,id:production\nann,Ann,yes,1\nbob,Bob,yes,2\ncem,Cem,no,3\ndan,Dan,yes,\n")
	key := map[string]string{}
	users, err := s.Users(ctx, itusers.Filter{})
	must(t, err)
	for _, u := range users {
		key[u.Username] = u.Key
	}
	device := func(id, user string) mfa.Device {
		return mfa.Device{ID: id, User: key[user], Sealed: []byte("x"), Created: began, Confirmed: began}
	}
	confirm := func(id, user string) error {
		_, _, err := s.ConfirmDevice(ctx, device(id, user), []mfa.RecoveryCode{{ID: "r" + id, Hash: []byte("x")}})
		return err
	}
	link := func(provider, subject, user string) error {
		return d.Link(ctx, account(provider, subject, user).Identity, authn.ITUser{Key: key[user], Username: user})
	}
	for _, step := range []struct {
		name               string
		do                 func() error
		unlinked, noFactor string
	}{
		{"nothing yet", func() error { return nil }, "ann bob cem dan", "ann bob cem dan"},
		{"a first sign-in", func() error { return link("corp", "s-ann", "ann") }, "bob cem dan", "ann bob cem dan"},
		{"the next one", func() error { return link("corp", "s-ann", "ann") }, "bob cem dan", "ann bob cem dan"},
		{"another provider", func() error { return link("shared", "s-ann", "ann") }, "bob cem dan", "ann bob cem dan"},
		{"an administrator links", func() error { return second(m.Link(ctx, "cem", "corp", "s-cem", "cem")) }, "bob dan", "ann bob cem dan"},
		{"relinks", func() error { return second(m.Link(ctx, "cem", "corp", "s-cem2", "cem")) }, "bob dan", "ann bob cem dan"},
		{"in vain", func() error {
			if err := second(m.Link(ctx, "bob", "corp", "s-cem2", "cem")); authn.ReasonOf(err) != "subject_linked_elsewhere" {
				return fmt.Errorf("got %w", err)
			}
			return nil
		}, "bob dan", "ann bob cem dan"},
		{"one link less", func() error { return second(m.Unlink(ctx, "ann", "corp")) }, "bob dan", "ann bob cem dan"},
		{"the last one", func() error { return second(m.Unlink(ctx, "ann", "shared")) }, "ann bob dan", "ann bob cem dan"},
		{"begins to enrol", func() error { return s.AddDevice(ctx, device("d1", "bob")) }, "ann bob dan", "ann bob cem dan"},
		{"begins anew", func() error { return s.AddDevice(ctx, device("d2", "bob")) }, "ann bob dan", "ann bob cem dan"},
		{"confirms", func() error { return confirm("d2", "bob") }, "ann bob dan", "ann cem dan"},
		{"confirms twice", func() error { return confirm("d2", "bob") }, "ann bob dan", "ann cem dan"},
		{"a code", func() error { return second(s.UseStep(ctx, "d2", 7)) }, "ann bob dan", "ann cem dan"},
		{"a name", func() error { return second(s.NameDevice(ctx, key["bob"], "d2", "n")) }, "ann bob dan", "ann cem dan"},
		{"a second device", func() error { return errors.Join(s.AddDevice(ctx, device("d3", "bob")), confirm("d3", "bob")) }, "ann bob dan", "ann cem dan"},
		{"one device less", func() error { return second(s.RemoveDevice(ctx, key["bob"], "d2", true)) }, "ann bob dan", "ann cem dan"},
		{"none", func() error { return second(s.RemoveDevice(ctx, key["bob"], "d3", true)) }, "ann bob dan", "ann bob cem dan"},
		{"two again, and a third begun", func() error {
			return errors.Join(s.AddDevice(ctx, device("d4", "cem")), confirm("d4", "cem"), s.AddDevice(ctx, device("d5", "cem")),
				confirm("d5", "cem"), s.AddDevice(ctx, device("d6", "cem")), s.AddDevice(ctx, device("d7", "ann")))
		}, "ann bob dan", "ann bob dan"},
		{"reopened", func() error { return second(s.Reopen(ctx, began, 9, true)) }, "ann bob dan", "ann bob dan"},
		{"reset", func() error { return second(s.RemoveFactors(ctx, key["cem"])) }, "ann bob dan", "ann bob cem dan"},
		{"linked, enrolled", func() error {
			return errors.Join(link("corp", "s-dan", "dan"), s.AddDevice(ctx, device("d8", "dan")), confirm("d8", "dan"))
		}, "ann bob", "ann bob cem"},
		{"disabled", func() error { return second(m.SetActive(ctx, "dan", false)) }, "ann bob", "ann bob cem"},
		{"renamed", func() error {
			return s.ChangeUser(ctx, "dan", func(u *itusers.User) error { u.Username = "Aaron"; return nil })
		}, "ann bob", "ann bob cem"},
		{"imported", func() error {
			importText(t, s, "username,name,active,id:production\nann,Ann,no,2\nbob,Bob,yes,1\nAaron,A,yes,9\neve,Eve,yes,\n")
			return nil
		}, "ann bob eve", "ann bob cem eve"},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := found(t, s, itusers.Filter{Unlinked: true}); got != step.unlinked {
			t.Errorf("%s: %q have no link, want %q", step.name, got, step.unlinked)
		}
		if got := found(t, s, itusers.Filter{NoFactor: true}); got != step.noFactor {
			t.Errorf("%s: %q have no factor, want %q", step.name, got, step.noFactor)
		}
		listsAgree(t, s)
	}
	for want, f := range map[string]itusers.Filter{
		"ann": {Unlinked: true, Inactive: true}, "bob": {Unlinked: true, Active: true, Environment: "production"},
		"eve": {NoFactor: true, Text: "EVE", Limit: 9}, "cem": {NoFactor: true, After: "bob", Limit: 1}, "ann bob": {NoFactor: true, Unlinked: true, Limit: 2},
		"": {Unlinked: true, Text: "cem", Limit: 9},
	} {
		if got := found(t, s, f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
}

// second is the error of what returns two values.
func second[T any](_ T, err error) error { return err }

// TestListsReadTheirIndexAlone: a list that hardly anybody is on reads an index from end to end, and no user's row for it.
func TestListsReadTheirIndexAlone(t *testing.T) {
	s := handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "x.db")})(t)
	for index, filters := range map[string][]itusers.Filter{
		"it_users_unlinked":  {{Unlinked: true}, {Unlinked: true, Active: true}},
		"it_users_no_factor": {{NoFactor: true}, {NoFactor: true, Active: true}},
		"it_users_search":    {{Active: true}, {Inactive: true}, {Text: "y"}, {Environment: "y"}},
	} {
		for _, f := range filters {
			for _, with := range []itusers.Filter{{}, {Text: "x"}, {Environment: "x"}, {After: "x"}, {Text: "x", Environment: "x", After: "x"}} {
				f.Limit, f.Text, f.Environment, f.After = 51, cmp.Or(with.Text, f.Text), cmp.Or(with.Environment, f.Environment), with.After
				plan := s.PlanOf(t, f)
				if !strings.Contains(plan, "COVERING INDEX "+index) || strings.Contains(plan, "TEMP B-TREE") {
					t.Errorf("%+v:\n%s", f, plan)
				}
			}
		}
	}
}

// testRacingCounts has two nodes link, unlink, enrol and reset the same user at once, from every side of nothing.
func testRacingCounts(t *testing.T, open opener) {
	nodes := [2]*store.Store{open(t), open(t)}
	addUsers(t, nodes[0], "ann", "bob")
	for round := range 10 {
		var wg sync.WaitGroup
		for i, s := range nodes {
			provider, device := fmt.Sprint("p", i), fmt.Sprintf("d%d-%d", round, i)
			d := mfa.Device{ID: device, User: "k-ann", Sealed: []byte("x"), Created: began, Confirmed: began}
			wg.Go(func() {
				_, _, err := s.AddLink(t.Context(), "k-ann", itusers.Link{Provider: provider, Subject: device, Since: began}, false)
				must(t, err)
			})
			wg.Go(func() {
				_, err := manager(s).Unlink(t.Context(), "ann", provider)
				if authn.ReasonOf(err) != "not_linked" {
					must(t, err)
				}
			})
			wg.Go(func() {
				err := s.AddDevice(t.Context(), d)
				if err == nil {
					_, _, err = s.ConfirmDevice(t.Context(), d, nil)
				}
				if authn.ReasonOf(err) != "too_many_devices" {
					must(t, err)
				}
			})
			wg.Go(func() { must(t, second(s.RemoveFactors(t.Context(), "k-ann"))) })
		}
		wg.Wait()
		listsAgree(t, nodes[round%2])
	}
}

// testLackingPast writes links and factors as an older program does that still runs, or somebody by hand.
func testLackingPast(t *testing.T, driver, source string, open opener) {
	s := open(t)
	addUsers(t, s, "ann", "bob", "cem")
	if driver == "sqlite" {
		source = "file:" + source + "?_pragma=foreign_keys(1)"
	}
	db := rawDatabase(t, driver, source)
	for _, step := range []struct{ statement, unlinked, noFactor string }{
		{`INSERT INTO links (provider, subject, it_user, username, since) SELECT 'p', key, key, '', 1 FROM it_users`, "", "ann bob cem"},
		{`UPDATE links SET it_user = 'k-bob', provider = 'q' WHERE it_user = 'k-ann'`, "ann", "ann bob cem"},
		{`DELETE FROM links WHERE provider = 'p'`, "ann cem", "ann bob cem"},
		{`INSERT INTO factors (id, it_user, sealed, created, confirmed, last_step)
			SELECT key, key, CAST('' AS ` + map[string]string{"sqlite": "BLOB", "pgx": "BYTEA"}[driver] + `), 1, 1, 0 FROM it_users`, "ann cem", ""},
		{`UPDATE factors SET confirmed = 0 WHERE it_user <> 'k-bob'`, "ann cem", "ann cem"},
		{`UPDATE factors SET it_user = 'k-ann', confirmed = 2 WHERE it_user <> 'k-bob'`, "ann cem", "cem"},
		{`UPDATE factors SET confirmed = 3`, "ann cem", "cem"},
		{`DELETE FROM it_users WHERE key = 'k-bob'`, "ann cem", "cem"},
		{`DELETE FROM factors`, "ann cem", "ann cem"},
	} {
		_, err := db.ExecContext(t.Context(), step.statement)
		must(t, err)
		unlinked, noFactor := found(t, s, itusers.Filter{Unlinked: true}), found(t, s, itusers.Filter{NoFactor: true})
		if unlinked != step.unlinked || noFactor != step.noFactor {
			t.Errorf("%s: %q and %q, want %q and %q", step.statement, unlinked, noFactor, step.unlinked, step.noFactor)
		}
		listsAgree(t, s)
	}
}

// testLackingFilled: users who were there before the counts are counted, and so is what comes then.
func testLackingFilled(t *testing.T, driver, source string, open opener) {
	s := open(t)
	addUsers(t, s, "ann", "bob", "cem")
	before(t, driver, source, 12)
	db := rawDatabase(t, driver, source)
	for _, statement := range []string{
		`INSERT INTO links (provider, subject, it_user, username, since) VALUES ('p', 's', 'k-ann', '', 1), ('q', 's', 'k-ann', '', 1)`,
		`INSERT INTO factors (id, it_user, sealed, created, confirmed, last_step)
			SELECT key, key, CAST('' AS ` + map[string]string{"sqlite": "BLOB", "pgx": "BYTEA"}[driver] + `), 1, CASE key WHEN 'k-bob' THEN 0 ELSE 1 END, 0 FROM it_users`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		must(t, err)
	}
	s = open(t)
	if one, two := found(t, s, itusers.Filter{Unlinked: true}), found(t, s, itusers.Filter{NoFactor: true}); one != "bob cem" || two != "bob" {
		t.Errorf("%q and %q", one, two)
	}
	must(t, second(manager(s).Unlink(t.Context(), "ann", "p")))
	must(t, second(s.RemoveFactors(t.Context(), "k-cem")))
	if one, two := found(t, s, itusers.Filter{Unlinked: true}), found(t, s, itusers.Filter{NoFactor: true}); one != "bob cem" || two != "bob cem" {
		t.Errorf("then %q and %q", one, two)
	}
}

// before takes a database back to how it was before the migration of that number.
func before(t *testing.T, driver, source string, number int) {
	t.Helper()
	back := map[int][]string{11: {`DROP TABLE kept`}, 12: {
		`ALTER TABLE it_users DROP COLUMN link_count`, `ALTER TABLE it_users DROP COLUMN factor_count`, `ALTER TABLE it_users DROP COLUMN places`,
	}, 13: {
		`DROP INDEX it_users_unlinked`, `DROP INDEX it_users_no_factor`, `DROP INDEX it_users_search`,
		`CREATE INDEX it_users_search ON it_users (folded, active, search, key)`,
	}}
	for _, name := range strings.Fields("link_comes link_goes link_moves factor_comes factor_goes factor_changes") {
		drop := map[string]string{"sqlite": "DROP TRIGGER " + name, "pgx": "DROP FUNCTION " + name + " CASCADE"}[driver]
		back[13] = append(back[13], drop)
	}
	db, err := sql.Open(driver, source)
	must(t, err)
	for n := 13; n >= number; n-- {
		for _, statement := range append(back[n], fmt.Sprintf(`DELETE FROM goose_db_version WHERE version_id = %d`, n)) {
			_, err := db.ExecContext(t.Context(), statement)
			must(t, err)
		}
	}
	must(t, db.Close())
}
