package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/soapclients"
)

// The four clients that are not ours sign user00042 in through the real program and a real slapd; a wrong password, an
// unknown user and a wrong code read the same to each of them.
func TestForeignClientsSignIn(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	b.importUsers()
	bob := b.enrol(testenv.SlapdUser(7))
	n := b.serve()
	wrong := fmt.Sprintf("%06d", (atoi(bob.code(bob.used))+1)%1_000_000)
	for i, client := range soapclients.All() {
		t.Run(client.Name+" "+client.Version, func(t *testing.T) {
			call := func(user, password string) soapclients.Call {
				return soapclients.Call{Method: "User_AuthenticateWithCredentials", Args: []string{user, password}}
			}
			other := testenv.SlapdUser(10 + i) // a user of its own, so that the throttle does not mix the clients' failures
			got := client.Calls(t, soapclients.Service{URL: n.url, User: "production", Secret: b.secret},
				call("user00042", "pw-user00042"),
				call(other, "wrong"),
				call(fmt.Sprint("nobody", i), "wrong"),
				call(testenv.SlapdUser(7), testenv.SlapdPassword(testenv.SlapdUser(7))+wrong))
			if !got[0].Success || got[0].UserID != 1042 {
				t.Errorf("user00042: %+v", got[0])
			}
			for _, a := range got[1:] {
				if a.Success || a.UserID != 0 || a.Fault != "" {
					t.Errorf("not refused: %+v", a)
				}
				a.Info, got[1].Info = withoutID(a.Info), withoutID(got[1].Info)
				if a.Message == "" || a.Message != got[1].Message || a.ResponseID != got[1].ResponseID || a.Info != got[1].Info {
					t.Errorf("the refusals differ:\n%+v\n%+v", got[1], a)
				}
			}
		})
	}
}

var correlationID = regexp.MustCompile(`^correlation id: \S+$`)

// withoutID takes the correlation id, which is random in every answer, off.
func withoutID(info string) string { return correlationID.ReplaceAllString(info, "correlation id") }

func atoi(s string) (n int) {
	_, _ = fmt.Sscanf(s, "%d", &n)
	return n
}

func TestSecondFactorThroughThePluginDoor(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	b.importUsers()
	user, password := testenv.SlapdUser(1), testenv.SlapdPassword(testenv.SlapdUser(1))
	e := b.enrol(user)
	n := b.serve()

	if a := b.must(n, user, password+e.code(e.used)); a.Success {
		t.Error("the code of the enrolment was accepted a second time")
	}
	code := e.next()
	if a := b.must(n, user, password+code); !a.Success || a.UserID != 1001 {
		t.Fatalf("password and code: %+v\n%s", a, n.Output())
	}
	if a := b.must(n, user, password+code); a.Success {
		t.Error("a code was accepted twice")
	}
	if a := b.must(n, user, password); a.Success {
		t.Error("signed in without a code")
	}
	if len(e.recovery) != 10 {
		t.Fatalf("%d recovery codes, want 10", len(e.recovery))
	}
	if a := b.must(n, user, password+e.recovery[3]); !a.Success {
		t.Errorf("recovery code: %+v\n%s", a, n.Output())
	}
	if a := b.must(n, user, password+e.recovery[3]); a.Success {
		t.Error("a recovery code was accepted twice")
	}
	if got := b.reasons(user); !slices.Equal(got, []string{"code_replayed", "", "code_replayed", "code_missing", "", "code_replayed"}) {
		t.Errorf("recorded reasons %q", got)
	}
}

// record is a line of `idbridge audit export`.
type record struct {
	ID       string `json:"id"`
	Action   string `json:"action"`
	Username string `json:"username"`
	Kind     string `json:"kind"`
	Reason   string `json:"reason"`

	Duration time.Duration `json:"duration_ns"`
}

func (b *bridge) audit() (all []record) {
	b.t.Helper()
	for line := range strings.Lines(b.run("", "audit", "export", "--config", b.configure(1, 2))) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			b.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// reasons are those of a user's sign-ins, oldest first; empty for a granted one.
func (b *bridge) reasons(user string) (all []string) {
	b.t.Helper()
	for _, r := range b.audit() {
		if r.Action == "sign-in" && r.Username == user {
			all = append(all, r.Reason)
		}
	}
	return all
}

// Two nodes on one PostgreSQL: one code signs in once, and the limit of failures holds for both together.
func TestTwoNodesOnPostgreSQL(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	b.store = "driver: postgres\n  dsn: " + testenv.Postgres(t).DSN
	b.importUsers()
	user, password := testenv.SlapdUser(2), testenv.SlapdPassword(testenv.SlapdUser(2))
	e := b.enrol(user)
	nodes := []*node{b.serve(), b.serve()}

	code := e.next()
	granted := 0
	for _, a := range b.together(16, func(i int) (answer, error) { return b.signIn(nodes[i%2], user, password+code) }) {
		granted += btoi(a.Success)
	}
	if granted != 1 {
		t.Errorf("one code signed in %d times", granted)
	}

	victim := testenv.SlapdUser(3)
	b.together(60, func(i int) (answer, error) { return b.signIn(nodes[i%2], victim, fmt.Sprint("guess", i)) })
	reached := 0
	for _, r := range b.reasons(victim) {
		reached += btoi(r == "wrong_password")
	}
	if reached < 3 || reached > 4 { // with two nodes one more than the limit, and only if both start at once
		t.Errorf("%d guesses reached the directory", reached)
	}
	if a := b.must(nodes[0], victim, testenv.SlapdPassword(victim)); a.Success {
		t.Error("signed in while blocked")
	}
	b.verifyAudit()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// together makes n calls at once.
func (b *bridge) together(n int, call func(int) (answer, error)) []answer {
	b.t.Helper()
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if answers[i], err = call(i); err != nil {
				b.t.Error(err)
			}
		})
	}
	wg.Wait()
	return answers
}

