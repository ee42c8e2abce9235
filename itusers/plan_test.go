package itusers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func existing() []User {
	return []User{
		{Key: "k-ann", Username: "ann", Name: "Ann", Email: "ann@example.org", Active: true, IDs: map[string]int32{"production": 1, "development": 11}},
		{Key: "k-bob", Username: "bob", Active: true, IDs: map[string]int32{"production": 2}},
		{Key: "k-eve", Username: "Eve", IDs: map[string]int32{"production": 3}},
	}
}

func planned(t *testing.T, text string) Report {
	t.Helper()
	f := parse([]byte(text), CSV, Options{Environments: known})
	if len(f.problems) > 0 {
		t.Fatal(f.problems)
	}
	return plan(existing(), f.users)
}

func TestPlan(t *testing.T) {
	r := planned(t, "username,name,active,id:production,id:development\n"+
		"ANN,Ann B,,1,-\n"+ // spelling, name and an id change
		"eve,,yes,4,\n"+ // enabled, another id
		"carl,Carl,,3,\n"+ // new, with the id that eve had
		"bob,,,,\n") // nothing said
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.After.Key[:min(5, len(row.After.Key))]+": "+strings.Join(row.What, "; "))
	}
	got[2] = got[2][5:] // a random key
	want := []string{
		`k-ann: username: "ann" → "ANN"; name: "Ann" → "Ann B"; id:development: 11 → none`,
		`k-eve: username: "Eve" → "eve"; active: false → true; id:production: 3 → 4`,
		`: username: "" → "carl"; name: "" → "Carl"; active: false → true; id:production: none → 3`,
	}
	if !slices.Equal(got, want) || r.Added != 1 || r.Changed != 2 || r.Unchanged != 1 || len(r.Problems) != 0 {
		t.Errorf("%+v\n got %q\nwant %q", r, got, want)
	}
	if lines := []int{r.Rows[0].Line, r.Rows[1].Line, r.Rows[2].Line}; !slices.Equal(lines, []int{2, 3, 4}) {
		t.Errorf("lines %v", lines)
	}
	if r.Rows[0].Before.IDs["development"] != 11 {
		t.Error("the state before was changed along")
	}
}

func TestPlanExchangesIDs(t *testing.T) {
	if r := planned(t, "username,id:production\nann,2\nbob,1\n"); len(r.Problems) != 0 || r.Changed != 2 {
		t.Errorf("%+v", r)
	}
}

func TestPlanRefusesIDsThatTwoWouldHave(t *testing.T) {
	for text, want := range map[string][]string{
		"username,id:production\ncarl,3\n":                                                    {`line 2: id 3 on production belongs to "Eve", who is not in the file`},
		"username,id:production\ncarl,5\ndora,5\nann,5\n":                                     {`line 3: id 5 on production is also the one of "carl" (line 2)`, `line 4: id 5 on production is also the one of "carl" (line 2)`},
		"username,name\nann,A\n":                                                              nil,
		"username,name,id:production\nann,A,\ncarl,C,1\n":                                     {`line 3: id 1 on production is also the one of "ann" (line 2)`},
		"username,environment,id\ncarl,production,7\ndora,development,7\ndora,production,7\n": {`line 4: id 7 on production is also the one of "carl" (line 2)`},
	} {
		var got []string
		for _, p := range planned(t, text).Problems {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	now := time.Now
	for _, bad := range []Match{{}, {Attribute: "mail"}, {Attribute: "email", Template: "x"}, {Attribute: "email", Template: "{0}{0}"}} {
		if _, err := NewDirectory(nil, map[string]Match{"corp": bad}, now); err == nil || !strings.Contains(err.Error(), `"corp"`) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	id := authn.Identity{Provider: "corp", Subject: "S-1", Username: `EXAMPLE\Ann`, Email: "Ann.A@Example.org"}
	for _, c := range []struct {
		match Match
		want  string
	}{
		{Match{Attribute: "username"}, `example\ann`},
		{Match{Attribute: "username", StripDomain: true}, "ann"},
		{Match{Attribute: "email"}, "ann.a@example.org"},
		{Match{Attribute: "email", StripDomain: true}, "ann.a"},
		{Match{Attribute: "email", StripDomain: true, Template: "X-{0}"}, "x-ann.a"},
		{Match{Attribute: "subject"}, "s-1"},
	} {
		if got := c.match.username(id); got != c.want {
			t.Errorf("%+v: %q, want %q", c.match, got, c.want)
		}
	}
	id.Email = ""
	if got := (Match{Attribute: "email", Template: "X-{0}"}).username(id); got != "" {
		t.Errorf("an account without e-mail matches %q", got)
	}
}
