package activedirectory

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// attrPassword takes passwords and never gives one away, [MS-ADTS] section 3.1.1.3.1.5.
const attrPassword = "unicodePwd"

// longestPassword is what the domain can keep, in UTF-16 code units.
const longestPassword = 256

// ChangePassword replaces the password of an account that Find returned. It implements authn.Provider.
//
// The service account asks, and the right current password is what the domain controller wants as the proof: so it works
// for who cannot bind any more, because the password has expired or must be changed. The domain counts a wrong one as
// at a sign-in, so the same caution holds as in Verify. An error of the Kind Unavailable does not say whether the
// password was changed.
func (d *domain) ChangePassword(ctx context.Context, account authn.Account, current, next authn.Secret) error {
	if err := ldap.CheckBind(account.Ref, current); err != nil {
		return d.directory.By(err)
	}
	old, err := quoted(current, authn.BadCredentials)
	if err != nil {
		return d.directory.By(err)
	}
	wanted, err := quoted(next, authn.Unsuitable)
	if err != nil {
		return d.directory.By(err)
	}
	home, err := d.homeOf(account)
	if err != nil {
		return err
	}
	s, err := home.mayTry(ctx, account)
	if err == nil {
		err = d.directory.By(s.isOver(d.now()))
	}
	if err == nil {
		err = home.directory.Exchange(ctx, account.Ref, attrPassword, old, wanted)
		d.readings.tried(account.Subject)
	}
	if authn.KindOf(err) == authn.Unsuitable {
		return d.directory.By(home.whyUnsuitable(ctx, account, s, next))
	}
	return err
}

// quoted is a password as attrPassword takes it: in quotation marks, UTF-16, little-endian. The Kind is that of the
// refusal of a text that is no password.
func quoted(password authn.Secret, kind authn.Kind) (authn.Secret, error) {
	text := password.Reveal()
	units := utf16.Encode([]rune(text))
	switch {
	case !utf8.ValidString(text), strings.ContainsRune(text, 0):
		return "", &authn.Error{Kind: kind, Reason: reasonMalformedPass}
	case len(units) > longestPassword:
		return "", &authn.Error{Kind: kind, Reason: reasonPassTooLong}
	}
	var b strings.Builder
	for _, u := range append(append([]uint16{'"'}, units...), '"') {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return authn.Secret(b.String()), nil
}

// unchanged judges a refused change by the Windows error code that the domain controller's words begin with, such as
//
//	0000052D: AtrErr: DSID-03191083, #1: 0: 0000052D: DSID-03191083, problem 1005 (CONSTRAINT_ATT_TYPE), data 0, ...
//
// nil where the refusal is not about this account or these passwords.
func unchanged(result uint16, diagnostic string) error {
	const constraintViolation, insufficientAccessRights = 19, 50 // RFC 4511 appendix A.1
	digits, _, _ := strings.Cut(diagnostic, ":")
	code, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 {
		code = 0
	}
	refuse := func(kind authn.Kind, reason string) error {
		return authn.Errorf(kind, reason, "the domain controller refused the change with code %x", code)
	}
	switch {
	case code == 0x56, code == 0x52b: // ERROR_INVALID_PASSWORD, ERROR_WRONG_PASSWORD
		return refuse(authn.BadCredentials, reasonWrongPassword)
	case code == 0x52c, code == 0x52d, code == 0x8c5: // ill-formed, ERROR_PASSWORD_RESTRICTION, too short
		return refuse(authn.Unsuitable, reasonUnsuitable)
	case code == 0x775:
		return refuse(authn.Locked, reasonLocked)
	case code == 0x533:
		return refuse(authn.Locked, reasonDisabled)
	case result == insufficientAccessRights, result == constraintViolation && (code == 0 || code == 5):
		// The right to change it is denied, as "user cannot change password" does; Samba has no words for that.
		return refuse(authn.Locked, reasonCannotChange)
	}
	return nil
}

// Attributes of the rules for passwords: of the domain, and of a fine-grained policy (PSO).
const (
	attrMinLength     = "minPwdLength"
	attrMinAge        = "minPwdAge"
	attrHistory       = "pwdHistoryLength"
	attrProperties    = "pwdProperties"
	attrPSOMinLength  = "msDS-MinimumPasswordLength"
	attrPSOMinAge     = "msDS-MinimumPasswordAge"
	attrPSOHistory    = "msDS-PasswordHistoryLength"
	attrPSOComplexity = "msDS-PasswordComplexityEnabled"
)

// passwordRules are what a domain asks of a new password, as far as it tells.
type passwordRules struct {
	length  int           // characters
	age     time.Duration // of the password that is to be replaced
	complex bool
	history int
}

// whyUnsuitable finds the rule that a refused password breaks: domain controllers say only that there is one. Theirs is
// the decision, and they may have rules that no attribute tells of; so this one only explains.
func (d *domain) whyUnsuitable(ctx context.Context, account authn.Account, s state, next authn.Secret) error {
	var rules passwordRules
	err := d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) (err error) {
		rules, err = readRules(ctx, on, d.root, s.policy)
		return err
	})
	if err != nil {
		return authn.Errorf(authn.Unsuitable, reasonUnsuitable, "the domain's rules cannot be read: %w", err)
	}
	return rules.broken(account.Identity, s, next.Reveal(), d.now())
}

