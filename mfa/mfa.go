// Package mfa is the second factor: time-based one-time codes (TOTP, RFC 6238) and recovery codes.
//
// It decides what a right code is, that it is right only once, and how many guesses there are; it enrols devices and
// makes recovery codes. It leaves to others who must have a factor at the door (authn asks Policy), who may enrol
// whom (the callers of Enrol and Reset), where rows are kept (store) and how secrets are sealed (keyring).
package mfa

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Device is one authenticator: a TOTP secret in somebody's telephone.
type Device struct {
	ID        string
	User      string // ITUser.Key
	Sealed    []byte // the secret, bound to User and ID
	Created   time.Time
	Confirmed time.Time // zero until the first valid code; until then it is no factor
	LastStep  int64     // the time step of the last code that was accepted
	Name      string    // its owner's own words
}

// RecoveryCode is a printed code as it is kept.
type RecoveryCode struct {
	ID   string
	Hash []byte
	Used bool
}

// DeviceStore is what a sign-in needs of devices.
type DeviceStore interface {
	// Devices returns all devices of a user, oldest first.
	Devices(ctx context.Context, user string) ([]Device, error)
	// UseStep sets a confirmed device's last step if step is greater, and tells whether it was: of any number of
	// callers on any number of nodes exactly one is told so.
	UseStep(ctx context.Context, device string, step int64) (bool, error)
}

// RecoveryStore is what a sign-in needs of recovery codes.
type RecoveryStore interface {
	// RecoveryCodes returns all codes of a user, used or not.
	RecoveryCodes(ctx context.Context, user string) ([]RecoveryCode, error)
	// UseRecoveryCode marks a code as used, and tells whether this call did it.
	UseRecoveryCode(ctx context.Context, id string, at time.Time) (bool, error)
}

// EnrolmentStore is what enrolling needs. Each call is one transaction. AddDevice and ConfirmDevice call CheckLimit in
// it with the number of devices that the user has confirmed, return its error as it is, and change nothing then.
type EnrolmentStore interface {
	// AddDevice keeps an unconfirmed device in place of the user's other unconfirmed ones.
	AddDevice(ctx context.Context, d Device) error
	// ConfirmDevice confirms a device that is not yet, with the step of its first code, and keeps the recovery codes
	// unless the user has unused ones. It tells whether this call confirmed the device, and whether it kept the codes.
	ConfirmDevice(ctx context.Context, d Device, codes []RecoveryCode) (confirmed, kept bool, err error)
	// RemoveFactors removes a user's devices, recovery codes and enrolment code, and tells how many confirmed devices
	// there were.
	RemoveFactors(ctx context.Context, user string) (int, error)
}

// Holder is an IT user who has a second factor.
type Holder struct {
	Username      string `json:"user"`
	Devices       int    `json:"devices"`        // confirmed ones
	RecoveryCodes int    `json:"recovery_codes"` // unused ones
}

// Roster is what an administrator's overview needs.
type Roster interface {
	// Holders returns everybody with a confirmed device, by user name.
	Holders(ctx context.Context) ([]Holder, error)
}

// Store is everything a Service keeps.
type Store interface {
	Roster
	DeviceStore
	RecoveryStore
	EnrolmentStore
	ManagementStore
	InvitationStore
}

// Sealer keeps secrets readable for us alone; ad is what a secret is bound to.
type Sealer interface {
	Seal(plain, ad []byte) ([]byte, error)
	Open(sealed, ad []byte) ([]byte, error)
}

// Config is what a Service is made of; every field is required.
type Config struct {
	Store    Store
	Sealer   Sealer
	Throttle *authn.Throttle // counts wrong codes; shared by every door
	Issuer   string          // shown by authenticator apps above the code, for instance "idbridge Example Ltd"
	Now      func() time.Time
}

// Service verifies codes and enrols devices. It implements authn.SecondFactors and is safe for concurrent use.
type Service struct {
	Config
	throttle *authn.Throttle
}

var (
	_ authn.SecondFactors = (*Service)(nil)
	_ authn.Enroller      = (*Service)(nil)
)

// New validates the configuration; it reads nothing.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Sealer == nil || c.Throttle == nil || c.Now == nil {
		return nil, errors.New("mfa: Config lacks Store, Sealer, Throttle or Now")
	}
	if strings.TrimSpace(c.Issuer) == "" || strings.Contains(c.Issuer, ":") {
		return nil, errors.New("mfa: the issuer must be a name without a colon")
	}
	return &Service{Config: c, throttle: c.Throttle.Strict()}, nil
}

// ThrottleKey is the key under which wrong codes of an IT user are counted.
func ThrottleKey(user string) string { return authn.CodeKey(user) }

// SecretAD is what a device's sealed secret is bound to: moved to another user's row it does not open.
func SecretAD(user, device string) []byte { return []byte("totp:" + user + ":" + device) }

func refuse(reason string) error { return &authn.Error{Kind: authn.BadCredentials, Reason: reason} }

// storeError makes a store's error Unavailable unless it has a kind already: without the store no code is accepted, and
// nobody is blamed.
func storeError(err error) error {
	var known *authn.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return authn.Errorf(authn.Unavailable, "store_unavailable", "second factors: %w", err)
}
