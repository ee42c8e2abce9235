//go:build !race

package saml

// slower is 1 without the race detector.
const slower = 1
