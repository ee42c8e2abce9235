package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/idbridge/idbridge/authn"
)

// operators is the operators' listener. /readyz fails only when the store does not answer: a dead directory is listed,
// but to take every node out of rotation for it would turn "try again" into no answer at all, also for the other
// directories.
func (w *bridge) operators() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	state := &readiness{bridge: w}
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		ready, text := state.look(r.Context())
		if !ready {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(rw, text)
	})
	return mux
}

// readiness remembers its answer for a moment, so that a busy probe does not become the directories' main load.
type readiness struct {
	*bridge
	mu    sync.Mutex
	until time.Time
	ready bool
	text  string
}

const (
	readyFor    = 5 * time.Second
	readyWithin = 3 * time.Second
)

func (s *readiness) look(ctx context.Context) (ready bool, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) {
		return s.ready, s.text
	}
	doctor := s.doctor
	doctor.Timeout = readyWithin
	s.ready, s.text = true, ""
	for _, f := range doctor.Diagnose(context.WithoutCancel(ctx), authn.Environment{}) {
		switch {
		case f.Check == "it-users ": // depends on the environment; `idbridge check` looks
			continue
		case f.OK():
			s.text += f.Check + ": ok\n"
			continue
		case f.Check == "store":
			s.ready = false
		}
		s.text += f.Check + ": " + strings.ReplaceAll(f.Problem, "\n", "; ") + "\n"
	}
	s.until = time.Now().Add(readyFor)
	return s.ready, s.text
}

// keepHouse removes what has outlived its purpose, now and then.
func (w *bridge) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if _, err := w.store.PurgeAttempts(ctx, now.Add(-w.config.Throttle.Window)); err != nil {
			w.log.Warn("old attempts could not be removed", "error", err)
		}
		if _, err := w.store.PurgeUsed(ctx, now); err != nil {
			w.log.Warn("used keys could not be removed", "error", err)
		}
		if keep := w.config.Audit.Retention; keep > 0 {
			if n, err := w.backend.audit.Purge(ctx, now.Add(-keep), "idbridge serve"); err != nil || n > 0 {
				w.log.Info("audit: retention", "removed", n, "error", err)
			}
		}
	}
}
