// Package e2e_test runs the real program against real servers and asks it what its users would: whether people sign in,
// whether nobody else does, and whether everything that was answered can be proven afterwards.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// The binary under test, and the same without the race detector.
var program, fastProgram string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "idbridge-e2e-")
	if err != nil {
		panic(err)
	}
	program, fastProgram = filepath.Join(dir, "idbridge"), filepath.Join(dir, "idbridge-fast")
	for _, args := range [][]string{{"-race", "-o", program}, {"-o", fastProgram}} {
		build := exec.Command("go", append(append([]string{"build"}, args...), "../cmd/idbridge")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	flag.Parse()
	if n := runtime.GOMAXPROCS(0); flag.Lookup("test.parallel").Value.String() == strconv.Itoa(n) {
		_ = flag.Set("test.parallel", strconv.Itoa(2*n)) // most of the time a test waits, for servers, refusals and pages
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// bridge is one installation: a folder with a configuration, and the processes that serve it.
type bridge struct {
	t      *testing.T
	dir    string
	store  string // the store: section's body
	extra  string // further top-level settings
	plugin string // further settings of plugin
	more   string // further settings of the environment production
	slapd  *testenv.SlapdServer
	urls   []string
	secret string

	fast      bool          // served by the program without the race detector
	providers func() string // the body of the providers: section
}

// node is one running process of an installation.
type node struct {
	*testenv.Process
	url     string // of the plugin
	config  string // its file
	metrics string // URL of the operators' listener; "" of a node that start started
}

const usersInDirectory = 100

func newBridge(t *testing.T) *bridge {
	slapd := testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory})
	b := emptyBridge(t)
	b.slapd, b.urls, b.providers = slapd, []string{slapd.URL}, b.ldapProvider
	return b
}

// emptyBridge is one without providers.
func emptyBridge(t *testing.T) *bridge {
	b := &bridge{t: t, dir: t.TempDir(), secret: strings.Repeat("e2e-secret-", 4)}
	b.store = "driver: sqlite\n  path: idbridge.db"
	b.write("master.key", b.run("", "keys", "generate"))
	return b
}

func (b *bridge) file(name string) string { return filepath.Join(b.dir, name) }

func (b *bridge) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.file(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.file(name)
}

// configure writes the configuration for one node and returns its file.
func (b *bridge) configure(listen, metrics int) string {
	b.t.Helper()
	return b.write(fmt.Sprintf("idbridge-%d.yaml", listen), fmt.Sprintf(`listen:
  address: 127.0.0.1:%d
metrics:
  address: 127.0.0.1:%d
plugin:
  name: IDBridge
  public_url: http://127.0.0.1:%d
%senvironments:
  - name: production
    credentials:
      username: production
      secret: %s
%s  - name: quality
    path: QualityBridge
    ids: module
    credentials:
      username: quality
      secret: quality-%s
store:
  %s
keys:
  file: master.key
log:
  level: debug
providers:
%s%s`, listen, metrics, listen, b.plugin, b.secret, b.more, b.secret, b.store, b.providers(), b.extra))
}

func (b *bridge) ldapProvider() string {
	return fmt.Sprintf(`  - id: corp
    type: ldap
    match:
      default: true
    urls: ["%s"]
    ca_file: %s
    base_dn: %s
    bind_dn: %s
    bind_password: %s
`, strings.Join(b.urls, `", "`), b.slapd.CAFile, b.slapd.BaseDN, b.slapd.BindDN, b.slapd.BindPassword)
}

// importUsers gives every user of the directory an IT user with id 1000+n on production.
func (b *bridge) importUsers() {
	b.t.Helper()
	var csv strings.Builder
	csv.WriteString("username,name,email,active,id:production\n")
	for n := range usersInDirectory {
		u := testenv.SlapdUser(n)
		fmt.Fprintf(&csv, "%s,User %d,%s@example.test,true,%d\n", u, n, u, 1000+n)
	}
	b.run("", "users", "import", "--config", b.configure(1, 2), b.write("users.csv", csv.String()))
}

// run runs a command of the program to its end and returns what it printed.
func (b *bridge) run(stdin string, args ...string) string {
	b.t.Helper()
	out, stderr, err := b.command(stdin, args...)
	if err != nil {
		b.t.Fatalf("idbridge %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr)
	}
	return out
}

// try is run for a command that may fail.
func (b *bridge) try(args ...string) (out string, err error) {
	b.t.Helper()
	out, stderr, err := b.command("", args...)
	return out + stderr, err
}

func (b *bridge) command(stdin string, args ...string) (out, stderr string, err error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	err = cmd.Run()
	return said.String(), complained.String(), err
}

// serve starts one more node and waits until it is ready.
func (b *bridge) serve() *node {
	b.t.Helper()
	listen, metrics := testenv.FreePort(b.t), testenv.FreePort(b.t)
	n := b.start(b.configure(listen, metrics), listen)
	n.metrics = fmt.Sprintf("http://127.0.0.1:%d", metrics)
	b.waitReady(n, n.metrics+"/readyz")
	return n
}

// start runs serve, which will listen on a port.
func (b *bridge) start(config string, listen int) *node {
	b.t.Helper()
	binary := program
	if b.fast {
		binary = fastProgram
	}
	n := &node{
		Process: testenv.Start(b.t, []int{listen}, binary, "serve", "--config", config),
		url:     fmt.Sprintf("http://127.0.0.1:%d/IDBridge/OSPlatformAuthentication.asmx", listen),
		config:  config,
	}
	b.t.Cleanup(func() {
		n.Stop()
		if text := n.Output(); strings.Contains(text, "DATA RACE") {
			b.t.Errorf("data race in the bridge:\n%s", text)
		}
	})
	return n
}

func (b *bridge) waitReady(n *node, url string) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := soapHTTP.Get(url); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	b.t.Fatalf("not ready after a minute:\n%s", n.Output())
}

// answer is the platform's view of a sign-in.
type answer struct {
	Success bool   `xml:"Body>User_AuthenticateWithCredentialsResponse>Status>Success"`
	UserID  int    `xml:"Body>User_AuthenticateWithCredentialsResponse>UserId"`
	ID      int    `xml:"Body>User_AuthenticateWithCredentialsResponse>Status>ResponseId"`
	Message string `xml:"Body>User_AuthenticateWithCredentialsResponse>Status>ResponseMessage"`
	Info    string `xml:"Body>User_AuthenticateWithCredentialsResponse>Status>ResponseAdditionalInfo"`
}

// signIn asks a node as the production environment does. It may be used by many goroutines.
func (b *bridge) signIn(n *node, user, password string) (answer, error) {
	var body bytes.Buffer
	body.WriteString(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` +
		`<User_AuthenticateWithCredentials xmlns="http://www.outsystems.com"><Username>`)
	_ = xml.EscapeText(&body, []byte(user))
	body.WriteString("</Username><Password>")
	_ = xml.EscapeText(&body, []byte(password))
	body.WriteString("</Password></User_AuthenticateWithCredentials></s:Body></s:Envelope>")
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, n.url, &body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.SetBasicAuth("production", b.secret)
	resp, err := soapHTTP.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("HTTP %d: %s %w", resp.StatusCode, text, err)
	}
	var a answer
	return a, xml.Unmarshal(text, &a)
}

var soapHTTP = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// must is signIn for a test's own goroutine.
func (b *bridge) must(n *node, user, password string) answer {
	b.t.Helper()
	a, err := b.signIn(n, user, password)
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", user, err, n.Output())
	}
	return a
}

var (
	secretLine   = regexp.MustCompile(`(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}`)
	recoveryLine = regexp.MustCompile(`(?:[BCDFGHJKLMNPQRSTVWXZ]{4}-){4}[BCDFGHJKLMNPQRSTVWXZ]{4}`)
)

// enrolment is what a user holds after `idbridge mfa enrol`.
type enrolment struct {
	secret   []byte
	used     int64 // the step of the enrolment's own code
	recovery []string
}

// enrol runs the command as an administrator beside the user would: read the secret, type the code.
func (b *bridge) enrol(user string) enrolment {
	b.t.Helper()
	cmd := exec.Command(program, "mfa", "enrol", "--plain", "--config", b.configure(1, 2), user)
	stdin, err := cmd.StdinPipe()
	b.check(err)
	stdout, err := cmd.StdoutPipe()
	b.check(err)
	b.check(cmd.Start())
	var e enrolment
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if text := secretLine.FindString(lines.Text()); text != "" && e.secret == nil {
			e.secret, err = base32.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", ""))
			b.check(err)
			e.used = time.Now().Unix() / 30
			_, err = fmt.Fprintln(stdin, e.code(e.used))
			b.check(err)
		}
		e.recovery = append(e.recovery, recoveryLine.FindAllString(lines.Text(), -1)...)
	}
	b.check(cmd.Wait())
	if e.secret == nil {
		b.t.Fatal("mfa enrol showed no secret")
	}
	return e
}

func (b *bridge) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// code is RFC 6238's, written down a second time.
func (e enrolment) code(step int64) string {
	m := hmac.New(sha1.New, e.secret)
	_ = binary.Write(m, binary.BigEndian, step) // a hash takes everything
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// next is a code that was not used yet: the one step of tolerance lets a test go on without waiting.
func (e *enrolment) next() string {
	e.used = max(e.used+1, time.Now().Unix()/30-1)
	return e.code(e.used)
}
