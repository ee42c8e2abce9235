package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// turn is how many sign-ins a build has until it is the other one's turn, with the cache cold.
	turn = 1000
	// turnTime is the same with the cache warm.
	turnTime = time.Second / 2
	// passes is how often each load is compared: how far the ratios lie apart says what they are worth.
	passes = 4
)

// compareBuilds measures this build and another one on the same slapd, in short turns, each on a store of its own: what the
// machine does besides, it does to both. While one works, the other is stopped.
func (b *bench) compareBuilds() (err error) {
	defer b.recoverFatal(&err)
	other := &bench{options: b.options, binary: b.against, slapd: b.slapd}
	other.dir = filepath.Join(b.dir, "other")
	defer func() { err = errors.Join(err, other.clean()) }()
	if err := other.prepareOther(); err != nil {
		return err
	}
	for _, callers := range b.callers {
		for pass := range passes {
			fmt.Fprintf(os.Stderr, "%d callers: pass %d of %d ...\n", callers, pass+1, passes)
			if err := errors.Join(b.restart(), other.restart()); err != nil {
				return err
			}
			if err := b.inTurns(other, callers, pass+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) prepareOther() error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	b.writeFiles()
	b.command(b.binary, "users", "import", "--config", b.config, filepath.Join(b.dir, "users.csv"))
	if err := b.restart(); err != nil {
		return err
	}
	_, err := load{callers: 16, users: b.users}.run(b.door.signIns)
	return err
}

// inTurns measures a cold pass and as long a warm load.
func (b *bench) inTurns(other *bench, callers, pass int) error {
	var cold, warm pair
	for first := 0; first+turn <= b.users; first += turn {
		if err := b.takeTurns(other, &cold, load{callers: callers, users: turn, first: first}); err != nil {
			return err
		}
	}
	for warm.own.took < b.runFor {
		if err := b.takeTurns(other, &warm, load{callers: callers, users: b.users, runFor: turnTime}); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		name string
		pair
	}{{"cold", cold}, {"warm", warm}} {
		title := fmt.Sprintf("%d callers, cache %s, pass %d", callers, p.name, pass)
		table(os.Stdout, title, []row{{name: "this", outcome: p.own}, {name: "other", outcome: p.reference}}, "other")
		fmt.Printf("processor time of this ÷ other: %.3f; resident %.1f and %.1f MiB\n",
			p.own.cpuPerThousand()/p.reference.cpuPerThousand(), b.memory, other.memory)
	}
	return nil
}

// takeTurns adds a load at the one while the other stands still, and the other way round.
func (b *bench) takeTurns(other *bench, p *pair, l load) error {
	for _, t := range []struct {
		works, waits *bench
		sum          *outcome
	}{{b, other, &p.own}, {other, b, &p.reference}} {
		if err := t.waits.bridge.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		o, err := t.works.measured(l)
		err = errors.Join(err, t.waits.bridge.cmd.Process.Signal(syscall.SIGCONT))
		if err != nil {
			return err
		}
		*t.sum = t.sum.add(o)
	}
	return nil
}
