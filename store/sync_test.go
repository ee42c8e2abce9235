package store_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/itusers/lifetime"
	"github.com/idbridge/idbridge/store"
)

// crowd is a source whose users a test changes.
type crowd struct {
	users []itusers.Listed
	err   error  // after the users
	then  func() // after they were read
}

func (c *crowd) Users(_ context.Context, take func(itusers.Listed) error) error {
	for _, u := range c.users {
		if err := take(u); err != nil {
			return err
		}
	}
	if c.then != nil {
		c.then()
	}
	return c.err
}

func (c *crowd) Check(context.Context) (string, error) { return "a crowd", c.err }

// person is "ref name [active|inactive] [environment=id ...]".
func person(text string) itusers.Listed {
	words := strings.Fields(text)
	l := itusers.Listed{Ref: words[0], Username: words[1]}
	for _, w := range words[2:] {
		var id int32
		if environment, number, ok := strings.Cut(w, "="); ok {
			if l.IDs == nil {
				l.IDs = map[string]int32{}
			}
			_, _ = fmt.Sscan(number, &id)
			l.IDs[environment] = id
			continue
		}
		active := w == "active"
		l.Active = &active
	}
	return l
}

func people(texts ...string) (list []itusers.Listed) {
	for _, t := range texts {
		list = append(list, person(t))
	}
	return list
}

// synced is a syncer with a source under test.
type synced struct {
	*testing.T
	*itusers.Syncer
	*crowd
	store   *store.Store
	feed    itusers.Feed
	changed []string // told for the audit
}

func syncing(t *testing.T, s *store.Store, owns itusers.Owns, texts ...string) *synced {
	x := &synced{T: t, store: s, crowd: &crowd{users: people(texts...)}}
	x.Syncer = &itusers.Syncer{
		Runner: itusers.Runner{Store: s, Node: "here", Now: time.Now}, Store: s,
		Changed: func(_ context.Context, _ itusers.Run, changes []itusers.Change) error {
			for _, c := range changes {
				x.changed = append(x.changed, c.After.Username+": "+strings.Join(c.Differences(), ", "))
			}
			return nil
		},
	}
	x.feed = itusers.Feed{ID: "src", Source: x.crowd, Owns: owns, Environments: []string{"development", "production"},
		Limit: itusers.Limit{Percent: 10, Floor: 10}}
	return x
}

// run wants a run that ends with that reason; "" for none.
func (x *synced) run(reason string, options ...itusers.RunOptions) itusers.RunReport {
	x.Helper()
	o := itusers.RunOptions{Actor: "test"}
	if len(options) > 0 {
		o = options[0]
	}
	run, err := x.Syncer.Run(x.Context(), x.feed, o)
	if got := authn.ReasonOf(err); (reason != "" || err != nil) && got != reason {
		x.Errorf("got %v, want %q", err, reason)
	}
	return run.Report
}

