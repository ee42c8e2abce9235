package authn

import (
	"strconv"
	"testing"
	"time"
)

// The memory of refused passwords is bounded: what is over goes first, and if that is not enough, everything.
func TestRefusedIsBounded(t *testing.T) {
	now := time.Now()
	r := newRefused(func() time.Time { return now })
	r.add("old", "x")
	now = now.Add(refusedFor / 2)
	for i := range refusedMax - 1 {
		r.add("ann", Secret(strconv.Itoa(i)))
	}
	now = now.Add(refusedFor/2 + time.Second)
	r.add("bob", "y")
	if r.seen("old", "x") || !r.seen("ann", "7") || !r.seen("bob", "y") || len(r.till) != refusedMax {
		t.Errorf("only what was over should be gone; %d kept", len(r.till))
	}
	r.add("bob", "z")
	if len(r.till) != 1 || !r.seen("bob", "z") {
		t.Errorf("%d kept, want the last one only", len(r.till))
	}
}
