package mfa

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// InvitationStore keeps administrators' enrolment codes, one for each user.
type InvitationStore interface {
	// AddInvitation keeps the hash of a code in the place of the user's earlier one.
	AddInvitation(ctx context.Context, user string, hash []byte, expires time.Time) error
	// UseInvitation removes the user's code if it has that hash and has not expired, and tells whether this call did it.
	UseInvitation(ctx context.Context, user string, hash []byte, now time.Time) (bool, error)
}

// InviteFor is how long an enrolment code may be used.
const InviteFor = 24 * time.Hour

// reasonWrongInvite is the reason of a code that is not the user's last one, was used, or is too old.
const reasonWrongInvite = "wrong_invite"

// Invite makes a one-time enrolment code, with which the user may set up a first second factor on the way of signing in.
// It has as many letters as a recovery code. An earlier one is worth nothing from now on, and a block by wrong codes is
// lifted. It is returned once and kept nowhere. Who may invite is for the caller to decide. Unavailable, Internal.
func (s *Service) Invite(ctx context.Context, user authn.ITUser) (code authn.Secret, expires time.Time, err error) {
	letters, err := randomLetters(recoveryLetters)
	if err != nil {
		return "", time.Time{}, authn.Errorf(authn.Internal, "enrolment", "making a code: %w", err)
	}
	expires = s.Now().Add(InviteFor)
	if err := s.Store.AddInvitation(ctx, user.Key, inviteHash(user.Key, letters), expires); err != nil {
		return "", time.Time{}, storeError(err)
	}
	return authn.Secret(grouped(letters, "-")), expires, s.throttle.Clear(ctx, ThrottleKey(user.Key))
}

// Redeem uses an enrolment code up. The attempt is counted, with the codes of the user's second factor, before anything is
// compared. BadCredentials (wrong_invite) when it is wrong, used or too old; Locked after too many; Unavailable.
func (s *Service) Redeem(ctx context.Context, user authn.ITUser, code authn.Secret) error {
	letters := strings.ReplaceAll(strings.ToUpper(code.Reveal()), "-", "")
	return s.counted(ctx, ThrottleKey(user.Key), func() error {
		used, err := s.Store.UseInvitation(ctx, user.Key, inviteHash(user.Key, letters), s.Now())
		if err == nil && !used {
			return refuse(reasonWrongInvite)
		}
		return err
	})
}

func inviteHash(user, letters string) []byte {
	sum := sha256.Sum256([]byte("idbridge enrolment code\x00" + user + "\x00" + letters))
	return sum[:]
}
