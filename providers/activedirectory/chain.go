package activedirectory

import (
	"context"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/providers/ldap"
)

const (
	// memberInChain matches groups that hold a DN directly or through other groups: the attribute member under the rule
	// LDAP_MATCHING_RULE_TRANSITIVE_EVAL, [MS-ADTS] section 3.1.1.3.4.4.3.
	memberInChain = "member:1.2.840.113556.1.4.1941:"
	// universal matches groups whose members a global catalogue knows: groupType has GROUP_TYPE_UNIVERSAL_GROUP.
	universal = "(groupType:1.2.840.113556.1.4.803:=8)"
)

// inChain lists the groups of source chain, distribution groups too, with the primary group and what that is in. In a
// forest, the universal groups of other domains are among them: the catalogue knows their members.
func (d *domain) inChain(
	ctx context.Context, on *ldap.Session, e ldap.Entry, user, primary sid,
) (list []group, err error) {
	own, err := d.named(ctx, on, []sid{primary}, user.domain())
	if err != nil {
		return nil, err
	}
	members := []string{e.DN(), own[0].dn}
	if list, err = holding(ctx, on, d.root, "", members, own); err != nil || d.forest == nil {
		return list, err
	}
	err = d.forest.catalogue.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		list, err = holding(ctx, on, "", universal, members, list)
		return err
	})
	return list, err
}

// holding adds to a list the groups below base that hold one of the members.
func holding(
	ctx context.Context, on *ldap.Session, base, filter string, members []string, list []group,
) ([]group, error) {
	list = slices.Clone(list) // the question may be put again, to another server
	var any strings.Builder
	for _, dn := range members {
		any.WriteString(equals(memberInChain, dn))
	}
	err := on.Pages(ctx, base, "(&(objectClass=group)"+filter+"(|"+any.String()+"))", func(e ldap.Entry) error {
		s, ok := parseSID(first(e.Values(attrSID)))
		if !ok {
			return incomplete("%s sent the group %q without %s: may the service account read it?", on.Server(), e.DN(), attrSID)
		}
		if slices.ContainsFunc(list, func(g group) bool { return g.sid == s }) {
			return nil
		}
		if len(list) == maxGroups {
			return incomplete("more than %d groups", maxGroups)
		}
		list = append(list, group{sid: s, groupName: groupName{dn: e.DN(), sam: e.Text(attrSAM)}})
		return nil
	}, attrSID, attrSAM)
	return list, err
}

// inTrusting lists the groups of the domains that trust this one. There the user and his groups are foreign security
// principals: entries made for a SID, [MS-ADTS] section 6.1.1.4.10.
func (d *domain) inTrusting(ctx context.Context, user sid, own []group) (list []group, err error) {
	sids := []sid{user}
	for _, g := range own {
		if g.sid.domain() != builtin { // a built-in group means another one over there
			sids = append(sids, g.sid)
		}
	}
	for _, other := range d.first.trusting {
		var found []group
		err := other.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
			members, err := other.principals(ctx, on, sids)
			if err != nil {
				return err
			}
			if len(members) == 0 {
				return nil
			}
			found, err = holding(ctx, on, other.root, "", members, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// principals are the DNs of those SIDs for which this domain has foreign security principals.
func (d *domain) principals(ctx context.Context, on *ldap.Session, sids []sid) (list []string, err error) {
	for batch := range slices.Chunk(sids, groupBatch) {
		var any strings.Builder
		for _, s := range batch {
			any.WriteString(s.filter())
		}
		filter := "(&(objectClass=foreignSecurityPrincipal)(|" + any.String() + "))"
		err := on.Pages(ctx, "CN=ForeignSecurityPrincipals,"+d.root, filter, func(e ldap.Entry) error {
			list = append(list, e.DN())
			return nil
		}, attrSID)
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}
