package insight

import (
	"context"
	"log/slog"
	"time"
)

// Progress is where the index is.
type Progress struct {
	Records int   // that this step has put into the index
	Place   int64 // number of the last record in the index
	Behind  int64 // how many there are behind it
}

// Index is filled by a Follower.
type Index interface {
	// IndexAudit puts up to limit records behind the place into the index and moves the place, in one transaction. Two nodes
	// that do so at once do it one after the other.
	IndexAudit(ctx context.Context, limit int) (Progress, error)
	// PurgeCounts forgets the counts of spans of that width that began before a time.
	PurgeCounts(ctx context.Context, width time.Duration, before time.Time) error
}

// Leases let one node at a time do some work. A lease saves work; it decides nothing that must be right.
type Leases interface {
	// Lease takes or prolongs a lease until a time, and tells whether the holder has it.
	Lease(ctx context.Context, name, holder string, now, until time.Time) (bool, error)
}

// Follower follows the audit and keeps the index. It never hurries: a search looks through what is not indexed yet.
type Follower struct {
	Index  Index
	Leases Leases
	Holder string // this node
	Log    *slog.Logger
	Now    func() time.Time
	Moved  func(Progress) // may be nil

	until  time.Time // the lease is ours
	behind int64     // after the step before
	purged time.Time
}

const (
	leaseName = "insight"
	leaseTime = 15 * time.Second
	// batch is small enough for a sign-in not to notice that it waits behind it in the database's queue of writers.
	batch     = 100
	restTime  = time.Second
	troubled  = 10 * time.Second
	purgeTime = time.Hour
)

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	for wait := time.Duration(0); sleep(ctx, wait); {
		wait = f.step(ctx)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// step does one batch, and says how long to rest.
func (f *Follower) step(ctx context.Context) time.Duration {
	now := f.Now()
	mine, err := f.lease(ctx, now)
	if mine {
		var p Progress
		if p, err = f.Index.IndexAudit(ctx, batch); err == nil {
			return f.rest(ctx, p, f.Now().Sub(now))
		}
	}
	if err != nil && ctx.Err() == nil {
		f.Log.Warn("insight: the audit cannot be followed now; searches look at the newest records only", "error", err)
		return troubled
	}
	return restTime
}

// lease prolongs the lease when a third of it is over.
func (f *Follower) lease(ctx context.Context, now time.Time) (mine bool, err error) {
	if now.Before(f.until.Add(-leaseTime * 2 / 3)) {
		return true, nil
	}
	until := now.Add(leaseTime)
	if mine, err = f.Leases.Lease(ctx, leaseName, f.Holder, now, until); !mine || err != nil {
		f.until = time.Time{}
		return false, err
	}
	f.until = until
	return true, nil
}

// rest is how long to leave the database to others: while sign-ins come in, 49 times as long as the batch took, which writes
// more pages than the sign-ins did. By estimate 500 sign-ins a second are followed at that pace; of more than that the rest is caught
// up with when fewer come.
func (f *Follower) rest(ctx context.Context, p Progress, took time.Duration) time.Duration {
	busy := p.Behind > f.behind-int64(p.Records) && f.behind > 0
	f.behind = p.Behind
	if f.Moved != nil {
		f.Moved(p)
	}
	switch {
	case p.Behind == 0:
		f.purge(ctx)
		return restTime
	case busy:
		return 49 * took
	}
	return took / 2
}

// purge forgets old counts, now and then.
func (f *Follower) purge(ctx context.Context) {
	now := f.Now()
	if now.Sub(f.purged) < purgeTime {
		return
	}
	f.purged = now
	for i, width := range Widths {
		if err := f.Index.PurgeCounts(ctx, width, now.Add(-keepCounts[i])); err != nil {
			f.Log.Warn("insight: old counts cannot be removed", "error", err)
		}
	}
}
