package admin

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Keeper keeps what administrators have begun and not ended yet, for all nodes: any of them can go on with it. There are
// secrets in it, so whoever implements it seals it.
type Keeper interface {
	// Keep keeps a text under a kind and an id, in the place of one that is there, until it expires; of a kind at most so many.
	Keep(ctx context.Context, kind, id string, text []byte, expires time.Time, most int) error
	// Kept returns a text; found is false when there is none.
	Kept(ctx context.Context, kind, id string) (text []byte, found bool, err error)
	// Drop forgets a text, and tells whether this call did it: of racing nodes one does.
	Drop(ctx context.Context, kind, id string) (dropped bool, err error)
}

// The kinds of what is kept, and how many of each there may be; the oldest go first.
const (
	keptDraft   = "draft"  // a proposal that somebody looks at
	keptForm    = "form"   // what was sent by somebody who has to sign in first
	keptUpload  = "upload" // a file of which somebody has seen a preview
	keptJob     = "job"
	keptLastJob = "last job" // of what: a Job.ID
)

var mostKept = map[string]int{keptDraft: 64, keptForm: 64, keptUpload: 4, keptJob: 200, keptLastJob: 200}

// draft is a proposal that somebody looks at.
type draft struct {
	ID       string
	Owner    string // itusers.User.Key
	Proposal Proposal
	Until    time.Time
}

// put keeps a value.
func (a *Admin) put(ctx context.Context, kind, id string, value any, until time.Time) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("admin: keeping a %s: %w", kind, err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(text) // a Buffer takes all
	_ = w.Close()
	return unavailable(a.Keeper.Keep(ctx, kind, id, packed.Bytes(), until, mostKept[kind]))
}

// kept reads a value; found is false when there is none.
func (a *Admin) kept(ctx context.Context, kind, id string, into any) (found bool, err error) {
	packed, found, err := a.Keeper.Kept(ctx, kind, id)
	if err != nil || !found {
		return false, unavailable(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		err = json.NewDecoder(r).Decode(into)
	}
	if err != nil {
		return false, fmt.Errorf("admin: a %s that was kept cannot be read: %w", kind, err)
	}
	return true, nil
}

// takeUpload hands a file out to who sent it, once.
func (c *call) takeUpload(id string) (one upload, err error) {
	found, err := c.kept(c.ctx(), keptUpload, id, &one)
	if err != nil {
		return one, err
	}
	if !found || one.Owner != c.me().Key || !c.now().Before(one.Until) {
		return one, errNoSuchThing
	}
	taken, err := c.Keeper.Drop(c.ctx(), keptUpload, id)
	if err == nil && !taken {
		err = errNoSuchThing
	}
	return one, unavailable(err)
}
