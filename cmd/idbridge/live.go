package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/revision"
)

// lookEvery is how often a node looks for a newer version of the configuration, and retryEvery how often it tries one that it
// could not apply again: a file that it names may have been put there meanwhile.
const (
	lookEvery  = 2 * time.Second
	retryEvery = 30 * time.Second
)

// generation is a configuration as a whole that works: providers, service, doors. It ends when it has been replaced and the
// last call that began on it has ended.
type generation struct {
	*bridge
	since time.Time
	calls atomic.Int64 // under way, and one for being in force
	end   context.CancelFunc
}

// enter tells whether a call may begin on the generation.
func (g *generation) enter() bool {
	for {
		n := g.calls.Load()
		if n == 0 {
			return false
		}
		if g.calls.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends a call.
func (g *generation) leave() {
	if g.calls.Add(-1) > 0 {
		return
	}
	g.end()
	closeProviders(g.doctor.Providers)
}

func closeProviders(list []authn.Provider) {
	for _, p := range list {
		if p.Close != nil {
			p.Close()
		}
	}
}

// live is the product as it runs: the generation in force under the listeners, and what puts another one in its place. Store,
// keys, audit, throttle, the memory of refused passwords and metrics outlive every generation.
type live struct {
	ground  atomic.Pointer[backend] // with the configuration of the file
	metrics *metrics
	log     *slog.Logger
	running context.Context // of what generations have run in the background
	jobs    sync.WaitGroup  // of administrators
	started Config          // what listeners, store and keys were made of

	applying sync.Mutex // one at a time
	current  atomic.Pointer[generation]

	mu     sync.Mutex
	failed *failure // the last configuration that could not be applied, until another one was
}

// failure is a configuration that could not be applied.
type failure struct {
	what    string
	version int64 // 0: the file
	err     error
	at      time.Time
}

func newLive(ctx context.Context, ground *backend, m *metrics, log *slog.Logger) (*live, error) {
	l := &live{metrics: m, log: log, running: ctx, started: ground.config}
	ground.look, ground.trouble = l.look, l.trouble
	l.ground.Store(ground)
	if err := ground.takeOver(ctx); err != nil {
		return nil, err
	}
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	m.expiries(func(ctx context.Context) (list []admin.Ending) {
		l.with(func(g *generation) { list = g.endings(ctx) })
		return list
	})
	return l, nil
}

// begin puts the first generation in force. With `managed: store` that is the newest version that can be applied: one that
// cannot, on this node, must not keep it from starting, as it would not have stopped it. It goes on being tried.
func (l *live) begin(ctx context.Context) error {
	ground := l.ground.Load()
	if ground.config.Managed != managedByStore {
		return l.apply(ground)
	}
	newest, err := ground.store.LastRevision(ctx)
	if err != nil {
		return err
	}
	l.metrics.newest.Set(float64(newest))
	var first error
	for number := newest; number > 0; number-- {
		_, err := l.applyVersion(ctx, number)
		if err == nil {
			if first != nil {
				l.fail(failure{what: fmt.Sprintf("version %d", newest), version: newest, err: first})
			}
			return nil
		}
		if authn.KindOf(err) == authn.Unavailable { // of the store: no other version can be read either
			return err
		}
		first = cmp.Or(first, err)
	}
	return first
}

// apply makes a generation and puts it in force. One that cannot be made leaves the one before. Its callers hold applying.
func (l *live) apply(b *backend) error {
	before := l.current.Load()
	if before != nil {
		b.before, b.lends = before.service, before.lends
	}
	g := &generation{since: time.Now()}
	b.beside = l.beside(g)
	w, err := newBridge(b, l.metrics, l.log)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(l.running)
	g.bridge, g.end = w, end
	g.calls.Store(1)
	go w.saml.Run(ctx)
	go w.warnOfEnds(ctx, before == nil)
	l.current.Store(g)
	l.metrics.version.Set(float64(b.version))
	l.mu.Lock()
	l.failed = nil
	l.mu.Unlock()
	if before != nil {
		before.leave()
	}
	return nil
}

// beside runs what a call on a generation has begun and does not wait for: the generation lasts for as long, and the process
// waits for it when it is told to stop.
func (l *live) beside(g *generation) func(do func(context.Context)) {
	return func(do func(context.Context)) {
		if g.enter() { // as the call that is asking has
			l.jobs.Go(func() {
				defer g.leave()
				do(l.running)
			})
		}
	}
}

// enter begins a call on the generation in force. Its leave ends the call.
func (l *live) enter() *generation {
	for {
		if g := l.current.Load(); g.enter() {
			return g
		}
	}
}

// orNotFound is a door that the configuration may have closed, on the listener that there still is.
func orNotFound(door http.Handler) http.Handler {
	if door == nil {
		return http.NotFoundHandler()
	}
	return door
}

// with calls do with the generation in force.
func (l *live) with(do func(*generation)) {
	g := l.enter()
	defer g.leave()
	do(g)
}

// handler serves every call on the generation that is in force when it begins.
func (l *live) handler(pick func(*generation) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.with(func(g *generation) { pick(g).ServeHTTP(w, r) })
	})
}

// follow applies what changes until ctx ends: the file when the process is told to (SIGHUP), and with `managed: store` the
// newest version.
func (l *live) follow(ctx context.Context, again <-chan os.Signal) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			l.reload(ctx)
		case <-tick.C:
			l.look(ctx)
		}
	}
}

