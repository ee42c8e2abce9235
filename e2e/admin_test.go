package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// The journey of an administrator with a browser: signs in with an account of the directory and a code, adds an IT user who
// then signs in at the platform's door, finds a refused sign-in explained, changes the provider after a test and a trial, is
// kept from locking everybody out, and goes back. Every step is in the audit, which holds together.
func TestAdministratorsJourney(t *testing.T) {
	boss := testenv.SlapdUser(1)
	b := emptyBridge(t)
	b.slapd = testenv.Slapd(t, testenv.SlapdConfig{Users: usersInDirectory, LDIF: "dn: cn=idbridge-admins," + testenv.SlapdGroupsDN +
		"\nobjectClass: groupOfNames\ncn: idbridge-admins\nmember: uid=" + boss + "," + testenv.SlapdPeopleDN + "\n"})
	b.urls, b.providers = []string{b.slapd.URL}, func() string {
		return b.ldapProvider() + "    groups: {source: search, base_dn: \"" + b.slapd.GroupsDN + "\", name: cn}\n"
	}
	port, c := testenv.FreePort(t), b.slapd.CA.Server(t)
	b.extra = fmt.Sprintf("managed: store\nadmin:\n  public_url: https://127.0.0.1:%d\n  address: 127.0.0.1:%d\n  tls: {cert_file: %s, key_file: %s}\n"+
		"  allow_from: [127.0.0.0/8]\n  roles: [{role: administrator, provider: corp, group: idbridge-admins}]\n", port, port, c.CertFile, c.KeyFile)
	b.importUsers()
	node := b.serve()
	d := &door{bridge: b, node: node, url: fmt.Sprintf("https://127.0.0.1:%d", port), cert: c.TLS.Leaf}
	e := b.enrol(boss)
	p := d.browser(chromium.Options{})
	look := func(name string) {
		t.Helper()
		p.Sound(name, maxPage)
		p.Screenshot("admin-journey/" + name)
	}

	d.signIn(p, boss)
	d.at(p, "/login/next", "Enter your code")
	e.used++ // the code of the step after the one of the enrolment
	for time.Now().Unix()/30 < e.used-1 {
		time.Sleep(100 * time.Millisecond)
	}
	p.Type("#code", e.code(e.used))
	p.Click("button.primary")
	d.at(p, "/", "Overview")
	look("1-overview")

	p.Open(d.url + "/users/edit?name=" + testenv.SlapdUser(42))
	p.Eval(`document.getElementById("id-0").value = "4242"; true`, new(bool))
	p.Click("button.primary")
	d.at(p, "/users/show", "User 42")
	look("2-user")
	if a := d.must(node, testenv.SlapdUser(42), testenv.SlapdPassword(testenv.SlapdUser(42))); !a.Success || a.UserID != 4242 {
		t.Errorf("after the id was changed: %+v", a)
	}
	if a := d.must(node, testenv.SlapdUser(43), "wrong"); a.Success {
		t.Error("signed in with a wrong password")
	}
	b.await("the index has the refusal", func() bool {
		p.Open(d.url + "/audit?kind=refused&user=" + testenv.SlapdUser(43))
		return p.Has("tbody a")
	})
	p.Click("tbody a")
	d.at(p, "/audit/explain", "Refused: sign-in of")
	if got := p.Text("main"); !strings.Contains(got, "wrong_password") {
		t.Errorf("the call is explained as %q", got)
	}
	look("3-explained")

	p.Open(d.url + "/providers/edit?id=corp")
	look("4-provider")
	p.Eval(`document.querySelector("[name=label]").value = "Everybody at Example"; true`, new(bool))
	p.Click("form.card button.primary")
	d.at(p, "/providers/proposal", "Change of provider corp")
	p.Click(`form[action$="/proposal/test"] button`)
	d.at(p, "/providers/proposal/test", "Change of provider corp")
	look("5-tested")
	if failed := p.Has(".v-fail"); failed {
		t.Error("the test of the provider failed")
	}
	p.Type("#username", testenv.SlapdUser(44))
	p.Type("#password", testenv.SlapdPassword(testenv.SlapdUser(44)))
	p.Click(`form[action$="/proposal/try"] button`)
	if got := p.Text("[aria-labelledby=try]"); !strings.Contains(got, "The password is right") || !strings.Contains(got, "1044") {
		t.Errorf("the trial says %q", got)
	}
	p.Type("#comment", "a better name")
	p.Click(`form[action$="/proposal/save"] button.primary`)
	d.at(p, "/providers", "Providers")
	b.await("the version is in force", func() bool {
		p.Open(d.url + "/providers")
		return strings.Contains(p.Text("main"), "Version 2 is in force") && strings.Contains(p.Text("main"), "Everybody at Example")
	})
	look("6-providers")

	p.Open(d.url + "/providers/edit?id=corp")
	p.Eval(`document.querySelector("[name=urls]").value = "ldaps://127.0.0.1:1"; true`, new(bool))
	p.Click("form.card button.primary")
	p.Click(`form[action$="/proposal/save"] button.primary`)
	if got := p.Text("main"); !strings.Contains(got, "Nobody could sign in any more") {
		t.Errorf("a directory that is not there: %q", got)
	}
	look("7-locked-out")
	p.Open(d.url + "/providers/versions")
	look("8-versions")
	p.Click("td.act button")
	d.at(p, "/providers/proposal", "Back to version 1")
	p.Click(`form[action$="/proposal/save"] button.primary`)
	d.at(p, "/providers", "Providers")
	b.await("the version before is in force again", func() bool {
		p.Open(d.url + "/providers")
		return strings.Contains(p.Text("main"), "Version 3 is in force")
	})
	if a := d.must(node, testenv.SlapdUser(44), testenv.SlapdPassword(testenv.SlapdUser(44))); !a.Success {
		t.Errorf("after going back: %+v", a)
	}
	trail := b.run("", "audit", "export", "--config", b.configure(1, 2))
	for _, want := range []string{"id:production: 1042 → 4242", "admin:" + boss, "a better name", "back to version 1"} {
		if !strings.Contains(trail, want) {
			t.Errorf("the audit lacks %q", want)
		}
	}
	b.run("", "audit", "verify", "--config", b.configure(1, 2))
}
