package activedirectory

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

func inspect(t *testing.T, d *domain) []authn.Finding {
	t.Helper()
	return d.Inspect(t.Context(), func(string) {})
}

// wantFinding wants a finding on a check whose outcome, "ok ...", "warn ..." or "fail ...", is like the pattern.
func wantFinding(t *testing.T, list []authn.Finding, check, pattern string) {
	t.Helper()
	for _, f := range list {
		outcome := "ok " + f.Seen
		switch {
		case !f.OK() && f.Warning:
			outcome = "warn " + f.Problem
		case !f.OK():
			outcome = "fail " + f.Problem
		}
		if regexp.MustCompile("^"+check+"$").MatchString(f.Check) && regexp.MustCompile("^"+pattern).MatchString(outcome) {
			return
		}
	}
	t.Errorf("no finding on %s is like %q:\n%+v", check, pattern, list)
}

// TestInspect looks at a real domain controller, with the service account named in each way.
func TestInspect(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{CertEnd: time.Now().Add(20*24*time.Hour + time.Hour)})
	dc.SetLockout(t, 5, 30*time.Minute)
	for _, name := range []string{dc.BindUPN, dc.BindDN, `EXAMPLE\svc-idbridge`} {
		c := configFor(dc)
		c.BindDN = name
		d := connect(t, c)
		found := inspect(t, d)
		if ends := d.ends(); !slices.ContainsFunc(ends, func(e authn.End) bool { return e.What == "certificate shown by "+dc.Address+":636" }) {
			t.Errorf("%+v", ends)
		}
		wantFinding(t, found, "server "+dc.Address+":636", `ok answers in [0-9.]+ ms, connecting took [0-9.]+ ms; TLS 1\.[23], `+
			`certificate until 20.* \(.* days\); clock right within 1s; PDC emulator$`)
		wantFinding(t, found, "service account", `ok CN=svc-idbridge,.*: enabled, not locked, never expires; password set on 20.*, expires on 20`)
		wantFinding(t, found, "lock-out policy", `ok the domain locks an account after 5 within 30m0s; idbridge leaves 1 of them`)
		wantFinding(t, found, "users", `ok 16\d\d account\(s\), \d\d of them enabled, below DC=example,DC=test$`)
	}

	c := configFor(dc)
	c.BaseDN, c.LockoutMargin = "OU=Services,"+dc.BaseDN, 5
	found := inspect(t, connect(t, c))
	wantFinding(t, found, "users", `ok 1 account\(s\), 1 of them enabled, below OU=Services`)
	wantFinding(t, found, "lock-out policy", `warn the domain locks .* and lockout_margin is 5: after one wrong password nobody is let in`)
	c.BaseDN = testenv.SambaGroupsDN
	wantFinding(t, inspect(t, connect(t, c)), "users", `fail the search for all users finds none`)

	end := strconv.FormatInt((time.Now().Unix()+10*24*3600+11_644_473_600)*10_000_000, 10)
	dc.LDBModify(t, "dn: "+dc.BindDN+"\nchangetype: modify\nreplace: accountExpires\naccountExpires: "+end+"\n")
	wantFinding(t, inspect(t, connect(t, configFor(dc))), "service account", `warn the account CN=svc-idbridge,.* expires on 20`)
	later := connect(t, configFor(dc))
	later.now = func() time.Time { return time.Now().Add(10*365*24*time.Hour - 15*24*time.Hour) }
	wantFinding(t, inspect(t, later), "service account", `fail .*account_expired.* will be refused soon`)

	c = configFor(dc)
	c.BindPassword = "wrong-canary"
	c.URLs = append(c.URLs, dc.URL)
	before := dc.BadPwdCount(t, "svc-idbridge")
	found = inspect(t, connect(t, c))
	wantFinding(t, found, "server "+dc.Address+":636", `fail .*refused the service account "svc-idbridge@example.test" \(wrong_password\): check bind_dn`)
	if n := dc.BadPwdCount(t, "svc-idbridge") - before; n != 1 || len(found) != 1 {
		t.Errorf("%d wrong passwords of the service account were tried, %d findings", n, len(found))
	}
	dc.LDBModify(t, "dn: "+dc.BindDN+"\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n")
	wantFinding(t, inspect(t, connect(t, configFor(dc))), "server "+dc.Address+":636", `fail .*refused the service account .* \(account_disabled\)`)
}

