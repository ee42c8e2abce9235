package admin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// Role is what somebody may do here. A greater one may do all that a lesser one may.
type Role int

// The roles.
const (
	None          Role = iota
	Viewer             // sees everything, changes nothing
	Operator           // helps people: unlocks, resets factors, ends sessions, disables
	Administrator      // changes everything
)

var roleNames = [...]string{None: "none", Viewer: "viewer", Operator: "operator", Administrator: "administrator"}

func (r Role) String() string { return roleNames[r] }

// ParseRole is the role of a name; ok is false when there is none.
func ParseRole(name string) (r Role, ok bool) {
	for role, n := range roleNames {
		if n == name && Role(role) != None {
			return Role(role), true
		}
	}
	return None, false
}

// Rule gives a role to the members of a group of a provider, or to everybody of a provider.
type Rule struct {
	Role     Role
	Provider string
	Group    string // as its provider calls it; see authn.GroupKey; empty: everybody
}

func checkRules(rules []Rule) error {
	for _, r := range rules {
		if r.Role < Viewer || r.Role > Administrator || r.Provider == "" {
			return fmt.Errorf("admin: a rule lacks a role or a provider: %+v", r)
		}
	}
	return nil
}

// roleOf is the greatest role that the rules give somebody.
func roleOf(rules []Rule, id authn.Identity) (found Role) {
	for _, r := range rules {
		if r.Role > found && r.Provider == id.Provider && r.fits(id.Groups) {
			found = r.Role
		}
	}
	return found
}

func (r Rule) fits(groups []string) bool {
	if r.Group == "" {
		return true
	}
	want := authn.GroupKey(r.Group)
	return slices.ContainsFunc(groups, func(g string) bool { return strings.TrimSpace(g) != "" && authn.GroupKey(g) == want })
}
