package testenv_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/testenv"
)

// sambaDial connects over ldaps with the test's authority trusted and nothing else.
func sambaDial(t *testing.T, dc *testenv.SambaDC, url string) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(url, ldap.DialWithTLSConfig(&tls.Config{RootCAs: dc.CA.Pool}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var subCode = regexp.MustCompile(`, data ([0-9a-f]+),`)

// sambaBind returns "" for a good password, and otherwise Active Directory's sub-code.
func sambaBind(t *testing.T, dc *testenv.SambaDC, name, password string) string {
	t.Helper()
	err := sambaDial(t, dc, dc.URL).Bind(name, password)
	if err == nil {
		return ""
	}
	var refused *ldap.Error
	if !errors.As(err, &refused) || refused.ResultCode != ldap.LDAPResultInvalidCredentials {
		t.Fatalf("bind as %s: %v", name, err)
	}
	code := subCode.FindStringSubmatch(err.Error())
	if code == nil {
		t.Fatalf("bind as %s: no sub-code in %v", name, err)
	}
	return code[1]
}

func TestSambaGivesEachAccountStateItsSubCode(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	for name, want := range map[string]string{
		"alice": "", "bob": "", "josé": "", "o'neil": "", "carol": "", "janedoe": "", "altupn": "", "primary": "",
		"manygroups": "", "disabled": "533", "accountexpired": "701", "mustchange": "773", "pwdexpired": "532",
		"logonhours": "530", "workstation": "531",
	} {
		if got := sambaBind(t, dc, dc.NetBIOS+`\`+name, testenv.SambaPassword(name)); got != want {
			t.Errorf("%s: sub-code %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"alice@example.test", "EXAMPLE\\nobody"} {
		if got := sambaBind(t, dc, name, "wrong"); got != "52e" {
			t.Errorf("%s with a wrong password: sub-code %q, want 52e", name, got)
		}
	}
}

// Restoring and starting takes half a second on a quiet machine; provisioning never takes less than ten.
func TestSambaIsProvisionedOnlyOnce(t *testing.T) {
	testenv.Samba(t, testenv.SambaConfig{})
	began := time.Now()
	testenv.Samba(t, testenv.SambaConfig{})
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the second controller took %v to start", took)
	}
}

func TestSambaLocksAndUnlocks(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, 3, time.Hour)
	for i := range 3 {
		if got := dc.BadPwdCount(t, "lockme"); got != i {
			t.Errorf("after %d wrong passwords badPwdCount is %d", i, got)
		}
		sambaBind(t, dc, `EXAMPLE\lockme`, "wrong")
	}
	got := sambaBind(t, dc, `EXAMPLE\lockme`, testenv.SambaPassword("lockme"))
	if got != "775" || !dc.Locked(t, "lockme") {
		t.Errorf("sub-code %q, locked: %v", got, dc.Locked(t, "lockme"))
	}
	dc.Unlock(t, "lockme")
	if got := sambaBind(t, dc, `EXAMPLE\lockme`, testenv.SambaPassword("lockme")); got != "" || dc.Locked(t, "lockme") {
		t.Errorf("after Unlock: sub-code %q, locked: %v", got, dc.Locked(t, "lockme"))
	}
	for range 3 {
		sambaBind(t, dc, `EXAMPLE\lockme`, "wrong")
	}
	dc.SetLockout(t, 3, time.Second)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if got := sambaBind(t, dc, `EXAMPLE\lockme`, testenv.SambaPassword("lockme")); got == "" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("20 seconds after the last wrong password, with a window of one: %s", got)
		}
	}
}

func TestSambaServiceAccountReadsWhatSignInsNeed(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	c := sambaDial(t, dc, dc.URL)
	if err := c.Bind(dc.BindUPN, dc.BindPassword); err != nil {
		t.Fatal(err)
	}
	search := func(base string, scope int, filter string, attributes ...string) []*ldap.Entry {
		t.Helper()
		r, err := c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, nil))
		if err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		return r.Entries
	}
	count := func(dn, attribute string) int {
		t.Helper()
		return len(search(dn, ldap.ScopeBaseObject, "(objectClass=*)", attribute)[0].GetAttributeValues(attribute))
	}
	chain := "(member:1.2.840.113556.1.4.1941:=CN=bob," + testenv.SambaPeopleDN + ")"
	var names []string
	for _, e := range search(dc.BaseDN, ldap.ScopeWholeSubtree, chain, "sAMAccountName") {
		names = append(names, e.GetAttributeValue("sAMAccountName"))
	}
	for _, want := range []string{"staff", "department", "company", "loop-a", "loop-b", "loop-c"} {
		if !strings.Contains(strings.Join(names, " ")+" ", want+" ") {
			t.Errorf("bob is not in %s but in %v", want, names)
		}
	}
	if got := count("CN=manygroups,"+testenv.SambaPeopleDN, "tokenGroups"); got < testenv.SambaManyGroups {
		t.Errorf("manygroups has %d tokenGroups", got)
	}
	if got := count("CN=big,"+testenv.SambaGroupsDN, "member"); got != testenv.SambaBigGroup {
		t.Errorf("big has %d members", got)
	}
	if got := count("CN=foreigners,"+testenv.SambaGroupsDN, "member"); got != 1 {
		t.Errorf("foreigners has %d members", got)
	}
	if got := count(dc.BaseDN, "lockoutThreshold"); got != 1 {
		t.Error("lockoutThreshold cannot be read")
	}
	if got := count("CN=alice,"+testenv.SambaPeopleDN, "badPwdCount"); got != 1 {
		t.Error("badPwdCount cannot be read")
	}
	change := ldap.NewModifyRequest("CN=alice,"+testenv.SambaPeopleDN, nil)
	change.Replace("mail", []string{"other@example.test"})
	if err := c.Modify(change); !ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
		t.Errorf("the service account changes a user: %v", err)
	}
}

func TestSambaAnswersOnTheGlobalCatalogueAndAfterARestart(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	if err := sambaDial(t, dc, dc.GCURL).Bind(dc.BindUPN, dc.BindPassword); err != nil {
		t.Errorf("global catalogue: %v", err)
	}
	if err := sambaDial(t, dc, dc.PlainURL).Bind(dc.BindUPN, dc.BindPassword); !ldap.IsErrorWithCode(err,
		ldap.LDAPResultStrongAuthRequired) {
		t.Errorf("plain-text bind: %v", err)
	}
	dc.Kill()
	dc.Restart(t)
	if got := sambaBind(t, dc, "alice@example.test", testenv.SambaPassword("alice")); got != "" {
		t.Errorf("after the restart: %s", got)
	}
}

func TestSambaPairReplicates(t *testing.T) {
	first, second := testenv.SambaPair(t, testenv.SambaConfig{})
	const change = "dn: CN=alice," + testenv.SambaPeopleDN +
		"\nchangetype: modify\nreplace: description\ndescription: new\n"
	first.LDBModify(t, change)
	if got := second.Attribute(t, "alice", "description"); got != "" {
		t.Errorf("replicated by itself: %q", got)
	}
	second.Replicate(t, first)
	if got := second.Attribute(t, "alice", "description"); got != "new" {
		t.Errorf("not replicated: %q", got)
	}
	first.Kill()
	for name, want := range map[string]string{"alice": "", "josé": "", "disabled": "533", "pwdexpired": "532"} {
		if got := sambaBind(t, second, `EXAMPLE\`+name, testenv.SambaPassword(name)); got != want {
			t.Errorf("%s on the second alone: sub-code %q, want %q", name, got, want)
		}
	}
	if got, want := second.Attribute(t, "alice", "objectGUID"), first.Attribute(t, "alice", "objectGUID"); got != want {
		t.Errorf("alice is %s on the second and %s on the first", got, want)
	}
	if got := second.Attribute(t, "mallory", "userPrincipalName"); got != "carol@example.test" {
		t.Errorf("mallory's UPN is %s", got)
	}
}

func TestSambaTakesChangesAndAnExpiredCertificate(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{
		CertEnd: time.Now().Add(-time.Hour),
		LDIF:    "dn: CN=bob," + testenv.SambaPeopleDN + "\nchangetype: modify\nreplace: description\ndescription: changed\n",
	})
	if got := dc.Attribute(t, "bob", "description"); got != "changed" {
		t.Errorf("description %q", got)
	}
	_, err := ldap.DialURL(dc.URL, ldap.DialWithTLSConfig(&tls.Config{RootCAs: dc.CA.Pool}))
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("connecting gave %v", err)
	}
}
