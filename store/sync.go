package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

var (
	_ itusers.RunStore  = (*Store)(nil)
	_ itusers.SyncStore = (*Store)(nil)
)

// leaseName is the one row of sync_lease.
const leaseName = "sync"

// keptRuns is how many runs of a source are kept.
const keptRuns = 50

// BeginRun implements itusers.RunStore.
func (s *Store) BeginRun(ctx context.Context, run itusers.Run, until time.Time) (other *itusers.Run, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, tx *tx) error {
		other = nil
		if err := tx.lock(ctx, "sync lease"); err != nil {
			return err
		}
		holder, ends := "", int64(0)
		const held = `SELECT run, until FROM sync_lease WHERE name = $1`
		if _, err := tx.get(ctx, held, []any{leaseName}, &holder, &ends); err != nil {
			return err
		}
		if holder != "" && run.Started.UnixMicro() < ends {
			other = &itusers.Run{ID: holder}
			return readRuns(ctx, tx, `SELECT data FROM sync_runs WHERE id = $1`, []any{holder}, func(r itusers.Run) { other = &r })
		}
		if err := interrupted(ctx, tx, run.Started); err != nil {
			return err
		}
		const take = `INSERT INTO sync_lease (name, run, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET run = excluded.run, until = excluded.until`
		if _, err := tx.exec(ctx, take, leaseName, run.ID, micros(until)); err != nil {
			return err
		}
		return putRun(ctx, tx, run)
	})
	return other, err
}

// interrupted ends runs whose process is gone.
func interrupted(ctx context.Context, tx *tx, now time.Time) error {
	var lost []itusers.Run
	const query = `SELECT data FROM sync_runs WHERE state = $1`
	err := readRuns(ctx, tx, query, []any{string(itusers.RunUnderWay)}, func(r itusers.Run) { lost = append(lost, r) })
	for _, r := range lost {
		r.State, r.Ended = itusers.RunFailed, now
		r.Reason, r.Error = "sync_interrupted", "the process that did it ended before the run"
		if err == nil {
			err = putRun(ctx, tx, r)
		}
	}
	return err
}

func putRun(ctx context.Context, tx *tx, r itusers.Run) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("run of %q: %w", r.Source, err)
	}
	const put = `INSERT INTO sync_runs (id, source, started, state, data) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, data = excluded.data`
	_, err = tx.exec(ctx, put, r.ID, r.Source, micros(r.Started), string(r.State), string(data))
	return err
}

func readRuns(ctx context.Context, from reader, query string, args []any, take func(itusers.Run)) error {
	return from.each(ctx, query, args, func(scan func(...any) error) error {
		var data string
		var r itusers.Run
		if err := scan(&data); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(data), &r)
		take(r)
		return err
	})
}

// KeepRun implements itusers.RunStore.
func (s *Store) KeepRun(ctx context.Context, run itusers.Run, until time.Time) (kept bool, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, tx *tx) error {
		const renew = `UPDATE sync_lease SET until = $1 WHERE name = $2 AND run = $3`
		n, err := tx.exec(ctx, renew, micros(until), leaseName, run.ID)
		if kept = n > 0; err != nil || !kept {
			return err
		}
		return putRun(ctx, tx, run)
	})
	return kept, err
}

// EndRun implements itusers.RunStore.
func (s *Store) EndRun(ctx context.Context, run itusers.Run) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, tx *tx) error {
		if _, err := tx.exec(ctx, `DELETE FROM sync_lease WHERE name = $1 AND run = $2`, leaseName, run.ID); err != nil {
			return err
		}
		if err := putRun(ctx, tx, run); err != nil {
			return err
		}
		const purge = `DELETE FROM sync_runs WHERE source = $1
			AND id NOT IN (SELECT id FROM sync_runs WHERE source = $1 ORDER BY started DESC LIMIT $2)
			AND id NOT IN (SELECT id FROM sync_runs WHERE source = $1 AND state = $3 ORDER BY started DESC LIMIT 1)`
		_, err := tx.exec(ctx, purge, run.Source, keptRuns, string(itusers.RunDone))
		return err
	})
}

// Runs implements itusers.RunStore.
func (s *Store) Runs(ctx context.Context, source string, limit int) (runs []itusers.Run, err error) {
	query, args := `SELECT data FROM sync_runs ORDER BY started DESC`, []any{}
	if source != "" {
		query, args = `SELECT data FROM sync_runs WHERE source = $1 ORDER BY started DESC`, []any{source}
	}
	if limit > 0 {
		args = append(args, limit)
		query += fmt.Sprintf(` LIMIT $%d`, len(args))
	}
	err = readRuns(ctx, s, query, args, func(r itusers.Run) { runs = append(runs, r) })
	return runs, err
}

// Owned implements itusers.SyncStore.
func (s *Store) Owned(ctx context.Context) (list []itusers.Ownership, err error) {
	const query = `SELECT source, ref, it_user, active FROM sync_owned`
	err = s.each(ctx, query, nil, func(scan func(...any) error) error {
		var o itusers.Ownership
		err := scan(&o.Source, &o.Ref, &o.User, &o.Active)
		list = append(list, o)
		return err
	})
	return list, err
}

