package store_test

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

var benchListed = flag.Int("lists.users", 100_000, "IT users for BenchmarkLists")

// BenchmarkLists is what lists of IT users that hardly anybody is on cost, and what a link costs that one of 100,000 users gets. All users
// are on production, every second one is on development, nobody is on test.
//
//	go test ./store -run '^$' -bench Lists -benchtime 100x
func BenchmarkLists(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		c := store.Config{Driver: store.SQLite, Path: filepath.Join(b.TempDir(), "x.db")}
		benchLists(b, c, "sqlite", c.Path, "BLOB")
	})
	b.Run("postgres", func(b *testing.B) {
		dsn := testenv.DurablePostgres(b).DSN
		benchLists(b, store.Config{Driver: store.Postgres, DSN: authn.Secret(dsn)}, "pgx", dsn, "BYTEA")
	})
}

func benchLists(b *testing.B, c store.Config, driver, source, bytes string) {
	s, err := store.Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var text strings.Builder
	text.WriteString("username,name,email,active,id:development,id:production\n")
	for i := range *benchListed {
		development := ""
		if i%2 == 0 {
			development = fmt.Sprint(i + 1)
		}
		fmt.Fprintf(&text, "large%06d,Maria Silva %d,maria%d@example.org,true,%s,%d\n", i, i, i, development, i+1)
	}
	if r, err := importWith(s, text.String()); err != nil {
		b.Fatal(err, r.Problems)
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const link = `INSERT INTO links (provider, subject, it_user, username, since) SELECT 'corp', key, key, username, 1 FROM it_users u`
	factor := `INSERT INTO factors (id, it_user, sealed, created, confirmed, last_step) SELECT key, key, CAST('x' AS ` + bytes + `), 1, 1, 0 FROM it_users u`
	const developers = ` WHERE EXISTS (SELECT 1 FROM it_user_ids i WHERE i.it_user = u.key AND i.environment = 'development')`
	unlinked, noFactor := itusers.Filter{Unlinked: true, Limit: 51}, itusers.Filter{NoFactor: true, Limit: 51}
	with := func(f itusers.Filter, text, environment string) itusers.Filter {
		f.Text, f.Environment = text, environment
		return f
	}
	for _, state := range []struct {
		name  string
		fill  []string
		lists map[string]itusers.Filter
	}{
		{"nobody has any", nil, map[string]itusers.Filter{
			"first page": unlinked, "text of nobody": with(unlinked, "zzqx", ""), "environment of nobody": with(noFactor, "", "test"),
		}},
		{"all but one have", []string{link + ` WHERE key <> (SELECT MAX(key) FROM it_users)`, factor + ` WHERE key <> (SELECT MAX(key) FROM it_users)`}, map[string]itusers.Filter{
			"unlinked": unlinked, "no factor": noFactor, "unlinked, text of all": with(unlinked, "maria", ""), "unlinked, text of nobody": with(unlinked, "zzqx", ""),
			"no factor, environment": with(noFactor, "", "production"), "text of nobody": {Text: "zzqx", Limit: 51}, "first page": {Limit: 51},
		}},
		{"development has", []string{`DELETE FROM links`, `DELETE FROM factors`, factor + developers, link + developers}, map[string]itusers.Filter{
			"no factor, development": with(noFactor, "", "development"), "unlinked, text, development": with(unlinked, "maria", "development"),
		}},
	} {
		if driver == "pgx" {
			state.fill = append(state.fill, "VACUUM (ANALYZE)") // as the server does by itself in time
		}
		for _, statement := range state.fill {
			if _, err := db.ExecContext(b.Context(), statement); err != nil {
				b.Fatal(statement, err)
			}
		}
		for name, f := range state.lists {
			b.Run(state.name+"/"+name, func(b *testing.B) {
				p95(b, func(int) error { _, err := s.Users(b.Context(), f); return err })
			})
		}
		b.Run(state.name+"/counts", func(b *testing.B) {
			p95(b, func(int) error { _, err := s.CountUsers(b.Context()); return err })
		})
	}
	users, err := s.Users(b.Context(), itusers.Filter{Unlinked: true})
	if err != nil {
		b.Fatal(err)
	}
	next := 0
	b.Run("a link", func(b *testing.B) {
		p95(b, func(int) error {
			next++
			u := users[next*7919%len(users)].Key
			_, _, err := s.AddLink(b.Context(), u, itusers.Link{Provider: "corp", Subject: u, Username: u, Since: began}, true)
			return err
		})
	})
}

// p95 reports besides the mean what 95 of 100 calls stay below, and the process's own time.
func p95(b *testing.B, call func(i int) error) {
	b.Helper()
	var took []time.Duration
	cpu := cpuTime(b)
	for i := range b.N {
		start := time.Now()
		if err := call(i); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}
