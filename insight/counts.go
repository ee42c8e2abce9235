package insight

import (
	"context"
	"time"
)

// CountQuery asks for counts; empty texts stand for all.
type CountQuery struct {
	Width       time.Duration // one of Widths
	From, Until time.Time
	SignIns     bool // only decided sign-ins
	Environment string
	Provider    string
}

// Count is how many records of a kind began in one span and took about as long.
type Count struct {
	At     time.Time // where the span begins
	Kind   string
	Bucket int
	N      int64
}

// Counter reads what the follower has counted.
type Counter interface {
	// AuditCounts returns counts in the order of time.
	AuditCounts(ctx context.Context, q CountQuery) ([]Count, error)
}
