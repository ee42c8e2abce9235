package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/authn"
)

// credentialEnds publish when what we sign in with at identity sources ends: nobody can sign in there from then on.
type credentialEnds struct {
	current func() []authn.Provider
	desc    *prometheus.Desc
}

func (m *metrics) credentialEnds(current func() []authn.Provider) {
	m.registry.MustRegister(credentialEnds{current, prometheus.NewDesc("idbridge_credential_expiry_timestamp_seconds",
		"When a credential of ours at an identity source ends.", []string{"provider", "credential"}, nil)})
}

// Describe implements prometheus.Collector.
func (c credentialEnds) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c credentialEnds) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.current() {
		for _, e := range ends(p) {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(e.At.Unix()), p.ID, e.What)
		}
	}
}

func ends(p authn.Provider) []authn.End {
	if p.Ends == nil {
		return nil
	}
	return p.Ends()
}

// warnOfEnds tells the log of credentials that end soon, at the start and once a day.
func (w *bridge) warnOfEnds(ctx context.Context) {
	daily := time.NewTicker(day)
	defer daily.Stop()
	for {
		for _, warning := range endWarnings(w.doctor.Providers, time.Now()) {
			w.log.Warn(warning)
		}
		w.noteEnds(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-daily.C:
		}
	}
}

func endWarnings(list []authn.Provider, now time.Time) (warnings []string) {
	for _, p := range list {
		for _, e := range ends(p) {
			if e.At.Before(now.Add(expirySoon)) {
				warnings = append(warnings, fmt.Sprintf("provider %s: %s ends on %s: add its successor, then remove it", p.ID, e.What,
					e.At.Format(time.DateOnly)))
			}
		}
	}
	return warnings
}
