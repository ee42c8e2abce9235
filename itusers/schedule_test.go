package itusers

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// memory is a store of runs that a test looks into.
type memory struct {
	mu   sync.Mutex
	runs []Run
}

func (m *memory) add(run Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs = append([]Run{run}, m.runs...)
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.runs)
}

func (m *memory) BeginRun(_ context.Context, run Run, _ time.Time) (*Run, error) {
	m.add(run)
	return nil, nil
}
func (m *memory) KeepRun(context.Context, Run, time.Time) (bool, error) { return true, nil }

func (m *memory) EndRun(_ context.Context, run Run) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs[0] = run
	return nil
}

func (m *memory) Runs(context.Context, string, int) ([]Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.runs), nil
}

// TestKeep: about every interval, counted from the last run of whichever node, and again soon where a run could not begin.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &memory{}
		r := &Runner{Store: kept, Now: time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var busy atomic.Bool
		go r.Keep(ctx, "src", time.Hour, func(ctx context.Context) error {
			if busy.CompareAndSwap(true, false) {
				return authn.Errorf(authn.Unavailable, "sync_busy", "another one")
			}
			_, err := r.Do(ctx, "src", RunOptions{}, func(context.Context, Run, func(Progress)) (RunReport, error) { return RunReport{}, nil })
			return err
		})
		within := func(runs int, from, to time.Duration) {
			t.Helper()
			time.Sleep(time.Until(begin.Add(from)))
			synctest.Wait()
			if kept.count() != runs-1 {
				t.Errorf("%d runs before %v", kept.count(), from)
			}
			time.Sleep(time.Until(begin.Add(to)))
			synctest.Wait()
			if kept.count() != runs {
				t.Errorf("%d runs after %v, want %d", kept.count(), to, runs)
			}
		}
		synctest.Wait()
		if kept.count() != 1 {
			t.Fatalf("%d runs at first, want 1", kept.count())
		}
		within(2, 59*time.Minute, 68*time.Minute)
		kept.add(Run{Started: begin.Add(90 * time.Minute)}) // another node's
		busy.Store(true)
		within(4, 149*time.Minute, 175*time.Minute)
		cancel()
		synctest.Wait()
	})
}

// TestDo: what became of a run is kept, also of one that breaks off.
func TestDo(t *testing.T) {
	kept := &memory{}
	var audited []Run
	r := &Runner{Store: kept, Node: "n", Now: time.Now, Audited: func(_ context.Context, run Run) error { audited = append(audited, run); return nil }}
	_, err := r.Do(t.Context(), "src", RunOptions{Actor: "me"}, func(_ context.Context, _ Run, tell func(Progress)) (RunReport, error) {
		tell(Progress{Stage: "x"})
		panic("a bug")
	})
	if authn.KindOf(err) != authn.Internal || len(audited) != 1 || audited[0].State != RunFailed || audited[0].Reason != "panic" || audited[0].Actor != "me" {
		t.Errorf("%v, %+v", err, audited)
	}
	if run, err := r.Do(t.Context(), "src", RunOptions{Dry: true}, func(context.Context, Run, func(Progress)) (RunReport, error) {
		return RunReport{Added: 1}, nil
	}); err != nil || run.Report.Added != 1 || len(audited) != 1 || kept.count() != 1 {
		t.Errorf("a dry run left something: %v, %+v, %d", err, run, kept.count())
	}
}
