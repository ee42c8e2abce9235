package main

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/plugin"
)

const wiredConfig = `
listen: {tls: {}}
plugin: {public_url: "https://x"}
environments:
  - {name: a, path: Own, ids: module, integrated_authentication: true, trust_address: true, allow_from: [10.0.0.0/8]}
  - {name: b, credentials: {username: u, secret: a-secret-of-more-than-thirty-two-bytes}}
  - {name: c, client_certificate: {san: c.example}, credentials: {username: v, secret: another-secret-of-more-than-32-bytes}}
keys: {env: K}
call_timeout: 7s
mfa: {policy: never}
providers:
  - id: p
    type: ldap
    match: {default: true}
    factor: {policy: enrolled, groups: [{group: staff, policy: required}]}
    it_user: {attribute: email, strip_domain: true, template: 'X\{0}', shared: true}
    urls: [ldaps://x/dc=x]
    groups: {source: memberOf, name: cn}
  - {id: q, type: ldap, match: {domains: [q]}, it_user: {attribute: none}, urls: [ldaps://x/dc=x]}
  - {id: glass, type: local, match: {domains: [glass]}}
`

// TestWhatTheFileMeans for those who do the work: each key arrives where it is acted upon.
func TestWhatTheFileMeans(t *testing.T) {
	c, err := parseConfig("c.yaml", []byte(wiredConfig))
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "environments[2].client_certificate: needs") {
		t.Fatal(err) // all that is wrong
	}
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	same("matches", c.matches(), map[string]itusers.Match{
		"p":     {Attribute: "email", StripDomain: true, Template: `X\{0}`, Shared: true},
		"glass": {Attribute: "username", Template: "{0}"},
	})
	same("callers", c.callers(), []plugin.Environment{
		{Environment: authn.Environment{Name: "a", IDs: authn.IDsModule, Integrated: true}, Path: "Own", TrustAddress: true,
			AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Environment: authn.Environment{Name: "b", IDs: authn.IDsMapped}, Username: "u", Secret: "a-secret-of-more-than-thirty-two-bytes"},
		{Environment: authn.Environment{Name: "c", IDs: authn.IDsMapped}, Username: "v", Secret: "another-secret-of-more-than-32-bytes",
			CertificateSAN: "c.example"},
	})
	same("policy", c.policy(), mfa.Policy{Default: authn.FactorNever, Providers: map[string]mfa.ProviderPolicy{
		"p":     {Default: authn.FactorEnrolled, Groups: []mfa.GroupRule{{Group: "staff", Policy: authn.FactorRequired}}},
		"q":     {},
		"glass": {Default: authn.FactorRequired},
	}})
	same("break-glass", c.breakGlass(), map[string]bool{"glass": true})
	shown := c.shown()
	for _, want := range []plugin.Setting{
		{Name: "Version", Value: version()}, {Name: "Providers", Value: "p (ldap), q (ldap), glass (local)"},
		{Name: "SecondFactorPolicy", Value: "never"}, {Name: "CallTimeout", Value: "7s"},
	} {
		if !slices.Contains(shown, want) {
			t.Errorf("%+v is not in %+v", want, shown)
		}
	}
}

// TestCorrelationIDs are all different, and sort in the order of their time.
func TestCorrelationIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, last := map[string]bool{}, ""
		for range 100 {
			newest := last
			for range 10 {
				id := newID()
				if id <= last || len(id) != 20 || seen[id] {
					t.Fatalf("%s came after %s", id, last)
				}
				seen[id], newest = true, max(newest, id)
			}
			last = newest
			time.Sleep(time.Millisecond)
		}
	})
}
