package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/itusers/lifetime"
	"github.com/idbridge/idbridge/itusers/platformdb"
)

// SourceConfig is where IT users or their ids come from. The further keys depend on its type.
type SourceConfig struct {
	ID           string        `yaml:"id" required:"true" doc:"never change it: the source owns users under it"`
	Type         string        `yaml:"type" required:"true" doc:"what kind of source it is"`
	Owns         string        `yaml:"owns" required:"true" enum:"nothing,ids,users" doc:"nothing: it adds and changes; ids: only the ids of users known here; users: who is missing from it is deactivated"`
	Interval     time.Duration `yaml:"interval" default:"1h" doc:"how often serve reads it; 0: only idbridge users sync does"`
	LimitPercent int           `yaml:"limit_percent" default:"10" doc:"a run that would change more of the users it owns changes nothing"`
	LimitFloor   int           `yaml:"limit_floor" default:"5" doc:"so many changes are always allowed"`
	Protected    []string      `yaml:"protected" doc:"user names that this source never changes"`
	Settings     any           `variants:"source" by:"type"`
}

// FileSourceConfig is a source that is a file.
type FileSourceConfig struct {
	UsersFile   string `yaml:"users_file" required:"true" doc:"as for idbridge users import, in csv or json by its name; read anew each time"`
	Environment string `yaml:"environment" doc:"whose ids are in a column id"`
}

// sourceKind is a type of source: its settings in the configuration file, and what makes one of them, with the names of all
// environments. Constructors dial nothing.
type sourceKind struct {
	settings any // the zero value
	make     func(id string, settings any, environments []string) (itusers.Source, error)
}

// sources is the table of types of sources.
func sources() map[string]sourceKind {
	return map[string]sourceKind{
		"lifetime": source(func(_ string, c lifetime.Config, _ []string) (itusers.Source, error) {
			client, err := lifetime.New(c)
			return lifetime.Source{Client: client}, err
		}),
		"platformdb": source(func(_ string, c platformdb.Config, environments []string) (itusers.Source, error) {
			return platformdb.New(c, environments)
		}),
		"file": source(func(_ string, c FileSourceConfig, environments []string) (itusers.Source, error) {
			if c.Environment != "" && !slices.Contains(environments, c.Environment) {
				return nil, unknownEnvironment(c.Environment, environments)
			}
			format := itusers.Format(strings.TrimPrefix(strings.ToLower(filepath.Ext(c.UsersFile)), "."))
			if format != itusers.CSV && format != itusers.JSON {
				return nil, fmt.Errorf("users_file: the name of %s ends in neither .csv nor .json", c.UsersFile)
			}
			return itusers.File{Path: c.UsersFile, Format: format, Environment: c.Environment, Environments: environments}, nil
		}),
	}
}

func unknownEnvironment(name string, known []string) error {
	return fmt.Errorf("environment: %q is none of environments (%s)", name, strings.Join(known, ", "))
}

// source fits a constructor into the table.
func source[C any](construct func(id string, c C, environments []string) (itusers.Source, error)) sourceKind {
	var zero C
	return sourceKind{settings: zero, make: func(id string, settings any, environments []string) (itusers.Source, error) {
		c, ok := settings.(C)
		if !ok {
			return nil, fmt.Errorf("settings are a %T, not a %T", settings, zero)
		}
		return construct(id, c, environments)
	}}
}

func (c Config) environmentNames() (names []string) {
	for _, e := range c.Environments {
		names = append(names, e.Name)
	}
	return names
}

// feeds makes all sources, in the order of the file.
func (c Config) feeds() (list []itusers.Feed, err error) {
	table, environments := sources(), c.environmentNames()
	for i, s := range c.Sources {
		made, err := table[s.Type].make(s.ID, s.Settings, environments)
		if err != nil {
			return nil, usageError{fmt.Errorf("sources[%d]: %w", i, err)}
		}
		list = append(list, itusers.Feed{
			ID: s.ID, Type: s.Type, Source: made, Owns: itusers.Owns(s.Owns), Environments: environments,
			Limit: itusers.Limit{Percent: s.LimitPercent, Floor: s.LimitFloor}, Protected: s.Protected, Every: s.Interval,
		})
	}
	return list, nil
}

func (k checker) sources() {
	owners := map[string]string{}
	table := sources()
	for i, s := range k.Sources {
		path := at("sources", i)
		k.once(owners, path+".id", "id "+s.ID)
		k.refuseIf(s.ID == provisioningID, path+".id", "is the name of what provisioning does")
		k.runs(path, s.Interval, s.LimitPercent, s.LimitFloor)
		kind, ok := table[s.Type]
		if !ok || s.Settings == nil || k.doc.Wrong(path) {
			continue
		}
		_, err := kind.make(s.ID, s.Settings, k.environmentNames())
		k.refuseAll(path, err)
	}
}

// runs checks when runs are, and how much they may change.
func (k checker) runs(path string, interval time.Duration, percent, floor int) {
	k.refuseIf(interval < 0 || interval > 0 && interval < time.Minute, path+".interval", "is shorter than a minute (0s: never)")
	k.refuseIf(percent < 0 || percent > 100, path+".limit_percent", "is not between 0 and 100")
	k.refuseIf(floor < 0, path+".limit_floor", "is negative")
}

// provisioningID is the name under which runs of provisioning are kept.
const provisioningID = "provisioning"

// syncer brings IT users in line with sources, and writes into the audit what it does.
func (b *backend) syncer() *itusers.Syncer {
	return &itusers.Syncer{Runner: b.runner(), Store: b.store, Changed: b.noteSynced}
}

func (b *backend) runner() itusers.Runner {
	node, err := os.Hostname()
	if err != nil {
		node = "unknown"
	}
	return itusers.Runner{Store: b.store, Node: node, Now: time.Now, Audited: b.noteRun}
}

// noteRun writes the end of a run into the audit.
func (b *backend) noteRun(ctx context.Context, run itusers.Run) error {
	r := audit.Record{Action: audit.UsersSynced, Actor: run.Actor, Kind: authn.OK.String(), Reason: run.Reason,
		Detail: "source " + run.Source + ": " + run.Report.Summary()}
	if run.State != itusers.RunDone {
		r.Kind, r.Detail = authn.Unavailable.String(), "source "+run.Source+": "+run.Error
	}
	r.ID, r.Time = run.ID, time.Now()
	return b.audit.Event(context.WithoutCancel(ctx), r)
}

// noteSynced writes what a run did to users who were here before. Whom it added is counted at its end.
func (b *backend) noteSynced(ctx context.Context, run itusers.Run, changes []itusers.Change) error {
	for _, c := range changes {
		err := b.audit.Event(ctx, audit.Record{ID: run.ID, Time: time.Now(), Action: audit.UserChanged, Actor: "source:" + run.Source,
			ITUser: c.After.Username, Kind: authn.OK.String(), Detail: strings.Join(c.Differences(), ", ")})
		if err != nil {
			return err
		}
	}
	return nil
}
