package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// troubleTurns is how many turns each load of disturb has, and troubleTime how long one takes.
const (
	troubleTurns = 8
	troubleTime  = time.Second
)

// disturb measures sign-ins at one provider while another is flooded with wrong passwords, and while another is dead; all
// of them with a warm cache, or the first load would look slow. They take turns, as the speed of the machine changes.
func (b *bench) disturb() (err error) {
	if err := b.restart(); err != nil {
		return err
	}
	if _, err := (load{callers: 16, users: b.users}).run(b.door.signIns); err != nil {
		return err
	}
	flood, dead := b.door, b.door
	flood.provider, dead.provider = `FLOOD\`, `DEAD\`
	quiet := load{callers: 4, runFor: troubleTime, users: min(1000, b.users)} // so few that all of them come in each turn
	many := load{callers: 64, runFor: troubleTime, users: b.users}
	rows := []row{{name: "undisturbed"}, {name: "wrong-password flood"}, {name: "dead directory"}}
	trouble := []func() (caller, error){nil, flood.refusals, dead.refusals}
	fmt.Fprintln(os.Stderr, "sign-ins beside a flood, and beside a dead directory ...")
	for range troubleTurns {
		for i := range rows {
			// Who has not been here for 10 s is looked up again, and a turn beside a dead directory takes as long.
			if _, err := quiet.run(b.door.signIns); err != nil {
				return err
			}
			ended := make(chan error, 1)
			go func() { ended <- many.troubled(trouble[i]) }()
			o, err := b.measured(quiet)
			if err := errors.Join(err, <-ended); err != nil {
				return fmt.Errorf("%s: %w", rows[i].name, err)
			}
			rows[i].outcome, rows[i].rates = rows[i].add(o), append(rows[i].rates, o.steady)
		}
	}
	table(os.Stdout, "4 callers at one provider, 64 more at another that is flooded or dead", rows, rows[0].name)
	return nil
}

// troubled runs a load that troubles another provider, if there is one to be troubled.
func (l load) troubled(dial func() (caller, error)) error {
	if dial == nil {
		return nil
	}
	_, err := l.run(dial)
	return err
}
