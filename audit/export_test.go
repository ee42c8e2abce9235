package audit

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
