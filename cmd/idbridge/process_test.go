package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

const testSecret = "a-secret-of-more-than-32-bytes-for-tests"

// served is `idbridge serve` as a process of its own, with a directory that takes connections and says nothing.
type served struct {
	*testenv.Process
	dir, door, operators string
}

// serving starts one. The listener, environments and keys are YAML, with $DIR for the process's folder; what is left out
// is the usual. The program is the test's own binary, which testscript.Main has put into PATH.
func serving(t *testing.T, sections map[string]string) *served {
	t.Helper()
	s := configured(t, sections)
	// Both: the door is open a moment before the operators' listener is.
	ports := []int{port(t, s.door), port(t, s.operators)}
	s.Process = testenv.Start(t, ports, "idbridge", "serve", "--config", s.file("idbridge.yaml"))
	return s
}

func port(t *testing.T, address string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

func configured(t *testing.T, sections map[string]string) *served {
	t.Helper()
	s := &served{dir: t.TempDir()}
	s.door, s.operators = fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	text := "metrics: {address: '" + s.operators + "'}\nplugin: {public_url: 'https://localhost'}\nproviders:\n" +
		"  - {id: corp, type: ldap, match: {default: true}, urls: ['ldaps://" + silent(t).String() + "'], base_dn: dc=x}\n"
	if given, ok := sections["webhooks"]; ok {
		text += "webhooks:\n  " + given + "\n"
	}
	for section, usual := range map[string]string{
		"listen":       "address: $DOOR",
		"environments": "- {name: one, credentials: {username: one, secret: " + testSecret + "}}",
		"keys":         "file: idbridge.keys",
	} {
		if given, ok := sections[section]; ok {
			usual = given
		}
		text += section + ":\n  " + strings.ReplaceAll(usual, "$DOOR", s.door) + "\n"
	}
	s.write(t, "idbridge.yaml", strings.ReplaceAll(text, "$DIR", s.dir))
	s.write(t, "idbridge.keys", shell(t, "idbridge keys generate"))
	return s
}

func (s *served) file(name string) string { return filepath.Join(s.dir, name) }

func (s *served) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// read is the configuration file.
func (s *served) read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.file("idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *served) copy(t *testing.T, c testenv.Certificate) {
	t.Helper()
	for name, from := range map[string]string{"server.pem": c.CertFile, "server.key": c.KeyFile} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, name, string(text))
	}
}

// awaitOutput waits for what the process prints.
func (s *served) awaitOutput(t *testing.T, pattern string) {
	t.Helper()
	wait(t, pattern, func() bool { return regexp.MustCompile(pattern).MatchString(s.Output()) })
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestASilentDirectoryDelaysNoProbe, from the process's start on.
func TestASilentDirectoryDelaysNoProbe(t *testing.T) {
	s := serving(t, nil)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		r, text := request(ctx, t, &http.Client{}, "http://"+s.operators+"/readyz", nil)
		cancel()
		if r.StatusCode != http.StatusOK || !strings.Contains(text, "store: ok\n") ||
			!regexp.MustCompile(`(?m)^provider corp: [^o]`).MatchString(text) {
			t.Fatalf("%s\n%s", r.Status, text)
		}
	}
}

func request(ctx context.Context, t *testing.T, c *http.Client, url string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(q)
	}
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(text)
}

// halfACall has sent all of a call but its last byte; finish sends that and reads the answer.
type halfACall struct{ net.Conn }

func (s *served) callHalf(t *testing.T) halfACall {
	t.Helper()
	c, err := net.Dial("tcp", s.door)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	body := `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>` +
		`<Plugin_GetCapabilities xmlns="http://www.outsystems.com"/></Body></Envelope>`
	fmt.Fprintf(c, "POST /IDBridge/OSPlatformAuthentication.asmx HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"+
		"Authorization: Basic %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", basic("one", testSecret), len(body), body[:len(body)-1])
	wait(t, "the call is under way", func() bool {
		_, text := request(t.Context(), t, &http.Client{}, "http://"+s.operators+"/metrics", nil)
		return strings.Contains(text, "idbridge_calls_in_flight 1\n")
	})
	return halfACall{c}
}

