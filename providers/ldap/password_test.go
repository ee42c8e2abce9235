package ldap

import (
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// changeable is a directory of people whose passwords have rules, and its provider.
func changeable(t *testing.T) (*testenv.SlapdServer, *directory) {
	t.Helper()
	const rules = "dn: cn=rules,ou=policies," + testenv.SlapdBaseDN + "\ncn: rules\nobjectClass: applicationProcess\n" +
		"objectClass: pwdPolicy\npwdAttribute: userPassword\npwdMinLength: 8\npwdCheckQuality: 2\npwdInHistory: 3\n\n" +
		"dn: cn=fixed,ou=policies," + testenv.SlapdBaseDN + "\ncn: fixed\nobjectClass: applicationProcess\n" +
		"objectClass: pwdPolicy\npwdAttribute: userPassword\npwdAllowUserChange: FALSE\n\n"
	user := func(uid, policy string) string {
		return "dn: uid=" + uid + "," + testenv.SlapdPeopleDN + "\nobjectClass: inetOrgPerson\nuid: " + uid + "\ncn: " + uid +
			"\nsn: x\nuserPassword: " + testenv.SSHA("pw-"+uid) + "\npwdPolicySubentry: cn=" + policy + ",ou=policies," +
			testenv.SlapdBaseDN + "\npwdChangedTime: " + time.Now().Add(-time.Hour).UTC().Format("20060102150405Z") + "\n\n"
	}
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 2, LDIF: people() + rules + user("ruled", "rules") + user("fixed", "fixed")})
	c := configFor(s)
	c.ChangePassword = true
	return s, connect(t, c)
}

