package authn

import (
	"fmt"
	"regexp"
	"strings"
)

// Route says which user names belong to a provider. A name belongs if any rule matches.
type Route struct {
	Domains     []string // user@domain, case-insensitive
	Prefixes    []string // PREFIX\user, case-insensitive
	Pattern     string   // regular expression (RE2) that must match the whole name
	Default     bool     // every name that no other provider claims
	StripDomain bool     // ask the provider for user, not for user@domain or PREFIX\user
}

// Matcher compiles the rules, except Default, into a Provider.Match.
func (r Route) Matcher() (func(string) (string, bool), error) {
	var pattern *regexp.Regexp
	if r.Pattern != "" {
		var err error
		if pattern, err = regexp.Compile(`^(?:` + r.Pattern + `)$`); err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
	}
	return func(name string) (string, bool) {
		if user, domain, ok := cutLast(name, '@'); ok && containsFold(r.Domains, domain) {
			return r.strip(name, user), true
		}
		if prefix, user, ok := strings.Cut(name, `\`); ok && containsFold(r.Prefixes, prefix) {
			return r.strip(name, user), true
		}
		return name, pattern != nil && pattern.MatchString(name)
	}, nil
}

func (r Route) strip(name, user string) string {
	if r.StripDomain {
		return user
	}
	return name
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func containsFold(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// router sends a user name to exactly one provider.
type router struct {
	providers []Provider
	fallback  string // id of the default provider; "" for none
}

func (r router) route(username string) (Provider, string, error) {
	found, asked, matches := Provider{}, "", 0
	for _, p := range r.providers {
		if name, ok := p.Match(username); ok {
			found, asked = p, name
			matches++
		}
	}
	switch {
	case matches == 1:
		return found, asked, nil
	case matches > 1:
		return Provider{}, "", Errorf(BadCredentials, "ambiguous_route", "%d providers claim this user name", matches)
	}
	if p, ok := r.byID(r.fallback); ok {
		return p, username, nil
	}
	return Provider{}, "", Errorf(BadCredentials, "no_route", "no provider claims this user name and there is no default")
}

// pick is route, unless the person has picked a provider; then that one is asked, and no other.
func (r router) pick(chosen, username string) (Provider, string, error) {
	if chosen == "" {
		return r.route(username)
	}
	p, ok := r.byID(chosen)
	if !ok {
		return Provider{}, "", Errorf(BadCredentials, "no_route", "there is no provider %q", cut(chosen))
	}
	if name, ok := p.Match(username); ok {
		return p, name, nil
	}
	return p, username, nil
}

func (r router) byID(id string) (Provider, bool) {
	for _, p := range r.providers {
		if p.ID == id {
			return p, true
		}
	}
	return Provider{}, false
}
