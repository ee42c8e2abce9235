package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/saml"
	"github.com/idbridge/idbridge/store"
)

// TestMetricOfSAMLCertificates: an operator can be woken before the last certificate of an identity provider ends.
func TestMetricOfSAMLCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ends := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "idp.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	sp := saml.NewServiceProvider(saml.Surroundings{})
	c := saml.Config{EntityID: "https://idp.example.test", CertificateFile: file, Attributes: saml.Attributes{Username: "uid"}}
	c.Endpoint.SSOURL = "https://idp.example.test/sso"
	if _, err := sp.New("sso", "", c, authn.Route{}); err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	m.samlCertificates(func() *saml.ServiceProvider { return sp })
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "idbridge_saml_certificate_expiry_timestamp_seconds" {
			if got := f.GetMetric()[0]; got.GetGauge().GetValue() != float64(ends.Unix()) || got.GetLabel()[0].GetValue() != "sso" {
				t.Errorf("%v, want %d", got, ends.Unix())
			}
			return
		}
	}
	t.Error("there is no such metric")
}

// TestReplaysAreRemembered by every node, and by one that was started anew.
func TestReplaysAreRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "idbridge.db")
	open := func() replays {
		s, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return replays{s}
	}
	until := time.Now().Add(time.Hour)
	seen := func(on replays, provider, id string, want bool) {
		t.Helper()
		if first, err := on.Seen(t.Context(), provider, id, until); err != nil || first != want {
			t.Errorf("%s %s is shown for the first time: %v, %v; want %v", provider, id, first, err, want)
		}
	}
	one, two := open(), open()
	seen(one, "corp", "_1", true)
	seen(two, "corp", "_1", false)
	seen(two, "other", "_1", true)
	one.Close()
	two.Close()
	again := open()
	defer again.Close()
	seen(again, "corp", "_1", false)
	seen(again, "corp", "_2", true)
}