// has wants just these users, written as in person without the reference.
func (x *synced) has(want ...string) {
	x.Helper()
	var got []string
	users, err := x.store.Users(x.Context(), itusers.Filter{})
	must(x.T, err)
	for _, u := range users {
		text := u.Username
		if !u.Active {
			text += " inactive"
		}
		for _, e := range slices.Sorted(maps.Keys(u.IDs)) {
			text += fmt.Sprintf(" %s=%d", e, u.IDs[e])
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		x.Errorf("got %q,\nwant %q", got, want)
	}
}

func (x *synced) refused(r itusers.RunReport, reasons ...string) {
	x.Helper()
	var got []string
	for _, row := range r.Rows {
		if row.Action == itusers.RowRefused {
			got = append(got, row.Username+" "+row.Reason)
		}
	}
	if !slices.Equal(got, reasons) {
		x.Errorf("refused %q, want %q", got, reasons)
	}
}

// testSyncLife follows users through the life that their source says they have.
func testSyncLife(t *testing.T, open opener) {
	x := syncing(t, open(t), itusers.OwnsUsers, "k1 Ann production=7", "k2 bob inactive", "k3 cem active")
	importText(t, x.store, "username,active\nCEM,no\ndan,yes\n") // cem was disabled here; dan is not the source's

	if r := x.run("", itusers.RunOptions{Dry: true}); r.Added != 2 || r.Changed != 1 {
		t.Errorf("dry run: %+v", r)
	}
	x.has("CEM inactive", "dan")
	if r := x.run(""); r.Added != 2 || r.IDs != 1 {
		t.Errorf("first run: %+v", r)
	}
	x.has("Ann production=7", "bob inactive", "cem inactive", "dan")
	if r := x.run(""); r.Unchanged != 3 || r.Counted != 0 {
		t.Errorf("second run: %+v", r)
	}

	x.users = people("k1 ann.smith active", "k2 bob active", "k3 cem inactive")
	x.run("")
	x.has("ann.smith production=7", "bob", "cem inactive", "dan")
	x.users = people("k1 ann.smith", "k3 cem active") // cem was disabled here, not by the source
	x.run("")
	x.has("ann.smith production=7", "bob inactive", "cem inactive", "dan")
	x.users = people("k1 ann.smith", "k2 bob", "k3 cem")
	x.run("")
	x.has("ann.smith production=7", "bob", "cem inactive", "dan")

	if _, err := manager(x.store).SetActive(t.Context(), "bob", false); err != nil {
		t.Fatal(err)
	}
	x.run("")
	x.has("ann.smith production=7", "bob inactive", "cem inactive", "dan")
	if want := `bob: active: true → false`; !slices.Contains(x.changed, want) {
		t.Errorf("told %q, want among them %q", x.changed, want)
	}
}

// testSyncNames lets users exchange and inherit names.
func testSyncNames(t *testing.T, open opener) {
	x := syncing(t, open(t), itusers.OwnsUsers, "k1 ann", "k2 bob", "k3 cem")
	x.run("")
	before, err := x.store.Users(t.Context(), itusers.Filter{})
	must(t, err)
	x.users = people("k1 bob", "k2 ann", "k3 dan", "k4 cem")
	x.run("")
	after, err := x.store.Users(t.Context(), itusers.Filter{})
	must(t, err)
	x.has("ann", "bob", "cem", "dan")
	if after[0].Key != before[1].Key || after[1].Key != before[0].Key || after[3].Key != before[2].Key {
		t.Error("a name went to another person")
	}

	x.users = people("k2 ann", "k3 dan", "k4 cem", "k5 bob") // k1 is gone; is k5 the same person?
	x.refused(x.run(""), "bob name_recycled")
	x.has("ann", "bob", "cem", "dan")
	x.run("", itusers.RunOptions{Adopt: true})
	x.refused(x.run(""))
	x.has("ann", "bob", "cem", "dan")

	importText(t, x.store, "username\neve\n")
	x.users = people("k2 eve", "k3 dan", "k4 cem", "k5 bob", "k6 two", "k7 TWO", "k8 has\u200bhidden")
	x.refused(x.run(""), "TWO listed_twice", "eve name_conflict", "has\u200bhidden malformed_username", "two listed_twice")
	x.has("ann", "bob", "cem", "dan", "eve")
}

func testSyncIDs(t *testing.T, open opener) {
	x := syncing(t, open(t), itusers.OwnsIDs, "1 ann production=2", "2 bob production=1", "3 nobody production=3")
	importText(t, x.store, "username,id:production,id:development\nann,1,1\nbob,2,2\ncem,4,\ndan,,\n")
	if r := x.run(""); r.Unknown != 1 || r.Changed != 2 {
		t.Errorf("exchange: %+v", r)
	}
	x.has("ann development=1 production=2", "bob development=2 production=1", "cem production=4", "dan")

	x.users = people("4 dan production=4") // cem has it no more, whoever is missing keeps theirs
	x.run("")
	x.has("ann development=1 production=2", "bob development=2 production=1", "cem", "dan production=4")
	x.feed.Protected = []string{"DAN"}
	x.users = people("4 cem production=4", "1 ann production=0", "2 bob test=1", "5 dan production=5")
	x.refused(x.run(""), "ann id_out_of_range", "bob id_out_of_range", "cem id_conflict", "dan protected_user")
	x.feed.Protected, x.feed.Owns = nil, itusers.OwnsNothing
	x.users = people("4 cem production=4", "5 eve production=5", "6 new inactive production=2")
	x.refused(x.run(""), "cem id_conflict", "new id_conflict")
	x.has("ann development=1 production=2", "bob development=2 production=1", "cem", "dan production=4", "eve production=5")
}

// testSyncLimits is about sources that are wrong.
func testSyncLimits(t *testing.T, open opener) {
	var texts, kept []string
	for i := range 200 {
		texts = append(texts, fmt.Sprintf("k%03d user%03d production=%d", i, i, i+1))
		kept = append(kept, fmt.Sprintf("user%03d production=%d", i, i+1))
	}
	x := syncing(t, open(t), itusers.OwnsUsers, texts...)
	x.run("") // adding is no harm in a first run
	x.has(kept...)

	broken := authn.Errorf(authn.Unavailable, "source_down", "cut off")
	for name, wrong := range map[string]crowd{
		"source_empty": {}, "source_down": {users: people(texts[:199]...), err: broken}, "sync_limit": {users: people(texts[:179]...)},
	} {
		*x.crowd = wrong
		x.run(name)
		x.has(kept...)
	}
	runs, err := x.store.Runs(t.Context(), "src", 3)
	must(t, err)
	states := map[itusers.RunState]int{}
	for _, r := range runs {
		states[r.State]++
	}
	if want := map[itusers.RunState]int{itusers.RunFailed: 2, itusers.RunRefused: 1}; !reflect.DeepEqual(states, want) {
		t.Errorf("runs ended as %v, want %v", states, want)
	}

	*x.crowd = crowd{users: people(texts[:180]...)}
	x.run("") // 20 of 200 are a tenth
	x.users = people(texts[:160]...)
	x.run("sync_limit", itusers.RunOptions{Allow: 19})
	if r := x.run("", itusers.RunOptions{Allow: 20}); r.Deactivated != 20 {
		t.Errorf("allowed: %+v", r)
	}
	x.users, x.feed.Limit.Floor = people(texts[:3]...), 1000 // a floor is for small numbers
	x.run("sync_limit")

	for i := range 40 { // a source is no longer new
		texts = append(texts, fmt.Sprintf("n%d new%d", i, i))
	}
	x.users, x.feed.Limit.Floor = people(texts...), 10
	x.run("sync_limit")
}

// testSyncLease lets nodes compete, and one fall silent.
func testSyncLease(t *testing.T, open opener) {
	one, two := syncing(t, open(t), itusers.OwnsUsers, "k1 ann"), syncing(t, open(t), itusers.OwnsUsers, "k1 ann", "k2 bob")
	one.then = func() { two.run("sync_busy") }
	one.run("")
	one.has("ann")

	now := time.Now()
	two.Now = func() time.Time { return now.Add(time.Hour) }
	one.users = people("k1 ann", "k3 cem")
	one.then = func() { two.run("") } // one was silent for so long that two takes over
	one.run("sync_interrupted")
	one.has("ann", "bob")
	runs, err := one.store.Runs(t.Context(), "src", 0)
	must(t, err)
	if len(runs) != 3 || runs[0].State != itusers.RunDone || runs[1].Reason != "sync_interrupted" {
		t.Errorf("runs: %+v", runs)
	}
}

// testSyncMeanwhile changes users while a run is planned.
func testSyncMeanwhile(t *testing.T, open opener) {
	x := syncing(t, open(t), itusers.OwnsUsers, "k1 ann production=1", "k2 bob production=2", "k3 cem production=3")
	x.run("")
	x.users = people("k1 ann production=2", "k2 bob production=1", "k3 cem production=4", "k4 dan")
	meanwhile := &meddler{Store: x.store, meddle: func() { importText(t, x.store, "username,name\nann,Ann\n") }}
	x.Store = meanwhile
	x.refused(x.run(""), "ann changed_meanwhile", "bob changed_meanwhile")
	x.has("ann production=1", "bob production=2", "cem production=4", "dan")
	meanwhile.meddle = func() {}
	x.run("")
	x.has("ann production=2", "bob production=1", "cem production=4", "dan")

	x.users = people("k1 ann production=2", "k2 bob production=1", "k3 cem production=4", "k4 dan", "k5 eve production=9")
	meanwhile.meddle = func() { importText(t, x.store, "username,id:production\nfay,9\n") }
	x.refused(x.run(""), "eve changed_meanwhile")
}

// meddler changes something between plan and writing.
type meddler struct {
	*store.Store
	meddle func()
}

func (m *meddler) Users(ctx context.Context, f itusers.Filter) ([]itusers.User, error) {
	users, err := m.Store.Users(ctx, f)
	m.meddle()
	return users, err
}

func testSyncLarge(t *testing.T, open opener) {
	var texts []string
	for i := range 2000 {
		texts = append(texts, fmt.Sprintf("k%04d user%04d production=%d development=%d", i, i, i+1, i+100_001))
	}
	x := syncing(t, open(t), itusers.OwnsUsers, texts...)
	start := time.Now()
	if r := x.run(""); r.Added != 2000 || r.IDs != 4000 || len(r.Rows)+r.LeftOff != 2000 {
		t.Errorf("added %d, ids %d, %d rows and %d left off", r.Added, r.IDs, len(r.Rows), r.LeftOff)
	}
	t.Log("first run:", time.Since(start))
	for i := range x.users { // every id moves by one
		x.users[i].IDs["production"] = int32(i + 2)
	}
	start = time.Now()
	if r := x.run("", itusers.RunOptions{Allow: 2000}); r.Changed != 2000 {
		t.Errorf("changed %d", r.Changed)
	}
	t.Log("all ids:", time.Since(start))
	start = time.Now()
	if r := x.run(""); r.Unchanged != 2000 {
		t.Errorf("unchanged %d", r.Unchanged)
	}
	t.Log("unchanged:", time.Since(start))
}

func testProvisioned(t *testing.T, open opener) {
	s, now := open(t), time.Now()
	run := itusers.Run{ID: "run", Source: "provisioning", Started: now, State: itusers.RunUnderWay}
	if other, err := s.BeginRun(t.Context(), run, now.Add(time.Minute)); err != nil || other != nil {
		t.Fatal(other, err)
	}
	p := lifetime.Provisioned{Provider: "corp", Subject: "s-1", Username: "ann"}
	must(t, s.PutProvisioned(t.Context(), "run", "here", p))
	must(t, s.PutProvisioned(t.Context(), "run", "here", lifetime.Provisioned{Provider: "corp", Subject: "s-2", Username: "bob"}))
	must(t, s.PutProvisioned(t.Context(), "run", "there", p))
	p.Key, p.Active, p.Teams = "k-1", true, []string{"t-1", "t-2"}
	must(t, s.PutProvisioned(t.Context(), "run", "here", p))
	must(t, s.DropProvisioned(t.Context(), "run", "here", lifetime.Provisioned{Provider: "corp", Subject: "s-2"}))
	if list, err := s.Provisioned(t.Context(), "here"); err != nil || !reflect.DeepEqual(list, []lifetime.Provisioned{p}) {
		t.Errorf("got %+v, %v; want %+v", list, err, p)
	}
	must(t, s.EndRun(t.Context(), run))
	for _, err := range []error{s.PutProvisioned(t.Context(), "run", "here", p), s.DropProvisioned(t.Context(), "run", "here", p)} {
		if authn.ReasonOf(err) != "sync_interrupted" {
			t.Errorf("without the lease: %v", err)
		}
	}
}