func newPassword(t *testing.T, d *directory, user, current, next string) error {
	t.Helper()
	a, err := d.Find(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return d.ChangePassword(t.Context(), a, authn.Secret(current), authn.Secret(next))
}

func proves(t *testing.T, d *directory, user, password string) error {
	t.Helper()
	a, err := d.Find(t.Context(), user)
	if err == nil {
		_, err = d.Verify(t.Context(), a, authn.Secret(password))
	}
	return err
}

func TestChangePassword(t *testing.T) {
	_, d := changeable(t)
	if err := proves(t, d, "reset", "pw-reset"); authn.ReasonOf(err) != reasonMustChange {
		t.Fatalf("before: %v", err)
	}
	for _, user := range []string{"josé", "o'neil(x)", "reset", "ruled"} {
		if err := newPassword(t, d, user, "pw-"+user, "näu "+user+" 12"); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if err := proves(t, d, user, "näu "+user+" 12"); err != nil {
			t.Errorf("%s with the new password: %v", user, err)
		}
		err := proves(t, d, user, "pw-"+user)
		if authn.ReasonOf(err) != reasonWrongPassword {
			t.Errorf("%s with the old password: %v", user, err)
		}
	}
	if err := proves(t, d, "user00001", testenv.SlapdPassword("user00001")); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

func TestRefusedChanges(t *testing.T) {
	_, d := changeable(t)
	for _, test := range []struct {
		user, current, next string
		kind                authn.Kind
		reason              string
	}{
		{"ruled", "wrong-canary", "long enough", authn.BadCredentials, reasonWrongPassword},
		{"ruled", "", "long enough", authn.BadCredentials, reasonEmptyPassword},
		{"ruled", "a\x00b", "long enough", authn.BadCredentials, reasonMalformedPass},
		{"ruled", "pw-ruled", "short", authn.Unsuitable, reasonUnsuitable},
		{"ruled", "pw-ruled", "pw-ruled", authn.Unsuitable, reasonUnsuitable},
		{"ruled", "pw-ruled", "", authn.Unsuitable, reasonMalformedPass},
		{"ruled", "pw-ruled", "a long\x00one", authn.Unsuitable, reasonMalformedPass},
		{"ruled", "pw-ruled", "a long \xff one", authn.Unsuitable, reasonMalformedPass},
		{"fixed", "pw-fixed", "long enough", authn.Locked, reasonCannotChange},
		{"locked", "pw-locked", "long enough", authn.Locked, reasonLocked},
		{"expired", "pw-expired", "long enough", authn.Locked, reasonExpired}, // slapd lets nobody in then
		{"nopass", "x", "long enough", authn.BadCredentials, reasonWrongPassword},
	} {
		err := newPassword(t, d, test.user, test.current, test.next)
		if authn.KindOf(err) != test.kind || authn.ReasonOf(err) != test.reason {
			t.Errorf("%s, %q to %q: %v, want %v (%s)", test.user, test.current, test.next, err, test.kind, test.reason)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	if err := proves(t, d, "ruled", "pw-ruled"); err != nil {
		t.Errorf("the old password after all that: %v", err)
	}
}

// TestNoChangeForOthers: an account that is disabled, and one whose DN is somebody else's by now.
func TestNoChangeForOthers(t *testing.T) {
	s, plain := changeable(t)
	c := plain.config
	c.DisabledFilter = "(employeeType=disabled)"
	d := connect(t, c)
	err := newPassword(t, d, "disabled", "pw-disabled", "long enough")
	if authn.KindOf(err) != authn.Locked || authn.ReasonOf(err) != reasonDisabled {
		t.Errorf("disabled: %v", err)
	}
	a, err := d.Find(t.Context(), "user00000")
	if err != nil {
		t.Fatal(err)
	}
	s.Modify(t, "dn: "+a.Ref+"\nchangetype: modrdn\nnewrdn: uid=elder\ndeleteoldrdn: 1\n\n"+
		"dn: uid=user00001,"+testenv.SlapdPeopleDN+"\nchangetype: modrdn\nnewrdn: uid=user00000\ndeleteoldrdn: 1\n")
	err = d.ChangePassword(t.Context(), a, authn.Secret(testenv.SlapdPassword("user00001")), "long enough")
	if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != reasonChanged {
		t.Errorf("recycled: %v", err)
	}
}

// TestAChangedConnectionIsNotUsedAgain: it is bound to a user, and what it does is that user's.
func TestAChangedConnectionIsNotUsedAgain(t *testing.T) {
	_, d := changeable(t)
	if err := newPassword(t, d, "ruled", "pw-ruled", "long enough"); err != nil {
		t.Fatal(err)
	}
	if n := len(d.servers[0].binds.idle); n != 0 {
		t.Errorf("%d connections of the change are left", n)
	}
}

func TestTheCapabilityIsOptional(t *testing.T) {
	c := Config{URLs: []string{"ldaps://x"}, BaseDN: "dc=example"}
	for _, on := range []bool{false, true} {
		c.ChangePassword = on
		p, err := New("corp", "", c, authn.Route{})
		if err != nil || (p.ChangePassword != nil) != on {
			t.Errorf("change_password %v: %v (%v)", on, p.ChangePassword != nil, err)
		}
	}
}

// TestAServerThatCannot change a password, or does not say whether it has: never a success, never a wrong password, and
// never asked twice.
func TestAServerThatCannot(t *testing.T) {
	code := func(n int) func(int64) []byte {
		return func(id int64) []byte { return result(id, goldap.ApplicationExtendedResponse, n) }
	}
	for name, test := range map[string]struct {
		answers answers
		reason  string
	}{
		"does not know the operation": {answers{}, reasonConfig},
		"is busy":                     {answers{extended: code(goldap.LDAPResultBusy)}, reasonBusy},
		"hangs up":                    {answers{extended: func(int64) []byte { return nil }}, reasonUnreachable},
		"is silent":                   {answers{extended: raw("")}, reasonSilent},
		"hangs up on the bind":        {answers{bind: func(int64) []byte { return nil }}, reasonUnreachable},
		"is silent on the bind":       {answers{bind: raw("")}, reasonSilent},
	} {
		f := lying(t, test.answers)
		d := connect(t, impatient(fakeConfig(f.url), test.reason))
		err := d.change(t.Context(), fakeUser, "x", "y")
		if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
		if n := f.binds.Load(); n != 1 {
			t.Errorf("%s: %d binds", name, n)
		}
	}
}
