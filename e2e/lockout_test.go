package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// lockoutThreshold is how many wrong passwords lock an account of the domain.
const lockoutThreshold = 5

// TestTwoProcessesNeverLockAnAccount: the throttle, on either store, ends the guessing long before the domain would
// lock the account, and the right password works as soon as the throttle allows.
func TestTwoProcessesNeverLockAnAccount(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testing.T) string{
		"sqlite":     func(*testing.T) string { return "driver: sqlite\n  path: idbridge.db" },
		"postgresql": func(t *testing.T) string { return "driver: postgres\n  dsn: " + testenv.Postgres(t).DSN },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, dc := newDomainBridgeOn(t, store(t), "lockout_margin: 1")
			b.extra = "refusal_time: 10ms\nthrottle: {steps: [{failures: 2, block: 20s}], window: 20s}\n"
			dc.SetLockout(t, lockoutThreshold, time.Hour)
			nodes := []*node{b.serve(), b.serve()}
			seen := b.guess(dc, nodes)
			if seen["throttled"] == 0 || seen["wrong_password"] > 3 { // one more than the limit for the other process
				t.Errorf("recorded %v", seen)
			}
			b.rightPasswordWorks(nodes)
			if n := dc.BadPwdCount(t, "lockme"); n != 0 {
				t.Errorf("the domain still counts %d wrong passwords", n)
			}
		})
	}
}

// TestTheDomainsOwnCountProtects where the throttle would let far more through than the domain bears.
func TestTheDomainsOwnCountProtects(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "lockout_margin: 2")
	b.extra = "refusal_time: 10ms\nthrottle: {steps: [{failures: 1000, block: 1s}]}\n"
	dc.SetLockout(t, lockoutThreshold, time.Hour)
	nodes := []*node{b.serve(), b.serve()}
	seen := b.guess(dc, nodes)
	if seen["near_lockout"] < 90 || seen["throttled"] != 0 {
		t.Errorf("recorded %v", seen)
	}
	dc.Unlock(t, "lockme") // as an administrator does, or the observation window
	b.rightPasswordWorks(nodes)
}

// guess sends a hundred wrong passwords, each another one and in several spellings of the name, ten at a time through
// two processes, and counts the reasons of their refusals.
func (b *bridge) guess(dc *testenv.SambaDC, nodes []*node) map[string]int {
	b.t.Helper()
	spellings := []string{"lockme", `EXAMPLE\lockme`, "lockme@example.test", "LOCKME", "Lockme"}
	for round := range 10 {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				a, err := b.signIn(nodes[i%2], spellings[i/2], fmt.Sprintf("wrong-%d-%d", round, i))
				if err != nil || a.Success || a.UserID != 0 {
					b.t.Errorf("%+v, %v", a, err)
				}
			})
		}
		wg.Wait()
	}
	seen, total := map[string]int{}, 0
	for _, spelling := range spellings {
		for _, reason := range b.reasons(spelling) {
			seen[reason]++
			total++
		}
	}
	if total != 100 || seen["throttled"]+seen["wrong_password"]+seen["near_lockout"] != total {
		b.t.Errorf("recorded %v", seen)
	}
	bad := dc.BadPwdCount(b.t, "lockme")
	if dc.Locked(b.t, "lockme") || bad == 0 || bad >= lockoutThreshold || bad != seen["wrong_password"] {
		b.t.Errorf("the domain counts %d wrong passwords, locked: %v; recorded %v", bad, dc.Locked(b.t, "lockme"), seen)
	}
	return seen
}

// rightPasswordWorks as soon as the throttle lets it through, on either process.
func (b *bridge) rightPasswordWorks(nodes []*node) {
	b.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if a := b.must(nodes[0], "lockme", testenv.SambaPassword("lockme")); a.Success && a.UserID == 14 {
			break
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the right password is still refused: %s", strings.Join(b.reasons("lockme"), " "))
		}
	}
	if a := b.must(nodes[1], `EXAMPLE\lockme`, testenv.SambaPassword("lockme")); !a.Success {
		b.t.Errorf("on the other process: %+v", a)
	}
}
