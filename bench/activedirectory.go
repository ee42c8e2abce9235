package main

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"github.com/idbridge/idbridge/testenv"
)

// domainUsers is how many people the measured domain has.
const domainUsers = 500

// compareDomain measures idbridge beside raw go-ldap on one Active Directory domain controller, and counts what a
// sign-in asks of it. The bridge is one of its own, with its own store.
func (b *bench) compareDomain(callers int) (goals []goal, err error) {
	d := &bench{options: b.options, binary: b.binary}
	d.users, d.dir = domainUsers, filepath.Join(b.dir, "domain")
	defer func() {
		if cleanErr := d.clean(); err == nil {
			err = cleanErr
		}
	}()
	dc, err := d.prepareDomain()
	if err != nil {
		return nil, err
	}
	timed := load{callers: callers, runFor: b.runFor, users: d.users}
	rows := []row{{name: "raw bind"}, {name: rawSearchBindRow}, {name: "idbridge, cache cold"}, {name: "idbridge, cache warm"}}
	for i, run := range []func() (outcome, error){
		func() (outcome, error) { return own(timed, d.slapd.rawBind) },
		func() (outcome, error) { return own(timed, d.slapd.rawSearchBind) },
		func() (outcome, error) { return d.cold(callers) },
		func() (outcome, error) { return d.measured(timed) },
	} {
		fmt.Fprintf(os.Stderr, "Active Directory, %d callers: %s ...\n", callers, rows[i].name)
		if rows[i].outcome, err = run(); err != nil {
			return nil, fmt.Errorf("active directory, %s: %w", rows[i].name, err)
		}
	}
	table(os.Stdout, fmt.Sprintf("Active Directory (Samba), %d callers, %d users", callers, d.users), rows, rawSearchBindRow)
	return d.countDomain(dc)
}

// own runs a load of go-ldap in this process and adds what it used: what asking the directory costs anybody, in Go.
func own(l load, dial func() (caller, error)) (outcome, error) {
	before := ownCPU()
	o, err := l.run(dial)
	o.cpu = ownCPU() - before
	return o, err
}

// cold signs every user in once on a freshly started bridge, again and again until the time is up.
func (b *bench) cold(callers int) (all outcome, err error) {
	for all.took < b.runFor {
		if err := b.restart(); err != nil {
			return all, err
		}
		pass, err := b.measured(load{callers: callers, users: b.users})
		if err != nil {
			return all, err
		}
		all = all.add(pass)
	}
	return all, nil
}

// prepareDomain starts a domain controller with people, and a bridge that knows them.
func (b *bench) prepareDomain() (dc *testenv.SambaDC, err error) {
	defer b.recoverFatal(&err)
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "a domain controller with %d users ...\n", b.users)
	dc = testenv.Samba(b, testenv.SambaConfig{LDIF: domainPeople(b.users)})
	b.slapd = directory{
		url: dc.URL, baseDN: dc.BaseDN, peopleDN: testenv.SambaPeopleDN, bindDN: dc.BindUPN, bindPassword: dc.BindPassword,
		caFile: dc.CAFile, rdn: "CN", filter: "(&(objectCategory=person)(objectClass=user)(sAMAccountName=%s))",
		tls: &tls.Config{RootCAs: dc.CA.Pool, ServerName: dc.Host, MinVersion: tls.VersionTLS12},
	}
	b.writeFiles()
	b.useDomain(dc, dc.URL)
	b.command(b.binary, "users", "import", "--config", b.config, filepath.Join(b.dir, "users.csv"))
	if err := b.restart(); err != nil {
		return nil, err
	}
	_, err = load{callers: 16, users: b.users}.run(b.door.signIns) // links everybody
	return dc, err
}

// useDomain makes the domain the configuration's only provider.
func (b *bench) useDomain(dc *testenv.SambaDC, url string) {
	text, err := os.ReadFile(b.config)
	if err != nil {
		b.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "\nproviders:\n")
	b.write("idbridge.yaml", fmt.Sprintf(`%s
providers:
  - {id: ad, type: activedirectory, match: {default: true}, domain: %s, urls: [%q], ca_file: %q, bind_dn: %q, bind_password: %q}
`, before, dc.Domain, url, dc.CAFile, dc.BindUPN, dc.BindPassword))
}

// countDomain signs everybody in twice through a proxy that counts.
func (b *bench) countDomain(dc *testenv.SambaDC) ([]goal, error) {
	p, err := b.countingProxy(dc)
	if err != nil {
		return nil, err
	}
	b.useDomain(dc, p.url)
	if err := b.restart(); err != nil {
		return nil, err
	}
	fmt.Println("\nround trips to the domain controller, per sign-in")
	var all []goal
	for _, pass := range []string{"cold", "warm"} {
		p.reset()
		if _, err := (load{callers: 4, users: b.users}).run(b.door.signIns); err != nil {
			return nil, err
		}
		searches, binds := float64(p.searches.Load())/float64(b.users), float64(p.binds.Load())/float64(b.users)
		fmt.Printf("  %s: %.2f searches, %.2f binds\n", pass, searches, binds)
		if pass == "warm" {
			all = append(all, goal{"Active Directory: searches per sign-in, warm", searches, 1, true})
		}
		all = append(all, goal{"Active Directory: binds per sign-in, " + pass, binds, 1, true})
	}
	return all, nil
}

// domainPeople are change records that add users to the test domain.
func domainPeople(n int) string {
	var b strings.Builder
	for i := range n {
		name := username(i)
		var pass []byte
		for _, u := range utf16.Encode([]rune(`"` + password(i) + `"`)) {
			pass = append(pass, byte(u), byte(u>>8))
		}
		fmt.Fprintf(&b, "dn: CN=%s,%s\nchangetype: add\nobjectClass: user\nsAMAccountName: %s\n"+
			"userAccountControl: 512\nunicodePwd:: %s\n\n",
			name, testenv.SambaPeopleDN, name, base64.StdEncoding.EncodeToString(pass))
	}
	return b.String()
}
