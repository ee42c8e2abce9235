package store_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/store"
)

// TestRowsAreInTheTreeOfTheirKey looks at every table that the migrations make, also those of later ones.
func TestRowsAreInTheTreeOfTheirKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	handles(store.Config{Driver: store.SQLite, Path: path})(t)
	db := rawDatabase(t, "sqlite", path)
	rows, err := db.QueryContext(t.Context(), `SELECT name, sql FROM sqlite_schema
		WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tables := 0
	for rows.Next() {
		var name, text string
		must(t, rows.Scan(&name, &text))
		tables++
		if !strings.HasSuffix(text, "WITHOUT ROWID") && !strings.Contains(text, " INTEGER PRIMARY KEY") {
			t.Errorf("%s keeps its rows beside the tree of its primary key:\n%s", name, text)
		}
	}
	if must(t, rows.Err()); tables < 10 {
		t.Errorf("%d tables", tables)
	}
}