func (b *bridge) verifyAudit() {
	b.t.Helper()
	b.run("", "audit", "verify", "--config", b.configure(1, 2))
}

// kill -9 in the middle of sign-ins: every sign-in that was answered is in the audit, and the chain is whole.
func TestKillNineLosesNoAnsweredSignIn(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	b.importUsers()
	n := b.serve()
	var mu sync.Mutex
	var answered []string
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := c; ; i += 16 {
				u := testenv.SlapdUser(i % usersInDirectory)
				a, err := b.signIn(n, u, testenv.SlapdPassword(u))
				if err != nil {
					return // the bridge is gone
				}
				if !a.Success {
					t.Errorf("%s: %+v", u, a)
					return
				}
				mu.Lock()
				answered = append(answered, u)
				mu.Unlock()
			}
		})
	}
	for { // condition, not time: enough answers to be in the middle of things
		mu.Lock()
		enough := len(answered) >= 500
		mu.Unlock()
		if enough {
			break
		}
		time.Sleep(time.Millisecond)
	}
	n.Kill()
	wg.Wait()
	recorded := map[string]int{}
	for _, r := range b.audit() {
		if r.Action == "sign-in" && r.Kind == "ok" {
			recorded[r.Username]++
		}
	}
	for _, u := range answered {
		recorded[u]--
	}
	for u, left := range recorded {
		if left < 0 {
			t.Errorf("%s: %d answered sign-ins are not in the audit", u, -left)
		}
	}
	b.verifyAudit()
	if a := b.must(b.serve(), "user00042", "pw-user00042"); !a.Success {
		t.Errorf("after the restart: %+v", a)
	}
}

// A directory that dies while people sign in: with a second one nobody notices; with none the answer is "try again", and
// nothing is counted.
func TestDirectoriesComeAndGo(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	second := testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory, CA: b.slapd.CA})
	b.urls = []string{b.slapd.URL, second.URL}
	b.importUsers()
	n := b.serve()
	user, password := "user00042", "pw-user00042"
	if a := b.must(n, user, password); !a.Success {
		t.Fatalf("%+v\n%s", a, n.Output())
	}
	b.saysWhatTheServersShow(n)
	b.slapd.Kill()
	second.Kill()
	for range 5 {
		if a := b.must(n, user, password); a.Success || !strings.Contains(a.Message, "try again") {
			t.Errorf("with every directory down: %+v", a)
		}
	}
	b.slapd.Restart(t)
	deadline := time.Now().Add(60 * time.Second)
	for !b.must(n, user, password).Success {
		if time.Now().After(deadline) {
			t.Fatalf("not back within a minute\n%s", n.Output())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// saysWhatTheServersShow wants the same list of what ends of the metric and the command.
func (b *bridge) saysWhatTheServersShow(n *node) {
	b.t.Helper()
	ends := regexp.MustCompile(`(?m)^idbridge_expiry_timestamp_seconds\{what="(.*)",where="(.*)"\} `)
	var measured []string
	b.await("the servers' certificates are known", func() bool {
		measured = nil
		for _, m := range ends.FindAllStringSubmatch(b.operators(n, "/metrics"), -1) {
			measured = append(measured, m[2]+" "+m[1])
		}
		return len(measured) == 1+len(b.urls) // and ca_file
	})
	text, err := b.try("expiry", "--config", n.config)
	if err == nil || !strings.Contains(text, "3 of 3 end within 30 days") { // the tests' certificates last a day
		b.t.Errorf("%v: %s", err, text)
	}
	for _, one := range measured {
		where, what, _ := strings.Cut(one, " ")
		if !regexp.MustCompile(`(?m)^soon .* ` + where + ` +` + regexp.QuoteMeta(what) + `$`).MatchString(text) {
			b.t.Errorf("expiry does not list %q:\n%s", one, text)
		}
	}
	if text, _ := b.try("expiry", "--offline", "--config", n.config); !strings.Contains(text, "1 of 1 end within 30 days") {
		b.t.Errorf("offline: %s", text)
	}
}

// The canary: a password and a code that were typed are nowhere in what the bridge wrote.
func TestCanaryIsWrittenNowhere(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	b.importUsers()
	user := testenv.SlapdUser(5)
	e := b.enrol(user)
	n := b.serve()
	canary := "canary-4711-canary"
	for _, u := range []string{user, "user00042", "nobody", "bad\x01name"} {
		_, _ = b.signIn(n, u, canary+"123456")
		_, _ = b.signIn(n, u, canary)
	}
	code := e.next()
	if a := b.must(n, user, testenv.SlapdPassword(user)+code); !a.Success {
		t.Fatalf("%+v\n%s", a, n.Output())
	}
	n.Stop()
	b.write("stderr.log", n.Output())
	forbidden := []string{canary, testenv.SlapdPassword(user), string(e.secret), b.slapd.BindPassword}
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, f := range append(forbidden, e.recovery...) {
			if bytes.Contains(text, []byte(f)) {
				t.Errorf("%s holds %q", filepath.Base(path), f)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
