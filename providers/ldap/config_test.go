package ldap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New("corp", "", Config{
		URLs:   []string{"http://x", "ldap://plain", "ldaps://u:hunter2@x", "ldaps://x/dc=a", "ldaps://y/dc=b", "ldaps://x/dc=a?uid", "ldaps://"},
		CAFile: notPEM, ClientCertFile: "/nonexistent", BindDN: "no dn", BaseDN: "dc=c", Scope: "all", UserFilter: "(uid=x",
		DisabledFilter: "(", Groups: Groups{Source: "ldap", BaseDN: "no dn", Kinds: []string{"club"}}, DialTimeout: -1, SearchPool: -1,
	}, authn.Route{Pattern: "("})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"urls[0]: must begin", "urls[1]: ldap:// sends passwords in clear", "urls[2]: must not hold", "urls[4]: the base DN",
		"urls[5]: attributes", "urls[6]: names no server", "ca_file: ", "client_cert_file", "bind_dn: ", "bind_password: is required",
		"base_dn: \"dc=c\" differs", "scope: ", "user_filter: must contain {0}", "user_filter: LDAP", "disabled_filter: ",
		"groups.source: ", "groups.base_dn: ", "groups.kinds[0]: ", "dial_timeout: ", "search_pool: ", "pattern: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported", want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the password in the URL is shown")
	}
}

func TestThePlatformsURLForm(t *testing.T) {
	for text, want := range map[string][2]string{
		"ldaps://dir.example.com/dc=example,dc=com":             {"dir.example.com:636", "dc=example,dc=com"},
		"ldap://dir.example.com:3890/ou=My%20People,dc=example": {"dir.example.com:3890", "ou=My People,dc=example"},
		"ldap://dir.example.com/ou=My People,dc=example":        {"dir.example.com:389", "ou=My People,dc=example"},
		"ldaps://[::1]:6360/":                                   {"[::1]:6360", ""},
		"ldaps://dir.example.com":                               {"dir.example.com:636", ""},
	} {
		e, base, err := parseURL(text)
		if err != nil || e.address != want[0] || base != want[1] {
			t.Errorf("%s: %q %q %v", text, e.address, base, err)
		}
	}
}

func TestCheckSaysWhatToDo(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1})
	gone := testenv.Slapd(t, testenv.SlapdConfig{Users: 1, CA: s.CA})
	gone.Kill()
	for name, test := range map[string]struct {
		change func(*Config)
		reason string
		want   []string
	}{
		"all well":         {func(*Config) {}, "ok", nil},
		"server down":      {func(c *Config) { c.URLs = append(c.URLs, gone.URL) }, reasonUnreachable, []string{gone.URL, "is the server running"}},
		"wrong authority":  {func(c *Config) { c.CAFile = testenv.CA(t).File }, reasonUnreachable, []string{s.URL, "ca_file"}},
		"wrong name":       {func(c *Config) { c.ServerName = "x.example" }, reasonUnreachable, []string{s.URL, "server_name"}},
		"service account":  {func(c *Config) { c.BindPassword = "no" }, reasonServiceAccount, []string{s.URL, "bind_password"}},
		"base DN":          {func(c *Config) { c.BaseDN = "ou=nowhere," + c.BaseDN }, reasonConfig, []string{s.URL, "base_dn"}},
		"filter finds all": {func(c *Config) { c.UserFilter = "(|(uid={0})(objectClass=*))" }, reasonAmbiguousUser, []string{"user_filter"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := configFor(s)
			test.change(&c)
			err := connect(t, c).Check(t.Context())
			if authn.ReasonOf(err) != test.reason {
				t.Errorf("got %v, want %s", err, test.reason)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestASubjectIsRequired(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 1})
	c := configFor(s)
	c.Attributes.Subject = "pager"
	_, err := connect(t, c).Find(t.Context(), "user00000")
	wantReason(t, err, authn.Unavailable, reasonConfig)
}
