package audit

import "time"

// Waiting is how many records wait for a transaction.
func (l *Log) Waiting() int { return len(l.jobs) }

// Closing tells whether Close was called.
func (l *Log) Closing() bool {
	select {
	case <-l.quit:
		return true
	default:
		return false
	}
}

// GatherFor sets how long the records of the last transaction's callers are waited for, before the first record comes.
func (l *Log) GatherFor(d time.Duration) { l.gather = d }
