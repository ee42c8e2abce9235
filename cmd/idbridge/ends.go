package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/admin"
)

// expiries publish when certificates and secrets end.
type expiries struct {
	list func(context.Context) []admin.Ending
	desc *prometheus.Desc
}

func (m *metrics) expiries(list func(context.Context) []admin.Ending) {
	m.registry.MustRegister(expiries{list, prometheus.NewDesc("idbridge_expiry_timestamp_seconds",
		"When a certificate or a secret ends: what, and where it is configured.", []string{"where", "what"}, nil)})
}

// Describe implements prometheus.Collector.
func (e expiries) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

// Collect implements prometheus.Collector.
func (e expiries) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, one := range e.list(ctx) {
		ch <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, float64(one.At.Unix()), one.Where, one.What)
	}
}

// warnOfEnds tells the log and the audit of what ends soon, at the start and once a day. ask lets it ask the providers at once:
// after a change of something else that would be a question too many.
func (w *bridge) warnOfEnds(ctx context.Context, ask bool) {
	daily := time.NewTicker(day)
	defer daily.Stop()
	for ; ; ask = true {
		if ask {
			asked(ctx, w.doctor.Providers)
		}
		now := time.Now()
		if list, bad := judged(w.endings(ctx), expirySoon, now); bad > 0 && ctx.Err() == nil {
			for _, e := range list[:bad] { // the next one is the first
				w.log.Warn(e.warning())
			}
			w.noteEnds(ctx, list[:bad], now)
		}
		select {
		case <-ctx.Done():
			return
		case <-daily.C:
		}
	}
}

func (e expiring) warning() string {
	return fmt.Sprintf("%s: %s ends on %s", e.Where, e.What, e.At.Format(time.DateOnly))
}
