package mfa

import (
	"fmt"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// GroupRule is the policy for the members of one group.
type GroupRule struct {
	Group  string // as its provider calls it; see authn.GroupKey
	Policy authn.FactorPolicy
}

// ProviderPolicy is the policy for one provider's users.
type ProviderPolicy struct {
	Default authn.FactorPolicy // empty: the global default
	Groups  []GroupRule        // of the rules that match, the strictest wins, and over Default
}

// Policy says who must prove a second factor.
type Policy struct {
	Default   authn.FactorPolicy // empty: enrolled
	Providers map[string]ProviderPolicy
}

// strictness orders the policies.
func strictness(p authn.FactorPolicy) int {
	return map[authn.FactorPolicy]int{authn.FactorNever: 1, authn.FactorEnrolled: 2, authn.FactorRequired: 3}[p]
}

// Func checks the policy and turns it into what authn.Config wants.
func (p Policy) Func() (func(authn.Identity) authn.FactorPolicy, error) {
	judge, err := p.judge()
	if err != nil {
		return nil, err
	}
	return func(id authn.Identity) authn.FactorPolicy {
		policy, _ := judge(id)
		return policy
	}, nil
}

// Why is Func for people: it says which rule decides.
func (p Policy) Why() (func(authn.Identity) string, error) {
	judge, err := p.judge()
	if err != nil {
		return nil, err
	}
	return func(id authn.Identity) string {
		_, why := judge(id)
		return why
	}, nil
}

func (p Policy) judge() (func(authn.Identity) (policy authn.FactorPolicy, why string), error) {
	if p.Default == "" {
		p.Default = authn.FactorEnrolled
	}
	if strictness(p.Default) == 0 {
		return nil, unknownPolicy("default", p.Default)
	}
	compiled := map[string]providerPolicy{}
	for id, c := range p.Providers {
		var err error
		if compiled[id], err = c.compile(p.Default); err != nil {
			return nil, fmt.Errorf("second factor policy of provider %q: %w", id, err)
		}
	}
	return func(id authn.Identity) (authn.FactorPolicy, string) {
		c, ok := compiled[id.Provider]
		if !ok {
			return p.Default, whyDefault
		}
		if policy, group := c.of(id.Groups); group != "" {
			return policy, fmt.Sprintf("the rule for group %q", group)
		}
		if p.Providers[id.Provider].Default == "" {
			return p.Default, whyDefault
		}
		return c.byDefault, "factor.policy of provider " + id.Provider
	}, nil
}

const whyDefault = "mfa.policy"

func unknownPolicy(where string, p authn.FactorPolicy) error {
	return fmt.Errorf("%s: %q is none of never, enrolled, required", where, p)
}

// providerPolicy is a ProviderPolicy with its groups in comparable form.
type providerPolicy struct {
	byDefault authn.FactorPolicy
	byGroup   map[string]authn.FactorPolicy
}

func (c ProviderPolicy) compile(global authn.FactorPolicy) (providerPolicy, error) {
	out := providerPolicy{c.Default, map[string]authn.FactorPolicy{}}
	if c.Default == "" {
		out.byDefault = global
	}
	if strictness(out.byDefault) == 0 {
		return out, unknownPolicy("default", c.Default)
	}
	for _, rule := range c.Groups {
		key := authn.GroupKey(rule.Group)
		if strings.TrimSpace(rule.Group) == "" {
			return out, fmt.Errorf("a rule without a group")
		}
		if strictness(rule.Policy) == 0 {
			return out, unknownPolicy("group "+rule.Group, rule.Policy)
		}
		if strictness(rule.Policy) > strictness(out.byGroup[key]) {
			out.byGroup[key] = rule.Policy
		}
	}
	return out, nil
}

// of is the strictest rule among those for the groups, and the group that it is for; none where no rule matches.
func (c providerPolicy) of(groups []string) (found authn.FactorPolicy, of string) {
	for _, group := range groups {
		if rule := c.byGroup[authn.GroupKey(group)]; strictness(rule) > strictness(found) {
			found, of = rule, group
		}
	}
	return found, of
}
