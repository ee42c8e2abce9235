package mfa

import (
	"context"
	"crypto/subtle"
	"errors"

	"github.com/idbridge/idbridge/authn"
)

// Split takes a trailing code off a typed password: six digits, or a recovery code as it was printed, with all of its
// dashes or with none, in upper or lower case. There must be a password in front of it.
//
// It cannot be ambiguous: the two kinds of code end in different characters, each form has one length, and the last
// 20 characters of the form with dashes contain dashes. What it can be is wrong about a password that happens to end
// like a code; such a user must always add a code, and the platform asks for both at once anyway.
func (s *Service) Split(typed authn.Secret) (password authn.Secret, code string, ok bool) {
	text := typed.Reveal()
	for _, form := range []struct {
		length int
		is     func(string) bool
	}{{codeDigits, isTOTP}, {recoveryPrinted, isRecovery}, {recoveryLetters, isRecovery}} {
		at := len(text) - form.length
		if at > 0 && form.is(text[at:]) {
			return authn.Secret(text[:at]), text[at:], true
		}
	}
	return typed, "", false
}

// Check verifies a code without using it up. The attempt is counted before anything is compared; a right code takes
// back its own count and no other, so that guesses stay counted until a whole sign-in succeeds (Accept).
//
// A code that was right and has been used is refused (code_replayed) but not counted: it is no guess, and a tool left
// open sends it again and again. Kinds: BadCredentials, Locked after too many wrong codes, Unavailable, also when no
// secret of the user can be opened (factor_unopenable).
func (s *Service) Check(ctx context.Context, user authn.ITUser, code string) (authn.FactorProof, error) {
	var proof authn.FactorProof
	err := s.counted(ctx, ThrottleKey(user.Key), func() (err error) {
		switch {
		case isTOTP(code):
			proof, err = s.checkTOTP(ctx, user.Key, code)
		case isRecovery(code):
			proof, err = s.checkRecovery(ctx, user.Key, code)
		default:
			err = refuse(reasonWrong)
		}
		return err
	})
	if err != nil {
		return authn.FactorProof{}, err
	}
	return proof, nil
}

// Reasons of a refused code.
const (
	reasonWrong    = "wrong_code"
	reasonReplayed = "code_replayed"
)

// counted runs one attempt at a code under the throttle.
func (s *Service) counted(ctx context.Context, key string, attempt func() error) error {
	a, err := s.throttle.Begin(ctx, key)
	if err != nil {
		return err
	}
	ended := context.WithoutCancel(ctx)    // a caller that hangs up must not undo the count
	defer func() { _ = a.Failed(ended) }() // only a panic leaves it open until here
	err = attempt()
	if reason := authn.ReasonOf(err); reason == reasonWrong || reason == reasonWrongInvite {
		return errors.Join(err, a.Failed(ended))
	}
	if abandoned := a.Abandoned(ended); abandoned != nil {
		return errors.Join(abandoned, err)
	}
	return storeError(err)
}

func (s *Service) checkTOTP(ctx context.Context, user, code string) (authn.FactorProof, error) {
	devices, err := s.Store.Devices(ctx, user)
	if err != nil {
		return authn.FactorProof{}, err
	}
	var all matched
	var broken error
	opened, proof := false, authn.FactorProof{User: user, Factor: authn.FactorTOTP}
	for _, d := range devices { // no early exit: the time must not tell which device it was
		if d.Confirmed.IsZero() {
			continue
		}
		m, err := s.match(d, code)
		if err != nil {
			broken = err
			continue
		}
		if m.fresh && !all.fresh {
			proof.ID, proof.Step = d.ID, m.step
		}
		opened, all.fresh, all.replayed = true, all.fresh || m.fresh, all.replayed || m.replayed
	}
	switch {
	case all.fresh:
		return proof, nil
	case all.replayed:
		return authn.FactorProof{}, refuse(reasonReplayed)
	case broken != nil && !opened:
		return authn.FactorProof{}, broken
	}
	return authn.FactorProof{}, refuse(reasonWrong)
}

// matched is how a code compares with the codes of one device.
type matched struct {
	fresh    bool // it is valid now and later than the last one accepted
	step     int64
	replayed bool // it is, or was, the last one accepted or an earlier one
}

func (s *Service) match(d Device, code string) (m matched, err error) {
	secret, err := s.Sealer.Open(d.Sealed, SecretAD(d.User, d.ID))
	if err != nil {
		return m, authn.Errorf(authn.Unavailable, "factor_unopenable", "device %s: %w", d.ID, err)
	}
	now := step(s.Now())
	for _, at := range []int64{now - 1, now, now + 1, d.LastStep} {
		right, err := totpAt(secret, at)
		if err != nil {
			return m, authn.Errorf(authn.Unavailable, "factor_unopenable", "device %s: %w", d.ID, err)
		}
		switch equal := subtle.ConstantTimeCompare([]byte(right), []byte(code)) == 1; {
		case equal && at <= d.LastStep:
			m.replayed = true
		case equal && !m.fresh:
			m.fresh, m.step = true, at
		}
	}
	return m, nil
}

func (s *Service) checkRecovery(ctx context.Context, user, code string) (authn.FactorProof, error) {
	codes, err := s.Store.RecoveryCodes(ctx, user)
	if err != nil {
		return authn.FactorProof{}, err
	}
	hash, reason := recoveryHash(user, code), reasonWrong
	proof := authn.FactorProof{}
	for _, c := range codes {
		if subtle.ConstantTimeCompare(hash, c.Hash) != 1 {
			continue
		}
		if reason = reasonReplayed; !c.Used {
			reason, proof = "", authn.FactorProof{User: user, Factor: authn.FactorRecovery, ID: c.ID}
		}
	}
	if reason != "" {
		return authn.FactorProof{}, refuse(reason)
	}
	return proof, nil
}

// Accept uses the code up, and forgets the wrong codes before it: the sign-in it belongs to has succeeded in everything
// else. BadCredentials (code_replayed) when another sign-in has used the code since Check; Unavailable.
func (s *Service) Accept(ctx context.Context, proof authn.FactorProof) error {
	used, err := false, error(nil)
	switch proof.Factor {
	case authn.FactorTOTP:
		used, err = s.Store.UseStep(ctx, proof.ID, proof.Step)
	case authn.FactorRecovery:
		used, err = s.Store.UseRecoveryCode(ctx, proof.ID, s.Now())
	default:
		err = authn.Errorf(authn.Internal, "unknown_factor", "factor %q", proof.Factor)
	}
	switch {
	case err != nil:
		return storeError(err)
	case !used:
		return refuse(reasonReplayed)
	}
	return s.throttle.Clear(ctx, ThrottleKey(proof.User))
}
