package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// recurring is a run that is done again and again.
type recurring struct {
	name  string
	every time.Duration                          // 0: only when somebody asks for it
	of    any                                    // all else that the configuration says of it
	files string                                 // fingerprint of the files that are named there
	keep  func(waiting, running context.Context) // does it when it is due, until waiting is done
}

// keeper sees to it that a run is done when it is due.
type keeper struct {
	recurring
	running context.Context         // of its runs
	end     context.CancelCauseFunc // of its runs, and of waiting for the next one
	stop    context.CancelFunc      // of waiting alone
}

var errOtherwise = errors.New("the configuration says something else of it now")

// schedule keeps every run that the configuration in force names.
type schedule struct {
	*live
	of   *generation // whose runs they are
	kept map[string]keeper
	wg   sync.WaitGroup
}

// keepRuns does every run that is due, until ctx is done; it returns when none is under way any more.
func (l *live) keepRuns(ctx context.Context) {
	s := &schedule{live: l, kept: map[string]keeper{}}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	s.wg.Wait()
}

// look takes over what another configuration says of runs. A run under way goes on to its end, unless that configuration has
// it no more, or says anything else of it than how often it is: then it ends between two changes, and what it would have done
// is the next one's to do. Of two at once one would find the other's lease.
func (s *schedule) look(ctx context.Context) {
	now := s.current.Load()
	if now == s.of {
		return
	}
	list, err := s.recurring(now.config)
	if err != nil { // it was checked: a file that it names has gone since then, and may come back
		s.log.Error("sources", "error", err)
		return
	}
	before := s.kept
	s.of, s.kept = now, map[string]keeper{}
	for _, r := range list {
		k, known := before[r.name]
		if known && k.files == r.files && reflect.DeepEqual(k.of, r.of) {
			delete(before, r.name)
			if k.every != r.every {
				k.stop()
				k.recurring = r
				s.begin(&k)
			}
		} else {
			k = keeper{recurring: r}
			k.running, k.end = context.WithCancelCause(ctx)
			s.begin(&k)
		}
		s.kept[r.name] = k
	}
	for _, k := range before {
		k.end(errOtherwise)
	}
}

// begin waits for the next run that is due.
func (s *schedule) begin(k *keeper) {
	waiting, stop := context.WithCancel(k.running)
	k.stop = stop
	if k.every > 0 {
		keep, running := k.keep, k.running
		s.wg.Go(func() { keep(waiting, running) })
	}
}

// recurring is every run that a configuration names.
func (l *live) recurring(c Config) (list []recurring, err error) {
	feeds, err := c.feeds()
	if err != nil {
		return nil, err
	}
	syncer := l.ground.Load().syncer()
	for i, f := range feeds {
		said := c.Sources[i]
		said.Interval = 0
		r := recurring{name: "source " + f.ID, every: f.Every, of: []any{said, f.Environments}}
		r.keep = keeping(syncer, f.ID, f.Every, func(ctx context.Context) error {
			return l.told(syncer.Run(ctx, f, itusers.RunOptions{Actor: "schedule", Gentle: true}))
		})
		if _, ok := said.Settings.(FileSourceConfig); !ok { // whose file is what it says: each run reads it anew
			r.files = filesOf(said.Settings)
		}
		list = append(list, r)
	}
	if p := c.Provisioning; p != nil {
		said := *p
		said.Interval = 0
		list = append(list, recurring{name: provisioningID, every: p.Interval, of: said, files: filesOf(said.LifeTime),
			keep: keeping(syncer, provisioningID, p.Interval, l.provision)})
	}
	if every := c.Audit.VerifyEvery; every > 0 {
		list = append(list, recurring{name: "verification", every: every,
			keep: func(waiting, _ context.Context) { l.keepVerifying(waiting, every) }}) // which begins anew with another interval
	}
	return list, nil
}

// keeping does runs that are kept under an id.
func keeping(s *itusers.Syncer, id string, every time.Duration, do func(context.Context) error) func(waiting, running context.Context) {
	return func(waiting, running context.Context) {
		s.Keep(waiting, id, every, func(context.Context) error { return do(running) })
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