func host(url string) string { return strings.TrimPrefix(url, "ldaps://") }

// TestEndsSoon: which of two ends is told.
func TestEndsSoon(t *testing.T) {
	now := time.Now()
	soon, late, never := now.Add(endSoon-time.Hour), now.Add(endSoon+time.Hour), time.Time{}
	for _, test := range []struct {
		account, password time.Time
		want              string
	}{
		{never, never, "^$"}, {late, late, "^$"}, {never, soon, "^the password of x expires"}, {soon, soon, "^the account x expires"},
		{late, now.Add(-time.Hour), "^the password of x expires"},
	} {
		if got := endsSoon("x", test.account, test.password, now); !regexp.MustCompile(test.want).MatchString(got) {
			t.Errorf("%v: %q", test, got)
		}
	}
}

// TestInspectClocksAndRoles on domain controllers that say of themselves what the test wants.
func TestInspectClocksAndRoles(t *testing.T) {
	first, second := startFake(t), startFake(t)
	now := time.Date(2026, 11, 24, 12, 0, 0, int(500*time.Millisecond), time.UTC)
	says := func(name string, clock time.Time) func(base, filter string, asked []string) []fakeEntry {
		return func(base, filter string, asked []string) []fakeEntry {
			switch {
			case base == "":
				return []fakeEntry{{"", map[string][]string{
					"currentTime": {clock.Truncate(time.Second).Format("20060102150405.0Z")}, "dsServiceName": {"CN=NTDS Settings,CN=" + name}}}}
			case base == fakeRoot && (asked[0] == "1.1" || asked[0] == "fSMORoleOwner"):
				return []fakeEntry{{fakeRoot, map[string][]string{"fSMORoleOwner": {"CN=NTDS Settings,CN=two"}}}}
			}
			return honest(base, filter, asked)
		}
	}
	both := filepath.Join(t.TempDir(), "both.pem")
	var pem []byte
	for _, f := range []*fake{first, second} {
		text, err := os.ReadFile(f.config.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		pem = append(pem, text...)
	}
	if err := os.WriteFile(both, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ahead time.Duration
		text  string
	}{
		"ahead":          {12 * time.Second, `warn 12s ahead of this machine's: set up NTP .* within seconds$`},
		"behind":         {-4 * time.Second, `warn 4s behind this machine's`},
		"hardly":         {3 * time.Second, ""},
		"beyond Windows": {-6 * time.Minute, `warn 6m0s behind .*Kerberos refuses more than 5 minutes$`},
	} {
		first.entry, second.entry = says("one", now.Add(test.ahead)), says("two", now)
		c := first.config
		c.URLs, c.CAFile = append([]string{}, first.config.URLs[0], second.config.URLs[0]), both
		d := connect(t, c)
		d.now = func() time.Time { return now }
		found := inspect(t, d)
		if test.text != "" {
			wantFinding(t, found, "clock of "+host(c.URLs[0]), test.text)
		}
		warned := 0
		for _, f := range found {
			if f.Check == "clock of "+host(c.URLs[0]) || f.Check == "clock of "+host(c.URLs[1]) {
				warned++
			}
		}
		if (warned == 1) != (test.text != "") {
			t.Errorf("%s: %d warnings", name, warned)
		}
		wantFinding(t, found, "order", `warn the first domain controller is not the PDC emulator`)
		wantFinding(t, found, "server "+host(c.URLs[1]), `ok .*; PDC emulator$`)
		c.URLs[0], c.URLs[1] = c.URLs[1], c.URLs[0]
		d = connect(t, c)
		d.now = func() time.Time { return now }
		for _, f := range inspect(t, d) {
			if f.Check == "order" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	wantFinding(t, inspect(t, connect(t, first.config)), "users", "fail") // a domain of nobody
	wantFinding(t, inspect(t, connect(t, first.config)), "service account", `warn .*cannot read its own entry`)
	first.entry = func(string, string, []string) []fakeEntry { return nil }
	wantFinding(t, inspect(t, connect(t, first.config)), "server "+host(first.config.URLs[0]), `fail .*base_dn .* does not exist`)
}
