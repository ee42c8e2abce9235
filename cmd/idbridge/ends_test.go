package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers/lifetime"
	"github.com/idbridge/idbridge/itusers/platformdb"
	"github.com/idbridge/idbridge/providers/azuread"
	"github.com/idbridge/idbridge/providers/saml"
)

// certificates writes a file of certificates that end on some days.
func certificates(t *testing.T, name string, days ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, day := range days {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: onDay(t, day)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func onDay(t *testing.T, day string) time.Time {
	t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestWhatEnds: everything that ends is in one list, the next one first, and the metric has the same.
func TestWhatEnds(t *testing.T) {
	const id = "72f988bf-0000-4000-8000-2d7cd011db47"
	entraConfig := azuread.Config{Tenant: id, ClientID: id, CAFile: certificates(t, "proxy.pem", "2030-01-01", "2031-01-04"),
		Credentials: []azuread.Credential{{Secret: "x", Expires: "2031-01-05"}, {Secret: "z"}}}
	entra, err := azuread.New("cloud", "", entraConfig, authn.Route{}, azuread.Surroundings{})
	if err != nil {
		t.Fatal(err)
	}
	samlConfig := saml.Config{EntityID: "https://idp.example.test", CertificateFile: certificates(t, "idp.pem", "2031-01-06"),
		Attributes: saml.Attributes{Username: "uid"}}
	samlConfig.Endpoint.SSOURL = "https://idp.example.test/sso"
	sp := saml.NewServiceProvider(saml.Surroundings{})
	if _, err := sp.New("sso", "", samlConfig, authn.Route{}); err != nil {
		t.Fatal(err)
	}
	b := &backend{saml: sp, config: Config{
		Listen:        ListenConfig{TLS: TLSConfig{CertFile: certificates(t, "chain.pem", "2031-01-01", "2030-01-01"), ClientCAFile: certificates(t, "ca.pem", "2031-01-02")}},
		Webhooks:      []WebhookConfig{{ID: "soc", CAFile: certificates(t, "soc.pem", "2031-01-03")}, {ID: "other"}},
		ManagedConfig: ManagedConfig{Providers: []ProviderConfig{{ID: "cloud", Settings: entraConfig}, {ID: "sso", Settings: samlConfig}}},
		Sources: []SourceConfig{
			{ID: "lt", Settings: lifetime.Config{Expires: "2031-01-07", CAFile: certificates(t, "lt.pem", "2031-01-08")}},
			{ID: "ids", Settings: platformdb.Config{CAFile: certificates(t, "db.pem", "2031-01-09")}}},
		Provisioning: &ProvisioningConfig{LifeTime: lifetime.Config{Expires: "2031-01-10"}},
	}}
	seen := authn.Provider{ID: "corp", Ends: func() []authn.End {
		return []authn.End{{What: "certificate shown by dc1:636", At: onDay(t, "2031-01-11")}}
	}}
	list := b.endings(t.Context(), []authn.Provider{{ID: "none"}, entra, seen})
	var got []string
	for _, e := range list {
		got = append(got, e.At.UTC().Format(time.DateOnly)+" "+e.Where+": "+e.What)
	}
	want := []string{"2031-01-01 listen.tls: certificate", "2031-01-02 listen.tls: client CA", "2031-01-03 webhooks soc: authorities in ca_file",
		"2031-01-04 cloud: authorities in ca_file", "2031-01-05 cloud: credentials[0] (client secret)",
		"2031-01-06 sso: signing certificate of the identity provider", "2031-01-07 sources lt: token of LifeTime",
		"2031-01-08 sources lt: authorities in ca_file", "2031-01-09 sources ids: authorities in ca_file",
		"2031-01-10 provisioning: token of LifeTime", "2031-01-11 corp: certificate shown by dc1:636"}
	if !slices.Equal(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	m := newMetrics()
	m.expiries(func(context.Context) []admin.Ending { return list })
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	for _, f := range families {
		if f.GetName() == "idbridge_expiry_timestamp_seconds" {
			for _, one := range f.GetMetric() {
				at := time.Unix(int64(one.GetGauge().GetValue()), 0).UTC().Format(time.DateOnly)
				measured[at+" "+one.GetLabel()[1].GetValue()+": "+one.GetLabel()[0].GetValue()] = true
			}
		}
	}
	for _, w := range want {
		if !measured[w] {
			t.Errorf("no metric of %s", w)
		}
	}
	if len(measured) != len(want) {
		t.Errorf("%d are measured", len(measured))
	}
	judgedAt := onDay(t, "2031-01-02").Add(-expirySoon + time.Hour)
	if soon, bad := judged(list, expirySoon, judgedAt); bad != 2 || soon[1].warning() != "listen.tls: client CA ends on 2031-01-02" {
		t.Errorf("%d end soon: %+v", bad, soon[:2])
	}
}
