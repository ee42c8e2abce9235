package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/user"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/portal"
	"github.com/idbridge/idbridge/providers/saml"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/store"
)

// backend is what stands on rows: every command that reads or changes some opens it.
type backend struct {
	config   Config
	store    *store.Store
	ring     *keyring.Ring
	chainKey []byte
	audit    *audit.Log
	factors  *mfa.Service
	throttle *authn.Throttle
	users    itusers.Manager
	saml     *saml.ServiceProvider
	history  revision.History
	version  int64                 // of the configuration's managed part; 0 where that is the file's
	look     func(context.Context) // applies a version that has just been saved; nil in commands, which serve nobody
	before   *authn.Service        // whose place a new service takes
	lends    lending               // providers of the generation before, then of its own
	address  *authn.Throttle       // of failed attempts by address, at the portal

	trouble func(version int64) string         // why a version is not in force, on a node that serves; may be nil
	beside  func(do func(ctx context.Context)) // runs what outlives its request, on the generation of that; nil in commands
}

// openBackend opens what stands on rows, with the configuration that is in force.
func openBackend(ctx context.Context, c Config) (*backend, error) {
	b, err := openGround(ctx, c)
	if err != nil {
		return nil, err
	}
	inForce, err := b.newest(ctx)
	if err != nil {
		b.Close()
		return nil, err
	}
	return inForce, nil
}

// openGround is openBackend with the configuration as the file has it: what is wrong with a version can then be mended.
func openGround(ctx context.Context, c Config) (*backend, error) {
	ring, err := loadRing(c)
	if err != nil {
		return nil, usageError{err}
	}
	rows, err := store.Open(ctx, store.Config{
		Driver: store.Driver(c.Store.Driver), Path: c.path(c.Store.Path), DSN: c.Store.DSN, Conns: c.Store.Conns,
	})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	b := &backend{config: c, store: rows, ring: ring, users: itusers.Manager{Store: rows, Now: time.Now},
		history: revision.History{Store: rows, Sealer: ring, Now: time.Now}}
	if err := b.assemble(ctx); err != nil {
		rows.Close()
		return nil, err
	}
	return b, nil
}

func loadRing(c Config) (*keyring.Ring, error) {
	if c.Keys.Env != "" {
		return keyring.LoadEnv(c.Keys.Env)
	}
	return keyring.Load(c.path(c.Keys.File))
}

// chainName is the data key under which the audit is chained.
const chainName = "audit-chain"

func (b *backend) assemble(ctx context.Context) (err error) {
	if b.chainKey, err = keyring.DataKey(ctx, b.store, b.ring, chainName); err != nil {
		return fmt.Errorf("keys: %w (is this the key file the store was made with?)", err)
	}
	b.throttle = authn.NewThrottle(b.store, b.config.steps(), b.config.Throttle.Window, time.Now)
	b.address = authn.NewThrottle(b.store, portal.AddressSteps(), authn.DefaultWindow, time.Now)
	if err := b.configure(); err != nil {
		return err
	}
	b.audit, err = audit.New(b.store, b.chainKey)
	return err
}

// configure makes what depends on the configuration.
func (b *backend) configure() (err error) {
	b.saml = b.serviceProvider(false, slog.New(slog.DiscardHandler))
	b.throttle = b.throttle.With(b.config.steps(), b.config.Throttle.Window)
	b.factors, err = mfa.New(mfa.Config{
		Store: b.store, Sealer: b.ring, Throttle: b.throttle, Issuer: b.config.MFA.Issuer, Now: time.Now,
	})
	return err
}

// with is the same store, audit and keys under another configuration. Only one of the two is closed.
func (b *backend) with(c Config, version int64) (*backend, error) {
	next := *b
	next.config, next.version = c, version
	return &next, next.configure()
}

func (c Config) steps() (steps []authn.Step) {
	for _, s := range c.Throttle.Steps {
		steps = append(steps, authn.Step{Failures: s.Failures, Block: s.Block})
	}
	return steps
}

func (b *backend) Close() {
	b.audit.Close()
	b.store.Close()
}

// note writes an administrator's change into the audit.
func (b *backend) note(ctx context.Context, r audit.Record) error {
	r.ID, r.Time, r.Actor, r.Kind = newID(), time.Now(), operator(), authn.OK.String()
	if err := b.audit.Event(context.WithoutCancel(ctx), r); err != nil {
		return fmt.Errorf("the change was made, but could not be written into the audit: %w", err)
	}
	return nil
}

// operator is the person at the keyboard, as the system knows them.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "os:unknown"
	}
	return "os:" + u.Username
}

// findUser is an IT user as second factors know them.
func (b *backend) findUser(ctx context.Context, username string) (authn.ITUser, error) {
	u, err := b.users.Show(ctx, username)
	if err != nil {
		return authn.ITUser{}, err
	}
	return authn.ITUser{Key: u.Key, Username: u.Username, Active: u.Active}, nil
}
