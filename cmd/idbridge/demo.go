package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/demodir"
)

func newDemo() *cobra.Command {
	var keep, address string
	cmd := &cobra.Command{
		Use: "demo", Short: "Try everything on this machine, nothing installed",
		Long: `Starts a small LDAP directory in this process and, with a generated configuration, the same program as
"idbridge serve", on loopback. Prints the users, a curl line that signs one in, and the command that plays the platform.
Ctrl-C ends it.`,
		Example: "  idbridge demo\n  idbridge demo --keep ./demo    # leaves the configuration there as a starting point",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), keep, address, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "", "make the configuration, keys and database in this folder and leave them there")
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8443", "where to listen; another free port is taken if this one is not")
	cmd.AddCommand(newDemoCode())
	return cmd
}

// person is one user of the demo and what they are there to show.
type person struct {
	demodir.User
	id   int // on the demo environment; 0: no IT user at all
	what string
}

func people() []person {
	user := func(name, full string, groups ...string) demodir.User {
		return demodir.User{Username: name, Password: name + "-password", Name: full, Email: name + "@demo.example", Groups: groups}
	}
	return []person{
		{user("alice", "Alice Plain", "developers"), 1001, "signs in with her password"},
		{user("bob", "Bob Twofactor", "administrators"), 1002, "needs a code, in the portal or directly behind his password"},
		{user("carol", "Carol Unmapped"), 0, "password right, but no IT user of that name: not mapped"},
		{user("dave", "Dave Notenrolled", "administrators"), 1004, "must have a second factor and has none: not enrolled"},
	}
}

func runDemo(ctx context.Context, keep, address string, stdout, stderr io.Writer) error {
	dir, remove, err := demoFolder(keep)
	if err != nil {
		return err
	}
	defer remove()
	var users []demodir.User
	for _, p := range people() {
		users = append(users, p.User)
	}
	directory, err := demodir.Start(demodir.Config{Users: users})
	if err != nil {
		return fmt.Errorf("the demo's directory: %w", err)
	}
	defer directory.Close()
	d := demo{dir: dir, address: freeAddress(address), metrics: freeAddress("127.0.0.1:9090"), directory: directory, stderr: stderr}
	if err := d.generate(); err != nil {
		return err
	}
	c, err := loadConfig(d.file("idbridge.yaml"))
	if err != nil {
		return err
	}
	secret, err := d.fill(ctx, c)
	if err != nil {
		return err
	}
	err = serve(ctx, c, stderr, func(net.Addr) { d.introduce(stdout, c, secret) })
	if keep != "" {
		fmt.Fprintf(stdout, "%s is left as it is. Its directory has ended with the demo: put your own into idbridge.yaml.\n", dir)
	}
	return err
}

// demoFolder is where the demo's files go, and what takes them away afterwards.
func demoFolder(keep string) (dir string, remove func(), err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "idbridge-demo-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if dir, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "idbridge.yaml")); !errors.Is(err, os.ErrNotExist) {
		return "", nil, usageError{fmt.Errorf("%s holds an idbridge.yaml already: name another folder", dir)}
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}

// freeAddress is the wanted address if nobody listens there, otherwise one with a free port.
func freeAddress(wanted string) string {
	host, _, _ := net.SplitHostPort(wanted)
	for _, address := range []string{wanted, net.JoinHostPort(host, "0")} {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	return wanted
}

// fill imports the users and enrols bob. It returns the secret of his authenticator app.
func (d demo) fill(ctx context.Context, c Config) (secret string, err error) {
	args := []string{"users", "import", d.file("users.csv"), "--environment", demoEnvironment, "--config", d.file("idbridge.yaml")}
	if code := Run(ctx, args, strings.NewReader(""), io.Discard, d.stderr); code != exitOK {
		return "", errSaid
	}
	b, err := openBackend(ctx, c)
	if err != nil {
		return "", err
	}
	defer b.Close()
	bob, err := b.findUser(ctx, "bob")
	if err != nil {
		return "", err
	}
	e, err := b.factors.Enrol(ctx, bob)
	if err != nil {
		return "", err
	}
	secret = strings.ReplaceAll(e.Secret.Reveal(), " ", "")
	code, err := appCode(secret, time.Now().Add(-30*time.Second)) // the step before, so that the present code is not used up
	if err != nil {
		return "", err
	}
	if _, err = b.factors.Confirm(ctx, bob, e.ID, code); err != nil {
		return "", err
	}
	return secret, b.note(ctx, audit.Record{Action: audit.FactorEnrolled, ITUser: bob.Username, Detail: "for the demo"})
}

// introduce prints what to do now, within 100 columns.
func (d demo) introduce(w io.Writer, c Config, secret string) {
	fmt.Fprintf(w, `
idbridge is answering. Ctrl-C ends it.

  plugin   %s
  portal   https://%s/ (let your browser trust ca.pem)
  metrics  http://%s/metrics
  files    %s

`, d.door(), d.address, d.metrics, d.dir)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "USER\tPASSWORD\tID\tWHAT HAPPENS")
	for _, p := range people() {
		id := "-"
		if p.id > 0 {
			id = fmt.Sprint(p.id)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Username, p.Password, id, p.what)
	}
	_ = t.Flush()
	caller := c.Environments[0].Credentials.Username
	fmt.Fprintf(w, `
Sign alice in as the platform does:

  curl -sS --cacert %[1]s \
    -u %[2]s:$(cat %[3]s) -H 'Content-Type: text/xml' \
    -d '%[4]s' \
    %[5]s

Play the platform, from the WSDL to a sign-in:

  %[6]s platform %[5]s \
    --ca-file %[1]s \
    --caller %[2]s --secret-file %[3]s \
    --user alice --password alice-password

What bob's authenticator app shows now, for the portal or directly behind his password:

  %[6]s demo code %[7]s

Look at what was decided:

  %[6]s audit tail --config %[8]s

`, quoted(d.file("ca.pem")), caller, quoted(d.file("secret")), envelope("alice", "alice-password"), d.door(), itself(),
		secret, quoted(d.file("idbridge.yaml")))
}

// envelope is a sign-in as SOAP.
func envelope(username, password string) string {
	return `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>
    <User_AuthenticateWithCredentials xmlns="http://www.outsystems.com">
      <Username>` + username + `</Username><Password>` + password + `</Password>
    </User_AuthenticateWithCredentials></Body></Envelope>`
}

// quoted is a file's name as a shell reads it.
func quoted(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(plainInShells, r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

const plainInShells = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+:@%"

// itself is how this program is started again, from where it was started.
func itself() string {
	name, err := os.Executable()
	if err != nil || strings.Contains(name, "go-build") {
		return "go run ./cmd/idbridge"
	}
	return quoted(name)
}
