package store

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
)

var _ insight.BlockStore = (*Store)(nil)

// Blocked implements insight.BlockStore.
func (s *Store) Blocked(ctx context.Context, now time.Time, limit int) (list []insight.Block, all int, err error) {
	if _, err = s.get(ctx, `SELECT COUNT(*) FROM attempts WHERE blocked_until > $1`, []any{micros(now)}, &all); err != nil {
		return nil, 0, err
	}
	const query = `SELECT key, failures, last_failure, blocked_until FROM attempts WHERE blocked_until > $1
		ORDER BY blocked_until DESC, key LIMIT $2`
	err = s.each(ctx, query, []any{micros(now), limit}, func(scan func(...any) error) error {
		var b insight.Block
		var last, until int64
		err := scan(&b.Key, &b.Failures, &last, &until)
		c := authn.ParseCounted(b.Key)
		b.What, b.Provider, b.Of, b.Last, b.Until = c.What, c.Provider, c.Of, fromMicros(last), fromMicros(until)
		list = append(list, b)
		return err
	})
	for i := range list {
		if err == nil {
			err = s.nameBlock(ctx, &list[i])
		}
	}
	return list, all, err
}

// nameBlock finds the IT user behind a block.
func (s *Store) nameBlock(ctx context.Context, b *insight.Block) (err error) {
	switch b.What {
	case authn.CountedPassword:
		const query = `SELECT u.username FROM links l JOIN it_users u ON u.key = l.it_user WHERE l.provider = $1 AND l.subject = $2`
		_, err = s.get(ctx, query, []any{b.Provider, b.Of}, &b.ITUser)
	case authn.CountedCode:
		if _, err = s.get(ctx, `SELECT username FROM it_users WHERE key = $1`, []any{b.Of}, &b.ITUser); b.ITUser != "" {
			b.Of = b.ITUser
		}
	case authn.CountedName, authn.CountedToken:
		_, err = s.get(ctx, `SELECT username FROM it_users WHERE folded = $1`, []any{b.Of}, &b.ITUser)
	}
	return err
}

// KeysOf implements insight.BlockStore.
func (s *Store) KeysOf(ctx context.Context, folded string) (keys []string, err error) {
	const query = `SELECT u.key, COALESCE(l.provider, ''), COALESCE(l.subject, '') FROM it_users u
		LEFT JOIN links l ON l.it_user = u.key WHERE u.folded = $1 ORDER BY l.provider`
	user := ""
	err = s.each(ctx, query, []any{folded}, func(scan func(...any) error) error {
		var provider, subject string
		err := scan(&user, &provider, &subject)
		if subject != "" {
			keys = append(keys, authn.ThrottleKey(provider, subject))
		}
		return err
	})
	if user != "" {
		keys = append(keys, authn.CodeKey(user))
	}
	return keys, err
}
