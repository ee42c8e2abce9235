package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/webhook"
)

// verify verifies the audit: for the command, the administrators' door and the schedule. What it finds is kept, for pages and
// metrics of every node. That the chain does not hold is a verdict; an error with a verdict that has ended says that it could
// not be kept.
func (b *backend) verify(ctx context.Context, actor string, kept *audit.Kept, progress func(done, total int64)) (audit.Verdict, error) {
	d, err := audit.Examine(ctx, b.store, b.chainKey, actor, kept, progress)
	if err != nil {
		return audit.Verdict{Actor: actor}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := b.keepVerdict(ctx, d); err != nil {
		return d, fmt.Errorf("what was found could not be kept, and webhooks not be told: %w", err)
	}
	return d, nil
}

const (
	verdictKind = "verdict"
	verdictID   = "audit"
	verdictLife = 1000 * day
)

// keepVerdict keeps a verdict in the place of the one before. Webhooks are told of a break that the one before was not of:
// once, whoever finds it again. The audit itself is not written to: its end may be what is broken.
func (b *backend) keepVerdict(ctx context.Context, d audit.Verdict) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return b.store.KeepTelling(ctx, verdictKind, verdictID, d.Ended.Add(verdictLife), func(before []byte) ([]byte, []webhook.Message, error) {
		last, _ := b.openVerdict(before)
		sealed, err := b.ring.Seal(text, store.KeptAD(verdictKind, verdictID))
		if err != nil || d.Holds || last.Same(d) {
			return sealed, nil, err
		}
		return sealed, b.brokenMessages(d.Actor, d.Reason, d.Text, d.Broken), nil
	})
}

// openVerdict opens a verdict that was kept. One that cannot be opened is none: it will be found anew.
func (b *backend) openVerdict(sealed []byte) (d audit.Verdict, found bool) {
	if sealed == nil {
		return d, false
	}
	text, err := b.ring.Open(sealed, store.KeptAD(verdictKind, verdictID))
	if err != nil || json.Unmarshal(text, &d) != nil {
		return audit.Verdict{}, false
	}
	return d, true
}

// Verdict implements admin.Verifier: it is the newest one, of whoever asked for it.
func (b *backend) Verdict(ctx context.Context) (*audit.Verdict, error) {
	sealed, _, err := b.store.Kept(ctx, verdictKind, verdictID)
	if err != nil {
		return nil, err
	}
	if d, found := b.openVerdict(sealed); found {
		return &d, nil
	}
	return nil, nil
}

// brokenMessages are what webhooks are told of an audit that is broken at a record.
func (b *backend) brokenMessages(actor, reason, text string, seq int64) []webhook.Message {
	r := audit.Record{Seq: seq, Time: time.Now().UTC(), ID: newID(), Action: audit.FoundBroken, Actor: actor, Kind: authn.Untrusted.String(),
		Reason: reason, Detail: text}
	return webhook.Messages(b.config.endpoints(), r, r.Time)
}

// verifying lets administrators verify the audit.
type verifying struct{ *backend }

// Verify implements admin.Verifier.
func (v verifying) Verify(
	ctx context.Context, actor string, kept *audit.Kept, progress func(done, total int64),
) (audit.Verdict, error) {
	return v.verify(ctx, actor, kept, paced(ctx, 1, progress))
}

// Every implements admin.Verifier.
func (v verifying) Every() time.Duration { return v.config.Audit.VerifyEvery }

const (
	verifyLease   = "audit verification"
	verifyHolds   = 2 * time.Minute // how long a node may be silent before another one takes over
	verifySettles = 5 * time.Minute // after a start there is other work
	verifyAgain   = time.Minute     // where another node is at it, or the store does not answer
	longestRest   = 10 * time.Second
	// gently is how much longer a verification rests that nobody waits for than it works.
	gently = 19
)

// paced rests after each page so many times as long as it took.
func paced(ctx context.Context, times time.Duration, progress func(done, total int64)) func(done, total int64) {
	since := time.Now()
	return func(done, total int64) {
		progress(done, total)
		sleep(ctx, min(times*time.Since(since), longestRest))
		since = time.Now()
	}
}

