package authn_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

// TestDoctorInspects: in the order of the providers, with Check where there is no more, and a bug is a finding.
func TestDoctorInspects(t *testing.T) {
	check := func(context.Context) error { return errors.New("down") }
	seen := []authn.Finding{{Check: "server one", Seen: "answers"}, {Check: "users", Problem: "none"}}
	d := authn.Doctor{Providers: []authn.Provider{
		{ID: "plain", Check: check},
		{ID: "deep", Check: check, Inspect: func(_ context.Context, say func(string)) []authn.Finding { say("counting"); return seen }},
		{ID: "broken", Inspect: func(context.Context, func(string)) []authn.Finding { panic("bug") }},
	}}
	var said []string
	got := d.Inspect(t.Context(), func(provider, text string) { said = append(said, provider+": "+text) })
	if len(got) != 3 || !slices.Equal(got[0], []authn.Finding{{Check: "provider plain", Problem: "down"}}) || !slices.Equal(got[1], seen) {
		t.Errorf("%+v", got)
	}
	if len(got[2]) != 1 || got[2][0].OK() || !got[2][0].Blocking {
		t.Errorf("the bug: %+v", got[2])
	}
	if !slices.Equal(said, []string{"deep: counting"}) {
		t.Errorf("said %q", said)
	}
}
