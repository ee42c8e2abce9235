package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/store"
)

const (
	// window is how long sign-ins are counted until it is looked again what goes on beside them.
	window = 2 * time.Second
	// windows is how many of each there are at least.
	windows = 12
	// mostWindows ends it where what should go on beside does not.
	mostWindows = 300
	// besides is the most that sign-ins may slow down, in percent.
	besides = 5
)

// beside100k measures warm sign-ins while a source of 100,000 users is read and compared, once without changes and once with a
// change to every tenth of them, and with and without the follower that indexes the audit.
func (b *bench) beside100k(name, settings string) (all []goal, err error) {
	defer b.recoverFatal(&err)
	rows, err := store.Open(context.Background(), b.storeConfig(settings))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if _, err := (load{callers: 16, users: b.users - 1}).run(b.reference.door.signIns); err != nil { // warm
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "sign-ins with %s, followed and not ...\n", name)
	without, with, err := b.followed(settings)
	if err != nil {
		return nil, err
	}
	all = append(all, slowed(name+": the audit followed", without, with))
	for _, c := range []struct {
		changed int
		stage   string // that is looked at; empty: all
	}{{0, ""}, {10, "writing"}} {
		changed, stage := c.changed, c.stage
		fmt.Fprintf(os.Stderr, "sign-ins with %s beside a sync, %d %% changed ...\n", name, changed)
		if err := b.freshSource(changed); err != nil {
			return nil, err
		}
		without, with, err := b.apart(func() (going bool, at string, err error) {
			runs, err := rows.Runs(context.Background(), "", 1)
			if len(runs) == 0 || runs[0].State != itusers.RunUnderWay {
				return false, "", err
			}
			return true, runs[0].Progress.Stage, err
		}, stage)
		if err != nil {
			return nil, err
		}
		all = append(all, slowed(fmt.Sprintf("%s: a sync of %d users, %d %% changed", name, b.itUsers, changed), without, with))
	}
	return all, nil
}

// pair is what the bridge came to, and beside it in the same seconds another one on a store of its own with nothing to do besides:
// whatever else the machine does, it does to both.
type pair struct{ own, reference outcome }

func (p pair) ratio() float64 { return p.own.perSecond() / p.reference.perSecond() }

// slowed prints both, and is the goal.
func slowed(what string, without, with pair) goal {
	table(os.Stdout, what+"; reference: another bridge, in turns with it", []row{
		{"without", without.own}, {"reference", without.reference}, {"with", with.own}, {"reference", with.reference}}, "without")
	return goal{"slower, %: " + what, 100 * (1 - with.ratio()/without.ratio()), besides, true}
}

// count adds a window of sign-ins at the bridge, and one at the reference while the bridge stands still.
func (b *bench) count(p *pair) error {
	l := load{callers: 16, runFor: window, users: b.users - 1}
	o, err := b.measured(l)
	if err != nil {
		return err
	}
	if err := b.bridge.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	reference, err := b.reference.measured(l)
	p.own, p.reference = p.own.add(o), p.reference.add(reference)
	return errors.Join(err, b.bridge.cmd.Process.Signal(syscall.SIGCONT))
}

// apart counts sign-ins window by window: those in which a run goes on, in that stage, and those in which none does. What began or
// ended meanwhile counts for neither.
func (b *bench) apart(runs func() (bool, string, error), stage string) (without, with pair, err error) {
	enough := func(p pair) bool { return p.own.took >= windows*window }
	for n := 0; !enough(without) || !enough(with); n++ {
		before, _, err := runs()
		if err != nil {
			return without, with, err
		}
		var p pair
		if err := b.count(&p); err != nil {
			return without, with, err
		}
		after, at, err := runs()
		switch {
		case err != nil:
			return without, with, err
		case n == mostWindows:
			return without, with, fmt.Errorf("%s without and %s with it are not enough", without.own.took, with.own.took)
		case before && after && (at == stage || stage == ""):
			with = with.add(p)
		case !before && !after:
			without = without.add(p)
		}
	}
	return without, with, nil
}

func (p pair) add(q pair) pair { return pair{p.own.add(q.own), p.reference.add(q.reference)} }

// writeSource writes the file of a source that has all users, some of them with another name.
func (b *bench) writeSource(percent int) {
	var csv strings.Builder
	csv.WriteString("username,name,id:production\n")
	for n := range b.itUsers {
		first, last := firstNames[n%len(firstNames)], lastNames[n/len(firstNames)%len(lastNames)]
		if n%100 < percent {
			last += "-" + last
		}
		fmt.Fprintf(&csv, "%s,%s %s,%d\n", username(n), first, last, userID(n))
	}
	b.write("hr.csv", csv.String())
}

// freshSource has the bridge read a file with so many changes every minute.
func (b *bench) freshSource(percent int) error {
	b.writeSource(percent)
	if percent > 0 {
		return nil
	}
	text, err := os.ReadFile(b.config)
	if err != nil {
		return err
	}
	b.write("idbridge.yaml", string(text)+fmt.Sprintf(
		"sources: [{id: hr, type: file, owns: nothing, users_file: %q, interval: 1m, limit_percent: 20}]\n", filepath.Join(b.dir, "hr.csv")))
	if err := b.restart(); err != nil {
		return err
	}
	_, err = load{callers: 16, users: b.users - 1}.run(b.door.signIns) // warm again
	return err
}

// followed counts sign-ins while the bridge follows the audit and while it may not, because somebody else has the lease.
func (b *bench) followed(settings string) (without, with pair, err error) {
	db, err := open(b.storeConfig(settings))
	if err != nil {
		return without, with, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	once := load{callers: 16, users: b.users - 1} // what is written past the bridge makes it forget, on SQLite
	one := func(sum *pair) error {
		for _, d := range []door{b.door, b.reference.door} {
			if _, err := once.run(d.signIns); err != nil {
				return err
			}
		}
		return b.count(sum)
	}
	for range windows / 2 {
		if _, err := db.Exec(`UPDATE leases SET holder = 'bench', expires = 9000000000000000 WHERE name = 'insight'`); err != nil {
			return without, with, err
		}
		time.Sleep(6 * time.Second) // until the bridge looks at the lease again
		if err := one(&without); err != nil {
			return without, with, err
		}
		if _, err := db.Exec(`UPDATE leases SET expires = 0 WHERE name = 'insight'`); err != nil {
			return without, with, err
		}
		if err := errors.Join(caughtUp(db), one(&with)); err != nil {
			return without, with, err
		}
	}
	return without, with, nil
}

// caughtUp waits until every record is in the index.
func caughtUp(db *sql.DB) error {
	for range 1000 {
		behind := 0
		err := db.QueryRow(`SELECT (SELECT MAX(seq) FROM audit) - (SELECT seq FROM audit_places WHERE follower = 'insight')`).Scan(&behind)
		if err != nil || behind == 0 {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("the index does not catch up")
}
