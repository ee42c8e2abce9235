package ldap

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/testenv"
)

// people are entries with something particular about each.
func people() string {
	var b strings.Builder
	add := func(rdn, uid string, lines ...string) {
		b.WriteString("dn: " + rdn + "," + testenv.SlapdPeopleDN + "\nobjectClass: inetOrgPerson\nuid: " + uid + "\ncn: " + uid +
			"\nsn: x\nuserPassword: " + testenv.SSHA("pw-"+uid) + "\n" + strings.Join(append(lines, "", ""), "\n"))
	}
	strict := "pwdPolicySubentry: cn=strict,ou=policies," + testenv.SlapdBaseDN
	add("uid=o'neil(x)", "o'neil(x)")
	add("uid=josé", "josé", "mail: jose@example.test")
	add("cn=twin one", "twin")
	add("cn=twin two", "twin")
	add("uid=locked", "locked", strict, "pwdAccountLockedTime: 000001010000Z")
	add("uid=reset", "reset", strict, "pwdReset: TRUE", "pwdChangedTime: "+time.Now().UTC().Format("20060102150405Z"))
	add("uid=expired", "expired", strict, "pwdChangedTime: 20200101000000Z")
	add("uid=guessed", "guessed", strict, "pwdChangedTime: "+time.Now().UTC().Format("20060102150405Z"))
	add("uid=disabled", "disabled", "employeeType: disabled")
	add("uid=nopass", "nopass")
	return strings.Replace(b.String(), "sn: x\nuserPassword: "+lastPassword(b.String(), "nopass"), "sn: x", 1)
}

// lastPassword finds the password line of an entry, to take it away again.
func lastPassword(ldif, uid string) string {
	_, rest, _ := strings.Cut(ldif, "dn: uid="+uid+",")
	_, rest, _ = strings.Cut(rest, "userPassword: ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

func configFor(s *testenv.SlapdServer) Config {
	return Config{
		URLs: []string{s.URL}, CAFile: s.CAFile, BindDN: s.BindDN, BindPassword: authn.Secret(s.BindPassword),
		BaseDN: s.BaseDN,
	}
}

// connect opens a directory that is closed with the test.
func connect(t *testing.T, c Config) *directory {
	t.Helper()
	d, err := open("corp", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.servers.close)
	return d
}

func signIn(ctx context.Context, d *directory, user, password string) (authn.Identity, error) {
	a, err := d.Find(ctx, user)
	if err != nil {
		return authn.Identity{}, err
	}
	return d.Verify(ctx, a, authn.Secret(password))
}

func wantReason(t *testing.T, err error, kind authn.Kind, reason string) {
	t.Helper()
	if authn.KindOf(err) != kind || authn.ReasonOf(err) != reason {
		t.Errorf("got %v (%v), want %v (%s)", authn.KindOf(err), err, kind, reason)
	}
}

// silent is a server that accepts connections and never says a word.
func silent(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "ldap://" + l.Addr().String()
}

func TestContract(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 100, LDIF: people()})
	startTLS := configFor(s)
	startTLS.URLs, startTLS.StartTLS = []string{s.PlainURL + "/" + s.BaseDN}, true
	startTLS.BaseDN = ""
	uncached := configFor(s)
	uncached.CacheTTL = -1
	for name, c := range map[string]Config{"ldaps": configFor(s), "StartTLS": startTLS, "no cache": uncached} {
		t.Run(name, func(t *testing.T) {
			dead := c
			dead.URLs, dead.StartTLS, dead.InsecurePlaintext, dead.BaseDN = []string{silent(t)}, false, true, s.BaseDN
			authntest.TestPasswordProvider(t, authntest.PasswordFixture{
				ProviderID: "corp", Provider: connect(t, c),
				Good: []authntest.Login{
					{Username: "user00042", Password: "pw-user00042"}, {Username: "user00007", Password: "pw-user00007"},
					{Username: "josé", Password: "pw-josé"}, {Username: "o'neil(x)", Password: "pw-o'neil(x)"},
				},
				Locked: authntest.Login{Username: "locked", Password: "pw-locked"},
				Dead:   connect(t, dead),
			})
		})
	}
}

