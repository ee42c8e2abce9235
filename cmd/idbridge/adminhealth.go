package main

import (
	"context"

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

// endings are those of the configuration in force, for the administrators' door.
func (w *bridge) endings(ctx context.Context) []admin.Ending {
	return w.backend.endings(ctx, w.doctor.Providers)
}
