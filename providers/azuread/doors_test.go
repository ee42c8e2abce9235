package azuread

import (
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Who comes back to another door has proven anew who they are, by Entra's own word: what is asked for in the browser could be
// taken off there.
func TestAnotherDoor(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	ask := authn.Ask{State: "s", Door: "admin", Anew: true}
	for name, c := range map[string]struct {
		proven any // auth_time
		kind   authn.Kind
		reason string
	}{
		"now":                 {b.time().Unix(), authn.OK, ""},
		"by a clock behind":   {b.time().Unix() - 59, authn.OK, ""},
		"before":              {b.time().Add(-time.Hour).Unix(), authn.Untrusted, "authn_too_old"},
		"nobody knows when":   {nil, authn.Unavailable, reasonConfig},
		"nobody knows when, ": {0, authn.Unavailable, reasonConfig},
	} {
		b.claims(map[string]any{"auth_time": c.proven})
		j := b.journeyFor(t, p, b.ann, ask)
		if got := j.asked; got.Get("prompt") != "login" || got.Get("max_age") != "0" || got.Get("redirect_uri") != adminURL+"/oidc/cloud/callback" {
			t.Errorf("%s: asked with %v", name, got)
		}
		_, err := p.Finish(t.Context(), j.pending, j.reply)
		if authn.KindOf(err) != c.kind || err != nil && authn.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.claims(map[string]any{"auth_time": b.time().Add(-time.Hour).Unix()})
	if asked := b.journey(t, p, b.ann).asked; asked.Has("prompt") || asked.Has("max_age") || asked.Get("redirect_uri") != callback {
		t.Errorf("the portal asks with %v", asked)
	}
	b.good(t, p, b.ann)
	_, err := p.Begin(t.Context(), authn.Ask{State: "s", Door: "elsewhere"})
	wantError(t, err, authn.Unavailable, "no_public_url")
}
