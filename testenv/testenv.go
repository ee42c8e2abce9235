// Package testenv starts the real servers that tests and measurements need: on loopback, on free ports, in folders that
// are removed afterwards, each ended with the test even when the test binary is killed. It installs nothing (install.sh
// does) and knows nothing of idbridge. No package of the product may import it.
package testenv

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// TB is what the servers need of who starts them: a *testing.T has it, and so has the measuring program in bench.
type TB interface {
	Helper()
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
	Cleanup(func())
}

// startTimeout is how long a server may take until its port answers.
const startTimeout = time.Minute

// FreePort is a loopback TCP port that nobody listens on now. It lies below the range from which the kernel takes ports
// for outgoing connections, so that only another FreePort could take it before it is used; it is random for that reason.
func FreePort(tb TB) int {
	tb.Helper()
	for range 100 {
		port := 15_000 + rand.IntN(17_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatal("no free port between 15000 and 32000")
	return 0
}

// Need finds a program the tests depend on, also in the places of system daemons. Without it the test fails: a missing
// server is never a silent skip.
func Need(tb TB, program string) string {
	tb.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program, "/usr/libexec/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatalf("%s is not installed: run `make test-setup`", program)
	return ""
}

// Process is a server that runs beside the test.
type Process struct {
	cmd    *exec.Cmd
	output lockedBuffer
	done   chan struct{} // closed when the process is gone
}

// Start runs a program until the test ends, and waits until it listens on the loopback ports. The kernel kills it when
// this process dies, however that happens.
func Start(tb TB, ports []int, program string, args ...string) *Process {
	tb.Helper()
	p := &Process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal is tied to the thread that starts the process, so that thread must outlive it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		tb.Fatalf("%s: %v", program, err)
	}
	tb.Cleanup(p.Kill)
	for _, port := range ports {
		p.waitFor(tb, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return p
}

func (p *Process) waitFor(tb TB, addr string) {
	tb.Helper()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-p.done:
			tb.Fatalf("%s ended before it listened on %s:\n%s", p.cmd.Path, addr, p.output.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	tb.Fatalf("%s does not listen on %s:\n%s", p.cmd.Path, addr, p.output.String())
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the program has printed so far.
func (p *Process) Output() string { return p.output.String() }

// Stop asks the program to end and waits until it has; after five seconds it is killed.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Kill ends the program at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Signal sends a signal and does not wait: SIGSTOP makes a server that accepts connections and never answers.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

func (p *Process) end(s os.Signal) {
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// lockedBuffer is written by the process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
