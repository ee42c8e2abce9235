package local

import (
	"crypto/rand"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/idbridge/idbridge/authn"
)

// MinPassword is the least number of characters of a password.
const MinPassword = 14

// minDifferent keeps aaaaaaaaaaaaaa and 12121212121212 from being long passwords.
const minDifferent = 6

// checkPassword says whether an owner may choose a password. Unsuitable.
func checkPassword(username string, current, next authn.Secret) error {
	p := next.Reveal()
	switch {
	case len(p) > authn.MaxPassword || strings.ContainsRune(p, 0) || !utf8.ValidString(p):
		return authn.Errorf(authn.Unsuitable, "malformed_password", "at most %d bytes of text", authn.MaxPassword)
	case utf8.RuneCountInString(p) < MinPassword:
		return authn.Errorf(authn.Unsuitable, "password_too_short", "at least %d characters", MinPassword)
	case strings.Contains(authn.FoldName(p), authn.FoldName(username)):
		return authn.Errorf(authn.Unsuitable, "password_has_username", "it may not contain the user name")
	case different(p) < minDifferent:
		return authn.Errorf(authn.Unsuitable, "password_repeats", "at least %d different characters", minDifferent)
	case next == current:
		return authn.Errorf(authn.Unsuitable, "password_unchanged", "it is the current one")
	}
	return nil
}

func different(p string) int {
	seen := map[rune]bool{}
	for _, r := range p {
		seen[r] = true
	}
	return len(seen)
}

// The letters of a random password: none that looks like another one in print. 20 of 31 are 99 bits.
const (
	proposalAlphabet = "abcdefghjkmnpqrstuvwxyz23456789"
	proposalLetters  = 20
)

// Propose makes a random password, in fours.
func Propose() authn.Secret {
	var b strings.Builder
	for i := range proposalLetters {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(proposalAlphabet)))) // never fails; crypto/rand ends the process instead
		b.WriteByte(proposalAlphabet[n.Int64()])
	}
	return authn.Secret(b.String())
}
