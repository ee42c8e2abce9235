package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// operators reads a page of a node's operators' listener.
func (b *bridge) operators(n *node, page string) string {
	b.t.Helper()
	resp, err := soapHTTP.Get(n.metrics + page)
	b.check(err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	b.check(err)
	return string(text)
}

// metric is a number of a node.
func (b *bridge) metric(n *node, name string) float64 {
	b.t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(b.operators(n, "/metrics"))
	if m == nil {
		b.t.Fatalf("there is no metric %s", name)
	}
	x, err := strconv.ParseFloat(m[1], 64)
	b.check(err)
	return x
}

func (b *bridge) await(what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// signingIn lets people sign in on nodes until the function that it returns is called, which tells how many did. Each
// sign-in that is not granted fails the test.
func (b *bridge) signingIn(nodes ...*node) (stop func() int64) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var all sync.WaitGroup
	var granted atomic.Int64
	for i := range 6 {
		all.Go(func() {
			for k := i; ctx.Err() == nil; k += 6 {
				user := testenv.SlapdUser(k % usersInDirectory)
				a, err := b.signIn(nodes[i%len(nodes)], user, testenv.SlapdPassword(user))
				if err != nil || !a.Success || a.UserID != 1000+k%usersInDirectory {
					b.t.Errorf("%s was not signed in: %+v, %v", user, a, err)
				}
				granted.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		all.Wait()
		return granted.Load()
	}
}

// TestConfigurationsAreAppliedUnderLoad: fifty times, no sign-in fails, and nothing is left of the forty-nine before.
func TestConfigurationsAreAppliedUnderLoad(t *testing.T) {
	b := newBridge(t)
	b.importUsers()
	n := b.serve()
	file, err := os.ReadFile(n.config)
	b.check(err)
	apply := func(i int) {
		// Another label makes another configuration; the other pool sizes make other pools.
		text := strings.Replace(string(file), "    match:\n", fmt.Sprintf("    label: change %d\n    bind_pool: %d\n    match:\n", i, 2+i%15), 1)
		b.check(os.WriteFile(n.config, []byte(text), 0o600))
		b.check(n.Signal(syscall.SIGHUP))
		b.await(fmt.Sprintf("change %d is applied", i), func() bool {
			return strings.Count(n.Output(), `msg="configuration applied"`) >= i
		})
	}
	stop := b.signingIn(n)
	b.await("people sign in", func() bool { return b.metric(n, "idbridge_calls_in_flight") > 0 })
	apply(1)
	apply(2)
	fewGoroutines, fewFiles := b.metric(n, "go_goroutines"), b.metric(n, "process_open_fds")
	for i := 3; i <= 50; i++ {
		apply(i)
	}
	if granted := stop(); granted < 100 {
		t.Errorf("only %d sign-ins", granted)
	}
	b.await("what replaced configurations held is let go", func() bool {
		return b.metric(n, "go_goroutines") <= fewGoroutines+10 && b.metric(n, "process_open_fds") <= fewFiles+10
	})
	if text := b.operators(n, "/readyz"); !strings.Contains(text, "configuration: ok, that of "+n.config+"\n") {
		t.Error(text)
	}
	if failures := b.metric(n, "idbridge_configuration_apply_failures_total"); failures != 0 {
		t.Errorf("%v failures", failures)
	}
}

// TestABrokenFileLeavesTheOneBefore in force, and says so everywhere; mended, it is taken.
func TestABrokenFileLeavesTheOneBefore(t *testing.T) {
	b := newBridge(t)
	b.importUsers()
	n := b.serve()
	good, err := os.ReadFile(n.config)
	b.check(err)
	user := testenv.SlapdUser(1)
	for i, broken := range []string{"providers: [", strings.Replace(string(good), "base_dn:", "base_nd:", 1), ""} {
		b.check(os.WriteFile(n.config, []byte(broken), 0o600))
		b.check(n.Signal(syscall.SIGHUP))
		b.await("the failure is counted", func() bool { return b.metric(n, "idbridge_configuration_apply_failures_total") == float64(i+1) })
		if text := b.operators(n, "/readyz"); !strings.Contains(text, "configuration: "+n.config+" cannot be applied: ") ||
			!strings.Contains(text, "store: ok\n") {
			t.Error(text)
		}
		if a := b.must(n, user, testenv.SlapdPassword(user)); !a.Success {
			t.Errorf("%+v", a)
		}
	}
	if text := n.Output(); !strings.Contains(text, "the one before stays in force") || !strings.Contains(text, `did you mean \"base_dn\"?`) {
		t.Error(text)
	}
	// What needs a restart is told, and the rest is taken over.
	changed := bytes.Replace(good, []byte("level: debug"), []byte("level: info"), 1)
	changed = bytes.Replace(changed, []byte("    base_dn:"), []byte("    factor: {policy: required}\n    base_dn:"), 1)
	b.check(os.WriteFile(n.config, changed, 0o600))
	b.check(n.Signal(syscall.SIGHUP))
	b.await("the mended file is applied", func() bool { return strings.Contains(n.Output(), `msg="configuration applied"`) })
	if text := n.Output(); !strings.Contains(text, `msg="changed, but taken over by a restart only" keys=log`) {
		t.Error(text)
	}
	if a := b.must(n, user, testenv.SlapdPassword(user)); a.Success || a.ID != 2 {
		t.Errorf("the new policy does not count: %+v", a)
	}
	if text := b.operators(n, "/readyz"); !strings.Contains(text, "configuration: ok, ") {
		t.Error(text)
	}
}

// TestWhatOutlivesAConfiguration: failed attempts and refused passwords are remembered, calls under way finish.
func TestWhatOutlivesAConfiguration(t *testing.T) {
	b := newBridge(t)
	b.importUsers()
	n := b.serve()
	user := testenv.SlapdUser(2)
	again := func(i int) {
		b.check(n.Signal(syscall.SIGHUP))
		b.await("it is applied again", func() bool { return strings.Count(n.Output(), `msg="configuration applied"`) >= i })
	}
	b.must(n, user, "wrong")
	again(1)
	b.must(n, user, "wrong") // known, so neither counted nor asked for
	b.must(n, user, "wrong too")
	again(2)
	b.must(n, user, "as wrong")
	again(3)
	b.must(n, user, testenv.SlapdPassword(user))
	var reasons []string
	for _, m := range regexp.MustCompile(`reason=(\w+)`).FindAllStringSubmatch(n.Output(), -1) {
		reasons = append(reasons, m[1])
	}
	if got := strings.Join(reasons, " "); got != "wrong_password repeated_password wrong_password wrong_password throttled" {
		t.Errorf("reasons: %s\n%s", got, n.Output())
	}
}
