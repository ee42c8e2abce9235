package saml

import (
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/beevik/etree"
)

// redirected is a message that came in a query (saml-bindings 3.4.4): its parts decoded, and what the signature covers as
// it was sent. To write it anew would be to guess how the sender escapes.
type redirected struct {
	field      string // SAMLRequest or SAMLResponse
	value      string
	relayState string
	algorithm  string
	signature  []byte // nil: not signed
	covered    string
}

// takeApart reads a query. Each part may come once: of two, the signature could be of the other one.
func takeApart(query string) (r redirected, err error) {
	raw := map[string]string{}
	for _, part := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature":
			if _, twice := raw[name]; twice {
				return r, refuse("no_message", "%s comes twice", name)
			}
			raw[name] = value
		}
	}
	for _, name := range []string{"SAMLRequest", "SAMLResponse"} {
		if _, given := raw[name]; given && r.field != "" {
			return r, refuse("no_message", "a request and a response at once")
		} else if given {
			r.field = name
		}
	}
	if r.field == "" {
		return r, refuse("no_message", "no SAMLRequest and no SAMLResponse")
	}
	return r, r.decode(raw)
}

func (r *redirected) decode(raw map[string]string) (err error) {
	signature := ""
	for name, into := range map[string]*string{
		r.field: &r.value, "RelayState": &r.relayState, "SigAlg": &r.algorithm, "Signature": &signature,
	} {
		if *into, err = url.QueryUnescape(raw[name]); err != nil {
			return refuse("bad_base64", "%s: %w", name, err)
		}
	}
	r.covered = r.field + "=" + raw[r.field]
	if relay, given := raw["RelayState"]; given {
		r.covered += "&RelayState=" + relay
	}
	r.covered += "&SigAlg=" + raw["SigAlg"]
	if r.signature, err = base64.StdEncoding.DecodeString(signature); err != nil {
		return refuse("signature_shape", "Signature: %w", err)
	}
	return nil
}

// verifyDetached verifies the signature of a query.
func (t trust) verifyDetached(r redirected) (*x509.Certificate, error) {
	if len(r.signature) == 0 {
		return nil, refuse("not_signed", "the query has no Signature")
	}
	named := etree.NewElement("SignatureMethod")
	named.CreateAttr("Algorithm", r.algorithm)
	algorithm, err := t.method(named)
	if err != nil {
		return nil, err
	}
	for _, c := range t.certificates {
		if strong(c) && c.CheckSignature(algorithm, []byte(r.covered), inDER(r.signature, c)) == nil {
			return c, nil
		}
	}
	return nil, refuse("unknown_signer", "no configured certificate made this signature of the query")
}
