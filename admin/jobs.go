package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// Job is something that takes longer than a request. It goes on by itself on the node that was asked; every node can tell how
// far it is, and what came of it.
type Job struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind" enum:"source,coverage,audit"`
	Source   string          `json:"source" doc:"which is run; empty: none"`
	Actor    string          `json:"actor"`
	State    string          `json:"state" enum:"running,done,failed" doc:"done: run, coverage or verdict has what came of it"`
	Stage    string          `json:"stage" doc:"what is being done"`
	Done     int             `json:"done"`
	Total    int             `json:"total" doc:"0: not known"`
	Started  time.Time       `json:"started"`
	Ended    *time.Time      `json:"ended"`
	Reason   string          `json:"reason" doc:"why it failed: docs/errors.md"`
	Error    string          `json:"error"`
	Run      *RunInfo        `json:"run,omitempty"`
	Coverage *CoverageReport `json:"coverage,omitempty"`
	Verdict  *audit.Verdict  `json:"verdict,omitempty"`
}

// The states of a job.
const (
	jobRunning = "running"
	jobDone    = "done"
	jobFailed  = "failed"
)

const (
	jobLife   = 7 * day         // how long it is told what came of it
	jobLease  = 2 * time.Minute // how long its node may be silent before it is taken for gone
	jobSilent = 20 * time.Second
	jobBeat   = time.Second
)

// heard is a job as it is kept, and when its node said so.
type heard struct {
	Job
	At     time.Time
	Counts itusers.RunReport // of its run
}

// subject is what there is one job of at a time.
func (j Job) subject() string { return j.Kind + " " + j.Source }

// work is what a job does; what comes of it goes into the job.
type work func(ctx context.Context, tell func(itusers.Progress), j *Job) error

// start begins a job, unless one of the same kind is under way: errJobUnderWay.
func (c *call) start(j Job, do work) (Job, error) {
	j.ID, j.Actor, j.State, j.Started = rand.Text(), c.actor(), jobRunning, c.now()
	held, err := c.Leases.Lease(c.ctx(), j.subject(), j.ID, c.now(), c.now().Add(jobLease))
	if err != nil {
		return j, unavailable(err)
	}
	if !held {
		return j, errJobUnderWay
	}
	if err := c.keepJob(c.ctx(), j); err != nil {
		return j, errors.Join(err, c.release(c.ctx(), j))
	}
	if err := c.put(c.ctx(), keptLastJob, j.subject(), j.ID, c.now().Add(jobLife)); err != nil {
		return j, errors.Join(err, c.release(c.ctx(), j))
	}
	a := c.Admin
	c.Background(func(ctx context.Context) { a.runJob(ctx, j, do) })
	return j, nil
}

func (a *Admin) keepJob(ctx context.Context, j Job) error {
	h := heard{Job: j, At: a.now()}
	if j.Run != nil {
		h.Counts = j.Run.Counts
	}
	return a.put(ctx, keptJob, j.ID, h, a.now().Add(jobLife))
}

// release lets the next job of the kind begin.
func (a *Admin) release(ctx context.Context, j Job) error {
	_, err := a.Leases.Lease(ctx, j.subject(), j.ID, a.now(), a.now())
	return err
}

var errJobLost = errors.New("another node has taken over: this one was silent for too long")

// runJob does the work, and tells the other nodes how far it is.
func (a *Admin) runJob(ctx context.Context, j Job, do work) {
	doing, stop := context.WithCancelCause(ctx)
	told := &progress{}
	var beating sync.WaitGroup
	ended := make(chan struct{})
	beating.Go(func() { a.beat(ctx, j, told, ended, stop) })
	result := j
	err := guarded(func() error { return do(doing, told.tell, &result) })
	close(ended)
	beating.Wait()
	now := a.now()
	result.State, result.Ended = jobDone, &now
	if err != nil {
		if cause := context.Cause(doing); cause != nil {
			err = authn.Errorf(authn.Unavailable, "job_interrupted", "it was ended: %w", errors.Join(cause, err))
		}
		result.State, result.Reason, result.Error = jobFailed, refusalOf(err).code, err.Error()
		a.Portal.Log.Warn("admin: a job failed", "job", j.subject(), "actor", j.Actor, "error", err)
	}
	stop(nil)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := errors.Join(a.keepJob(end, result), a.release(end, j)); err != nil {
		a.Portal.Log.Error("admin: what came of a job could not be kept", "job", j.subject(), "error", err)
	}
}

// guarded turns a bug into an error: a job's must not end the process.
func guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = authn.Errorf(authn.Internal, "panic", "it broke off: %T\n%s", v, debug.Stack())
		}
	}()
	return do()
}

