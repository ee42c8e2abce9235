package main

import (
	"strings"
	"testing"
)

// The administrators' section is checked with the rest: each mistake at its key.
func TestAdminConfig(t *testing.T) {
	const good = "\nadmin:\n  public_url: https://admin.example.com:9443\n  address: 127.0.0.1:9443\n  allow_from: [127.0.0.0/8]\n" +
		"  roles: [{role: administrator, provider: corp, group: admins}]\n"
	for name, one := range map[string]struct{ from, to, want string }{
		"good":                             {"", "", ""},
		"no TLS beyond this machine":       {"127.0.0.1:9443", "0.0.0.0:9443", "admin.tls.cert_file: is missing"},
		"another door's listener":          {"127.0.0.1:9443", "127.0.0.1:8443", "admin.address: is another door's"},
		"plain HTTP":                       {"https://admin", "http://admin", "admin.public_url: is not https"},
		"no allow-list":                    {"  allow_from: [127.0.0.0/8]\n", "", "admin.allow_from"},
		"an unknown provider":              {"provider: corp", "provider: other", `admin.roles[0].provider: there is no provider "other"`},
		"a whole directory administers":    {", group: admins", "", "admin.roles[0].group: is missing: everybody of corp would be administrator"},
		"an unknown role":                  {"role: administrator", "role: boss", "admin.roles[0].role"},
		"a session that ends at once":      {"  roles:", "  session_idle: 0s\n  roles:", "admin.session_idle: must be longer"},
		"a language that nobody speaks":    {"  roles:", "  branding_dir: /nowhere\n  roles:", "admin.branding_dir"},
		"a role without a provider at all": {", provider: corp", "", "admin.roles[0].provider"},
	} {
		text := exampleConfig + strings.Replace(good, one.from, one.to, 1)
		_, err := parseConfig("x.yaml", []byte(text))
		if one.want == "" && err != nil || one.want != "" && (err == nil || !strings.Contains(err.Error(), one.want)) {
			t.Errorf("%s: %v, want %q", name, err, one.want)
		}
	}
}
