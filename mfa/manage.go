package mfa

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/idbridge/idbridge/authn"
)

// ManagementStore is what users do with the factors that they have. Each call is one transaction.
type ManagementStore interface {
	// NameDevice gives a user's device a name, and tells whether the user has such a device.
	NameDevice(ctx context.Context, user, device, name string) (bool, error)
	// RemoveDevice removes a user's confirmed device, the only one just if last is true, and with that one the recovery
	// codes. It tells whether it was removed.
	RemoveDevice(ctx context.Context, user, device string, last bool) (bool, error)
	// ReplaceRecoveryCodes keeps codes in the place of all that the user has, and tells whether it did: not without a
	// confirmed device, for they would be a factor that nobody can see.
	ReplaceRecoveryCodes(ctx context.Context, user string, codes []RecoveryCode) (bool, error)
}

const maxDeviceName = 64 // characters

// Name gives a device the name by which its owner knows it; control characters and what is too long are left out.
// BadCredentials (no_device), Unavailable.
func (s *Service) Name(ctx context.Context, user authn.ITUser, device, name string) error {
	name = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.IsSpace(r) {
			return r
		}
		return -1
	}, name)), " ")
	if runes := []rune(name); len(runes) > maxDeviceName {
		name = string(runes[:maxDeviceName])
	}
	named, err := s.Store.NameDevice(ctx, user.Key, device, name)
	if err == nil && !named {
		return refuse("no_device")
	}
	return storeError(err)
}

// Remove removes one device. Its owner has proven, with a code, that they may. last says whether it may be the only one.
// BadCredentials (no_device) when there is none, or it is the only one; Unavailable.
func (s *Service) Remove(ctx context.Context, user authn.ITUser, device string, last bool) error {
	removed, err := s.Store.RemoveDevice(ctx, user.Key, device, last)
	if err == nil && !removed {
		return refuse("no_device")
	}
	return storeError(err)
}

// RenewRecovery makes recovery codes in the place of those that the user has. They are never shown again.
// BadCredentials (no_device) without a confirmed device, Unavailable.
func (s *Service) RenewRecovery(ctx context.Context, user authn.ITUser) ([]authn.Secret, error) {
	shown, codes, err := newRecoveryCodes(user.Key)
	if err != nil {
		return nil, storeError(err)
	}
	kept, err := s.Store.ReplaceRecoveryCodes(ctx, user.Key, codes)
	switch {
	case err != nil:
		return nil, storeError(err)
	case !kept:
		return nil, refuse("no_device")
	}
	return shown, nil
}

// LastUsed is when a code of the device was accepted the last time, to the half minute; its confirmation counts.
func (d Device) LastUsed() time.Time { return time.Unix(d.LastStep*period, 0) }
