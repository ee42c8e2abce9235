package itusers

import (
	"context"
	"fmt"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// SyncStore is what bringing users in line needs of the store.
type SyncStore interface {
	Users(ctx context.Context, f Filter) ([]User, error)
	// Owned returns whom sources own.
	Owned(ctx context.Context) ([]Ownership, error)
	// SyncUsers makes all changes in one transaction, under the lease of a run, and nothing else; ids and user names may be
	// exchanged between the users of one call. Where a user is not as Before says any more, or a name or an id that comes
	// is somebody else's, it writes nothing and returns the keys of those users. sync_interrupted when the lease is gone.
	SyncUsers(ctx context.Context, run string, changes []SyncChange) (stale []string, err error)
}

// Ownership says that a source owns a user.
type Ownership struct {
	Source string
	Ref    string // what the source calls the user
	User   string // User.Key
	Active bool   // what the source said last, as far as it was done here: who was disabled here stays so
}

// SyncChange is a change that a run has planned. Links take no part in it.
type SyncChange struct {
	Change
	Own *Ownership // to be kept with it; nil: as it is
}

// Syncer brings IT users in line with what sources say.
//
// A run reads the source whole, plans against the store, and gives up when the plan is larger than the limit. Only then it
// writes, in small transactions, between which sign-ins have their turn. Two runs never write at once.
type Syncer struct {
	Runner
	Store   SyncStore
	Changed func(ctx context.Context, run Run, changes []Change) error // told of users who were there before; for the audit
}

// Run brings users in line with one source. The errors are those of Runner.Do; source_empty and sync_limit when nothing was
// changed for that reason, those of the source, and those of the store.
func (s *Syncer) Run(ctx context.Context, feed Feed, o RunOptions) (Run, error) {
	return s.Do(ctx, feed.ID, o, func(ctx context.Context, run Run, tell func(Progress)) (RunReport, error) {
		p, err := s.plan(ctx, feed, o, tell)
		if err != nil || o.Dry {
			return p.report, err
		}
		return s.apply(ctx, run, p, tell)
	})
}

// Reasons why a run changes nothing.
const (
	reasonLimit = "sync_limit"
	reasonEmpty = "source_empty"
)

// plan reads the source first: it may take long, and what it says is compared with what is here afterwards.
func (s *Syncer) plan(ctx context.Context, feed Feed, o RunOptions, tell func(Progress)) (*syncPlan, error) {
	p := &syncPlan{feed: feed, adopt: o.Adopt}
	if err := p.read(ctx, tell); err != nil {
		return p, err
	}
	first, err := s.isFirst(ctx, feed)
	if err != nil {
		return p, err
	}
	owned, err := s.Store.Owned(ctx)
	if err != nil {
		return p, storeError(err)
	}
	p.pace = newPace(ctx, o.Gentle) // from here on: to wait for the source was no work
	users, err := s.users(ctx, p.pace, tell)
	if err != nil {
		return p, err
	}
	p.make(users, owned)
	return p, p.judge(first, o.Allow)
}

// read reads the source whole, into memory: half of it is never acted upon.
func (p *syncPlan) read(ctx context.Context, tell func(Progress)) error {
	err := p.feed.Source.Users(ctx, func(l Listed) error {
		p.listed = append(p.listed, l)
		if n := len(p.listed); n%500 == 0 {
			tell(Progress{Stage: StageSource, Done: n})
		}
		return ctx.Err()
	})
	p.report.Listed = len(p.listed)
	if err == nil && len(p.listed) == 0 {
		err = authn.Errorf(authn.Unavailable, reasonEmpty, "source %q lists nobody: nothing was changed", p.feed.ID)
	}
	return err
}

// page is how many users are read at once.
const page = 1000

// users reads all users page by page, with rests: a sync has time, sign-ins have not.
func (s *Syncer) users(ctx context.Context, pace *pace, tell func(Progress)) (all []User, err error) {
	for f := (Filter{Limit: page}); ; f.After = all[len(all)-1].Username {
		some, err := s.Store.Users(ctx, f)
		if err != nil {
			return nil, storeError(err)
		}
		all = append(all, some...)
		tell(Progress{Stage: StageUsers, Done: len(all)})
		if len(some) < page {
			return all, nil
		}
		pace.rest()
	}
}

// longestRest is for when something else than work took the time.
const longestRest = 10 * time.Second

// pace makes a run rest in proportion to its work.
type pace struct {
	ctx    context.Context
	factor time.Duration
	since  time.Time
	steps  int
}

func newPace(ctx context.Context, gentle bool) *pace {
	p := &pace{ctx: ctx, factor: 1, since: time.Now()}
	if gentle {
		p.factor = 19
	}
	return p
}

// rest rests for the work since the last one.
func (p *pace) rest() {
	if p == nil {
		return
	}
	rest(p.ctx, min(p.factor*time.Since(p.since), longestRest))
	p.since = time.Now()
}

// step is a little work, of which many make a rest.
func (p *pace) step() {
	if p == nil {
		return
	}
	if p.steps++; p.steps%page == 0 {
		p.rest()
	}
}

func rest(ctx context.Context, d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// isFirst tells whether the source has never had a run that was done: what it adds then is not held against it.
func (s *Syncer) isFirst(ctx context.Context, feed Feed) (bool, error) {
	runs, err := s.Runner.Store.Runs(ctx, feed.ID, 0)
	for _, r := range runs {
		if r.State == RunDone {
			return false, nil
		}
	}
	return true, storeError(err)
}

// judge gives a plan up that would change too much.
func (p *syncPlan) judge(first bool, allow int) error {
	r := &p.report
	r.Owned = p.owned()
	r.Counted = p.counted(first)
	r.Allowed = max(p.feed.Limit.Of(r.Owned), allow)
	if r.Counted > r.Allowed {
		return authn.Errorf(authn.Unavailable, reasonLimit, "the run would change %d users, and may change %d (%d%% of the %d that "+
			"source %q owns, at least %d): nothing was changed; look at a dry run, and if it is right, run it with --allow %d",
			r.Counted, r.Allowed, p.feed.Limit.Percent, r.Owned, p.feed.ID, p.feed.Limit.Floor, r.Counted)
	}
	if half := max(1, r.Owned/2); r.Deactivated > half && r.Deactivated > allow {
		return authn.Errorf(authn.Unavailable, reasonLimit, "the run would deactivate %d of the %d users that source %q owns, and never "+
			"more than half: nothing was changed; look at a dry run, and if it is right, run it with --allow %d",
			r.Deactivated, r.Owned, p.feed.ID, max(r.Counted, r.Deactivated))
	}
	return nil
}

// apply writes a plan chunk by chunk. Whoever was changed by somebody else meanwhile is left to the next run.
func (s *Syncer) apply(ctx context.Context, run Run, p *syncPlan, tell func(Progress)) (RunReport, error) {
	done, total := 0, len(p.changes)
	for _, chunk := range chunks(p.changes) {
		made, err := s.write(ctx, run, p, chunk)
		if err != nil {
			return p.report, fmt.Errorf("after %d of %d users: %w", done, total, err)
		}
		done += len(chunk)
		tell(Progress{Stage: StageWriting, Done: done, Total: total})
		if err := s.note(ctx, run, made); err != nil {
			return p.report, err
		}
		p.pace.rest()
	}
	return p.report, nil
}

// write writes one chunk, without those who are stale and all whose ids or names depend on them.
func (s *Syncer) write(ctx context.Context, run Run, p *syncPlan, chunk []SyncChange) (made []SyncChange, err error) {
	for len(chunk) > 0 {
		stale, err := s.Store.SyncUsers(ctx, run.ID, chunk)
		if err != nil {
			return nil, storeError(err)
		}
		if len(stale) == 0 {
			return chunk, nil
		}
		chunk = p.without(chunk, stale)
	}
	return nil, nil
}

func (s *Syncer) note(ctx context.Context, run Run, made []SyncChange) error {
	var changes []Change
	for _, c := range made {
		if c.Before.Key != "" && len(differences(c.Before, c.After)) > 0 {
			changes = append(changes, c.Change)
		}
	}
	if s.Changed == nil || len(changes) == 0 {
		return nil
	}
	return s.Changed(context.WithoutCancel(ctx), run, changes)
}

// Differences says what a change changes, for people to read.
func (c Change) Differences() []string { return differences(c.Before, c.After) }
