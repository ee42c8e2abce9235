package azuread

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// endSoon is how long before its end a credential is worth a warning: replacing it may need somebody else's time.
const endSoon = 30 * 24 * time.Hour

// check tells whether people could sign in now: browsers know where to come back to, the addresses and keys of the tenant
// can be read, Entra accepts one of the credentials, and people can be found where passwords are taken.
func (p *provider) check(ctx context.Context) error {
	if p.callbacks == nil {
		return p.by(errNoPublicURL())
	}
	if _, err := p.visit(ctx); err != nil {
		return p.by(err)
	}
	return p.by(p.probe(ctx))
}

// How long the outcome of a probe stands.
const (
	goodProbe = 5 * time.Minute
	badProbe  = 30 * time.Second
)

// probe tries the credentials, and whether people can be found. Its outcome stands for a while: readiness is asked for
// every few seconds, and Entra blocks an application that repeats itself (AADSTS50196).
func (p *provider) probe(ctx context.Context) error {
	if known, ok := p.probed.get(""); ok {
		return known
	}
	token, err := p.newAppToken(ctx)
	if err == nil && p.config.PasswordGrant {
		err = p.probeGraph(ctx, token.Access)
	}
	switch {
	case err == nil:
		p.probed.put("", nil, goodProbe)
	case ctx.Err() == nil: // or else it is about who asked
		p.probed.put("", err, badProbe)
	}
	return err
}

// visit reads the addresses and keys of every authority, and tells how many keys there are.
func (p *provider) visit(ctx context.Context) (keys int, err error) {
	for _, a := range []*authority{p.home, p.front} {
		if _, err := a.endpoints(ctx); err != nil {
			return 0, err
		}
		list, err := a.signingKeys(ctx)
		if err != nil {
			return 0, err
		}
		keys = len(list)
	}
	return keys, nil
}

// inspect looks at each credential by itself, and at when it ends.
func (p *provider) inspect(ctx context.Context, _ func(string)) []authn.Finding {
	address := authn.Finding{Check: "redirect URI", Seen: p.addresses()}
	if p.callbacks == nil {
		address.Problem = errNoPublicURL().Err.Error()
	}
	tenant := authn.Finding{Check: "tenant"}
	keys, err := p.visit(ctx)
	tenant.Seen = fmt.Sprintf("%s at %s, %d signing keys", p.config.Tenant, p.config.Authority, keys)
	if err != nil {
		tenant.Problem = err.Error()
		return []authn.Finding{address, tenant}
	}
	return append([]authn.Finding{address, tenant}, p.inspectCredentials(ctx)...)
}

// addresses are those that Entra must know, the portal's first.
func (p *provider) addresses() string {
	var list []string
	for _, door := range slices.Sorted(maps.Keys(p.callbacks)) {
		list = append(list, p.callbacks[door])
	}
	return strings.Join(list, ", ")
}

// inspectCredentials shows every credential to Entra. One that is refused is a warning while another one is accepted.
func (p *provider) inspectCredentials(ctx context.Context) (findings []authn.Finding) {
	bearer := ""
	for _, c := range p.wallet.held {
		t, err := p.tryCredential(ctx, c)
		f := authn.Finding{Check: c.name, Seen: "accepted" + c.until()}
		if err != nil {
			f.Problem = strings.Replace(err.Error(), c.name+": ", "", 1) // it stands beside
		} else if bearer = t.Access; c.endsBy(p.now().Add(endSoon)) {
			f.Problem, f.Warning = "ends on "+c.ends.Format(time.DateOnly)+
				": add its successor to credentials, then remove this one", true
		}
		findings = append(findings, f)
	}
	for i := range findings {
		findings[i].Warning = findings[i].Warning || bearer != "" && !findings[i].OK()
	}
	if bearer == "" || !p.config.PasswordGrant {
		return findings
	}
	graph := authn.Finding{Check: "Microsoft Graph", Seen: "people can be found"}
	if err := p.probeGraph(ctx, bearer); err != nil {
		graph.Problem = err.Error()
	}
	return append(findings, graph)
}

// tryCredential asks for a token with one credential and no other.
func (p *provider) tryCredential(ctx context.Context, c credential) (tokens, error) {
	m, err := p.home.endpoints(ctx)
	if err != nil {
		return tokens{}, err
	}
	t, _, err := p.askWith(ctx, c, m.TokenURL, p.appGrant())
	if err == nil && t.Access == "" {
		err = errors.New("the token endpoint's answer holds no access token")
	}
	return t, err
}

func (c credential) until() string {
	if c.ends.IsZero() {
		return ""
	}
	return " until " + c.ends.Format(time.DateOnly)
}

func (c credential) endsBy(t time.Time) bool { return !c.ends.IsZero() && c.ends.Before(t) }
