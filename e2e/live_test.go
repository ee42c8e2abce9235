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

// signingIn lets people sign in on nodes until stop is called; granted counts those who did. Each sign-in that is not granted
// fails the test.
func (b *bridge) signingIn(nodes ...*node) (granted *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var all sync.WaitGroup
	granted = &atomic.Int64{}
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
	return granted, func() {
		cancel()
		all.Wait()
	}
}

// TestConfigurationsAreAppliedUnderLoad: fifty times, no sign-in fails, and nothing is left of the forty-nine before.
func TestConfigurationsAreAppliedUnderLoad(t *testing.T) {
	b := newBridge(t)
	b.importUsers()
	n := b.serve()
	file, err := os.ReadFile(n.config)
	b.check(err)
	granted, stop := b.signingIn(n)
	apply := func(i int) {
		before := granted.Load()
		b.await("somebody signed in meanwhile", func() bool { return granted.Load() > before })
		// Another label makes another configuration; the other pool sizes make other pools.
		text := strings.Replace(string(file), "    match:\n", fmt.Sprintf("    label: change %d\n    bind_pool: %d\n    match:\n", i, 2+i%15), 1)
		b.check(os.WriteFile(n.config, []byte(text), 0o600))
		b.check(n.Signal(syscall.SIGHUP))
		b.await(fmt.Sprintf("change %d is applied", i), func() bool {
			return strings.Count(n.Output(), `msg="configuration applied"`) >= i
		})
	}
	apply(1)
	apply(2)
	fewGoroutines, fewFiles := b.metric(n, "go_goroutines"), b.metric(n, "process_open_fds")
	for i := 3; i <= 50; i++ {
		apply(i)
	}
	stop()
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
	for _, m := range regexp.MustCompile(`msg=sign-in .* reason=(\w+)`).FindAllStringSubmatch(n.Output(), -1) {
		reasons = append(reasons, m[1])
	}
	if got := strings.Join(reasons, " "); got != "wrong_password repeated_password wrong_password wrong_password throttled" {
		t.Errorf("reasons: %s\n%s", got, n.Output())
	}
}

// TestNodesFollowTheStore: what one command saves is in force on both nodes within seconds, without a sign-in that fails; of two
// changes made from one version, one wins.
func TestNodesFollowTheStore(t *testing.T) {
	b := newBridge(t)
	b.store, b.extra = "driver: postgres\n  dsn: "+testenv.Postgres(t).DSN, "managed: store\n"
	b.importUsers()
	nodes := []*node{b.serve(), b.serve()}
	file := b.configure(1, 2)
	follow := func(version int) {
		t.Helper()
		began := time.Now()
		for _, n := range nodes {
			b.await(fmt.Sprintf("version %d is in force", version), func() bool { return b.metric(n, "idbridge_configuration_version") == float64(version) })
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the nodes took %s", took)
		}
	}
	follow(1)
	_, stop := b.signingIn(nodes...)
	for i := range 5 {
		b.run("", "providers", "set", "corp", fmt.Sprintf("label=change %d", i), fmt.Sprintf("bind_pool=%d", 3+i), "--config", file)
		follow(2 + i)
	}
	stop()

	var all sync.WaitGroup
	var won atomic.Int64
	for i := range 4 {
		all.Go(func() {
			if _, err := b.try("providers", "set", "corp", fmt.Sprintf("label=race %d", i), "--base", "6", "--config", file); err == nil {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of four changes of one version won", won.Load())
	}
	follow(7)

	// A wrong base DN would lock everybody out. Forced, it does; what was good comes back by a rollback.
	user := testenv.SlapdUser(3)
	if out, err := b.try("providers", "set", "corp", "base_dn=dc=nowhere", "--config", file); err == nil || !strings.Contains(out, "no active IT user could sign in") {
		t.Errorf("%v\n%s", err, out)
	}
	b.run("", "providers", "set", "corp", "base_dn=dc=nowhere", "--force", "--config", file)
	follow(8)
	if a := b.must(nodes[1], user, testenv.SlapdPassword(user)); a.Success {
		t.Error("the forced change is not in force")
	}
	b.run("", "config", "rollback", "7", "--config", file)
	follow(9)
	for _, n := range nodes {
		if a := b.must(n, user, testenv.SlapdPassword(user)); !a.Success {
			t.Errorf("after the rollback: %+v", a)
		}
	}
	b.run("", "audit", "verify", "--config", file)
}

// TestATriedSignInChangesNothing: real search and bind, and afterwards no link, no failed attempt, no sign-in in the audit.
func TestATriedSignInChangesNothing(t *testing.T) {
	b := newBridge(t)
	b.importUsers()
	file, user := b.configure(1, 2), testenv.SlapdUser(4)
	right, wrong := b.write("right", testenv.SlapdPassword(user)), b.write("wrong", "not it")
	out := b.run("", "providers", "test", "corp", "--user", user, "--password-file", right, "--config", file)
	if !regexp.MustCompile(`(?m)^ok +password +right; corp knows the account`).MatchString(out) ||
		!regexp.MustCompile(`(?m)^ok +production +would be signed in as user00004, id 1004`).MatchString(out) {
		t.Error(out)
	}
	for i, reason := range []string{"wrong_password", "wrong_password", "wrong_password", "throttled"} {
		if out, err := b.try("providers", "test", "--user", user, "--password-file", wrong, "--config", file); err == nil || !strings.Contains(out, reason) {
			t.Errorf("%d: %v\n%s", i, err, out)
		}
	}
	explained := b.run("", "explain", user, "--config", file)
	if !strings.Contains(explained, "no failed attempt") || !strings.Contains(explained, "by its name; the first sign-in links") {
		t.Error(explained)
	}
	records := b.run("", "audit", "export", "--config", file)
	if n := strings.Count(records, `"action":"sign-in tested"`); n != 5 || strings.Contains(records, `"action":"sign-in"`) ||
		strings.Contains(records, "not it") {
		t.Errorf("%d\n%s", n, records)
	}
}
