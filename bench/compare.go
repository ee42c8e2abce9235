package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// track is a load that takes turns with others: on a machine whose speed changes from minute to minute, only what was measured in
// the same seconds can be compared. A process that is measured stands still while it is not its turn.
type track struct {
	row
	turn    func(n int) load
	dial    func() (caller, error)
	process *process // nil: go-ldap in this process
	callers crew
}

const rawSearchBindRow = "raw search+bind"

// compare measures the loads with one number of callers: first with the cache cold, then warm.
func (b *bench) compare(callers int) ([]goal, error) {
	if err := b.restart(); err != nil {
		return nil, err
	}
	searching, searchDoor, err := b.startFloor(true)
	if err != nil {
		return nil, err
	}
	defer searching.end()
	binding, bindDoor, err := b.startFloor(false)
	if err != nil {
		return nil, err
	}
	defer binding.end()
	turns := max(1, b.users/turn)
	timed := func(int) load { return load{callers: callers, runFor: b.runFor / time.Duration(turns), users: b.users} }
	// While a bridge stands still its cache ages, and an account that was not confirmed for 10 s is read again: beside the warm load
	// go-ldap has turns of a quarter of the time, or users would come again half as often as in a load without turns.
	quarter := func(n int) load { l := timed(n); l.runFor /= 4; return l }
	once := func(n int) load { return load{callers: callers, users: turn, first: n * turn} }
	raw := track{row: row{name: rawSearchBindRow}, turn: timed, dial: b.slapd.rawSearchBind}
	rawAgain := track{row: row{name: rawSearchBindRow}, turn: quarter, dial: b.slapd.rawSearchBind}
	cold := track{row: row{name: "idbridge, cache cold"}, turn: once, dial: b.door.signIns, process: b.bridge}
	warm := track{row: row{name: "idbridge, cache warm"}, turn: timed, dial: b.door.signIns, process: b.bridge}
	all := []*track{
		{row: row{name: "raw bind"}, turn: timed, dial: b.slapd.rawBind}, &raw,
		{row: row{name: "floor, search+bind"}, turn: timed, dial: searchDoor.signIns, process: searching},
		{row: row{name: "floor, bind"}, turn: timed, dial: bindDoor.signIns, process: binding}, &cold,
	}
	title := fmt.Sprintf("%d callers, %d users", callers, b.users)
	err = errors.Join(takeTurns(title+", cache cold", turns, all), takeTurns(title+", cache warm", turns, []*track{&rawAgain, &warm}))
	b.memory = max(b.memory, b.bridge.memory())
	return ratios(callers, raw.row, cold.row, rawAgain.row, warm.row), err
}

// takeTurns lets the loads take turns, and prints them side by side.
func takeTurns(title string, turns int, tracks []*track) (err error) {
	fmt.Fprintf(os.Stderr, "%s ...\n", title)
	for _, t := range tracks {
		if t.callers, err = t.turn(0).hire(t.dial); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		defer t.callers.dismiss()
	}
	for _, t := range tracks {
		if err := t.process.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		defer func() { _ = t.process.signal(syscall.SIGCONT) }()
	}
	rows := make([]row, len(tracks))
	for n := range turns {
		for i, t := range tracks {
			if err := t.take(n); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			rows[i] = t.row
		}
	}
	table(os.Stdout, title, rows, rawSearchBindRow)
	return nil
}

// take is one turn.
func (t *track) take(n int) error {
	if err := t.process.signal(syscall.SIGCONT); err != nil {
		return err
	}
	before := t.process.cpu()
	o, err := t.turn(n).work(t.callers)
	o.cpu = t.process.cpu() - before
	t.outcome, t.rates = t.add(o), append(t.rates, o.steady)
	return errors.Join(err, t.process.signal(syscall.SIGSTOP))
}

func ratios(callers int, raw, cold, rawAgain, warm row) []goal {
	at := fmt.Sprintf(", %d callers", callers)
	all := []goal{
		{"cold ÷ raw search+bind" + at, cold.perSecond() / raw.perSecond(), 0.6, false},
		{"warm ÷ raw search+bind" + at, warm.perSecond() / rawAgain.perSecond(), 1.0, false},
		{"CPU s per 1,000 logins, cold" + at, cold.cpuPerThousand(), 0.15, true},
		{"CPU s per 1,000 logins, warm" + at, warm.cpuPerThousand(), 0.15, true},
		// The same for a machine of any speed: where 0.15 s were asked for, go-ldap did 8,300 searches with bind a second, which
		// takes it about 0.074 s for 1,000 (0.108 s at 5,700 a second; docs/performance.md).
		{"CPU cold ÷ raw search+bind's" + at, cold.cpuPerThousand() / raw.cpuPerThousand(), 2, true},
		{"CPU warm ÷ raw search+bind's" + at, warm.cpuPerThousand() / rawAgain.cpuPerThousand(), 2, true},
	}
	if callers == 16 {
		all = append(all,
			goal{"p99 cold ÷ raw" + at, float64(cold.p99) / float64(raw.p99), 3, true},
			goal{"p99 warm ÷ raw" + at, float64(warm.p99) / float64(rawAgain.p99), 3, true})
	}
	return all
}
