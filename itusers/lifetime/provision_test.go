package lifetime_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/itusers/lifetime"
	"github.com/idbridge/idbridge/store"
	fake "github.com/idbridge/idbridge/testenv/lifetime"
)

// provisioned is a LifeTime, and a directory whose groups a test changes.
type provisioned struct {
	*testing.T
	*lifetime.Provisioner
	there  *fake.Server
	groups map[string]string // name → "subject=username …"; "!" before the name: disabled, "?": locked
	broken error             // of the directory
	told   []string
}

func provisioning(t *testing.T) *provisioned {
	t.Helper()
	rows, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "idbridge.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rows.Close() })
	x := &provisioned{T: t, there: fake.Start(t), groups: map[string]string{}}
	x.there.Add(fake.User{Username: "admin", Name: "Admin", IsActive: true, RoleKey: x.there.Role("Administrator")},
		fake.User{Key: x.there.Account, Username: "svc", Name: "Service", IsActive: true})
	client, _ := connect(t, x.there)
	x.Provisioner = &lifetime.Provisioner{
		Runner: itusers.Runner{Store: rows, Node: "here", Now: time.Now}, Client: client, Ledger: rows, Target: "provisioning",
		Rules: []lifetime.Rule{
			{Provider: "corp", Group: "ops", Role: "Operator", Teams: []lifetime.TeamRule{{Team: "Core", Role: "Operator"}}},
			{Provider: "corp", Group: "devs", Role: "developer", Teams: []lifetime.TeamRule{{Team: "web", Role: "Developer"}}},
		},
		Members: x.members, Username: func(i authn.Identity) string { return i.Username },
		Limit: itusers.Limit{Percent: 10, Floor: 3}, Protected: []string{"ADMIN"},
		Changed: func(_ context.Context, _ itusers.Run, username, what string) error {
			x.told = append(x.told, username+" "+what)
			return nil
		},
	}
	return x
}

func (x *provisioned) members(_ context.Context, provider, group string, take func(authn.Member) error) error {
	for word := range strings.FieldsSeq(x.groups[group]) {
		subject, name, _ := strings.Cut(word, "=")
		m := authn.Member{}
		if plain, disabled := strings.CutPrefix(name, "!"); disabled {
			name, m.Err = plain, &authn.Error{Kind: authn.Locked, Reason: "account_disabled"}
		}
		if plain, locked := strings.CutPrefix(name, "?"); locked {
			name, m.Err = plain, &authn.Error{Kind: authn.Locked, Reason: "account_locked"}
		}
		m.Identity = authn.Identity{Provider: provider, Subject: subject, Username: name, Name: "The " + name, Email: name + "@example.test"}
		if err := take(m); err != nil {
			return err
		}
	}
	return x.broken
}

// run wants a run that ends with that reason; "" for none. It returns the rows as "action name reason".
func (x *provisioned) run(reason string, o itusers.RunOptions, rows ...string) itusers.RunReport {
	x.Helper()
	run, err := x.Provisioner.Run(x.Context(), o)
	if (err != nil || reason != "") && authn.ReasonOf(err) != reason {
		x.Errorf("got %v, want %q", err, reason)
	}
	var got []string
	for _, r := range run.Report.Rows {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Action, r.Username, r.Reason)))
	}
	if reason == "" && !slices.Equal(got, rows) {
		x.Errorf("got %q,\nwant %q", got, rows)
	}
	return run.Report
}

// has wants a user as "username role active|inactive Team:Role …"; the order of teams means nothing, so they are sorted.
func (x *provisioned) has(want string) {
	x.Helper()
	username, _, _ := strings.Cut(want, " ")
	u := x.there.User(username)
	got := fmt.Sprintf("%s %s %s", u.Username, u.RoleName, map[bool]string{true: "active", false: "inactive"}[u.IsActive])
	var teams []string
	for _, t := range u.Teams {
		teams = append(teams, " "+t.TeamName+":"+t.RoleName)
	}
	slices.Sort(teams)
	got += strings.Join(teams, "")
	if got != want {
		x.Errorf("LifeTime has %q, want %q", got, want)
	}
}

var usual itusers.RunOptions

func TestProvisioningLife(t *testing.T) {
	x := provisioning(t)
	x.groups = map[string]string{"devs": "1=ann 2=bob 3=?cem 4=!dan", "ops": "2=bob"}
	x.run("", itusers.RunOptions{Dry: true}, "add ann", "add bob", "add cem")
	if writes := x.there.Writes(); len(writes) != 0 {
		t.Errorf("a dry run wrote %q", writes)
	}
	x.run("", usual, "add ann", "add bob", "add cem")
	x.has("ann Developer active Web:Developer")
	x.has("bob Operator active Core:Operator Web:Developer")
	x.there.Requests()
	if r := x.run("", usual); r.Unchanged != 3 || len(x.there.Writes()) != 0 {
		t.Errorf("again: %+v", r)
	}

	// A new name, a left group, a membership made by hand, one made by hand that is ours now.
	x.there.Change("ann", func(u *fake.User) {
		u.Teams = append(u.Teams, fake.TeamRole{TeamKey: x.there.Team("Core"), RoleKey: x.there.Role("Developer")})
	})
	x.groups = map[string]string{"devs": "1=ann.smith 3=cem", "ops": "2=bob"}
	x.run("", usual, "change ann.smith", "change bob")
	x.has("ann.smith Developer active Core:Developer Web:Developer")
	x.has("bob Operator active Core:Operator")

	x.groups = map[string]string{"devs": "1=ann.smith 2=bob"} // cem leaves, bob changes sides
	x.run("", usual, "deactivate cem", "change bob")
	x.has("cem Developer inactive Web:Developer")
	x.has("bob Developer active Web:Developer")
	x.groups = map[string]string{"devs": "1=ann.smith 2=bob 3=cem"}
	x.run("", usual, "change cem")
	x.has("cem Developer active Web:Developer")

	x.there.Change("cem", func(u *fake.User) { u.IsActive = false }) // by somebody else
	x.run("", usual, "refuse cem deactivated_at_lifetime")
	x.there.Remove("bob")
	x.run("", usual, "refuse bob gone_at_lifetime", "refuse cem deactivated_at_lifetime")
	if want := "cem deactivate: active: true → false, no member of a group any more"; !slices.Contains(x.told, want) {
		t.Errorf("told %q, want among them %q", x.told, want)
	}
}

