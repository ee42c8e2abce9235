package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
)

// A node that starts while the newest version cannot be applied serves by the newest one that can, says so everywhere, and goes on
// following; what is in force can be made the newest version again.
func TestStartsWithTheNewestVersionThatCanBeApplied(t *testing.T) {
	s := configured(t, nil)
	ground := managedGround(t, s.file("idbridge.yaml"))
	if err := ground.takeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := string(ground.config.encode(ground.config.dir, strictyaml.Reveal))
	base := int64(1)
	save := func(text string) {
		t.Helper()
		v, err := ground.history.Save(t.Context(), revision.Draft{Base: base, Author: "test", Text: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		base = v.Number
	}
	save(strings.Replace(good, "dc=x", "dc=second", 1))
	save(strings.Replace(good, "base_dn:", "base_of_later:", 1))
	save("providers: [")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var logged bytes.Buffer
	l, err := newLive(ctx, ground, newMetrics(), slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	inForce := l.current.Load()
	if text := l.state(); inForce.version != 2 || !strings.HasPrefix(text, "version 4 cannot be applied: ") || !strings.Contains(text, "in force is version 2") {
		t.Errorf("version %d is in force; /readyz says %s", inForce.version, text)
	}
	for _, want := range []string{"level=ERROR", `configuration="version 4" in_force=2`} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log lacks %s: %s", want, &logged)
		}
	}
	if v, n, failures := gathered(t, l, "idbridge_configuration_version"), gathered(t, l, "idbridge_configuration_newest_version"),
		gathered(t, l, "idbridge_configuration_apply_failures_total"); v != 2 || n != 4 || failures != 1 {
		t.Errorf("metrics: version %v, newest %v, failures %v", v, n, failures)
	}
	m := managing{bridge: inForce.bridge}
	if state, err := m.Look(ctx); err != nil || state.Version != 2 || state.Newest != 4 || state.Trouble == "" {
		t.Errorf("the overview: %+v, %v", state, err)
	}
	if _, err := m.Save(ctx, admin.Proposal{Base: 4, Restore: 2}, "admin:ann", "", true); err != nil {
		t.Errorf("going back to what is in force: %v", err)
	}
	if now := l.current.Load(); now.version != 5 || !strings.HasPrefix(l.state(), "ok, version 5") {
		t.Errorf("after going back: version %d, %s", now.version, l.state())
	}
}

// A node on which no version can be applied does not start, and says what is wrong with the newest.
func TestStartsWithNoVersionAtAll(t *testing.T) {
	s := configured(t, nil)
	ground := managedGround(t, s.file("idbridge.yaml"))
	for i, text := range []string{"providers: [", "nothing: [here]"} {
		if _, err := ground.history.Save(t.Context(), revision.Draft{Base: int64(i), Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newLive(t.Context(), ground, newMetrics(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("%v", err)
	}
}

func gathered(t *testing.T, l *live, name string) float64 {
	t.Helper()
	families, err := l.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// managedGround is what a configuration file with `managed: store` stands on.
func managedGround(t *testing.T, file string) *backend {
	t.Helper()
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	c.Managed = managedByStore
	ground, err := openGround(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ground.Close)
	return ground
}
