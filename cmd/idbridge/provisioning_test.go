package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/lifetime"
)

// TestLifeTime goes from a directory's group to an IT user here: provisioned at LifeTime, read back as a source.
func TestLifeTime(t *testing.T) {
	there := lifetime.Start(t)
	there.Add(lifetime.User{Username: "admin", Name: "Admin", IsActive: true, RoleKey: there.Role("Administrator")})
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 3, LDIF: "dn: cn=devs," + testenv.SlapdGroupsDN + "\nobjectClass: groupOfNames\ncn: devs\n" +
		"member: uid=user00000," + testenv.SlapdPeopleDN + "\nmember: uid=user00002," + testenv.SlapdPeopleDN + "\n\n"})
	p := inFolder(t, fmt.Sprintf(`providers:
  - {id: corp, type: ldap, match: {default: true}, urls: [%q], ca_file: %q, bind_dn: %q, bind_password: %q, base_dn: %q, groups: {source: search, name: cn}}
provisioning:
  lifetime: {url: %q, ca_file: %q, token_file: token}
  rules: [{provider: corp, group: devs, role: Developer, teams: [{team: Web, role: Developer}]}]
sources: [{id: lifetime, type: lifetime, owns: users, url: %q, ca_file: %q, token_file: token}]
`, s.URL, s.CAFile, s.BindDN, s.BindPassword, s.BaseDN, there.URL, there.CAFile, there.URL, there.CAFile))
	p.file("token", there.Token)
	wants := func(out string, lines ...string) {
		t.Helper()
		for _, l := range lines {
			if !strings.Contains(out, l+"\n") {
				t.Errorf("there is no line %q in\n%s", l, out)
			}
		}
		if strings.Contains(out, there.Token) {
			t.Error("the token is shown")
		}
	}

	wants(p.run(0, "users", "provision", "--dry-run"), "provisioning: add user00000: role: developer, team web as developer",
		"provisioning: dry run: 2 listed: 2 added, 0 changed, 0 deactivated, 0 unchanged, 0 refused")
	if there.User("user00000").Key != "" {
		t.Error("a dry run made a user")
	}
	p.run(0, "users", "provision")
	if u := there.User("user00002"); !u.IsActive || u.RoleName != "Developer" || len(u.Teams) != 1 {
		t.Errorf("LifeTime has %+v", u)
	}
	wants(p.run(0, "users", "provision"), "provisioning: 2 listed: 0 added, 0 changed, 0 deactivated, 2 unchanged, 0 refused")

	wants(p.run(0, "users", "sync"), "lifetime: 3 listed: 3 added, 0 changed, 0 deactivated, 0 unchanged, 0 refused")
	if out := p.run(0, "users", "list"); !strings.Contains(out, "user00002") {
		t.Error(out)
	}
	out := p.run(0, "users", "sources", "provisioning")
	if strings.Count(out, "done") != 2 || !strings.Contains(out, "2 listed: 2 added") {
		t.Error(out)
	}
	if out := p.run(0, "audit", "tail"); !strings.Contains(out, `user provisioned ok it_user="user00000"`) {
		t.Error(out)
	}

	there.Block(lifetime.Blocked{UserKey: there.User("user00000").Key, EnvironmentKey: there.Environment("Production"), IpAddress: "192.0.2.7"})
	if out := p.run(0, "users", "blocked-logins", "list", "USER00000", "--environment", "production"); !strings.Contains(out, "IpAddress=192.0.2.7") {
		t.Error(out)
	}
	wants(p.run(0, "users", "blocked-logins", "clear", "user00000"), "user00000: blocked logins are cleared")
	if out := p.run(0, "users", "blocked-logins", "list", "user00000", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Error(out)
	}
	wants(p.run(2, "users", "blocked-logins", "list", "user00000", "--environment", "Mars"),
		`idbridge: --environment "Mars": LifeTime knows Development, Production`)

	there.Break(lifetime.Emptied)
	if out := p.run(1, "users", "sync"); !strings.Contains(out, "source_empty") {
		t.Error(out)
	}
	if out := p.run(1, "users", "provision"); !strings.Contains(out, "nothing was changed") {
		t.Error(out)
	}
	there.Break(nil)
	if out := p.run(0, "users", "list", "--inactive"); strings.Contains(out, "user0") {
		t.Error(out)
	}
	if out := p.run(1, "check"); !strings.Contains(out, "warn  source lifetime") || !strings.Contains(out, "the last run, at") {
		t.Error(out)
	}
}
