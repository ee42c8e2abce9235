package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// TestCallsUnderWayFinish when the program is told to stop, and those that take too long are cut off with an error.
func TestCallsUnderWayFinish(t *testing.T) {
	for name, test := range map[string]struct {
		patience time.Duration
		release  bool
		cut      bool
	}{
		"finishes": {patience: 20 * time.Second, release: true},
		"cut off":  {patience: 50 * time.Millisecond, cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				select {
				case <-release:
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, "done")
			})
			log := slog.New(slog.DiscardHandler)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			servers := listeners{{l, newServer(guarded(slow, newMetrics(), log), log)}}
			ctx, stop := context.WithCancel(t.Context())
			stopped, answered := make(chan error, 1), make(chan error, 1)
			go func() { stopped <- servers.run(ctx, test.patience, log, func() {}) }()
			go func() { answered <- get(t.Context(), "http://"+l.Addr().String(), "done") }()
			<-arrived
			stop()
			if test.release {
				waitForRefusal(t, l.Addr().String())
				close(release)
			}
			if err := <-stopped; (err != nil) != test.cut {
				t.Errorf("run: %v", err)
			}
			if err := <-answered; (err != nil) != test.cut {
				t.Errorf("the call under way: %v", err)
			}
		})
	}
}

func get(ctx context.Context, url, want string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := (&http.Client{}).Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if text, err := io.ReadAll(r.Body); err != nil || string(text) != want {
		return errors.Join(err, errors.New("answer: "+string(text)))
	}
	return nil
}

// waitForRefusal waits until no new connection is taken.
func waitForRefusal(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		c.Close()
	}
	t.Fatal("new calls are still taken")
}

// TestLimitsOfConnections: nobody holds a connection for ever, on either listener.
func TestLimitsOfConnections(t *testing.T) {
	s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	for name, limit := range map[string]struct{ got, most time.Duration }{
		"header": {s.ReadHeaderTimeout, 5 * time.Second},
		"read":   {s.ReadTimeout, 10 * time.Second},
		"write":  {s.WriteTimeout, 30 * time.Second},
		"idle":   {s.IdleTimeout, 60 * time.Second},
	} {
		if limit.got <= 0 || limit.got > limit.most {
			t.Errorf("%s: %s, want %s", name, limit.got, limit.most)
		}
	}
	if s.WriteTimeout <= s.ReadTimeout {
		t.Error("an answer would be cut off while the call is still being read")
	}
}

func TestAPanicIsLoggedWithoutItsValue(t *testing.T) {
	var logged screen
	log := slog.New(slog.NewTextHandler(&logged, nil))
	h := guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("canary") }), newMetrics(), log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(h, log)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	if err := get(t.Context(), "http://"+l.Addr().String(), "Internal Server Error\n"); err != nil {
		t.Error(err)
	}
	if text := logged.String(); !strings.Contains(text, "msg=panic") || strings.Contains(text, "canary") {
		t.Errorf("log: %s", text)
	}
}

// TestCertificateReload: changed files are served without a restart; a half-changed pair leaves the old one in place.
func TestCertificateReload(t *testing.T) {
	first, second := testenv.CA(t), testenv.CA(t)
	dir := t.TempDir()
	files := TLSConfig{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	install := func(c testenv.Certificate, certificate, key bool) {
		for from, to := range map[string]string{c.CertFile: files.CertFile, c.KeyFile: files.KeyFile} {
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if from == c.CertFile && certificate || from == c.KeyFile && key {
				if err := os.WriteFile(to, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	install(first.Server(t), true, true)
	var logged screen
	r, err := newReloader(files, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	go func() { _ = s.Serve(tls.NewListener(door, r.tls())) }()
	t.Cleanup(func() { s.Close() })
	trusts := func(roots *x509.CertPool, c *tls.Config) error {
		c.RootCAs = roots
		conn, err := tls.Dial("tcp", door.Addr().String(), c)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := trusts(first.Pool, &tls.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := trusts(first.Pool, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	next := second.Server(t)
	install(next, true, false)
	r.look()
	if err := trusts(first.Pool, &tls.Config{}); err != nil {
		t.Errorf("half changed: %v", err)
	}
	r.look()
	_ = trusts(first.Pool, &tls.Config{})
	if n := strings.Count(logged.String(), "the one before stays"); n != 1 {
		t.Errorf("%d complaints: %s", n, &logged)
	}
	install(next, false, true)
	r.look()
	if err := trusts(second.Pool, &tls.Config{}); err != nil {
		t.Errorf("changed: %v", err)
	}
	if err := trusts(first.Pool, &tls.Config{}); err == nil {
		t.Error("the old certificate is still served")
	}
}

// look makes the next connection look at the files, as if a second had passed.
func (r *reloader) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked = time.Time{}
}

// Where both doors share a listener, the plugin has its paths, in any case of letters, and the portal everything else.
func TestDoorsBesideEachOther(t *testing.T) {
	c := Config{Plugin: PluginConfig{Name: "IDBridge"}, Environments: []EnvironmentConfig{{Name: "a"}, {Name: "b", Path: "Other"}}}
	name := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	h := c.beside(name("plugin"), name("portal"))
	for path, want := range map[string]string{
		"/IDBridge/OSPlatformAuthentication.asmx": "plugin", "/idbridge/": "plugin", "/OTHER/x": "plugin", "/": "portal", "/login": "portal",
		"/IDBridgeX/": "portal", "//IDBridge/": "portal", "/b": "portal",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://x"+path, nil))
		if w.Body.String() != want {
			t.Errorf("%s: the %s, want the %s", path, w.Body, want)
		}
	}
}
