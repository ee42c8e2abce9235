package azuread

import (
	"context"
	"net/url"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// groupsOf are the groups of somebody who has just signed in; access is a token of theirs for Graph.
func (p *provider) groupsOf(ctx context.Context, c claims, access string) ([]string, error) {
	switch {
	case p.config.Groups.Source == groupsNone:
		return nil, nil
	case p.config.Groups.Source == groupsRoles:
		return c.Roles, nil
	case p.config.Groups.By == byID && c.holdsGroups():
		return c.Groups, nil
	}
	return p.graphGroups(ctx, c.subject(), "/me", func(context.Context) (string, error) { return access, nil })
}

// holdsGroups tells whether the token names all groups by id. A token without the claim does not say that there are none:
// the application may not be set up to have it.
func (c claims) holdsGroups() bool {
	_, elsewhere := c.ClaimNames["groups"]
	if elsewhere || bool(c.HasGroups) || c.all["groups:src1"] != nil || len(c.Groups) == 0 {
		return false
	}
	for _, g := range c.Groups {
		if !guid.MatchString(g) {
			return false
		}
	}
	return true
}

// group is an entry of transitiveMemberOf. Besides groups there are directory roles and administrative units.
type group struct {
	Type       string `json:"@odata.type"`
	ID         string `json:"id"`
	Name       string `json:"displayName"`
	OnPremises string `json:"onPremisesSamAccountName"`
}

// graphGroups asks Graph for all groups, nested ones too, or remembers them from less than cache_ttl ago. The address in the
// token is not used: it is of a service that has ended, and it comes from outside.
func (p *provider) graphGroups(
	ctx context.Context, subject, path string, bearer func(context.Context) (string, error),
) ([]string, error) {
	if known, ok := p.groups.get(subject); ok {
		return known, nil
	}
	token, err := bearer(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := list[group](ctx, p, token, path+"/transitiveMemberOf",
		url.Values{"$select": {"id,displayName,onPremisesSamAccountName"}, "$top": {"999"}})
	if err != nil {
		return nil, err
	}
	names, err := p.namesOf(entries)
	if err != nil {
		return nil, err
	}
	if p.config.CacheTTL > 0 {
		p.groups.put(subject, names, p.config.CacheTTL)
	}
	return names, nil
}

// namesOf calls the groups as policies do. A group of the cloud has no on-premises name, and no policy can mean it then.
func (p *provider) namesOf(entries []group) ([]string, error) {
	names := []string{}
	for _, g := range entries {
		if g.Type != "#microsoft.graph.group" {
			continue
		}
		if p.config.Groups.By != byID && g.Name == "" { // who may not read groups gets no names
			return nil, authn.Errorf(authn.Unavailable, "groups_incomplete",
				"Microsoft Graph does not tell the name of group %s: grant "+
					"GroupMember.Read.All with admin consent", cut(g.ID))
		}
		if name := g.called(p.config.Groups.By); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

func (g group) called(by string) string {
	switch by {
	case byDisplayName:
		return g.Name
	case byOnPremises:
		return g.OnPremises
	}
	return strings.ToLower(g.ID)
}
