package main

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/itusers"
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

// Run implements admin.Sources. Who closes the browser does not end it.
func (f feedsOf) Run(ctx context.Context, source string, o itusers.RunOptions) (itusers.Run, error) {
	feeds, err := f.config.feedsNamed([]string{source})
	if err != nil {
		return itusers.Run{}, err
	}
	return f.syncer().Run(context.WithoutCancel(ctx), feeds[0], o)
}

// Cover implements admin.Coverer.
func (f feedsOf) Cover(ctx context.Context, take func(itusers.Gap) error) (itusers.Coverage, error) {
	survey, err := f.survey(f.config.Coverage)
	if err != nil {
		return itusers.Coverage{}, proposalError(err)
	}
	return survey.Run(ctx, func(itusers.Progress) {}, take)
}

// endings are the certificates and secrets of ours that end, as far as we know.
func (w *bridge) endings(context.Context) (list []admin.Ending) {
	files := map[string]TLSConfig{"listen.tls": w.config.Listen.TLS}
	if w.config.Portal != nil {
		files["portal.tls"] = w.config.Portal.TLS
	}
	if w.config.Admin != nil {
		files["admin.tls"] = w.config.Admin.TLS
	}
	for where, f := range files {
		if pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile); f.CertFile != "" && err == nil {
			list = append(list, admin.Ending{What: "certificate", Where: where, At: pair.Leaf.NotAfter})
		}
	}
	for _, p := range w.doctor.Providers {
		for _, e := range ends(p) {
			list = append(list, admin.Ending{What: e.What, Where: p.ID, At: e.At})
		}
	}
	return slices.DeleteFunc(list, func(e admin.Ending) bool { return e.At.Equal(time.Time{}) })
}
