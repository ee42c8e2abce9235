package store_test

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/store"
)

var benchRows = flag.Int("insight.rows", 100_000, "records of the audit for BenchmarkInsight")

// filled are the statements that put %[1]d records of 100,000 people into an empty database, one a second, with their index.
var filled = []string{
	`PRAGMA synchronous = OFF`,
	`INSERT INTO audit_classes SELECT 1 + k.i*4 + e.i*2 + p.i, 'sign-in', e.name, p.name, k.name, 0, 1
		FROM (SELECT 0 AS i, 'ok' AS name UNION SELECT 1, 'bad_credentials' UNION SELECT 2, 'locked' UNION SELECT 3, 'untrusted') k,
		(SELECT 0 AS i, 'production' AS name UNION SELECT 1, 'test') e, (SELECT 0 AS i, 'corp' AS name UNION SELECT 1, 'entra') p`,
	`CREATE TEMP TABLE g AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %[1]d)
		SELECT i, 1700000000000000 + i*1000000 AS at, (i*7919) %% 100000 AS u, 1 + (i%%3 = 0)*2 + (i%%5 = 0)
		+ 4*(CASE WHEN i%%10 < 8 THEN 0 WHEN i%%10 = 8 THEN 1 WHEN i%%1000 = 9 THEN 3 ELSE 2 END) AS class FROM c`,
	`INSERT INTO audit SELECT g.i, g.at, printf('id%%d', g.i), 'sign-in', '', c.environment, printf('user%%06d', g.u), c.provider,
		printf('s%%06d', g.u), printf('user%%06d', g.u), c.kind, 'wrong_password', 'password', '192.0.2.1', 5000000, '', zeroblob(32)
		FROM g JOIN audit_classes c ON c.class = g.class ORDER BY g.i`,
	`INSERT INTO audit_index SELECT class, at, i FROM g ORDER BY 1, 2, 3`,
	`INSERT INTO audit_names SELECT CAST(printf('user%%06d', u) AS BLOB), at, i, class FROM g ORDER BY 1, 2, 3`,
	`INSERT INTO audit_ids SELECT printf('id%%d', i), i FROM g ORDER BY 1, 2`,
	`INSERT INTO audit_places VALUES ('insight', %[1]d)`,
	`INSERT INTO audit_head VALUES ('head', x'00', %[1]d, x'00', 0, x'', x'01')`,
}

// BenchmarkInsight is what a question to the audit costs on SQLite: go test ./store -run '^$' -bench Insight -insight.rows 5000000.
func BenchmarkInsight(b *testing.B) {
	c := store.Config{Driver: store.SQLite, Path: filepath.Join(b.TempDir(), "x.db")}
	open := func() *store.Store {
		s, err := store.Open(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	_ = open().Close()
	db, err := sql.Open("sqlite", c.Path)
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1) // the temporary table is of one connection
	for _, statement := range filled {
		if _, err := db.Exec(fmt.Sprintf(statement+"%[2]s", *benchRows, "")); err != nil {
			b.Fatal(statement, err)
		}
	}
	_ = db.Close()
	rows := open()
	defer func() { _ = rows.Close() }()
	s := insight.Searcher{Finder: rows}
	first := time.UnixMicro(1_700_000_000_000_000)
	for name, ask := range map[string]func(i int) insight.Query{
		"newest":         func(int) insight.Query { return insight.Query{} },
		"user":           func(i int) insight.Query { return insight.Query{User: fmt.Sprintf("user%06d", i*997%100_000)} },
		"prefix of 100":  func(i int) insight.Query { return insight.Query{User: fmt.Sprintf("user%04d", i%1000), Prefix: true} },
		"prefix of 1000": func(i int) insight.Query { return insight.Query{User: fmt.Sprintf("user%03d", i%100), Prefix: true} },
		"untrusted":      func(int) insight.Query { return insight.Query{Kind: "untrusted", Environment: "test"} },
		"an hour": func(i int) insight.Query {
			from := first.Add(time.Duration(i*3600%*benchRows) * time.Second)
			return insight.Query{Kind: insight.Refused, From: from, Until: from.Add(time.Hour)}
		},
	} {
		b.Run(name, func(b *testing.B) {
			for i := range b.N {
				if _, err := s.Search(b.Context(), ask(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("explain", func(b *testing.B) {
		for i := range b.N {
			if _, err := s.Explain(b.Context(), fmt.Sprintf("id%d", 1+i*7%*benchRows), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
