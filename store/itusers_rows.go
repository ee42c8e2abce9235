package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// reader is what *Store and *tx have in common.
type reader interface {
	each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error
}

// selectUsers reads users in one statement, their ids in a second and their links in a third.
func selectUsers(ctx context.Context, r reader, f itusers.Filter) (users []itusers.User, err error) {
	chosen, args := selectKeys(f)
	if f.Limit > 0 && f.Limit <= longList {
		if chosen, args, err = once(ctx, r, chosen, args); err != nil || len(args) == 0 {
			return nil, err
		}
	}
	query := `SELECT u.key, u.username, u.name, u.email, u.active, ` + enrolled + ` FROM it_users u
		WHERE u.key IN (` + chosen + `) ORDER BY u.folded`
	err = r.each(ctx, query, args, func(scan func(...any) error) error {
		var u itusers.User
		err := scan(&u.Key, &u.Username, &u.Name, &u.Email, &u.Active, &u.Enrolled)
		users = append(users, u)
		return err
	})
	if err != nil {
		return nil, err
	}
	byKey := make(map[string]*itusers.User, len(users))
	for i := range users {
		byKey[users[i].Key] = &users[i]
	}
	if err := addIDs(ctx, r, byKey, chosen, args); err != nil {
		return nil, err
	}
	return users, addLinks(ctx, r, byKey, chosen, args)
}

// longList is how many keys a statement lists; of more users, the selection is made anew in each statement.
const longList = 512

// once selects keys a single time, as a list for the statements that follow: a search may have to look at everybody. The list has
// one of four lengths, because each text of a statement stays prepared.
func once(ctx context.Context, r reader, query string, args []any) (list string, keys []any, err error) {
	err = r.each(ctx, query, args, func(scan func(...any) error) error {
		var key string
		err := scan(&key)
		keys = append(keys, key)
		return err
	})
	if err != nil || len(keys) == 0 {
		return "", nil, err
	}
	for _, n := range []int{1, 64, 256, longList} {
		for len(keys) <= n {
			if len(keys) == n {
				return strings.Trim(tuples(1, n), "()"), keys, nil
			}
			keys = append(keys, "") // nobody's
		}
	}
	return "", nil, fmt.Errorf("more users than asked for: %d", len(keys))
}

// selectKeys is the statement that selects the keys of the users that a filter lets through.
func selectKeys(f itusers.Filter) (query string, args []any) {
	all := []string{`1 = 1`}
	and := func(condition string, value any) {
		args = append(args, value)
		all = append(all, strings.ReplaceAll(condition, "$", fmt.Sprintf("$%d", len(args))))
	}
	if f.Username != "" {
		and(`u.folded = $`, f.Username)
	}
	if f.Text != "" {
		and(`u.search LIKE $ ESCAPE '\'`, containing(f.Text))
	}
	if f.Environment != "" {
		and(`(u.places & $) <> 0`, Place(f.Environment))
		and(`EXISTS (SELECT 1 FROM it_user_ids i WHERE i.it_user = u.key AND i.environment = $)`, f.Environment)
	}
	if f.ID != 0 {
		args = append(args, f.Environment, f.ID)
		all = append(all, fmt.Sprintf(`u.key IN (SELECT i.it_user FROM it_user_ids i WHERE i.environment = $%d AND i.id = $%d)`,
			len(args)-1, len(args)))
	}
	if f.After != "" {
		and(`u.folded > $`, authn.FoldName(f.After))
	}
	if f.Inactive {
		all = append(all, `u.active = 0`)
	}
	if f.Active {
		all = append(all, `u.active = 1`)
	}
	if f.NoFactor {
		all = append(all, lacksFactor)
	}
	if f.Unlinked {
		all = append(all, lacksLink)
	}
	query = `SELECT u.key FROM it_users u WHERE ` + strings.Join(all, ` AND `)
	if f.Limit > 0 {
		args = append(args, f.Limit)
		query += fmt.Sprintf(` ORDER BY u.folded LIMIT $%d`, len(args))
	}
	return query, args
}

