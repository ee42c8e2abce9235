package saml

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

func deflate(raw []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	w.Write(raw)
	w.Close()
	return b.Bytes()
}

func TestDecodeRedirect(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	largest := bytes.Repeat([]byte("x"), maxMessage)
	for name, tt := range map[string]struct {
		parameter, want, reason string
	}{
		"a message":       {parameter: encode(deflate([]byte("<a/>"))), want: "<a/>"},
		"the largest":     {parameter: encode(deflate(largest)), want: string(largest)},
		"a bomb":          {parameter: encode(deflate(append(largest, 'x'))), reason: "message_too_large"},
		"not compressed":  {parameter: encode([]byte("<a/>")), reason: "bad_deflate"},
		"cut off":         {parameter: encode(deflate([]byte("<a/>"))[:3]), reason: "bad_deflate"},
		"more behind":     {parameter: encode(append(deflate([]byte("<a/>")), "<b/>"...)), reason: "bad_deflate"},
		"not base64":      {parameter: "!", reason: "bad_base64"},
		"URL-safe base64": {parameter: "__-_", reason: "bad_base64"},
		"too long":        {parameter: strings.Repeat("A", maxMessage*2), reason: "message_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeRedirect(tt.parameter)
			if string(got) != tt.want || err != nil && authn.ReasonOf(err) != tt.reason || err == nil && tt.reason != "" {
				t.Errorf("got %d bytes, %v; want %d, %q", len(got), err, len(tt.want), tt.reason)
			}
		})
	}
}

func TestDecodePost(t *testing.T) {
	broken := "PG\r\nEv\nPg=="
	if got, err := decodePost(broken); string(got) != "<a/>" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := decodePost("PG Ev"); got != nil || authn.ReasonOf(err) != "bad_base64" {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte("<a/>"))
	f.Add(deflate([]byte("<a/>")))
	f.Add(deflate(make([]byte, 1<<20)))
	f.Fuzz(func(t *testing.T, compressed []byte) {
		raw, err := decodeRedirect(base64.StdEncoding.EncodeToString(compressed))
		if len(raw) > maxMessage || err != nil && (raw != nil || authn.KindOf(err) != authn.Untrusted) {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
	})
}
