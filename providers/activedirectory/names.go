package activedirectory

import (
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// names knows how the users of one domain may be written.
type names struct {
	domain   string   // DNS name
	short    []string // NetBIOS names
	suffixes []string // alternative UPN suffixes
	email    bool
}

// name is a typed name, understood.
type name struct {
	form   string // for people
	filter string
	sam    string   // what the entry's sAMAccountName must be; empty where the form does not say
	domain string   // DNS name of the domain whose sAMAccountNames the name can mean
	upns   []string // UPNs that it can mean, in whichever domain of the forest
	mail   string   // the mail address that it can mean; empty where it cannot be one
}

// read understands a name. BadCredentials where it cannot be one of this domain's.
//
// A domain controller reads user@domain as the UPN of one person or the sAMAccountName of another, in an order of its
// own. So each form is searched in every reading that the domain could have of it: when two people answer, the search
// finds both, and nobody is guessed.
func (n names) read(typed string) (name, error) {
	if err := ldap.CheckName(typed); err != nil {
		return name{}, err
	}
	if short, user, ok := strings.Cut(typed, `\`); ok {
		if user == "" || strings.ContainsAny(user, `\@`) || !n.isShort(short) {
			return name{}, notOurs()
		}
		return name{form: `DOMAIN\user: a sAMAccountName`, filter: person(n.readings(user)...), sam: user, domain: n.domain,
			upns: n.principals(user)}, nil
	}
	at := strings.LastIndexByte(typed, '@')
	if at < 0 {
		return name{form: "bare: a sAMAccountName, or a UPN of " + n.domain, filter: person(n.readings(typed)...),
			domain: n.domain, upns: n.principals(typed)}, nil
	}
	return n.readPrincipal(typed, typed[:at], typed[at+1:])
}

// readPrincipal understands user@suffix.
func (n names) readPrincipal(typed, user, suffix string) (name, error) {
	home, alternative := strings.EqualFold(suffix, n.domain), containsFold(n.suffixes, suffix)
	if user == "" || !home && !alternative && !n.email {
		return name{}, notOurs()
	}
	found := name{domain: n.domain, upns: []string{typed}}
	var forms, readings []string
	switch {
	case home: // the implicit UPN: sAMAccountName@domain belongs to a user even if another UPN is set
		forms, readings, found.upns = []string{"UPN of the domain"}, n.readings(user), n.principals(user)
	case alternative:
		forms, readings = []string{"UPN with an alternative suffix"}, []string{equals(attrUPN, typed), equals(attrSAM, typed)}
	}
	if n.email {
		forms, readings, found.mail = append(forms, "mail address"), append(readings, equals(attrMail, typed)), typed
	}
	found.form, found.filter = strings.Join(forms, ", or "), person(readings...)
	return found, nil
}

// readings are all that a user name without a domain can mean.
func (n names) readings(user string) []string {
	principal := user + "@" + n.domain
	return []string{equals(attrSAM, user), equals(attrSAM, principal), equals(attrUPN, principal), equals(attrUPN, user)}
}

// principals are the UPNs among the readings.
func (n names) principals(user string) []string { return []string{user + "@" + n.domain, user} }

func (n names) isShort(s string) bool {
	return containsFold(n.short, s) || strings.EqualFold(s, n.domain)
}

// fits refuses an entry that was found under another of its names than the one typed: DOMAIN\user is a sAMAccountName.
func (n name) fits(e ldap.Entry) error {
	if n.sam != "" && (!strings.EqualFold(e.Text(attrSAM), n.sam) || !n.isHome(e)) {
		return authn.Errorf(authn.BadCredentials, reasonUnknownUser, "only a userPrincipalName is spelled like this")
	}
	return nil
}

// means tells whether the name can mean an entry that the catalogue of a forest has found by it. There a sAMAccountName
// is found in every domain that has it.
func (n name) means(e ldap.Entry) bool {
	return n.isHome(e) || containsFold(n.upns, e.Text(attrUPN)) || n.mail != "" && strings.EqualFold(e.Text(attrMail), n.mail)
}

func (n name) isHome(e ldap.Entry) bool { return strings.EqualFold(ldap.DomainOf(e.DN()), n.domain) }

func notOurs() error {
	return authn.Errorf(authn.BadCredentials, reasonUnknownUser,
		"the name's domain is neither domain nor one of netbios_names and upn_suffixes")
}

func equals(attribute, value string) string { return "(" + attribute + "=" + ldap.Escape(value) + ")" }

// person matches accounts of people, not of computers, that one of the readings fits.
func person(readings ...string) string {
	return "(&(objectCategory=person)(objectClass=user)(|" + strings.Join(readings, "") + "))"
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}
