package ldap

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// maxCached bounds the accounts, and the names, that are remembered.
const maxCached = 10_000

// cache remembers what a search found: DN, attributes and groups of an account, and which name led to it. Never a
// password, and never that somebody does not exist.
type cache struct {
	provider string // whose accounts these are
	ttl      time.Duration
	now      func() time.Time
	began    time.Time

	mu       sync.Mutex
	names    map[string]cachedName
	accounts map[string]cachedAccount // by subject
}

// Times are kept as the time since the cache began, which is small and goes on when somebody sets the clock.
type cachedName struct {
	subject string
	until   time.Duration
}

// cachedAccount has what is remembered of an account in one piece (pack): as strings of their own, thousands of accounts
// would take twice the memory, and the garbage collector would look at each string again and again.
type cachedAccount struct {
	packed    string
	until     time.Duration
	confirmed time.Duration // when the directory last said that this DN is this subject
}

func newCache(provider string, ttl time.Duration) *cache {
	return &cache{
		provider: provider, ttl: ttl, now: time.Now, began: time.Now(),
		names: map[string]cachedName{}, accounts: map[string]cachedAccount{},
	}
}

// pack writes down what a directory says of an account: each text behind its length, the groups last.
func pack(a authn.Account) string {
	b := make([]byte, 0, 256)
	for _, t := range append([]string{a.Ref, a.Subject, a.Username, a.Name, a.Email}, a.Groups...) {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	return string(b)
}

// cut takes the first text off; nothing is copied.
func cut(packed string) (text, rest string) {
	length, size := binary.Uvarint([]byte(packed[:min(len(packed), binary.MaxVarintLen64)]))
	end := size + int(length)
	return packed[size:end], packed[end:]
}

// unpack is the account, whose list of groups is its caller's own.
func (c *cache) unpack(packed string) (a authn.Account) {
	a.Provider = c.provider
	for _, field := range []*string{&a.Ref, &a.Subject, &a.Username, &a.Name, &a.Email} {
		*field, packed = cut(packed)
	}
	for packed != "" {
		var group string
		group, packed = cut(packed)
		a.Groups = append(a.Groups, group)
	}
	return a
}

func refOf(packed string) string {
	ref, _ := cut(packed)
	return ref
}

func (c *cache) time() time.Duration { return c.now().Sub(c.began) }

// find returns the account that a name led to within the last ttl. The name is compared exactly: whether two spellings
// are one name is for the directory to say.
func (c *cache) find(name string) (authn.Account, bool) {
	now := c.time()
	c.mu.Lock()
	n, ok := c.names[name]
	a, known := c.accounts[n.subject]
	c.mu.Unlock()
	if !ok || !known || now >= n.until || now >= a.until {
		return authn.Account{}, false
	}
	return c.unpack(a.packed), true
}

func (c *cache) add(name string, a authn.Account) {
	if c.ttl <= 0 {
		return
	}
	packed := pack(a)
	subject := c.unpack(packed).Subject // which keeps no other memory in use
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.time()
	makeRoom(c.names, name)
	makeRoom(c.accounts, subject)
	c.names[name] = cachedName{subject: subject, until: now + c.ttl}
	c.accounts[subject] = cachedAccount{packed: packed, until: now + c.ttl, confirmed: now}
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
	return c.time() - cached.confirmed, ok && refOf(cached.packed) == a.Ref
}

func (c *cache) confirm(a authn.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached, ok := c.accounts[a.Subject]; ok {
		cached.confirmed = c.time()
		c.accounts[a.Subject] = cached
	}
}

// drop makes the next sign-in of the account search anew, under whichever name.
func (c *cache) drop(a authn.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, a.Subject)
}
