package saml

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// aKey makes a key with its certificate.
func aKey(t testing.TB, bits int) ownKey {
	t.Helper()
	key, err := makeKey(bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// lonersKey signs for every identity provider that a test itself is: to make one takes longer than most tests.
var lonersKey = sync.OnceValues(func() (ownKey, error) { return makeKey(2048) })

func makeKey(bits int) (ownKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return ownKey{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return ownKey{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	return ownKey{private: private, certificate: certificate}, err
}

// described is metadata with the parts that tests vary.
type described struct{ id, attributes, role, keys, endpoints string }

func (d described) String() string {
	return fmt.Sprintf(`<md:EntityDescriptor xmlns:md="%s" xmlns:ds="%s" ID="_m" entityID="%s" %s>`+
		`<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" %s>%s%s</md:IDPSSODescriptor></md:EntityDescriptor>`,
		nsMetadata, nsSignature, d.id, d.attributes, d.role, d.keys, d.endpoints)
}

func keyDescriptor(use string, c *x509.Certificate) string {
	return `<md:KeyDescriptor` + use + `><ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(c.Raw) +
		`</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`
}

func service(kind, binding, location string) string {
	return fmt.Sprintf(`<md:%s Binding="urn:oasis:names:tc:SAML:2.0:bindings:%s" Location="%s"/>`, kind, binding, location)
}

const idpID = "https://idp.example.test"

func TestMetadataIsRead(t *testing.T) {
	one, two, weak := aKey(t, 2048), aKey(t, 2048), aKey(t, 1024)
	sso := service("SingleSignOnService", "HTTP-Redirect", idpID+"/sso")
	good := described{id: idpID, keys: keyDescriptor("", one.certificate), endpoints: sso}
	vary := func(change func(*described)) string {
		d := good
		change(&d)
		return d.String()
	}
	until := func(at time.Time) string { return fmt.Sprintf(`validUntil="%s"`, at.UTC().Format(time.RFC3339)) }
	federation := func(inner ...string) string {
		return `<md:EntitiesDescriptor xmlns:md="` + nsMetadata + `" ` + until(time.Now().Add(time.Hour)) + `>` + strings.Join(inner, "") + `</md:EntitiesDescriptor>`
	}
	other := vary(func(d *described) { d.id = "https://other.example.test" })
	for name, c := range map[string]struct {
		text   string
		pins   []*x509.Certificate
		reason string // "" when it is taken
	}{
		"plain":                        {text: good.String()},
		"valid for an hour":            {text: vary(func(d *described) { d.attributes = until(time.Now().Add(time.Hour)) })},
		"of a federation":              {text: federation(other, good.String())},
		"comments and declarations":    {text: `<?xml version="1.0"?><!-- made by hand -->` + good.String()},
		"pinned":                       {text: good.String(), pins: []*x509.Certificate{one.certificate}},
		"a weak key beside a good one": {text: vary(func(d *described) { d.keys += keyDescriptor("", weak.certificate) })},

		"another entityID":          {text: other, reason: "metadata_other_entity"},
		"twice in a federation":     {text: federation(good.String(), good.String()), reason: "metadata_other_entity"},
		"not in the federation":     {text: federation(other), reason: "metadata_other_entity"},
		"no longer valid":           {text: vary(func(d *described) { d.attributes = until(time.Now().Add(-time.Second)) }), reason: "metadata_expired"},
		"role no longer valid":      {text: vary(func(d *described) { d.role = until(time.Now().Add(-time.Second)) }), reason: "metadata_expired"},
		"validUntil is no time":     {text: vary(func(d *described) { d.attributes = `validUntil="soon"` }), reason: "metadata_malformed"},
		"cacheDuration is none":     {text: vary(func(d *described) { d.attributes = `cacheDuration="4h"` }), reason: "metadata_malformed"},
		"document type":             {text: `<!DOCTYPE x [<!ENTITY a "b">]>` + good.String(), reason: "metadata_malformed"},
		"too long":                  {text: good.String() + strings.Repeat(" ", MaxMetadata), reason: "metadata_malformed"},
		"too deep":                  {text: strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40), reason: "metadata_malformed"},
		"too many elements":         {text: "<a>" + strings.Repeat("<b/>", 20_001) + "</a>", reason: "metadata_malformed"},
		"no XML":                    {text: "<html><p>Sign in", reason: "metadata_malformed"},
		"nothing":                   {text: "", reason: "metadata_malformed"},
		"no certificate":            {text: vary(func(d *described) { d.keys = "" }), reason: "metadata_malformed"},
		"only one to encrypt with":  {text: vary(func(d *described) { d.keys = keyDescriptor(` use="encryption"`, one.certificate) }), reason: "metadata_malformed"},
		"only a weak key":           {text: vary(func(d *described) { d.keys = keyDescriptor("", weak.certificate) }), reason: "metadata_malformed"},
		"only one that is not ours": {text: good.String(), pins: []*x509.Certificate{two.certificate}, reason: "metadata_malformed"},
		"no address":                {text: vary(func(d *described) { d.endpoints = "" }), reason: "metadata_malformed"},
		"address without TLS": {text: vary(func(d *described) {
			d.endpoints = service("SingleSignOnService", "HTTP-Redirect", "http://idp.example.test/")
		}), reason: "metadata_malformed"},
		"address that is a script": {text: vary(func(d *described) {
			d.endpoints = service("SingleSignOnService", "HTTP-Redirect", "javascript:alert(1)")
		}), reason: "metadata_malformed"},
		"another protocol":           {text: strings.Replace(good.String(), "SAML:2.0:protocol", "SAML:1.1:protocol", 1), reason: "metadata_malformed"},
		"another namespace":          {text: strings.Replace(good.String(), nsMetadata, "urn:other", 1), reason: "metadata_other_entity"},
		"entityID of another prefix": {text: strings.Replace(good.String(), ` entityID=`, ` xmlns:x="urn:x" x:entityID=`, 1), reason: "metadata_other_entity"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := metadataReader{entityID: idpID, pins: c.pins}.read([]byte(c.text), time.Now())
			if c.reason != "" {
				wantReason(t, err, authn.Unavailable, c.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.sso[byRedirect] != idpID+"/sso" || len(p.certificates) != 1 || !p.certificates[0].Equal(one.certificate) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestMetadataSignature: where a signing certificate is configured, nothing is believed that it did not sign.
func TestMetadataSignature(t *testing.T) {
	ours, stranger := aKey(t, 2048), aKey(t, 2048)
	text := described{id: idpID, keys: keyDescriptor("", ours.certificate), endpoints: service("SingleSignOnService", "HTTP-POST", idpID+"/sso")}.String()
	signed := func(by ownKey, change func(string) string) string {
		doc := etree.NewDocument()
		if err := doc.ReadFromString(text); err != nil {
			t.Fatal(err)
		}
		if err := sign(doc.Root(), by); err != nil {
			t.Fatal(err)
		}
		out, err := doc.WriteToString()
		if err != nil {
			t.Fatal(err)
		}
		return change(out)
	}
	same := func(s string) string { return s }
	// wrapped puts the signed original inside of an evil one with the same ID.
	wrapped := func(s string) string {
		evil := strings.Replace(text, idpID+"/sso", "https://evil.example.test/sso", 1)
		return strings.Replace(evil, "<md:IDPSSODescriptor", "<md:Extensions>"+s+"</md:Extensions><md:IDPSSODescriptor", 1)
	}
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"signed":        {signed(ours, same), true},
		"not signed":    {text, false},
		"by a stranger": {signed(stranger, same), false},
		"changed":       {signed(ours, func(s string) string { return strings.Replace(s, idpID+"/sso", idpID+"/xss", 1) }), false},
		"with SHA-1": {signed(ours, func(s string) string {
			return strings.ReplaceAll(s, "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1")
		}), false},
		"wrapped": {signed(ours, wrapped), false},
	} {
		_, err := metadataReader{entityID: idpID, signers: []*x509.Certificate{aKey(t, 2048).certificate, ours.certificate}}.read([]byte(c.text), time.Now())
		if c.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.ok && authn.ReasonOf(err) != "metadata_signature" {
			t.Errorf("%s: %v, want metadata_signature", name, err)
		}
	}
}

// TestMetadataOverHTTPS: nothing without TLS or a known authority, also where it is redirected, and no more than 1 MiB.
func TestMetadataOverHTTPS(t *testing.T) {
	ca := testenv.CA(t)
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "plain") }))
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string // in the error; "" when it is taken
	}{
		"served":          {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metadata") }, ""},
		"not found":       {http.NotFound, "404"},
		"leads to http":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }, "without TLS"},
		"leads in circle": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "too often"},
	} {
		text, err := fromURL(serve(c.handler), ca.Pool)(t.Context())
		if c.want == "" && (err != nil || string(text) != "metadata") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	address := serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 3<<20)) })
	if text, err := fromURL(address, ca.Pool)(t.Context()); err != nil || len(text) != MaxMetadata+1 {
		t.Errorf("%d bytes were read, %v", len(text), err)
	}
	if _, err := fromURL(address, testenv.CA(t).Pool)(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another authority: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fromURL(address, ca.Pool)(ctx); authn.ReasonOf(err) != "metadata_unreachable" {
		t.Errorf("given up: %v", err)
	}
}

// FuzzMetadata: whatever comes, no panic; and what is taken names a certificate and an address that is safe.
func FuzzMetadata(f *testing.F) {
	key := aKey(f, 2048)
	d := described{id: idpID, keys: keyDescriptor("", key.certificate), endpoints: service("SingleSignOnService", "HTTP-POST", idpID+"/sso")}
	f.Add([]byte(d.String()))
	d.attributes = `validUntil="2030-01-01T00:00:00Z" cacheDuration="PT1H"`
	f.Add([]byte(`<md:EntitiesDescriptor xmlns:md="` + nsMetadata + `">` + d.String() + `</md:EntitiesDescriptor>`))
	f.Add([]byte("<a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, signers := range [][]*x509.Certificate{nil, {key.certificate}} {
			p, err := metadataReader{entityID: idpID, signers: signers}.read(text, time.Now())
			if err != nil {
				continue
			}
			if len(p.certificates) == 0 || len(p.sso) == 0 || signers != nil {
				t.Errorf("taken: %+v", p)
			}
			for _, at := range p.sso {
				if !safeAddress(at) {
					t.Errorf("address %q", at)
				}
			}
		}
	})
}
