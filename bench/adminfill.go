package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/idbridge/idbridge/store"
)

// What fillAdmin writes is what years of use would have: the same rows, without the years. Every statement is for both databases.
// IT users are user00000 and on, with an id on one or two environments; records come one a second and end now. The
// statements keep to the order of the tables' keys, or they would take ten times as long.
const (
	// fillUsers: one in 50 is disabled. Of those who are not of the directory one in 10 has no link and every third a factor; behind
	// {scarce} all have both, but for the last one.
	fillUsers = `
CREATE TEMP TABLE u AS WITH RECURSIVE c(n) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT n + 1 FROM c WHERE n < {users} - 1)
	SELECT n, 'K' || SUBSTR(CAST(1000000 + (n * 7919) % {users} AS TEXT), 2) || 'ABCDEFGHIJKLMNOPQRS' AS key,
	'user' || SUBSTR(CAST(100000 + n AS TEXT), 2) AS name, f.name AS first, l.name AS last FROM c
	JOIN (SELECT 0 AS i, 'Maria' AS name {first}) f ON f.i = n % 20 JOIN (SELECT 0 AS i, 'Silva' AS name {last}) l ON l.i = n / 20 % 20;
INSERT INTO it_users (key, username, folded, name, email, active, places, search)
	SELECT key, name, name, first || ' ' || last, LOWER(first) || '.' || LOWER(last) || CAST(n AS TEXT) || '@example.test',
	CASE WHEN n >= {linked} AND n % 50 = 7 THEN 0 ELSE 1 END,
	CASE n % 2 WHEN 0 THEN {both} ELSE {production} END, name || '
' || LOWER(first || ' ' || last) || '
' || LOWER(first) || '.' || LOWER(last) || CAST(n AS TEXT) || '@example.test' FROM u ORDER BY key;
INSERT INTO it_user_ids (it_user, environment, id) SELECT key, 'production', n + 1000 FROM u ORDER BY key;
INSERT INTO it_user_ids (it_user, environment, id) SELECT key, 'test', n + 1000 FROM u WHERE n % 2 = 0 ORDER BY key;
INSERT INTO links (provider, subject, it_user, username, since)
	SELECT 'corp', 's-' || name, key, name, 1700000000000000 FROM u WHERE n >= {linked} AND n <> {users} - 1
	AND (n % 10 <> 3 OR n >= {scarce}) ORDER BY name;
INSERT INTO factors (id, it_user, sealed, created, confirmed, last_step, name)
	SELECT 'F' || key, key, {sealed}, 1700000000000000, 1700000000000000, 0, 'telephone' FROM u WHERE n >= {linked} AND n <> {users} - 1
	AND (n % 3 = 0 OR n >= {scarce}) ORDER BY key;
DROP TABLE u`

	// fillAudit: 8 of 10 records are granted sign-ins, 1 in 1,000 has kind untrusted, 1 in 100,000 provider partner, 1 in 101 is of
	// user00000, who is some robot.
	fillAudit = `
INSERT INTO audit_classes (class, action, environment, provider, kind, throttled, sign_in)
	SELECT 1 + k.i * 4 + e.i * 2 + p.i, 'sign-in', e.name, p.name, k.name, 0, 1
	FROM (SELECT 0 AS i, 'ok' AS name UNION SELECT 1, 'bad_credentials' UNION SELECT 2, 'locked' UNION SELECT 3, 'untrusted') k,
	(SELECT 0 AS i, 'production' AS name UNION SELECT 1, 'test') e, (SELECT 0 AS i, 'corp' AS name UNION SELECT 1, 'entra') p;
INSERT INTO audit_classes (class, action, environment, provider, kind, throttled, sign_in)
	VALUES (17, 'sign-in', 'production', 'partner', 'ok', 0, 1);
CREATE TEMP TABLE g AS WITH RECURSIVE c(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM c WHERE i < {records})
	SELECT i, {end} - ({records} - i) * 1000000 AS at, CASE WHEN i % 101 = 0 THEN 0 ELSE i * 7919 % {users} END AS n,
	CASE WHEN i % 100000 = 50001 THEN 17 ELSE 1 + (CASE WHEN i % 3 = 0 THEN 2 ELSE 0 END) + (CASE WHEN i % 5 = 0 THEN 1 ELSE 0 END)
	+ 4 * (CASE WHEN i % 10 < 8 THEN 0 WHEN i % 10 = 8 THEN 1 WHEN i % 1000 = 9 THEN 3 ELSE 2 END) END AS class,
	CASE i % 7 WHEN 0 THEN 7 WHEN 1 THEN 5 WHEN 2 THEN 3 ELSE 2 END AS bucket FROM c;
INSERT INTO audit (seq, time, id, action, actor, environment, username, provider, subject, it_user, kind, reason, factors, source,
	duration, detail, mac) SELECT g.i, g.at, 'id' || SUBSTR(CAST(100000000 + g.i AS TEXT), 2), 'sign-in', '', c.environment,
	'user' || SUBSTR(CAST(100000 + g.n AS TEXT), 2), c.provider, 's-user' || SUBSTR(CAST(100000 + g.n AS TEXT), 2),
	'user' || SUBSTR(CAST(100000 + g.n AS TEXT), 2), c.kind, CASE c.kind WHEN 'ok' THEN '' ELSE 'wrong_password' END, 'password',
	'192.0.2.1', CASE g.bucket WHEN 7 THEN 80000000 WHEN 5 THEN 15000000 WHEN 3 THEN 4000000 ELSE 1500000 END, '', {sealed}
	FROM g JOIN audit_classes c ON c.class = g.class ORDER BY g.i;
INSERT INTO audit_index (class, time, seq) SELECT class, at, i FROM g ORDER BY class, i;
INSERT INTO audit_names (name, time, seq, class)
	SELECT CAST('user' || SUBSTR(CAST(100000 + n AS TEXT), 2) AS {bytes}), at, i, class FROM g ORDER BY n, i;
INSERT INTO audit_ids (id, seq) SELECT 'id' || SUBSTR(CAST(100000000 + i AS TEXT), 2), i FROM g ORDER BY i;
INSERT INTO audit_counts (width, at, class, bucket, n) SELECT 3600, at - at % 3600000000, class, bucket, COUNT(*)
	FROM g GROUP BY 2, 3, 4;
INSERT INTO audit_counts (width, at, class, bucket, n) SELECT 300, at - at % 300000000, class, bucket, COUNT(*)
	FROM g WHERE at > {end} - 691200000000 GROUP BY 2, 3, 4;
INSERT INTO audit_counts (width, at, class, bucket, n) SELECT 86400, at - at % 86400000000, class, bucket, SUM(n)
	FROM audit_counts WHERE width = 3600 GROUP BY 2, 3, 4;
DROP TABLE g`
)