// TestProvisioningTouchesNobodyElse: who was there before, whom the token belongs to, who is protected.
func TestProvisioningTouchesNobodyElse(t *testing.T) {
	x := provisioning(t)
	x.there.Add(fake.User{Username: "Ann", Name: "Ann", IsActive: true, RoleKey: x.there.Role("Administrator")})
	x.groups = map[string]string{"devs": "1=ann 2=bob 3=admin 4=svc 5=two 6=TWO 7=own"}
	refused := []string{"refuse TWO listed_twice", "refuse admin protected_user", "refuse ann not_provisioned", "refuse svc not_provisioned",
		"refuse two listed_twice"}
	x.run("", usual, append(refused, "add bob", "add own")...)
	x.has("Ann Administrator active")
	refused[2], refused[3] = "refuse svc own_account", "refuse two listed_twice"
	x.Adopt, x.Limit.Floor = true, 1
	x.run("", usual, append(refused[:4:4], "change ann")...)
	x.has("ann Developer active Web:Developer")
	x.has("svc Developer active")

	x.groups = map[string]string{"devs": "1=ann 7=admin"} // bob leaves; own takes the administrator's name
	x.run("", itusers.RunOptions{Allow: 3}, "refuse admin protected_user", "deactivate bob")
	x.has("admin Administrator active")
}

func TestProvisioningLimits(t *testing.T) {
	x := provisioning(t)
	all := ""
	for i := range 60 {
		all += fmt.Sprintf("%d=user%02d ", i, i)
	}
	x.groups = map[string]string{"devs": all}
	x.run("", itusers.RunOptions{Dry: true}, slices.Collect(func(yield func(string) bool) {
		for i := range 60 {
			_ = yield(fmt.Sprintf("add user%02d", i))
		}
	})...)
	if _, err := x.Provisioner.Run(t.Context(), usual); err != nil {
		t.Fatal(err)
	}
	x.there.Requests()
	for reason, wrong := range map[string]func(){
		"source_empty":        func() { x.groups = nil },
		"sync_limit":          func() { x.groups = map[string]string{"devs": strings.Join(strings.Fields(all)[:50], " ")} },
		"silent":              func() { x.broken = authn.Errorf(authn.Unavailable, "silent", "cut off") },
		"unknown_role":        func() { x.Rules[0].Role = "Emperor" },
		"lifetime_bad_answer": func() { x.there.Break(fake.Halved) },
	} {
		x.groups, x.broken, x.Rules[0].Role = map[string]string{"devs": all}, nil, "Operator"
		x.there.Break(nil)
		wrong()
		x.run(reason, usual)
		if writes := x.there.Writes(); len(writes) != 0 {
			t.Errorf("%s: wrote %q", reason, writes)
		}
	}
	x.there.Break(nil)
	x.groups, x.broken, x.Rules[0].Role = map[string]string{"devs": strings.Join(strings.Fields(all)[:50], " ")}, nil, "Operator"
	if r := x.run("", itusers.RunOptions{Dry: true, Allow: 10}, slices.Collect(func(yield func(string) bool) {
		for i := range 10 {
			_ = yield(fmt.Sprintf("deactivate user%d", 50+i))
		}
	})...); r.Counted != 10 || r.Owned != 60 {
		t.Errorf("%+v", r)
	}
}

// TestProvisioningGoesOn after LifeTime failed in the middle, also where a user was made and the answer lost.
func TestProvisioningGoesOn(t *testing.T) {
	x := provisioning(t)
	x.groups = map[string]string{"devs": "1=ann 2=bob 3=cem"}
	posts := 0
	x.there.Break(func(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/v2/users/") {
			if posts++; posts == 2 {
				rightly.ServeHTTP(httptest.NewRecorder(), r) // bob is made
				panic(http.ErrAbortHandler)
			}
		}
		rightly.ServeHTTP(w, r)
	})
	x.run("lifetime_unreachable", usual)
	x.has("bob Developer active")
	x.there.Break(nil)
	x.run("", usual, "change bob", "add cem")
	x.has("bob Developer active Web:Developer")
	x.run("", usual)

	x.there.Break(func(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
		if r.Method == http.MethodPost {
			fake.Failing(400, -1)(w, r, rightly)
			return
		}
		rightly.ServeHTTP(w, r)
	})
	x.groups["devs"] += " 4=dan"
	x.run("", usual, "refuse dan lifetime_rejected")
	x.there.Break(nil)
	x.there.Add(fake.User{Username: "dan", Name: "Another Dan", IsActive: true}) // made by hand since
	x.run("", usual, "refuse dan not_provisioned")
	runs, err := x.Store.Runs(t.Context(), "provisioning", 0)
	if err != nil || len(runs) != 5 || runs[4].State != itusers.RunFailed || !strings.Contains(runs[4].Error, "after 1 of 3 users") {
		t.Errorf("runs: %v, %+v", err, runs)
	}
}
