package saml

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// TestWhoSomebodyIs: what is read of a verified answer, and that nothing is read that two systems could read differently, or
// half.
func TestWhoSomebodyIs(t *testing.T) {
	until := time.Now().Add(time.Hour)
	usual := func() verified {
		return verified{NameID: "n-1", NameIDFormat: nameIDFormats["persistent"], SessionNotOnOrAfter: until, AuthnContext: "urn:mfa",
			Attributes: map[string][]string{"uid": {"ann"}, "cn": {"Ann Example"}, "mail": {"ann@example.test"}, "groups": {"a; b;;c ", "d"}}}
	}
	many := strings.Repeat("g;", maxGroups)
	for name, c := range map[string]struct {
		config func(*Config)
		answer func(*verified)
		want   func(*authn.Identity)
		kind   authn.Kind
		reason string
	}{
		"all of it":         {},
		"groups one by one": {config: func(c *Config) { c.Attributes.GroupsSeparator = "" }, want: func(i *authn.Identity) { i.Groups = []string{"a; b;;c", "d"} }},
		"no groups wanted": {config: func(c *Config) { c.Attributes.Groups, c.Attributes.GroupsSeparator = "", "" },
			want: func(i *authn.Identity) { i.Groups = nil }},
		"as many groups as can be": {answer: func(v *verified) { v.Attributes["groups"] = []string{many} },
			want: func(i *authn.Identity) { i.Groups = slices.Repeat([]string{"g"}, maxGroups) }},
		"one group too many": {answer: func(v *verified) { v.Attributes["groups"] = []string{many + "g"} },
			kind: authn.Unavailable, reason: "groups_incomplete"},
		"a link in place of groups": {answer: func(v *verified) { v.Attributes[groupsLink] = []string{"https://x"} },
			kind: authn.Unavailable, reason: "groups_incomplete"},
		"a context that is no factor": {answer: func(v *verified) { v.AuthnContext = "urn:mf" },
			want: func(i *authn.Identity) { i.Factors = []string{authn.FactorIdP} }},
		"no factors configured": {config: func(c *Config) { c.FactorsFrom = nil }, answer: func(v *verified) { v.AuthnContext = "" },
			want: func(i *authn.Identity) { i.Factors = []string{authn.FactorIdP} }},
		"subject of an attribute": {config: func(c *Config) { c.Attributes.Subject = "cn" },
			want: func(i *authn.Identity) { i.Subject = "Ann Example" }},
		"qualified by both":  {answer: func(v *verified) { v.NameQualifier, v.SPNameQualifier = idpID, publicURL+"/saml/corp/metadata" }},
		"of another IdP":     {answer: func(v *verified) { v.NameQualifier = "https://other.example.test" }, reason: "nameid_qualifier"},
		"for another":        {answer: func(v *verified) { v.SPNameQualifier = publicURL + "/saml/other/metadata" }, reason: "nameid_qualifier"},
		"not persistent":     {answer: func(v *verified) { v.NameIDFormat = nameIDFormats["unspecified"] }, reason: "nameid_not_persistent"},
		"format not told":    {answer: func(v *verified) { v.NameIDFormat = "" }, reason: "nameid_not_persistent"},
		"no NameID":          {answer: func(v *verified) { v.NameID = "" }, reason: "attribute_malformed"},
		"no user name":       {answer: func(v *verified) { delete(v.Attributes, "uid") }, reason: "attribute_missing"},
		"empty user name":    {answer: func(v *verified) { v.Attributes["uid"] = []string{""} }, reason: "attribute_missing"},
		"two user names":     {answer: func(v *verified) { v.Attributes["uid"] = []string{"ann", "admin"} }, reason: "attribute_ambiguous"},
		"long user name":     {answer: func(v *verified) { v.Attributes["uid"] = []string{strings.Repeat("a", maxValue+1)} }, reason: "attribute_malformed"},
		"longest user name":  {answer: func(v *verified) { v.Attributes["uid"] = []string{strings.Repeat("a", maxValue)} }, want: func(i *authn.Identity) { i.Username = strings.Repeat("a", maxValue) }},
		"replaced character": {answer: func(v *verified) { v.Attributes["uid"] = []string{"an\uFFFDn"} }, reason: "attribute_malformed"},
		"control character":  {answer: func(v *verified) { v.Attributes["uid"] = []string{"an\u0085n"} }, reason: "attribute_malformed"},
		"invisible name":     {answer: func(v *verified) { v.Attributes["cn"] = []string{"Ann\u202eelpmaxE"} }, reason: "attribute_malformed"},
		"padded mail":        {answer: func(v *verified) { v.Attributes["mail"] = []string{" ann@example.test"} }, reason: "attribute_malformed"},
		"no name, no mail": {answer: func(v *verified) { v.Attributes["cn"] = nil; v.Attributes["mail"] = []string{""} },
			want: func(i *authn.Identity) { i.Name, i.Email = "", "" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := offline(t, func(o *Config) {
				o.Attributes = Attributes{Username: "uid", Name: "cn", Email: "mail", Groups: "groups", GroupsSeparator: ";"}
				o.FactorsFrom = []string{"urn:other", "urn:mfa"}
				if c.config != nil {
					c.config(o)
				}
			})
			v := usual()
			if c.answer != nil {
				c.answer(&v)
			}
			got, err := s.identity(v)
			if c.reason != "" {
				if c.kind == authn.Internal {
					c.kind = authn.Untrusted
				}
				wantReason(t, err, c.kind, c.reason)
				if got.Subject != "" || got.Username != "" {
					t.Errorf("refused, and told: %+v", got)
				}
				return
			}
			want := authn.Identity{Provider: "corp", Subject: "n-1", Username: "ann", Name: "Ann Example", Email: "ann@example.test",
				Groups: []string{"a", "b", "c", "d"}, Factors: []string{authn.FactorIdP, authn.FactorIdPMFA}}
			if c.want != nil {
				c.want(&want)
			}
			wantIdentity(t, got, err, want)
			if got.Subject != want.Subject || !got.Until.Equal(until) {
				t.Errorf("subject %q until %s", got.Subject, got.Until)
			}
		})
	}
}
