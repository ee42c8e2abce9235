package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/itusers"
)

// slowFeeds are a source and a survey that say how far they are, and end when they are told to.
type slowFeeds struct {
	feeds
	begun, end chan struct{}
}

func (f slowFeeds) Run(ctx context.Context, id string, o itusers.RunOptions) (itusers.Run, error) {
	o.Progress(itusers.Progress{Stage: "reading users", Done: 17, Total: 40})
	f.begun <- struct{}{}
	<-f.end
	return f.feeds.Run(ctx, id, o)
}

func (f slowFeeds) Cover(context.Context, func(itusers.Progress), func(itusers.Gap) error) (itusers.Coverage, error) {
	panic("a bug")
}

func (b *browser) job(path string) (j admin.Job) {
	b.t.Helper()
	b.must(json.Unmarshal([]byte(b.api("GET", path, "").wants(b.t, path, http.StatusOK).body), &j))
	return j
}

// A run goes on after its request has ended, tells every node how far it is, is the only one of its source, and is told of when
// it is over.
func TestJobs(t *testing.T) {
	slow := slowFeeds{begun: make(chan struct{}), end: make(chan struct{})}
	r := newRig(t, func(c *admin.Config) { c.Sources, c.Coverage = slow, slow })
	vera, b := r.signedIn("vera"), r.signedIn("alice")
	begun := b.api("POST", "/sources/lifetime/runs", `{"dry_run":true}`).wants(t, "begun", http.StatusAccepted, `"state":"running"`)
	path := strings.TrimPrefix(begun.header.Get("Location"), "/api/v1")
	<-slow.begun
	b.api("POST", "/sources/lifetime/runs", `{"dry_run":false}`).problem(t, "a second one", http.StatusConflict, "job_under_way")
	page := "/jobs?id=" + strings.TrimPrefix(path, "/jobs/")
	b.post("/sources/run", "id", "lifetime", "dry", "false").wants(t, "a second one by a page", http.StatusSeeOther, page)
	b.get("/sources").wants(t, "the sources", http.StatusOK, page, "It is under way")

	other, err := admin.New(r.config) // another node
	r.must(err)
	r.door = other
	wait(t, "it tells how far it is", func() bool { return b.job(path).Done == 17 })
	vera.get(page).wants(t, "its page", http.StatusOK, `http-equiv="refresh"`, "reading users", "17 / 40", `<progress max="40" value="17"`)
	if j := b.job(path); j.State != "running" || j.Kind != "source" || j.Source != "lifetime" || j.Actor != "admin:alice" || j.Total != 40 {
		t.Errorf("%+v", j)
	}
	close(slow.end)
	r.jobs.Wait()
	if j := b.job(path); j.State != "done" || j.Ended == nil || j.Run == nil || j.Run.Counted != 523 {
		t.Errorf("%+v", j)
	}
	if p := vera.get(page).wants(t, "what came of it", http.StatusOK, "523", "sync_limit"); strings.Contains(p.body, "refresh") {
		t.Error("the page of a job that is over asks again")
	}
	vera.get("/jobs?id=another").wants(t, "no job", http.StatusNotFound)

	failed := b.api("POST", "/coverage", `{}`).wants(t, "one with a bug", http.StatusAccepted)
	r.jobs.Wait()
	path = strings.TrimPrefix(failed.header.Get("Location"), "/api/v1")
	if j := b.job(path); j.State != "failed" || j.Reason != "internal" || strings.Contains(j.Error, "a bug") {
		t.Errorf("%+v", j)
	}
	vera.get("/jobs?id="+strings.TrimPrefix(path, "/jobs/")).wants(t, "its page", http.StatusOK, "It failed", "internal")
	vera.get("/coverage").wants(t, "the survey", http.StatusOK, "It failed", "Look now")
}

// A job whose node is gone does not run for ever, and the next one may begin.
func TestJobOfALostNode(t *testing.T) {
	r := newRig(t, func(c *admin.Config) { c.Background = func(func(context.Context)) {} })
	b := r.signedIn("vera")
	begun := b.api("POST", "/coverage", `{}`).wants(t, "begun", http.StatusAccepted)
	path := strings.TrimPrefix(begun.header.Get("Location"), "/api/v1")
	b.api("POST", "/coverage", `{}`).problem(t, "at once", http.StatusConflict, "job_under_way")
	r.later(2*time.Minute + time.Second)
	if j := b.job(path); j.State != "failed" || j.Reason != "job_interrupted" {
		t.Errorf("%+v", j)
	}
	b.api("POST", "/coverage", `{}`).wants(t, "later", http.StatusAccepted)
}

// What was begun at one node is ended at another: a proposal, and a file; by who began it, and the file once.
func TestAnotherNodeGoesOn(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	draft := b.post("/providers/restore", "base", "2", "number", "1").wants(t, "a proposal", http.StatusSeeOther, "draft=")
	var file admin.Import
	r.must(json.Unmarshal([]byte(b.send("POST", "/api/v1/imports", "text/csv", strings.NewReader("username\nnew\n")).body), &file))
	var err error
	r.door, err = admin.New(r.config)
	r.must(err)
	gail := r.signedIn("glass-gail")
	gail.get(draft.location).wants(t, "somebody else's proposal", http.StatusConflict, "too old")
	gail.api("POST", "/imports/"+file.ID+"/confirm", `{}`).problem(t, "somebody else's file", http.StatusNotFound, "not_found")
	b.get(draft.location).wants(t, "the proposal at another node", http.StatusOK, "Back to version 1")
	b.api("POST", "/imports/"+file.ID+"/confirm", `{}`).wants(t, "the file at another node", http.StatusOK, `"added":1`)
	b.api("POST", "/imports/"+file.ID+"/confirm", `{}`).problem(t, "the file again", http.StatusNotFound, "not_found")
	r.later(15 * time.Minute)
	r.signedIn("alice").get(draft.location).wants(t, "a quarter of an hour later", http.StatusConflict, "too old")
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
