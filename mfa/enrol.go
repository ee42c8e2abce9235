package mfa

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/idbridge/idbridge/authn"
)

const (
	// EnrolWithin is how long an enrolment waits for its first code.
	EnrolWithin = 10 * time.Minute
	// MaxDevices is how many confirmed devices a user may have; each costs every guess three chances.
	MaxDevices = 5
)

// Enrolment is a new secret, shown once. It is no factor before Confirm.
type Enrolment struct {
	ID     string
	URI    authn.Secret // otpauth://, for the QR code
	Secret authn.Secret // base32 in fours, for typing
}

// Enrol makes a secret for one more device of the user. It takes the place of an enrolment that was begun and not
// confirmed. Who may enrol is for the caller to decide. Locked (too_many_devices), Unavailable, Internal.
func (s *Service) Enrol(ctx context.Context, user authn.ITUser) (Enrolment, error) {
	secret, id := newSecret(), rand.Text()
	sealed, err := s.Sealer.Seal(secret, SecretAD(user.Key, id))
	if err != nil {
		return Enrolment{}, authn.Errorf(authn.Internal, "enrolment", "sealing the secret: %w", err)
	}
	err = s.Store.AddDevice(ctx, Device{ID: id, User: user.Key, Sealed: sealed, Created: s.Now()})
	typed := authn.Secret(grouped(base32Text.EncodeToString(secret), " "))
	return Enrolment{ID: id, URI: keyURI(s.Issuer, user.Username, secret), Secret: typed}, storeError(err)
}

// CheckLimit refuses one more device beside those that are confirmed: Locked (too_many_devices). The store asks inside
// its transaction, so that two nodes that enrol at once cannot pass the limit together.
func CheckLimit(confirmed int) error {
	if confirmed < MaxDevices {
		return nil
	}
	return authn.Errorf(authn.Locked, "too_many_devices", "%d devices are enrolled; reset them first", confirmed)
}

// Confirm makes the device a factor, with its first valid code, which is thereby used up. It returns new recovery
// codes, which are never shown again, unless the user has unused ones. BadCredentials (wrong_code, no_enrolment,
// enrolment_expired), Locked after too many wrong codes or with too_many_devices, Unavailable, Internal.
func (s *Service) Confirm(
	ctx context.Context, user authn.ITUser, id, code string,
) (recovery []authn.Secret, err error) {
	err = s.counted(ctx, "enrol:"+user.Key, func() error {
		recovery, err = s.confirm(ctx, user, id, code)
		return err
	})
	if err != nil {
		return nil, err
	}
	return recovery, nil
}

func (s *Service) confirm(ctx context.Context, user authn.ITUser, id, code string) ([]authn.Secret, error) {
	devices, err := s.Store.Devices(ctx, user.Key)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(devices, func(d Device) bool { return d.ID == id && d.Confirmed.IsZero() })
	switch {
	case at < 0:
		return nil, refuse("no_enrolment")
	case s.Now().Sub(devices[at].Created) > EnrolWithin:
		return nil, refuse("enrolment_expired")
	case !isTOTP(code):
		return nil, refuse(reasonWrong)
	}
	m, err := s.match(devices[at], code)
	if err != nil {
		return nil, err
	}
	if !m.fresh {
		return nil, refuse(reasonWrong)
	}
	d := devices[at]
	d.Confirmed, d.LastStep = s.Now(), m.step
	return s.keep(ctx, d)
}

func (s *Service) keep(ctx context.Context, d Device) ([]authn.Secret, error) {
	shown, codes, err := newRecoveryCodes(d.User)
	if err != nil {
		return nil, err
	}
	confirmed, kept, err := s.Store.ConfirmDevice(ctx, d, codes)
	switch {
	case err != nil:
		return nil, err
	case !confirmed: // another caller was faster
		return nil, refuse("no_enrolment")
	case !kept:
		return nil, nil
	}
	return shown, nil
}

// Devices returns the user's confirmed devices, oldest first, without their secrets.
func (s *Service) Devices(ctx context.Context, user authn.ITUser) ([]Device, error) {
	devices, err := s.Store.Devices(ctx, user.Key)
	if err != nil {
		return nil, storeError(err)
	}
	devices = slices.DeleteFunc(devices, func(d Device) bool { return d.Confirmed.IsZero() })
	for i := range devices {
		devices[i].Sealed = nil
	}
	return devices, nil
}

// Holders returns everybody who has a second factor, by user name. Unavailable.
func (s *Service) Holders(ctx context.Context) ([]Holder, error) {
	holders, err := s.Store.Holders(ctx)
	return holders, storeError(err)
}

// RecoveryLeft counts the user's unused recovery codes.
func (s *Service) RecoveryLeft(ctx context.Context, user authn.ITUser) (int, error) {
	codes, err := s.Store.RecoveryCodes(ctx, user.Key)
	n := 0
	for _, c := range codes {
		if !c.Used {
			n++
		}
	}
	return n, storeError(err)
}

// Reset removes the user's devices, recovery codes and enrolment code, and lifts a block by wrong codes. It tells how many
// devices there were. The user then has no second factor.
func (s *Service) Reset(ctx context.Context, user authn.ITUser) (int, error) {
	n, err := s.Store.RemoveFactors(ctx, user.Key)
	if err != nil {
		return 0, storeError(err)
	}
	return n, s.throttle.Clear(ctx, ThrottleKey(user.Key))
}
