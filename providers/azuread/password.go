package azuread

import (
	"context"
	"net/url"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// passwords hands names and passwords to Entra: the resource owner password credentials grant (RFC 6749, section 4.3).
// Microsoft advises against it; it has no second factor, no federation and no guests. It is for callers that have no
// browser, and only where password_grant says so. It implements authn.PasswordProvider.
type passwords struct{ *provider }

// person is a user as Graph tells.
type person struct {
	ID    string `json:"id"`
	UPN   string `json:"userPrincipalName"`
	Name  string `json:"displayName"`
	Mail  string `json:"mail"`
	Class string `json:"userType"` // Member or Guest
}

// Find asks Graph for the account with that user principal name.
func (p passwords) Find(ctx context.Context, username string) (authn.Account, error) {
	found, err := p.find(ctx, username)
	if err != nil {
		return authn.Account{}, p.by(err)
	}
	account := authn.Account{Ref: found.UPN, Identity: authn.Identity{
		Provider: p.id, Subject: p.config.Tenant + "/" + strings.ToLower(found.ID),
		Username: found.UPN, Name: found.Name, Email: found.Mail,
	}}
	if p.config.Groups.Source == groupsGroups {
		account.Groups, err = p.graphGroups(ctx, account.Subject, "/users/"+found.ID, p.application)
	}
	return account, p.by(err)
}

func (p passwords) find(ctx context.Context, username string) (person, error) {
	unknown := func(why string) error { return authn.Errorf(authn.BadCredentials, reasonUnknownUser, "%s", why) }
	if strings.Count(username, "@") != 1 || strings.ContainsFunc(username, func(r rune) bool { return r < ' ' }) {
		return person{}, unknown("not a user principal name: user@domain")
	}
	token, err := p.application(ctx)
	if err != nil {
		return person{}, err
	}
	found, err := list[person](ctx, p.provider, token, "/users", url.Values{
		"$filter": {"userPrincipalName eq '" + strings.ReplaceAll(username, "'", "''") + "'"},
		"$select": {"id,userPrincipalName,displayName,mail,userType"}, "$top": {"2"},
	})
	switch {
	case err != nil:
		return person{}, err
	case len(found) != 1 || !strings.EqualFold(found[0].UPN, username) || !guid.MatchString(strings.ToLower(found[0].ID)):
		return person{}, unknown("no account with that user principal name")
	case found[0].Class == "Guest":
		return person{}, unknown("a guest has no password in this tenant")
	}
	return found[0], nil
}

// Verify hands the password to Entra, once. NotEnrolled, besides the kinds of the interface, where Entra asks for more than
// a password: the portal can do that.
func (p passwords) Verify(ctx context.Context, account authn.Account, password authn.Secret) (authn.Identity, error) {
	if password == "" || strings.ContainsRune(password.Reveal(), 0) {
		return authn.Identity{}, p.by(&authn.Error{Kind: authn.BadCredentials, Reason: reasonWrongPassword})
	}
	c, err := p.prove(ctx, account, password)
	if err != nil {
		return authn.Identity{}, p.by(err)
	}
	if c.subject() != account.Subject {
		return authn.Identity{}, p.by(refuse("subject_changed", "Entra proved another account than the one that was found"))
	}
	id := account.Identity
	id.Factors = []string{authn.FactorPassword}
	return id, nil
}

func (p passwords) prove(ctx context.Context, account authn.Account, password authn.Secret) (claims, error) {
	t, err := p.ask(ctx, p.home, url.Values{
		"grant_type": {"password"}, "username": {account.Ref}, "password": {password.Reveal()}, "scope": {"openid profile"},
	})
	if err != nil {
		return claims{}, err
	}
	return p.verify(ctx, p.home, t.ID, asked{})
}