func TestAttributes(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: people()})
	d := connect(t, configFor(s))
	id, err := signIn(t.Context(), d, "JOSÉ", "pw-josé")
	if err != nil {
		t.Fatal(err)
	}
	if id.Username != "josé" || id.Email != "jose@example.test" || id.Name != "josé" || len(id.Subject) != 36 || id.Provider != "corp" {
		t.Errorf("got %+v", id)
	}
}

func TestReasons(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: people()})
	c := configFor(s)
	c.DisabledFilter = "(employeeType=disabled)"
	d := connect(t, c)
	for _, test := range []struct {
		user, password string
		kind           authn.Kind
		reason         string
	}{
		{"josé", "wrong", authn.BadCredentials, reasonWrongPassword},
		{"nobody", "x", authn.BadCredentials, reasonUnknownUser},
		{"twin", "pw-twin", authn.BadCredentials, reasonAmbiguousUser},
		{"josé ", "pw-josé", authn.BadCredentials, reasonMalformedName},
		{"josé", "", authn.BadCredentials, reasonEmptyPassword},
		{"josé", "pw-josé\x00", authn.BadCredentials, reasonMalformedPass},
		{"nopass", "x", authn.BadCredentials, reasonWrongPassword},
		{"locked", "pw-locked", authn.Locked, reasonLocked},
		{"reset", "pw-reset", authn.Locked, reasonMustChange},
		{"expired", "pw-expired", authn.Locked, reasonExpired},
		{"disabled", "pw-disabled", authn.Locked, reasonDisabled},
		{"disabled", "wrong", authn.BadCredentials, reasonWrongPassword},
	} {
		_, err := signIn(t.Context(), d, test.user, test.password)
		wantReason(t, err, test.kind, test.reason)
	}
	for range 3 {
		_, err := signIn(t.Context(), d, "guessed", "wrong")
		wantReason(t, err, authn.BadCredentials, reasonWrongPassword)
	}
	_, err := signIn(t.Context(), d, "guessed", "pw-guessed")
	wantReason(t, err, authn.Locked, reasonLocked)
}

func TestLookupRechecksTheAccount(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: people()})
	c := configFor(s)
	c.DisabledFilter = "(employeeType=disabled)"
	d := connect(t, c)
	if id, err := d.Lookup(t.Context(), "josé"); err != nil || id.Username != "josé" || len(id.Factors) != 0 {
		t.Errorf("got %+v, %v", id, err)
	}
	for user, reason := range map[string]string{"locked": reasonLocked, "reset": reasonMustChange, "disabled": reasonDisabled} {
		_, err := d.Lookup(t.Context(), user)
		wantReason(t, err, authn.Locked, reason)
	}
	for _, user := range []string{"", "a\x00b", "*", "nobody"} {
		_, err := d.Lookup(t.Context(), user)
		if authn.KindOf(err) != authn.BadCredentials {
			t.Errorf("%q: %v", user, err)
		}
	}
}

// TestRecycledDN gives the DN of a cached account to another person.
func TestRecycledDN(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: people()})
	d := connect(t, configFor(s))
	later := time.Duration(0)
	d.cache.now = func() time.Time { return time.Now().Add(later) }
	before, err := signIn(t.Context(), d, "josé", "pw-josé")
	if err != nil {
		t.Fatal(err)
	}
	dn := "uid=josé," + s.PeopleDN
	s.Modify(t, "dn: "+dn+"\nchangetype: delete\n\ndn: "+dn+"\nchangetype: add\nobjectClass: inetOrgPerson\nuid: josé\ncn: other\n"+
		"sn: x\nuserPassword: "+testenv.SSHA("pw-other")+"\n")

	later = recheckAfter + time.Second
	_, err = signIn(t.Context(), d, "josé", "pw-other")
	wantReason(t, err, authn.Unavailable, reasonChanged)
	after, err := signIn(t.Context(), d, "josé", "pw-other")
	if err != nil || after.Subject == before.Subject {
		t.Errorf("second attempt: %+v, %v; the subject was %s", after, err, before.Subject)
	}
}