func basic(user, secret string) string {
	q := &http.Request{Header: http.Header{}}
	q.SetBasicAuth(user, secret)
	return strings.TrimPrefix(q.Header.Get("Authorization"), "Basic ")
}

func (c halfACall) finish() string {
	fmt.Fprint(c, ">")
	text, _ := io.ReadAll(c)
	return string(text)
}

// TestSignals: the first lets calls under way finish, the second ends the process at once.
func TestSignals(t *testing.T) {
	s := serving(t, nil)
	call := s.callHalf(t)
	s.signal(t, syscall.SIGTERM)
	s.awaitOutput(t, "msg=stopping")
	waitForRefusal(t, s.door)
	if got := call.finish(); !strings.HasPrefix(got, "HTTP/1.1 200 OK") || !strings.Contains(got, "UserPassword.Supported") {
		t.Errorf("the call under way: %s", got)
	}
	s.awaitOutput(t, "msg=stopped")

	s = serving(t, nil)
	call = s.callHalf(t)
	s.signal(t, syscall.SIGTERM)
	s.awaitOutput(t, "msg=stopping")
	start := time.Now()
	s.signal(t, syscall.SIGINT)
	wait(t, "the process is gone", func() bool { return s.Signal(syscall.Signal(0)) != nil })
	if got := call.finish(); got != "" {
		t.Errorf("the call was answered: %s", got)
	}
	if took := time.Since(start); took > 5*time.Second || strings.Contains(s.Output(), "msg=stopped") {
		t.Errorf("after %s:\n%s", took, s.Output())
	}
}

func (s *served) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// TestClientCertificates through the real listener.
func TestClientCertificates(t *testing.T) {
	server, others := testenv.CA(t), testenv.CA(t)
	dir := t.TempDir()
	clients, err := newAuthority(dir) // ca.pem
	if err != nil {
		t.Fatal(err)
	}
	s := &served{dir: dir}
	s.copy(t, server.Server(t))
	s = serving(t, map[string]string{
		"listen": fmt.Sprintf("address: $DOOR\n  tls: {cert_file: %s/server.pem, key_file: %[1]s/server.key, client_ca_file: %[1]s/ca.pem}",
			dir),
		"environments": "- {name: one, client_certificate: {san: one.example.com}}",
	})
	url := "https://" + s.door + "/IDBridge/OSPlatformAuthentication.asmx?wsdl"
	try := func(c *tls.Config) (int, error) {
		c.RootCAs = server.Pool
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}}
		defer client.CloseIdleConnections()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Do(q)
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		return r.StatusCode, nil
	}
	with := func(c tls.Certificate) *tls.Config {
		// Given whatever the server asks for: an attacker's client does not look at the list of authorities.
		return &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }}
	}
	const name, other = "one.example.com", "two.example.com"
	right := issued(t, clients, name, time.Hour, x509.ExtKeyUsageClientAuth)
	if status, err := try(with(right)); status != http.StatusOK {
		t.Errorf("the right one: %d, %v", status, err)
	}
	for what, test := range map[string]struct {
		*tls.Config
		unauthorized bool // the others' handshake fails already
	}{
		"none":        {&tls.Config{}, true},
		"another SAN": {with(issued(t, clients, other, time.Hour, x509.ExtKeyUsageClientAuth)), true},
		"expired":     {with(issued(t, clients, name, -time.Minute, x509.ExtKeyUsageClientAuth)), false},
		"a server's":  {with(issued(t, clients, name, time.Hour, x509.ExtKeyUsageServerAuth)), false},
		"another CA":  {with(others.Client(t, name).TLS), false},
	} {
		status, err := try(test.Config)
		if test.unauthorized && status != http.StatusUnauthorized || !test.unauthorized && err == nil {
			t.Errorf("%s: %d, %v", what, status, err)
		}
	}
	for version, spoken := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true} {
		c := with(right)
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, version
		if status, err := try(c); (err == nil && status == http.StatusOK) != spoken {
			t.Errorf("%s: %d, %v", tls.VersionName(version), status, err)
		}
	}
}

