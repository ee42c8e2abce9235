package ldap

import (
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// Errors of the password policy control, draft-behera-ldap-password-policy-10 section 6.2.
const (
	policyExpired    = 0
	policyLocked     = 1
	policyMustChange = 2
)

// policyRequest asks for the reasons of a refusal with every bind of a user. Servers that do not know it ignore it.
var policyRequest = []goldap.Control{&goldap.ControlBeheraPasswordPolicy{}}

// bindOutcome turns the answer to a user's bind into an error, nil when the user may enter. A grace login is a success:
// the directory let the user in. A password that must be changed is a refusal although the bind succeeded, as nobody can
// change it here.
func bindOutcome(server string, result *goldap.SimpleBindResult, err error) error {
	if reason := policyReason(result); reason != "" {
		return authn.Errorf(authn.Locked, reason, "%s: password policy", server)
	}
	code, _ := resultCode(err)
	switch {
	case err == nil:
		return nil
	case code == goldap.LDAPResultInvalidCredentials, code == goldap.LDAPResultNoSuchObject,
		code == goldap.LDAPResultInappropriateAuthentication: // the entry is gone or has no password
		return authn.Errorf(authn.BadCredentials, reasonWrongPassword, "%s answered %s", server, describe(err))
	case code == goldap.LDAPResultConstraintViolation: // 389 DS: too many wrong passwords
		return authn.Errorf(authn.Locked, reasonLocked, "%s answered %s", server, describe(err))
	case code == goldap.LDAPResultUnwillingToPerform: // 389 DS: inactivated
		return authn.Errorf(authn.Locked, reasonDisabled, "%s answered %s", server, describe(err))
	}
	return fromResult(server, err)
}

func policyReason(result *goldap.SimpleBindResult) string {
	if result == nil {
		return ""
	}
	control, ok := goldap.FindControl(result.Controls, goldap.ControlTypeBeheraPasswordPolicy).(*goldap.ControlBeheraPasswordPolicy)
	if !ok {
		return ""
	}
	switch control.Error {
	case policyExpired:
		return reasonExpired
	case policyLocked:
		return reasonLocked
	case policyMustChange:
		return reasonMustChange
	}
	return ""
}
