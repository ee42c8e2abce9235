package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// ground is a store that answers, fails or hangs.
type ground struct {
	err  error
	hang bool
}

func (g ground) Ping(ctx context.Context) error {
	if g.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return g.err
}

func (ground) Clock(context.Context) (time.Time, error) { return time.Time{}, nil }

func (ground) MappedUsers(context.Context, authn.Environment) (int, error) { return 1, nil }

// readinessOf is that under a configuration that is in force.
func readinessOf(d authn.Doctor) *readiness {
	return &readiness{doctor: func() authn.Doctor { return d }, configuration: func() string { return "ok, version 7" }}
}

// TestReadiness: the store decides, and is asked every time; directories are listed as they were last heard of, are
// asked in the background, again after five seconds, and never twice at once.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan error)
		directory := authn.Provider{ID: "corp", Check: func(ctx context.Context) error {
			asked.Add(1)
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return errors.New("silent,\nask its owner")
			}
		}}
		s := readinessOf(authn.Doctor{Providers: []authn.Provider{directory}, Ground: ground{}})
		expect := func(line string, times int32) {
			t.Helper()
			synctest.Wait()
			start := time.Now()
			ready, text := s.look(t.Context())
			if took := time.Since(start); !ready || took > 0 || !strings.HasPrefix(text, "store: ok\nconfiguration: ok, version 7\n") {
				t.Errorf("ready is %v after %s:\n%s", ready, took, text)
			}
			synctest.Wait()
			if !strings.Contains(text, line+"\n") || asked.Load() != times {
				t.Errorf("asked %d times, want %d; want %q in:\n%s", asked.Load(), times, line, text)
			}
		}
		expect("provider corp: unknown, no answer yet", 1)
		expect("provider corp: unknown, no answer yet", 1)
		time.Sleep(askWithin)
		expect("provider corp: silent,; ask its owner", 1)
		time.Sleep(askAgain)
		expect("provider corp: silent,; ask its owner", 2)
		answer <- nil
		expect("provider corp: ok", 2)
		expect("clock: ok", 2)
	})
}

func TestNotReadyWithoutTheStore(t *testing.T) {
	for name, g := range map[string]ground{"failing": {err: errors.New("no disk")}, "silent": {hang: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := readinessOf(authn.Doctor{Ground: g})
				start := time.Now()
				ready, text := s.look(t.Context())
				if took := time.Since(start); ready || took > storeWithin || !strings.HasPrefix(text, "store: ") {
					t.Errorf("ready is %v after %s: %s", ready, took, text)
				}
				time.Sleep(time.Minute) // so that the background has ended
			})
		})
	}
	l := &live{metrics: newMetrics()}
	l.current.Store(&generation{bridge: &bridge{backend: &backend{}, doctor: authn.Doctor{Ground: ground{err: errors.New("no disk")}}}})
	answer := httptest.NewRecorder()
	l.operators().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	if answer.Code != http.StatusServiceUnavailable || !strings.HasPrefix(answer.Body.String(), "store: no disk\n") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// silent is a server that takes connections and says nothing.
func silent(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr()
}
