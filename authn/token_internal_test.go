package authn

import "testing"

// TestTokenLetters: the right check sum does not make a token of other letters.
func TestTokenLetters(t *testing.T) {
	for _, letters := range []string{"BCDFGHJKLMNPQRSTVWXZ", "ACDFGHJKLMNPQRSTVWXZ", "1CDFGHJKLMNPQRSTVWXZ"} {
		want := letters[0] == 'B'
		if got := isToken(Secret(letters + tokenSum(letters))); got != want {
			t.Errorf("%s: a token: %v, want %v", letters, got, want)
		}
	}
}
