package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/testenv/lifetime"
)

// sourceBench is a server's schedule whose configuration file a test changes, with a LifeTime that answers when it is told to.
type sourceBench struct {
	*served
	t     *testing.T
	text  string // of the file, without sources
	live  *live
	s     *schedule
	ctx   context.Context
	there *lifetime.Server
	free  chan struct{} // LifeTime answers when it is closed
	asked chan struct{} // one for each request to LifeTime that waits
}

func newSourceBench(t *testing.T) *sourceBench {
	t.Helper()
	b := &sourceBench{served: configured(t, nil), t: t, there: lifetime.Start(t), free: make(chan struct{}), asked: make(chan struct{}, 100)}
	b.there.Break(func(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
		b.asked <- struct{}{}
		select {
		case <-b.free:
			rightly.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
	b.there.Add(lifetime.User{Username: "lena", Name: "Lena", IsActive: true, RoleKey: b.there.Role("Developer")})
	b.text = b.read(t)
	b.write(t, "token", b.there.Token)
	b.write(t, "people.csv", "username,name\nann,Ann\n")
	c, err := loadConfig(b.file("idbridge.yaml"))
	b.must(err)
	ground, err := openGround(t.Context(), c)
	b.must(err)
	t.Cleanup(ground.Close)
	ctx, stop := context.WithCancel(t.Context())
	b.ctx = ctx
	b.live, err = newLive(ctx, ground, newMetrics(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	b.must(err)
	b.s = &schedule{live: b.live, kept: map[string]keeper{}}
	t.Cleanup(func() {
		stop()
		b.s.wg.Wait()
	})
	b.s.look(ctx)
	return b
}

func (b *sourceBench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// says applies a file with these sources, as SIGHUP does, and lets the schedule see it.
func (b *sourceBench) says(sources ...string) {
	b.t.Helper()
	text := b.text
	if len(sources) > 0 {
		text += "sources:\n  - {" + strings.Join(sources, "}\n  - {") + "}\n"
	}
	b.write(b.t, "idbridge.yaml", text)
	b.live.reload(b.ctx)
	if state := b.live.state(); state != "ok, that of "+b.file("idbridge.yaml") {
		b.t.Fatal(state)
	}
	b.s.look(b.ctx)
}

// slow is a source that waits for LifeTime.
func (b *sourceBench) slow(more string) string {
	return "id: slow, type: lifetime, owns: users, url: " + b.there.URL + ", ca_file: " + b.there.CAFile + ", token_file: token" + more
}

const quick = "id: quick, type: file, owns: nothing, users_file: people.csv"

func (b *sourceBench) runs(source string) []itusers.Run {
	b.t.Helper()
	list, err := b.live.ground.Load().store.Runs(b.ctx, source, 0)
	b.must(err)
	return list
}

// awaits waits until the newest run of a source is in a state.
func (b *sourceBench) awaits(source string, state itusers.RunState) (run itusers.Run) {
	b.t.Helper()
	wait(b.t, source+" "+string(state), func() bool {
		list := b.runs(source)
		if len(list) > 0 {
			run = list[0]
		}
		return run.State == state
	})
	return run
}

// A source that is new runs, without a restart; the pages and the metrics have it from then on, and no more when it is gone.
func TestSourcesAreAddedAndRemoved(t *testing.T) {
	b := newSourceBench(t)
	b.says(quick)
	if run := b.awaits("quick", itusers.RunDone); run.Actor != "schedule" || run.Report.Added != 1 {
		t.Errorf("%+v", run)
	}
	shown := func(want ...string) {
		t.Helper()
		var ids []string
		for _, s := range (feedsOf{b.live.current.Load().backend}).List() {
			ids = append(ids, s.ID)
		}
		if got := b.live.current.Load().config.runIDs(); !slices.Equal(ids, want) || !slices.Equal(got, want) {
			t.Errorf("pages show %q, metrics %q, want %q", ids, got, want)
		}
	}
	shown("quick")
	b.says(quick, "id: never, type: file, owns: nothing, users_file: people.csv, interval: 0s")
	shown("quick", "never")
	b.says("id: never, type: file, owns: nothing, users_file: people.csv, interval: 1h")
	b.awaits("never", itusers.RunDone) // as its interval says now
	shown("never")
	b.says()
	shown()
	if n := len(b.runs("quick")); n != 1 {
		t.Errorf("%d runs of a source that ran once and was removed", n)
	}
}

// A run under way goes on to its end while other things change, and how often it is; a change of its own ends it, and so does its
// removal. Another run has to wait for it, whatever configuration it comes from.
func TestARunUnderWayWhileSourcesChange(t *testing.T) {
	b := newSourceBench(t)
	b.says(b.slow(""))
	<-b.asked
	first := b.awaits("slow", itusers.RunUnderWay)
	b.says(b.slow(", interval: 2h"), quick+", interval: 0s")
	b.says(b.slow(", interval: 1m"), quick+", interval: 0s")
	if list := b.runs("slow"); len(list) != 1 || list[0].State != itusers.RunUnderWay {
		t.Errorf("after a change of something else: %+v", list)
	}
	for _, source := range []string{"quick", "slow"} {
		if _, err := (feedsOf{b.live.current.Load().backend}).Run(b.ctx, source, itusers.RunOptions{Actor: "admin:ann"}); err == nil || !strings.Contains(err.Error(), `"slow" is under way`) {
			t.Errorf("a run of %s meanwhile: %v", source, err)
		}
	}
	close(b.free)
	if run := b.awaits("slow", itusers.RunDone); run.ID != first.ID || run.Report.Added != 1 {
		t.Errorf("it ended as %+v", run)
	}
}

func TestARunEndsWithItsSource(t *testing.T) {
	for name, change := range map[string]func(*sourceBench){
		"removed":     func(b *sourceBench) { b.says(quick + ", interval: 0s") },
		"changed":     func(b *sourceBench) { b.says(b.slow(", protected: [lena]")) },
		"a new token": func(b *sourceBench) { b.write(b.t, "token", b.there.Token+"x"); b.says(b.slow("")) },
		"removed after its interval changed": func(b *sourceBench) {
			b.says(b.slow(", interval: 2h"))
			b.says()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newSourceBench(t)
			b.says(b.slow(""))
			<-b.asked
			b.awaits("slow", itusers.RunUnderWay)
			change(b)
			run := b.awaits("slow", itusers.RunFailed)
			if run.Reason != "sync_interrupted" || !strings.Contains(run.Error, "something else of it now") {
				t.Errorf("it ended as %+v", run)
			}
			if n := len(b.runs("slow")); n != 1 {
				t.Errorf("%d runs", n)
			}
		})
	}
}

// keepRuns itself ends with the server, not before its runs.
func TestKeepRunsEndsCleanly(t *testing.T) {
	b := newSourceBench(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.live.keepRuns(ctx) })
	b.write(t, "idbridge.yaml", b.text+"sources:\n  - {"+b.slow("")+"}\n")
	b.live.reload(b.ctx)
	select {
	case <-b.asked:
	case <-time.After(30 * time.Second):
		t.Fatal("it did not begin")
	}
	stop()
	wg.Wait()
	if run := b.runs("slow")[0]; run.State != itusers.RunFailed || run.Reason != "sync_interrupted" {
		t.Errorf("it ended as %+v", run)
	}
}

// The process takes a source over that is new in its file when it is told to (SIGHUP).
func TestServeTakesSourcesOver(t *testing.T) {
	s := serving(t, nil)
	s.write(t, "people.csv", "username,name\nann,Ann\n")
	s.write(t, "idbridge.yaml", s.read(t)+"sources:\n  - {"+quick+"}\n")
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.awaitOutput(t, `a run is done.*source=quick.*1 added`)
	if out := s.Output(); strings.Contains(out, "restart only") {
		t.Error(out)
	}
}
