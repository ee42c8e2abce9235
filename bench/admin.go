package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

const (
	// adminTimes is how often each question is asked.
	adminTimes = 100
	// adminP95 is how long 95 of 100 answers may take, in milliseconds.
	adminP95 = 100
	// adminGroup is the group of slapd whose members administer.
	adminGroup = "bench-admins"
)

// compareAdmin measures the administrators' door with 100,000 IT users and 5 million records, on both stores: each question
// through the API of the real program; then sign-ins while a source of so many users is read.
func (b *bench) compareAdmin() (all []goal, err error) {
	defer b.recoverFatal(&err)
	b.addAdminGroup()
	for _, s := range []struct{ name, settings string }{
		{"SQLite", "driver: sqlite\n  path: idbridge.db"},
		{"PostgreSQL", "driver: postgres\n  dsn: " + testenv.DurablePostgres(b).DSN},
	} {
		if !strings.Contains(b.stores, s.name) {
			continue
		}
		reached, err := b.adminWith(s.name, s.settings)
		if err != nil {
			return nil, fmt.Errorf("administration with %s: %w", s.name, err)
		}
		all = append(all, reached...)
	}
	return all, nil
}

// addAdminGroup puts the last user, who takes no part in other loads, into a group.
func (b *bench) addAdminGroup() {
	conn, err := b.slapd.dial()
	if err == nil {
		defer conn.Close()
		err = conn.Bind(testenv.SlapdRootDN, testenv.SlapdRootPassword)
	}
	if err == nil {
		add := ldap.NewAddRequest("cn="+adminGroup+","+testenv.SlapdGroupsDN, nil)
		add.Attribute("objectClass", []string{"groupOfNames"})
		add.Attribute("member", []string{b.slapd.rdn + "=" + username(b.users-1) + "," + b.slapd.peopleDN})
		err = conn.Add(add)
	}
	if err != nil {
		b.Fatal("adding a group: ", err)
	}
}

// adminWith measures a bridge of its own on one store.
func (b *bench) adminWith(name, settings string) (all []goal, err error) {
	a := &bench{options: b.options, binary: b.binary, slapd: b.slapd, reference: b}
	a.dir = filepath.Join(b.dir, "admin-"+strings.ToLower(name))
	if a.profile != "" {
		a.profile += "." + strings.ToLower(name)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe bridge's last words:\n%s", err, a.lastWords())
		}
		err = errors.Join(err, a.clean())
	}()
	visitor, err := a.prepareAdmin(name, settings)
	if err != nil {
		return nil, err
	}
	defer visitor.close()
	fmt.Fprintf(os.Stderr, "administration with %s: questions ...\n", name)
	rows, err := a.ask(visitor)
	if err != nil {
		return nil, err
	}
	questionTable(os.Stdout, fmt.Sprintf("administration with %s, %d IT users, %d records of the audit", name, a.itUsers, a.auditRows), rows)
	worst := slices.MaxFunc(rows, func(x, y answered) int { return int(x.p95 - y.p95) })
	all = append(all, goal{"slowest p95 of administration with " + name + ", ms", float64(worst.p95.Microseconds()) / 1000, adminP95, true})
	reached, err := a.beside100k(name, settings)
	return append(all, reached...), err
}

// prepareAdmin starts a bridge on a full database, links the users of the directory, and signs an administrator in.
func (b *bench) prepareAdmin(name, settings string) (visitor *browser, err error) {
	defer b.recoverFatal(&err)
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	b.writeFiles()
	address := b.useAdmin(settings)
	fmt.Fprintf(os.Stderr, "administration with %s: %d IT users, %d records ...\n", name, b.itUsers, b.auditRows)
	if err := b.fillAdmin(settings); err != nil {
		return nil, err
	}
	secret, err := b.enrolAdmin(settings)
	if err != nil {
		return nil, err
	}
	if err := b.restart(); err != nil {
		return nil, err
	}
	if _, err := (load{callers: 16, users: b.users - 1}).run(b.door.signIns); err != nil {
		return nil, err
	}
	return b.administrator(address, secret)
}

