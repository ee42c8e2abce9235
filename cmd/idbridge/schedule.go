package main

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// keepRuns does every run that is due, until ctx is done; it returns when none is under way any more. Where another
// configuration says something else of runs, it begins anew, and so ends a run that is under way: the next one goes on.
func (l *live) keepRuns(ctx context.Context) {
	for ctx.Err() == nil {
		said := l.current.Load().config
		round, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		l.schedule(round, said, &wg)
		l.untilOther(round, said)
		cancel()
		wg.Wait()
	}
}

// untilOther waits until the configuration in force says something else of runs.
func (l *live) untilOther(ctx context.Context, said Config) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		now := l.current.Load().config
		if !reflect.DeepEqual(now.Sources, said.Sources) || !reflect.DeepEqual(now.Provisioning, said.Provisioning) ||
			now.Audit.VerifyEvery != said.Audit.VerifyEvery {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// schedule begins to run what has an interval.
func (l *live) schedule(ctx context.Context, c Config, wg *sync.WaitGroup) {
	ground := l.ground.Load()
	feeds, err := c.feeds()
	if err != nil {
		l.log.Error("sources", "error", err) // the check of the configuration lets none through
	}
	syncer := ground.syncer()
	for _, f := range feeds {
		if f.Every > 0 {
			wg.Go(func() {
				syncer.Keep(ctx, f.ID, f.Every, func(ctx context.Context) error {
					return l.told(syncer.Run(ctx, f, itusers.RunOptions{Actor: "schedule", Gentle: true}))
				})
			})
		}
	}
	if c.Provisioning != nil && c.Provisioning.Interval > 0 {
		wg.Go(func() { syncer.Keep(ctx, provisioningID, c.Provisioning.Interval, l.provision) })
	}
	if c.Audit.VerifyEvery > 0 {
		wg.Go(func() { l.keepVerifying(ctx, c.Audit.VerifyEvery) })
	}
}

// provision provisions with the providers that are in force.
func (l *live) provision(ctx context.Context) (err error) {
	l.with(func(g *generation) {
		p, wrong := g.provisioner(g.doctor.Providers)
		if wrong != nil {
			err = l.told(itusers.Run{Source: provisioningID}, wrong)
			return
		}
		err = l.told(p.Run(ctx, itusers.RunOptions{Actor: "schedule"}))
	})
	return err
}

// told logs how a run went. That another node does it is as it should be.
func (l *live) told(run itusers.Run, err error) error {
	switch {
	case authn.ReasonOf(err) == "sync_busy":
		l.log.Debug("a run has to wait", "source", run.Source, "error", err)
	case err != nil:
		l.log.Error("a run changed nothing more", "source", run.Source, "state", string(run.State), "error", err)
	default:
		l.log.Info("a run is done", "source", run.Source, "result", run.Report.Summary(), "took", run.Ended.Sub(run.Started))
	}
	return err
}

// runsCollector publishes what became of the runs, of whichever node.
type runsCollector struct {
	*backend
	ids                   func() []string
	last, done, ok, users *prometheus.Desc
}

func (m *metrics) runs(b *backend, ids func() []string) {
	c := &runsCollector{backend: b, ids: ids,
		last: prometheus.NewDesc("idbridge_sync_last_run_timestamp_seconds", "When the last run began.", []string{"source"}, nil),
		done: prometheus.NewDesc("idbridge_sync_last_done_timestamp_seconds", "When a run was done for the last time.", []string{"source"}, nil),
		ok: prometheus.NewDesc("idbridge_sync_last_run_ok", "1 when the last run was done, 0 when it was refused or failed.",
			[]string{"source"}, nil),
		users: prometheus.NewDesc("idbridge_sync_users", "Users of the last run, by what became of them.", []string{"source", "outcome"},
			nil),
	}
	m.registry.MustRegister(c)
}

// runIDs are the names of all runs that there may be.
func (c Config) runIDs() (ids []string) {
	for _, s := range c.Sources {
		ids = append(ids, s.ID)
	}
	if c.Provisioning != nil {
		ids = append(ids, provisioningID)
	}
	return ids
}

// Describe implements prometheus.Collector.
func (c *runsCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.last, c.done, c.ok, c.users} {
		to <- d
	}
}

// Collect implements prometheus.Collector. While the store does not answer, the runs are not told.
func (c *runsCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, id := range c.ids() {
		last, done, err := c.lastRuns(ctx, id)
		if err != nil || last == nil {
			continue
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{id}, labels...)...)
		}
		gauge(c.last, float64(last.Started.Unix()))
		if done != nil {
			gauge(c.done, float64(done.Unix()))
		}
		if last.State == itusers.RunUnderWay {
			continue
		}
		fine := 0.0
		if last.State == itusers.RunDone {
			fine = 1
		}
		gauge(c.ok, fine)
		r := last.Report
		for outcome, n := range map[string]int{"added": r.Added, "changed": r.Changed, "deactivated": r.Deactivated,
			"unchanged": r.Unchanged, "refused": r.Refused, "unknown": r.Unknown} {
			gauge(c.users, float64(n), outcome)
		}
	}
}

// sourceVerdicts tell for idbridge check whether each source answers, and how its last run went.
func (b *backend) sourceVerdicts(ctx context.Context) (list []verdict) {
	feeds, err := b.config.feeds()
	if err != nil {
		return []verdict{{Verdict: "fail", Check: "sources", Text: err.Error()}}
	}
	found := make([]verdict, len(feeds))
	var wg sync.WaitGroup
	for i, f := range feeds {
		wg.Go(func() { found[i] = b.sourceVerdict(ctx, f) })
	}
	wg.Wait()
	return found
}

// staleAfter is how many intervals a source may be without a run that was done.
const staleAfter = 3

func (b *backend) sourceVerdict(ctx context.Context, f itusers.Feed) verdict {
	v := verdict{Verdict: "ok", Check: "source " + f.ID}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	seen, err := f.Source.Check(ctx)
	if err != nil { // sign-ins go on with the users who are known
		v.Verdict, v.Text = "warn", plainWords(err.Error())
		return v
	}
	last, done, err := b.lastRuns(ctx, f.ID)
	ran := "it has never run"
	switch {
	case err != nil:
		v.Verdict, ran = "warn", err.Error()
	case last != nil && last.State != itusers.RunDone && last.State != itusers.RunUnderWay:
		v.Verdict, ran = "warn", fmt.Sprintf("the last run, at %s, %s: %s", last.Started.UTC().Format(time.RFC3339),
			last.State, plainWords(last.Error))
	case done != nil:
		ran = "the last run was done at " + done.UTC().Format(time.RFC3339)
		if f.Every > 0 && time.Since(*done) > staleAfter*f.Every {
			v.Verdict, ran = "warn", ran+", long ago for a run every "+f.Every.String()+": is idbridge serve running?"
		}
	}
	v.Text = seen + "\n" + ran
	return v
}
