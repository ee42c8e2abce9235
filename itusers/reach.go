package itusers

import "context"

// Reach is how many active IT users a provider can sign in.
type Reach struct {
	Users    int // are linked at it
	Enrolled int // ... and have a second factor
}

// Nowhere is, in place of a provider's id, where those IT users are counted that are linked at no provider yet.
const Nowhere = ""

// Reacher counts.
type Reacher interface {
	// Reach is the reach of every provider that somebody active is linked at, by id, and of Nowhere.
	Reach(ctx context.Context) (map[string]Reach, error)
}
