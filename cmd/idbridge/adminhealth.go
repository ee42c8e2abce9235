package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/webhook"
)

// feedsOf are the sources of IT users as the administrators' door runs them.
type feedsOf struct{ *backend }

// List implements admin.Sources.
func (f feedsOf) List() (list []admin.SourceInfo) {
	for _, s := range f.config.Sources {
		list = append(list, admin.SourceInfo{ID: s.ID, Kind: s.Type, Owns: s.Owns, Interval: s.Interval})
	}
	return list
}

// Runs implements admin.Sources.
func (f feedsOf) Runs(ctx context.Context, source string, limit int) ([]itusers.Run, error) {
	return f.store.Runs(ctx, source, limit)
}

// Run implements admin.Sources.
func (f feedsOf) Run(ctx context.Context, source string, o itusers.RunOptions) (itusers.Run, error) {
	feeds, err := f.config.feedsNamed([]string{source})
	if err != nil {
		return itusers.Run{}, err
	}
	return f.syncer().Run(ctx, feeds[0], o)
}

// Cover implements admin.Coverer.
func (f feedsOf) Cover(ctx context.Context, tell func(itusers.Progress), take func(itusers.Gap) error) (itusers.Coverage, error) {
	survey, err := f.survey(f.config.Coverage)
	if err != nil {
		return itusers.Coverage{}, proposalError(err)
	}
	return survey.Run(ctx, tell, take)
}

// hooksOf are the webhooks as the administrators' door sees them.
type hooksOf struct{ *backend }

// Endpoints implements admin.Webhooks.
func (h hooksOf) Endpoints() (list []admin.EndpointInfo) {
	for _, w := range h.config.Webhooks {
		one := admin.EndpointInfo{ID: w.ID, Events: w.Events}
		if u, err := url.Parse(w.URL); err == nil {
			one.Host = u.Host
		}
		list = append(list, one)
	}
	return list
}

// Deliveries implements admin.Webhooks.
func (h hooksOf) Deliveries(ctx context.Context, limit int) (list []admin.Delivery, err error) {
	messages, err := h.store.WebhookMessages(ctx, "", limit)
	for _, m := range messages {
		one := admin.Delivery{ID: m.ID, Endpoint: m.Endpoint, Event: m.Event, Created: m.Created, State: string(m.State),
			Attempts: m.Attempts, Error: m.Trouble}
		if m.State == webhook.Waiting {
			one.Next = &m.Due
		}
		list = append(list, one)
	}
	return list, err
}

// Send implements admin.Webhooks.
func (h hooksOf) Send(ctx context.Context, endpoint string, of audit.Record) error {
	for _, e := range h.config.endpoints() {
		if e.ID == endpoint {
			return e.Send(ctx, webhook.TestMessage(e, of), time.Now())
		}
	}
	return fmt.Errorf("there is no webhook %q whose files can be read", endpoint)
}

// Resend implements admin.Webhooks.
func (h hooksOf) Resend(ctx context.Context, id string) (int, error) {
	n, err := h.store.ResendMessages(ctx, id, time.Now())
	return int(n), err
}

// endings are those of the configuration in force, for the administrators' door.
func (w *bridge) endings(ctx context.Context) []admin.Ending {
	return w.backend.endings(ctx, w.doctor.Providers)
}
