// Command bench measures idbridge beside raw go-ldap, on one machine in one run: a real slapd with 10,000 users, the real
// program over SOAP with the durable audit on, 16 and 64 callers; then sign-ins at the portal with SQLite and with PostgreSQL;
// then administration of 100,000 IT users and 5 million records, on both; then an Active Directory domain controller. It prints
// logins a second, percentiles, processor time, memory, and the ratios; docs/performance.md keeps the figures. It needs what make
// test-setup installs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

type options struct {
	users   int
	runFor  time.Duration
	callers []int
	keep    string
	domain  bool
	portal  bool
	profile string
	against string

	admin     bool
	itUsers   int
	auditRows int
	stores    string
}

func main() {
	var o options
	flag.IntVar(&o.users, "users", 10_000, "users in the directory")
	flag.DurationVar(&o.runFor, "for", 10*time.Second, "how long each load runs")
	flag.StringVar(&o.keep, "keep", "", "folder for configuration, database and logs; it stays")
	flag.StringVar(&o.profile, "profile", "", "write processor profiles of the bridge to FILE.1, FILE.2 ..., one for each start of it;\n"+
		"the last one before the next number of callers has a cold pass and the warm load")
	flag.StringVar(&o.against, "against", "", "compare with another build of idbridge, FILE, in turns, and measure nothing else")
	flag.BoolVar(&o.domain, "ad", true, "measure Active Directory too: Samba, which needs root for its ports")
	flag.BoolVar(&o.portal, "portal", true, "measure sign-ins with password and code at the portal too, with SQLite and PostgreSQL")
	flag.BoolVar(&o.admin, "admin", true, "measure administration too, with SQLite and PostgreSQL, and sign-ins beside a sync")
	flag.IntVar(&o.itUsers, "it-users", 100_000, "IT users for -admin, not fewer than -users")
	flag.IntVar(&o.auditRows, "audit-rows", 5_000_000, "records of the audit for -admin")
	flag.StringVar(&o.stores, "stores", "SQLite,PostgreSQL", "the stores for -admin")
	floor := flag.String("floor", "", "for bench itself: be the server of the rows \"floor\", as FILE says")
	callers := flag.String("callers", "16,64", "numbers of concurrent callers")
	flag.Parse()
	if *floor != "" {
		fmt.Fprintln(os.Stderr, "bench: floor:", serveFloor(*floor))
		os.Exit(1)
	}
	for _, n := range strings.Split(*callers, ",") {
		number, err := strconv.Atoi(n)
		if err != nil || number < 1 {
			fmt.Fprintf(os.Stderr, "bench: -callers %q\n", *callers)
			os.Exit(2)
		}
		o.callers = append(o.callers, number)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	b := &bench{options: o}
	defer func() { err = errors.Join(err, b.clean()) }()
	if err := b.prepare(); err != nil {
		return err
	}
	if o.against != "" {
		return b.compareBuilds()
	}
	var all []goal
	for _, callers := range o.callers {
		reached, err := b.compare(callers)
		if err != nil {
			return err
		}
		all = append(all, reached...)
	}
	if err := b.disturb(); err != nil {
		return err
	}
	if o.portal {
		if err := b.comparePortal(); err != nil {
			return err
		}
	}
	if o.admin {
		reached, err := b.compareAdmin()
		if err != nil {
			return err
		}
		all = append(all, reached...)
	}
	if o.domain {
		counted, err := b.compareDomain(o.callers[0])
		if err != nil {
			return err
		}
		all = append(all, counted...)
	}
	all = append(all,
		goal{"resident memory, MiB", b.memory, 64, true},
		goal{"ready after start, ms", float64(b.ready.Milliseconds()), 300, true})
	goals(os.Stdout, all)
	return nil
}

// measured runs a load of sign-ins and adds what the bridge used for it.
func (b *bench) measured(l load) (outcome, error) {
	before := b.bridge.cpu()
	o, err := l.run(b.door.signIns)
	o.cpu = b.bridge.cpu() - before
	b.memory = max(b.memory, b.bridge.memory())
	return o, err
}
