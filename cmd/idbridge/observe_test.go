package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

type recorded struct{}

func (recorded) Record(context.Context, authn.Decision) error { return nil }

// TestLateRefusals are counted: one that was recorded after refusal_time, and nothing that was granted.
func TestLateRefusals(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	const refusal = time.Minute
	o := observer{next: recorded{}, metrics: m, log: slog.New(slog.DiscardHandler), refusal: refusal}
	for _, d := range []authn.Decision{
		{Time: time.Now(), Kind: authn.BadCredentials},
		{Time: time.Now().Add(-2 * refusal), Kind: authn.OK},
		{Time: time.Now().Add(-2 * refusal), Kind: authn.BadCredentials},
	} {
		if err := o.Record(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "idbridge_late_refusals_total" {
			if got := f.GetMetric()[0].GetCounter().GetValue(); got != 1 {
				t.Errorf("%v late refusals, not 1", got)
			}
			return
		}
	}
	t.Error("no such metric")
}
