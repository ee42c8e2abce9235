package azuread

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// skew is by how much clocks may differ.
const skew = time.Minute

// claims are those of a v2.0 ID token that are looked at.
type claims struct {
	Version  string   `json:"ver"`
	Issuer   string   `json:"iss"`
	Tenant   string   `json:"tid"`
	Object   string   `json:"oid"`
	Audience audience `json:"aud"`
	Party    string   `json:"azp"`
	Nonce    string   `json:"nonce"`
	Expires  int64    `json:"exp"`
	Begins   int64    `json:"nbf"`
	Issued   int64    `json:"iat"`
	Proven   int64    `json:"auth_time"` // when the person proved who they are; Entra tells where max_age was asked for

	Name        string   `json:"name"`
	Email       string   `json:"email"`
	EmailProven flag     `json:"xms_edov"` // the e-mail's domain is verified by its owner
	Account     *int     `json:"acct"`     // 0 member, 1 guest
	IdP         string   `json:"idp"`      // who authenticated; a guest's own tenant
	Session     string   `json:"sid"`
	Methods     []string `json:"amr"`
	Contexts    audience `json:"acrs"`

	Roles      []string       `json:"roles"`
	Groups     []string       `json:"groups"`
	HasGroups  flag           `json:"hasgroups"`
	ClaimNames map[string]any `json:"_claim_names"`

	all map[string]any
}

// audience is one text, or several.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// flag is true, "true", 1 or "1": Entra writes all of them.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(text []byte) error {
	switch strings.Trim(string(text), `"`) {
	case "true", "True", "1":
		*f = true
	}
	return nil
}

// refuse is an error of kind Untrusted. Its text says nothing about the person.
func refuse(reason, format string, args ...any) error {
	return authn.Errorf(authn.Untrusted, reason, format, args...)
}