// SyncUsers implements itusers.SyncStore.
func (s *Store) SyncUsers(ctx context.Context, run string, changes []itusers.SyncChange) (stale []string, err error) {
	keys := make([]string, len(changes))
	for i, c := range changes {
		keys[i] = c.After.Key
	}
	tell := func(c *cache) { c.forgetUsers(keys) }
	err = s.writeTelling(ctx, tell, func(ctx context.Context, tx *tx) error {
		stale = nil
		if err := holdsLease(ctx, tx, run); err != nil {
			return err
		}
		if err := tx.lock(ctx, "it_users"); err != nil {
			return err
		}
		if stale, err = staleOf(ctx, tx, changes); err != nil || len(stale) > 0 {
			return err
		}
		var users []itusers.User
		for _, c := range changes {
			users = append(users, c.After)
		}
		if err := freeNames(ctx, tx, changes); err != nil {
			return err
		}
		if err := putUsers(ctx, tx, users); err != nil {
			return err
		}
		return putOwned(ctx, tx, changes)
	})
	return stale, err
}

func holdsLease(ctx context.Context, tx *tx, run string) error {
	holder := ""
	if _, err := tx.get(ctx, `SELECT run FROM sync_lease WHERE name = $1`, []any{leaseName}, &holder); err != nil {
		return err
	}
	if holder != run {
		return authn.Errorf(authn.Unavailable, "sync_interrupted", "another run has begun meanwhile")
	}
	return nil
}

// staleOf finds the changes whose users are not as they were planned with.
func staleOf(ctx context.Context, tx *tx, changes []itusers.SyncChange) (stale []string, err error) {
	inChunk := map[string]bool{}
	for _, c := range changes {
		inChunk[c.After.Key] = true
	}
	for _, c := range changes {
		now, err := selectUser(ctx, tx, c.After.Key)
		if err != nil {
			return nil, err
		}
		taken, err := isTaken(ctx, tx, c, inChunk)
		if err != nil {
			return nil, err
		}
		if taken || !sameUser(now, c.Before) {
			stale = append(stale, c.After.Key)
		}
	}
	return stale, nil
}

// selectUser reads one user without links.
func selectUser(ctx context.Context, tx *tx, key string) (u itusers.User, err error) {
	const query = `SELECT u.key, u.username, u.name, u.email, u.active, COALESCE(i.environment, ''), COALESCE(i.id, 0)
		FROM it_users u LEFT JOIN it_user_ids i ON i.it_user = u.key WHERE u.key = $1`
	err = tx.each(ctx, query, []any{key}, func(scan func(...any) error) error {
		var environment string
		var id int32
		err := scan(&u.Key, &u.Username, &u.Name, &u.Email, &u.Active, &environment, &id)
		if environment != "" {
			if u.IDs == nil {
				u.IDs = map[string]int32{}
			}
			u.IDs[environment] = id
		}
		return err
	})
	return u, err
}

func sameUser(a, b itusers.User) bool {
	return a.Key == b.Key && a.Username == b.Username && a.Name == b.Name && a.Email == b.Email && a.Active == b.Active &&
		maps.Equal(a.IDs, b.IDs)
}

// isTaken tells whether a name or an id that a change takes belongs to somebody who is not changed with it.
func isTaken(ctx context.Context, tx *tx, c itusers.SyncChange, inChunk map[string]bool) (bool, error) {
	name, ids := c.Taken()
	holder := ""
	if name != "" {
		found, err := tx.get(ctx, `SELECT key FROM it_users WHERE folded = $1`, []any{name}, &holder)
		if err != nil || found && !inChunk[holder] {
			return found, err
		}
	}
	for _, environment := range slices.Sorted(maps.Keys(ids)) {
		const query = `SELECT it_user FROM it_user_ids WHERE environment = $1 AND id = $2`
		found, err := tx.get(ctx, query, []any{environment, ids[environment]}, &holder)
		if err != nil || found && !inChunk[holder] {
			return found, err
		}
	}
	return false, nil
}

// freeNames takes the old names of renamed users out of the way, so that names can be exchanged.
func freeNames(ctx context.Context, tx *tx, changes []itusers.SyncChange) error {
	for _, c := range changes {
		if name, _ := c.Taken(); name == "" || c.Before.Key == "" {
			continue
		}
		const free = `UPDATE it_users SET folded = $1 WHERE key = $2`
		if _, err := tx.exec(ctx, free, "\n"+c.After.Key, c.After.Key); err != nil { // no name can hold a line feed
			return err
		}
	}
	return nil
}

func putOwned(ctx context.Context, tx *tx, changes []itusers.SyncChange) error {
	for _, c := range changes {
		if c.Own == nil {
			continue
		}
		// Two statements: with one, SQLite would look at all owned users.
		if _, err := tx.exec(ctx, `DELETE FROM sync_owned WHERE it_user = $1`, c.Own.User); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM sync_owned WHERE source = $1 AND ref = $2`, c.Own.Source, c.Own.Ref); err != nil {
			return err
		}
		const put = `INSERT INTO sync_owned (it_user, source, ref, active) VALUES ($1, $2, $3, $4)`
		if _, err := tx.exec(ctx, put, c.Own.User, c.Own.Source, c.Own.Ref, flag(c.Own.Active)); err != nil {
			return err
		}
	}
	return nil
}
