package store

import (
	"sync"
	"sync/atomic"

	"github.com/idbridge/idbridge/authn"
)

const (
	// maxUsers bounds the IT users that are remembered.
	maxUsers = 10_000
	// maxAttempts is how many rows of attempts there may be for them to be remembered: all or none, as it is almost
	// always that there is no row which a sign-in has to know. Many of them are a flood, and then plain reads will do.
	maxAttempts = 256
)

// cache remembers the rows that every sign-in reads, on SQLite: to find a row again costs ten times as much as to know
// that it cannot have changed.
//
// How it knows: each commit, of whichever process, changes the header of the WAL index. SQLite itself tells by comparing it
// whether the pages it holds are still those of the database (walIndexTryHdr in wal.c). Rows are answered with only while
// the header is the one under which they hold. So what another process has committed counts in the next sign-in, as
// without a cache.
//
// Our own commits change the header too. After each, the writer tells what it has changed (committed); all other rows
// then hold under the new header, unless another connection has committed as well. A row may be a newer one than the
// header, where a commit came while it was read; until the writer has told of that commit, nobody gets it.
//
// It is safe for concurrent use. A nil cache remembers nothing: on PostgreSQL, and where the header cannot be read.
type cache struct {
	index *walIndex
	reads atomic.Int64 // rows that were not known

	mu       sync.Mutex
	under    walHeader // the header under which the rows hold; no header, and no rows, when that is not known
	last     walHeader // the header after the last commit of the writer
	broken   bool      // the header has failed to tell of a commit: never again
	users    map[linkKey]authn.ITUser
	attempts map[string]authn.Attempts // all there are, where whole
	whole    bool
	tooMany  bool // so they need not be counted again
}

// linkKey is what FindLinked asks for.
type linkKey struct{ provider, subject, environment string }

func newCache(path string) *cache {
	index := openWALIndex(path)
	if index == nil {
		return nil
	}
	c := &cache{index: index}
	c.last, _ = index.header()
	c.clear()
	return c
}

// clear forgets everything. The caller holds mu.
func (c *cache) clear() {
	c.under = walHeader{}
	c.users = map[linkKey]authn.ITUser{}
	c.attempts, c.whole, c.tooMany = nil, false, false
}

// user answers with what is remembered, or else with what read returns. That there is nobody is not remembered.
func (c *cache) user(key linkKey, read func() (authn.ITUser, error)) (authn.ITUser, error) {
	header, ok := c.header()
	if !ok {
		return read()
	}
	c.mu.Lock()
	u, found := c.users[key]
	found = found && c.under == header
	c.mu.Unlock()
	if found {
		return u, nil
	}
	c.reads.Add(1)
	u, err := read()
	if err == nil && u.Key != "" {
		c.keep(header, func() {
			makeRoom(c.users, key, maxUsers)
			c.users[key] = u
		})
	}
	return u, err
}

// keep remembers what was read when the header was that one, unless the writer has told of a commit since: of any other
// one it will still tell.
func (c *cache) keep(header walHeader, remember func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under == header {
		remember()
	}
}

// attemptsUnder answers with what is remembered. Without an answer, all says that it is worth while to read all rows.
func (c *cache) attemptsUnder(header walHeader, key string) (a authn.Attempts, found, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under != header {
		return a, false, false
	}
	return c.attempts[key], c.whole, !c.whole && !c.tooMany
}

// keepAttempts remembers the rows if they are all there are.
func (c *cache) keepAttempts(header walHeader, rows map[string]authn.Attempts) {
	c.keep(header, func() {
		if c.tooMany = len(rows) > maxAttempts; !c.tooMany {
			c.attempts, c.whole = rows, true
		}
	})
}

// header is the header now; ok is false when it cannot be told.
func (c *cache) header() (h walHeader, ok bool) {
	if c == nil {
		return h, false
	}
	return c.index.header()
}

// commit is what the writer knows of one of its transactions.
type commit struct {
	header walHeader      // read after it, and before alone was asked
	known  bool           // whether the header could be read
	alone  bool           // no other connection has committed since the commit before
	wrote  bool           // at least one row was changed
	tell   []func(*cache) // what was changed, in order
}

// committed is told of each commit of the writer before anybody else hears of it.
func (c *cache) committed(t commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.known && t.wrote && t.header == c.last { // some network file systems show two views of one file
		c.broken = true
	}
	c.last = t.header
	if !t.known || !t.alone || c.broken {
		c.clear()
		return
	}
	for _, tell := range t.tell {
		tell(c)
	}
	c.under = t.header
}

// lost is told of a commit whose outcome is not known.
func (c *cache) lost() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
}

// nothing is told of a write of rows that are never remembered.
func nothing(*cache) {}

// changeAttempts is for a write that leaves just a under key. The caller holds mu.
func (c *cache) changeAttempts(key string, a authn.Attempts) {
	switch {
	case !c.whole:
	case a == authn.Attempts{}:
		delete(c.attempts, key)
	case len(c.attempts) < maxAttempts:
		c.attempts[key] = a
	default:
		c.attempts, c.whole, c.tooMany = nil, false, true
	}
}

// makeRoom drops any row of a full map: the cost is one read more.
func makeRoom[K comparable, V any](m map[K]V, key K, most int) {
	if _, known := m[key]; known || len(m) < most {
		return
	}
	for k := range m {
		delete(m, k)
		return
	}
}

// forgetUsers is for a write that changes just these IT users, none of their links. The caller holds mu.
func (c *cache) forgetUsers(keys []string) {
	gone := make(map[string]bool, len(keys))
	for _, k := range keys {
		gone[k] = true
	}
	for k, u := range c.users {
		if gone[u.Key] {
			delete(c.users, k)
		}
	}
}
