package e2e_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// newDomainBridge is an installation in front of a domain controller. The settings are more lines for its provider.
func newDomainBridge(t *testing.T, settings string) (*bridge, *testenv.SambaDC) {
	return newDomainBridgeOn(t, "driver: sqlite\n  path: idbridge.db", settings)
}

// newDomainBridgeOn is newDomainBridge on a store, given as the body of its section.
func newDomainBridgeOn(t *testing.T, store, settings string) (*bridge, *testenv.SambaDC) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	b := emptyBridge(t)
	b.store = store
	b.providers = func() string {
		return fmt.Sprintf(`  - id: corp
    type: activedirectory
    match: {default: true}
    domain: %s
    urls: [%s]
    ca_file: %s
    bind_dn: %s
    bind_password: %s
    %s
`, dc.Domain, dc.URL, dc.CAFile, dc.BindUPN, dc.BindPassword, settings)
	}
	b.run("", "users", "import", "--config", b.configure(1, 2), b.write("users.csv", `username,active,id:production
alice,true,11
bob,true,12
disabled,true,13
lockme,true,14
josé,false,15
manygroups,true,16
`))
	return b, dc
}

// explain runs the command and wants each pattern on a line of what it prints.
func (b *bridge) explain(user string, patterns ...string) {
	b.t.Helper()
	out := b.run("", "explain", "--config", b.configure(1, 2), user)
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)^` + p).MatchString(out) {
			b.t.Errorf("%s: no line has %q:\n%s", user, p, out)
		}
	}
}

func TestExplainADomainsUsers(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "allow_groups: [staff, 'Domain Users']\n    deny_groups: [contractors]")
	dc.SetLockout(t, 5, 30*time.Minute)
	b.enrol("alice")
	b.explain(`EXAMPLE\alice`,
		`ok    provider +corp, the default`, `ok    name form +DOMAIN\\user: a sAMAccountName$`,
		`ok    filter +\(&\(objectCategory=person\).*\(sAMAccountName=alice\)`, `ok    server +ldaps://`+dc.Address+`:636$`,
		`ok    DN +CN=alice,OU=People,DC=example,DC=test$`, `ok    subject +[0-9a-f]{8}-`, `ok    called +alice, The alice, alice@`,
		`ok    account +enabled, not locked, never expires$`,
		`ok    lock-out +0 wrong password\(s\) counted; the domain locks an account after 5 within 30m0s$`,
		`ok    groups +6: .*staff; department; company`, `ok    access +allow_groups has "staff"$`,
		`ok    password +set on .*, expires on 20`, `ok    throttle +no failed attempt$`, `ok    IT user +alice, by its name`,
		`ok    second factor +asked of those who have one \(policy enrolled, by mfa.policy\); one is set up$`, `ok    wrong codes +none$`,
		`code  production +would be signed in as alice, id 11, with a code`)
	b.explain("bob@example.test", `ok    name form +UPN of the domain$`, `ok    production +would be signed in as bob, id 12$`,
		`ok    quality +would be signed in as bob$`)
	b.explain("disabled", `stop  account `, ` +account_disabled: `, `stop  production, quality +would be refused, account_disabled: .*`,
		` +to do: enable it there$`)
	b.explain("josé", `stop  IT user +josé, by its name`, `stop  production, quality +would be refused, it_user_inactive`)
	b.explain("primary", `stop  access +group_denied: member of "contractors"`, `stop  production, quality .* group_denied`)
	b.explain("workstation", `ok    workstations +only OTHERPC`, `stop  production, quality .* no_it_user`)
	b.explain("manygroups", `ok    groups +322: `, `ok    production +would be signed in as manygroups, id 16$`)
	b.explain("carol@example.test", `stop  account +ambiguous_user: `, ` +"CN=carol,.*" and$`, ` +"CN=mallory,.*"$`)
	b.explain("nobody", `stop  account +unknown_user: `, `stop  production, quality +would be refused, unknown_user`)
	b.explain(`OTHER\alice`, `stop  account +unknown_user: the name's domain is neither`)
}

