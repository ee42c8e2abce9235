package e2e_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
)

// schema is what an older program made its tables with.
type schema struct {
	number int
	texts  []string
}

// schemas are those of every program there was, oldest first, and of this one.
func schemas(t *testing.T) (list []schema) {
	t.Helper()
	files, err := filepath.Glob("../store/migrations/*.sql")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d migrations, %v", len(files), err)
	}
	var texts []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		list = append(list, schema{atoi(filepath.Base(f)), texts[:len(texts):len(texts)]})
	}
	return list
}

// previously is an installation that people have used: a second factor, links, an audit.
func previously(t *testing.T, slapd *testenv.SlapdServer, store string) (b *bridge, factor enrolment) {
	b = emptyBridge(t)
	b.store, b.slapd, b.urls, b.providers = store, slapd, []string{slapd.URL}, b.ldapProvider
	b.importUsers()
	factor = b.enrol(testenv.SlapdUser(1))
	n := b.serve()
	for _, code := range []string{factor.recovery[0], factor.recovery[1]} {
		if a := b.must(n, testenv.SlapdUser(1), testenv.SlapdPassword(testenv.SlapdUser(1))+code); !a.Success {
			t.Fatalf("%+v\n%s", a, n.Output())
		}
	}
	n.Stop()
	return b, factor
}

// upgraded starts this program on what the older one left.
func (b *bridge) upgraded(factor enrolment) {
	b.t.Helper()
	config := b.configure(1, 2)
	links := b.run("", "users", "show", testenv.SlapdUser(1), "--config", config) // which migrates
	if !strings.Contains(links, "corp") {
		b.t.Errorf("the link to the account is lost:\n%s", links)
	}
	n := b.serve()
	user, password := testenv.SlapdUser(1), testenv.SlapdPassword(testenv.SlapdUser(1))
	for i, c := range []struct {
		code    string
		granted bool
	}{{"", false}, {factor.recovery[1], false}, {factor.code(factor.used), false}, {factor.next(), true}, {factor.recovery[2], true}} {
		if a := b.must(n, user, password+c.code); a.Success != c.granted || a.Success && a.UserID != 1001 {
			b.t.Errorf("sign-in %d: %+v\n%s", i, a, n.Output())
		}
	}
	said := b.run("", "audit", "verify", "--config", config)
	if strings.Contains(said, "restarted") || len(b.reasons(user)) != 7 {
		b.t.Errorf("the audit is not what it was: %q\n%s", b.reasons(user), said)
	}
}

// TestUpgradeSQLite starts this program on databases of older ones, and on one of a newer one.
func TestUpgradeSQLite(t *testing.T) {
	t.Parallel()
	slapd := testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory})
	now, factor := previously(t, slapd, "driver: sqlite\n  path: idbridge.db")
	all := schemas(t)
	for _, old := range []schema{all[0], all[len(all)-2]} {
		t.Run(fmt.Sprintf("from schema %d", old.number), func(t *testing.T) {
			b := *now
			b.t, b.dir = t, t.TempDir()
			b.write("master.key", now.read("master.key"))
			now.rewritten(filepath.Join(b.dir, "idbridge.db"), old)
			b.upgraded(factor)
		})
	}
	db, err := sql.Open("sqlite", now.file("idbridge.db"))
	now.check(err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
	now.check(err)
	now.check(db.Close())
	for _, command := range []string{"serve", "mfa list"} {
		out, err := now.try(append(strings.Fields(command), "--config", now.configure(testenv.FreePort(t), testenv.FreePort(t)))...)
		if err == nil || !strings.Contains(out, "the database has version 9999, this program knows") || !strings.Contains(out, "start the newer idbridge") {
			t.Errorf("%s on a newer database: %v\n%s", command, err, out)
		}
	}
}

func (b *bridge) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.file(name))
	b.check(err)
	return string(text)
}

var createTable = regexp.MustCompile(`(?s)CREATE TABLE .*?\n\);`)

// rewritten writes the rows of the database as an older program kept them.
func (b *bridge) rewritten(file string, old schema) {
	b.t.Helper()
	db, err := sql.Open("sqlite", file)
	b.check(err)
	db.SetMaxOpenConns(1) // what is attached belongs to a connection
	defer func() { b.check(db.Close()) }()
	run := func(query string, args ...any) {
		b.t.Helper()
		if _, err := db.ExecContext(b.t.Context(), query, args...); err != nil {
			b.t.Fatalf("%s: %v", query, err)
		}
	}
	for _, text := range old.texts {
		run(createTable.ReplaceAllStringFunc(text, func(table string) string {
			if strings.Contains(table, "BIGINT PRIMARY KEY") {
				return strings.Replace(table, "BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY", 1)
			}
			return strings.TrimSuffix(table, ";") + " WITHOUT ROWID;"
		}))
	}
	run(`ATTACH $1 AS later`, b.file("idbridge.db"))
	var books string
	b.check(db.QueryRowContext(b.t.Context(), `SELECT sql FROM later.sqlite_master WHERE name = 'goose_db_version'`).Scan(&books))
	run(books)
	for _, table := range b.strings(db, `SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`) {
		columns := strings.Join(b.strings(db, `SELECT name FROM pragma_table_info($1)`, table), ", ")
		run(fmt.Sprintf(`INSERT INTO main.%s (%s) SELECT %s FROM later.%s`, table, columns, columns, table))
	}
	run(`DELETE FROM goose_db_version WHERE version_id > $1`, old.number)
}

func (b *bridge) strings(db *sql.DB, query string, args ...any) (list []string) {
	b.t.Helper()
	rows, err := db.QueryContext(b.t.Context(), query, args...)
	b.check(err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		b.check(rows.Scan(&s))
		list = append(list, s)
	}
	b.check(rows.Err())
	return list
}

// TestUpgradePostgreSQL does so from the schema before administration.
func TestUpgradePostgreSQL(t *testing.T) {
	t.Parallel()
	before := schemas(t)[3]
	server := testenv.Postgres(t)
	later, old := server.NewDatabase(t), server.NewDatabase(t)
	b, factor := previously(t, testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory}), "driver: postgres\n  dsn: "+later)
	psql := func(url, stdin string) string { return b.shell("psql -q -At -v ON_ERROR_STOP=1 '"+url+"'", stdin) }
	psql(old, b.shell("pg_dump -t goose_db_version '"+later+"'", "")+
		fmt.Sprintf("DELETE FROM public.goose_db_version WHERE version_id > %d;", before.number))
	for _, text := range before.texts {
		psql(old, text)
	}
	for _, m := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllStringSubmatch(strings.Join(before.texts, ""), -1) {
		columns := strings.TrimSpace(psql(old, "SELECT string_agg(column_name, ', ') FROM information_schema.columns WHERE table_name = '"+m[1]+"'"))
		psql(old, fmt.Sprintf("COPY %s (%s) FROM STDIN;\n", m[1], columns)+
			psql(later, fmt.Sprintf("COPY (SELECT %s FROM %s) TO STDOUT;\n", columns, m[1]))+"\\.\n")
	}
	b.store = "driver: postgres\n  dsn: " + old
	b.upgraded(factor)
}

// shell runs one of PostgreSQL's own programs.
func (b *bridge) shell(command, stdin string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "sh", "-c", command)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}
