package itusers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Run is one run of a source, or of what provisions users: what it did, or would do.
type Run struct {
	ID       string    `json:"id"`
	Source   string    `json:"source"`
	Actor    string    `json:"actor"` // who asked for it
	Node     string    `json:"node"`
	Dry      bool      `json:"dry_run"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"` // zero while it is under way
	State    RunState  `json:"state"`
	Reason   string    `json:"reason,omitempty"` // stable code of why it was refused or failed
	Error    string    `json:"error,omitempty"`
	Progress Progress  `json:"progress"`
	Report   RunReport `json:"report"`
}

// RunState is how a run stands.
type RunState string

// The states of a run.
const (
	RunUnderWay RunState = "running"
	RunDone     RunState = "done"
	RunRefused  RunState = "refused" // by the limit: nothing was changed
	RunFailed   RunState = "failed"  // what was changed before stays; the next run goes on
)

// Progress is how far a run is.
type Progress struct {
	Stage string `json:"stage"`
	Done  int    `json:"done"`
	Total int    `json:"total,omitempty"` // 0: not known
}

// The stages of runs and surveys, as Progress has them; that of accounts is followed by the provider's id.
const (
	StageSource   = "reading the source"
	StageUsers    = "reading IT users"
	StageWriting  = "writing"
	StageAccounts = "accounts of "
	StageSurveyed = "IT users"
)

// RunReport counts users, and names those that are not as they were.
type RunReport struct {
	Listed      int `json:"listed"` // by the source
	Owned       int `json:"owned"`  // here, before the run: what the limit is a part of
	Added       int `json:"added"`
	Changed     int `json:"changed"`
	Deactivated int `json:"deactivated"`
	Unchanged   int `json:"unchanged"`
	Refused     int `json:"refused"`
	Unknown     int `json:"unknown"` // listed with an id, and nobody here
	IDs         int `json:"ids_set"` // ids that are set, one user may have several
	Counted     int `json:"counted"` // changes that count against the limit
	Allowed     int `json:"allowed"` // the limit

	Rows    []RunRow `json:"rows"`
	LeftOff int      `json:"rows_left_off,omitempty"`
}

// RunRow is what a run does to one user.
type RunRow struct {
	Action   RowAction `json:"action"`
	Username string    `json:"username"`
	What     []string  `json:"what,omitempty"`   // for people
	Reason   string    `json:"reason,omitempty"` // stable code of a refusal
}

// RowAction is what is done; the order is that of a report.
type RowAction string

// The actions.
const (
	RowRefused     RowAction = "refuse"
	RowDeactivated RowAction = "deactivate"
	RowChanged     RowAction = "change"
	RowAdded       RowAction = "add"
)

// maxRows is how many rows of a report are kept: those that want an eye first.
const maxRows = 2000

// Add counts a row and keeps it.
func (r *RunReport) Add(row RunRow) {
	switch row.Action {
	case RowRefused:
		r.Refused++
	case RowDeactivated:
		r.Deactivated++
	case RowChanged:
		r.Changed++
	case RowAdded:
		r.Added++
	}
	r.Rows = append(r.Rows, row)
}

// Sort brings the rows into order, and leaves off those that are too many.
func (r *RunReport) Sort() {
	order := []RowAction{RowRefused, RowDeactivated, RowChanged, RowAdded}
	slices.SortStableFunc(r.Rows, func(a, b RunRow) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Action), slices.Index(order, b.Action)), cmp.Compare(a.Username, b.Username))
	})
	if len(r.Rows) > maxRows {
		r.LeftOff += len(r.Rows) - maxRows
		r.Rows = r.Rows[:maxRows]
	}
}

// Summary is the report in one line.
func (r RunReport) Summary() string {
	text := fmt.Sprintf("%d listed: %d added, %d changed, %d deactivated, %d unchanged, %d refused", r.Listed, r.Added, r.Changed,
		r.Deactivated, r.Unchanged, r.Refused)
	if r.Unknown > 0 {
		text += fmt.Sprintf(", %d unknown here", r.Unknown)
	}
	return text
}