func addIDs(ctx context.Context, r reader, users map[string]*itusers.User, chosen string, args []any) error {
	query := `SELECT it_user, environment, id FROM it_user_ids WHERE it_user IN (` + chosen + `)`
	return r.each(ctx, query, args, func(scan func(...any) error) error {
		var key, environment string
		var id int32
		err := scan(&key, &environment, &id)
		if u := users[key]; u != nil { // it may have come since the first statement
			if u.IDs == nil {
				u.IDs = map[string]int32{}
			}
			u.IDs[environment] = id
		}
		return err
	})
}

func addLinks(ctx context.Context, r reader, users map[string]*itusers.User, chosen string, args []any) error {
	query := `SELECT it_user, provider, subject, username, since FROM links
		WHERE it_user IN (` + chosen + `) ORDER BY provider`
	return r.each(ctx, query, args, func(scan func(...any) error) error {
		var key string
		var l itusers.Link
		var since int64
		err := scan(&key, &l.Provider, &l.Subject, &l.Username, &since)
		if u := users[key]; u != nil {
			l.Since = fromMicros(since)
			u.Links = append(u.Links, l)
		}
		return err
	})
}

// putUsers writes users without their links. All old ids go before the first new one comes, so that ids can be
// exchanged between users. What is disabled is signed out for good: enabled again, nobody goes on where they were stopped.
func putUsers(ctx context.Context, tx *tx, users []itusers.User) error {
	var rows, keys, ids, disabled []any
	for _, u := range users {
		if !u.Active {
			disabled = append(disabled, u.Key)
		}
		rows = append(rows, u.Key, authn.FoldName(u.Username), u.Username, u.Name, u.Email, flag(u.Active),
			searched(u.Username, u.Name, u.Email), places(u.IDs))
		keys = append(keys, u.Key)
		for _, environment := range slices.Sorted(maps.Keys(u.IDs)) {
			ids = append(ids, u.Key, environment, u.IDs[environment])
		}
	}
	err := inBatches(ctx, tx, rows, 8, `INSERT INTO it_users (key, folded, username, name, email, active, search, places) VALUES `,
		` ON CONFLICT (key) DO UPDATE SET folded = excluded.folded, username = excluded.username, name = excluded.name,
		email = excluded.email, active = excluded.active, search = excluded.search, places = excluded.places`)
	if err != nil {
		return err
	}
	if err := inBatches(ctx, tx, keys, 1, `DELETE FROM it_user_ids WHERE it_user IN (VALUES `, `)`); err != nil {
		return err
	}
	if err := inBatches(ctx, tx, ids, 3, `INSERT INTO it_user_ids (it_user, environment, id) VALUES `, ``); err != nil {
		return err
	}
	if err := inBatches(ctx, tx, disabled, 1, `DELETE FROM sessions WHERE it_user IN (VALUES `, `)`); err != nil {
		return err
	}
	// The row stays, so that a tool that goes on sending the token is not taken for somebody who guesses one; the audit tells when.
	return inBatches(ctx, tx, disabled, 1, `UPDATE tokens SET revoked = created WHERE revoked = 0 AND it_user IN (VALUES `, `)`)
}

// batch is how many rows one statement writes: a round trip per row would make a large import slow on PostgreSQL.
const batch = 200

// inBatches runs a statement over tuples of values. There are two texts of it at most, because each stays prepared.
func inBatches(ctx context.Context, tx *tx, values []any, width int, before, after string) error {
	for len(values) > 0 {
		n := batch
		if len(values) < n*width {
			n = 1
		}
		if _, err := tx.exec(ctx, before+tuples(n, width)+after, values[:n*width]...); err != nil {
			return err
		}
		values = values[n*width:]
	}
	return nil
}

// tuples is "($1, $2), ($3, $4)" for so many rows of that width.
func tuples(rows, width int) string {
	var b strings.Builder
	for i := range rows * width {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%width == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String() + ")"
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
