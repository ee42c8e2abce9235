package itusers

import (
	"context"
	"math/rand/v2"
	"time"
)

// busyWait is how long a run waits for another one, or for the store.
const busyWait = time.Minute

// Keep calls do whenever a run of a source is due, until ctx is done. Due is a run that begins every so long after the last
// one began on whichever node, and up to a tenth later, so that neither sources nor nodes go off together.
func (r *Runner) Keep(ctx context.Context, source string, every time.Duration, do func(context.Context) error) {
	for ctx.Err() == nil {
		due, err := r.wait(ctx, source, every)
		if err == nil && due <= 0 {
			_ = do(ctx) // kept with the run; where it could not even begin, the next look is soon
		}
		if err != nil || due <= 0 {
			due = busyWait
		}
		rest(ctx, due+rand.N(min(every, due)/10+1))
	}
}

// wait is how long it is until the next run of a source is due.
func (r *Runner) wait(ctx context.Context, source string, every time.Duration) (time.Duration, error) {
	runs, err := r.Store.Runs(ctx, source, 1)
	if err != nil || len(runs) == 0 {
		return 0, err
	}
	return runs[0].Started.Add(every).Sub(r.Now()), nil
}
