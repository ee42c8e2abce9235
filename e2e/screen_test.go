package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/soapclients"
)

// lifetime is a foreign client that plays LifeTime's screen on an environment.
type lifetime struct {
	b       *bridge
	client  soapclients.Client
	service soapclients.Service
}

func (b *bridge) lifetime(n *node, environment, secret string) lifetime {
	url := n.url
	if environment == "quality" {
		url = strings.Replace(url, "/IDBridge/", "/QualityBridge/", 1)
	}
	return lifetime{b, soapclients.All()[0], soapclients.Service{URL: url, User: environment, Secret: secret}}
}

// set sends one setting, and reads all of them afterwards.
func (l lifetime) set(name, value string) (answer soapclients.Answer, now map[string]string) {
	l.b.t.Helper()
	answers := l.client.Calls(l.b.t, l.service, soapclients.Call{Method: "Plugin_SetConfigurations", Args: []string{name, value}},
		soapclients.Call{Method: "Plugin_GetAllConfigurations"})
	now = map[string]string{}
	for _, p := range answers[1].Pairs {
		now[p[0]] = p[1]
	}
	return answers[0], now
}

// TestThePlatformsScreen: settings are changed from the platform, judged, kept as versions, propagated, recorded and rolled back.
func TestThePlatformsScreen(t *testing.T) {
	b := newBridge(t)
	b.importUsers()
	b.extra = "managed: store\n"
	b.plugin = "  configuration: {provider: corp}\n"
	n := b.serve()
	file := n.config
	production, quality := b.lifetime(n, "production", b.secret), b.lifetime(n, "quality", "quality-"+b.secret)
	user := testenv.SlapdUser(5)

	// What they are, with the password masked; the same again makes no version, nor does a password that is masked.
	a, now := production.set("BindPassword", "********")
	if !a.Success || a.Message != "Nothing changed: the settings were these already." {
		t.Errorf("%+v", a)
	}
	want := map[string]string{"ProviderKind": "ldap", "LDAPURL": b.slapd.URL, "StartTLS": "False", "BaseDN": b.slapd.BaseDN, "UserFilter": "",
		"DefaultDomain": "", "BindDN": b.slapd.BindDN, "BindPassword": "********", "SecondFactorPolicy": "enrolled"}
	for name, value := range want {
		if now[name] != value {
			t.Errorf("%s is %q, want %q", name, now[name], value)
		}
	}
	if len(now) != len(want) {
		t.Errorf("%v", now)
	}

	// What is wrong is told, and changes nothing.
	for _, test := range []struct{ name, value, want string }{
		{"BindPassword", "canary-wrong", "corp: it was changed, and does not work"},
		{"BaseDN", "no dn", "BaseDN: \"no dn\" is not a DN"},
		{"LDAPURL", "", "LDAPURL: is mandatory for the kind ldap"},
		{"LDAPURL", "ldaps://elsewhere.example.test", "BindPassword: must be typed again: the server is another one"},
		{"LDAPURL", strings.Replace(b.slapd.URL, "ldaps:", "ldap:", 1), "BindPassword: must be typed again"},
		{"UserFilter", "(uid=x)", "UserFilter: must contain {0}"},
		{"StartTLS", "maybe", `StartTLS: "maybe" is neither True nor False`},
		{"SecondFactorPolicy", "sometimes", `SecondFactorPolicy: "sometimes" is not one of never, enrolled, required`},
		{"SecondFactorPolicy", "required", "everybody must prove a second factor, nobody has one"},
		{"ProviderKind", "saml", `ProviderKind: "saml" is not one of activedirectory, ldap`},
		{"ProviderKind", "activedirectory", "DefaultDomain: is mandatory for the kind activedirectory"},
		{"DefaultDomain", "x", "DefaultDomain: has no meaning for the kind ldap"},
		{"StorePath", "/tmp/x", `"StorePath": there is no such setting`},
	} {
		a, after := production.set(test.name, test.value)
		if a.Success || a.ResponseID != 13 || !strings.Contains(a.Message, test.want) || !strings.HasPrefix(a.Message, "Nothing was changed.") {
			t.Errorf("%s = %q: %+v, want %q", test.name, test.value, a, test.want)
		}
		for name := range want {
			if after[name] != want[name] {
				t.Errorf("%s = %q changed %s to %q", test.name, test.value, name, after[name])
			}
		}
	}
	if got := b.metric(n, "idbridge_configuration_version"); got != 1 {
		t.Errorf("version %v", got)
	}

	// A change is a version at once; propagating it to the next environment makes none.
	filter := "(&(objectClass=person)(uid={0})(!(uid=" + user + ")))"
	if a, now = production.set("UserFilter", filter); !a.Success || a.Message != "Saved as version 2 of idbridge's configuration." || now["UserFilter"] != filter {
		t.Errorf("%+v", a)
	}
	if a := b.must(n, user, testenv.SlapdPassword(user)); a.Success {
		t.Error("the new filter does not count")
	}
	if drift := b.run("", "config", "drift", "--config", file); !strings.Contains(drift, "all the same") || !strings.Contains(drift, "never") {
		t.Error(drift)
	}
	if a, _ = quality.set("UserFilter", filter); !a.Success || !strings.HasPrefix(a.Message, "Nothing changed") {
		t.Errorf("%+v", a)
	}
	// From now on production has other settings than quality was told.
	if a, _ = production.set("UserFilter", ""); !a.Success {
		t.Errorf("%+v", a)
	}
	drift := strings.Fields(strings.ReplaceAll(b.run("", "config", "drift", "--config", file), filter, "FILTER"))
	if at := slices.Index(drift, "quality"); at < 0 || !slices.Equal(drift[at+2:], []string{"2", "UserFilter", "FILTER"}) {
		t.Errorf("drift: %v", drift)
	}
	// It is all in the audit, and goes back by a rollback.
	b.run("", "config", "rollback", "2", "--config", file)
	b.await("version 4 is in force", func() bool { return b.metric(n, "idbridge_configuration_version") == 4 })
	records := b.run("", "audit", "export", "--config", file)
	for _, want := range []string{`"actor":"environment:production"`, "version 2 from 1: set on the platform's screen", `"reason":"configuration_refused"`} {
		if !strings.Contains(records, want) {
			t.Errorf("the audit lacks %s\n%s", want, records)
		}
	}
	if strings.Contains(records+n.Output(), "canary-wrong") || strings.Contains(records, b.slapd.BindPassword) {
		t.Error("a password shows")
	}
	out := b.run("", "platform", n.url, "--caller", "production", "--secret-file", b.write("secret", b.secret))
	if !strings.Contains(out, "ConfigurationAPI.Supported: True") || !strings.Contains(out, "BindPassword = ********") {
		t.Error(out)
	}
}

// TestTheScreenIsOffUnlessSwitchedOn.
func TestTheScreenIsOffUnlessSwitchedOn(t *testing.T) {
	b := newBridge(t)
	n := b.serve()
	if a, now := b.lifetime(n, "production", b.secret).set("BaseDN", "dc=x"); a.Success || a.ResponseID != 12 || now["BindPassword"] != "" {
		t.Errorf("%+v, %v", a, now)
	}
	b.plugin = "  configuration: {provider: corp}\n"
	if out, err := b.try("config", "validate", b.configure(1, 2)); err == nil || !strings.Contains(out, "plugin.configuration: needs managed: store") {
		t.Errorf("%v\n%s", err, out)
	}
}