// issued is a client's certificate that ends after a while.
func issued(t *testing.T, a *authority, san string, life time.Duration, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	template := certificate(san)
	template.DNSNames, template.NotAfter = []string{san}, time.Now().Add(life)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}
	der, key, err := sign(template, a)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRunningProcessTakesANewCertificate.
func TestRunningProcessTakesANewCertificate(t *testing.T) {
	first, second := testenv.CA(t), testenv.CA(t)
	dir := t.TempDir()
	files := &served{dir: dir}
	files.copy(t, first.Server(t))
	s := serving(t, map[string]string{"listen": fmt.Sprintf("address: $DOOR\n  tls: {cert_file: %s/server.pem, key_file: %[1]s/server.key}", dir)})
	trusted := func(pool *x509.CertPool) bool {
		c, err := tls.Dial("tcp", s.door, &tls.Config{RootCAs: pool})
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !trusted(first.Pool) || trusted(second.Pool) {
		t.Fatal("the first certificate is not served")
	}
	files.copy(t, second.Server(t))
	wait(t, "the second certificate is served", func() bool { return trusted(second.Pool) })
	if trusted(first.Pool) {
		t.Error("the first one still is")
	}
	s.awaitOutput(t, "the certificate was changed")
}

// TestKeysFromTheEnvironment.
func TestKeysFromTheEnvironment(t *testing.T) {
	t.Setenv("TEST_IDBRIDGE_KEYS", shell(t, "idbridge keys generate"))
	s := serving(t, map[string]string{"keys": "env: TEST_IDBRIDGE_KEYS"})
	s.awaitOutput(t, "msg=ready")
	s.Stop()
	t.Setenv("TEST_IDBRIDGE_KEYS", "")
	refused := testenv.Start(t, nil, "idbridge", "serve", "--config", s.file("idbridge.yaml"))
	wait(t, "an empty variable is refused", func() bool { return strings.Contains(refused.Output(), "TEST_IDBRIDGE_KEYS") })
}

// TestHeaderLimits: 32 KiB (net/http allows 4 KiB of its own on top), on both listeners.
func TestHeaderLimits(t *testing.T) {
	s := serving(t, nil)
	for _, url := range []string{"http://" + s.door + "/", "http://" + s.operators + "/healthz"} {
		for size, refused := range map[int]bool{30 << 10: false, 40 << 10: true} {
			r, _ := request(t.Context(), t, &http.Client{}, url, func(q *http.Request) {
				q.Header.Set("X-Long", strings.Repeat("x", size))
			})
			if (r.StatusCode == http.StatusRequestHeaderFieldsTooLarge) != refused {
				t.Errorf("%s, a header of %d bytes: %s", url, size, r.Status)
			}
		}
	}
}

// TestSlowCallersAreCutOff: who sends a header, or a body, in drops.
func TestSlowCallersAreCutOff(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	for what, test := range map[string]struct {
		text        string
		after, till time.Duration
	}{
		"header": {"GET / HTTP/1.1\r\nHost: x\r\n", headerTimeout, readTimeout},
		"body": {"POST /IDBridge/OSPlatformAuthentication.asmx HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nAuthorization: Basic " +
			basic("one", testSecret) + "\r\nContent-Length: 100\r\n\r\n<", readTimeout, writeTimeout},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", s.door)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			start := time.Now()
			fmt.Fprint(c, test.text)
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(start); took < test.after-time.Second || took > test.till {
				t.Errorf("cut off after %s, want %s", took, test.after)
			}
		})
	}
}

// TestWarnings of what an administrator has switched on, when it starts and in check.
func TestWarnings(t *testing.T) {
	sections := map[string]string{
		"listen":       "address: $DOOR\n  insecure_plaintext: true",
		"environments": "- {name: one, path: One, trust_address: true, allow_from: [10.0.0.0/8], integrated_authentication: true}",
	}
	s := serving(t, sections)
	check := shell(t, "idbridge check --config "+s.file("idbridge.yaml")+" || true")
	for _, warning := range []string{"passwords travel in clear", "trust_address", "integrated_authentication"} {
		s.awaitOutput(t, "level=WARN msg=.*"+warning)
		if !regexp.MustCompile("(?m)^warn .*" + warning).MatchString(check) {
			t.Errorf("check does not warn of %s:\n%s", warning, check)
		}
	}
}