// progress is how far a job is, from one goroutine to another.
type progress struct {
	mu   sync.Mutex
	last itusers.Progress
}

func (p *progress) tell(now itusers.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
}

func (p *progress) now() itusers.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// beat keeps how far the job is, and its lease, until it ends: at most every second, and not where nothing has changed.
func (a *Admin) beat(ctx context.Context, j Job, told *progress, ended <-chan struct{}, stop context.CancelCauseFunc) {
	tick := time.NewTicker(jobBeat)
	defer tick.Stop()
	kept, at := itusers.Progress{}, a.now()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		now := told.now()
		if now == kept && a.now().Sub(at) < jobSilent {
			continue
		}
		if held, err := a.Leases.Lease(ctx, j.subject(), j.ID, a.now(), a.now().Add(jobLease)); err == nil && !held {
			stop(errJobLost)
			return
		}
		j.Stage, j.Done, j.Total = now.Stage, now.Done, now.Total
		if a.keepJob(ctx, j) == nil {
			kept, at = now, a.now()
		}
	}
}

// job is one of an id. One whose node has fallen silent has failed.
func (c *call) job(id string) (Job, error) {
	var h heard
	found, err := c.kept(c.ctx(), keptJob, id, &h)
	if err == nil && !found {
		err = errNoSuchThing
	}
	if h.Run != nil {
		h.Run.Counts = h.Counts
	}
	if h.State == jobRunning && c.now().Sub(h.At) > jobLease {
		h.State, h.Reason, h.Error = jobFailed, "job_interrupted", "its node has fallen silent"
	}
	return h.Job, err
}

// lastJob is the newest of a subject; the zero Job when there is none.
func (c *call) lastJob(subject string) (j Job, err error) {
	var id string
	found, err := c.kept(c.ctx(), keptLastJob, subject, &id)
	if err != nil || !found {
		return j, err
	}
	if j, err = c.job(id); errors.Is(err, errNoSuchThing) {
		return Job{}, nil
	}
	return j, err
}

// accepted makes an operation one that begins a job.
func accepted(o *operation) { o.status = http.StatusAccepted }

// begun answers for a job that has begun.
func (c *call) begun(j Job, err error) (Job, error) {
	if err == nil {
		c.w.Header().Set("Location", c.v.Frame().Link(apiBase+"/jobs/"+j.ID))
	}
	return j, err
}

type jobView struct {
	shell
	Job                Job
	Title              string
	Back, Whole        string // address and name of the page that it belongs to
	Stage, Why, Advice string
	Again              int // seconds until the page asks again
}

// again is when the page of a job that began so long ago asks again: whoever reads it is not to be interrupted for ever.
func again(since time.Duration) int {
	return int(min(max(since/10, 2*time.Second), 15*time.Second) / time.Second)
}

// showJob shows how far a job is, and asks again by itself; of one that has ended, what came of it.
func (c *call) showJob() error {
	j, err := c.job(c.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	switch {
	case j.State == jobDone && j.Run != nil:
		done := c.runView(*j.Run)
		return c.showSources(http.StatusOK, sourcesView{Done: &done, Of: j.Source})
	case j.State == jobDone && j.Coverage != nil:
		return c.showCoverage(j)
	case j.Verdict != nil: // also where it could not be kept
		return c.showVerification(j.Verdict, j.Error)
	}
	view := jobView{Job: j, Stage: c.stage(j.Stage), Why: c.reason(j.Reason), Advice: c.advice(j.Reason),
		Again: again(c.now().Sub(j.Started))}
	switch j.Kind {
	case jobAudit:
		view.shell, view.Back, view.Whole = c.shell("/audit"), c.to("/audit"), c.v.Text("admin.audit.title")
		view.Title = c.v.Text("admin.verify.title")
	case jobCoverage:
		view.shell, view.Back, view.Whole = c.shell("/sources"), c.to("/coverage"), c.v.Text("admin.coverage.title")
		view.Title = view.Whole
	default:
		view.shell, view.Back, view.Whole = c.shell("/sources"), c.to("/sources"), c.v.Text("admin.sources.title")
		view.Title = c.v.Text("admin.sources.done", j.Source)
	}
	return c.show(http.StatusOK, "job", view)
}

// toJob leads to the page of a job that has begun, or of the one that is under way already.
func (c *call) toJob(j Job, err error) error {
	if errors.Is(err, errJobUnderWay) {
		subject := j.subject()
		if j, err = c.lastJob(subject); err == nil && j.ID == "" {
			err = errJobUnderWay
		}
	}
	if err != nil {
		return err
	}
	c.v.GoTo("/jobs", "id", j.ID)
	return nil
}
