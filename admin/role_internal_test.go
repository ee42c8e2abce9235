package admin

import (
	"testing"

	"github.com/idbridge/idbridge/authn"
)

// TestRolesByGroup: a group is what the provider calls so. A group of that name somewhere in the directory, which others
// may make, gives nothing.
func TestRolesByGroup(t *testing.T) {
	rules := []Rule{{Viewer, "corp", "staff"}, {Administrator, "corp", "IT Admins"}, {Operator, "corp", "cn=Desk, dc=x"}, {Operator, "corp", " "}}
	for _, test := range []struct {
		provider string
		groups   []string
		want     Role
	}{
		{"corp", []string{"it admins"}, Administrator},
		{"corp", []string{"staff", "IT ADMINS"}, Administrator},
		{"corp", []string{"cn=it admins,ou=mine,dc=x"}, None},
		{"corp", []string{"CN=desk,DC=x"}, Operator},
		{"corp", []string{"desk", "cn=desk,dc=y"}, None},
		{"corp", []string{"", " "}, None},
		{"corp", nil, None},
		{"other", []string{"it admins"}, None},
	} {
		if got := roleOf(rules, authn.Identity{Provider: test.provider, Groups: test.groups}); got != test.want {
			t.Errorf("%s %q: %v, want %v", test.provider, test.groups, got, test.want)
		}
	}
}
