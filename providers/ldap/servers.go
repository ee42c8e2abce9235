package ldap

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

const (
	// skipTime is how long a server that failed is left alone while another one answers.
	skipTime = 30 * time.Second
	// lastResort is how often one caller may try a failed server when there is no other: a directory that restarts
	// should not be missed for skipTime, and one that is down must not make every caller wait.
	lastResort = time.Second
	// slow is how long a server must have kept a caller waiting before the caller's own deadline is held against it.
	slow = 2 * time.Second
)

// server is one server of the directory with its connections. Searches never travel on a connection that carried a
// user's bind: the two pools share nothing.
type server struct {
	endpoint
	config   *Config
	searches *pool
	binds    *pool

	mu      sync.Mutex
	failure error         // why it is skipped; nil when it is well
	skipped time.Time     // until then
	retry   time.Time     // from then on one caller may try it as the last resort
	trial   chan struct{} // open while one caller tries a server that failed
}

func newServer(e endpoint, c *Config) *server {
	s := &server{endpoint: e, config: c}
	s.searches = newPool(c.SearchPool, searchIdle, s.openForSearch)
	s.binds = newPool(c.BindPool, bindIdle, func(ctx context.Context) (*conn, error) { return dial(ctx, s) })
	return s
}

// openForSearch makes a connection bound to the service account.
func (s *server) openForSearch(ctx context.Context) (*conn, error) {
	c, err := dial(ctx, s)
	if err != nil || s.config.BindDN == "" {
		return c, err
	}
	err = c.do(ctx, func() error { return c.Bind(s.config.BindDN, s.config.BindPassword.Reveal()) })
	if err == nil {
		return c, nil
	}
	c.abort()
	if code, answered := resultCode(err); answered {
		return nil, serviceRefused(s, code, err)
	}
	return nil, fromNetwork(ctx, c, err)
}

// serviceRefused tells a refusal of our own account from a server that cannot answer anyone.
func serviceRefused(s *server, code uint16, err error) error {
	switch code {
	case goldap.LDAPResultInvalidCredentials, goldap.LDAPResultNoSuchObject, goldap.LDAPResultInappropriateAuthentication,
		goldap.LDAPResultConstraintViolation, goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultInsufficientAccessRights:
		return authn.Errorf(authn.Unavailable, reasonServiceAccount, "%s refused the service account %q%s: check bind_dn and "+
			"bind_password: %s", s.url, s.config.BindDN, s.config.dialect.refusal(err), describe(err))
	}
	return fromResult(s.url, err)
}

// well forgets a failure.
func (s *server) well() {
	s.mu.Lock()
	s.failure = nil
	s.mu.Unlock()
}

// failed makes the server be skipped for a while. A service account that is refused is not tried every second: that
// would lock it.
func (s *server) failed(err error, now time.Time) {
	s.mu.Lock()
	s.failure, s.skipped, s.retry = err, now.Add(skipTime), now.Add(lastResort)
	if authn.ReasonOf(err) == reasonServiceAccount {
		s.retry = s.skipped
	}
	s.mu.Unlock()
	s.searches.drain(false)
	s.binds.drain(false)
}

// refusedUs is how the server has refused the service account a moment ago; nil if it has not.
func (s *server) refusedUs(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if authn.ReasonOf(s.failure) == reasonServiceAccount && now.Before(s.skipped) {
		return s.failure
	}
	return nil
}

// claim lets the caller use the server until end is called; where end is nil, the server is to be left alone. Of a server
// that failed, one caller at a time gets a try.
func (s *server) claim(now time.Time, last bool) (end func(), why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.skipped
	if last {
		due = s.retry
	}
	switch {
	case s.failure == nil:
		return func() {}, nil
	case s.trial != nil, now.Before(due):
		return nil, s.failure
	}
	s.trial = make(chan struct{})
	return s.endTrial, nil
}

func (s *server) endTrial() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.trial)
	s.trial = nil
}

// await is claim where there is no other server left: it waits for another caller's try, so that those who call while the
// directory comes back get in too.
func (s *server) await(ctx context.Context) (end func(), why error) {
	s.mu.Lock()
	trial := s.trial
	s.mu.Unlock()
	if trial != nil {
		ctx, cancel := context.WithTimeout(ctx, lastResort)
		defer cancel()
		select {
		case <-trial:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return nil, s.failure
	}
	return func() {}, nil
}

// servers is the directory: equal servers in order of preference.
type servers []*server

// each tries the servers in order until one has answered, whatever the answer. try reports answered when the question
// was decided, or may have been: then no other server is asked. When all that seemed well have failed, those that are
// skipped get a chance.
func (list servers) each(ctx context.Context, try func(*server) (answered bool, err error)) error {
	var last error
	for _, lastResort := range []bool{false, true} {
		candidates := list
		list = nil // the second time only those that were skipped
		for _, s := range candidates {
			end, why := s.claim(time.Now(), lastResort)
			if end == nil && lastResort {
				end, why = s.await(ctx)
			}
			if end == nil {
				last = preferFirst(last, why)
				list = append(list, s)
				continue
			}
			answered, err := s.attempt(ctx, end, try)
			if answered || err == nil || ctx.Err() != nil {
				return err
			}
			last = err
		}
	}
	return last
}

func preferFirst(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// attempt asks the server and judges from the outcome whether it is well.
func (s *server) attempt(ctx context.Context, end func(), try func(*server) (bool, error)) (bool, error) {
	defer end()
	began := time.Now()
	answered, err := try(s)
	now := time.Now()
	switch reason := authn.ReasonOf(err); {
	case err == nil || !slices.Contains([]string{reasonUnreachable, reasonSilent, reasonBadAnswer, reasonServiceAccount}, reason):
		if reason != reasonBusy || answered {
			s.well()
		}
	case errors.Is(ctx.Err(), context.Canceled), ctx.Err() != nil && now.Sub(began) < slow:
		// the caller went away or came late; that says nothing about the server
	default:
		s.failed(err, now)
	}
	return answered || authn.ReasonOf(err) == reasonServiceAccount, err
}

func (list servers) close() {
	for _, s := range list {
		s.searches.drain(true)
		s.binds.drain(true)
	}
}
