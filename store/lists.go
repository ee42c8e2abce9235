package store

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/pressly/goose/v3"
)

// lacksLink and lacksFactor are those users u without any link, or any confirmed second factor, for lists: an index has just them. What a
// sign-in decides goes by the rows of links and factors themselves.
const (
	lacksLink   = `u.link_count = 0`
	lacksFactor = `u.factor_count = 0`
)

// Place is an environment's bit in it_users.places. Environments may share one: it tells whose ids need not be looked at, no more. It is
// in databases, so it stays what it is.
func Place(environment string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(environment)) // never fails
	return 1 << (h.Sum32() % 63)
}

func places(ids map[string]int32) (bits int64) {
	for environment := range ids {
		bits |= Place(environment)
	}
	return bits
}

// What happens to the counts when a row comes (NEW) or goes (OLD).
const (
	linkComes   = `UPDATE it_users SET link_count = link_count + 1 WHERE key = NEW.it_user; `
	linkGoes    = `UPDATE it_users SET link_count = link_count - 1 WHERE key = OLD.it_user; `
	factorComes = `UPDATE it_users SET factor_count = factor_count + 1 WHERE key = NEW.it_user AND NEW.confirmed > 0; `
	factorGoes  = `UPDATE it_users SET factor_count = factor_count - 1 WHERE key = OLD.it_user AND OLD.confirmed > 0; `
)

// counting are the triggers that keep the counts, whoever writes links and factors: no statement can forget it, nor can an older program
// that still runs on another node. They count up and down instead of looking again: on PostgreSQL a look does not see what others are
// about to commit. A code that is used up, or a secret that is sealed anew, runs none of them.
var counting = []struct{ name, on, does string }{
	{"link_comes", "INSERT ON links", linkComes},
	{"link_goes", "DELETE ON links", linkGoes},
	{"link_moves", "UPDATE OF it_user ON links", linkGoes + linkComes},
	{"factor_comes", "INSERT ON factors", factorComes},
	{"factor_goes", "DELETE ON factors", factorGoes},
	{"factor_changes", "UPDATE OF it_user, confirmed ON factors", factorGoes + factorComes},
}

// triggers are the statements that make those of counting: the databases write them differently.
func triggers(dialect goose.Dialect) (statements []string) {
	if dialect != goose.DialectPostgres {
		for _, t := range counting {
			statements = append(statements, fmt.Sprintf(`CREATE TRIGGER %s AFTER %s BEGIN %sEND`, t.name, t.on, t.does))
		}
		return statements
	}
	// Writers wait from the start: one that holds a user and wants a link would be in the way later.
	statements = []string{`LOCK TABLE it_users, it_user_ids, links, factors IN SHARE ROW EXCLUSIVE MODE`}
	for _, t := range counting {
		statements = append(statements,
			fmt.Sprintf(`CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %sRETURN NULL; END $$`, t.name, t.does),
			fmt.Sprintf(`CREATE TRIGGER %[1]s AFTER %[2]s FOR EACH ROW EXECUTE FUNCTION %[1]s()`, t.name, t.on))
	}
	return statements
}

// fillLists is the migration behind 00012_lists.sql.
func fillLists(dialect goose.Dialect) *goose.Migration {
	const listed = ` ON it_users (folded, active, places, search, key)` // all that a search asks for
	statements := slices.Concat(triggers(dialect), []string{
		`DROP INDEX it_users_search`,
		`UPDATE it_users SET places = 0,
			link_count = (SELECT COUNT(*) FROM links l WHERE l.it_user = it_users.key),
			factor_count = (SELECT COUNT(*) FROM factors f WHERE f.it_user = it_users.key AND f.confirmed > 0)`,
	})
	indexes := []string{
		`CREATE INDEX it_users_search` + listed,
		`CREATE INDEX it_users_unlinked` + listed + ` WHERE link_count = 0`,
		`CREATE INDEX it_users_no_factor` + listed + ` WHERE factor_count = 0`,
	}
	return goose.NewGoMigration(13, &goose.GoFunc{RunTx: func(ctx context.Context, t *sql.Tx) error {
		if err := runAll(ctx, t, statements); err != nil {
			return err
		}
		if err := fillPlaces(ctx, t); err != nil {
			return err
		}
		return runAll(ctx, t, indexes)
	}}, nil)
}

func runAll(ctx context.Context, t *sql.Tx, statements []string) error {
	for _, s := range statements {
		if _, err := t.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%.60s: %w", s, err)
		}
	}
	return nil
}

func fillPlaces(ctx context.Context, t *sql.Tx) error {
	var environments []string
	err := eachRow(ctx, func(ctx context.Context, args ...any) (*sql.Rows, error) {
		return t.QueryContext(ctx, `SELECT DISTINCT environment FROM it_user_ids`, args...)
	}, nil, func(scan func(...any) error) error {
		var environment string
		err := scan(&environment)
		environments = append(environments, environment)
		return err
	})
	if err != nil {
		return err
	}
	for _, environment := range environments {
		const fill = `UPDATE it_users SET places = places | $1 WHERE key IN (SELECT it_user FROM it_user_ids WHERE environment = $2)`
		if _, err := t.ExecContext(ctx, fill, Place(environment), environment); err != nil {
			return err
		}
	}
	return nil
}
