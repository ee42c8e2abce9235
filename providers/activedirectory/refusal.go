package activedirectory

import (
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// Reasons of refusals made here; docs/errors.md explains them to operators.
const (
	reasonUnknownUser   = "unknown_user"
	reasonAmbiguousUser = "ambiguous_user"
	reasonWrongPassword = "wrong_password"
	reasonDisabled      = "account_disabled"
	reasonExpired       = "account_expired"
	reasonPassExpired   = "password_expired"
	reasonMustChange    = "password_must_change"
	reasonLocked        = "account_locked"
	reasonHours         = "logon_hours"
	reasonWorkstation   = "workstation_not_allowed"
	reasonNearLockout   = "near_lockout"
	reasonGroupDenied   = "group_denied"
	reasonNoGroup       = "group_not_allowed"
	reasonChanged       = "account_changed"
	reasonGroups        = "groups_incomplete"
	reasonConfig        = "directory_config"
	reasonBadAnswer     = "directory_bad_answer"

	// Of a password that is to be changed.
	reasonMalformedPass = "malformed_password"
	reasonPassTooLong   = "password_too_long"
	reasonPassTooShort  = "password_too_short"
	reasonPassTooSimple = "password_too_simple"
	reasonPassTooRecent = "password_too_recent"
	reasonPassUsed      = "password_used_before"
	reasonUnsuitable    = "password_unsuitable"
	reasonCannotChange  = "password_change_forbidden"
)

// refusals are the Windows error codes, in hexadecimal as the server writes them, that a refused bind comes with.
// Domain controllers tell all but 525, 52e and 775 only to who knows the password.
func refusals(code uint64) (authn.Kind, string) {
	switch code {
	case 0x525: // ERROR_NO_SUCH_USER
		return authn.BadCredentials, reasonUnknownUser
	case 0x52e: // ERROR_LOGON_FAILURE
		return authn.BadCredentials, reasonWrongPassword
	case 0x530: // ERROR_INVALID_LOGON_HOURS
		return authn.Locked, reasonHours
	case 0x531: // ERROR_INVALID_WORKSTATION
		return authn.Locked, reasonWorkstation
	case 0x532: // ERROR_PASSWORD_EXPIRED
		return authn.Locked, reasonPassExpired
	case 0x533: // ERROR_ACCOUNT_DISABLED
		return authn.Locked, reasonDisabled
	case 0x701: // ERROR_ACCOUNT_EXPIRED
		return authn.Locked, reasonExpired
	case 0x773: // ERROR_PASSWORD_MUST_CHANGE
		return authn.Locked, reasonMustChange
	case 0x775: // ERROR_ACCOUNT_LOCKED_OUT
		return authn.Locked, reasonLocked
	}
	// A wrong password always is 52e: whatever this is, it must not be counted as one.
	return authn.Unavailable, reasonBadAnswer
}

// refused judges the server's words about a refused bind. nil where they hold no code: then the answer is not Active
// Directory's own, and means what it means everywhere.
func refused(diagnostic string) error {
	code, ok := subCode(diagnostic)
	if !ok {
		return nil
	}
	kind, reason := refusals(code)
	return authn.Errorf(kind, reason, "the domain controller refused the bind with code %x", code)
}

// subCode finds the Windows error code in a diagnostic such as
//
//	80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data 52e, v4563
func subCode(diagnostic string) (code uint64, ok bool) {
	_, rest, ok := strings.Cut(diagnostic, "AcceptSecurityContext error, data ")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ",")
	if !ok {
		return 0, false
	}
	code, err := strconv.ParseUint(digits, 16, 32)
	if err != nil {
		return 0, false
	}
	return code, true
}
