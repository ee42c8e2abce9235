package activedirectory

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/testenv"
)

func configFor(dc *testenv.SambaDC) Config {
	return Config{
		Domain: dc.Domain, NetBIOSNames: []string{dc.NetBIOS}, URLs: []string{dc.URL}, CAFile: dc.CAFile,
		BindDN: dc.BindUPN, BindPassword: authn.Secret(dc.BindPassword),
	}
}

// connect opens a domain that is closed with the test.
func connect(t *testing.T, c Config) *domain {
	t.Helper()
	d, err := open("corp", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

func signIn(ctx context.Context, d *domain, user, password string) (authn.Identity, error) {
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

// change modifies a user of the domain, whatever the schema says.
func change(t *testing.T, dc *testenv.SambaDC, user, lines string) {
	t.Helper()
	dc.LDBModify(t, "dn: CN="+user+","+testenv.SambaPeopleDN+"\nchangetype: modify\n"+lines)
}

// silent is a server that accepts connections and never says a word.
func silent(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "ldaps://" + l.Addr().String()
}

func TestContract(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	startTLS, uncached := configFor(dc), configFor(dc)
	startTLS.URLs, startTLS.StartTLS = []string{dc.PlainURL}, true
	uncached.CacheTTL = -1
	login := func(user string) authntest.Login {
		return authntest.Login{Username: user, Password: testenv.SambaPassword(user)}
	}
	for name, c := range map[string]Config{"ldaps": configFor(dc), "StartTLS": startTLS, "no cache": uncached} {
		t.Run(name, func(t *testing.T) {
			dead := configFor(dc)
			dead.URLs = []string{silent(t)}
			authntest.TestPasswordProvider(t, authntest.PasswordFixture{
				ProviderID: "corp", Provider: connect(t, c),
				Good:   []authntest.Login{login("alice"), login("bob"), login("josé"), login("o'neil"), login("janedoe")},
				Locked: login("disabled"), Dead: connect(t, dead),
			})
		})
	}
}

func TestEverySpellingIsOneAccount(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	c := configFor(dc)
	c.UPNSuffixes, c.SignInByEmail = []string{"corp.example"}, true
	d := connect(t, c)
	guid := strings.ToLower(dc.Attribute(t, "alice", "objectGUID"))
	for spelled, sam := range map[string]string{
		"alice": "alice", "ALICE": "alice", "alice@example.test": "alice", "Alice@EXAMPLE.Test": "alice",
		`EXAMPLE\alice`: "alice",
		`example\ALICE`: "alice", `example.test\alice`: "alice",
		"altupn@corp.example": "altupn", "altupn": "altupn", `EXAMPLE\altupn`: "altupn", "altupn@example.test": "altupn",
		"c.jones@example.test": "carol", "c.jones": "carol",
	} {
		id, err := signIn(t.Context(), d, spelled, testenv.SambaPassword(sam))
		if err != nil || id.Username != sam || id.Name != "The "+sam || id.Email != sam+"@example.test" {
			t.Errorf("%s: %+v, %v", spelled, id, err)
		}
		a, _ := d.Find(t.Context(), spelled)
		if sam == "alice" && (id.Subject != guid || a.Subject != guid || a.Ref != "CN=alice,"+testenv.SambaPeopleDN) {
			t.Errorf("%s: subject %s of %s, want %s", spelled, id.Subject, a.Ref, guid)
		}
	}
}

func TestNamesOfNobodyAndOfSeveral(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	off := connect(t, configFor(dc))
	c := configFor(dc)
	c.SignInByEmail = true
	byMail := connect(t, c)
	change(t, dc, "frank", "replace: mail\nmail: frank@partner.test\n")
	for _, test := range []struct {
		d            *domain
		name, reason string
	}{
		{off, "carol", "ambiguous_user"}, // mallory's UPN is carol@example.test
		{off, "carol@example.test", "ambiguous_user"},
		{off, `EXAMPLE\carol`, "ambiguous_user"},
		{byMail, "shared@example.test", "ambiguous_user"},
		{off, "shared@example.test", reasonUnknownUser},
		{off, "frank@partner.test", reasonUnknownUser},
		{off, "altupn@corp.example", reasonUnknownUser}, // the suffix is not configured
		{off, `OTHER\alice`, reasonUnknownUser},
		{off, "alice@other.test", reasonUnknownUser},
		{off, `EXAMPLE\alice@example.test`, reasonUnknownUser},
		{off, `EXAMPLE\c.jones`, reasonUnknownUser}, // a UPN, not a sAMAccountName
		{off, `EXAMPLE\`, reasonUnknownUser},
		{off, `\alice`, reasonUnknownUser},
		{off, "@example.test", reasonUnknownUser},
		{off, "DC1$", reasonUnknownUser}, // a computer
		{off, "staff", reasonUnknownUser},
		{off, " alice", "malformed_username"},
		{off, "al\x00ice", "malformed_username"},
	} {
		_, err := test.d.Find(t.Context(), test.name)
		if authn.KindOf(err) != authn.BadCredentials || authn.ReasonOf(err) != test.reason {
			t.Errorf("%q: %v, want %s", test.name, err, test.reason)
		}
	}
	id, err := signIn(t.Context(), byMail, "frank@partner.test", testenv.SambaPassword("frank"))
	if err != nil || id.Username != "frank" {
		t.Errorf("by e-mail: %+v, %v", id, err)
	}
}

func TestTheUPNAsUsername(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	c := configFor(dc)
	c.Username = attrUPN
	d := connect(t, c)
	change(t, dc, "frank", "delete: userPrincipalName\n")
	for sam, want := range map[string]string{
		"alice": "alice@example.test", "frank": "frank@example.test", "altupn": "altupn@corp.example",
	} {
		if a, err := d.Find(t.Context(), sam); err != nil || a.Username != want {
			t.Errorf("%s is %q, want %q (%v)", sam, a.Username, want, err)
		}
	}
}

// states are the accounts that Samba refuses, each for a reason of its own.
func states() map[string]string {
	return map[string]string{"disabled": reasonDisabled, "accountexpired": reasonExpired, "mustchange": reasonMustChange,
		"pwdexpired": reasonPassExpired, "logonhours": reasonHours, "workstation": reasonWorkstation}
}

func TestAccountStates(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	d := connect(t, configFor(dc))
	for user, reason := range states() {
		if _, err := d.Find(t.Context(), user); err != nil {
			t.Errorf("Find tells about %s: %v", user, err)
		}
		_, err := signIn(t.Context(), d, user, testenv.SambaPassword(user))
		wantReason(t, err, authn.Locked, reason)
		_, err = signIn(t.Context(), d, user, "wrong")
		wantReason(t, err, authn.BadCredentials, reasonWrongPassword)
	}
}

func TestLookupRechecksTheAccount(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	c := configFor(dc)
	c.DenyGroups = []string{"loop-a"}
	d := connect(t, c)
	if id, err := d.Lookup(t.Context(), `EXAMPLE\alice`); err != nil || id.Username != "alice" || len(id.Factors) != 0 {
		t.Errorf("got %+v, %v", id, err)
	}
	want := states()
	want["bob"] = reasonGroupDenied
	delete(want, "workstation") // the front end is where that is decided
	for user, reason := range want {
		_, err := d.Lookup(t.Context(), user)
		wantReason(t, err, authn.Locked, reason)
	}
	change(t, dc, "alice", "replace: userAccountControl\nuserAccountControl: 514\n")
	_, err := d.Lookup(t.Context(), `EXAMPLE\alice`) // found before, and not from the cache now
	wantReason(t, err, authn.Locked, reasonDisabled)

	dc.SetLockout(t, 1, time.Hour)
	if _, err := signIn(t.Context(), d, "lockme", "wrong"); authn.ReasonOf(err) != reasonWrongPassword {
		t.Error(err)
	}
	_, err = d.Lookup(t.Context(), "lockme")
	wantReason(t, err, authn.Locked, reasonLocked)
}

// TestNeverLocked: wrong passwords without end, also from elsewhere, and the domain never locks the account.
func TestNeverLocked(t *testing.T) {
	const threshold, window = 5, time.Hour
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, threshold, window)
	d := connect(t, configFor(dc))
	reasons := map[string]int{}
	for range 20 {
		_, err := signIn(t.Context(), d, "lockme", "wrong")
		reasons[authn.ReasonOf(err)]++
	}
	if reasons[reasonWrongPassword] != threshold-1 || reasons[reasonNearLockout] != 21-threshold {
		t.Errorf("got %v", reasons)
	}
	if n := dc.BadPwdCount(t, "lockme"); n != threshold-1 || dc.Locked(t, "lockme") {
		t.Errorf("%d wrong passwords reached the domain, locked: %v", n, dc.Locked(t, "lockme"))
	}
	_, err := signIn(t.Context(), d, "lockme", testenv.SambaPassword("lockme"))
	wantReason(t, err, authn.Locked, reasonNearLockout)

	later := window + clockSlack/2
	d.now = func() time.Time { return time.Now().Add(later) }
	_, err = signIn(t.Context(), d, "lockme", testenv.SambaPassword("lockme"))
	wantReason(t, err, authn.Locked, reasonNearLockout) // by our clock the window is over; by theirs perhaps not
	later = window + clockSlack + time.Second
	if _, err := signIn(t.Context(), d, "lockme", testenv.SambaPassword("lockme")); err != nil {
		t.Errorf("after the window: %v", err)
	}
}

// TestAReadingServesOneAttempt: callers that have all found the account before the first of them tried.
func TestAReadingServesOneAttempt(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, 3, time.Hour)
	d := connect(t, configFor(dc))
	var found []authn.Account
	for range 5 {
		a, err := d.Find(t.Context(), "lockme")
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, a)
	}
	for _, a := range found {
		_, _ = d.Verify(t.Context(), a, "wrong")
	}
	if n := dc.BadPwdCount(t, "lockme"); n != 2 {
		t.Errorf("%d wrong passwords reached the domain, want 2", n)
	}
}

func TestLockedElsewhere(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, 2, time.Hour)
	d, other := connect(t, configFor(dc)), connect(t, configFor(dc))
	other.config.LockoutMargin = -10 // somebody who does not care
	for range 3 {
		_, _ = signIn(t.Context(), other, "lockme", "wrong")
	}
	if !dc.Locked(t, "lockme") {
		t.Fatal("not locked")
	}
	_, err := signIn(t.Context(), d, "lockme", testenv.SambaPassword("lockme"))
	wantReason(t, err, authn.Locked, reasonLocked)
	dc.Unlock(t, "lockme")
	if _, err := signIn(t.Context(), d, "lockme", testenv.SambaPassword("lockme")); err != nil {
		t.Errorf("after Unlock: %v", err)
	}
}

// TestAFineGrainedPolicyOfTheDomain: the account has a policy of its own, which the service account must be able to
// read.
func TestAFineGrainedPolicyOfTheDomain(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, 50, time.Hour)
	const hour = "-36000000000"
	dc.LDBModify(t, "dn: CN=strict,CN=Password Settings Container,CN=System,"+dc.BaseDN+"\nchangetype: add\n"+
		"objectClass: msDS-PasswordSettings\nmsDS-PasswordSettingsPrecedence: 1\n"+
		"msDS-PasswordReversibleEncryptionEnabled: FALSE\n"+
		"msDS-PasswordHistoryLength: 0\nmsDS-PasswordComplexityEnabled: FALSE\nmsDS-MinimumPasswordLength: 0\n"+
		"msDS-MinimumPasswordAge: 0\nmsDS-MaximumPasswordAge: -315360000000000\nmsDS-LockoutThreshold: 3\n"+
		"msDS-LockoutObservationWindow: "+hour+"\nmsDS-LockoutDuration: "+hour+"\n"+
		"msDS-PSOAppliesTo: CN=lockme,"+testenv.SambaPeopleDN+"\n")
	hidden := connect(t, configFor(dc)) // as it is without a right granted for it
	_, err := signIn(t.Context(), hidden, "lockme", testenv.SambaPassword("lockme"))
	wantReason(t, err, authn.Unavailable, reasonConfig)
	if err := hidden.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "CN=strict") {
		t.Errorf("Check does not warn: %v", err)
	}
	if _, err := signIn(t.Context(), hidden, "alice", testenv.SambaPassword("alice")); err != nil {
		t.Errorf("somebody without a policy: %v", err)
	}
	c := configFor(dc)
	c.BindDN, c.BindPassword = dc.AdminUPN, authn.Secret(dc.AdminPassword)
	d := connect(t, c)
	for range 5 {
		_, err = signIn(t.Context(), d, "lockme", "wrong")
	}
	wantReason(t, err, authn.Locked, reasonNearLockout)
	if n := dc.BadPwdCount(t, "lockme"); n != 2 || dc.Locked(t, "lockme") {
		t.Errorf("%d wrong passwords reached the domain, locked: %v", n, dc.Locked(t, "lockme"))
	}
}

// TestASmallThreshold: a domain that locks after the first wrong password still lets people in.
func TestASmallThreshold(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, 1, time.Hour)
	if _, err := signIn(t.Context(), connect(t, configFor(dc)), "lockme", testenv.SambaPassword("lockme")); err != nil {
		t.Error(err)
	}
}

func TestGroups(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	d := connect(t, configFor(dc))
	for user, want := range map[string]string{
		"alice": "staff department company big -newsletter -loop-a", "frank": "-staff -big",
		"bob":     "staff department company loop-a loop-b loop-c -big",
		"primary": "contractors externals -staff -Domain -big",
	} {
		a, err := d.Find(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(want) {
			no, inGroup := strings.CutPrefix(name, "-")
			for _, spelling := range []string{no, "CN=" + no + "," + testenv.SambaGroupsDN} {
				if slices.Contains(a.Groups, spelling) == inGroup {
					t.Errorf("%s: %s as %q in %q", user, name, spelling, a.Groups)
				}
			}
		}
		if user != "primary" && !slices.Contains(a.Groups, "S-1-5-32-545") {
			t.Errorf("%s is not in BUILTIN\\Users: %q", user, a.Groups)
		}
	}
	a, err := d.Find(t.Context(), "primary")
	if slices.Contains(a.Groups, "Domain Users") || err != nil {
		t.Errorf("the primary group was changed, but %q (%v)", a.Groups, err)
	}
}

func TestManyGroups(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	a, err := connect(t, configFor(dc)).Find(t.Context(), "manygroups")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range a.Groups {
		if strings.HasPrefix(g, "many") {
			n++
		}
	}
	if n != testenv.SambaManyGroups {
		t.Errorf("%d groups, want %d", n, testenv.SambaManyGroups)
	}
}

func TestAccessByGroup(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	sid := dc.Attribute(t, "department", "objectSid")
	for name, test := range map[string]struct {
		allow, deny []string
		alice, bob  string
	}{
		"everybody":           {nil, nil, "ok", "ok"},
		"allowed by name":     {[]string{"BIG"}, nil, "ok", reasonNoGroup},
		"allowed by DN":       {[]string{"cn=Big, " + testenv.SambaGroupsDN}, nil, "ok", reasonNoGroup},
		"allowed by SID":      {[]string{sid}, nil, "ok", "ok"},
		"one of several":      {[]string{"nothing", "loop-c"}, nil, reasonNoGroup, "ok"},
		"denied":              {nil, []string{"loop-b"}, "ok", reasonGroupDenied},
		"denied and allowed":  {[]string{"staff"}, []string{"big"}, reasonGroupDenied, "ok"},
		"a distribution list": {[]string{"newsletter"}, nil, reasonNoGroup, reasonNoGroup},
	} {
		c := configFor(dc)
		c.AllowGroups, c.DenyGroups = test.allow, test.deny
		d := connect(t, c)
		for user, want := range map[string]string{"alice": test.alice, "bob": test.bob} {
			_, err := signIn(t.Context(), d, user, testenv.SambaPassword(user))
			if authn.ReasonOf(err) != want {
				t.Errorf("%s: %s: %v, want %s", name, user, err, want)
			}
			_, err = signIn(t.Context(), d, user, "wrong")
			if authn.ReasonOf(err) != reasonWrongPassword {
				t.Errorf("%s: %s without the password: %v", name, user, err)
			}
		}
	}
}

// TestPolicyByGroup: rules of the second factor name groups as access rules do. The name in a group's DN is none: who may
// make groups in one corner of the domain chooses it freely.
func TestPolicyByGroup(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.LDBModify(t, "dn: CN=robots,"+testenv.SambaPeopleDN+"\nchangetype: add\nobjectClass: group\nsAMAccountName: harmless\n"+
		"member: CN=alice,"+testenv.SambaPeopleDN+"\n")
	p, err := New("corp", "", configFor(dc), authn.Route{Default: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	a, err := p.Password.Find(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for rule, matches := range map[string]bool{
		"Staff": true, "cn=Staff, " + testenv.SambaGroupsDN: true, dc.Attribute(t, "staff", "objectSid"): true,
		"harmless": true, "robots": false, "cn=staff": false,
	} {
		policy, err := mfa.Policy{Default: authn.FactorRequired, Providers: map[string]mfa.ProviderPolicy{
			"corp": {Groups: []mfa.GroupRule{{Group: rule, Policy: authn.FactorNever}}}}}.Func()
		if err != nil || p.GroupRule(rule) != nil {
			t.Fatal(err, p.GroupRule(rule))
		}
		if got := policy(a.Identity); (got == authn.FactorNever) != matches {
			t.Errorf("rule for %q: policy %s", rule, got)
		}
	}
	for _, rule := range []string{" ", "CN=x,broken"} {
		if p.GroupRule(rule) == nil {
			t.Errorf("%q is taken for a group", rule)
		}
	}
}

// TestRecycledDN gives the DN of a cached account to another person, whose password then proves nothing about the
// first.
func TestRecycledDN(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	d := connect(t, configFor(dc))
	before, err := signIn(t.Context(), d, "frank", testenv.SambaPassword("frank"))
	if err != nil {
		t.Fatal(err)
	}
	dc.LDBModify(t, "dn: CN=frank,"+testenv.SambaPeopleDN+"\nchangetype: modrdn\n"+
		"newrdn: CN=frank the elder\ndeleteoldrdn: 1\n\n"+
		"dn: CN=bob,"+testenv.SambaPeopleDN+"\nchangetype: modrdn\nnewrdn: CN=frank\ndeleteoldrdn: 1\n")
	_, err = signIn(t.Context(), d, "frank", testenv.SambaPassword("bob"))
	wantReason(t, err, authn.Unavailable, reasonChanged)
	_, err = signIn(t.Context(), d, "frank", testenv.SambaPassword("bob"))
	wantReason(t, err, authn.BadCredentials, reasonWrongPassword)
	after, err := signIn(t.Context(), d, "frank", testenv.SambaPassword("frank"))
	if err != nil || after.Subject != before.Subject {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestCheck(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	if err := connect(t, configFor(dc)).Check(t.Context()); err != nil {
		t.Error(err)
	}
	for name, bind := range map[string]string{"a DN": dc.BindDN, "DOMAIN\\user": `EXAMPLE\svc-idbridge`} {
		c := configFor(dc)
		c.BindDN = bind
		if err := connect(t, c).Check(t.Context()); err != nil {
			t.Errorf("service account as %s: %v", name, err)
		}
	}
	c := configFor(dc)
	c.BindPassword = "wrong-canary"
	err := connect(t, c).Check(t.Context())
	wantReason(t, err, authn.Unavailable, "service_account")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestAnExpiredCertificate(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{CertEnd: time.Now().Add(-time.Minute)})
	_, err := signIn(t.Context(), connect(t, configFor(dc)), "alice", testenv.SambaPassword("alice"))
	wantReason(t, err, authn.Unavailable, "directory_unreachable")
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("no clear cause: %v", err)
	}
}
