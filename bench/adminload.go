package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/store"
)

const (
	// window is how long sign-ins are counted until it is looked again what goes on beside them.
	window = 2 * time.Second
	// windows is how many of each there are at least.
	windows = 15
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
	for _, changed := range []int{0, 10} {
		fmt.Fprintf(os.Stderr, "sign-ins with %s beside a sync, %d %% changed ...\n", name, changed)
		b.writeSource(changed)
		if changed == 0 {
			b.addSource()
			if _, err := (load{callers: 16, users: b.users - 1}).run(b.door.signIns); err != nil { // warm again
				return nil, err
			}
		}
		without, with, err := b.apart(func() (bool, error) {
			runs, err := rows.Runs(context.Background(), "", 1)
			return len(runs) > 0 && runs[0].State == itusers.RunUnderWay, err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, slowed(fmt.Sprintf("%s: a sync of %d users, %d %% changed", name, b.itUsers, changed), without, with))
	}
	fmt.Fprintf(os.Stderr, "sign-ins with %s, followed and not ...\n", name)
	without, with, err := b.followed(settings)
	if err != nil {
		return nil, err
	}
	g := slowed(name+": the audit followed", without, with)
	return append(all, g), nil
}

// slowed prints both, and is the goal.
func slowed(what string, without, with outcome) goal {
	table(os.Stdout, what, []row{{"without", without}, {"with", with}}, "without")
	return goal{"slower, %: " + what, 100 * (1 - with.perSecond()/without.perSecond()), besides, true}
}

// apart counts sign-ins window by window: those in which something goes on beside, and those in which it does not. What
// stopped or began meanwhile counts for neither. As they alternate, both meet the same noise of the machine.
func (b *bench) apart(goesOn func() (bool, error)) (without, with outcome, err error) {
	enough := func(o outcome) bool { return o.took >= windows*window }
	for n := 0; !enough(without) || !enough(with); n++ {
		before, err := goesOn()
		if err != nil {
			return without, with, err
		}
		o, err := b.measured(load{callers: 16, runFor: window, users: b.users - 1})
		if err != nil {
			return without, with, err
		}
		after, err := goesOn()
		switch {
		case err != nil:
			return without, with, err
		case n == mostWindows:
			return without, with, fmt.Errorf("%s without and %s with it are not enough", without.took, with.took)
		case before && after:
			with = with.add(o)
		case !before && !after:
			without = without.add(o)
		}
	}
	return without, with, nil
}

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

// addSource has the bridge read the file every minute.
func (b *bench) addSource() {
	text, err := os.ReadFile(b.config)
	if err != nil {
		b.Fatal(err)
	}
	b.write("idbridge.yaml", string(text)+fmt.Sprintf(
		"sources: [{id: hr, type: file, owns: nothing, users_file: %q, interval: 1m, limit_percent: 20}]\n", filepath.Join(b.dir, "hr.csv")))
	if err := b.restart(); err != nil {
		b.Fatal(err)
	}
}

// followed counts sign-ins while the bridge follows the audit and while it may not, because somebody else has the lease.
func (b *bench) followed(settings string) (without, with outcome, err error) {
	db, err := open(b.storeConfig(settings))
	if err != nil {
		return without, with, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for range windows / 2 {
		if _, err := db.Exec(`UPDATE leases SET holder = 'bench', expires = 9000000000000000 WHERE name = 'insight'`); err != nil {
			return without, with, err
		}
		time.Sleep(6 * time.Second) // until the bridge looks at the lease again
		alone, err := b.measured(load{callers: 16, runFor: window, users: b.users - 1})
		if err != nil {
			return without, with, err
		}
		if _, err := db.Exec(`UPDATE leases SET expires = 0 WHERE name = 'insight'`); err != nil {
			return without, with, err
		}
		if err := caughtUp(db); err != nil {
			return without, with, err
		}
		together, err := b.measured(load{callers: 16, runFor: window, users: b.users - 1})
		if err != nil {
			return without, with, err
		}
		without, with = without.add(alone), with.add(together)
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
