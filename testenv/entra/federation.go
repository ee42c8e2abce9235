package entra

import (
	"encoding/base64"
	"fmt"
	"net/http"
)

// Federation is the SAML side of a tenant: who signs assertions, and where people sign in. The sign-in itself is another
// server's.
type Federation struct {
	Entity, SSO string
	Certificate []byte // DER
}

// federation is the federation metadata of one application. It begins with roles of WS-Federation, as Entra's does.
func (s *Server) federation(w http.ResponseWriter, r *http.Request) {
	list := s.tenant(r.PathValue("tenant"))
	if len(list) != 1 || list[0].SAML == nil || list[0].app(r.URL.Query().Get("appid")) == nil {
		s.refuse(w, 90002)
		return
	}
	f := list[0].SAML
	key := `<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` +
		base64.StdEncoding.EncodeToString(f.Certificate) + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>`
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?>`+
		`<EntityDescriptor ID="_%s" entityID="%s" xmlns="urn:oasis:names:tc:SAML:2.0:metadata">`+
		`<RoleDescriptor xsi:type="fed:SecurityTokenServiceType" `+
		`protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706" `+
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706">%[3]s`+
		`<fed:ClaimTypesOffered><auth:ClaimType Uri="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name" `+
		`xmlns:auth="http://docs.oasis-open.org/wsfed/authorization/200706"><auth:DisplayName>Name</auth:DisplayName>`+
		`</auth:ClaimType></fed:ClaimTypesOffered></RoleDescriptor>`+
		`<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">%[3]s`+
		`<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="%[4]s"/>`+
		`<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="%[4]s"/>`+
		`<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="%[4]s"/>`+
		`</IDPSSODescriptor></EntityDescriptor>`, GUID("metadata"), f.Entity, key, f.SSO)
}
