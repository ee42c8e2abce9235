package authn

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of what a person can type. Longer texts are refused before anything is asked.
const (
	MaxUsername = 256  // bytes
	MaxPassword = 1024 // bytes
)

// checkUsername refuses names that two systems could read differently. Everything else is taken literally.
func checkUsername(name string) error {
	problem := ""
	switch {
	case name == "":
		problem = "empty"
	case len(name) > MaxUsername:
		problem = "too long"
	case !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError):
		problem = "not UTF-8"
	case strings.TrimSpace(name) != name:
		problem = "space around it"
	case strings.ContainsFunc(name, hidden):
		problem = "control or invisible characters"
	case !norm.NFC.IsNormalString(name):
		problem = "not in Unicode normal form C"
	default:
		return nil
	}
	return Errorf(BadCredentials, "malformed_username", "user name: %s", problem)
}

// hidden are characters that do not show but would make a different name.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// checkPassword refuses what must never reach a source: an LDAP bind with an empty password succeeds as anonymous. A
// password is never trimmed, normalised or escaped.
func checkPassword(p Secret) error {
	switch {
	case p == "":
		return &Error{Kind: BadCredentials, Reason: "empty_password"}
	case len(p) > MaxPassword:
		return &Error{Kind: BadCredentials, Reason: "password_too_long"}
	case strings.ContainsRune(string(p), 0), strings.ContainsRune(string(p), utf8.RuneError), !utf8.ValidString(string(p)):
		return &Error{Kind: BadCredentials, Reason: "malformed_password"}
	}
	return nil
}

// FoldName is the form in which two spellings of one user name are equal: NFC, lower case.
func FoldName(name string) string { return strings.ToLower(norm.NFC.String(name)) }
