package plugin

import (
	_ "embed"
	"strings"
)

// The platform validates the WSDL against its contract before it uses a plugin, so the text is kept byte by byte; only
// the plugin's name, the address and the line below are filled in.
//
//go:embed OSPlatformAuthentication.wsdl
var wsdlText string

// userIdentifier is the platform's User Identifier. Newer documentation says s:long; the digits on the wire are the
// same.
const userIdentifier = "s:int"

const serviceFile = "OSPlatformAuthentication.asmx"

// wsdl is the service's description for one plugin name, at one address.
func wsdl(pluginName, address string) []byte {
	var w buffer
	w.text(address)
	return []byte(strings.NewReplacer(
		"$NAME", pluginName, "$ADDRESS", w.String(), "$USER_IDENTIFIER", userIdentifier).Replace(wsdlText))
}
