package ldap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/testenv"
)

// crew: 450 users of a slapd are in "crew"; 00002 of them through "deep", which is in "crew". 00000 is locked, 00001 disabled.
func crew(users int) string {
	dn := func(cn string) string { return "cn=" + cn + "," + testenv.SlapdGroupsDN }
	user := func(i int) string { return fmt.Sprintf("uid=user%05d,%s", i, testenv.SlapdPeopleDN) }
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: groupOfNames\ncn: crew\nmember: %s\n", dn("crew"), dn("deep"))
	for i := range users {
		if i != 2 {
			fmt.Fprintf(&b, "member: %s\n", user(i))
		}
	}
	fmt.Fprintf(&b, "\ndn: %s\nobjectClass: groupOfNames\ncn: deep\nmember: %s\n\n", dn("deep"), user(2))
	fmt.Fprintf(&b, "dn: uid=locked,%s\nobjectClass: inetOrgPerson\nuid: locked\ncn: x\nsn: x\nmemberOf: %s\nmemberOf: %s\n"+
		"pwdAccountLockedTime: 000001010000Z\n\n", testenv.SlapdPeopleDN, dn("named"), dn("other"))
	fmt.Fprintf(&b, "dn: uid=off,%s\nobjectClass: inetOrgPerson\nuid: off\ncn: x\nsn: x\nemployeeType: off\nmemberOf: %s\n\n",
		testenv.SlapdPeopleDN, dn("named"))
	fmt.Fprintf(&b, "dn: uid=on,%s\nobjectClass: inetOrgPerson\nuid: on\ncn: x\nsn: x\nmail: on@example.test\nmemberOf: %s\n\n",
		testenv.SlapdPeopleDN, dn("named"))
	fmt.Fprintf(&b, "dn: %s\nobjectClass: groupOfNames\ncn: named\nmember: uid=locked,%s\nmember: uid=off,%s\nmember: uid=on,%s\n\n",
		dn("named"), testenv.SlapdPeopleDN, testenv.SlapdPeopleDN, testenv.SlapdPeopleDN)
	return b.String()
}

func TestMembers(t *testing.T) {
	const users = 450 // more than two pages
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: users, LDIF: crew(users)})
	var everybody []string
	for i := range users {
		everybody = append(everybody, fmt.Sprintf("user%05d", i))
	}
	named, nobody := "cn=named,"+testenv.SlapdGroupsDN, "cn=nobody,"+testenv.SlapdGroupsDN
	for name, test := range map[string]struct {
		groups        Groups
		group, nobody string
		want, refused []string
	}{
		"memberOf":          {Groups{Source: "memberOf"}, named, nobody, []string{"locked", "off", "on"}, []string{"locked", "off"}},
		"memberOf, by name": {Groups{Source: "memberOf", Name: "cn"}, "Named", "nobody", []string{"locked", "off", "on"}, []string{"locked", "off"}},
		"search":            {Groups{Source: "search"}, named, nobody, []string{"locked", "off", "on"}, []string{"locked", "off"}},
		"search nested":     {Groups{Source: "search", Name: "cn", Nested: true}, "crew", "nobody", everybody, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := configFor(s)
			c.Groups, c.DisabledFilter, c.SearchPool = test.groups, "(employeeType=off)", 1
			d := connect(t, c)
			authntest.TestMembers(t, authntest.MembersFixture{
				Provider: authn.Provider{ID: "corp", Password: d, Members: d.Members},
				Group:    test.group, Want: test.want, Refused: test.refused, Nobody: test.nobody,
			})
		})
	}
	t.Run("the server does not give all", func(t *testing.T) {
		small := testenv.Slapd(t, testenv.SlapdConfig{Users: 50, Options: []string{"sizelimit size.soft=20 size.hard=20 size.prtotal=20"}})
		err := connect(t, configFor(small)).Members(t.Context(), "", func(authn.Member) error { return nil })
		wantReason(t, err, authn.Unavailable, reasonGroups)
	})
	t.Run("nobody at all", func(t *testing.T) {
		c := configFor(s)
		c.BaseDN = testenv.SlapdGroupsDN
		wantReason(t, connect(t, c).Members(t.Context(), "", func(authn.Member) error { return nil }), authn.Unavailable, reasonConfig)
	})
	t.Run("no groups", func(t *testing.T) {
		wantReason(t, connect(t, configFor(s)).Members(t.Context(), named, func(authn.Member) error { return nil }), authn.Unavailable, reasonConfig)
	})
}

func TestNamesakesAreRefused(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: people()})
	refused := map[string]string{}
	err := connect(t, configFor(s)).Members(t.Context(), "", func(m authn.Member) error {
		if m.Err != nil {
			refused[m.Username] = authn.ReasonOf(m.Err)
		}
		return nil
	})
	want := map[string]string{"twin": reasonAmbiguousUser, "locked": reasonLocked, "reset": reasonMustChange}
	if err != nil || fmt.Sprint(refused) != fmt.Sprint(want) {
		t.Errorf("refused %v, %v; want %v", refused, err, want)
	}
}
