package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// keepSources runs each source whenever it is due, until ctx is done. It returns when no run is under way any more.
func (w *bridge) keepSources(ctx context.Context) {
	feeds, err := w.config.feeds()
	if err != nil {
		w.log.Error("sources", "error", err) // the check of the configuration lets none through
		return
	}
	syncer := w.syncer()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, f := range feeds {
		if f.Every > 0 {
			wg.Go(func() {
				syncer.Keep(ctx, f.ID, f.Every, func(ctx context.Context) error {
					return w.told(syncer.Run(ctx, f, itusers.RunOptions{Actor: "schedule"}))
				})
			})
		}
	}
}

// told logs how a run went. That another node does it is as it should be.
func (w *bridge) told(run itusers.Run, err error) error {
	switch {
	case authn.ReasonOf(err) == "sync_busy":
		w.log.Debug("a run has to wait", "source", run.Source, "error", err)
	case err != nil:
		w.log.Error("a run changed nothing more", "source", run.Source, "state", string(run.State), "error", err)
	default:
		w.log.Info("a run is done", "source", run.Source, "result", run.Report.Summary(), "took", run.Ended.Sub(run.Started))
	}
	return err
}

// runsCollector publishes what became of the runs, of whichever node.
type runsCollector struct {
	*backend
	ids                   []string
	last, done, ok, users *prometheus.Desc
}

func (m *metrics) runs(b *backend) {
	c := &runsCollector{backend: b,
		last: prometheus.NewDesc("idbridge_sync_last_run_timestamp_seconds", "When the last run began.", []string{"source"}, nil),
		done: prometheus.NewDesc("idbridge_sync_last_done_timestamp_seconds", "When a run was done for the last time.", []string{"source"}, nil),
		ok:   prometheus.NewDesc("idbridge_sync_last_run_ok", "1 when the last run was done, 0 when it was refused or failed.", []string{"source"}, nil),
		users: prometheus.NewDesc("idbridge_sync_users", "Users of the last run, by what became of them.", []string{"source", "outcome"},
			nil),
	}
	for _, s := range b.config.Sources {
		c.ids = append(c.ids, s.ID)
	}
	if len(c.ids) > 0 {
		m.registry.MustRegister(c)
	}
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
	for _, id := range c.ids {
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
