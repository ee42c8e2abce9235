package itusers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

var known = []string{"development", "production"}

// said is one user of a file in one line, as the tests compare it.
func said(e entry) string {
	s := fmt.Sprintf("%d %s", e.line, e.username)
	for _, field := range []struct {
		name string
		text *string
	}{{"name", e.name}, {"email", e.email}} {
		if field.text != nil {
			s += fmt.Sprintf(" %s=%s", field.name, *field.text)
		}
	}
	if e.active != nil {
		s += fmt.Sprintf(" active=%v", *e.active)
	}
	for _, environment := range slices.Sorted(maps.Keys(e.ids)) {
		s += fmt.Sprintf(" %s=%d", environment, e.ids[environment].number)
	}
	return s
}

func TestFilesThatAreRead(t *testing.T) {
	for _, c := range []struct {
		what        string
		format      Format
		environment string
		text        string
		want        []string
	}{
		{"one column per environment", CSV, "", "username,name,email,active,id:development,id:production\nann,Ann A,ann@example.org,true,7,8\nbob,,,no,,-\n",
			[]string{"2 ann name=Ann A email=ann@example.org active=true development=7 production=8", "3 bob name= email= active=false production=0"}},
		{"what is not there is not said", CSV, "", "Username\nann", []string{"2 ann"}},
		{"one row per user and environment", CSV, "", "id,username,environment\n7,ann,development\n9,bob,production\n8,ann,PRODUCTION\n",
			[]string{"2 ann development=7 production=8", "3 bob production=9"}},
		{"as OSSYS_USER is exported", CSV, "production", "Id,Username,Name,Email,Is_Active\r\n7,ann,Ann,a@example.org,1\r\n8,bob,Bob,b@example.org,0\r\n",
			[]string{"2 ann name=Ann email=a@example.org active=true production=7", "3 bob name=Bob email=b@example.org active=false production=8"}},
		{"as Excel writes it", CSV, "", "\ufeffusername;name;id:production\r\nann;\"A; \"\"Ann\"\"\nof two lines\";7\r\nbob;Bob;8\r\n", nil},
		{"tabs, empty lines, accents", CSV, "", "username\tname\n\njosé\tJosé\n\no'neil(x)\tO'Neil, X\n", []string{"3 josé name=José", "5 o'neil(x) name=O'Neil, X"}},
		{"only a header", CSV, "", "username,name\n", nil},
		{"JSON", JSON, "", "[\n {\"username\": \"ann\", \"name\": \"Ann\", \"active\": false,\n  \"ids\": {\"development\": 7, \"Production\": null}},\n {\"username\": \"jos\\u00e9\"}\n]\n",
			[]string{"2 ann name=Ann active=false development=7 production=0", "4 josé"}},
		{"JSON, one object per user and environment", JSON, "", `[{"username":"ann","environment":"production","id":7},
{"username":"ann","environment":"development","id":8}]`, []string{"1 ann development=8 production=7"}},
		{"JSON of one environment", JSON, "production", `[{"username":"ann","is_active":true,"id":7}]`, []string{"1 ann active=true production=7"}},
		{"nobody", JSON, "", "[]", nil},
	} {
		f := parse([]byte(c.text), c.format, Options{Environments: known, Environment: c.environment})
		var got []string
		for _, e := range f.users {
			got = append(got, said(e))
		}
		if c.what == "as Excel writes it" { // a line feed in a name is a control character, and said so
			if want := "line 2: name holds control or invisible characters"; len(f.problems) != 1 || f.problems[0].String() != want {
				t.Errorf("%s: %v", c.what, f.problems)
			}
			continue
		}
		if len(f.problems) > 0 || !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q %v\nwant %q", c.what, got, f.problems, c.want)
		}
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	const head = "username,active,id:production\n"
	for _, c := range []struct {
		what        string
		format      Format
		environment string
		text        string
		want        []string
	}{
		{"empty", CSV, "", "", []string{"line 1: there is no header line with the names of the columns"}},
		{"unknown and double columns", CSV, "", "username,phone,Name,name,id:test,id:production,ID:Production\nann\n", []string{
			`line 1: column "phone" is unknown; known are username, name, email, active, id, environment, id:ENVIRONMENT`,
			`line 1: column "name" is there twice`, `line 1: environment "test" is not one of development, production`,
			`line 1: column "id:production" is there twice`}},
		{"no user names", CSV, "", "name\nx\n", []string{"line 1: there is no column username"}},
		{"both forms", CSV, "", "username,id,id:production\n", []string{"line 1: there is a column id and one with an environment; use one form"}},
		{"whose ids", CSV, "", "username,id\n", []string{"line 1: whose ids are these? Say --environment, or name the column id:ENVIRONMENT"}},
		{"environment without id", CSV, "", "username,environment\n", []string{"line 1: there is a column environment but no column id"}},
		{"environment said twice", CSV, "production", "username,id,environment\n", []string{"line 1: --environment was given, but the file has a column environment"}},
		{"environment for nothing", CSV, "production", "username\n", []string{"line 1: --environment was given, but there is no column id"}},
		{"environment unknown", CSV, "test", "username,id\n", []string{`line 1: environment "test" is not one of development, production`}},
		{"every wrong cell", CSV, "", head + "ann,maybe,1\n,true,2\n bob,true,3\nc\u200bd,true,4\ne,true,x\nf,true,0\ng,true,2147483648\nh,true,-1\ni,true,1.5\nj,true,99999999999999999999\nk,true,2147483647\n",
			[]string{
				`line 2: active "maybe" is none of true, false, yes, no, 1, 0`, "line 3: username is empty", "line 4: username has space around it",
				"line 5: username holds control or invisible characters", `line 6: id "x" is not a whole number`, "line 7: id 0 is not in 1…2147483647",
				"line 8: id 2147483648 is not in 1…2147483647", "line 9: id -1 is not in 1…2147483647", `line 10: id "1.5" is not a whole number`,
				`line 11: id "99999999999999999999" is not a whole number`}},
		{"the same user twice", CSV, "", head + "ann,true,1\nbob,true,2\nANN,true,3\n", []string{`line 4: user "ANN" is on line 2 already`}},
		{"wrong number of columns", CSV, "", head + "ann,true\nbob,true,2,3\ncarl,true,4\n", []string{"line 2: has 2 columns, the header has 3", "line 3: has 4 columns, the header has 3"}},
		{"a quotation mark", CSV, "", head + "an\"n,true,1\n\"bob\"x,true,2\nc,true,x\n\"dan,true,4\n", []string{
			"line 2: a quotation mark is not closed or not doubled", "line 3: a quotation mark is not closed or not doubled",
			`line 4: id "x" is not a whole number`, "line 5: a quotation mark is not closed or not doubled"}},
		{"not UTF-8", CSV, "", head + "jos\xe9,true,1\nann,true,2\n\xff,true,3\n", []string{
			"line 2: is not UTF-8 (in Excel: save as CSV UTF-8)", "line 4: is not UTF-8 (in Excel: save as CSV UTF-8)"}},
		{"UTF-16", CSV, "", "\xff\xfeu\x00s\x00", []string{"the file is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)"}},
		{"too long", CSV, "", head + strings.Repeat("a", 257) + ",true,1\n", []string{"line 2: username is longer than 256 bytes"}},
		{"long form", CSV, "", "username,name,environment,id\nann,Ann,production,1\nann,Anna,development,2\nann,Ann,production,3\nbob,Bob,test,4\nANN,Ann,test,\n", []string{
			`line 3: name of user "ann" is another one on line 2`, `line 4: user "ann" has an id on production on line 2 already`,
			`line 5: environment "test" is not one of development, production`, `line 6: environment "test" is not one of development, production`,
			`line 6: the spelling of user "ANN" is another one on line 2`}},
		{"neither", "xml", "", "<x/>", []string{`format "xml" is none of csv, json`}},

		{"no array", JSON, "", `{"username":"ann"}`, []string{`line 1: is not an array of users: [{"username": …}, …]`}},
		{"no JSON", JSON, "", "username,name\n", []string{`line 1: is not an array of users: [{"username": …}, …]`}},
		{"every wrong member", JSON, "", "[\n{\"username\":\"ann\",\n \"phone\":1,\n \"name\":null,\n \"email\":[1],\n \"active\":1,\n \"name\":\"x\",\n \"ids\":{\"test\":1,\n  \"production\":\"7\",\n  \"Production\":8,\n  \"production\":9}},\n7,\n{\"Username\":\"bob\"},\n{\"username\":\"\\ud800\"},\n{\"username\":\"ANN\"}]",
			[]string{
				`line 3: "phone" is unknown; known are username, name, email, active, ids, id, environment`, "line 4: name is not a text",
				"line 5: email is not a text", "line 6: active is not true or false", `line 7: "name" is there twice`,
				`line 8: environment "test" is not one of development, production`, "line 9: id is not a number",
				`line 11: "production" is there twice`, `line 12: is not an object: {"username": …}`,
				`line 13: "Username" is unknown; known are username, name, email, active, ids, id, environment`, "line 13: there is no username",
				"line 14: username holds control or invisible characters", `line 15: user "ANN" is on line 2 already`}},
		{"numbers", JSON, "production", `[{"username":"a","id":0},{"username":"b","id":1e3},{"username":"c","id":2147483648}]`, []string{
			"line 1: id 0 is not in 1…2147483647", `line 1: id "1e3" is not a whole number`, "line 1: id 2147483648 is not in 1…2147483647"}},
		{"forms", JSON, "", `[{"username":"a","id":1},
{"username":"b","environment":"production"},
{"username":"c","id":1,"ids":{}},
{"username":"d","environment":7,"id":1}]`, []string{
			`line 1: whose id is this? Say --environment, or add "environment"`, "line 2: there is an environment but no id",
			"line 3: there is an id and ids; use one form", `line 4: environment "" is not one of development, production`}},
		{"cut off", JSON, "", "[\n{\"username\":\"ann\"},\n", []string{"line 3: is not JSON: it ends too early"}},
		{"cut off within", JSON, "", "[\n{\"username\":\"ann\"", []string{"line 2: is not JSON: it ends too early"}},
		{"a comma", JSON, "", "[\n{\"username\":\"ann\"}\n{\"username\":\"bob\"}]", []string{"line 3: is not JSON: invalid character '{' after array element"}},
		{"more", JSON, "", "[]\n[]", []string{"line 2: there is something after the array"}},
		{"deep", JSON, "", "[" + strings.Repeat("[", 5000), []string{"line 1: is not JSON: nested deeper than 8"}},
	} {
		f := parse([]byte(c.text), c.format, Options{Environments: known, Environment: c.environment})
		report, err := refused(f.problems)
		var got []string
		for _, p := range report.Problems {
			got = append(got, p.String())
		}
		if err == nil || !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.what, got, c.want)
		}
	}
}

// Whatever the file, a user that is taken from it is one that could sign in, once, with valid ids.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"username,id:production\nann,7\n", "username;id;environment\r\nann;7;production", `[{"username":"ann","ids":{"production":7}}]`,
		`[{"username":"ann","environment":"production","id":7}]`, "[[", "\ufeff", "username\n\"", `[{"username":"a",}]`} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		format := CSV
		if isJSON {
			format = JSON
		}
		read := parse(text, format, Options{Environments: known})
		lines, names := strings.Count(string(text), "\n")+1, map[string]bool{}
		for _, e := range read.users {
			folded := strings.ToLower(e.username)
			if e.username == "" || malformed(e.username) != "" || e.line < 1 || e.line > lines || names[folded] {
				t.Errorf("%+v", e)
			}
			names[folded] = true
			for environment, id := range e.ids {
				if !slices.Contains(known, environment) || id.number < 0 {
					t.Errorf("%+v", e)
				}
			}
		}
		for _, p := range read.problems {
			if p.Line < 0 || p.Line > lines {
				t.Errorf("%v: there are %d lines", p, lines)
			}
		}
	})
}
