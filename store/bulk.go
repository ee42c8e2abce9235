package store

import (
	"context"
	"regexp"
)

// bulk is one statement over many rows, in a few texts for different numbers of them: each text stays prepared.
type bulk struct {
	width int // values of a row
	texts []bulkText
}

// bulkText is one of them. SQLite looks each $1 up among all names of the statement, which for 272 of them takes as long as
// an insert; a ? has no name.
type bulkText struct {
	rows             int
	postgres, sqlite string
}

var numbered = regexp.MustCompile(`\$[0-9]+`)

// newBulk is made for numbers of rows that fall, the last of them 1.
func newBulk(before string, width int, after string, rows ...int) bulk {
	b := bulk{width: width}
	for _, n := range rows {
		text := before + tuples(n, width) + after
		b.texts = append(b.texts, bulkText{n, text, numbered.ReplaceAllLiteralString(text, "?")})
	}
	return b
}

// run takes the rows' values, one row behind the other.
func (b bulk) run(ctx context.Context, t *tx, values []any) error {
	for _, text := range b.texts {
		query := text.sqlite
		if t.postgres {
			query = text.postgres
		}
		for n := text.rows * b.width; len(values) >= n; values = values[n:] {
			if _, err := t.exec(ctx, query, values[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}
