package store

import (
	"context"

	"github.com/idbridge/idbridge/itusers"
)

var _ itusers.Reacher = (*Store)(nil)

// Reach implements itusers.Reacher.
func (s *Store) Reach(ctx context.Context) (map[string]itusers.Reach, error) {
	const query = `SELECT COALESCE(l.provider, ''), COUNT(*), COUNT(f.it_user)
		FROM it_users u LEFT JOIN links l ON l.it_user = u.key
		LEFT JOIN (SELECT DISTINCT it_user FROM factors WHERE confirmed > 0) f ON f.it_user = u.key
		WHERE u.active = 1 GROUP BY COALESCE(l.provider, '')`
	all := map[string]itusers.Reach{}
	err := s.each(ctx, query, nil, func(scan func(...any) error) error {
		var provider string
		var r itusers.Reach
		err := scan(&provider, &r.Users, &r.Enrolled)
		all[provider] = r
		return err
	})
	return all, err
}
