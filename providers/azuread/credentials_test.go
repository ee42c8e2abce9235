package azuread

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// certificate makes a certificate as `openssl req -x509` does, ending at a time.
func certificate(t *testing.T, key any, public any, ends time.Time) (Credential, *x509.Certificate) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idbridge"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Credential{
		CertificateFile: file(t, "app.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		KeyFile:         file(t, "app.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))),
	}, parsed
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func holding(list ...Credential) func(*Config) { return func(c *Config) { c.Credentials = list } }

// TestCertificate signs in with private_key_jwt, which the stand-in verifies by itself, and not after it was removed there.
func TestCertificate(t *testing.T) {
	b := newBench(t)
	key := rsaKey(t, 2048)
	held, public := certificate(t, key, &key.PublicKey, b.moment.Add(24*time.Hour))
	b.app.Secrets, b.app.Certificates = nil, []*x509.Certificate{public}
	p := b.provider(t, holding(held))
	b.good(t, p, b.ann)
	if err := p.check(t.Context()); err != nil {
		t.Error(err)
	}
	j := b.journey(t, p, b.ann)
	b.Change(func() { b.app.Certificates = nil })
	_, err := p.Finish(t.Context(), j.pending, j.reply)
	wantError(t, err, authn.Unavailable, "app_credential", "AADSTS700027", "credentials[0] (certificate)", "upload the certificate")
}

// TestWorkloadIdentity: the platform renews the file, so it is read each time.
func TestWorkloadIdentity(t *testing.T) {
	b := newBench(t)
	b.app.Secrets, b.app.Federated = nil, []string{"token-of-the-platform-2"}
	path := file(t, "token", "token-of-the-platform-1\n")
	p := b.provider(t, holding(Credential{WorkloadIdentityFile: path}))
	_, err := b.signIn(t, p, b.ann)
	wantError(t, err, authn.Unavailable, "app_credential", "credentials[0] (workload identity)")
	if err := os.WriteFile(path, []byte("token-of-the-platform-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.good(t, p, b.ann)
	for _, text := range []string{"", strings.Repeat("x", maxWorkloadToken+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := b.signIn(t, p, b.ann)
		wantError(t, err, authn.Unavailable, "app_credential", "holds no token")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = b.signIn(t, p, b.ann)
	wantError(t, err, authn.Unavailable, "app_credential", "no such file")
}

// TestRotation: the old secret ends, the new one takes over, nobody notices; and the one that works is asked first.
func TestRotation(t *testing.T) {
	b := newBench(t)
	const next = "the-next-secret"
	b.app.Secrets[next] = time.Time{}
	p := b.provider(t, holding(Credential{Secret: secret}, Credential{Secret: next}))
	b.good(t, p, b.ann)
	if b.Calls("token") != 1 {
		t.Error("the second secret was tried without need")
	}
	b.Change(func() { b.app.Secrets[secret] = b.moment })
	b.good(t, p, b.ann)
	b.good(t, p, b.bob)
	if got := b.Calls("token"); got != 4 {
		t.Errorf("%d requests; the secret that works was not remembered", got)
	}
	if err := p.check(t.Context()); err != nil {
		t.Error(err)
	}
	b.Change(func() { delete(b.app.Secrets, next) })
	_, err := b.signIn(t, p, b.ann)
	wantError(t, err, authn.Unavailable, "app_credential", "no credential is accepted", "AADSTS7000215", "AADSTS7000222")
}

// TestOnlyCredentialsAreTriedTwice: a refused password, or code, is not sent again.
func TestOnlyCredentialsAreTriedTwice(t *testing.T) {
	b := passwordBench(t)
	p := passwords{b.provider(t, withPasswords, holding(Credential{Secret: secret}, Credential{Secret: "other"}))}
	account, err := p.Find(t.Context(), b.ann.UPN)
	if err != nil {
		t.Fatal(err)
	}
	before := b.Calls("token")
	_, err = p.Verify(t.Context(), account, "wrong")
	wantError(t, err, authn.BadCredentials, "wrong_password")
	if b.Calls("token") != before+1 {
		t.Error("a wrong password was sent twice")
	}
}

func TestCredentialMistakes(t *testing.T) {
	key, weak := rsaKey(t, 2048), rsaKey(t, 1024)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	day := time.Now().Add(time.Hour)
	good, _ := certificate(t, key, &key.PublicKey, day)
	short, _ := certificate(t, weak, &weak.PublicKey, day)
	onCurve, _ := certificate(t, curve, &curve.PublicKey, day)
	for want, c := range map[string]Credential{
		"credentials[0]: give exactly one":                     {},
		"credentials[0]: give exactly one of secret":           {Secret: "x", WorkloadIdentityFile: "y"},
		"credentials[0]: certificate_file and key_file belong": {CertificateFile: good.CertificateFile},
		"credentials[0].certificate_file: ":                    {CertificateFile: "/no/such", KeyFile: "/file"},
		"credentials[0].key_file: Entra takes RSA keys":        short,
		"credentials[0].key_file: Entra takes RSA keys of":     onCurve,
		"credentials[0].expires: \"31.5.2027\" is not a day":   {Secret: "x", Expires: "31.5.2027"},
		"credentials[0].expires: is only for a secret":         {WorkloadIdentityFile: "y", Expires: "2027-05-31"},
	} {
		_, errs := loadCredentials([]Credential{c})
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%v, want %s", errs, want)
		}
	}
	if _, errs := loadCredentials([]Credential{good, {Secret: "x", Expires: "2027-05-31"}}); errs != nil {
		t.Errorf("the control: %v", errs)
	}
}
