package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// documented wants commands in docs/operations.md as a test is about to run them.
func documented(t *testing.T, commands ...string) {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if !bytes.Contains(text, []byte(c)) {
			t.Errorf("docs/operations.md lacks %q", c)
		}
	}
}

// disaster is an installation that is copied while people sign in, is used on, is lost, and comes back from the copy in another
// folder.
type disaster struct {
	*door
	factor     enrolment // of user00100, whom nobody else uses
	user       string
	password   string
	person     visitor // user00042, with a session and a token that are older than the copy
	token      string
	kept       string // number and MAC of the end of the audit, after the copy
	usedCode   string // after the copy, as the next
	usedRescue string
	step       int64 // in which it was restored
}

func newDisaster(t *testing.T, store string) *disaster {
	b := emptyBridge(t)
	b.store = store
	b.slapd = testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory + 1})
	b.urls, b.providers = []string{b.slapd.URL}, b.ldapProvider
	x := &disaster{door: b.withPortal(b.slapd.CA, "mfa: {policy: enrolled}\n"), user: testenv.SlapdUser(usersInDirectory)}
	x.password = testenv.SlapdPassword(x.user)
	b.importUsers()
	b.run("", "users", "import", "--config", b.configure(1, 2), b.write("more.csv", "username,active,id:production\n"+x.user+",true,1100\n"))
	x.factor = b.enrol(x.user)
	x.node = b.serve()
	x.person = x.door.person()
	x.person.post("/login", "username", testenv.SlapdUser(43), "password", testenv.SlapdPassword(testenv.SlapdUser(43)))
	x.token = x.tokenOf(testenv.SlapdUser(42))
	return x
}

// underLoad copies in the middle of sign-ins, none of which may fail.
func (x *disaster) underLoad(take func()) {
	x.t.Helper()
	granted, stop := x.signingIn(x.node)
	defer stop()
	x.await("people sign in", func() bool { return granted.Load() > 20 })
	take()
	after := granted.Load()
	x.await("people still sign in", func() bool { return granted.Load() > after+20 })
}

// goOn is what happens after the copy was made, and is lost with the installation.
func (x *disaster) goOn() {
	x.t.Helper()
	x.usedCode, x.usedRescue = x.factor.next(), x.factor.recovery[3]
	for _, code := range []string{x.usedCode, x.usedRescue} {
		if a := x.must(x.node, x.user, x.password+code); !a.Success || a.UserID != 1100 {
			x.t.Fatalf("before the disaster: %+v\n%s", a, x.node.Output())
		}
	}
	said := x.run("", "audit", "verify", "--config", x.configure(1, 2))
	m := regexp.MustCompile(`up to number (\d+), mac ([0-9a-f]{64})`).FindStringSubmatch(said)
	if m == nil {
		x.t.Fatal(said)
	}
	x.kept = m[1] + ":" + m[2]
	x.node.Kill()
}

// comeBack makes a folder that has the key and the configuration, and restores into it.
func (x *disaster) comeBack(restore func(dir string)) {
	x.t.Helper()
	key, err := os.ReadFile(x.file("master.key"))
	x.check(err)
	x.dir = x.t.TempDir()
	x.write("master.key", string(key))
	restore(x.dir)
}

// restored runs what the document says, and looks at what is told of what is lost.
func (x *disaster) restored() {
	x.t.Helper()
	config := x.configure(1, 2)
	said := x.run("", "restored", "--reason", "disk failed, ticket 4711", "--config", config)
	x.step = time.Now().Unix() / 30
	for _, want := range []string{"2 session(s), 1 sign-in token(s)", "10 recovery code(s)", "codes of 1 authenticator app(s) are good again in a minute"} {
		if !strings.Contains(said, want) {
			x.t.Errorf("restored does not say %q:\n%s", want, said)
		}
	}
	x.verifyAudit()
	if said, err := x.try("audit", "verify", "--kept", x.kept, "--config", config); err == nil ||
		!strings.Contains(said, "record(s) are missing") {
		x.t.Errorf("the end of the audit that was lost is not missed: %v\n%s", err, said)
	}
}

// works signs people in, and wants nothing that was used before the disaster to be good.
func (x *disaster) works() {
	x.t.Helper()
	x.node = x.serve()
	if a := x.must(x.node, testenv.SlapdUser(7), testenv.SlapdPassword(testenv.SlapdUser(7))); !a.Success || a.UserID != 1007 {
		x.t.Errorf("after the disaster: %+v\n%s", a, x.node.Output())
	}
	for what, code := range map[string]string{"code": x.usedCode, "recovery code": x.usedRescue} {
		if a := x.must(x.node, x.user, x.password+code); a.Success {
			x.t.Errorf("a %s was used twice", what)
		}
	}
	if a := x.must(x.node, testenv.SlapdUser(42), x.token); a.Success {
		x.t.Error("a token from before the copy still signs in")
	}
	if page := x.person.post("/account/tokens"); !strings.Contains(page, `id="password"`) {
		x.t.Errorf("a session from before the copy goes on:\n%s", page)
	}
	for time.Now().Unix()/30 <= x.step { // until the device shows a code that nobody can have seen
		time.Sleep(100 * time.Millisecond)
	}
	if a := x.must(x.node, x.user, x.password+x.factor.code(x.step+2)); !a.Success || a.UserID != 1100 {
		x.t.Errorf("with the second factor: %+v\n%s", a, x.node.Output())
	}
	trail := x.run("", "audit", "export", "--config", x.configure(1, 2))
	if !strings.Contains(trail, `"action":"backup restored"`) || !strings.Contains(trail, "disk failed, ticket 4711") {
		x.t.Error("the restore is not in the audit")
	}
	x.verifyAudit()
}

