package admin_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
)

// feeds is one source, whose runs are refused by its limit, and a survey that finds one of each.
type feeds struct{}

func (feeds) List() []admin.SourceInfo {
	return []admin.SourceInfo{{ID: "lifetime", Kind: "lifetime", Owns: "users", Interval: time.Hour}}
}

func (feeds) Runs(context.Context, string, int) ([]itusers.Run, error) {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	return []itusers.Run{{ID: "r1", Source: "lifetime", Actor: "schedule", Started: at, Ended: at.Add(time.Minute), State: itusers.RunDone,
		Report: itusers.RunReport{Listed: 4000, Unchanged: 3990, Changed: 8, Added: 2}}}, nil
}

func (feeds) Run(_ context.Context, id string, o itusers.RunOptions) (itusers.Run, error) {
	if o.Allow == 13 {
		return itusers.Run{}, authn.Errorf(authn.Unavailable, "sync_busy", "another run is under way")
	}
	run := itusers.Run{ID: "r2", Source: id, Actor: o.Actor, Dry: o.Dry, Started: time.Now(), Ended: time.Now(), State: itusers.RunRefused, Reason: "sync_limit",
		Report: itusers.RunReport{Counted: 523, Allowed: 400}}
	run.Report.Add(itusers.RunRow{Action: itusers.RowDeactivated, Username: "uwe", What: []string{"active: true → false"}})
	return run, authn.Errorf(authn.Unsuitable, "sync_limit", "too many")
}

func (feeds) Cover(_ context.Context, _ func(itusers.Progress), take func(itusers.Gap) error) (itusers.Coverage, error) {
	for _, g := range []itusers.Gap{{Class: itusers.GapRefused, Provider: "corp", Account: "stranger", Reason: "no_it_user", Text: "no IT user is named so"},
		{Class: itusers.GapNobody, ITUser: "uwe", Reason: "no_account"}, {Class: itusers.GapNoID, ITUser: "ursula", Environments: []string{"quality"}, Reason: "no_id_on_environment"}} {
		if err := take(g); err != nil {
			return itusers.Coverage{}, err
		}
	}
	return itusers.Coverage{Accounts: 10, Fine: 9, Refused: 1, ITUsers: 8, Nobody: 1, NoID: 1}, nil
}

// blockUwe blocks uwe's codes and an address.
func blockUwe(r *rig) {
	r.t.Helper()
	for _, key := range []string{mfa.ThrottleKey(r.user("uwe").Key), "address:192.0.2.0/32"} {
		r.must(r.store.UpdateAttempts(r.t.Context(), key, func(authn.Attempts) (authn.Attempts, error) {
			return authn.Attempts{Failures: 7, LastFailure: r.clock(), BlockedUntil: r.clock().Add(time.Hour)}, nil
		}))
	}
}

// Who has to wait is listed, and an operator ends it; each time it is recorded.
func TestBlocked(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("oscar")
	b.get("/blocked").wants(t, "nobody", http.StatusOK, "Nobody has to wait")
	blockUwe(r)
	b.get("/blocked").wants(t, "two", http.StatusOK, "uwe", "192.0.2.0/32", "Wrong codes", "Forget")
	b.get("/").wants(t, "the overview", http.StatusOK, "have to wait")
	b.post("/blocked/forget", "key", "address:192.0.2.0/32").wants(t, "forgetting", http.StatusSeeOther, "notice=unlocked")
	r.recordedAs("forgetting", "unlocked", "address:192.0.2.0/32")
	b.api("POST", "/blocks/forget", `{"key":"address:192.0.2.0/32"}`).wants(t, "again", http.StatusOK, `"count":0`)
	r.signedIn("vera").post("/blocked/forget", "key", mfa.ThrottleKey(r.user("uwe").Key)).wants(t, "a viewer", http.StatusForbidden)
}

func TestEndings(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("vera")
	b.get("/endings").wants(t, "the radar", http.StatusOK, "portal.tls", "Over", "client secret 1", "In 20 days")
	b.get("/").wants(t, "the overview", http.StatusOK, "Over", "client secret 1")
}

// A source is run, or only looked at; a run that the limit refuses says how many changes there would be.
func TestSources(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.get("/sources").wants(t, "the list", http.StatusOK, "lifetime", "schedule", "8 changed")
	dry := b.post("/sources/run", "id", "lifetime", "dry", "true").wants(t, "a dry run", http.StatusSeeOther, "/jobs?id=")
	r.jobs.Wait()
	b.get(dry.location).wants(t, "what came of it", http.StatusOK, "523", "400", "uwe", "sync_limit")
	b.post("/sources/run", "id", "nothing").wants(t, "no source", http.StatusNotFound)
	b.post("/sources/run", "id", "lifetime", "allow", "13").wants(t, "while another one is under way", http.StatusSeeOther)
	r.jobs.Wait()
	b.get("/sources").wants(t, "the list", http.StatusOK, "Run now")
	b.get("/coverage").wants(t, "before", http.StatusOK, "Look now")
	survey := b.post("/coverage").wants(t, "the survey", http.StatusSeeOther, "/jobs?id=")
	r.jobs.Wait()
	for _, path := range []string{survey.location, "/coverage"} {
		b.get(path).wants(t, "what came of it, "+path, http.StatusOK, "stranger", "no_it_user", "uwe", "quality", "admin:alice")
	}
}
