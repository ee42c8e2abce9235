package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/store"
)

// searcher answers questions about the audit.
func (b *backend) searcher() insight.Searcher { return insight.Searcher{Finder: b.store} }

// blocks are who has to wait after failed attempts.
func (b *backend) blocks() insight.Blocks {
	var ids []string
	for _, p := range b.config.Providers {
		ids = append(ids, p.ID)
	}
	return insight.Blocks{BlockStore: b.store, Throttle: b.throttle, Providers: ids, Audit: b.audit.Event, Now: time.Now}
}

// nodeName is this process among those on one store.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), newID()[:6])
}

// followAudit keeps the index that searches and charts look into.
func (w *bridge) followAudit(ctx context.Context) {
	behind := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "idbridge_audit_index_behind", Help: "Records of the audit that wait for the index; searches look at the newest of them only.",
	})
	w.metrics.registry.MustRegister(behind)
	(&insight.Follower{
		Index: w.store, Leases: w.store, Holder: nodeName(), Log: w.log, Now: time.Now,
		Moved: func(p insight.Progress) { behind.Set(float64(p.Behind)) },
	}).Run(ctx)
}

// samlMessageLog lets a sign-in be explained with the message that decided it.
type samlMessageLog struct{ *store.Store }

// SAMLMessagesBetween implements insight.Messages.
func (l samlMessageLog) SAMLMessagesBetween(
	ctx context.Context, provider string, from, until time.Time,
) (list []insight.Message, err error) {
	all, err := l.SAMLMessagesIn(ctx, provider, from, until)
	for _, m := range all {
		list = append(list, insight.Message{At: m.At, Type: m.Type, Message: m.Message, Answers: m.InResponseTo,
			Reason: m.Reason, Direction: m.Direction})
	}
	return slices.Clip(list), err
}
