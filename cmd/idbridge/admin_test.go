package main

import (
	"regexp"
	"testing"
)

// TestRulesOfAdministration: each rule alone, with the place and the words of its problem.
func TestRulesOfAdministration(t *testing.T) {
	section := func(pairs ...string) string {
		keys := map[string]string{"public_url": "https://admin.example.com", "address": "127.0.0.1:9443", "allow_from": "[10.0.0.0/8]",
			"roles": "[{role: viewer, provider: corp, group: auditors}]"}
		for i := 0; i < len(pairs); i += 2 {
			keys[pairs[i]] = pairs[i+1]
		}
		text := "\nadmin:\n"
		for key, value := range keys {
			text += "  " + key + ": " + value + "\n"
		}
		return text
	}
	for name, test := range map[string]struct{ admin, want string }{
		"good":          {section(), ""},
		"address":       {section("address", "nonsense"), `admin.address: "nonsense" is not host:port`},
		"url":           {section("public_url", "https://u:p@x"), "admin.public_url: "},
		"http":          {section("public_url", "http://admin.example.com"), "admin.public_url: is not https"},
		"shared":        {section("address", "127.0.0.1:8443"), "admin.address: is another door's"},
		"pair":          {section("tls", "{cert_file: a}"), "admin.tls: cert_file and key_file belong together"},
		"plaintext":     {section("address", "0.0.0.0:9443"), "admin.tls.cert_file: is missing"},
		"idle":          {section("session_idle", "0s"), "admin.session_idle: must be longer than 0s"},
		"life":          {section("session_life", "0s"), "admin.session_life: must be longer than 0s"},
		"branding":      {section("branding_dir", "nowhere"), "admin.branding_dir: "},
		"nobody's":      {section("roles", "[{role: viewer, provider: x, group: a}]"), `admin.roles[0].provider: there is no provider "x"`},
		"everybody":     {section("roles", "[{role: viewer, provider: corp}]"), "admin.roles[0].group: is missing: everybody of corp"},
		"another name":  {section("roles", "[{role: viewer, provider: corp, group: 'cn=a'}]"), `admin.roles[0].group: "cn=a" is a DN`},
		"who are these": {section("roles", "[{role: viewer, provider: cloud, group: a}]"), "admin.roles[0].group: no group is known"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig("c.yaml", []byte(edit(t, "\nproviders:", test.admin+
				"\nproviders:\n  - {id: cloud, type: ldap, match: {domains: [x]}, urls: [ldaps://x/dc=x]}")))
			if test.want == "" && err != nil {
				t.Fatal(err)
			}
			if test.want != "" && (err == nil || !regexp.MustCompile(`(?m)^c\.yaml:\d+:\d+: `+regexp.QuoteMeta(test.want)).MatchString(err.Error())) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}