// TestExplainFollowsFailures: those that idbridge counts, and those that the domain does.
func TestExplainFollowsFailures(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "")
	dc.SetLockout(t, 3, 30*time.Minute)
	n := b.serve()
	for i := range 4 {
		b.must(n, "lockme", fmt.Sprint("wrong", i))
	}
	b.explain("lockme", `stop  lock-out +2 wrong password\(s\) counted, the last at 20.*`, ` +near_lockout: 2 wrong passwords of 3`,
		`ok    throttle +2 failed attempt`, `stop  production, quality +would be refused, near_lockout`)
	if got := dc.BadPwdCount(t, "lockme"); got != 2 {
		t.Errorf("the domain counts %d wrong passwords, want 2", got)
	}
	for i := range 4 {
		b.must(n, "nobody", fmt.Sprint("wrong", i))
	}
	b.explain("NOBODY", `stop  throttle +3 failed attempt`, ` +throttled: 3 failed attempts, blocked until 20`,
		`stop  production, quality +would be refused, throttled`)
}

// TestExplainWhenNobodyAnswers says so, by its exit code too, in words and in JSON.
func TestExplainWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "")
	dc.Kill()
	out, err := b.try("explain", "--config", b.configure(1, 2), "alice", "-o", "json")
	text, said, _ := strings.Cut(out, "\n}\n")
	var told struct {
		Outcomes []struct {
			Environment, Outcome string
			Refused              struct{ Kind, Reason, Advice string }
		}
	}
	if err := json.Unmarshal([]byte(text+"\n}"), &told); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if err == nil || !strings.Contains(said, "idbridge: alice: ") || len(told.Outcomes) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, o := range told.Outcomes {
		if o.Outcome != "unknown" || o.Refused.Kind != "unavailable" || o.Refused.Reason != "directory_unreachable" || o.Refused.Advice == "" {
			t.Errorf("%+v", o)
		}
	}
}

// TestExplainAnLDAPUser: without a domain around it.
func TestExplainAnLDAPUser(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	b.importUsers()
	b.explain(testenv.SlapdUser(3), `ok    provider +corp, the default`, `ok    filter +\(&\(objectClass=person\)\(uid=user00003\)\) below`,
		`ok    server +ldaps://`, `ok    DN +uid=user00003,`, `ok    subject +[0-9a-f]{8}-`, `ok    account +not locked by the password policy`,
		`ok    production +would be signed in as user00003, id 1003$`)
	b.explain("nobody", `ok    filter `, `stop  account +unknown_user`)
}

// TestCheckExplainsADomain as an administrator reads it, and as a program does.
func TestCheckExplainsADomain(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "")
	dc.SetLockout(t, 5, 30*time.Minute)
	out := b.run("", "check", "--config", b.configure(1, 2))
	for _, line := range []string{
		`warn  provider corp +activedirectory$`, // the test's certificate ends tomorrow
		`ok      server ` + dc.Address + `:636 +answers in [0-9.]+ ms, connecting took`, ` +PDC emulator$`,
		`warn    certificate of ` + dc.Address + `:636 +the .* certificate.* ends on`,
		`ok      service account +CN=svc-idbridge,`, `ok      lock-out policy +the domain locks an account after 5 within 30m0s; idbridge`,
		`ok      users +16\d\d account\(s\), \d\d of them enabled, below DC=example,DC=test$`,
	} {
		if !regexp.MustCompile(`(?m)^` + line).MatchString(out) {
			t.Errorf("no line has %q:\n%s", line, out)
		}
	}
	dc.Kill()
	out, err := b.try("check", "--config", b.configure(1, 2), "-o", "json")
	text, said, _ := strings.Cut(out, "\n]\n")
	var list []struct{ Verdict, Check, Text, Provider string }
	if err := json.Unmarshal([]byte(text+"\n]"), &list); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	last := list[len(list)-1]
	if err == nil || !strings.Contains(said, "1 of ") || last.Provider != "corp" || last.Check != "server "+dc.Address+":636" ||
		last.Verdict != "fail" || !strings.Contains(last.Text, "directory_unreachable") {
		t.Errorf("%v\n%s", err, out)
	}
}
