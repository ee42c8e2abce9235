package store

import (
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"

	"github.com/pressly/goose/v3"

	"github.com/idbridge/idbridge/authn"
)

// maxSearch bounds what is searched of one IT user, in bytes: PostgreSQL's indexes take no long texts.
const maxSearch = 1024

// searched is what an IT user is searched by: user name, name and e-mail, so that upper and lower case do not matter in any
// alphabet: LOWER of SQLite knows the English one only.
func searched(username, name, email string) string {
	text := authn.FoldName(username) + "\n" + authn.FoldName(name) + "\n" + authn.FoldName(email)
	if len(text) > maxSearch {
		text = text[:maxSearch]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return text
}

// containing is the pattern of a LIKE with ESCAPE '\' for what contains a text, folded.
func containing(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(authn.FoldName(text)) + "%"
}

// fillSearch is the migration behind 00009_search.sql: no SQL folds as authn does.
var fillSearch = goose.NewGoMigration(10, &goose.GoFunc{RunTx: func(ctx context.Context, t *sql.Tx) error {
	texts := map[string]string{} // by key
	err := eachRow(ctx, func(ctx context.Context, args ...any) (*sql.Rows, error) {
		return t.QueryContext(ctx, `SELECT key, username, name, email FROM it_users`, args...)
	}, nil, func(scan func(...any) error) error {
		var key, username, name, email string
		err := scan(&key, &username, &name, &email)
		texts[key] = searched(username, name, email)
		return err
	})
	if err != nil {
		return err
	}
	for key, text := range texts {
		if _, err := t.ExecContext(ctx, `UPDATE it_users SET search = $1 WHERE key = $2`, text, key); err != nil {
			return err
		}
	}
	return nil
}}, nil)