// verify judges an ID token: OpenID Connect Core, section 3.1.3.7, and what Microsoft adds to it. a is empty for the
// password grant. Untrusted, Locked (a person of a tenant that is not allowed), Unavailable.
func (p *provider) verify(ctx context.Context, a *authority, token string, asked asked) (c claims, err error) {
	if token == "" {
		return c, refuse("id_token_missing", "Entra's answer holds no ID token")
	}
	payload, keyIssuer, err := a.payload(ctx, token)
	if err != nil {
		return c, err
	}
	if json.Unmarshal(payload, &c) != nil || json.Unmarshal(payload, &c.all) != nil {
		return c, refuse("id_token_malformed", "the ID token's claims are not of the types that they should be")
	}
	for _, check := range []func() error{
		func() error { return p.checkIssuer(c, keyIssuer) },
		func() error { return p.checkAudience(c) },
		func() error { return checkTimes(c, p.now()) },
		func() error { return checkNonce(c, asked.Nonce) },
		func() error { return checkAnew(c, asked.Since) },
		func() error { return p.checkTenant(a, c) },
	} {
		if err := check(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// checkIssuer wants the token to be of the tenant that it names, at our host, and signed with a key for that tenant:
// Microsoft's keys are the same for everybody's tenants.
func (p *provider) checkIssuer(c claims, keyIssuer string) error {
	switch {
	case c.Version != "2.0":
		return refuse("id_token_version", "the ID token is of version %q, not 2.0", cut(c.Version))
	case !guid.MatchString(c.Tenant) || !guid.MatchString(c.Object):
		return refuse("id_token_without_subject", "the ID token has no tid or no oid")
	case c.Issuer != issuer(p.config.Authority, c.Tenant):
		return refuse("id_token_wrong_issuer", "the ID token was issued by %q", cut(c.Issuer))
	case strings.ReplaceAll(keyIssuer, placeholder, c.Tenant) != c.Issuer && keyIssuer != "":
		return refuse("id_token_wrong_issuer", "the ID token's key is one of %q", cut(keyIssuer))
	}
	return nil
}

// checkAudience wants the token to be for us, and for nobody else besides.
func (p *provider) checkAudience(c claims) error {
	switch {
	case len(c.Audience) != 1 || c.Audience[0] != p.config.ClientID:
		return refuse("id_token_wrong_audience", "the ID token is for %q", cut(strings.Join(c.Audience, " ")))
	case c.Party != "" && c.Party != p.config.ClientID:
		return refuse("id_token_wrong_party", "the ID token was given to %q", cut(c.Party))
	}
	return nil
}

func checkTimes(c claims, now time.Time) error {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	switch {
	case !now.Before(at(c.Expires).Add(skew)):
		return refuse("id_token_expired", "the ID token ended at %s", at(c.Expires).UTC().Format(time.RFC3339))
	case now.Before(at(c.Begins).Add(-skew)) || now.Before(at(c.Issued).Add(-skew)):
		return refuse("id_token_early",
			"the ID token begins at %s: check this machine's clock", at(max(c.Begins, c.Issued)).UTC().Format(time.RFC3339))
	case c.Issued == 0:
		return refuse("id_token_malformed", "the ID token does not say when it was issued")
	}
	return nil
}

func checkNonce(c claims, nonce string) error {
	if subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) != 1 {
		return refuse("id_token_wrong_nonce", "the ID token is not of this sign-in")
	}
	return nil
}

// checkAnew wants the person to have proven who they are since they were sent away, where that was asked for: who strips the
// request of it comes back with an older session.
func checkAnew(c claims, since time.Time) error {
	switch at := time.Unix(c.Proven, 0); {
	case since.IsZero():
		return nil
	case c.Proven == 0:
		return authn.Errorf(authn.Unavailable, reasonConfig, "the ID token does not say when the person signed in, as max_age asks it to: "+
			"add the optional claim auth_time under Token configuration of the app registration")
	case at.Before(since.Add(-skew)):
		return refuse("authn_too_old", "signed in at %s, and should have again since %s", at.UTC().Format(time.RFC3339),
			since.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkTenant refuses other tenants. Where only our own tenant was asked, such a token is no mistake of a person.
func (p *provider) checkTenant(a *authority, c claims) error {
	switch {
	case c.Tenant == p.config.Tenant || a != p.home && slices.Contains(p.config.AllowedTenants, c.Tenant):
		return nil
	case a == p.home:
		return refuse("other_tenant", "the ID token is of tenant %s", c.Tenant)
	}
	return authn.Errorf(authn.Locked, "other_tenant", "tenant %s is not one of allowed_tenants", c.Tenant)
}

// guest tells whether the account is one that was invited from somewhere else.
func (c claims) guest() bool {
	if c.Account != nil {
		return *c.Account != 0
	}
	return c.IdP != "" && !strings.Contains(strings.ToLower(c.IdP), c.Tenant)
}

// subject never changes and is never given to somebody else.
func (c claims) subject() string { return c.Tenant + "/" + c.Object }

// guestMark ends the user name of a guest, as in user principal names: what stands before it is only what another tenant
// calls somebody, and must not be taken for a name of ours.
const guestMark = "#EXT#"

// identity is the person that a verified token tells of, without groups.
func (p *provider) identity(c claims) (authn.Identity, error) {
	id := authn.Identity{
		Provider: p.id, Subject: c.subject(), Name: c.Name, Factors: []string{authn.FactorIdP}, Session: c.Session,
	}
	id.Username, _ = c.all[p.config.UsernameClaim].(string)
	if id.Username == "" {
		return id, authn.Errorf(authn.Unavailable, reasonConfig,
			"the ID token has no claim %q: add it under Token configuration of the "+
				"app registration, or change username_claim", p.config.UsernameClaim)
	}
	if c.guest() {
		if p.config.Guests == guestsRefuse {
			return id, authn.Errorf(authn.Locked, "guest_refused", "a guest of the tenant; guests: accept would let them in")
		}
		if !strings.Contains(id.Username, guestMark) {
			id.Username += guestMark
		}
	}
	// An e-mail address is what the person's own tenant wrote there, unless its domain was proven.
	if !c.guest() && c.Tenant == p.config.Tenant || bool(c.EmailProven) {
		id.Email = c.Email
	}
	if p.provedMFA(c) {
		id.Factors = append(id.Factors, authn.FactorIdPMFA)
	}
	return id, nil
}

// provedMFA tells whether Entra vouches for a second factor, in the way that is configured.
func (p *provider) provedMFA(c claims) bool {
	switch {
	case !p.config.AcceptMFA:
		return false
	case p.config.AuthenticationContext != "":
		return slices.Contains(c.Contexts, p.config.AuthenticationContext)
	}
	return slices.Contains(c.Methods, "mfa")
}
