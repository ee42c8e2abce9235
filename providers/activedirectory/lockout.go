package activedirectory

import (
	"context"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// Attributes of the lock-out policy: of the domain, and of a fine-grained policy (PSO).
const (
	attrThreshold    = "lockoutThreshold"
	attrWindow       = "lockOutObservationWindow"
	attrPSOThreshold = "msDS-LockoutThreshold"
	attrPSOWindow    = "msDS-LockoutObservationWindow"
)

const (
	// policyFor is how long a policy is taken for granted where it decides: for accounts with wrong passwords. The others
	// are tried under any policy; theirs is read now and then to find out early that it cannot be.
	policyFor     = time.Minute
	cleanPolicyIn = time.Hour
	// readingFor is how long the count that came with a search is good for the bind that follows it.
	readingFor = 2 * time.Second
	// clockSlack is by how much the clocks of a domain may differ (Kerberos allows 5 minutes): a wrong password counts for
	// that much longer than the domain says.
	clockSlack = 5 * time.Minute
	// maxKept bounds what is kept in memory.
	maxKept = 10_000
)

// policy is when a domain locks an account.
type policy struct {
	threshold int           // wrong passwords; 0: never
	window    time.Duration // after which a wrong password is forgotten
	read      time.Time
}

// mayTry refuses an attempt that would leave the account less than margin wrong passwords from being locked, and one
// on an account that is locked. An account without any wrong password is always tried, however small the threshold.
func (s state) mayTry(p policy, margin int, now time.Time) error {
	if s.flags&flagLocked != 0 {
		return &authn.Error{Kind: authn.Locked, Reason: reasonLocked}
	}
	bad := s.badCount
	if !s.badTime.IsZero() && now.Sub(s.badTime) > p.window+clockSlack {
		bad = 0
	}
	if p.threshold == 0 || bad == 0 || bad < p.threshold-margin {
		return nil
	}
	return authn.Errorf(authn.Locked, reasonNearLockout,
		"%d wrong passwords of %d that lock the account, until %s after the last", bad, p.threshold, p.window)
}

// policies remembers the lock-out policies of the domain.
type policies struct {
	now  func() time.Time
	mu   sync.Mutex
	kept map[string]policy // by the DN of the domain or the PSO
}

func newPolicies(now func() time.Time) *policies {
	return &policies{now: now, kept: map[string]policy{}}
}

// recall is the policy for an account in this state, where it was read not too long ago.
func (p *policies) recall(root string, s state) (found policy, ok bool) {
	dn, lasts := root, policyFor
	if s.policy != "" {
		dn = s.policy
	}
	if s.badCount == 0 {
		lasts = cleanPolicyIn
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok = p.kept[dn]
	return found, ok && p.now().Sub(found.read) < lasts
}

// of is the policy for an account: that of its PSO, or else of the domain.
func (p *policies) of(ctx context.Context, on *ldap.Session, root string, s state) (policy, error) {
	if found, ok := p.recall(root, s); ok {
		return found, nil
	}
	dn, threshold, window := root, attrThreshold, attrWindow
	if s.policy != "" {
		dn, threshold, window = s.policy, attrPSOThreshold, attrPSOWindow
	}
	found, err := readPolicy(ctx, on, dn, threshold, window)
	if err != nil {
		return policy{}, err
	}
	found.read = p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	makeRoom(p.kept)
	p.kept[dn] = found
	return found, nil
}

// readPolicy reads a policy. Without it no attempt is safe, so it must be readable.
func readPolicy(ctx context.Context, on *ldap.Session, dn, threshold, window string) (policy, error) {
	e, found, err := on.Read(ctx, dn, threshold, window)
	switch {
	case err != nil:
		return policy{}, err
	case !found:
		return policy{}, authn.Errorf(authn.Unavailable, reasonConfig,
			"the lock-out policy %q is not there or hidden: grant the service account to read it", dn)
	}
	return policyIn(e, threshold, window)
}

func policyIn(e ldap.Entry, threshold, window string) (policy, error) {
	r := stateReader{e: e}
	p := policy{threshold: int(r.number(threshold)), window: interval(r.number(window))}
	return p, r.err
}

// interval is a duration of Windows: 100 ns, negative; the most negative is for ever.
func interval(n int64) time.Duration {
	const most = -int64(1<<63-1) / 100
	if n < most || n > 0 {
		return 1<<63 - 1 - clockSlack
	}
	return time.Duration(-n) * 100
}

// readings keeps, for a moment, the states that searches have found, each for one attempt: the next one must see what
// this one did to the count. A search for another spelling of the name, under way at the same time, has not.
type readings struct {
	now  func() time.Time
	mu   sync.Mutex
	kept map[string]state     // by subject
	last map[string]time.Time // when the last attempt ended, by subject
}

func newReadings(now func() time.Time) *readings {
	return &readings{now: now, kept: map[string]state{}, last: map[string]time.Time{}}
}

// keep keeps a state that was asked for at a time.
func (r *readings) keep(subject string, s state, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	makeRoom(r.kept)
	s.at = asked
	r.kept[subject] = s
}

// take hands out the reading, and forgets it.
func (r *readings) take(subject string) (state, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.kept[subject]
	delete(r.kept, subject)
	return s, ok && r.now().Sub(s.at) < readingFor && s.at.After(r.last[subject])
}

// tried makes readings void that are older than an attempt.
func (r *readings) tried(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	makeRoom(r.last)
	r.last[subject] = r.now()
}

// makeRoom drops any entry of a full map: the cost is one search more.
func makeRoom[V any](m map[string]V) {
	for k := range m {
		if len(m) < maxKept {
			return
		}
		delete(m, k)
	}
}