// reload reads the file again.
func (l *live) reload(ctx context.Context) {
	l.applying.Lock()
	defer l.applying.Unlock()
	c, err := loadConfig(l.started.file)
	var b *backend
	if err == nil {
		late := l.started.needsRestart(c)
		if len(late) > 0 {
			l.log.Warn("changed, but taken over by a restart only", "keys", strings.Join(late, ", "))
		}
		b, err = l.ground.Load().with(l.started.pinned(c), 0)
	}
	ground := b
	if err == nil {
		b, err = b.newest(ctx)
	}
	if err == nil {
		err = l.apply(b)
	}
	if err != nil {
		l.fail(failure{what: l.started.file, err: err})
		return
	}
	l.ground.Store(ground)
	for _, warning := range b.config.warnings() {
		l.log.Warn(warning)
	}
	l.log.Info("configuration applied", "file", l.started.file, "version", b.version, "providers", len(b.config.Providers))
}

// look applies a version that another node, or a command, has saved.
func (l *live) look(ctx context.Context) {
	if l.started.Managed != managedByStore {
		return
	}
	l.applying.Lock()
	defer l.applying.Unlock()
	number, err := l.ground.Load().store.LastRevision(ctx)
	if err == nil {
		l.metrics.newest.Set(float64(number))
	}
	if err != nil || number == 0 || number == l.current.Load().version || l.triedJustNow(number) {
		return // a store that does not answer is told of by others
	}
	if err := l.follows(ctx, number); err != nil {
		l.fail(failure{what: fmt.Sprintf("version %d", number), version: number, err: err})
	}
}

func (l *live) follows(ctx context.Context, number int64) error {
	v, err := l.applyVersion(ctx, number)
	if err == nil {
		l.log.Info("configuration applied", "version", number, "author", v.Author, "comment", v.Comment,
			"providers", len(l.current.Load().config.Providers))
	}
	return err
}

func (l *live) applyVersion(ctx context.Context, number int64) (revision.Version, error) {
	v, err := l.ground.Load().history.Get(ctx, number)
	if err != nil {
		return v, err
	}
	b, err := l.ground.Load().at(v)
	if err != nil {
		return v, err
	}
	return v, l.apply(b)
}

func (l *live) triedJustNow(number int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed != nil && l.failed.version == number && time.Since(l.failed.at) < retryEvery
}

// fail tells of a configuration that could not be applied: the same words not again at each try.
func (l *live) fail(f failure) {
	f.at = time.Now()
	l.metrics.applyFailures.Inc()
	l.mu.Lock()
	known := l.failed != nil && l.failed.version == f.version && l.failed.err.Error() == f.err.Error() && f.version != 0
	l.failed = &f
	l.mu.Unlock()
	if !known {
		l.log.Error("the configuration could not be applied, the one before stays in force", "configuration", f.what,
			"in_force", l.current.Load().version, "error", f.err)
	}
}

// trouble is why a version could not be applied; empty where nothing is known of that.
func (l *live) trouble(version int64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil || l.failed.version != version {
		return ""
	}
	return inOneLine(l.failed.err)
}

// state is a line about the configuration for /readyz.
func (l *live) state() string {
	g := l.current.Load()
	inForce := "that of " + l.started.file
	if g.version > 0 {
		inForce = fmt.Sprintf("version %d", g.version)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return fmt.Sprintf("%s cannot be applied: %s; in force is %s since %s", l.failed.what, inOneLine(l.failed.err), inForce,
			g.since.UTC().Format(time.RFC3339))
	}
	return "ok, " + inForce
}

// doctor is that of the generation in force.
func (l *live) doctor() (d authn.Doctor) { return l.current.Load().doctor }

// needsRestart lists the keys that differ in next and that only a restart takes over.
func (c Config) needsRestart(next Config) (keys []string) {
	for _, one := range []struct {
		key          string
		ours, theirs any
	}{
		{"admin.address", c.adminListener(), next.adminListener()}, {"keys", c.Keys, next.Keys}, {"listen", c.Listen, next.Listen},
		{"log", c.Log, next.Log}, {"managed", c.Managed, next.Managed}, {"metrics", c.Metrics, next.Metrics},
		{"portal.address", c.portalListener(), next.portalListener()}, {"shutdown_timeout", c.ShutdownTimeout, next.ShutdownTimeout},
		{"store", c.Store, next.Store},
	} {
		if !reflect.DeepEqual(one.ours, one.theirs) {
			keys = append(keys, one.key)
		}
	}
	return keys
}

// pinned is next with what only a restart takes over as it is.
func (c Config) pinned(next Config) Config {
	next.Listen, next.Metrics, next.Managed, next.Store, next.Keys, next.Log = c.Listen, c.Metrics, c.Managed, c.Store, c.Keys, c.Log
	next.ShutdownTimeout = c.ShutdownTimeout
	if c.portalListener() != next.portalListener() { // on the listener that there is, it would be where nobody wants it
		next.Portal = c.Portal
	}
	if c.adminListener() != next.adminListener() {
		next.Admin = c.Admin
	}
	return next
}

// doorListener is where a door has a listener of its own; the zero value where it has none.
type doorListener struct {
	Address string
	TLS     TLSConfig
}

func (c Config) portalListener() (at doorListener) {
	if c.Portal != nil && c.Portal.Address != "" {
		at = doorListener{c.Portal.Address, c.Portal.TLS}
	}
	return at
}

func (c Config) adminListener() (at doorListener) {
	if c.Admin != nil {
		at = doorListener{c.Admin.Address, c.Admin.TLS}
	}
	return at
}
