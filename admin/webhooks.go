package admin

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// Webhooks are those who are told of security events, and the messages to them.
type Webhooks interface {
	// Endpoints are all of them, in the order of the configuration.
	Endpoints() []EndpointInfo
	// Deliveries are the newest messages, in whatever state.
	Deliveries(ctx context.Context, limit int) ([]Delivery, error)
	// Send sends an endpoint one message of the event test, now; the error says why it was not taken.
	Send(ctx context.Context, endpoint string, of audit.Record) error
	// Resend lets messages that were given up wait again: that of an id, or all of them; and tells how many.
	Resend(ctx context.Context, id string) (int, error)
}

// EndpointInfo is somebody who is told, as it is configured.
type EndpointInfo struct {
	ID     string   `json:"id"`
	Host   string   `json:"host" doc:"of its address, whose rest may be a secret"`
	Events []string `json:"events" doc:"empty: all"`
}

// Delivery is a message to one endpoint.
type Delivery struct {
	ID       string     `json:"id"`
	Endpoint string     `json:"endpoint"`
	Event    string     `json:"event"`
	Created  time.Time  `json:"created"`
	State    string     `json:"state" enum:"waiting,sent,dead" doc:"sent: kept for a day; dead: given up, kept for thirty"`
	Attempts int        `json:"attempts" doc:"that failed"`
	Next     *time.Time `json:"next" doc:"when it is sent again"`
	Error    string     `json:"error" doc:"of the last attempt"`
}

// WebhookList is all endpoints, and the newest messages to them.
type WebhookList struct {
	Endpoints  []EndpointInfo `json:"endpoints"`
	Deliveries []Delivery     `json:"deliveries" doc:"the newest first; at most 200"`
}

// WebhookTest is what an endpoint said to a test.
type WebhookTest struct {
	Taken bool   `json:"taken"`
	Error string `json:"error" doc:"why it was not"`
}

// Resend names a message that was given up.
type Resend struct {
	ID string `json:"id" doc:"of the message; empty: all that were given up"`
}

func (c *call) webhooks(struct{}) (WebhookList, error) {
	out := WebhookList{Endpoints: []EndpointInfo{}}
	for _, e := range c.Webhooks.Endpoints() {
		e.Events = append([]string{}, e.Events...)
		out.Endpoints = append(out.Endpoints, e)
	}
	list, err := c.Webhooks.Deliveries(c.ctx(), maxPage)
	out.Deliveries = append([]Delivery{}, list...)
	return out, unavailable(err)
}

// testWebhook sends a test. That it was not taken is the answer, and no error.
func (c *call) testWebhook(id string) (WebhookTest, error) {
	if !slices.ContainsFunc(c.Webhooks.Endpoints(), func(e EndpointInfo) bool { return e.ID == id }) {
		return WebhookTest{}, errNoSuchThing
	}
	record := c.signed(audit.Record{Action: audit.WebhookTested, Detail: id})
	out := WebhookTest{Taken: true}
	if err := c.Webhooks.Send(c.ctx(), id, record); err != nil {
		out = WebhookTest{false, err.Error()}
		record.Kind, record.Reason = authn.Unavailable.String(), "webhook_not_taken"
	}
	return out, c.note(record)
}

func (c *call) resend(id string) (Count, error) {
	n, err := c.Webhooks.Resend(c.ctx(), id)
	if err != nil || n == 0 {
		return Count{n}, unavailable(err)
	}
	return Count{n}, c.note(audit.Record{Action: audit.WebhookResent, Detail: id})
}

func webhookOperations() []operation {
	return []operation{
		op("GET", "/webhooks", "listWebhooks", Viewer, "List who is told of security events, and the newest messages", (*call).webhooks),
		op("POST", "/webhooks/{id}/test", "testWebhook", Operator, "Send an endpoint a test, now",
			func(c *call, _ struct{}) (WebhookTest, error) { return c.testWebhook(c.r.PathValue("id")) }).
			with(func(o *operation) { o.slow = true }),
		op("POST", "/webhooks/resend", "resendWebhooks", Operator, "Send again what was given up",
			func(c *call, in Resend) (Count, error) { return c.resend(in.ID) }),
	}
}

func webhookPages() []page {
	return []page{
		{method: "GET", path: "/webhooks", role: Viewer, act: func(c *call) error { return c.showWebhooks("") }},
		{method: "POST", path: "/webhooks/test", role: Operator, title: "admin.resume.webhook", act: (*call).testWebhookNow},
		{method: "POST", path: "/webhooks/resend", role: Operator, title: "admin.webhooks.resend", act: func(c *call) error {
			if _, err := c.resend(c.r.PostForm.Get("id")); err != nil {
				return err
			}
			c.v.GoTo("/webhooks", "notice", "resent")
			return nil
		}},
	}
}

type webhooksView struct {
	shell
	WebhookList
	Editable bool
	Dead     int // of those that are shown
}

func (c *call) showWebhooks(problem string) error {
	list, err := c.webhooks(struct{}{})
	if err != nil {
		return err
	}
	view := webhooksView{shell: c.shell("/webhooks"), WebhookList: list, Editable: c.role >= Operator}
	view.Problem = problem
	for _, d := range list.Deliveries {
		if d.State == "dead" {
			view.Dead++
		}
	}
	return c.show(http.StatusOK, "webhooks", view)
}

func (c *call) testWebhookNow() error {
	c.slow()
	answer, err := c.testWebhook(c.r.PostForm.Get("id"))
	if err != nil {
		return err
	}
	if !answer.Taken {
		return c.showWebhooks(c.v.Text("admin.webhooks.nottaken", c.r.PostForm.Get("id"), answer.Error))
	}
	c.v.GoTo("/webhooks", "notice", "taken")
	return nil
}
