package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
)

// managedByStore is the value of `managed` with which versions in the store are authoritative.
const managedByStore = "store"

// ManagedConfig is the part of the configuration that versions in the store hold, with `managed: store`.
type ManagedConfig struct {
	Providers []ProviderConfig `yaml:"providers" doc:"the directories that know the users; required"`
	MFA       MFAConfig        `yaml:"mfa" doc:"second factors"`
	Throttle  ThrottleConfig   `yaml:"throttle" doc:"limits of failed attempts per user"`
}

// managedKeys are its keys.
func managedKeys() []string { return []string{"providers", "mfa", "throttle"} }

// isManaged tells whether a key belongs to the managed part.
func isManaged(path string) bool {
	return slices.ContainsFunc(managedKeys(), func(key string) bool {
		rest, ok := strings.CutPrefix(path, key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// setAside keeps problems of the file's managed sections for the case that there is no version yet, and returns the others.
func (c *Config) setAside(doc *strictyaml.Document) error {
	c.leftover = slices.ContainsFunc(managedKeys(), doc.Has)
	problems, _ := errors.AsType[strictyaml.Problems](doc.Err())
	var here, others strictyaml.Problems
	for _, p := range problems {
		if isManaged(p.Path) {
			here = append(here, p)
		} else {
			others = append(others, p)
		}
	}
	if len(here) > 0 {
		c.unmanaged = here
		c.ManagedConfig = ManagedConfig{}
		strictyaml.Decode("defaults", nil, &c.ManagedConfig, decodeOptions(c.dir))
	}
	if len(others) > 0 {
		return others
	}
	return nil
}

// origin says where a text comes from: what may be in it depends on that.
type origin bool

// The origins.
const (
	fromHere    origin = false // of somebody who may read this machine's files
	fromNetwork origin = true  // names no files of secrets
)

// decodeManaged reads a managed part, which name is for in problems, and returns the configuration with it. Secrets that are
// masked are those of before.
func (c Config) decodeManaged(name string, text []byte, from origin, before ManagedConfig) (Config, error) {
	o := decodeOptions(c.dir)
	o.NoSecretFiles = bool(from)
	next := c
	next.ManagedConfig, next.unmanaged, next.leftover = ManagedConfig{}, nil, false
	doc := strictyaml.Decode(name, text, &next.ManagedConfig, o)
	unmask(doc, &next.ManagedConfig, before)
	k := newChecker(next, doc)
	k.providers()
	k.throttle()
	return next, doc.Err()
}

// unmask puts secrets that came back masked in their place again; shown is what was shown.
func unmask(doc *strictyaml.Document, into, shown any) {
	for _, path := range strictyaml.Restore(into, shown) {
		doc.Refuse(path, "is masked, and there is no such secret yet (give it)")
	}
}

// encode writes the managed part; secret says what stands for secrets, nil masks them.
func (m ManagedConfig) encode(dir string, secret func(path, secret string) string) []byte {
	return strictyaml.Encode(m, strictyaml.EncodeOptions{Dir: dir, Secret: secret})
}

// newest is the backend with the configuration in force: with `managed: store`, that of the newest version.
func (b *backend) newest(ctx context.Context) (*backend, error) {
	if b.config.Managed != managedByStore {
		return b, nil
	}
	v, err := b.history.Last(ctx)
	if err != nil {
		return nil, err
	}
	return b.at(v)
}

// at is the backend with the configuration of a version; of the zero Version, with that of the file.
func (b *backend) at(v revision.Version) (*backend, error) {
	if v.Number == 0 {
		return b, b.config.unmanaged
	}
	c, err := b.config.read(v)
	if err != nil {
		return nil, err
	}
	return b.with(c, v.Number)
}

// read is the configuration with the managed part of a version.
func (c Config) read(v revision.Version) (Config, error) {
	return c.decodeManaged(fmt.Sprintf("version %d", v.Number), v.Text, fromHere, ManagedConfig{})
}

// takeOver makes version 1 of the file's managed sections, where there is no version yet. Of nodes that start together one does.
func (b *backend) takeOver(ctx context.Context) error {
	if b.config.Managed != managedByStore {
		return nil
	}
	last, err := b.store.LastRevision(ctx)
	if err != nil || last > 0 {
		return err
	}
	if b.config.unmanaged != nil {
		return b.config.unmanaged
	}
	v, err := b.history.Save(ctx, revision.Draft{
		Author: operator(), Comment: "taken over from " + b.config.file, Text: b.config.encode(b.config.dir, strictyaml.Reveal),
	})
	if errors.Is(err, revision.ErrMoved) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.noteConfiguration(ctx, change{version: v.Info, after: b.config.ManagedConfig, dir: b.config.dir})
}