// TestRestoreSQLite tries what docs/operations.md says of backups of SQLite.
func TestRestoreSQLite(t *testing.T) {
	t.Parallel()
	documented(t, "idbridge backup FILE", "idbridge restored --reason TEXT", "idbridge audit verify --kept NUMBER:MAC")
	x := newDisaster(t, "driver: sqlite\n  path: idbridge.db")
	copied := filepath.Join(t.TempDir(), "copy.db")
	var said string
	x.underLoad(func() { said = x.run("", "backup", copied, "--config", x.configure(1, 2)) })
	if !strings.Contains(said, "101 IT user(s), 1 second factor(s)") || !strings.Contains(said, "not in it: the master key (master.key)") {
		t.Error(said)
	}
	x.goOn()
	x.comeBack(func(dir string) { x.check(os.Rename(copied, filepath.Join(dir, "idbridge.db"))) })

	if out, err := x.try("serve", "--config", x.configure(testenv.FreePort(t), testenv.FreePort(t))); err == nil ||
		!strings.Contains(out, "Run idbridge restored --reason TEXT first") {
		t.Errorf("a copy serves as if nothing had happened: %v\n%s", err, out)
	}
	x.restored()
	m := regexp.MustCompile(`--kept: (\S+)`).FindStringSubmatch(said)
	x.run("", "audit", "verify", "--kept", m[1], "--config", x.configure(1, 2))
	x.works()
}

// TestRestorePostgreSQL tries what docs/operations.md says of backups of PostgreSQL, with the command that idbridge backup says.
func TestRestorePostgreSQL(t *testing.T) {
	t.Parallel()
	documented(t, "pg_restore --exit-on-error --no-owner --dbname=URL FILE")
	server := testenv.Postgres(t)
	x := newDisaster(t, "driver: postgres\n  dsn: "+server.NewDatabase(t))
	copied := filepath.Join(t.TempDir(), "copy.dump")
	said, err := x.try("backup", copied, "--config", x.configure(1, 2))
	m := regexp.MustCompile(`pg_dump \S.*`).FindString(said)
	if err == nil || m == "" {
		t.Fatalf("%v: %s", err, said)
	}
	x.underLoad(func() { x.shell(m, "") })
	x.goOn()
	x.store = "driver: postgres\n  dsn: " + server.NewDatabase(t)
	x.comeBack(func(string) {
		x.shell("pg_restore --exit-on-error --no-owner --dbname='"+strings.TrimPrefix(x.store, "driver: postgres\n  dsn: ")+"' "+copied, "")
	})
	x.restored()
	x.works()
}

// TestKeyRotation does what docs/operations.md says of keys, on two nodes that sign people in meanwhile. Afterwards nothing
// needs the old key.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	documented(t, "`idbridge keys generate --id NEW`", "`idbridge keys rotate`")
	b := emptyBridge(t)
	b.slapd = testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory + 1})
	b.urls, b.extra = []string{b.slapd.URL}, "managed: store\n"
	b.providers = func() string { return b.ldapProvider() + "  - {id: glass, type: local, match: {pattern: 'bg-.+'}}\n" }
	b.importUsers()
	config, user := b.configure(1, 2), testenv.SlapdUser(usersInDirectory)
	b.run("", "users", "import", "--config", config, b.write("more.csv", "username,active,id:production\n"+user+",true,1100\nbg-ann,true,77\n"))
	b.run("", "breakglass", "add", "--config", config, "bg-ann")
	factor := b.enrol(user)
	old := b.read("master.key")
	first, second := b.serve(), b.serve()
	signIn := func(n *node) {
		t.Helper()
		if a := b.must(n, user, testenv.SlapdPassword(user)+factor.next()); !a.Success || a.UserID != 1100 {
			t.Errorf("with the second factor: %+v\n%s", a, n.Output())
		}
	}

	fresh := b.run("", "keys", "generate", "--id", "fresh")
	b.write("master.key", fresh+old)
	_, stop := b.signingIn(second)
	first.Stop()
	first = b.serve()
	stop()
	_, stop = b.signingIn(first)
	second.Stop()
	second = b.serve()
	said := b.run("", "keys", "rotate", "--config", config)
	b.write("master.key", fresh)
	third := b.serve()
	stop()
	if said != "4 secret(s) sealed anew under key fresh\n" { // the audit's key, the factor, the version, the account
		t.Error(said)
	}
	second.Stop()
	signIn(third)
	b.verifyAudit()
	if text := b.run("", "config", "show", "--config", config); !strings.Contains(text, "type: ldap") {
		t.Errorf("the version cannot be read:\n%s", text)
	}
	b.run("", "breakglass", "activate", "--config", config, "bg-ann", "--for", "1h")
	b.write("master.key", old)
	if out, err := b.try("audit", "verify", "--config", config); err == nil || !strings.Contains(out, "is this the key file the store was made with?") {
		t.Errorf("the old key still opens something: %v\n%s", err, out)
	}
}
