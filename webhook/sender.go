package webhook

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/audit"
)

// Sender turns records into messages and sends them. Each endpoint is served by one node at a time, and one that hangs or
// fails keeps no other waiting.
type Sender struct {
	Outbox    Outbox
	Leases    Leases
	Endpoints func() []Endpoint // as configured now
	Holder    string            // this node
	Log       *slog.Logger
	Now       func() time.Time
	Observe   func(endpoint, outcome string) // of each attempt: sent, failed or dead; may be nil

	mu   sync.Mutex
	busy map[string]bool
	work sync.WaitGroup
}

const (
	pause = time.Second
	batch = 200
	grace = 5 * time.Second // beyond an attempt: for what comes before and after it
	// maxAttempts with the pauses below are about a day.
	maxAttempts = 18
	firstPause  = 5 * time.Second
	longest     = 3 * time.Hour
	maxTrouble  = 300
)

// Run sends until ctx ends, and then waits for what is under way.
func (s *Sender) Run(ctx context.Context) {
	defer s.work.Wait()
	for tick := time.NewTicker(pause); ; {
		endpoints := s.Endpoints()
		if len(endpoints) > 0 {
			s.collect(ctx, endpoints)
		}
		for _, e := range endpoints {
			s.serve(ctx, e)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// collect turns new records into messages.
func (s *Sender) collect(ctx context.Context, endpoints []Endpoint) {
	for ctx.Err() == nil {
		n, err := s.Outbox.PostAudit(ctx, batch, func(r audit.Record) []Message { return Messages(endpoints, r, s.Now()) })
		if err != nil {
			if ctx.Err() == nil {
				s.Log.Warn("webhooks: the audit cannot be followed now", "error", err)
			}
			return
		}
		if n < batch {
			return
		}
	}
}

// serve sends what is due to an endpoint, in the background, unless that is going on.
func (s *Sender) serve(ctx context.Context, e Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		s.busy = map[string]bool{}
	}
	if s.busy[e.ID] {
		return
	}
	s.busy[e.ID] = true
	s.work.Go(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.busy, e.ID)
		}()
		for s.one(ctx, e) {
		}
	})
}

// one sends one message, and tells whether to go on at once: not after a failure, as the next would fail too.
func (s *Sender) one(ctx context.Context, e Endpoint) bool {
	now := s.Now()
	if ctx.Err() != nil {
		return false
	}
	mine, err := s.Leases.Lease(ctx, "webhook "+e.ID, s.Holder, now, now.Add(e.Timeout+grace))
	if err != nil || !mine {
		return false
	}
	m, found, err := s.Outbox.DueMessage(ctx, e.ID, now, now.Add(e.Timeout+grace))
	if err != nil || !found {
		return false
	}
	failure := e.Send(ctx, m, now)
	if failure != nil && ctx.Err() != nil { // the program is being stopped: whether it was taken is not known
		m.Due = s.Now()
		s.settle(ctx, m)
		return false
	}
	s.settle(ctx, m.after(failure, s.Now()))
	s.tell(m.after(failure, now), failure)
	return failure == nil
}

func (s *Sender) settle(ctx context.Context, m Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := s.Outbox.SettleMessage(ctx, m); err != nil {
		s.Log.Warn("webhooks: the outcome of a message cannot be kept; it will be sent again", "endpoint", m.Endpoint,
			"message", m.ID, "error", err)
	}
}

func (s *Sender) tell(m Message, failure error) {
	outcome := "sent"
	switch {
	case m.State == Dead:
		outcome = "dead"
		s.Log.Error("webhooks: a message is given up; idbridge webhooks resend sends it again", "endpoint", m.Endpoint, "message", m.ID,
			"attempts", m.Attempts, "error", failure)
	case failure != nil:
		outcome = "failed"
		s.Log.Warn("webhooks: a message was not taken", "endpoint", m.Endpoint, "message", m.ID, "attempts", m.Attempts, "error", failure)
	}
	if s.Observe != nil {
		s.Observe(m.Endpoint, outcome)
	}
}

// after is what becomes of a message by the outcome of an attempt.
func (m Message) after(failure error, now time.Time) Message {
	m.Attempts++
	if failure == nil {
		m.State, m.Trouble = Sent, ""
		return m
	}
	text := failure.Error()
	m.Trouble = strings.ToValidUTF8(text[:min(len(text), maxTrouble)], "")
	m.Due = now.Add(backoff(m.Attempts))
	if m.Attempts >= maxAttempts {
		m.State = Dead
	}
	return m
}

// backoff doubles up to the longest pause, and spreads by a quarter, so that not all come back at once.
func backoff(attempts int) time.Duration {
	d := longest
	if attempts < 20 {
		d = min(firstPause<<(attempts-1), longest)
	}
	return d - time.Duration(rand.Int64N(int64(d)/4))
}
