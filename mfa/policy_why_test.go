package mfa_test

import (
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

// TestWhy names the rule that decides, which is the one that Func follows.
func TestWhy(t *testing.T) {
	p := mfa.Policy{Default: authn.FactorNever, Providers: map[string]mfa.ProviderPolicy{
		"corp": {Default: authn.FactorEnrolled, Groups: []mfa.GroupRule{
			{Group: "staff", Policy: authn.FactorEnrolled}, {Group: "CN=Admins,DC=x", Policy: authn.FactorRequired}}},
		"lab": {Groups: []mfa.GroupRule{{Group: "guests", Policy: authn.FactorNever}}},
	}}
	why, err := p.Why()
	if err != nil {
		t.Fatal(err)
	}
	policy, err := p.Func()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		provider string
		groups   []string
		policy   authn.FactorPolicy
		why      string
	}{
		{"corp", nil, authn.FactorEnrolled, "factor.policy of provider corp"},
		{"corp", []string{"staff", "cn=admins,dc=x"}, authn.FactorRequired, `the rule for group "cn=admins,dc=x"`},
		{"corp", []string{"staff"}, authn.FactorEnrolled, `the rule for group "staff"`},
		{"lab", []string{"others"}, authn.FactorNever, "mfa.policy"},
		{"lab", []string{"guests"}, authn.FactorNever, `the rule for group "guests"`},
		{"other", []string{"staff"}, authn.FactorNever, "mfa.policy"},
	} {
		id := authn.Identity{Provider: test.provider, Groups: test.groups}
		if got, because := policy(id), why(id); got != test.policy || because != test.why {
			t.Errorf("%s %q: %s by %s, want %s by %s", test.provider, test.groups, got, because, test.policy, test.why)
		}
	}
	if _, err := (mfa.Policy{Default: "sometimes"}).Why(); err == nil {
		t.Error("an unknown policy was taken")
	}
}
