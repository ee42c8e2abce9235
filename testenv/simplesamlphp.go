package testenv

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// SAMLPerson is somebody whom a SimpleSAMLphp knows.
type SAMLPerson struct {
	Password   string
	Attributes map[string][]string // by the names of LDAP
}

// SAMLParty is a service provider, as the identity provider's administrator registers it. Each field but the first few
// makes the identity provider behave as a real one might.
type SAMLParty struct {
	EntityID    string
	ACS, SLO    string // where responses and logout messages are posted; SLO may be empty
	OtherACS    string // a second address for responses; may be empty
	Certificate []byte // DER of the party's own, to verify its messages and to encrypt for it; may be nil
	Next        []byte // ... and of the one announced beside it: messages of both are good, it is encrypted for this one

	SignResponse, SignAssertion    bool
	EncryptAssertion, EncryptID    bool   // need Certificate
	WantSignedRequests             bool   // refuses an AuthnRequest without a valid signature
	NameIDFormat                   string // persistent, emailAddress, transient or unspecified; default persistent
	NameIDFrom                     string // the attribute that a NameID is or is made of; default uid
	ClaimURIs                      bool   // attributes have the names that Entra ID gives them
	AuthnContext                   string // the class the identity provider claims
	PostLogout                     bool   // logout messages are posted; otherwise they come by redirect
	SignatureAlgorithm, Additional string // of messages; more PHP lines of its registration
}

// SimpleSAMLphpConfig says what an identity provider knows at its start.
type SimpleSAMLphpConfig struct {
	CA      *Authority            // of its https address; nil makes a new one
	Entity  string                // its entityID; default: the address of its metadata
	People  map[string]SAMLPerson // nil: ann (password pw-ann) and bob (pw-bob)
	Parties []SAMLParty
}

// SimpleSAMLphpServer is a running identity provider. PHP's own server knows no TLS, so a proxy of this process stands in
// front of it: everything about it begins with https.
type SimpleSAMLphpServer struct {
	URL, EntityID           string
	MetadataURL             string
	SSO, SLO, InitiatedSSO  string // InitiatedSSO: to it comes the party's entityID, escaped
	CA                      *Authority
	Certificate, CertBefore *x509.Certificate // that signs now, and that did before RollOver
	Front                   *x509.Certificate // of the https address, for a browser

	dir, private string
	entity       string
	port         int
	mu           sync.Mutex
	people       map[string]SAMLPerson
	parties      map[string]SAMLParty
	process      *Process
	keys         int
}

// SimpleSAMLphp starts an identity provider of the test's own.
func SimpleSAMLphp(tb TB, c SimpleSAMLphpConfig) *SimpleSAMLphpServer {
	tb.Helper()
	if c.CA == nil {
		c.CA = CA(tb)
	}
	s := &SimpleSAMLphpServer{
		CA: c.CA, dir: tb.TempDir(), port: FreePort(tb), entity: c.Entity, people: c.People, parties: map[string]SAMLParty{},
	}
	if s.people == nil {
		s.people = samlPeople()
	}
	for _, folder := range []string{"config", "metadata", "cert", "log", "data", "tmp", "sessions", "maps"} {
		check(tb, os.Mkdir(filepath.Join(s.dir, folder), 0o700))
	}
	s.front(tb)
	s.Certificate = s.newKey(tb)
	s.write(tb, "config/config.php", ssphpConfig(s))
	s.write(tb, "config/authsources.php", ssphpPeople(s.people))
	s.write(tb, "maps/entra.php", ssphpClaims)
	s.hosted(tb, "")
	for _, p := range c.Parties {
		s.parties[p.EntityID] = p
	}
	s.registrations(tb)
	s.Restart(tb)
	return s
}

// samlPeople are those that an identity provider knows if nobody else was named.
func samlPeople() map[string]SAMLPerson {
	return map[string]SAMLPerson{
		"ann": {"pw-ann", map[string][]string{
			"uid": {"ann"}, "mail": {"ann@example.test"}, "displayName": {"Ann Example"},
			"employeeNumber": {"e-1001"}, "memberOf": {"developers", "administrators"},
		}},
		"bob": {"pw-bob", map[string][]string{
			"uid": {"bob"}, "mail": {"bob@example.test"}, "displayName": {"Bob Éxample"},
			"employeeNumber": {"e-1002"}, "memberOf": {"developers"},
		}},
	}
}

