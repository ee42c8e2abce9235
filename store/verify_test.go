package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/webhook"
)

// wave is how many records of testVerifyMeanwhile's audit have the same age.
const wave = 100

// fillWaves fills an audit of 25 waves, the first of which is 25 hours old, and returns what purges the first n of them.
func fillWaves(t *testing.T, s *store.Store) (purge func(n int)) {
	t.Helper()
	l, now := auditLog(t, s), time.Now()
	for i := range 25 {
		var all sync.WaitGroup
		for range wave {
			all.Go(func() {
				must(t, l.Event(t.Context(), audit.Record{Time: now.Add(time.Duration(i-25) * time.Hour), Action: audit.SignIn}))
			})
		}
		all.Wait()
	}
	return func(n int) {
		t.Helper()
		_, err := l.Purge(t.Context(), now.Add(time.Duration(n-25)*time.Hour-time.Minute), "root")
		must(t, err)
	}
}

// A purge that goes on meanwhile gives no false alarm, whether it overtakes the verification or not; and of a record that is
// wrong behind it is told at once, also where purges never end.
func testVerifyMeanwhile(t *testing.T, driver, source string, open opener) {
	s := open(t)
	purge := fillWaves(t, s)
	for _, at := range []int64{1, 2} { // while the first page is checked, and far beyond it
		pages := int64(0)
		kept := audit.Kept{Seq: 1200 * at, MAC: macOf(t, s, 1200*at)}
		d, err := audit.Examine(t.Context(), s, auditKey, "schedule", &kept, func(done, total int64) {
			if pages++; pages == 1 {
				purge(int(at) * 11)
			}
			if done > total || done < 0 {
				t.Errorf("%d of %d", done, total)
			}
		})
		if err != nil || !d.Holds || d.PurgedTo != at*11*wave || d.First != at*11*wave+1 || d.Kept != audit.KeptThere {
			t.Errorf("purged meanwhile to %d: %+v, %v", at*11*wave, d, err)
		}
	}
	if d, err := audit.Examine(t.Context(), s, auditKey, "schedule", &audit.Kept{Seq: 700, MAC: auditKey}, nil); err != nil || !d.Holds ||
		d.Kept != audit.KeptPurged || d.Text == "" {
		t.Errorf("what was kept was purged since: %+v, %v", d, err)
	}
	run(t, rawDatabase(t, driver, source), `UPDATE audit SET detail = 'x' WHERE seq = 2450`)
	pages := 0
	_, err := audit.Verify(t.Context(), s, auditKey, func(int64, int64) {
		pages++
		purge(22 + min(pages, 2))
	})
	var at *audit.Broken
	if !errors.As(err, &at) || at.Seq != 2450 || at.Reason != audit.Changed || pages > 2 {
		t.Errorf("after %d pages: %v", pages, err)
	}
}

func macOf(t *testing.T, s *store.Store, seq int64) []byte {
	t.Helper()
	rows, err := s.AuditRows(t.Context(), seq-1, 1)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	return rows[0].MAC
}

// Who is gone gets no more pages.
func testVerifyGivenUp(t *testing.T, open opener) {
	s := open(t)
	fillWaves(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	pages := 0
	d, err := audit.Examine(ctx, s, auditKey, "schedule", nil, func(int64, int64) { pages++; cancel() })
	if pages != 1 || authn.KindOf(err) == authn.Untrusted || err == nil {
		t.Errorf("%d pages, %+v, %v", pages, d, err)
	}
}

// Of many nodes that find the same at once, one tells; of another finding one again.
func testKeepTelling(t *testing.T, open opener) {
	nodes := []*store.Store{open(t), open(t)}
	now := time.Now()
	find := func(finding string) {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				must(t, nodes[i%2].KeepTelling(t.Context(), "verdict", "x", now.Add(time.Hour), func(before []byte) ([]byte, []webhook.Message, error) {
					if string(before) == finding {
						return before, nil, nil
					}
					m := webhook.Message{ID: fmt.Sprintf("%s-%d", finding, i), Endpoint: "soc", Created: now, Due: now, State: webhook.Waiting, Body: []byte("{}")}
					return []byte(finding), []webhook.Message{m}, nil
				}))
			})
		}
		all.Wait()
	}
	for i, finding := range []string{"one", "two"} {
		find(finding)
		list, err := nodes[0].WebhookMessages(t.Context(), "", 100)
		text, _, keptErr := nodes[1].Kept(t.Context(), "verdict", "x")
		if err != nil || keptErr != nil || len(list) != i+1 || string(text) != finding {
			t.Errorf("%d messages, kept is %q; %v, %v", len(list), text, err, keptErr)
		}
	}
	failed := errors.New("no")
	err := nodes[0].KeepTelling(t.Context(), "verdict", "x", now, func([]byte) ([]byte, []webhook.Message, error) { return nil, nil, failed })
	if text, _, keptErr := nodes[0].Kept(t.Context(), "verdict", "x"); !errors.Is(err, failed) || keptErr != nil || string(text) != "two" {
		t.Errorf("%v: %q, %v", err, text, keptErr)
	}
}
