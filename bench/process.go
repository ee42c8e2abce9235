package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is the idbridge under load.
type process struct {
	cmd   *exec.Cmd
	ready time.Duration // from start until /readyz said 200
}

// start runs the program and waits until it is ready.
func start(binary, config, profile, readyz, logFile string) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, "serve", "--config", config, "--cpuprofile", profile)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	client := &http.Client{Timeout: time.Second}
	for time.Since(began) < 10*time.Second {
		if isReady(client, readyz) {
			p.ready = time.Since(began)
			return p, nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	p.stop()
	text, _ := os.ReadFile(logFile)
	return nil, fmt.Errorf("idbridge was not ready after 10 s:\n%s", text)
}

func isReady(client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // a non-zero exit was a signal of ours
}

// lastWords are the last lines of the bridge's log.
func (b *bench) lastWords() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "idbridge.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "")
}

// signal sends a signal to a process that is not this one.
func (p *process) signal(s syscall.Signal) error {
	if p == nil {
		return nil
	}
	return p.cmd.Process.Signal(s)
}

// end stops a process that may stand still.
func (p *process) end() {
	_ = p.signal(syscall.SIGCONT) // it has ended if it cannot be told
	p.stop()
}

// cpu is the processor time used so far, user and system; without a process, that of this one.
func (p *process) cpu() time.Duration {
	if p == nil {
		return ownCPU()
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts in 100 ticks a second
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory is the peak resident set, in MiB.
func (p *process) memory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, _ := strconv.ParseFloat(strings.Fields(after + " 0")[0], 64)
	return kib / 1024
}
