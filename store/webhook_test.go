package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/webhook"
)

// testMessages: records of before are told to nobody; two nodes that follow make one message of each event, and of those who
// ask for it one gets it; what was given up can be sent again.
func testMessages(t *testing.T, open opener) {
	one, two := open(t), open(t)
	l, now := auditLog(t, one), began
	reset := audit.Record{Time: now, Action: audit.FactorReset, Kind: "ok", ITUser: "ann"}
	turn := func(r audit.Record) []webhook.Message {
		return webhook.Messages([]webhook.Endpoint{{ID: "soc"}}, r, now)
	}
	must(t, l.Event(t.Context(), reset))
	if n, err := one.PostAudit(t.Context(), 10, turn); err != nil || n != 0 {
		t.Errorf("the first call: %d, %v", n, err)
	}
	for range 5 {
		must(t, l.Event(t.Context(), reset))
		must(t, l.Event(t.Context(), audit.Record{Time: now, Action: audit.SignIn, Kind: "locked", Reason: "throttled", Username: "bob"}))
	}
	var wg sync.WaitGroup
	var looked atomic.Int64
	for _, s := range []*store.Store{one, two} {
		wg.Go(func() {
			for n := 1; n > 0; {
				var err error
				if n, err = s.PostAudit(t.Context(), 3, turn); err != nil {
					t.Error(err)
				}
				looked.Add(int64(n))
			}
		})
	}
	wg.Wait()
	waiting, err := one.WebhookMessages(t.Context(), webhook.Waiting, 100)
	if err != nil || len(waiting) != 6 || looked.Load() != 10 {
		t.Errorf("%d messages of %d records, %v; want 5 and one of a user who is locked", len(waiting), looked.Load(), err)
	}
	var taken sync.Map
	for _, s := range []*store.Store{one, two} {
		wg.Go(func() {
			for {
				m, found, err := s.DueMessage(t.Context(), "soc", now, now.Add(time.Minute))
				if err != nil || !found {
					must(t, err)
					return
				}
				if _, twice := taken.LoadOrStore(m.ID, true); twice {
					t.Errorf("%s was taken twice", m.ID)
				}
			}
		})
	}
	wg.Wait()
	// Nobody told how it went: they are due again.
	m, found, err := one.DueMessage(t.Context(), "soc", now.Add(2*time.Minute), now.Add(3*time.Minute))
	if err != nil || !found || len(m.Body) == 0 || !m.Created.Equal(now) {
		t.Fatalf("%+v, %v, %v", m, found, err)
	}
	if _, found, _ = one.DueMessage(t.Context(), "another", now.Add(time.Hour), now); found {
		t.Error("a message of somebody else")
	}
	m.State, m.Attempts, m.Trouble = webhook.Dead, 18, "answered 500"
	must(t, one.SettleMessage(t.Context(), m))
	if dead, err := two.WebhookMessages(t.Context(), webhook.Dead, 10); err != nil || len(dead) != 1 || dead[0].Trouble != m.Trouble {
		t.Errorf("%+v, %v", dead, err)
	}
	if all, err := two.WebhookMessages(t.Context(), "", 100); err != nil || len(all) < 2 {
		t.Errorf("of every state: %d, %v", len(all), err)
	}
	if n, err := two.ResendMessages(t.Context(), "no such message", now); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := two.ResendMessages(t.Context(), m.ID, now); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	m.State = webhook.Sent
	must(t, one.SettleMessage(t.Context(), m))
	must(t, one.PurgeMessages(t.Context(), now.Add(time.Second), now))
	if waiting, err = one.WebhookMessages(t.Context(), webhook.Waiting, 100); err != nil || len(waiting) != 5 {
		t.Errorf("%d, %v", len(waiting), err)
	}
}
