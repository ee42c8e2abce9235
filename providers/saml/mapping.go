package saml

import (
	"crypto/x509"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/idbridge/idbridge/authn"
)

// Limits of what is read of a person.
const (
	maxValue  = 512 // bytes
	maxGroups = 1000
)

// identity turns what was verified into a person.
func (p *provider) identity(v verified) (authn.Identity, error) {
	a := p.config.Attributes
	i := authn.Identity{Provider: p.id, Factors: p.factors(v), Until: v.SessionNotOnOrAfter}
	var err error
	if i.Subject, err = p.subject(v); err != nil {
		return authn.Identity{}, err
	}
	if i.Username, err = required(v, "attributes.username", a.Username); err != nil {
		return authn.Identity{}, err
	}
	if i.Name, err = optional(v, "attributes.name", a.Name); err != nil {
		return authn.Identity{}, err
	}
	if i.Email, err = optional(v, "attributes.email", a.Email); err != nil {
		return authn.Identity{}, err
	}
	if i.Groups, err = p.groups(v); err != nil {
		return authn.Identity{}, err
	}
	return i, nil
}

// subject is what never changes: the configured attribute, or a NameID that the identity provider calls persistent. Any
// other NameID, an e-mail address above all, can pass to another person.
func (p *provider) subject(v verified) (string, error) {
	if name := p.config.Attributes.Subject; name != "" {
		return required(v, "attributes.subject", name)
	}
	if v.NameIDFormat != nameIDFormats["persistent"] {
		return "", refuse("nameid_not_persistent", "the NameID has the format %q: have the identity provider send a persistent one, "+
			"or name an attribute that never changes in attributes.subject", cut(v.NameIDFormat))
	}
	if q := v.NameQualifier; q != "" && q != p.config.EntityID {
		return "", refuse("nameid_qualifier", "the NameID is of %q, not of this identity provider", cut(q))
	}
	if q := v.SPNameQualifier; q != "" && q != p.entityID() {
		return "", refuse("nameid_qualifier", "the NameID is for %q, not for us", cut(q))
	}
	return clean("NameID", v.NameID)
}

// values are those of an attribute, or the NameID.
func values(v verified, name string) []string {
	if name == fromNameID {
		return []string{v.NameID}
	}
	return v.Attributes[name]
}

// required is the one value of an attribute that must be there.
func required(v verified, key, name string) (string, error) {
	all := values(v, name)
	switch {
	case len(all) == 0 || len(all) == 1 && all[0] == "":
		return "", refuse("attribute_missing", "%s: the answer has no attribute %q (it has %s)", key, name, namesOf(v))
	case len(all) > 1:
		return "", refuse("attribute_ambiguous", "%s: the attribute %q has %d values, not one", key, name, len(all))
	}
	return clean(key, all[0])
}

// optional is the first value of an attribute, if there is one.
func optional(v verified, key, name string) (string, error) {
	if all := values(v, name); name != "" && len(all) > 0 && all[0] != "" {
		return clean(key, all[0])
	}
	return "", nil
}

// clean refuses a value that two systems could read differently. It is never trimmed or changed.
func clean(key, value string) (string, error) {
	problem := ""
	switch {
	case value == "":
		problem = "empty"
	case len(value) > maxValue:
		problem = "too long"
	case !utf8.ValidString(value) || strings.ContainsRune(value, utf8.RuneError):
		problem = "not UTF-8"
	case strings.TrimSpace(value) != value:
		problem = "space around it"
	case strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }):
		problem = "control or invisible characters"
	default:
		return value, nil
	}
	return "", refuse("attribute_malformed", "%s: %s", key, problem)
}

// groups are complete: too many are an error, not the first thousand.
func (p *provider) groups(v verified) (groups []string, err error) {
	a := p.config.Attributes
	if a.Groups == "" {
		return nil, nil
	}
	if link := v.Attributes[groupsLink]; len(link) > 0 {
		return nil, authn.Errorf(authn.Unavailable, "groups_incomplete",
			"the identity provider gave a link in place of the groups: too many to list")
	}
	for _, all := range v.Attributes[a.Groups] {
		list := []string{all}
		if a.GroupsSeparator != "" {
			list = strings.Split(all, a.GroupsSeparator)
		}
		for _, g := range list {
			if g = strings.TrimSpace(g); g != "" {
				groups = append(groups, g)
			}
		}
	}
	if len(groups) > maxGroups {
		return nil, authn.Errorf(authn.Unavailable, "groups_incomplete", "%d groups, more than %d", len(groups), maxGroups)
	}
	return groups, nil
}

// groupsLink is what Entra ID sends in place of more than 150 groups.
const groupsLink = "http://schemas.microsoft.com/claims/groups.link"

// factors says what was proven: the identity provider's word, and its second factor where the context says so.
func (p *provider) factors(v verified) []string {
	for _, context := range p.config.FactorsFrom {
		if context == v.AuthnContext {
			return []string{authn.FactorIdP, authn.FactorIdPMFA}
		}
	}
	return []string{authn.FactorIdP}
}

// namesOf lists the attributes of an answer, never their values.
func namesOf(v verified) string {
	var names []string
	for name := range v.Attributes {
		names = append(names, cut(name))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

func sameCertificate(a, b *x509.Certificate) bool { return a.Equal(b) }