// sleep tells whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// keepVerifying verifies the audit every so long, counted from when the last verification began, on whichever node and by
// whomever; a little later at random, so that nodes do not ask all at once.
func (l *live) keepVerifying(ctx context.Context, every time.Duration) {
	holder := nodeName()
	for wait := min(every, verifySettles); sleep(ctx, wait+rand.N(wait/10+1)); {
		wait = l.verifyIfDue(ctx, every, holder)
	}
}

// verifyIfDue returns how long it is until it may be due again.
func (l *live) verifyIfDue(ctx context.Context, every time.Duration, holder string) time.Duration {
	b := l.ground.Load()
	last, err := b.Verdict(ctx)
	if err != nil {
		return verifyAgain
	}
	if last != nil {
		if due := time.Until(last.Started.Add(every)); due > 0 {
			return due
		}
	}
	doing, stop := context.WithCancel(ctx)
	defer stop()
	hold, err := b.holdLease(doing, holder, stop)
	if err != nil || hold == nil {
		return min(every, verifyAgain)
	}
	d, err := b.verify(doing, "schedule", nil, paced(doing, gently, hold))
	if doing.Err() != nil && d.Ended.IsZero() {
		l.log.Info("audit: its verification was ended; the next one begins anew")
	} else {
		l.verified(d, err)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = b.store.Lease(end, verifyLease, holder, time.Now(), time.Now()) // otherwise it runs out by itself
	if err != nil {
		return min(every, verifyAgain)
	}
	return every
}

// holdLease takes the lease for verifying by schedule; nil: another node has it. What it returns keeps the lease, and stops the
// work when it is lost.
func (b *backend) holdLease(ctx context.Context, holder string, stop func()) (func(done, total int64), error) {
	var until time.Time
	take := func() (bool, error) {
		now := time.Now()
		held, err := b.store.Lease(ctx, verifyLease, holder, now, now.Add(verifyHolds))
		if held {
			until = now.Add(verifyHolds)
		}
		return held, err
	}
	if held, err := take(); !held {
		return nil, err
	}
	return func(int64, int64) {
		if time.Until(until) > verifyHolds*2/3 {
			return
		}
		if held, err := take(); err == nil && !held {
			stop()
		}
	}, nil
}

// verified logs and records what the schedule has found.
func (l *live) verified(d audit.Verdict, err error) {
	if err != nil {
		l.log.Warn("audit: trouble with its verification", "error", err)
	}
	switch {
	case d.Ended.IsZero():
		return
	case d.Holds:
		l.log.Info("audit: the chain holds", "records", d.Records, "last", d.Last, "mac", d.MAC, "took", d.Ended.Sub(d.Started))
	default:
		l.log.Error("audit: it is not what was written", "record", d.Broken, "reason", d.Reason, "found", d.Text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := d.Record(nil)
	r.ID = newID()
	if err := l.ground.Load().audit.Event(ctx, r); err != nil {
		l.log.Warn("audit: what its verification has found could not be recorded", "error", err)
	}
}

// verdictCollector publishes the newest verdict, of whichever node.
type verdictCollector struct {
	*backend
	at, records, broken *prometheus.Desc
}

func (m *metrics) verdicts(b *backend) {
	m.registry.MustRegister(&verdictCollector{backend: b,
		at:      prometheus.NewDesc("idbridge_audit_verified_timestamp_seconds", "When the audit was verified for the last time.", nil, nil),
		records: prometheus.NewDesc("idbridge_audit_verified_records", "Records that were verified then.", nil, nil),
		broken:  prometheus.NewDesc("idbridge_audit_broken", "1 when the audit was not what was written then, 0 when it was.", nil, nil),
	})
}

// Describe implements prometheus.Collector.
func (c *verdictCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.at, c.records, c.broken} {
		to <- d
	}
}

// Collect implements prometheus.Collector. While the store does not answer, or before the first verdict, nothing is told.
func (c *verdictCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	d, err := c.Verdict(ctx)
	if err != nil || d == nil {
		return
	}
	broken := 0.0
	if !d.Holds {
		broken = 1
	}
	for desc, v := range map[*prometheus.Desc]float64{c.at: float64(d.Ended.Unix()), c.records: float64(d.Records), c.broken: broken} {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v)
	}
}
