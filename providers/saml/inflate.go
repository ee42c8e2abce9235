package saml

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"io"
)

// decodePost is the XML of a message that came by the POST binding (Bindings 3.5.4).
func decodePost(field string) ([]byte, error) {
	if len(field) > maxMessage/3*4+4096 { // some break the lines of base64
		return nil, refuse("message_too_large", "more than %d bytes", maxMessage)
	}
	raw, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		return nil, refuse("bad_base64", "%w", err)
	}
	return raw, nil
}

// decodeRedirect is the XML of a message that came by the redirect binding (Bindings 3.4.4.1), deflated. However small it
// came, it is read no further than a message may be long.
func decodeRedirect(parameter string) ([]byte, error) {
	compressed, err := decodePost(parameter)
	if err != nil {
		return nil, err
	}
	in := bytes.NewReader(compressed)
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(in), maxMessage+1))
	switch {
	case err != nil:
		return nil, refuse("bad_deflate", "%w", err)
	case len(raw) > maxMessage:
		return nil, refuse("message_too_large", "more than %d bytes once inflated", maxMessage)
	case in.Len() > 0:
		return nil, refuse("bad_deflate", "%d bytes behind the end", in.Len())
	}
	return raw, nil
}