// TestRenamedEntry moves a cached account: the right password must not count as a wrong one.
func TestRenamedEntry(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: people()})
	d := connect(t, configFor(s))
	before, err := signIn(t.Context(), d, "josé", "pw-josé")
	if err != nil {
		t.Fatal(err)
	}
	s.Modify(t, "dn: uid=josé,"+s.PeopleDN+"\nchangetype: modrdn\nnewrdn: cn=josé\ndeleteoldrdn: 0\n")
	_, err = signIn(t.Context(), d, "josé", "pw-josé")
	wantReason(t, err, authn.Unavailable, reasonChanged)
	if after, err := signIn(t.Context(), d, "josé", "pw-josé"); err != nil || after.Subject != before.Subject {
		t.Errorf("second attempt: %+v, %v", after, err)
	}
}

// TestFailOver kills and restarts the preferred server while sign-ins run. None may fail for the user's fault, and with
// another server up only the ones under way at the moment of the crash may fail at all.
func TestFailOver(t *testing.T) {
	ca := testenv.CA(t)
	first := testenv.Slapd(t, testenv.SlapdConfig{Users: 20, CA: ca})
	second := testenv.Slapd(t, testenv.SlapdConfig{Users: 20, CA: ca})
	c := configFor(first)
	c.URLs, c.Attributes.Subject, c.CacheTTL = append(c.URLs, second.URL), "uid", -1
	d := connect(t, c)

	var mu sync.Mutex
	failed, passed := 0, 0
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for user := testenv.SlapdUser(i); ctx.Err() == nil; {
				_, err := signIn(t.Context(), d, user, testenv.SlapdPassword(user))
				mu.Lock()
				if err == nil {
					passed++
				} else if failed++; authn.KindOf(err) != authn.Unavailable {
					t.Errorf("an outage became %v", err)
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(50 * time.Millisecond) // nobody types faster; refusals come back within microseconds
				}
			}
		})
	}
	waitFor := func(more int) {
		t.Helper()
		mu.Lock()
		goal := passed + more
		mu.Unlock()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			reached := passed >= goal
			mu.Unlock()
			if reached {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("sign-ins stopped")
			}
		}
	}
	waitFor(50)
	first.Kill()
	waitFor(200)
	first.Restart(t)
	waitFor(100)
	time.Sleep(lastResort) // so that the first may be tried again at once
	second.Kill()
	waitFor(200)
	stop()
	wg.Wait()
	if failed > 3*8 {
		t.Errorf("%d sign-ins failed of %d; at most those under way at a crash should", failed, failed+passed)
	}
}

func TestADeadDirectoryFailsFast(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1})
	d := connect(t, configFor(s))
	s.Kill()
	_, err := d.Find(t.Context(), "user00000")
	wantReason(t, err, authn.Unavailable, reasonUnreachable)
	l, err := net.Listen("tcp", strings.TrimPrefix(s.URL, "ldaps://")) // in its place, to see who comes
	if err != nil {
		t.Fatal(err)
	}
	var came atomic.Int64
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			came.Add(1)
			_ = c.Close()
		}
	}()
	began := time.Now()
	for range 1000 {
		_, err = d.Find(t.Context(), "user00000")
		wantReason(t, err, authn.Unavailable, reasonUnreachable)
	}
	if n, most := came.Load(), int64(time.Since(began)/lastResort)+1; n > most {
		t.Errorf("it was tried %d times for 1000 callers, at most %d are due", n, most)
	}
	_ = l.Close()
	s.Restart(t)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = signIn(t.Context(), d, "user00000", "pw-user00000"); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the directory is back, but: %v", err)
		}
	}
}

func TestServiceAccountRefused(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1})
	c := configFor(s)
	c.BindPassword = "wrong-canary"
	d := connect(t, c)
	for range 3 {
		_, err := d.Find(t.Context(), "user00000")
		wantReason(t, err, authn.Unavailable, reasonServiceAccount)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if end, _ := d.servers[0].claim(time.Now().Add(2*lastResort), true); end != nil {
		t.Error("the refused account is tried again every second, which would lock it")
	}
}

func TestTLSIsVerified(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1})
	otherCA, otherName := configFor(s), configFor(s)
	otherCA.CAFile = testenv.CA(t).File
	otherName.ServerName = "directory.example.test"
	startTLS := otherCA
	startTLS.URLs, startTLS.StartTLS = []string{s.PlainURL}, true
	for name, c := range map[string]Config{"other authority": otherCA, "other name": otherName, "StartTLS": startTLS} {
		d := connect(t, c)
		_, err := d.Find(t.Context(), "user00000")
		wantReason(t, err, authn.Unavailable, reasonUnreachable)
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
