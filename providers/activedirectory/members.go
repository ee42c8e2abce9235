package activedirectory

import (
	"context"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// attrMemberOf lists the groups that name an entry as their member.
const attrMemberOf = "memberOf"

// Members lists the accounts of a group as authn.Provider.Members wants it, in all domains of a forest. The domain controllers
// choose candidates; then each one's groups are asked for as in a sign-in, so that both never differ.
func (d *domain) Members(ctx context.Context, group string, take func(authn.Member) error) error {
	domains := []*domain{d}
	if d.forest != nil {
		domains = d.forest.domains
	}
	if group != "" && d.config.Groups.Source == sourceNone {
		return d.directory.By(authn.Errorf(authn.Unavailable, reasonConfig, "groups.source is none: nobody is in a group"))
	}
	filter, err := d.memberFilter(ctx, group)
	if err != nil {
		return err
	}
	for _, one := range domains {
		if err := one.members(ctx, filter, group, take); err != nil {
			return err
		}
	}
	return nil
}

// memberFilter finds the members of a group and perhaps others. Only within one domain can it find fewer than everybody: a
// domain controller does not know who of another domain is in its groups, nor in which groups of theirs its own people are.
func (d *domain) memberFilter(ctx context.Context, group string) (filter string, err error) {
	everybody := person("(objectClass=user)")
	if group == "" {
		return everybody, nil
	}
	if d.forest != nil || len(d.trusting) > 0 {
		return everybody, nil
	}
	err = d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		var found ldap.Entry
		n := 0
		err := on.Pages(ctx, d.root, "(&(objectClass=group)"+groupReadings(group)+")", func(e ldap.Entry) error {
			found = e
			n++
			return nil
		}, attrSID)
		if err == nil && n != 1 {
			err = authn.Errorf(authn.Unavailable, "group_unknown", "%d groups are called %q, or the service account may not read it", n, group)
		}
		if err == nil {
			filter, err = d.throughGroup(ctx, on, found)
		}
		return err
	})
	return filter, err
}

// groupReadings matches a group by its DN, its sAMAccountName or its SID.
func groupReadings(group string) string {
	readings := equals(attrSAM, group)
	if strings.Contains(group, "=") && ldap.IsDN(group) {
		readings += equals("distinguishedName", group)
	}
	if isSIDText(group) {
		readings += equals(attrSID, group)
	}
	return "(|" + readings + ")"
}

// throughGroup matches who is in a group: directly, through groups, or because one of these is the primary group. The groups
// are followed level by level: to have each account's chain looked at (1.2.840.113556.1.4.1941) costs a domain controller far
// more, as there are more accounts than groups.
func (d *domain) throughGroup(ctx context.Context, on *ldap.Session, group ldap.Entry) (string, error) {
	var readings []string
	seen := map[string]bool{}
	add := func(e ldap.Entry) error {
		s, ok := parseSID(first(e.Values(attrSID)))
		if !ok {
			return incomplete("%s sent the group %q without %s: may the service account read it?", on.Server(), e.DN(), attrSID)
		}
		if len(seen) == maxGroups {
			return incomplete("more than %d groups are in %q", maxGroups, group.DN())
		}
		seen[e.DN()] = true
		readings = append(readings, equals(attrMemberOf, e.DN()), equals(attrPrimary, s.rid()))
		return nil
	}
	if err := add(group); err != nil {
		return "", err
	}
	for level := []string{group.DN()}; len(level) > 0; {
		var next []string
		for batch := range slices.Chunk(level, groupBatch) {
			var any strings.Builder
			for _, dn := range batch {
				any.WriteString(equals(attrMemberOf, dn))
			}
			err := on.Pages(ctx, d.root, "(&(objectClass=group)(|"+any.String()+"))", func(e ldap.Entry) error {
				if seen[e.DN()] {
					return nil
				}
				next = append(next, e.DN())
				return add(e)
			}, attrSID)
			if err != nil {
				return "", err
			}
		}
		level = next
	}
	return person(readings...), nil
}

// members lists those of one domain.
func (d *domain) members(ctx context.Context, filter, group string, take func(authn.Member) error) error {
	type candidate struct {
		entry ldap.Entry
		state state
	}
	var list []candidate
	wanted := append(identityAttributes(), stateAttributes()...)
	err := d.directory.List(ctx, filter, func() { list = nil }, func(e ldap.Entry) error {
		s, err := readState(e)
		list = append(list, candidate{e, s})
		return err
	}, wanted...)
	if err != nil {
		return err
	}
	for _, c := range list {
		m, err := d.member(ctx, c.entry, c.state)
		if err != nil {
			return err
		}
		if _, in := member([]string{group}, m.Groups); group != "" && !in {
			continue
		}
		if err := take(m); err != nil {
			return err
		}
	}
	return nil
}

func (d *domain) member(ctx context.Context, e ldap.Entry, s state) (m authn.Member, err error) {
	if m.Account, err = d.account(e); err != nil {
		return m, d.directory.By(err)
	}
	err = d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) (err error) {
		m.Groups, err = d.groupsOf(ctx, on, e, false)
		return err
	})
	if err != nil {
		return m, err
	}
	if m.Err = s.mayEnter(d.now()); m.Err == nil {
		m.Err = d.access.check(m.Groups)
	}
	return m, nil
}
