package ldap

import (
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// maxCached bounds the accounts, and the names, that are remembered.
const maxCached = 10_000

// cache remembers what a search found: DN, attributes and groups of an account, and which name led to it. Never a
// password, and never that somebody does not exist.
type cache struct {
	ttl time.Duration
	now func() time.Time

	mu       sync.Mutex
	names    map[string]cachedName
	accounts map[string]cachedAccount // by subject
}

type cachedName struct {
	subject string
	until   time.Time
}

type cachedAccount struct {
	authn.Account
	until     time.Time
	confirmed time.Time // when the directory last said that this DN is this subject
}

func newCache(ttl time.Duration) *cache {
	return &cache{ttl: ttl, now: time.Now, names: map[string]cachedName{}, accounts: map[string]cachedAccount{}}
}

// find returns the account that a name led to within the last ttl. The name is compared exactly: whether two spellings
// are one name is for the directory to say.
func (c *cache) find(name string) (authn.Account, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	n, ok := c.names[name]
	if !ok || !now.Before(n.until) {
		return authn.Account{}, false
	}
	a, ok := c.accounts[n.subject]
	return a.Account, ok && now.Before(a.until)
}

func (c *cache) add(name string, a authn.Account) {
	if c.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	makeRoom(c.names, name)
	makeRoom(c.accounts, a.Subject)
	c.names[name] = cachedName{subject: a.Subject, until: now.Add(c.ttl)}
	c.accounts[a.Subject] = cachedAccount{Account: a, until: now.Add(c.ttl), confirmed: now}
}

// makeRoom drops any entry of a full map: the cost is one search more.
func makeRoom[V any](m map[string]V, key string) {
	if _, known := m[key]; known || len(m) < maxCached {
		return
	}
	for k := range m {
		delete(m, k)
		return
	}
}

// age is how long ago the directory last said that the account's DN is its subject; ok is false when that is not
// remembered.
func (c *cache) age(a authn.Account) (age time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cached, ok := c.accounts[a.Subject]
	return c.now().Sub(cached.confirmed), ok && cached.Ref == a.Ref
}

func (c *cache) confirm(a authn.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached, ok := c.accounts[a.Subject]; ok {
		cached.confirmed = c.now()
		c.accounts[a.Subject] = cached
	}
}

// drop makes the next sign-in of the account search anew, under whichever name.
func (c *cache) drop(a authn.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, a.Subject)
}
