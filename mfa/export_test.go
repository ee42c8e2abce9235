package mfa

import (
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// InviteHash is how an enrolment code is kept.
func InviteHash(user string, code authn.Secret) []byte {
	return inviteHash(user, strings.ReplaceAll(code.Reveal(), "-", ""))
}
