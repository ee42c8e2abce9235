package authn

import (
	"net/netip"
	"testing"
)

// TestParseCounted: what a key is made of can be told from it.
func TestParseCounted(t *testing.T) {
	for key, want := range map[string]Counted{
		ThrottleKey("corp", "S-1:2"):                       {CountedPassword, "corp", "S-1:2"},
		NameKey("corp", "ÄNN"):                             {CountedName, "corp", "änn"},
		TokenThrottleKey("Ann"):                            {CountedToken, "", "ann"},
		CodeKey("K1"):                                      {CountedCode, "", "K1"},
		AddressKey(netip.MustParseAddr("192.0.2.7")):       {CountedAddress, "", "192.0.2.7/32"},
		AddressKey(netip.MustParseAddr("2001:db8::1")):     {CountedAddress, "", "2001:db8::/64"},
		AddressKey(netip.MustParseAddr("2001:db8::9:9")):   {CountedAddress, "", "2001:db8::/64"},
		AddressKey(netip.Addr{}):                           {CountedAddress, "", "unknown"},
		"something else that nobody here has ever written": {What: "something else that nobody here has ever written"},
	} {
		if got := ParseCounted(key); got != want {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
}