// front makes the https address.
func (s *SimpleSAMLphpServer) front(tb TB) {
	tb.Helper()
	behind := &url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(s.port)}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(behind); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		// One of its own: the default one's connections are closed by every httptest.Server that ends.
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	server := httptest.NewUnstartedServer(proxy)
	front := s.CA.Server(tb).TLS
	s.Front = front.Leaf
	server.TLS = &tls.Config{Certificates: []tls.Certificate{front}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	tb.Cleanup(server.Close)
	s.URL = server.URL
	s.EntityID = s.URL + "/saml2/idp/metadata.php"
	s.MetadataURL = s.EntityID
	s.EntityID = cmp.Or(s.entity, s.EntityID)
	s.SSO = s.URL + "/saml2/idp/SSOService.php"
	s.SLO = s.URL + "/saml2/idp/SingleLogoutService.php"
	s.InitiatedSSO = s.SSO + "?spentityid="
}

// Restart starts the server on the same ports and data, after a Stop.
func (s *SimpleSAMLphpServer) Restart(tb TB) {
	tb.Helper()
	env := Need(tb, "env")
	// Without the cache of compiled files, which looks at a file anew only after two seconds: a changed registration counts at
	// once. opcache.enable_cli is not about PHP's own web server.
	s.process = Start(tb, []int{s.port}, env, "SIMPLESAMLPHP_CONFIG_DIR="+s.dir+"/config", Need(tb, "php"),
		"-d", "session.save_path="+s.dir+"/sessions", "-d", "display_errors=0", "-d", "opcache.enable=0",
		"-S", "127.0.0.1:"+strconv.Itoa(s.port), "-t", "/usr/share/simplesamlphp/www")
}

// Stop ends the server; its https address answers 502 from then on.
func (s *SimpleSAMLphpServer) Stop() { s.process.Stop() }

// Process is the running server, for signals.
func (s *SimpleSAMLphpServer) Process() *Process { return s.process }

// Log is what the identity provider has written into its log.
func (s *SimpleSAMLphpServer) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log", "idp.log"))
	return string(text)
}

// Register adds a service provider, or puts it in the place of the one with its entityID; the next request sees it.
func (s *SimpleSAMLphpServer) Register(tb TB, p SAMLParty) {
	tb.Helper()
	s.mu.Lock()
	s.parties[p.EntityID] = p
	s.mu.Unlock()
	s.registrations(tb)
}

// Announce puts a new certificate into the metadata, beside the one that signs.
func (s *SimpleSAMLphpServer) Announce(tb TB) {
	tb.Helper()
	before := s.private
	s.CertBefore, s.Certificate = s.Certificate, s.newKey(tb)
	next := s.private
	s.private = before
	s.hosted(tb, "'new_privatekey' => '"+next+".key', 'new_certificate' => '"+next+".pem',")
	s.private = next
}

// RollOver signs with the last certificate made, and takes the one before it out of the metadata. Without an Announce
// before it makes a new one: nobody was told.
func (s *SimpleSAMLphpServer) RollOver(tb TB) {
	tb.Helper()
	if s.CertBefore == nil {
		s.CertBefore, s.Certificate = s.Certificate, s.newKey(tb)
	}
	s.hosted(tb, "")
	s.CertBefore = nil
}

// CertificatePEM is the certificate that signs, as an administrator would copy it.
func (s *SimpleSAMLphpServer) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate.Raw})
}

// newKey makes a signing key and its certificate; the files are named by a number.
func (s *SimpleSAMLphpServer) newKey(tb TB) *x509.Certificate {
	tb.Helper()
	s.keys++
	s.private = "idp" + strconv.Itoa(s.keys)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(s.keys)), Subject: pkix.Name{CommonName: "testenv " + s.private},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(tb, err)
	writePEM(tb, filepath.Join(s.dir, "cert", s.private+".pem"), "CERTIFICATE", der)
	writePEM(tb, filepath.Join(s.dir, "cert", s.private+".key"), "PRIVATE KEY", keyDER)
	cert, err := x509.ParseCertificate(der)
	check(tb, err)
	return cert
}

// write replaces a file in one step, as PHP may be reading it.
func (s *SimpleSAMLphpServer) write(tb TB, name, text string) {
	tb.Helper()
	file := filepath.Join(s.dir, name)
	check(tb, os.WriteFile(file+".new", []byte(text), 0o600))
	check(tb, os.Rename(file+".new", file))
}

func (s *SimpleSAMLphpServer) hosted(tb TB, more string) {
	tb.Helper()
	s.write(tb, "metadata/saml20-idp-hosted.php", ssphpHosted(s, more))
}

func (s *SimpleSAMLphpServer) registrations(tb TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	b.WriteString("<?php\n")
	for _, id := range slices.Sorted(maps.Keys(s.parties)) {
		fmt.Fprintf(&b, "$metadata[%s] = %s;\n", phpText(id), ssphpParty(s.parties[id]))
	}
	s.write(tb, "metadata/saml20-sp-remote.php", b.String())
}
