package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/webhook"
)

// operators is the operators' listener. /readyz fails only when the store does not answer: a dead directory is listed,
// but to take every node out of rotation for it would turn "try again" into no answer at all, also for the other
// directories.
func (l *live) operators() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(l.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	state := &readiness{doctor: l.doctor, configuration: l.state}
	state.refresh()
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		ready, text := state.look(r.Context())
		if !ready {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(rw, text)
	})
	return mux
}

// readiness asks the store at every look, and tells of the rest what it last heard: a silent directory must not make a
// probe wait, nor a busy probe become the directories' main load.
type readiness struct {
	doctor        func() authn.Doctor // of the configuration in force
	configuration func() string

	mu     sync.Mutex
	asking bool
	asked  time.Time
	known  map[string]string // by check; "ok" or what is wrong
}

const (
	storeWithin = time.Second
	askAgain    = 5 * time.Second
	askWithin   = 3 * time.Second
)

func (s *readiness) look(ctx context.Context) (ready bool, text string) {
	s.refresh()
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	doctor := s.doctor()
	err := doctor.Ground.Ping(ctx)
	text = "store: " + inOneLine(err) + "\nconfiguration: " + s.configuration() + "\n"
	s.mu.Lock()
	defer s.mu.Unlock()
	checks := []string{"clock"}
	for _, p := range doctor.Providers {
		checks = append(checks, "provider "+p.ID)
	}
	for _, check := range checks {
		state, heard := s.known[check]
		if !heard {
			state = "unknown, no answer yet"
		}
		text += check + ": " + state + "\n"
	}
	return err == nil, text
}

// refresh asks in the background, unless it was asked a moment ago or is being asked.
func (s *readiness) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking || time.Since(s.asked) < askAgain {
		return
	}
	s.asking = true
	go s.ask()
}

func (s *readiness) ask() {
	doctor := s.doctor()
	doctor.Timeout = askWithin
	known := map[string]string{}
	for _, f := range doctor.Diagnose(context.Background(), authn.Environment{}) {
		known[f.Check] = "ok"
		if !f.OK() {
			known[f.Check] = inOneLine(errors.New(f.Problem))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.asked, s.asking = known, time.Now(), false
}

func inOneLine(err error) string {
	if err == nil {
		return "ok"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// rememberUsers spares the first sign-ins after a start their reads of IT users.
func (w *bridge) rememberUsers(ctx context.Context) {
	var names []string
	for _, e := range w.config.Environments {
		names = append(names, e.Name)
	}
	if err := w.store.RememberUsers(ctx, names); err != nil && ctx.Err() == nil {
		w.log.Warn("IT users could not be read ahead", "error", err)
	}
}

// keepHouse removes what has outlived its purpose, now and then.
func (l *live) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.with(func(g *generation) { g.cleanUp(ctx, time.Now()) })
	}
}

// cleanUp removes what has outlived its purpose by now.
func (w *bridge) cleanUp(ctx context.Context, now time.Time) {
	if _, err := w.store.PurgeAttempts(ctx, now.Add(-w.config.Throttle.Window)); err != nil {
		w.log.Warn("old attempts could not be removed", "error", err)
	}
	if _, err := w.store.PurgeUsed(ctx, now); err != nil {
		w.log.Warn("used keys could not be removed", "error", err)
	}
	if _, err := w.store.PurgeBrowser(ctx, now); err != nil {
		w.log.Warn("old sessions could not be removed", "error", err)
	}
	if _, err := w.store.PurgeSAML(ctx, now, now.Add(-samlMessages)); err != nil {
		w.log.Warn("old SAML sessions and messages could not be removed", "error", err)
	}
	if err := w.store.PurgeMessages(ctx, now.Add(-2*webhook.MaxAge), now.Add(-30*day)); err != nil {
		w.log.Warn("old messages of webhooks could not be removed", "error", err)
	}
	if err := w.store.PurgeKept(ctx, now); err != nil {
		w.log.Warn("what administrators have not ended could not be removed", "error", err)
	}
	if keep := w.config.Audit.Retention; keep > 0 {
		if n, err := w.audit.Purge(ctx, now.Add(-keep), "idbridge serve"); err != nil || n > 0 {
			w.log.Info("audit: retention", "removed", n, "error", err)
		}
	}
}
