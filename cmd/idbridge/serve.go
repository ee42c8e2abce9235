package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/webhook"
)

func newServe(s *settings) *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use: "serve", Short: "Answer the platform",
		Long: `Answers the platform until it is told to stop (SIGTERM or Ctrl-C); calls under way may then finish.

It starts with every directory down: the sign-ins that need one are answered "try again". Changed certificate files are
picked up without a restart; so is the configuration file on SIGHUP, and with managed: store each new version within
seconds. One that cannot be applied leaves the one before in force. With metrics.address there are /metrics, /healthz (the
process lives) and /readyz (the store answers) on a listener of their own.`,
		Example: `  idbridge serve --config /etc/idbridge/idbridge.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			return profiled(profile, func() error {
				return serve(cmd.Context(), c, cmd.ErrOrStderr(), func(net.Addr) {})
			})
		},
	}
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "write a processor profile to this file")
	_ = cmd.Flags().MarkHidden("cpuprofile") // for those who work on its speed: docs/performance.md
	return cmd
}

// serve runs the product until ctx is done. ready is called with the door's address once calls are answered.
func serve(ctx context.Context, c Config, stderr io.Writer, ready func(net.Addr)) error {
	start := time.Now()
	log := newLog(c.Log, stderr)
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	ground, err := openGround(ctx, c)
	if err != nil {
		return err
	}
	defer ground.Close()
	if err := ground.refuseCopy(ctx); err != nil {
		return err
	}
	housekeeping, stop := context.WithCancel(ctx)
	var runs sync.WaitGroup
	defer func() {
		stop()
		runs.Wait() // a run that is under way says in the store that it ended early
	}()
	l, err := newLive(housekeeping, ground, newMetrics(), log)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		l.jobs.Wait()
	}()
	servers, err := l.listen()
	if err != nil {
		return err
	}
	w := l.current.Load()
	for _, warning := range w.config.warnings() {
		log.Warn(warning)
	}
	go l.keepHouse(housekeeping)
	go l.follow(housekeeping, again)
	go w.rememberUsers(housekeeping)
	go w.warnOfGlass(housekeeping)
	runs.Go(func() { w.followAudit(housekeeping) })
	l.metrics.verdicts(ground)
	l.metrics.runs(ground, func() []string { return l.current.Load().config.runIDs() })
	runs.Go(func() { l.keepRuns(housekeeping) })
	runs.Go(func() {
		w.sendWebhooks(housekeeping, func() []webhook.Endpoint { return l.current.Load().config.endpoints() })
	})
	return servers.run(ctx, c.ShutdownTimeout, log, func() {
		log.Info("ready", "address", servers[0].Addr().String(), "version", version(), "providers", len(w.config.Providers),
			"environments", len(w.config.Environments), "configuration", w.version, "after", time.Since(start).Round(time.Millisecond))
		ready(servers[0].Addr())
	})
}

func newLog(c LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // one of four, checked with the configuration
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// listening is a server and where it listens.
type listening struct {
	net.Listener
	server *http.Server
}

type listeners []listening

// listen opens the platform's door first, then the listeners of portal, administrators and operators, where there are such.
func (l *live) listen() (list listeners, err error) {
	defer func() {
		if err != nil {
			list.close()
		}
	}()
	c := l.started
	shared := l.handler(func(g *generation) http.Handler { return g.shared })
	if err := l.open(&list, "listen", c.Listen.Address, c.Listen.TLS, guarded(shared, l.metrics, l.log)); err != nil {
		return list, err
	}
	if at := c.portalListener(); at.Address != "" {
		users := l.handler(func(g *generation) http.Handler { return orNotFound(g.portal) })
		if err := l.open(&list, "portal", at.Address, at.TLS, guarded(users, l.metrics, l.log)); err != nil {
			return list, err
		}
	}
	if at := c.adminListener(); at.Address != "" {
		administrators := l.handler(func(g *generation) http.Handler { return orNotFound(g.admin) })
		if err := l.open(&list, "admin", at.Address, at.TLS, guarded(administrators, l.metrics, l.log)); err != nil {
			return list, err
		}
	}
	if c.Metrics == nil {
		return list, nil
	}
	return list, l.open(&list, "metrics", c.Metrics.Address, TLSConfig{}, l.operators())
}

// open opens one listener of a section of the configuration.
func (l *live) open(list *listeners, section, address string, files TLSConfig, h http.Handler) error {
	socket, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("%s.address: %w", section, err)
	}
	if files.CertFile != "" {
		certificate, err := newReloader(files, l.log)
		if err != nil {
			socket.Close()
			return fmt.Errorf("%s.tls: %w", section, err)
		}
		socket = tls.NewListener(socket, certificate.tls())
	}
	*list = append(*list, listening{socket, newServer(h, l.log)})
	return nil
}

func (l listeners) close() {
	for _, one := range l {
		one.Close()
	}
}

// Limits of connections. A call's body is at most 64 KiB, so who needs longer than this has no honest reason.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 32 << 10
)

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// guarded counts calls under way, and keeps a bug in one of them from being silent.
func guarded(next http.Handler, m *metrics, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		defer func() {
			if v := recover(); v != nil {
				logPanic(log, "", v, debug.Stack())
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// run serves until ctx is done, then lets the calls under way finish.
func (l listeners) run(ctx context.Context, patience time.Duration, log *slog.Logger, ready func()) error {
	failed := make(chan error, len(l))
	for _, one := range l {
		go func() { failed <- one.server.Serve(one.Listener) }()
	}
	ready()
	select {
	case err := <-failed:
		l.close()
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping", "patience", patience)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var errs []error
	for _, one := range l {
		errs = append(errs, one.server.Shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		l.closeServers()
		return fmt.Errorf("calls were cut off after %s: %w", patience, err)
	}
	log.Info("stopped")
	return nil
}

func (l listeners) closeServers() {
	for _, one := range l {
		one.server.Close()
	}
}

// warnings are what an administrator has switched on and should know of.
func (c Config) warnings() (list []string) {
	if c.Listen.TLS.CertFile == "" {
		list = append(list, "listen: no TLS; passwords travel in clear to "+c.Listen.Address+
			": give listen.tls, or let a reverse proxy on this machine do it")
	}
	if c.leftover {
		list = append(list, "managed: store; providers, mfa and throttle of the file are ignored: the newest version counts "+
			"(idbridge config show); take them out of the file")
	}
	for _, e := range c.Environments {
		if e.TrustAddress {
			list = append(list, fmt.Sprintf("environment %s: trust_address; who can use one of its addresses is taken for the platform", e.Name))
		}
		if e.Integrated {
			list = append(list, fmt.Sprintf("environment %s: integrated_authentication; its web server is believed without a password", e.Name))
		}
	}
	return list
}
