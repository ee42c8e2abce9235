package ldap

import (
	"context"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// listTime is the most that a listing of entries may take on one server; each page of it has request_timeout.
const listTime = time.Hour

// Operational attributes of the password policy overlay.
const (
	attrLockedTime = "pwdAccountLockedTime"
	attrReset      = "pwdReset"
)

// Members lists the accounts of a group as authn.Provider.Members wants it. Whom user_filter finds for any name is listed;
// then each one's groups are asked for as in a sign-in, so that both never differ. Where the entries name their groups
// directly, the server is asked for the group's own members only.
func (d *directory) Members(ctx context.Context, group string, take func(authn.Member) error) error {
	list, err := d.candidates(ctx, group)
	if err != nil {
		return d.by(err)
	}
	for _, m := range list {
		if err := d.addGroups(ctx, &m); err != nil {
			return d.by(err)
		}
		if group != "" && !HoldsGroup(m.Groups, group) {
			continue
		}
		if err := take(m.Member); err != nil {
			return err
		}
	}
	return nil
}

// HoldsGroup tells whether a group, by its DN or its name, is among an account's groups.
func HoldsGroup(groups []string, group string) bool {
	for _, g := range groups {
		if strings.EqualFold(g, group) || strings.Contains(group, "=") && sameDN(g, group) {
			return true
		}
	}
	return false
}

// candidate is an account that may be a member.
type candidate struct {
	authn.Member
	memberOf []string
}

func (d *directory) candidates(ctx context.Context, group string) (list []candidate, err error) {
	err = d.searchingFor(ctx, listTime, func(ctx context.Context, c *conn) error {
		list = nil // it may run again, on another server
		if err := d.checkGroup(ctx, c, group); err != nil {
			return err
		}
		filter := d.listFilter(group)
		disabled, err := d.disabled(ctx, c, filter)
		if err != nil {
			return err
		}
		return c.pages(ctx, &goldap.SearchRequest{
			BaseDN: d.config.BaseDN, Scope: scopes[d.config.Scope], Filter: filter,
			Attributes: append([]string{attrLockedTime, attrReset}, d.wanted...),
		}, func(e *goldap.Entry) error {
			a, err := d.account(e, first(e.GetEqualFoldAttributeValues(d.config.Attributes.Username)))
			if err != nil {
				return err
			}
			m := authn.Member{Account: a, Err: stateOf(e)}
			if disabled[strings.ToLower(e.DN)] {
				m.Err = authn.Errorf(authn.Locked, reasonDisabled, "the entry matches disabled_filter")
			}
			list = append(list, candidate{m, e.GetEqualFoldAttributeValues(d.config.Groups.Attribute)})
			return nil
		})
	})
	if err == nil && len(list) == 0 && group == "" {
		err = authn.Errorf(authn.Unavailable, reasonConfig, "the search for all users finds none: is base_dn above them, and may the "+
			"service account read them?")
	}
	markNamesakes(list)
	return list, err
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// markNamesakes: of several accounts of one name a sign-in takes none.
func markNamesakes(list []candidate) {
	count := map[string]int{}
	for _, m := range list {
		count[authn.FoldName(m.Username)]++
	}
	for i, m := range list {
		if count[authn.FoldName(m.Username)] > 1 && m.Err == nil {
			list[i].Err = authn.Errorf(authn.BadCredentials, reasonAmbiguousUser, "several entries have this name, among them %q", m.Ref)
		}
	}
}

// listFilter finds everybody whom user_filter would find by some name; of a group whose members say so, only these.
func (d *directory) listFilter(group string) string {
	filter := strings.ReplaceAll(d.config.UserFilter, "{0}", "*")
	g := d.config.Groups
	if g.Source == groupsMemberOf && !g.Nested && strings.Contains(group, "=") && isDN(group) {
		return "(&" + filter + "(" + g.Attribute + "=" + goldap.EscapeFilter(group) + "))"
	}
	return filter
}

// checkGroup tells a group without members from one that is not there, as far as that can be asked.
func (d *directory) checkGroup(ctx context.Context, c *conn, group string) error {
	g := d.config.Groups
	switch {
	case group == "":
		return nil
	case g.Source == groupsNone:
		return authn.Errorf(authn.Unavailable, reasonConfig, "groups.source is none: nobody is in a group")
	case strings.Contains(group, "=") && isDN(group):
		_, found, err := c.readEntry(ctx, group, "(objectClass=*)", "1.1")
		if err == nil && !found {
			err = unknownGroup(group)
		}
		return err
	case g.Name == "dn":
		return authn.Errorf(authn.Unavailable, reasonConfig, "groups are called by their DNs here (groups.name), and %q is none", group)
	}
	found := false
	err := c.pages(ctx, &goldap.SearchRequest{
		BaseDN: g.BaseDN, Scope: goldap.ScopeWholeSubtree, Attributes: []string{"1.1"},
		Filter: "(" + g.Name + "=" + goldap.EscapeFilter(group) + ")",
	}, func(*goldap.Entry) error { found = true; return nil })
	if err == nil && !found {
		err = unknownGroup(group)
	}
	return err
}

func unknownGroup(group string) error {
	return authn.Errorf(authn.Unavailable, "group_unknown", "there is no group %q, or the service account may not read it", group)
}

// disabled are the DNs, in lower case, of those who match disabled_filter.
func (d *directory) disabled(ctx context.Context, c *conn, filter string) (map[string]bool, error) {
	if d.config.DisabledFilter == "" {
		return nil, nil
	}
	found := map[string]bool{}
	err := c.pages(ctx, &goldap.SearchRequest{
		BaseDN: d.config.BaseDN, Scope: scopes[d.config.Scope], Attributes: []string{"1.1"},
		Filter: "(&" + filter + d.config.DisabledFilter + ")",
	}, func(e *goldap.Entry) error {
		found[strings.ToLower(e.DN)] = true
		return nil
	})
	return found, err
}

// addGroups finds the groups of a candidate.
func (d *directory) addGroups(ctx context.Context, m *candidate) error {
	if d.config.Groups.Source == groupsNone {
		return nil
	}
	e := goldap.NewEntry(m.Ref, map[string][]string{d.config.Groups.Attribute: m.memberOf})
	if d.config.Groups.Source == groupsMemberOf && !d.config.Groups.Nested {
		var err error
		m.Groups, err = d.groups(ctx, nil, e, m.Username) // asks nothing
		return err
	}
	return d.searching(ctx, func(ctx context.Context, c *conn) (err error) {
		m.Groups, err = d.groups(ctx, c, e, m.Username)
		return err
	})
}
