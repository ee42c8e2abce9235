package mfa

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/idbridge/idbridge/authn"
)

// The only parameters that every authenticator app understands (RFC 6238 with SHA-1).
const (
	codeDigits = 6
	period     = 30 // seconds
	secretSize = 20 // bytes, as RFC 4226 section 4 recommends
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// step is the time step that a moment belongs to (RFC 6238 section 4.2).
func step(t time.Time) int64 { return t.Unix() / period }

// LastStep is the last time step whose code can be good at a moment.
func LastStep(t time.Time) int64 { return step(t) + 1 }

// totpAt is the code of a secret at a time step.
func totpAt(secret []byte, step int64) (string, error) {
	return hotp.GenerateCodeCustom(base32Text.EncodeToString(secret), uint64(step), //nolint:gosec // steps are positive
		hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
}

func isTOTP(code string) bool {
	return len(code) == codeDigits && strings.Trim(code, "0123456789") == ""
}

func newSecret() []byte {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails; crypto/rand ends the process instead
	return secret
}

// keyURI is what an authenticator app reads from the QR code (the Key URI format). A colon separates issuer and account
// there, so the account may not hold one. Everything is escaped that any app could take for a separator: the library's own
// writer leaves & and + in an issuer as they are, which cuts the name off or shows a blank.
func keyURI(issuer, account string, secret []byte) authn.Secret {
	issuer, account = uriText(issuer), uriText(strings.ReplaceAll(account, ":", "_"))
	return authn.Secret(fmt.Sprintf("otpauth://totp/%s:%s?algorithm=SHA1&digits=%d&issuer=%s&period=%d&secret=%s",
		issuer, account, codeDigits, issuer, period, base32Text.EncodeToString(secret)))
}

// uriText escapes text for path and query alike. A blank is %20: some apps show a plus sign as it is.
func uriText(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// grouped writes text in fours, for people who type it.
func grouped(text, separator string) string {
	var groups []string
	for ; len(text) > 4; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(append(groups, text), separator)
}
