package activedirectory

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// tally counts sign-ins that run beside the test.
type tally struct {
	mu             sync.Mutex
	passed, failed int
}

func (c *tally) add(t *testing.T, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.passed++
		return
	}
	if c.failed++; authn.KindOf(err) != authn.Unavailable {
		t.Errorf("an outage became %v", err)
	}
}

// wait lasts until that many more sign-ins have passed.
func (c *tally) wait(t *testing.T, more int) {
	t.Helper()
	passed := func() int { c.mu.Lock(); defer c.mu.Unlock(); return c.passed }
	goal := passed() + more
	for deadline := time.Now().Add(30 * time.Second); passed() < goal; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("sign-ins stopped")
		}
	}
}

// TestFailOver kills the preferred of two domain controllers while users sign in, brings it back, and kills the
// other one. Nobody is told that a password is wrong, and none but the sign-ins under way at a crash may fail.
func TestFailOver(t *testing.T) {
	const callers = 4
	first, second := testenv.SambaPair(t, testenv.SambaConfig{})
	c := configFor(first)
	c.URLs, c.CacheTTL = append(c.URLs, second.URL), -1
	d := connect(t, c)
	users := []string{"alice", "bob", "frank", "josé"}
	subjects := map[string]string{}
	for _, u := range users {
		a, err := d.Find(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		subjects[u] = a.Subject
	}

	var count tally
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, u := range users[:callers] {
		wg.Go(func() {
			for ctx.Err() == nil {
				id, err := signIn(t.Context(), d, u, testenv.SambaPassword(u))
				if count.add(t, err); err == nil && id.Subject != subjects[u] {
					t.Errorf("%s is %s, was %s", u, id.Subject, subjects[u])
				}
				if err != nil {
					time.Sleep(50 * time.Millisecond) // nobody types faster; refusals come back within microseconds
				}
			}
		})
	}
	count.wait(t, 20)
	first.Kill()
	count.wait(t, 40)
	first.Restart(t)
	count.wait(t, 20)
	time.Sleep(time.Second) // a server that failed is tried as the last resort once in a second
	second.Kill()
	count.wait(t, 40)
	stop()
	wg.Wait()
	if count.failed > 3*callers {
		t.Errorf("%d sign-ins failed of %d; only those under way at a crash may", count.failed, count.failed+count.passed)
	}
}
