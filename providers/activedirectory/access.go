package activedirectory

import (
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// access says who may sign in at all.
type access struct{ allow, deny []string }

// check refuses members of a denied group, and who is in none of the allowed ones.
func (a access) check(groups []string) error {
	if g, ok := member(a.deny, groups); ok {
		return authn.Errorf(authn.Locked, reasonGroupDenied, "member of %q in deny_groups", g)
	}
	if _, ok := member(a.allow, groups); !ok && len(a.allow) > 0 {
		return authn.Errorf(authn.Locked, reasonNoGroup, "member of no group in allow_groups")
	}
	return nil
}

func member(rules, groups []string) (rule string, ok bool) {
	for _, r := range rules {
		for _, g := range groups {
			if strings.EqualFold(r, g) || strings.Contains(r, "=") && ldap.SameDN(r, g) {
				return r, true
			}
		}
	}
	return "", false
}
