package store

import (
	"context"
	"strconv"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/revision"
)

var (
	_ revision.Store         = (*Store)(nil)
	_ revision.SightingStore = (*Store)(nil)
)

const (
	lastRevision = `SELECT COALESCE(MAX(number), 0) FROM revisions`
	revisionInfo = `SELECT number, base, at, author, comment`
)

func infoFrom(i *revision.Info, at *int64) []any {
	return []any{&i.Number, &i.Base, at, &i.Author, &i.Comment}
}

// LastRevision implements revision.Store.
func (s *Store) LastRevision(ctx context.Context) (number int64, err error) {
	_, err = s.get(ctx, lastRevision, nil, &number)
	return number, err
}

// Revision implements revision.Store.
func (s *Store) Revision(ctx context.Context, number int64) (row revision.Row, found bool, err error) {
	var at int64
	found, err = s.get(ctx, revisionInfo+`, sealed FROM revisions WHERE number = $1`, []any{number},
		append(infoFrom(&row.Info, &at), &row.Sealed)...)
	row.Time = fromMicros(at)
	return row, found, err
}

// Revisions implements revision.Store.
func (s *Store) Revisions(ctx context.Context, before int64, limit int) (list []revision.Info, err error) {
	const query = revisionInfo + ` FROM revisions WHERE number < $1 OR $1 = 0 ORDER BY number DESC LIMIT $2`
	err = s.each(ctx, query, []any{before, limit}, func(scan func(...any) error) error {
		var i revision.Info
		var at int64
		err := scan(infoFrom(&i, &at)...)
		i.Time = fromMicros(at)
		list = append(list, i)
		return err
	})
	return list, err
}

// AddRevision implements revision.Store. Two nodes that see the same newest version insert the same number, and the
// primary key lets one of them win.
func (s *Store) AddRevision(ctx context.Context, row revision.Row) (added bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *tx) error {
		var last int64
		if _, err := tx.get(ctx, lastRevision, nil, &last); err != nil {
			return err
		}
		if added = false; last != row.Base || row.Number != row.Base+1 {
			return nil
		}
		const query = `INSERT INTO revisions (number, base, at, author, comment, sealed) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT DO NOTHING`
		n, err := tx.exec(ctx, query, row.Number, row.Base, micros(row.Time), row.Author, row.Comment, row.Sealed)
		added = n == 1
		return err
	})
	return added && err == nil, err
}

// RevisionTexts is the shelf of the versions' texts, for keyring.Ring.Reseal.
func (s *Store) RevisionTexts() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM revisions`,
		page:  `SELECT CAST(number AS TEXT), '', sealed FROM revisions WHERE number > CAST('0' || $1 AS BIGINT) ORDER BY number LIMIT $2`,
		put:   `UPDATE revisions SET sealed = $1 WHERE number = CAST($2 AS BIGINT) AND sealed = $3`,
		ad: func(_, id string) []byte {
			number, _ := strconv.ParseInt(id, 10, 64) // the database has just made the text of a number
			return revision.SealAD(number)
		},
	}
}

// PutSighting implements revision.SightingStore.
func (s *Store) PutSighting(ctx context.Context, row revision.SightingRow) error {
	const query = `INSERT INTO platform_settings (environment, at, revision, sealed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (environment) DO UPDATE SET at = excluded.at, revision = excluded.revision, sealed = excluded.sealed`
	_, err := s.change(ctx, query, row.Environment, micros(row.Time), row.Version, row.Sealed)
	return err
}

// Sightings implements revision.SightingStore.
func (s *Store) Sightings(ctx context.Context) (list []revision.SightingRow, err error) {
	const query = `SELECT environment, at, revision, sealed FROM platform_settings ORDER BY environment`
	err = s.each(ctx, query, nil, func(scan func(...any) error) error {
		var row revision.SightingRow
		var at int64
		err := scan(&row.Environment, &at, &row.Version, &row.Sealed)
		row.Time = fromMicros(at)
		list = append(list, row)
		return err
	})
	return list, err
}

// SightingTexts is the shelf of the settings that environments sent, for keyring.Ring.Reseal.
func (s *Store) SightingTexts() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM platform_settings`,
		page:  `SELECT environment, '', sealed FROM platform_settings WHERE environment > $1 ORDER BY environment LIMIT $2`,
		put:   `UPDATE platform_settings SET sealed = $1 WHERE environment = $2 AND sealed = $3`,
		ad:    func(_, environment string) []byte { return revision.SightingAD(environment) },
	}
}
