package saml

import (
	"context"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Dialect is what the package of one identity product changes; the zero value changes nothing.
type Dialect struct {
	// Person reads the person out of a verified answer, in place of Config.Attributes and FactorsFrom. Provider, Session and
	// Until are filled in for it. Kinds: Untrusted, Locked, Unavailable.
	Person func(ctx context.Context, said Said) (authn.Identity, error)
}

// Said is what an identity provider said of a person, after every check.
type Said struct {
	NameID, NameIDFormat string
	Attributes           map[string][]string // by Name, in the order given
	AuthnContext         string              // class reference
	Until                time.Time           // zero: it does not limit our session
}

// Values are the values of an attribute that must be a text like any other: no space around it, nothing invisible.
// Untrusted (attribute_malformed).
func (s Said) Values(name string) ([]string, error) {
	for _, value := range s.Attributes[name] {
		if _, err := clean(name, value); err != nil {
			return nil, err
		}
	}
	return s.Attributes[name], nil
}

// person is whom a verified answer is about.
func (p *provider) person(ctx context.Context, v verified) (authn.Identity, error) {
	if p.dialect.Person == nil {
		return p.identity(v)
	}
	i, err := p.dialect.Person(ctx, Said{v.NameID, v.NameIDFormat, v.Attributes, v.AuthnContext, v.SessionNotOnOrAfter})
	i.Provider, i.Until = p.id, v.SessionNotOnOrAfter
	return i, err
}
