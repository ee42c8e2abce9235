package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/testenv"
)

// program runs commands of the program in a folder with a configuration.
type program struct {
	*testing.T
	dir string
}

// inFolder writes a configuration with a store, keys, two environments and what more there is.
func inFolder(t *testing.T, more string) program {
	t.Helper()
	p := program{t, t.TempDir()}
	p.file("idbridge.keys", p.run(0, "keys", "generate", "--id", "first"))
	p.file("idbridge.yaml", `listen: {address: "127.0.0.1:8443"}
plugin: {public_url: "http://127.0.0.1:8443"}
environments:
  - {name: development, credentials: {username: development, secret: "a-secret-of-more-than-32-bytes-for-tests"}}
  - {name: production, credentials: {username: production, secret: "b-secret-of-more-than-32-bytes-for-tests"}}
keys: {file: idbridge.keys}
`+more)
	return p
}

func (p program) path(name string) string { return filepath.Join(p.dir, name) }

func (p program) file(name, text string) {
	p.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

// run runs a command and wants an exit code; it returns both outputs, the errors last.
func (p program) run(want int, args ...string) string {
	p.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"--config", p.path("idbridge.yaml")}, args...)
	if code := Run(p.Context(), args, strings.NewReader(""), &out, &errs); code != want {
		p.Errorf("%q ended with %d, want %d:\n%s%s", args, code, want, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

func TestCoverage(t *testing.T) {
	member := func(uid string) string { return "member: uid=" + uid + "," + testenv.SlapdPeopleDN + "\n" }
	person := func(uid, more string) string {
		return fmt.Sprintf("dn: uid=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: The %s\nsn: x\n%s\n", uid, testenv.SlapdPeopleDN, uid, uid, more)
	}
	s := testenv.Slapd(t, testenv.SlapdConfig{LDIF: person("ann", "") + person("bob", "") + person("cem", "pwdAccountLockedTime: 000001010000Z\n") +
		person("dan", "") + person("eve", "") + "dn: cn=crew," + testenv.SlapdGroupsDN + "\nobjectClass: groupOfNames\ncn: crew\n" +
		member("ann") + member("bob") + member("cem") + member("dan") + "\n"})
	p := inFolder(t, fmt.Sprintf(`providers:
  - {id: corp, type: ldap, match: {default: true}, urls: [%q], ca_file: %q, bind_dn: %q, bind_password: %q, base_dn: %q, groups: {source: search, name: cn}}
coverage: [{provider: corp, group: crew}]
`, s.URL, s.CAFile, s.BindDN, s.BindPassword, s.BaseDN))
	p.file("users.csv", "username,name,active,id:production,id:development\nann,Ann,yes,1,1\nbob,Bob,yes,,2\ncem,Cem,yes,3,3\nfay,Fay,yes,6,6\neve,Eve,no,5,5\n")
	p.run(0, "users", "import", p.path("users.csv"))

	out := p.run(0, "users", "coverage")
	for _, want := range []string{
		"corp:bob (The bob)  no_id_on_environment [production]\n",
		"corp:cem (The cem)  account_locked: pwdAccountLockedTime is set [development, production]\n",
		"corp:dan (The dan)  no_it_user: no IT user is named \"dan\" [development, production]\n",
		"IT user bob (Bob)  no_id_on_environment [production]\n",
		"IT user cem (Cem)  account_locked: the account that leads to it is refused\n",
		"IT user fay (Fay)  no_account: no account that was looked at leads to it\n",
		"4 accounts: 1 can sign in, 3 are refused somewhere\n4 active IT users: no account leads to 2, ids are missing of 1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "\n"); n != 8 {
		t.Errorf("%d lines:\n%s", n, out)
	}

	var report coverageReport
	if err := json.Unmarshal([]byte(p.run(0, "users", "coverage", "--provider", "corp", "-o", "json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Summary.Accounts != 5 || !slices.ContainsFunc(report.Gaps, func(g itusers.Gap) bool { return g.Account == "eve" && g.Reason == "it_user_inactive" }) {
		t.Errorf("all accounts: %+v", report)
	}
	if out := p.run(1, "users", "coverage", "--provider", "corp", "--group", "nobody"); !strings.Contains(out, "group_unknown") {
		t.Error(out)
	}
	if out := p.run(2, "users", "coverage", "--provider", "crop"); !strings.Contains(out, `there is no provider "crop" that can list`) {
		t.Error(out)
	}
}
