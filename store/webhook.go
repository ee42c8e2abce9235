package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/webhook"
)

var (
	_ webhook.Outbox = (*Store)(nil)
	_ webhook.Leases = (*Store)(nil)
)

const webhookFollower = "webhook"

// PostAudit implements webhook.Outbox.
func (s *Store) PostAudit(ctx context.Context, limit int, turn func(audit.Record) []webhook.Message) (looked int, err error) {
	if behind, err := s.behind(ctx, webhookFollower); err != nil || behind == 0 {
		return 0, err // as almost always: no write for nothing
	}
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		looked = 0
		begun, err := beginAtEnd(ctx, t, webhookFollower)
		if err != nil || begun {
			return err
		}
		_, rows, err := follow(ctx, t, webhookFollower, limit)
		for _, row := range rows {
			for _, m := range turn(row.Record) {
				if err := insertMessage(ctx, t, m); err != nil {
					return err
				}
			}
		}
		looked = len(rows)
		return err
	})
	return looked, err
}

// behind is how many records a follower has not seen; -1 when it has not begun.
func (s *Store) behind(ctx context.Context, follower string) (n int64, err error) {
	const query = `SELECT COALESCE((SELECT seq FROM audit_head WHERE name = 'head'), 0)
		- COALESCE((SELECT seq FROM audit_places WHERE follower = $1), -1)`
	_, err = s.get(ctx, query, []any{follower}, &n)
	return n, err
}

// beginAtEnd lets a follower that has no place yet begin behind the last record, and tells whether it did.
func beginAtEnd(ctx context.Context, t *tx, follower string) (bool, error) {
	head, err := auditHead(ctx, t)
	if err != nil {
		return false, err
	}
	n, err := t.exec(ctx, `INSERT INTO audit_places (follower, seq) VALUES ($1, $2) ON CONFLICT DO NOTHING`, follower, head.Seq)
	return n == 1, err
}

// PostMessages keeps messages that no record of the audit is turned into.
func (s *Store) PostMessages(ctx context.Context, list []webhook.Message) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		for _, m := range list {
			if err := insertMessage(ctx, t, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertMessage(ctx context.Context, t *tx, m webhook.Message) error {
	const insert = `INSERT INTO webhook_messages (id, endpoint, event, created, body, state, attempts, due, trouble)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`
	_, err := t.exec(ctx, insert, m.ID, m.Endpoint, m.Event, micros(m.Created), m.Body, string(m.State), m.Attempts, micros(m.Due), m.Trouble)
	return err
}

const messageColumns = `id, endpoint, event, created, body, state, attempts, due, trouble`

func scanMessage(scan func(...any) error) (m webhook.Message, err error) {
	var created, due int64
	err = scan(&m.ID, &m.Endpoint, &m.Event, &created, &m.Body, &m.State, &m.Attempts, &due, &m.Trouble)
	m.Created, m.Due = fromMicros(created), fromMicros(due)
	return m, err
}

// DueMessage implements webhook.Outbox.
func (s *Store) DueMessage(
	ctx context.Context, endpoint string, now, putOff time.Time,
) (m webhook.Message, found bool, err error) {
	const query = `SELECT ` + messageColumns + ` FROM webhook_messages
		WHERE state = 'waiting' AND endpoint = $1 AND due <= $2 ORDER BY due, id LIMIT 1`
	args := []any{endpoint, micros(now)}
	look := func(from reader) error {
		found = false
		return from.each(ctx, query, args, func(scan func(...any) error) (err error) {
			m, err = scanMessage(scan)
			found = true
			return err
		})
	}
	if err := look(s); err != nil || !found {
		return m, false, err
	}
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, "webhook "+endpoint); err != nil {
			return err
		}
		if err := look(t); err != nil || !found {
			return err
		}
		_, err := t.exec(ctx, `UPDATE webhook_messages SET due = $1 WHERE endpoint = $2 AND id = $3`, micros(putOff), endpoint, m.ID)
		return err
	})
	return m, found && err == nil, err
}

// SettleMessage implements webhook.Outbox.
func (s *Store) SettleMessage(ctx context.Context, m webhook.Message) error {
	return s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		const update = `UPDATE webhook_messages SET state = $1, attempts = $2, due = $3, trouble = $4 WHERE endpoint = $5 AND id = $6`
		_, err := t.exec(ctx, update, string(m.State), m.Attempts, micros(m.Due), m.Trouble, m.Endpoint, m.ID)
		return err
	})
}

// WebhookMessages are the messages of a state, of all states where it is empty, the newest first, at most limit.
func (s *Store) WebhookMessages(ctx context.Context, state webhook.State, limit int) (list []webhook.Message, err error) {
	const query = `SELECT ` + messageColumns + ` FROM webhook_messages WHERE ($1 = '' OR state = $1)
		ORDER BY created DESC, endpoint, id LIMIT $2`
	err = s.each(ctx, query, []any{string(state), limit}, func(scan func(...any) error) error {
		m, err := scanMessage(scan)
		list = append(list, m)
		return err
	})
	return list, err
}

// ResendMessages lets messages that were given up wait again, all of them or those of one id, and tells how many.
func (s *Store) ResendMessages(ctx context.Context, id string, now time.Time) (n int64, err error) {
	err = s.writeTelling(ctx, nothing, func(ctx context.Context, t *tx) error {
		const update = `UPDATE webhook_messages SET state = 'waiting', attempts = 0, due = $1 WHERE state = 'dead' AND ($2 = '' OR id = $2)`
		n, err = t.exec(ctx, update, micros(now), id)
		return err
	})
	return n, err
}

// PurgeMessages forgets what was sent, and what was given up, before a time each.
func (s *Store) PurgeMessages(ctx context.Context, sent, dead time.Time) error {
	const remove = `DELETE FROM webhook_messages WHERE state = 'sent' AND created < $1 OR state = 'dead' AND created < $2`
	_, err := s.change(ctx, remove, micros(sent), micros(dead))
	return err
}
