package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/store"
)

// search is an insight.Query put to a store, page by page, until there is nothing more.
func search(t *testing.T, s *store.Store, q insight.Query) (seqs []int64, pages int) {
	t.Helper()
	for pages = 1; ; pages++ {
		p, err := insight.Searcher{Finder: s}.Search(t.Context(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		if len(p.Records) > q.Limit {
			t.Fatalf("%+v: %d records on a page", q, len(p.Records))
		}
		for _, r := range p.Records {
			seqs = append(seqs, r.Seq)
		}
		if p.Next.IsZero() {
			return seqs, pages
		}
		if !q.After.IsZero() && !q.After.Newer(p.Next) {
			t.Fatalf("%+v: the next page begins at %s again", q, p.Next)
		}
		q.After = p.Next
	}
}

// wanted is the same by looking at every record.
func wanted(all []audit.Row, q insight.Query) (seqs []int64) {
	var rows []audit.Row
	for _, r := range all {
		if q.Wants(r.Record) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b audit.Row) int {
		if insight.PlaceOf(a.Record).Newer(insight.PlaceOf(b.Record)) {
			return -1
		}
		return 1
	})
	for _, r := range rows {
		seqs = append(seqs, r.Seq)
	}
	return seqs
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// manyRecords writes n records of 400 people, whose order by time is not quite that of their numbers.
func manyRecords(t *testing.T, s *store.Store, n int) []audit.Row {
	t.Helper()
	l := auditLog(t, s)
	random := rand.New(rand.NewPCG(1, 2))
	records := make([]audit.Record, n)
	for i := range records {
		who := fmt.Sprintf("User%03d", random.IntN(400))
		records[i] = audit.Record{
			Time: began.Add(time.Duration(i/3+random.IntN(5)) * time.Second), ID: fmt.Sprintf("id%d", i/2), Username: who,
			Action:      pick(random, audit.SignIn, audit.SignIn, audit.PortalSignIn, audit.FactorReset),
			Environment: pick(random, "production", "test", ""), Provider: pick(random, "corp", "corp", "entra"),
			Kind: pick(random, "ok", "ok", "ok", "bad_credentials", "untrusted"), Duration: time.Duration(random.IntN(3000)) * time.Millisecond,
		}
		if random.IntN(20) == 0 {
			records[i].Kind, records[i].Reason = "locked", insight.Throttled
		}
		if random.IntN(3) == 0 {
			records[i].ITUser = strings.ToUpper(who)
		}
		if random.IntN(10) == 0 {
			records[i].Username, records[i].ITUser = `CORP\Änne`, "aenne"
		}
	}
	for some := range slices.Chunk(records, 50) {
		var wg sync.WaitGroup
		for _, r := range some {
			wg.Go(func() { must(t, l.Event(context.WithoutCancel(t.Context()), r)) })
		}
		wg.Wait()
	}
	return allRows(t, s)
}

func allRows(t *testing.T, s *store.Store) []audit.Row {
	t.Helper()
	rows, err := s.AuditRows(t.Context(), 0, 1_000_000)
	must(t, err)
	return rows
}

// index puts records into the index until the place is at a number.
func index(t *testing.T, s *store.Store, upTo int64) insight.Progress {
	t.Helper()
	for {
		p, err := s.IndexAudit(t.Context(), 300)
		if err != nil {
			t.Fatal(err)
		}
		if p.Place >= upTo {
			return p
		}
	}
}

var questions = []insight.Query{
	{},
	{User: "user007"},
	{User: "USER1", Prefix: true}, // a hundred names
	{User: "user", Prefix: true},  // more names than are looked up one by one
	{User: "user", Prefix: true, Kind: "untrusted", Provider: "entra"},
	{User: "corp\\än", Prefix: true},
	{User: "aenne"},
	{User: "aenne", Kind: insight.Refused, Environment: "test"},
	{User: "nobody"},
	{User: "nobody", Prefix: true},
	{Kind: insight.Refused},
	{Kind: insight.Throttled},
	{Kind: "untrusted", Environment: "production", Action: audit.PortalSignIn},
	{Provider: "nowhere"},
	{Action: audit.FactorReset, From: began.Add(100 * time.Second), Until: began.Add(300 * time.Second)},
	{Until: began.Add(10 * time.Second)},
	{From: began.Add(990 * time.Second)},
	{User: "user2", Prefix: true, From: began.Add(500 * time.Second), Until: began.Add(510 * time.Second)},
	{ID: "id70"},
	{ID: "id70", Kind: insight.Refused},
	{ID: "none"},
}

// testSearch holds every answer against a look at all records: while nothing is in the index, half of it, and all.
func testSearch(t *testing.T, open opener) {
	s := open(t)
	all := manyRecords(t, s, 2500)
	for _, indexed := range []int64{1200, 2500} {
		index(t, s, indexed)
		for _, q := range questions {
			for _, q.Limit = range []int{90, 500} {
				got, pages := search(t, s, q)
				if want := wanted(all, q); !slices.Equal(got, want) {
					t.Errorf("%d indexed: %+v: %d records on %d pages, want %d: %v ...", indexed, q, len(got), pages, len(want),
						got[:min(len(got), 10)])
				}
			}
		}
	}
}

// testBehind: while the index catches up, a search says that it has not looked at everything.
func testBehind(t *testing.T, open opener) {
	s := open(t)
	manyRecords(t, s, 2100)
	p, err := insight.Searcher{Finder: s}.Search(t.Context(), insight.Query{})
	if err != nil || p.Behind != 2100 || len(p.Records) != insight.DefaultLimit {
		t.Errorf("%d records, %d behind, %v", len(p.Records), p.Behind, err)
	}
	if got := index(t, s, 200); got.Behind != 2100-got.Place {
		t.Errorf("%+v", got)
	}
	if p, err = (insight.Searcher{Finder: s}).Search(t.Context(), insight.Query{}); err != nil || p.Behind != 0 {
		t.Errorf("%d behind, %v; the rest is the tail", p.Behind, err)
	}
}

// testIndexRace lets two nodes follow the audit at once: each record is counted once.
func testIndexRace(t *testing.T, open opener) {
	one, two := open(t), open(t)
	manyRecords(t, one, 1000)
	var wg sync.WaitGroup
	for _, s := range []*store.Store{one, two} {
		wg.Go(func() { index(t, s, 1000) })
	}
	wg.Wait()
	for _, width := range insight.Widths {
		if n := countedBy(t, one, width); n != 1000 {
			t.Errorf("by %s: %d records were counted, want 1000", width, n)
		}
	}
}

func countedBy(t *testing.T, s *store.Store, width time.Duration) (n int64) {
	t.Helper()
	rows, err := s.AuditCounts(t.Context(), insight.CountQuery{Width: width, From: began.Add(-48 * time.Hour), Until: began.Add(48 * time.Hour)})
	must(t, err)
	for _, c := range rows {
		n += c.N
	}
	return n
}

// testIndexPurge: what is purged from the audit is found no more, whether it was in the index or on its way there.
func testIndexPurge(t *testing.T, open opener) {
	s := open(t)
	manyRecords(t, s, 1000)
	index(t, s, 300)
	cut := began.Add(200 * time.Second)
	l := auditLog(t, s)
	n, err := l.Purge(t.Context(), cut, "root")
	if err != nil || n < 500 || n > 700 {
		t.Fatalf("%d purged, %v", n, err)
	}
	all := allRows(t, s)
	index(t, s, 1001)
	for _, q := range questions {
		q.Limit = 100
		if got, _ := search(t, s, q); !slices.Equal(got, wanted(all, q)) {
			t.Errorf("%+v: %d records, want %d", q, len(got), len(wanted(all, q)))
		}
	}
	if n, err := l.Purge(t.Context(), time.Now().Add(time.Hour), "root"); err != nil || n != len(all) {
		t.Errorf("%d purged, %v", n, err)
	}
	index(t, s, 1002)
	if rows := s.IndexRows(t); rows != 1 { // of the record of the purge, which has neither name nor id
		t.Errorf("%d rows are left in the index", rows)
	}
}

func testLease(t *testing.T, open opener) {
	one, two := open(t), open(t)
	now := time.Now()
	for i, step := range []struct {
		s      *store.Store
		holder string
		now    time.Time
		want   bool
	}{
		{one, "one", now, true}, {two, "two", now, false}, {one, "one", now.Add(time.Second), true},
		{two, "two", now.Add(5 * time.Second), false}, {two, "two", now.Add(6 * time.Second), true}, {one, "one", now.Add(6 * time.Second), false},
	} {
		held, err := step.s.Lease(t.Context(), "work", step.holder, step.now, step.now.Add(5*time.Second))
		if err != nil || held != step.want {
			t.Errorf("step %d: %v, %v", i, held, err)
		}
	}
	if held, err := two.Lease(t.Context(), "other work", "two", now, now.Add(time.Second)); err != nil || !held {
		t.Errorf("another lease: %v, %v", held, err)
	}
}

// A search that makes no sense is refused before the store is asked.
func TestSearchRefuses(t *testing.T) {
	for _, q := range []insight.Query{
		{Limit: insight.MaxLimit + 1}, {Limit: -1}, {Prefix: true}, {From: began, Until: began},
	} {
		if _, err := (insight.Searcher{}).Search(t.Context(), q); err == nil || authn.KindOf(err) != authn.Internal {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
