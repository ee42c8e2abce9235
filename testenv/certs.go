package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority is a certificate authority of one test.
type Authority struct {
	File string // PEM, for a ca_file setting
	Pool *x509.CertPool
	Dir  string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Certificate is a certificate with its key, both as files and loaded.
type Certificate struct {
	CertFile, KeyFile string
	TLS               tls.Certificate
}

// CA makes a certificate authority in a folder of the test.
func CA(tb TB) *Authority {
	tb.Helper()
	a := &Authority{Dir: tb.TempDir(), Pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "testenv CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.key = newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	check(tb, err)
	a.cert, err = x509.ParseCertificate(der)
	check(tb, err)
	a.Pool.AddCert(a.cert)
	a.File = filepath.Join(a.Dir, "ca.pem")
	writePEM(tb, a.File, "CERTIFICATE", der)
	return a
}

// Server makes a certificate for 127.0.0.1, ::1, localhost and the names given.
func (a *Authority) Server(tb TB, names ...string) Certificate {
	tb.Helper()
	return a.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: "127.0.0.1"}, DNSNames: append([]string{"localhost"}, names...),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Client makes a client certificate with a common name and the same DNS name.
func (a *Authority) Client(tb TB, name string) Certificate {
	tb.Helper()
	return a.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// issue fills in and signs a certificate; it ends tomorrow where the template does not say when.
func (a *Authority) issue(tb TB, template *x509.Certificate) (c Certificate) {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(tb, err)
	template.SerialNumber = serial
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotBefore.After(template.NotAfter) {
		template.NotBefore = template.NotAfter.Add(-time.Hour)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	check(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(tb, err)
	c.CertFile = filepath.Join(a.Dir, serial.String()+".pem")
	c.KeyFile = filepath.Join(a.Dir, serial.String()+".key")
	writePEM(tb, c.CertFile, "CERTIFICATE", der)
	writePEM(tb, c.KeyFile, "PRIVATE KEY", keyDER)
	c.TLS, err = tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	check(tb, err)
	return c
}

func newKey(tb TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	return key
}

func writePEM(tb TB, file, kind string, der []byte) {
	tb.Helper()
	check(tb, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func check(tb TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
