package ldap

import (
	"context"
	"errors"
	"fmt"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// Reasons of refusals made here; docs/errors.md explains them to operators.
const (
	reasonUnknownUser    = "unknown_user"
	reasonAmbiguousUser  = "ambiguous_user"
	reasonMalformedName  = "malformed_username"
	reasonEmptyPassword  = "empty_password"
	reasonMalformedPass  = "malformed_password"
	reasonWrongPassword  = "wrong_password"
	reasonExpired        = "password_expired"
	reasonMustChange     = "password_must_change"
	reasonLocked         = "account_locked"
	reasonDisabled       = "account_disabled"
	reasonUnreachable    = "directory_unreachable" // no server could be connected to, or the connection broke
	reasonSilent         = "directory_silent"      // connected, but no answer in time
	reasonBusy           = "directory_busy"        // the server said so, or all connections to it stayed in use
	reasonConfig         = "directory_config"      // it answers, but not to what this configuration asks
	reasonServiceAccount = "service_account"
	reasonBadAnswer      = "directory_bad_answer" // not LDAP, too large, or not what was asked for
	reasonGroups         = "groups_incomplete"
	reasonChanged        = "account_changed" // between the search and the bind
	reasonUnsuitable     = "password_unsuitable"
	reasonCannotChange   = "password_change_forbidden"
)

// maxDiagnostic cuts the server's own words in our errors.
const maxDiagnostic = 200

// resultCode is the code of an answer of the server; ok is false where there was no answer at all (network, garbage).
func resultCode(err error) (code uint16, ok bool) {
	var e *goldap.Error
	if errors.As(err, &e) && e.ResultCode < goldap.ErrorNetwork {
		return e.ResultCode, true
	}
	return 0, false
}

// describe puts a server's answer in one short line.
func describe(err error) string {
	s := err.Error()
	if len(s) > maxDiagnostic {
		s = s[:maxDiagnostic] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// fromResult turns an answer that is about neither user nor password into an error: none of these counts as an attempt.
func fromResult(server string, err error) *authn.Error {
	code, _ := resultCode(err)
	reason := reasonBusy
	switch code {
	case goldap.LDAPResultStrongAuthRequired, goldap.LDAPResultConfidentialityRequired, goldap.LDAPResultNoSuchObject,
		goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultReferral, goldap.LDAPResultInvalidDNSyntax,
		goldap.LDAPResultAuthMethodNotSupported, goldap.LDAPResultUnavailableCriticalExtension,
		goldap.LDAPResultOperationsError, goldap.LDAPResultInappropriateAuthentication,
		goldap.LDAPResultInappropriateMatching, goldap.LDAPResultUndefinedAttributeType:
		reason = reasonConfig
	case goldap.LDAPResultProtocolError, goldap.LDAPResultOther:
		reason = reasonBadAnswer
	}
	return authn.Errorf(authn.Unavailable, reason, "%s answered %s", server, describe(err))
}

// fromNetwork says why there was no answer: a deadline, our cap, garbage, or a broken connection.
func fromNetwork(ctx context.Context, c *conn, err error) *authn.Error {
	server := c.server.url
	switch {
	case ctx.Err() != nil && c.stream.received():
		return authn.Errorf(authn.Unavailable, reasonSilent, "%s sent %d bytes and no whole answer in time: %w", server,
			c.stream.read.Load(), context.Cause(ctx))
	case ctx.Err() != nil:
		return authn.Errorf(authn.Unavailable, reasonSilent, "%s did not answer in time: %w", server, context.Cause(ctx))
	case c.stream.overrun.Load():
		return authn.Errorf(authn.Unavailable, reasonBadAnswer, "%s sent more than %d bytes for one request", server, maxAnswer)
	case c.stream.received():
		return authn.Errorf(authn.Unavailable, reasonBadAnswer, "%s sent no valid answer: %s", server, describe(err))
	}
	return authn.Errorf(authn.Unavailable, reasonUnreachable, "%s closed the connection: %s", server, describe(err))
}
