package itusers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Match says which IT user an account is linked to when it signs in for the first time: the one whose user name equals
// the attribute, in upper or lower case.
type Match struct {
	Attribute   string // username, email or subject
	StripDomain bool   // compare user, not user@domain or DOMAIN\user
	Template    string // "{0}" stands for the attribute: "EXAMPLE\{0}"; empty means "{0}"

	// Shared lets an account take an IT user that is linked at another provider. Without it, who can have a user name at
	// one provider does not become the person of that name at another. Set it where both know the same people by the
	// same names, for instance while one replaces the other.
	Shared bool
}

// Directory finds the IT user behind an account. It implements authn.ITUsers and is safe for concurrent use.
type Directory struct {
	store   Finder
	matches map[string]Match
	now     func() time.Time
}

var _ authn.ITUsers = (*Directory)(nil)

// NewDirectory checks the matches, one per provider id. Accounts of a provider without a match are linked by
// administrators only.
func NewDirectory(store Finder, matches map[string]Match, now func() time.Time) (*Directory, error) {
	for provider, m := range matches {
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("match of provider %q: %w", provider, err)
		}
	}
	return &Directory{store, matches, now}, nil
}

func (m Match) check() error {
	switch m.Attribute {
	case "username", "email", "subject":
	default:
		return fmt.Errorf("attribute %q is none of username, email, subject", m.Attribute)
	}
	if m.Template != "" && strings.Count(m.Template, "{0}") != 1 {
		return errors.New("the template must hold {0} exactly once")
	}
	return nil
}

// username is the folded name of the IT user that an account matches.
func (m Match) username(a authn.Identity) string { return authn.FoldName(m.Username(a)) }

// Username is the name of the IT user that an account matches; empty when the account lacks the attribute.
func (m Match) Username(a authn.Identity) string {
	value := map[string]string{"username": a.Username, "email": a.Email, "subject": a.Subject}[m.Attribute]
	if m.StripDomain {
		if i := strings.LastIndexByte(value, '@'); i >= 0 {
			value = value[:i]
		}
		value = value[strings.LastIndexByte(value, '\\')+1:]
	}
	if value != "" && m.Template != "" {
		value = strings.Replace(m.Template, "{0}", value, 1)
	}
	return value
}

// Find implements authn.ITUsers. NotMapped with reason not_linked (the provider has no match), no_match_attribute,
// no_it_user, name_belongs_to_another_subject (the user name was recycled for another person) or
// linked_at_another_provider.
func (d *Directory) Find(ctx context.Context, account authn.Account, environment string) (authn.ITUser, error) {
	user, err := d.store.FindLinked(ctx, account.Provider, account.Subject, environment)
	if err != nil || user.Key != "" {
		return user, storeError(err)
	}
	match, ok := d.matches[account.Provider]
	if !ok {
		return authn.ITUser{}, authn.Errorf(authn.NotMapped, "not_linked", "an administrator has to link this account")
	}
	name := match.username(account.Identity)
	if name == "" {
		return authn.ITUser{}, authn.Errorf(authn.NotMapped, "no_match_attribute", "the account has no %s", match.Attribute)
	}
	user, standing, err := d.store.FindNamed(ctx, name, account.Provider, environment)
	switch {
	case err != nil:
		return authn.ITUser{}, storeError(err)
	case user.Key == "":
		return authn.ITUser{}, authn.Errorf(authn.NotMapped, "no_it_user", "no IT user is named %q", name)
	case standing.Subject == account.Subject: // linked since the first read
		user.Linked = true
	case standing.Subject != "":
		return authn.ITUser{}, taken(user.Username)
	case standing.Elsewhere && !match.Shared:
		return authn.ITUser{}, elsewhere(user.Username)
	}
	return user, nil
}

func taken(username string) error {
	return authn.Errorf(authn.NotMapped, "name_belongs_to_another_subject",
		"IT user %q is linked to another account; if this is the same person: idbridge users link", username)
}

func elsewhere(username string) error {
	return authn.Errorf(authn.NotMapped, "linked_at_another_provider",
		"IT user %q is linked at another provider; if this is the same person: idbridge users link, or it_user.shared", username)
}

// Link implements authn.ITUsers. NotMapped with reason name_belongs_to_another_subject or subject_linked_elsewhere when
// another sign-in was faster, no_it_user when the user is gone.
func (d *Directory) Link(ctx context.Context, id authn.Identity, user authn.ITUser) error {
	alone := !d.matches[id.Provider].Shared
	holder, subject, err := d.store.AddLink(ctx, user.Key, Link{id.Provider, id.Subject, id.Username, d.now()}, alone)
	switch {
	case err != nil:
		return storeError(err)
	case holder == "":
		return authn.Errorf(authn.NotMapped, "no_it_user", "IT user %q is gone, or was linked at another provider meanwhile",
			user.Username)
	case subject != id.Subject:
		return taken(user.Username)
	case holder != user.Key:
		return authn.Errorf(authn.NotMapped, "subject_linked_elsewhere", "the account is linked to another IT user")
	}
	return nil
}

// storeError makes a store's error Unavailable unless it has a kind already.
func storeError(err error) error {
	var known *authn.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return authn.Errorf(authn.Unavailable, "store_unavailable", "IT users: %w", err)
}
