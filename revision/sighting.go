package revision

import (
	"context"
	"encoding/json"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Sighting is what an environment of the platform sent last as its settings. The platform propagates them to each of its
// environments by itself, so what one of them was not told is only seen by comparing.
type Sighting struct {
	Environment string
	Time        time.Time
	Version     int64             // that its settings made, or found in force
	Settings    map[string]string // by name; holds secrets
}

// SightingRow is a Sighting as it is kept.
type SightingRow struct {
	Environment string
	Time        time.Time
	Version     int64
	Sealed      []byte
}

// SightingStore keeps the last one of each environment.
type SightingStore interface {
	PutSighting(ctx context.Context, row SightingRow) error
	Sightings(ctx context.Context) ([]SightingRow, error)
}

// SightingAD is what a sighting's settings are bound to.
func SightingAD(environment string) []byte { return []byte("platform-settings:" + environment) }

// Sightings is what every environment sent last. It is safe for concurrent use.
type Sightings struct {
	Store  SightingStore
	Sealer Sealer
}

// Put replaces what is known of an environment.
func (s Sightings) Put(ctx context.Context, seen Sighting) error {
	text, err := json.Marshal(seen.Settings)
	if err != nil {
		return err
	}
	sealed, err := s.Sealer.Seal(text, SightingAD(seen.Environment))
	if err != nil {
		return err
	}
	return s.Store.PutSighting(ctx, SightingRow{seen.Environment, seen.Time, seen.Version, sealed})
}

// List returns them in the order of the environments' names.
func (s Sightings) List(ctx context.Context) (list []Sighting, err error) {
	rows, err := s.Store.Sightings(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		seen := Sighting{Environment: row.Environment, Time: row.Time, Version: row.Version}
		text, err := s.Sealer.Open(row.Sealed, SightingAD(row.Environment))
		if err == nil {
			err = json.Unmarshal(text, &seen.Settings)
		}
		if err != nil {
			return nil, authn.Errorf(authn.Internal, "revision_sealed", "settings of %s: %w", row.Environment, err)
		}
		list = append(list, seen)
	}
	return list, nil
}