// useAdmin gives the configuration an administrators' door, whose address it returns, and another store.
func (b *bench) useAdmin(settings string) string {
	b.usePortal(settings)
	text, err := os.ReadFile(b.config)
	if err != nil {
		b.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b))
	_, tls, _ := strings.Cut(string(text), "  tls: ")
	tls, _, _ = strings.Cut(tls, "\n")
	admins := b.provider("admins", "prefixes: [ADMIN]\n      strip_domain: true", b.slapd.url) + fmt.Sprintf(
		"    groups: {source: search, base_dn: %q, kinds: [groupOfNames], name: cn}\n", testenv.SlapdGroupsDN)
	b.write("idbridge.yaml", strings.Replace(string(text), "providers:\n", "providers:\n"+admins, 1)+fmt.Sprintf("admin:\n"+
		"  public_url: https://%s\n  address: %s\n  tls: %s\n  allow_from: [127.0.0.0/8]\n  session_idle: 10h\n"+
		"  roles: [{role: viewer, provider: admins, group: %s}]\n", address, address, tls, adminGroup))
	return address
}

// enrolAdmin gives the administrator a second factor.
func (b *bench) enrolAdmin(settings string) (secret []byte, err error) {
	ring, err := keyring.Load(filepath.Join(b.dir, "master.key"))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	rows, err := store.Open(ctx, b.storeConfig(settings))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	users, err := rows.Users(ctx, itusers.Filter{Username: username(b.users - 1)})
	if err != nil || len(users) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%d users are the administrator", len(users)))
	}
	e := &enroller{rows: rows, ring: ring, users: make([]itusers.User, b.users), secrets: make([][]byte, b.users)}
	e.users[b.users-1] = users[0]
	err = e.attempt(b.users - 1)
	return e.secrets[b.users-1], err
}

