package testenv

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// PostgresServer is a PostgreSQL of this test's own, on loopback.
type PostgresServer struct {
	DSN string // of an empty database, as superuser

	tb   TB
	bin  string
	dir  string
	port int
	sync bool
	cmd  *exec.Cmd
	dead chan struct{}
}

// Postgres starts a server that ends with the test. It does not flush to disk, which is enough for everything but
// measurements: see DurablePostgres.
func Postgres(tb TB) *PostgresServer { return startPostgres(tb, false) }

// DurablePostgres starts a server that flushes to disk, for measurements.
func DurablePostgres(tb TB) *PostgresServer { return startPostgres(tb, true) }

func startPostgres(tb TB, durable bool) *PostgresServer {
	tb.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		tb.Fatal("PostgreSQL is not installed: run make test-setup")
	}
	dir, err := os.MkdirTemp("", "idbridge-pg-")
	if err != nil {
		tb.Fatal(err)
	}
	p := &PostgresServer{tb: tb, bin: filepath.Dir(found[len(found)-1]), dir: dir, port: FreePort(tb), sync: durable}
	tb.Cleanup(func() {
		p.Stop()
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	p.own(dir)
	out, err := p.command("initdb", "-D", p.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N").
		CombinedOutput()
	if err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	p.DSN = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port)
	p.Start()
	return p
}

func (p *PostgresServer) data() string { return filepath.Join(p.dir, "data") }

// Start starts the server again after Stop, with the same rows, and waits until it answers.
func (p *PostgresServer) Start() {
	p.tb.Helper()
	fsync := "fsync=" + map[bool]string{true: "on", false: "off"}[p.sync]
	p.cmd = p.command("postgres", "-D", p.data(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+p.dir, "-c", fsync, "-c", "max_connections=200")
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.tb.Fatal(err)
	}
	dead, cmd := make(chan struct{}), p.cmd
	p.dead = dead
	go func() { _ = cmd.Wait(); close(dead) }()
	p.wait()
}

func (p *PostgresServer) wait() {
	p.tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		out, err := p.client("pg_isready", "-t", "1").CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-p.dead:
		case <-time.After(20 * time.Millisecond):
			if time.Now().Before(deadline) {
				continue
			}
		}
		text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		p.tb.Fatalf("PostgreSQL does not answer: %v %s\n%s", err, out, text)
	}
}

// client runs one of PostgreSQL's client programs against this server.
func (p *PostgresServer) client(name string, args ...string) *exec.Cmd {
	at := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "postgres"}
	return p.command(name, append(at, args...)...)
}

// Stop ends the server at once, dropping its connections. The rows stay.
func (p *PostgresServer) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT) // "fast": no waiting for clients
	select {
	case <-p.dead:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.dead
	}
	p.cmd = nil
}

// command runs one of PostgreSQL's programs, which refuse to run as root; it dies with this process.
func (p *PostgresServer) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join(p.bin, name)
	cmd := exec.Command(path, args...)
	if os.Geteuid() == 0 {
		setpriv := []string{"--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=INT", path}
		cmd = exec.Command("setpriv", append(setpriv, args...)...)
	}
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	return cmd
}

// own gives the folder to the user that the server runs as.
func (p *PostgresServer) own(dir string) {
	if os.Geteuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "postgres", dir).CombinedOutput(); err != nil {
		p.tb.Fatalf("chown: %v\n%s", err, out)
	}
}

// NewDatabase makes an empty database on the server and returns its DSN.
func (p *PostgresServer) NewDatabase(tb TB) string {
	tb.Helper()
	name := "t" + strings.ToLower(rand.Text())
	if out, err := p.client("createdb", name).CombinedOutput(); err != nil {
		tb.Fatalf("createdb: %v\n%s", err, out)
	}
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", p.port, name)
}
