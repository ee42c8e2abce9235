package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/saml"
)

var (
	_ saml.KeyStore     = (*Store)(nil)
	_ saml.SessionStore = (*Store)(nil)
	_ saml.Sessions     = (*Store)(nil)
	_ saml.MessageLog   = (*Store)(nil)
)

// SAMLKeys implements saml.KeyStore.
func (s *Store) SAMLKeys(ctx context.Context, provider string) (keys []saml.OwnKey, err error) {
	const query = `SELECT id, provider, certificate, sealed, signs, ends FROM saml_keys WHERE provider = $1 ORDER BY signs, id`
	err = s.each(ctx, query, []any{provider}, func(scan func(...any) error) error {
		var k saml.OwnKey
		var signs, ends int64
		err := scan(&k.ID, &k.Provider, &k.Certificate, &k.Sealed, &signs, &ends)
		k.Signs, k.Ends = fromMicros(signs), fromMicros(ends)
		keys = append(keys, k)
		return err
	})
	return keys, err
}

// AddSAMLKey implements saml.KeyStore.
func (s *Store) AddSAMLKey(ctx context.Context, k saml.OwnKey, after string, ends time.Time) (added bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		added = false
		if err := t.lock(ctx, "saml key "+k.Provider); err != nil {
			return err
		}
		newest := ""
		const last = `SELECT id FROM saml_keys WHERE provider = $1 ORDER BY signs DESC, id DESC LIMIT 1`
		if _, err := t.get(ctx, last, []any{k.Provider}, &newest); err != nil || newest != after {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE saml_keys SET ends = $1 WHERE id = $2`, micros(ends), after); err != nil {
			return err
		}
		const insert = `INSERT INTO saml_keys (id, provider, certificate, sealed, signs, ends) VALUES ($1, $2, $3, $4, $5, $6)`
		_, err := t.exec(ctx, insert, k.ID, k.Provider, k.Certificate, k.Sealed, micros(k.Signs), micros(k.Ends))
		added = err == nil
		return err
	})
	return added && err == nil, err
}

// SAMLSecrets is the shelf of our private keys, for keyring.Ring.Reseal.
func (s *Store) SAMLSecrets() keyring.Shelf {
	return shelf{
		Store: s,
		count: `SELECT COUNT(*) FROM saml_keys`,
		page:  `SELECT id, provider, sealed FROM saml_keys WHERE id > $1 ORDER BY id LIMIT $2`,
		put:   `UPDATE saml_keys SET sealed = $1 WHERE id = $2 AND sealed = $3`,
		ad:    saml.KeyAD,
	}
}

// AddSAMLSession implements saml.SessionStore.
func (s *Store) AddSAMLSession(ctx context.Context, n saml.Session) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		const insert = `INSERT INTO saml_sessions (id, provider, subject, name, idx, name_id, expires)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`
		_, err := t.exec(ctx, insert, n.ID, n.Provider, n.Subject, n.Name, n.Index, n.NameID, micros(n.Expires))
		return err
	})
}

// SAMLSessions implements saml.SessionStore.
func (s *Store) SAMLSessions(ctx context.Context, provider, id, name string) (list []saml.Session, err error) {
	const query = `SELECT id, provider, subject, name, idx, name_id, expires FROM saml_sessions
		WHERE provider = $1 AND (id = $2 OR name = $3) ORDER BY id`
	err = s.each(ctx, query, []any{provider, id, name}, func(scan func(...any) error) error {
		var n saml.Session
		var expires int64
		err := scan(&n.ID, &n.Provider, &n.Subject, &n.Name, &n.Index, &n.NameID, &expires)
		n.Expires = fromMicros(expires)
		list = append(list, n)
		return err
	})
	return list, err
}

// RemoveSAMLSession implements saml.SessionStore.
func (s *Store) RemoveSAMLSession(ctx context.Context, id string) error {
	_, err := s.change(ctx, `DELETE FROM saml_sessions WHERE id = $1`, id)
	return err
}

// PurgeSAML forgets sessions at identity providers that ended, and messages that came, before a time.
func (s *Store) PurgeSAML(ctx context.Context, sessions, messages time.Time) (removed int64, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM saml_sessions WHERE expires < $1`, micros(sessions))
		if err != nil {
			return err
		}
		m, err := t.exec(ctx, `DELETE FROM saml_messages WHERE at < $1`, micros(messages))
		removed = n + m
		return err
	})
	return removed, err
}

// AddSAMLMessage implements saml.MessageLog.
func (s *Store) AddSAMLMessage(ctx context.Context, m saml.Message) error {
	if m.Body == nil {
		m.Body = []byte{}
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		const insert = `INSERT INTO saml_messages
			(id, at, provider, direction, type, message, in_response_to, username, reason, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
		_, err := t.exec(ctx, insert, m.ID, micros(m.At), m.Provider, m.Direction, m.Type, m.Message, m.InResponseTo, m.Username,
			m.Reason, m.Body)
		return err
	})
}

// SAMLMessagesIn returns what came from a provider between two times, newest first.
func (s *Store) SAMLMessagesIn(ctx context.Context, provider string, from, until time.Time) ([]saml.Message, error) {
	return s.samlMessages(ctx, `at >= $1 AND at < $2 AND provider = $3 AND direction = 'in' ORDER BY at DESC, id LIMIT 100`,
		micros(from), micros(until), provider)
}

// SAMLMessages returns the last messages of a provider, or of all when it is empty, the newest first.
func (s *Store) SAMLMessages(ctx context.Context, provider string, limit int) ([]saml.Message, error) {
	return s.samlMessages(ctx, `$1 = '' OR provider = $1 ORDER BY at DESC, id LIMIT $2`, provider, limit)
}

func (s *Store) samlMessages(ctx context.Context, where string, args ...any) (list []saml.Message, err error) {
	query := `SELECT id, at, provider, direction, type, message, in_response_to, username, reason, body FROM saml_messages WHERE ` + where
	err = s.each(ctx, query, args, func(scan func(...any) error) error {
		var m saml.Message
		var at int64
		err := scan(&m.ID, &at, &m.Provider, &m.Direction, &m.Type, &m.Message, &m.InResponseTo, &m.Username, &m.Reason, &m.Body)
		m.At = fromMicros(at)
		list = append(list, m)
		return err
	})
	return list, err
}
