package authn

import (
	"net/netip"
	"strings"
)

// What failed attempts are counted under. The first word of a key says what failed.
const (
	CountedPassword = "subject" // passwords of an account
	CountedName     = "name"    // passwords under a name that no account has
	CountedToken    = "token"   // sign-in tokens under a name
	CountedCode     = "factor"  // codes of an IT user
	CountedAddress  = "address" // anything from a network address
)

// ThrottleKey is the key under which failed passwords of an account are counted.
func ThrottleKey(provider, subject string) string {
	return CountedPassword + ":" + provider + ":" + subject
}

// NameKey is the key under which passwords are counted that were tried under a name no account of the provider has.
func NameKey(provider, name string) string {
	return CountedName + ":" + provider + ":" + FoldName(name)
}

// TokenThrottleKey is the key under which unknown sign-in tokens of a name are counted.
func TokenThrottleKey(username string) string { return CountedToken + ":" + FoldName(username) }

// CodeKey is the key under which wrong codes of an IT user are counted, by the user's own key.
func CodeKey(user string) string { return CountedCode + ":" + user }

// AddressKey is the key under which failures of an address are counted: of IPv6 its network, as one person has all of it.
func AddressKey(a netip.Addr) string {
	if !a.IsValid() {
		return CountedAddress + ":unknown"
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	network, _ := a.Prefix(bits) // of a valid address it is one
	return CountedAddress + ":" + network.String()
}

// Counted is a throttle key taken apart.
type Counted struct {
	What     string // CountedPassword ...
	Provider string // of passwords
	Of       string // subject, folded user name, key of an IT user, or network
}

// ParseCounted takes a throttle key apart.
func ParseCounted(key string) (c Counted) {
	c.What, c.Of, _ = strings.Cut(key, ":")
	if c.What == CountedPassword || c.What == CountedName {
		c.Provider, c.Of, _ = strings.Cut(c.Of, ":")
	}
	return c
}
