package mfa

import (
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// A recovery code is 20 letters out of 20, printed in fours: 20 · log2(20) = 86 bits. The letters are the platform's
// own for such codes: no vowels, so no words, and nothing that looks like a digit.
const (
	recoveryAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	recoveryLetters  = 20
	recoveryPrinted  = recoveryLetters + 4 // with dashes
	recoveryCount    = 10
)

// isRecovery recognises a code as it was printed, with all dashes or none, in upper or lower case.
func isRecovery(code string) bool {
	letters := strings.ToUpper(code)
	if len(code) == recoveryPrinted {
		letters = strings.ReplaceAll(letters, "-", "")
		if !strings.EqualFold(grouped(letters, "-"), code) {
			return false
		}
	}
	return len(letters) == recoveryLetters && strings.Trim(letters, recoveryAlphabet) == ""
}

// recoveryHash is how a code is kept. A plain hash is enough: with 86 random bits there is nothing a slow one would
// protect from guessing. The user is part of it, so a row that is moved to another user is worth nothing there.
func recoveryHash(user, code string) []byte {
	letters := strings.ReplaceAll(strings.ToUpper(code), "-", "")
	sum := sha256.Sum256([]byte("idbridge recovery code\x00" + user + "\x00" + letters))
	return sum[:]
}

// newRecoveryCodes makes a set of codes: as they are shown, once, and as they are kept.
func newRecoveryCodes(user string) (shown []authn.Secret, kept []RecoveryCode, err error) {
	for range recoveryCount {
		letters, err := randomLetters(recoveryLetters)
		if err != nil {
			return nil, nil, err
		}
		code := grouped(letters, "-")
		shown = append(shown, authn.Secret(code))
		kept = append(kept, RecoveryCode{ID: rand.Text(), Hash: recoveryHash(user, code)})
	}
	return shown, kept, nil
}

func randomLetters(n int) (string, error) {
	letters := make([]byte, n)
	for i := range letters {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(recoveryAlphabet))))
		if err != nil {
			return "", err
		}
		letters[i] = recoveryAlphabet[n.Int64()]
	}
	return string(letters), nil
}
