package ldap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// groupTree: Ana is in direct (groupOfNames), unique and posix; direct is in middle, middle in top, top in direct again.
func groupTree() string {
	dn := func(cn string) string { return "cn=" + cn + "," + testenv.SlapdGroupsDN }
	user := "cn=Ana Ávila," + testenv.SlapdPeopleDN
	group := func(class, cn string, lines ...string) string {
		return "dn: " + dn(cn) + "\nobjectClass: " + class + "\ncn: " + cn + "\n" + strings.Join(lines, "\n") + "\n\n"
	}
	return "dn: " + user + "\nobjectClass: inetOrgPerson\nuid: ana\ncn: Ana Ávila\nsn: x\nuserPassword: " + testenv.SSHA("pw-ana") +
		"\nmemberOf: " + dn("direct") + "\n\n" +
		group("groupOfNames", "direct", "member: "+user, "member: "+dn("top"), "memberOf: "+dn("middle")) +
		group("groupOfNames", "middle", "member: "+dn("direct"), "memberOf: "+dn("top")) +
		group("groupOfNames", "top", "member: "+dn("middle"), "memberOf: "+dn("direct")) +
		group("groupOfUniqueNames", "unique", "uniqueMember: "+user) +
		group("posixGroup", "posix", "gidNumber: 500", "memberUid: ana") +
		group("groupOfNames", "others", "member: "+testenv.SlapdBindDN)
}

func TestGroups(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: groupTree()})
	for name, test := range map[string]struct {
		groups Groups
		want   string
	}{
		"none":                 {Groups{}, ""},
		"memberOf":             {Groups{Source: "memberOf", Name: "cn"}, "direct"},
		"memberOf nested":      {Groups{Source: "memberOf", Name: "cn", Nested: true}, "direct middle top"},
		"search":               {Groups{Source: "search", Name: "cn"}, "direct posix unique"},
		"search nested":        {Groups{Source: "search", Name: "cn", Nested: true}, "direct middle posix top unique"},
		"one kind":             {Groups{Source: "search", Name: "cn", Kinds: []string{"posixGroup"}}, "posix"},
		"another kind":         {Groups{Source: "search", Name: "cn", Kinds: []string{"groupOfUniqueNames"}}, "unique"},
		"another base":         {Groups{Source: "search", Name: "cn", BaseDN: testenv.SlapdPeopleDN}, ""},
		"called by their DNs":  {Groups{Source: "memberOf"}, "cn=direct," + testenv.SlapdGroupsDN},
		"searched, by the DNs": {Groups{Source: "search", Kinds: []string{"posixGroup"}}, "cn=posix," + testenv.SlapdGroupsDN},
	} {
		t.Run(name, func(t *testing.T) {
			c := configFor(s)
			c.Groups = test.groups
			a, err := connect(t, c).Find(t.Context(), "ana")
			slices.Sort(a.Groups)
			if got := strings.Join(a.Groups, " "); err != nil || got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

// TestAGroupCannotPoseAsAnother: who may name groups calls one by the DN of another.
func TestAGroupCannotPoseAsAnother(t *testing.T) {
	const posing = `cn=cn\=admins\,dc\=x,` + testenv.SlapdGroupsDN
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: "dn: cn=ana," + testenv.SlapdPeopleDN +
		"\nobjectClass: inetOrgPerson\nuid: ana\ncn: ana\nsn: x\nmemberOf: " + posing +
		"\n\ndn: " + posing + "\nobjectClass: groupOfNames\ncn: cn=admins,dc=x\nmember: cn=ana," + testenv.SlapdPeopleDN + "\n\n"})
	for _, source := range []string{groupsMemberOf, groupsSearch} {
		c := configFor(s)
		c.Groups = Groups{Source: source, Name: "cn"}
		a, err := connect(t, c).Find(t.Context(), "ana")
		if err != nil || len(a.Groups) != 1 || !sameDN(a.Groups[0], posing) {
			t.Errorf("%s: called %q (%v)", source, a.Groups, err)
		}
	}
}

// TestGroupRules: what no group is called by these settings cannot be what a rule means.
func TestGroupRules(t *testing.T) {
	for _, test := range []struct{ source, name, rule, want string }{
		{"none", "dn", "cn=a", "groups.source"},
		{"search", "dn", "cn=a", ""}, {"search", "dn", "a", "not a DN"},
		{"memberOf", "cn", "a", ""}, {"memberOf", "cn", "cn=a", "called by their cn"},
	} {
		err := Groups{Source: test.source, Name: test.name}.rule(test.rule)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// manyGroups puts user00000 into n groups.
func manyGroups(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "dn: cn=g%04d,%s\nobjectClass: groupOfNames\ncn: g%04d\nmember: uid=user00000,%s\n\n",
			i, testenv.SlapdGroupsDN, i, testenv.SlapdPeopleDN)
	}
	return b.String()
}

func TestGroupsAreCompleteOrAnError(t *testing.T) {
	find := func(t *testing.T, groups int, options ...string) (authn.Account, error) {
		s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1, LDIF: manyGroups(groups), Options: options})
		c := configFor(s)
		c.Groups = Groups{Source: "search", Name: "cn", Kinds: []string{"groupOfNames"}}
		return connect(t, c).Find(t.Context(), "user00000")
	}
	t.Run("several pages", func(t *testing.T) {
		if a, err := find(t, 2*groupPage+50); err != nil || len(a.Groups) != 2*groupPage+50 {
			t.Errorf("%d groups, %v", len(a.Groups), err)
		}
	})
	t.Run("more than the server gives", func(t *testing.T) {
		_, err := find(t, groupPage+50, "sizelimit size.soft=100 size.hard=100 size.prtotal=100")
		wantReason(t, err, authn.Unavailable, reasonGroups)
	})
	t.Run("more than we take", func(t *testing.T) {
		_, err := find(t, maxGroups+1)
		wantReason(t, err, authn.Unavailable, reasonGroups)
	})
}

func TestGroupsTooDeep(t *testing.T) {
	var b strings.Builder
	member := "uid=user00000," + testenv.SlapdPeopleDN
	for i := range maxGroupDepth + 2 {
		dn := fmt.Sprintf("cn=deep%02d,%s", i, testenv.SlapdGroupsDN)
		fmt.Fprintf(&b, "dn: %s\nobjectClass: groupOfNames\ncn: deep%02d\nmember: %s\n\n", dn, i, member)
		member = dn
	}
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1, LDIF: b.String()})
	c := configFor(s)
	c.Groups = Groups{Source: "search", Nested: true}
	_, err := connect(t, c).Find(t.Context(), "user00000")
	wantReason(t, err, authn.Unavailable, reasonGroups)
}
