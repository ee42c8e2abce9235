package mfa_test

import (
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

func TestPolicy(t *testing.T) {
	of, err := mfa.Policy{Providers: map[string]mfa.ProviderPolicy{
		"corp": {Default: authn.FactorNever, Groups: []mfa.GroupRule{
			{Group: "cn=Admins, ou=Groups,dc=example, dc=org", Policy: authn.FactorRequired},
			{Group: "staff", Policy: authn.FactorEnrolled},
			{Group: `cn=R\26D\, Berlin,dc=example,dc=org`, Policy: authn.FactorRequired},
		}},
		"other":  {Groups: []mfa.GroupRule{{Group: "Robots", Policy: authn.FactorNever}}},
		"strict": {Default: authn.FactorRequired, Groups: []mfa.GroupRule{{Group: "robots", Policy: authn.FactorNever}}},
	}}.Func()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		provider, groups string // groups are separated by |
		want             authn.FactorPolicy
	}{
		{"nobody's", "", authn.FactorEnrolled},
		{"corp", "", authn.FactorNever},
		{"corp", "CN=admins,OU=groups,DC=Example,DC=org", authn.FactorRequired},
		{"corp", "cn=admins,ou=other,dc=example,dc=org", authn.FactorNever}, // a rule by DN means that group only
		{"corp", "admins", authn.FactorNever},
		{"corp", "cn=staff,ou=x,dc=example,dc=org", authn.FactorNever}, // a rule by name means who is called so, anywhere else too
		{"corp", "Staff", authn.FactorEnrolled},
		{"corp", " staff ", authn.FactorEnrolled},
		{"corp", "staff|cn=admins,ou=groups,dc=example,dc=org|cn=z,dc=x", authn.FactorRequired}, // the strictest wins
		{"corp", "cn=admins,ou=groups,dc=example,dc=org|staff", authn.FactorRequired},
		{"corp", "staffing", authn.FactorNever},
		{"corp", `CN=r&d\2c berlin,DC=example,DC=org`, authn.FactorRequired},
		{"other", "", authn.FactorEnrolled}, // no default of its own
		{"other", "robots", authn.FactorNever},
		{"strict", "", authn.FactorRequired},
		{"strict", "ROBOTS", authn.FactorNever}, // a rule for a group is over the provider's default
		{"strict", "CN=robots,DC=x", authn.FactorRequired},
	} {
		id := authn.Identity{Provider: c.provider, Groups: strings.Split(c.groups, "|")}
		if got := of(id); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.provider, c.groups, got, c.want)
		}
	}
}

func TestPolicyIsChecked(t *testing.T) {
	rule := func(r mfa.GroupRule) mfa.Policy {
		return mfa.Policy{Providers: map[string]mfa.ProviderPolicy{"corp": {Groups: []mfa.GroupRule{r}}}}
	}
	for want, p := range map[string]mfa.Policy{
		`default: "always" is none of`:           {Default: "always"},
		`"corp": default: "Required" is none of`: {Providers: map[string]mfa.ProviderPolicy{"corp": {Default: "Required"}}},
		`"corp": group staff: "" is none of`:     rule(mfa.GroupRule{Group: "staff"}),
		`"corp": a rule without a group`:         rule(mfa.GroupRule{Group: " ", Policy: authn.FactorNever}),
	} {
		if _, err := p.Func(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
