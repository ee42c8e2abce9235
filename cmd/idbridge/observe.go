package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// metrics are the program's numbers. No label holds what a user typed.
type metrics struct {
	registry *prometheus.Registry
	signIns  *prometheus.CounterVec
	glass    *prometheus.CounterVec
	late     prometheus.Counter
	duration *prometheus.HistogramVec
	calls    *prometheus.HistogramVec
	inFlight prometheus.Gauge
	audit    prometheus.Histogram
	store    *prometheus.HistogramVec

	version       prometheus.Gauge
	newest        prometheus.Gauge
	applyFailures prometheus.Counter
}

// seconds are the buckets of everything that is measured: a warm sign-in takes a millisecond, a given-up one 20
// seconds.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.signIns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "idbridge_sign_ins_total", Help: "Sign-ins decided, by kind; ok is granted.",
	}, []string{"environment", "provider", "kind"})
	m.glass = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "idbridge_break_glass_attempts_total", Help: "Attempts at break-glass accounts, by kind; ok is granted.",
	}, []string{"kind"})
	m.late = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "idbridge_late_refusals_total", Help: "Refusals recorded after refusal_time: how long they took may tell why.",
	})
	m.duration = histograms("idbridge_sign_in_seconds", "Time until a sign-in was decided.", "provider", "kind")
	m.calls = histograms("idbridge_plugin_call_seconds", "Time until the platform had its answer.", "method", "outcome")
	m.store = histograms("idbridge_store_seconds", "Time of the store's part in a sign-in.", "operation")
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{Name: "idbridge_calls_in_flight", Help: "Calls being answered."})
	m.audit = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "idbridge_audit_seconds", Help: "Time until a decision was durable.", Buckets: seconds,
	})
	m.version = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "idbridge_configuration_version", Help: "The version of the configuration in force; 0 with managed: file.",
	})
	m.newest = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "idbridge_configuration_newest_version",
		Help: "The newest version of the configuration in the store, also one that could not be applied.",
	})
	m.applyFailures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "idbridge_configuration_apply_failures_total", Help: "Configurations that could not be applied; the one before stayed in force.",
	})
	m.registry.MustRegister(m.version, m.newest, m.applyFailures, m.signIns, m.glass, m.late, m.duration, m.calls, m.store, m.inFlight,
		m.audit)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}, labels)
}

func (m *metrics) call(method, outcome string, took time.Duration) {
	m.calls.WithLabelValues(method, outcome).Observe(took.Seconds())
}

// observer counts and logs each decision once it is durable. What could not be recorded is logged as such.
type observer struct {
	next    authn.Auditor
	metrics *metrics
	log     *slog.Logger
	glass   map[string]bool              // providers of break-glass accounts
	refusal time.Duration                // refusal_time
	failed  func(context.Context, error) // told of each decision that could not be recorded
}

// Record implements authn.Auditor.
func (o observer) Record(ctx context.Context, d authn.Decision) error {
	start := time.Now()
	err := o.next.Record(ctx, d)
	o.metrics.audit.Observe(time.Since(start).Seconds())
	kind := d.Kind
	if err != nil {
		kind = authn.Unavailable
		o.failed(ctx, err)
		o.log.Error("audit: a decision could not be recorded, the sign-in is refused", "id", d.ID, "error", err)
	}
	o.metrics.signIns.WithLabelValues(d.Environment, d.Provider, kind.String()).Inc()
	if o.glass[d.Provider] {
		o.metrics.glass.WithLabelValues(kind.String()).Inc()
	}
	if kind != authn.OK && time.Since(d.Time) > o.refusal {
		o.metrics.late.Inc()
	}
	o.metrics.duration.WithLabelValues(d.Provider, kind.String()).Observe(d.Duration.Seconds())
	o.tell(ctx, d, kind)
	return err
}

// tell logs a decision. Where nobody listens at its level, nothing is put into words.
func (o observer) tell(ctx context.Context, d authn.Decision, kind authn.Kind) {
	level, what := level(kind), "sign-in"
	if o.glass[d.Provider] {
		level, what = max(level, loudness(kind)), audit.BreakGlass+what
	}
	if !o.log.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{slog.String("id", d.ID), slog.String("environment", d.Environment),
		slog.String("username", d.Username), slog.String("provider", d.Provider), slog.String("it_user", d.ITUser),
		slog.String("kind", kind.String()), slog.String("reason", d.Reason), slog.Any("factors", d.Factors),
		slog.String("source", d.Source.String()), slog.String("method", d.Method), slog.Duration("duration", d.Duration)}
	if d.Err != nil {
		attributes = append(attributes, slog.String("error", d.Err.Error()))
	}
	o.log.LogAttrs(ctx, level, what, attributes...)
}

// level lets operators wake up for what is theirs to mend, and not for a wrong password.
func level(k authn.Kind) slog.Level {
	switch k {
	case authn.Internal, authn.Untrusted:
		return slog.LevelError
	case authn.Unavailable:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// loudness is the least level of an attempt at a break-glass account: one that got in is an event for everybody.
func loudness(k authn.Kind) slog.Level {
	if k == authn.OK {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// glassLog gives attempts at break-glass accounts an action of their own in the audit.
type glassLog struct {
	*audit.Log
	glass map[string]bool
}

// Record implements authn.Auditor.
func (l glassLog) Record(ctx context.Context, d authn.Decision) error {
	if !l.glass[d.Provider] {
		return l.Log.Record(ctx, d)
	}
	r := audit.FromDecision(d)
	r.Action = audit.BreakGlass + r.Action
	return l.Event(ctx, r)
}

// timedFinder measures the store's part in finding an IT user.
type timedFinder struct {
	itusers.Finder
	metrics *metrics
}

// FindLinked is the read of every sign-in.
func (t timedFinder) FindLinked(ctx context.Context, provider, subject, environment string) (authn.ITUser, error) {
	start := time.Now()
	defer func() { t.metrics.store.WithLabelValues("find_user").Observe(time.Since(start).Seconds()) }()
	return t.Finder.FindLinked(ctx, provider, subject, environment)
}