var (
	firstNames = strings.Fields("Maria João Ana Pedro Inês Rui Magdalena Luís Sofia Tiago Beatriz Nuno Carla Miguel Teresa Paulo Rita " +
		"Jorge Helena Vasco")
	lastNames = strings.Fields("Silva Santos Ferreira Pereira Oliveira Costa Rodrigues Martins Jesus Sousa Fernandes Gonçalves Gomes " +
		"Lopes Marques Alves Almeida Ribeiro Pinto Carvalho")
)

// oneOf makes the rows behind the first one of a table of names.
func oneOf(names []string) string {
	var b strings.Builder
	for i, name := range names[1:] {
		fmt.Fprintf(&b, " UNION ALL SELECT %d, '%s'", i+1, name)
	}
	return b.String()
}

// dialect is what the two databases say differently.
type dialect struct{ bytes, mac, before, after string }

var dialects = map[store.Driver]dialect{
	store.SQLite: {"BLOB", "ZEROBLOB(32)", "PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -100000",
		"PRAGMA wal_checkpoint(TRUNCATE)"},
	store.Postgres: {"BYTEA", "CAST(REPEAT('x', 32) AS BYTEA)", "SET work_mem = '256MB'; SET synchronous_commit = off",
		"VACUUM (ANALYZE)"}, // as the server does by itself in time
}

// open opens a database past the store.
func open(c store.Config) (*sql.DB, error) {
	if c.Driver == store.Postgres {
		return sql.Open("pgx", c.DSN.Reveal())
	}
	return sql.Open("sqlite", "file:"+c.Path+"?_pragma=busy_timeout(5000)")
}

// fillAdmin fills an empty database, straight: through the product it would take hours.
func (b *bench) fillAdmin(settings string) (err error) {
	c := b.storeConfig(settings)
	rows, err := store.Open(context.Background(), c) // which makes the tables
	if err != nil {
		return err
	}
	if err := rows.Close(); err != nil {
		return err
	}
	db, err := open(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // temporary tables are of one connection
	d := dialects[c.Driver]
	if err := b.beginChain(db, d.mac); err != nil {
		return err
	}
	text := strings.NewReplacer("{users}", strconv.Itoa(b.itUsers), "{records}", strconv.Itoa(b.auditRows),
		"{linked}", strconv.Itoa(b.users), "{scarce}", strconv.Itoa(b.scarce()),
		"{production}", strconv.FormatInt(store.Place("production"), 10),
		"{both}", strconv.FormatInt(store.Place("production")|store.Place("test"), 10),
		"{end}", strconv.FormatInt(time.Now().UnixMicro(), 10), "{bytes}", d.bytes, "{sealed}", d.mac,
		"{first}", oneOf(firstNames), "{last}", oneOf(lastNames)).Replace(d.before + ";" + fillUsers + ";" + fillAudit + ";" + d.after)
	for statement := range strings.SplitSeq(text, ";") {
		began, statement := time.Now(), strings.TrimSpace(statement)
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%.80s: %w", statement, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			what, _, _ := strings.Cut(statement, "(")
			fmt.Fprintf(os.Stderr, "  %s: %s\n", strings.TrimSpace(what), took.Round(100*time.Millisecond))
		}
	}
	syscall.Sync() // or the first commits of the measurements would wait for gigabytes to be written
	return nil
}

// scarce is the first user behind whom hardly anybody lacks a link or a second factor: four of five users are there.
func (b *bench) scarce() int { return max(b.users, b.itUsers/5) }

// beginChain has the program begin its chain of records behind those that are going to be filled in, which no key has chained.
func (b *bench) beginChain(db *sql.DB, mac string) error {
	_, err := db.Exec(fmt.Sprintf(`INSERT INTO audit (seq, time, id, action, actor, environment, username, provider, subject, it_user, kind,
		reason, factors, source, duration, detail, mac) VALUES (%d, %d, 'x', 'sign-in', '', '', '', '', '', '', 'ok', '', '', '', 0, '', %s)`,
		b.auditRows+1, time.Now().UnixMicro(), mac))
	if err != nil {
		return err
	}
	b.command(b.binary, "audit", "restart", "--config", b.config, "--reason", "bench fills the records before this one in")
	_, err = db.Exec(fmt.Sprintf(`INSERT INTO audit_places (follower, seq) VALUES ('insight', %d)`, b.auditRows))
	return err
}