// RunStore keeps runs, and lets one go on at a time, over all nodes.
type RunStore interface {
	// BeginRun keeps a run that begins and gives it the lease, unless another run holds it: that one is returned then. A
	// run whose lease has ended without its own end is kept as failed (sync_interrupted).
	BeginRun(ctx context.Context, run Run, until time.Time) (other *Run, err error)
	// KeepRun renews the lease and keeps how far the run is; false when the lease is somebody else's.
	KeepRun(ctx context.Context, run Run, until time.Time) (bool, error)
	// EndRun keeps a run that has ended, gives the lease back, and drops old runs of its source, but never the last one that
	// was done.
	EndRun(ctx context.Context, run Run) error
	// Runs returns the newest runs of a source, newest first, all of them where limit is 0; of all sources
	// where source is empty.
	Runs(ctx context.Context, source string, limit int) ([]Run, error)
}

// lease is how long a run may be silent before another node may take over.
const lease = 2 * time.Minute

// Runner does runs, one at a time, and keeps what became of them.
type Runner struct {
	Store   RunStore
	Node    string
	Now     func() time.Time
	Audited func(ctx context.Context, run Run) error // at the end of each run but dry ones
}

// RunOptions are what a run is asked for with.
type RunOptions struct {
	Actor    string
	Dry      bool           // report only; nothing is kept of the run
	Allow    int            // so many changes are allowed, whatever the limit: what a dry run has shown
	Adopt    bool           // users are known by their names, whatever the source called them before
	Gentle   bool           // nobody waits: it takes twenty times as long, and a fortieth of a machine with two cores
	Progress func(Progress) // may be nil; called often
}

// Do runs work under the lease. work's context ends when the lease is lost. The error is work's, or Unavailable with
// sync_busy when another run is under way.
func (r *Runner) Do(
	ctx context.Context, source string, o RunOptions, work func(context.Context, Run, func(Progress)) (RunReport, error),
) (Run, error) {
	run := Run{ID: rand.Text(), Source: source, Actor: o.Actor, Node: r.Node, Dry: o.Dry, Started: r.Now(), State: RunUnderWay}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Dry {
		err := r.work(ctx, &run, o.Progress, work)
		return run, err
	}
	other, err := r.Store.BeginRun(ctx, run, r.Now().Add(lease))
	if err != nil {
		return run, storeError(err)
	}
	if other != nil {
		return run, authn.Errorf(authn.Unavailable, "sync_busy", "a run of %q is under way on node %q since %s",
			other.Source, other.Node, other.Started.UTC().Format(time.RFC3339))
	}
	held, stop := r.hold(ctx, run)
	err = r.work(held.ctx, &run, func(p Progress) { held.tell(p); o.Progress(p) }, work)
	stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err = errors.Join(err, storeError(r.Store.EndRun(end, run)))
	if r.Audited != nil {
		err = errors.Join(err, r.Audited(end, run))
	}
	return run, err
}

// work does it, and writes into the run what became of it.
func (r *Runner) work(
	ctx context.Context, run *Run, tell func(Progress), work func(context.Context, Run, func(Progress)) (RunReport, error),
) (err error) {
	func() {
		defer func() {
			if v := recover(); v != nil {
				err = authn.Errorf(authn.Internal, "panic", "a run broke off: %v\n%s", v, debug.Stack())
			}
		}()
		run.Report, err = work(ctx, *run, tell)
	}()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = authn.Errorf(authn.Unavailable, "sync_interrupted", "the run was ended: %w", errors.Join(cause, err))
	}
	run.Report.Sort()
	run.Ended, run.State = r.Now(), RunDone
	if err != nil {
		run.State, run.Reason, run.Error = RunFailed, authn.ReasonOf(err), err.Error()
	}
	if run.Reason == reasonLimit {
		run.State = RunRefused
	}
	return err
}

// holding is a lease that is being renewed.
type holding struct {
	ctx  context.Context
	mu   sync.Mutex
	last Progress
}

func (h *holding) tell(p Progress) {
	h.mu.Lock()
	h.last = p
	h.mu.Unlock()
}

var errLeaseLost = errors.New("another node has taken over: this one was silent for too long")

// hold renews the lease until stop is called.
func (r *Runner) hold(ctx context.Context, run Run) (h *holding, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	h = &holding{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lease / 24)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			h.mu.Lock()
			run.Progress = h.last
			h.mu.Unlock()
			if kept, err := r.Store.KeepRun(ctx, run, r.Now().Add(lease)); err == nil && !kept {
				cancel(errLeaseLost)
				return
			}
		}
	}()
	return h, func() {
		cancel(context.Canceled)
		<-done
	}
}
