package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/idbridge/idbridge/demodir"
	"github.com/idbridge/idbridge/keyring"
)

// demo is the generated installation.
type demo struct {
	dir              string
	address, metrics string
	directory        *demodir.Directory
	stderr           io.Writer
}

const demoEnvironment = "demo"

func (d demo) file(name string) string { return filepath.Join(d.dir, name) }

// door is the address that the platform calls.
func (d demo) door() string {
	return "https://" + d.address + "/IDBridge/OSPlatformAuthentication.asmx"
}

// generate writes everything that an installation needs, as an administrator would.
func (d demo) generate() error {
	a, err := newAuthority(d.dir)
	if err != nil {
		return err
	}
	if err := a.issue(d.dir, "server"); err != nil {
		return err
	}
	key, err := keyring.Generate("demo")
	if err != nil {
		return err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	for name, text := range map[string]string{
		"idbridge.keys":    key + "\n",
		"secret":           base64.RawURLEncoding.EncodeToString(secret[:]) + "\n",
		"bind-password":    d.directory.BindPassword + "\n",
		"directory-ca.pem": string(d.directory.CAPEM),
		"users.csv":        usersCSV(),
		"idbridge.yaml":    fmt.Sprintf(demoConfig, d.address, d.metrics, d.directory.URL, d.directory.BaseDN, d.directory.BindDN),
	} {
		if err := os.WriteFile(d.file(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func usersCSV() string {
	var b strings.Builder
	b.WriteString("id,username,name,email,active\n")
	for _, p := range people() {
		if p.id > 0 {
			fmt.Fprintf(&b, "%d,%s,%s,%s,true\n", p.id, p.Username, p.Name, p.Email)
		}
	}
	return b.String()
}

const demoConfig = `# Made by "idbridge demo". "idbridge config example" shows every key.
listen:
  address: %q
  tls: {cert_file: server.pem, key_file: server.key}
metrics: {address: %[2]q}
portal: {public_url: "https://%[1]s"}
plugin:
  public_url: "https://%[1]s"
environments:
  - name: demo
    credentials: {username: demo, secret_file: secret}
store: {path: idbridge.db}
keys: {file: idbridge.keys}
providers:
  - id: directory
    type: ldap
    label: The demo's directory
    match: {default: true}
    factor:
      groups: [{group: administrators, policy: required}]
    urls: [%[3]q]
    base_dn: %[4]q
    bind_dn: %[5]q
    bind_password_file: bind-password
    ca_file: directory-ca.pem
    groups: {source: memberOf, name: cn}
mfa: {issuer: idbridge demo}
`
