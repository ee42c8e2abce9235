package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
)

// The README's five minutes, step by step, against a real directory: what it says must be all there is to it.
func TestTheReadmesFiveMinutes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)   ```yaml\n(.*?)   ```").FindSubmatch(text)
	if block == nil {
		t.Fatal("the README shows no configuration")
	}
	slapd := testenv.Slapd(t, testenv.SlapdConfig{Users: 3})
	b := &bridge{t: t, dir: t.TempDir(), slapd: slapd}
	listen, metrics := testenv.FreePort(t), testenv.FreePort(t)
	config := strings.ReplaceAll(string(block[1]), "\n   ", "\n")[3:]
	for was, is := range map[string]string{
		"127.0.0.1:8443": fmt.Sprintf("127.0.0.1:%d", listen), "127.0.0.1:9090": fmt.Sprintf("127.0.0.1:%d", metrics),
		"ldaps://ldap.example.com": slapd.URL, "cn=idbridge,ou=services,dc=example,dc=com": slapd.BindDN,
		"base_dn: dc=example,dc=com": "base_dn: " + slapd.BaseDN, "# ca_file: directory-ca.pem": "ca_file: " + slapd.CAFile,
	} {
		if !strings.Contains(config, was) {
			t.Errorf("the README's configuration has no %q", was)
		}
		config = strings.ReplaceAll(config, was, is)
	}
	file := b.write("idbridge.yaml", config)
	b.write("master.key", b.run("", "keys", "generate"))
	b.write("production.secret", strings.Repeat("readme-secret-", 4)+"\n")
	b.write("bind.secret", slapd.BindPassword)
	b.write("production.csv", "id,username,name,email,active\n4711,user00001,One,one@example.test,True\n")

	b.run("", "users", "import", b.file("production.csv"), "--environment", "production", "--config", file)
	if out := b.run("", "check", "--config", file); strings.Contains(strings.ToLower(out), "fail") {
		t.Errorf("check:\n%s", out)
	}
	n := b.start(file, listen)
	b.waitReady(n, fmt.Sprintf("http://127.0.0.1:%d/readyz", metrics))
	out := b.run(testenv.SlapdPassword("user00001")+"\n", "platform", n.url, "--caller", "production",
		"--secret-file", b.file("production.secret"), "--user", "user00001")
	if !strings.Contains(out, "4711") {
		t.Errorf("the transcript does not show the id:\n%s", out)
	}
	if m, _ := filepath.Glob(b.file("*.db")); len(m) != 1 {
		t.Errorf("databases beside the configuration: %v", m)
	}
}
