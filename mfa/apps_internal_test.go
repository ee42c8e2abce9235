package mfa

import (
	"encoding/base32"
	"errors"
	"net/url"
	"strings"
	"testing"
)

// What authenticator apps make of a Key URI. None of them can be run here; each reader below does what the app's published
// source or documentation says, so that a URI which one of them would refuse or show wrongly fails a test.

// shown is what an app keeps: who it names, and how it computes codes.
type shown struct {
	issuer, account, secret string
}

// google reads as the Key URI format says (github.com/google/google-authenticator/wiki/Key-Uri-Format): the label is
// ISSUER:ACCOUNT, its issuer should equal the parameter, and neither may hold a colon. The app on the iPhone takes a plus
// sign in the query literally.
func google(uri string) (shown, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return shown{}, err
	}
	label := strings.TrimPrefix(u.Path, "/")
	issuer, account, ok := strings.Cut(label, ":")
	q := u.Query()
	switch {
	case u.Scheme != "otpauth" || u.Host != "totp":
		return shown{}, errors.New("not a TOTP key")
	case !ok || strings.Contains(account, ":"):
		return shown{}, errors.New("the label is not ISSUER:ACCOUNT")
	case q.Get("issuer") != issuer:
		return shown{}, errors.New("issuer in label and query differ")
	case strings.Contains(u.RawQuery, "+"):
		return shown{}, errors.New("a plus sign that would be shown")
	}
	return shown{issuer, strings.TrimSpace(account), q.Get("secret")}, nil
}

// microsoft knows no parameter but secret and issuer: SHA-1, six digits and 30 seconds are all it can. It wants the secret
// in upper case without padding.
func microsoft(uri string) (shown, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return shown{}, err
	}
	q := u.Query()
	for key, only := range map[string]string{"algorithm": "SHA1", "digits": "6", "period": "30"} {
		if v := q.Get(key); v != "" && v != only {
			return shown{}, errors.New(key + " that it cannot do: " + v)
		}
	}
	secret := q.Get("secret")
	if strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return shown{}, errors.New("secret in another alphabet")
	}
	_, account, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), ":")
	if !ok {
		return shown{}, errors.New("no account name")
	}
	return shown{q.Get("issuer"), account, secret}, nil
}

// freeOTP (Token.java) accepts 6 or 8 digits, knows algorithms by these names, takes the issuer from the label, and decodes
// the secret to at least the 16 bytes that version 2 demands.
func freeOTP(uri string) (shown, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return shown{}, err
	}
	q := u.Query()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(q.Get("secret"))
	switch {
	case u.Scheme != "otpauth" || u.Host != "totp" && u.Host != "hotp":
		return shown{}, errors.New("scheme")
	case u.Path == "" || u.Path == "/":
		return shown{}, errors.New("no label")
	case err != nil || len(raw) < 16:
		return shown{}, errors.New("a secret that is too short, or no base32")
	case q.Get("digits") != "6" && q.Get("digits") != "8":
		return shown{}, errors.New("digits")
	case q.Get("algorithm") != "SHA1" && q.Get("algorithm") != "SHA256" && q.Get("algorithm") != "SHA512":
		return shown{}, errors.New("algorithm")
	}
	label := strings.TrimPrefix(u.Path, "/")
	at := strings.Index(label, ":")
	if at < 0 {
		return shown{"", label, q.Get("secret")}, nil
	}
	return shown{label[:at], label[at+1:], q.Get("secret")}, nil
}

func TestAppsUnderstandTheKeyURI(t *testing.T) {
	readers := map[string]func(string) (shown, error){"Google": google, "Microsoft": microsoft, "FreeOTP": freeOTP}
	for _, c := range []struct{ issuer, account, as string }{
		{"idbridge", "ann", "ann"},
		{"Example Ltd & Söhne", "ann.lee+test@example.org", "ann.lee+test@example.org"},
		{"50% off/now?", `EXAMPLE\ann`, `EXAMPLE\ann`},
		{"日本", "josé o'neil", "josé o'neil"},
		{"a+b=c", "x:y", "x_y"},
	} {
		secret := newSecret()
		uri := keyURI(c.issuer, c.account, secret)
		for app, read := range readers {
			want := shown{c.issuer, c.as, base32Text.EncodeToString(secret)}
			if got, err := read(uri.Reveal()); err != nil || got != want {
				t.Errorf("%s of %s: %+v, %v; want %+v", app, uri.Reveal(), got, err, want)
			}
		}
	}
}
