package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/idbridge/idbridge/testenv"
)

const (
	// portalUsers is how many people sign in at the portal, each once: a code is accepted only once in its half minute.
	portalUsers = 2000
	// portalCallers is how many of them do it at the same time.
	portalCallers = 16
	// portalRequests is how many requests make one sign-in: see browser.attempt.
	portalRequests = 3
)

// comparePortal measures sign-ins with password and code at the portal, with SQLite and with PostgreSQL, side by side. Both
// flush to disk. Passwords are checked at the slapd of the other loads.
func (b *bench) comparePortal() (err error) {
	defer b.recoverFatal(&err)
	fmt.Fprintln(os.Stderr, "PostgreSQL ...")
	rows := []row{{name: "SQLite"}, {name: "PostgreSQL"}}
	stores := []string{
		"driver: sqlite\n  path: idbridge.db",
		"driver: postgres\n  dsn: " + testenv.DurablePostgres(b).DSN,
	}
	for i := range rows {
		if rows[i].outcome, err = b.portalWith(rows[i].name, stores[i]); err != nil {
			return fmt.Errorf("portal with %s: %w", rows[i].name, err)
		}
	}
	portalTable(os.Stdout, fmt.Sprintf("portal, password and code, %d at once, %d users", portalCallers, min(b.users, portalUsers)), rows)
	return nil
}

// portalWith measures a bridge of its own on one store.
func (b *bench) portalWith(name, store string) (o outcome, err error) {
	p := &bench{options: b.options, binary: b.binary, slapd: b.slapd}
	p.users, p.dir, p.profile = min(b.users, portalUsers), filepath.Join(b.dir, "portal-"+strings.ToLower(name)), ""
	defer func() { err = errors.Join(err, p.clean()) }()
	dial, err := p.preparePortal(store)
	if err != nil {
		return o, err
	}
	fmt.Fprintf(os.Stderr, "portal with %s, %d callers ...\n", name, portalCallers)
	before := p.bridge.cpu()
	o, err = load{callers: portalCallers, users: p.users}.run(dial)
	o.cpu = p.bridge.cpu() - before
	return o, err
}

// preparePortal starts a bridge whose users are linked and have a second factor, and returns how to visit its portal.
func (b *bench) preparePortal(store string) (dial func() (caller, error), err error) {
	defer b.recoverFatal(&err)
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	b.writeFiles()
	address := b.usePortal(store)
	b.command(b.binary, "users", "import", "--config", b.config, filepath.Join(b.dir, "users.csv"))
	if err := b.restart(); err != nil {
		return nil, err
	}
	if _, err := (load{callers: portalCallers, users: b.users}).run(b.door.signIns); err != nil { // links everybody
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "second factors for %d users ...\n", b.users)
	secrets, err := b.enrolAll(store)
	if err != nil {
		return nil, fmt.Errorf("enrolling: %w", err)
	}
	return func() (caller, error) { return b.browse(address, secrets) }, nil
}

// usePortal gives the configuration a portal and another store, and returns the portal's address.
func (b *bench) usePortal(store string) string {
	text, err := os.ReadFile(b.config)
	if err != nil {
		b.Fatal(err)
	}
	ca := testenv.CA(b)
	cert := ca.Server(b)
	b.portalTLS = &tls.Config{RootCAs: ca.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b))
	const sqlite = "driver: sqlite\n  path: idbridge.db"
	b.write("idbridge.yaml", strings.Replace(string(text), sqlite, store, 1)+fmt.Sprintf(
		"portal:\n  public_url: https://%s\n  address: %s\n  tls: {cert_file: %q, key_file: %q}\nmfa: {policy: enrolled}\n",
		address, address, cert.CertFile, cert.KeyFile))
	return address
}

// portalTable prints sign-ins at the portal side by side.
func portalTable(w io.Writer, title string, rows []row) {
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "store\tsign-ins/s\trequests/s\tp50\tp99\tCPU s/1000\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%s\t%s\t%.3f\t\n", r.name, r.perSecond(), portalRequests*r.perSecond(), short(r.p50), short(r.p99),
			r.cpuPerThousand())
	}
	_ = t.Flush() // standard output
}
