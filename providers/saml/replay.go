package saml

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Replays remembers the assertions that were accepted, for all nodes and over restarts.
type Replays interface {
	// Seen tells whether this is the first time that an id of a provider is shown, and remembers it until a time. On an
	// error the caller refuses: it may or may not have been the first.
	Seen(ctx context.Context, provider, id string, until time.Time) (first bool, err error)
}

// claim uses an assertion up. It comes after every other check, so that nobody can use up what is not theirs, and before
// anything is made of the assertion.
func (e expectation) claim(ctx context.Context, v verified) error {
	first, err := e.Replays.Seen(ctx, e.Provider, v.AssertionID, v.Expires)
	switch {
	case err != nil:
		return authn.Errorf(authn.Unavailable, "replay_store", "whether the assertion was shown before is not known: %w", err)
	case !first:
		return refuse("replayed", "this assertion was accepted before")
	}
	return nil
}
