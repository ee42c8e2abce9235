package admin_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
)

// hooks are two endpoints, of which one takes nothing, and messages in each state.
type hooks struct {
	*rig
	resent []string
}

func (h *hooks) Endpoints() []admin.EndpointInfo {
	return []admin.EndpointInfo{{ID: "soc", Host: "soc.example.com"},
		{ID: "siem", Host: "siem.example.com:8088", Events: []string{"user.locked", "expiring"}}}
}

func (h *hooks) Deliveries(context.Context, int) ([]admin.Delivery, error) {
	now := h.clock()
	next := now.Add(4 * time.Minute)
	return []admin.Delivery{
		{ID: "user.locked-2", Endpoint: "siem", Event: "user.locked", Created: now, State: "waiting", Attempts: 2, Next: &next, Error: "answered 503"},
		{ID: "expiring-7", Endpoint: "soc", Event: "expiring", Created: now.Add(-time.Hour), State: "sent"},
		{ID: "user.locked-1", Endpoint: "siem", Event: "user.locked", Created: now.Add(-30 * time.Hour), State: "dead", Attempts: 18, Error: "answered 401"},
		{ID: "user.locked-0", Endpoint: "siem", Event: "user.locked", Created: now.Add(-31 * time.Hour), State: "dead", Attempts: 18, Error: "connection refused"},
	}, nil
}

func (h *hooks) Send(_ context.Context, endpoint string, of audit.Record) error {
	switch {
	case of.Actor == "" || of.ID == "":
		return errors.New("who asks?")
	case endpoint == "siem":
		return errors.New("answered 401 Unauthorized")
	}
	return nil
}

func (h *hooks) Resend(_ context.Context, id string) (int, error) {
	h.resent = append(h.resent, id)
	if id == "user.locked-2" { // it waits already
		return 0, nil
	}
	return 1, nil
}

// Everybody sees who is told and what became of it; operators send tests, and again what was given up; each is recorded.
func TestWebhooks(t *testing.T) {
	h := &hooks{}
	r := newRig(t, func(c *admin.Config) { c.Webhooks = h })
	h.rig = r
	vera := r.signedIn("vera")
	page := vera.get("/webhooks").wants(t, "a viewer", http.StatusOK, "soc.example.com", "user.locked", "All", "Given up", "answered 401", "Taken", "Waiting")
	if strings.Contains(page.body, `action="/webhooks/`) {
		t.Error("a viewer is offered what they may not do")
	}
	for _, path := range []string{"/webhooks/test", "/webhooks/resend"} {
		vera.post(path, "id", "soc").wants(t, path+" by a viewer", http.StatusForbidden)
	}
	b := r.signedIn("oscar")
	b.get("/webhooks").wants(t, "an operator", http.StatusOK, "Send a test", "Send again", "Send all again")
	b.post("/webhooks/test", "id", "soc").wants(t, "a test", http.StatusSeeOther, "notice=taken")
	r.recordedAs("a test", audit.WebhookTested, "soc")
	b.post("/webhooks/test", "id", "siem").wants(t, "one that is not taken", http.StatusOK, "siem did not take the test: answered 401 Unauthorized")
	if list := r.recorded(); len(list) != 1 || list[0].Reason != "webhook_not_taken" || list[0].Kind != "unavailable" {
		t.Errorf("recorded %+v", list)
	}
	b.post("/webhooks/test", "id", "nobody").wants(t, "no endpoint", http.StatusNotFound)
	b.post("/webhooks/resend", "id", "user.locked-1").wants(t, "one again", http.StatusSeeOther, "notice=resent")
	r.recordedAs("one again", audit.WebhookResent, "user.locked-1")
	b.post("/webhooks/resend", "id", "").wants(t, "all again", http.StatusSeeOther)
	r.recorded()
	b.api("POST", "/webhooks/resend", `{"id":"user.locked-2"}`).wants(t, "one that waits", http.StatusOK, `"count":0`)
	if len(r.recorded()) > 0 || !slices.Equal(h.resent, []string{"user.locked-1", "", "user.locked-2"}) {
		t.Errorf("resent %q", h.resent)
	}
	b.api("POST", "/webhooks/siem/test", `{}`).wants(t, "the API", http.StatusOK, `"taken":false`, "answered 401")
	r.later(10 * time.Minute)
	b.api("POST", "/webhooks/soc/test", `{}`).problem(t, "without a fresh factor", http.StatusForbidden, "step_up_required")
}
