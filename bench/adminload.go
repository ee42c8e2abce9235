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
	// windows is how many of each there are.
	windows = 12
	// besides is the most that sign-ins may slow down, in percent.
	besides = 5
	// syncTime ends it where what should go on beside does not.
	syncTime = 15 * time.Minute
)

// beside100k measures warm sign-ins with and without the follower that indexes the audit; and while a source of 100,000 users is
// read and compared, and then while every tenth of them is changed.
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
	fmt.Fprintf(os.Stderr, "sign-ins with %s beside a sync ...\n", name)
	without, reading, writing, err := b.synced(rows)
	if err != nil {
		return nil, err
	}
	return append(all, slowed(fmt.Sprintf("%s: a source of %d users read and compared", name, b.itUsers), without, reading),
		slowed(fmt.Sprintf("%s: %d users written", name, b.itUsers/10), without, writing)), nil
}

// pair is what the bridge came to, and beside it in the same seconds another one on a store of its own with nothing to do besides:
// whatever else the machine does, it does to both.
type pair struct{ own, reference outcome }

func (p pair) ratio() float64 { return p.own.perSecond() / p.reference.perSecond() }

// slowed prints both, and is the goal.
func slowed(what string, without, with pair) goal {
	table(os.Stdout, what+"; reference: another bridge, in turns with it", []row{
		{name: "without", outcome: without.own}, {name: "reference", outcome: without.reference},
		{name: "with", outcome: with.own}, {name: "reference", outcome: with.reference}}, "without")
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

func (p pair) enough() bool { return p.own.took >= windows*window }

// synced counts sign-ins window by window: before there is a source; while it is read and compared with the IT users; while what is
// new is written. Where one thing ends within a window, that window counts for neither.
func (b *bench) synced(rows *store.Store) (without, reading, writing pair, err error) {
	for !without.enough() {
		if err := b.count(&without); err != nil {
			return without, reading, writing, err
		}
	}
	if err := b.addSource(); err != nil {
		return without, reading, writing, err
	}
	for began := time.Now(); !writing.enough(); {
		if time.Since(began) > syncTime {
			return without, reading, writing, fmt.Errorf("%s beside reading and %s beside writing are not enough",
				reading.own.took, writing.own.took)
		}
		at, err := stageOf(rows)
		sum := &reading
		if at == "writing" {
			sum = &writing
		}
		switch {
		case err != nil:
			return without, reading, writing, err
		case at == "", sum.enough():
			time.Sleep(time.Second / 4) // left alone, it gets there sooner
			continue
		}
		var p pair
		if err := b.count(&p); err != nil {
			return without, reading, writing, err
		}
		still, err := stageOf(rows)
		if err != nil {
			return without, reading, writing, err
		}
		if still == at {
			*sum = sum.add(p)
		}
	}
	return without, reading, writing, nil
}

// stageOf is what a run is at; empty when there is none.
func stageOf(rows *store.Store) (string, error) {
	runs, err := rows.Runs(context.Background(), "", 1)
	if len(runs) == 0 || runs[0].State != itusers.RunUnderWay {
		return "", err
	}
	return runs[0].Progress.Stage, err
}

func (p pair) add(q pair) pair { return pair{p.own.add(q.own), p.reference.add(q.reference)} }

// writeSource writes the file of a source that has all users, every tenth of them with another name.
func (b *bench) writeSource() {
	var csv strings.Builder
	csv.WriteString("username,name,id:production\n")
	for n := range b.itUsers {
		first, last := firstNames[n%len(firstNames)], lastNames[n/len(firstNames)%len(lastNames)]
		if n%10 == 0 {
			last += "-" + last
		}
		fmt.Fprintf(&csv, "%s,%s %s,%d\n", username(n), first, last, userID(n))
	}
	b.write("hr.csv", csv.String())
}

// addSource starts the bridge anew with a source, which it reads every minute.
func (b *bench) addSource() error {
	b.writeSource()
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