func readRules(ctx context.Context, on *ldap.Session, root, pso string) (passwordRules, error) {
	dn, asked := root, []string{attrMinLength, attrMinAge, attrHistory, attrProperties}
	if pso != "" {
		dn, asked = pso, []string{attrPSOMinLength, attrPSOMinAge, attrPSOHistory, attrPSOComplexity}
	}
	e, found, err := on.Read(ctx, dn, asked...)
	if err != nil {
		return passwordRules{}, err
	}
	if !found {
		return passwordRules{}, authn.Errorf(authn.Unavailable, reasonConfig, "%q is not there or hidden", dn)
	}
	r := stateReader{e: e}
	rules := passwordRules{length: int(r.number(asked[0])), age: interval(r.number(asked[1])), history: int(r.number(asked[2]))}
	if pso != "" {
		rules.complex = strings.EqualFold(e.Text(attrPSOComplexity), "TRUE")
	} else {
		rules.complex = r.number(attrProperties)&1 != 0 // DOMAIN_PASSWORD_COMPLEX
	}
	return rules, r.err
}

// broken names the first rule that the new password breaks, in the order in which changing the text helps.
func (r passwordRules) broken(who authn.Identity, s state, next string, now time.Time) error {
	unsuitable := func(reason, format string, args ...any) error {
		return authn.Errorf(authn.Unsuitable, reason, format, args...)
	}
	switch {
	case now.Sub(s.passwordSet) < r.age: // one that must be changed was set at no time
		return unsuitable(reasonPassTooRecent, "the domain lets a password be changed %s after it was set", r.age)
	case utf8.RuneCountInString(next) < r.length:
		return unsuitable(reasonPassTooShort, "the domain wants at least %d characters", r.length)
	case r.complex && !isComplex(next, who.Username, who.Name):
		return unsuitable(reasonPassTooSimple, "the domain wants three of upper case, lower case, digits and others, "+
			"and no part of the user's name")
	case r.history > 0:
		return unsuitable(reasonPassUsed, "probably one of the last %d passwords, or on a list of the domain's", r.history)
	}
	return unsuitable(reasonUnsuitable, "against a rule that the domain does not tell")
}

// isComplex is the rule that Windows calls complexity: three of five kinds of characters, and neither the account's name
// nor a word of the display name.
func isComplex(password, username, name string) bool {
	var upper, lower, digit, letter, other int
	for _, r := range password {
		switch {
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsLower(r):
			lower = 1
		case r >= '0' && r <= '9':
			digit = 1
		case unicode.IsLetter(r):
			letter = 1
		default:
			other = 1
		}
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(",.-_ #\t", r) })
	for _, word := range append(words, username) {
		if utf8.RuneCountInString(word) > 2 && strings.Contains(strings.ToLower(password), strings.ToLower(word)) {
			return false
		}
	}
	return upper+lower+digit+letter+other >= 3
}
