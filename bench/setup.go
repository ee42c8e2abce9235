package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// bench is everything that runs during the measurements.
type bench struct {
	options
	stage
	slapd     directory
	door      door
	bridge    *process
	reference *bench // beside which another one is measured; may be nil
	binary    string
	config    string
	readyz    string

	portalTLS *tls.Config // of who visits the portal

	memory float64       // peak resident set of any bridge, MiB
	ready  time.Duration // slowest start
	starts int           // of the bridge
}

// prepare starts slapd, builds the program, writes its configuration and imports the users.
func (b *bench) prepare() (err error) {
	defer b.recoverFatal(&err)
	if b.dir = b.keep; b.dir == "" {
		b.dir = b.TempDir()
	}
	fmt.Fprintf(os.Stderr, "slapd with %d users ...\n", b.users)
	s := testenv.Slapd(b, testenv.SlapdConfig{Users: b.users})
	b.slapd = directory{
		url: s.URL, baseDN: s.BaseDN, peopleDN: s.PeopleDN, bindDN: s.BindDN, bindPassword: s.BindPassword, caFile: s.CAFile,
		rdn: "uid", filter: "(&(objectClass=person)(uid=%s))",
		tls: &tls.Config{RootCAs: s.CA.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12},
	}
	fmt.Fprintln(os.Stderr, "building idbridge ...")
	b.binary = filepath.Join(b.dir, "idbridge")
	b.command("env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.binary, "./cmd/idbridge") // as make build
	b.writeFiles()
	b.command(b.binary, "users", "import", "--config", b.config, filepath.Join(b.dir, "users.csv"))
	if err := b.restart(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "linking every user once ...")
	_, err = load{callers: 16, users: b.users}.run(b.door.signIns)
	syscall.Sync() // what was built and filled in is not written while others wait for the disk
	return err
}

// restart starts the bridge anew, with empty caches.
func (b *bench) restart() (err error) {
	if b.bridge != nil {
		b.memory = max(b.memory, b.bridge.memory())
		b.bridge.stop()
	}
	if b.bridge, err = start(b.binary, b.config, b.nextProfile(), b.readyz, filepath.Join(b.dir, "idbridge.log")); err != nil {
		return err
	}
	b.ready = max(b.ready, b.bridge.ready)
	return nil
}

// nextProfile is the file for the processor profile of the bridge that starts now; empty when none is wanted.
func (b *bench) nextProfile() string {
	if b.profile == "" {
		return ""
	}
	b.starts++
	return fmt.Sprintf("%s.%d", b.profile, b.starts)
}

func (b *bench) clean() error {
	if b.bridge != nil {
		b.bridge.stop()
	}
	return b.end()
}

func (b *bench) writeFiles() {
	listen, metrics := testenv.FreePort(b), testenv.FreePort(b)
	b.door = door{
		address: fmt.Sprintf("127.0.0.1:%d", listen), path: "/IDBridge/OSPlatformAuthentication.asmx",
		user: "production", secret: strings.Repeat("bench-secret-", 4),
	}
	b.readyz = fmt.Sprintf("http://127.0.0.1:%d/readyz", metrics)
	b.config = filepath.Join(b.dir, "idbridge.yaml")
	b.write("master.key", b.command(b.binary, "keys", "generate"))
	b.write("idbridge.yaml", fmt.Sprintf(configuration, b.door.address, metrics, b.door.address, b.door.user, b.door.secret)+
		b.provider("corp", "default: true", b.slapd.url)+
		b.provider("flood", "prefixes: [FLOOD]\n      strip_domain: true", b.slapd.url)+
		b.provider("dead", "prefixes: [DEAD]\n      strip_domain: true", b.silentServer()))
	var csv strings.Builder
	csv.WriteString("username,name,email,active,id:production\n")
	for n := range b.users {
		fmt.Fprintf(&csv, "%s,User %d,%s@example.test,true,%d\n", username(n), n, username(n), userID(n))
	}
	b.write("users.csv", csv.String())
}

const configuration = `listen:
  address: %s
metrics:
  address: 127.0.0.1:%d
plugin:
  name: IDBridge
  public_url: http://%s
environments:
  - name: production
    credentials: {username: %s, secret: %s}
store:
  driver: sqlite
  path: idbridge.db
keys:
  file: master.key
log:
  level: warn
providers:
`

func (b *bench) provider(id, match, url string) string {
	return fmt.Sprintf(`  - id: %s
    type: ldap
    match:
      %s
    urls: [%q]
    ca_file: %q
    base_dn: %q
    bind_dn: %q
    bind_password: %q
    user_filter: "(&(objectClass=person)(uid={0}))"
`, id, match, url, b.slapd.caFile, b.slapd.baseDN, b.slapd.bindDN, b.slapd.bindPassword)
}

// silentServer accepts connections and never says a word.
func (b *bench) silentServer() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return "ldaps://" + l.Addr().String()
}

func (b *bench) write(name, text string) {
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) command(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// errFatal carries a testenv failure out of the deep.
type errFatal struct{ text string }

func (e errFatal) Error() string { return e.text }

// recoverFatal turns what Fatal threw into prepare's error.
func (b *bench) recoverFatal(err *error) {
	switch v := recover().(type) {
	case nil:
	case errFatal:
		*err = errors.Join(*err, v)
	default:
		panic(v)
	}
}
