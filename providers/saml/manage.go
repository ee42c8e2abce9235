package saml

import (
	"context"
	"time"
)

// Keys lists our keys towards one identity provider, or all of them when id is empty. One that has none yet gets its
// first.
func (s *ServiceProvider) Keys(ctx context.Context, id string) (list []KeyInfo, err error) {
	all := s.list()
	if id != "" {
		p, err := s.provider(id)
		if err != nil {
			return nil, err
		}
		all = []*provider{p}
	}
	for _, p := range all {
		own, err := p.keys.info(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, own...)
	}
	return list, nil
}

// Rotate announces a new key in our metadata. It signs after the overlap, which is how long the identity provider has to
// read it; the old one goes when as much time has passed again.
func (s *ServiceProvider) Rotate(ctx context.Context, provider string, overlap time.Duration) error {
	p, err := s.provider(provider)
	if err != nil {
		return err
	}
	return p.keys.rotate(ctx, overlap)
}
