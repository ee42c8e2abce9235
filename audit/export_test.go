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

// Waits tells whether a transaction of so many records waits for another one, when the one before had last.
func Waits(records, last int) bool {
	l := &Log{jobs: make(chan *entry), last: last}
	late, ended := make(chan time.Time), make(chan struct{})
	go func() { l.next(records, late); close(ended) }()
	select {
	case late <- time.Time{}:
		<-ended
		return true
	case <-ended:
		return false
	}
}