// administrator signs in at the administrators' door.
func (b *bench) administrator(address string, secret []byte) (*browser, error) {
	c, err := b.browse(address, nil)
	if err != nil {
		return nil, err
	}
	visitor := c.(*browser)
	visitor.cookies = map[string]string{}
	who := b.users - 1
	err = visitor.post("/login", url.Values{"username": {`ADMIN\` + username(who)}, "password": {password(who)}}, "/login/next")
	if err == nil {
		code := totp(secret, time.Now().Unix()/totpPeriod)
		err = visitor.post("/login/code", url.Values{"code": {code}}, "/")
	}
	return visitor, err
}

// question is what is asked of the API.
type question struct {
	name string
	path func(n int) string // n is a random number
	want string             // in the answer, where there is one to be known
}

func to(path string) func(int) string { return func(int) string { return path } }

// questions are those of a day at the desk: common ones, and those that are hard to answer.
func (b *bench) questions() []question {
	user := func(n int) string { return username(b.users + n%(b.itUsers-b.users+1) - 1) }
	number := func(n int) string { return fmt.Sprintf("id%08d", 1+n%b.auditRows) }
	now := time.Now()
	span := func(n int, long time.Duration) string { // some time in the days before
		from := now.Add(-time.Duration(n%max(1, b.auditRows-int(long.Seconds()))) * time.Second).Add(-long)
		return "&from=" + from.UTC().Format(time.RFC3339) + "&until=" + from.Add(long).UTC().Format(time.RFC3339)
	}
	scarce := base64.RawURLEncoding.EncodeToString([]byte(username(b.scarce())))
	return []question{
		{"IT users, first page", to("/users"), `"user00000"`},
		{"IT users, deep page", func(n int) string {
			return "/users?limit=200&cursor=" + base64.RawURLEncoding.EncodeToString([]byte(user(n)))
		}, ""},
		{"IT users, disabled", to("/users?state=disabled"), `"active":false`},
		{"IT users, unlinked", to("/users?state=unlinked"), `"links":[]`},
		{"IT users, no factor, test", to("/users?state=no_factor&environment=test"), `"second_factor":false`},
		{"IT users, unlinked, hardly anybody", to("/users?state=unlinked&cursor=" + scarce), `"users":[`},
		{"IT users, no factor, test, nobody", to("/users?state=no_factor&environment=test&cursor=" + scarce), `"users":[`},
		{"IT users, unlinked, no such environment", to("/users?state=unlinked&environment=nowhere"), `"users":[]`},
		{"IT users, text, a user name", func(n int) string { return "/users?text=" + user(n) }, `"user`},
		{"IT users, text, how names begin", to("/users?text=magda"), `Magdalena`},
		{"IT users, text, middle of a word", func(n int) string { return fmt.Sprintf("/users?text=%05d%%40exam", n%b.itUsers) }, ""},
		{"IT users, text, nobody", to("/users?text=zzqx"), `"users":[]`},
		{"IT users, text, disabled, test", to("/users?text=goncal%C3%A7&state=disabled&environment=test"), `"users":[`},
		{"IT users, text, rare, unlinked", to("/users?text=7777&state=unlinked"), `"users":[`},
		{"IT user, everything", func(n int) string { return "/users/" + user(n) }, `"devices"`},
		{"audit, newest", to("/audit"), `"seq"`},
		{"audit, user", func(n int) string { return "/audit?user=" + user(n) }, `"seq"`},
		{"audit, user, refused", func(n int) string { return "/audit?kind=refused&user=" + user(n) }, ""},
		{"audit, a robot's, untrusted", to("/audit?kind=untrusted&user=user00000"), ""},
		{"audit, how names begin, 10", func(n int) string { return "/audit?user=" + user(n)[:8] + "*" }, `"seq"`},
		{"audit, how names begin, 1000", func(n int) string { return "/audit?user=" + user(n)[:6] + "*" }, ""},
		{"audit, how all names begin", to("/audit?user=user*"), `"seq"`},
		{"audit, nobody", to("/audit?user=zzqx*"), `"records":[]`},
		{"audit, environment", to("/audit?environment=test"), `"seq"`},
		{"audit, kind", to("/audit?kind=bad_credentials"), `"seq"`},
		{"audit, refused", to("/audit?kind=refused&limit=200"), `"seq"`},
		{"audit, rare kind, environment", to("/audit?kind=untrusted&environment=test&provider=entra"), ""},
		{"audit, rare provider", to("/audit?provider=partner"), ""},
		{"audit, no such provider", to("/audit?provider=nobody"), `"records":[]`},
		{"audit, an hour, refused", func(n int) string { return "/audit?kind=refused" + span(n, time.Hour) }, ""},
		{"audit, a day, rare provider", func(n int) string { return "/audit?provider=partner" + span(n, 24*time.Hour) }, ""},
		{"audit, a day, a user, test", func(n int) string { return "/audit?environment=test&user=" + user(n) + span(n, 24*time.Hour) }, ""},
		{"audit, correlation id", func(n int) string { return "/audit?id=" + number(n) }, `"seq"`},
		{"audit, no such id", to("/audit?id=nothing"), `"records":[]`},
		{"explain", func(n int) string { return "/calls/" + number(n) }, `"steps"`},
		{"charts, a day", to("/statistics?span=24h"), `"charts"`},
		{"charts, a week, one environment", to("/statistics?span=7d&environment=production"), `"charts"`},
		{"charts, 30 days", to("/statistics?span=30d"), `"charts"`},
	}
}

// answered is how long the answers to a question took.
type answered struct {
	name          string
	p50, p95, max time.Duration
}

// ask asks every question again and again, in turns, so that none finds its own pages still in memory.
func (b *bench) ask(visitor *browser) ([]answered, error) {
	questions := b.questions()
	took := make([][]time.Duration, len(questions))
	random := rand.New(rand.NewPCG(1, 2))
	for range adminTimes {
		for i, q := range questions {
			path := "/api/v1" + q.path(random.IntN(1<<30))
			began := time.Now()
			status, _, answer, err := visitor.ask(http.MethodGet, path, "")
			if err == nil && (status != http.StatusOK || !bytes.Contains(answer, []byte(q.want))) {
				err = fmt.Errorf("%s: %d: %.300s", path, status, answer)
			}
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	rows := make([]answered, len(questions))
	for i, q := range questions {
		slices.Sort(took[i])
		n := len(took[i])
		rows[i] = answered{q.name, took[i][n/2], took[i][n*95/100], took[i][n-1]}
	}
	return rows, nil
}

func questionTable(w io.Writer, title string, rows []answered) {
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "question\tp50\tp95\tmax\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", r.name, short(r.p50), short(r.p95), short(r.max))
	}
	_ = t.Flush() // standard output
}
