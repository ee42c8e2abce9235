package azuread

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv/entra"
)

func plain(change func(*Config)) Config {
	c := Config{Tenant: entra.GUID("tenant"), ClientID: entra.GUID("client"), Credentials: []Credential{{Secret: "x"}}}
	change(&c)
	return c
}

// TestMistakes: each names its key, and all are told at once.
func TestMistakes(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"tenant: \"contoso.com\" is not an ID":           func(c *Config) { c.Tenant = "contoso.com" },
		"tenant: personal Microsoft accounts":            func(c *Config) { c.Tenant = personalTenant },
		"client_id: \"\" is not an ID":                   func(c *Config) { c.ClientID = "" },
		"credentials: at least one is needed":            func(c *Config) { c.Credentials = nil },
		"allowed_tenants[0]: \"x\" is not":               func(c *Config) { c.AllowedTenants = []string{"x"} },
		"allowed_tenants[1]: \"" + personalTenant:        func(c *Config) { c.AllowedTenants = []string{entra.GUID("a"), personalTenant} },
		"protocol: \"wsfed\" is neither":                 func(c *Config) { c.Protocol = "wsfed" },
		"authority: \"https://x\" is not a host":         func(c *Config) { c.Authority, c.Graph = "https://x", "g" },
		"graph: is needed, as login.example":             func(c *Config) { c.Authority = "login.example" },
		"graph: \"a/b\" is not a host":                   func(c *Config) { c.Graph = "a/b" },
		"guests: \"some\" is neither":                    func(c *Config) { c.Guests = "some" },
		"groups.source: \"all\" is none":                 func(c *Config) { c.Groups.Source = "all" },
		"groups.by: \"cn\" is none":                      func(c *Config) { c.Groups.By = "cn" },
		"authentication_context: \"mfa\" is none":        func(c *Config) { c.AcceptMFA, c.AuthenticationContext = true, "mfa" },
		"authentication_context: has no meaning without": func(c *Config) { c.AuthenticationContext = "c1" },
		"request_timeout: -1s is negative":               func(c *Config) { c.RequestTimeout = -time.Second },
		"ca_file: open /no/such":                         func(c *Config) { c.CAFile = "/no/such" },
		"password_grant: app roles are known only":       func(c *Config) { c.PasswordGrant, c.Groups.Source = true, groupsRoles },

		"password_grant: finds people by their user": func(c *Config) { c.PasswordGrant, c.UsernameClaim = true, "email" },
	} {
		_, err := New("cloud", "", plain(change), authn.Route{}, Surroundings{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := New("cloud", "", plain(func(*Config) {}), authn.Route{}, Surroundings{}); err != nil {
		t.Errorf("the control: %v", err)
	}
	for _, id := range []string{"", "a/b", "ü", strings.Repeat("x", 65)} {
		if _, err := New(id, "", plain(func(*Config) {}), authn.Route{}, Surroundings{}); err == nil {
			t.Errorf("the id %q is no mistake", id)
		}
	}
	_, err := New("cloud", "", Config{}, authn.Route{Pattern: "("}, Surroundings{})
	if got := strings.Split(err.Error(), "\n"); len(got) != 4 {
		t.Errorf("not all at once: %q", got)
	}
}

func TestNationalClouds(t *testing.T) {
	for authority, graph := range map[string]string{
		"": "graph.microsoft.com", "login.microsoftonline.us": "graph.microsoft.us",
		"login.partner.microsoftonline.cn": "microsoftgraph.chinacloudapi.cn",
	} {
		c := plain(func(c *Config) { c.Authority = authority })
		if _, errs := c.prepare(); len(errs) > 0 || c.Graph != graph {
			t.Errorf("%s: %s, %v", authority, c.Graph, errs)
		}
	}
	c := plain(func(c *Config) { c.Authority, c.Graph = "login.microsoftonline.us", "dod-graph.microsoft.us" })
	if _, errs := c.prepare(); len(errs) > 0 || c.Graph != "dod-graph.microsoft.us" {
		t.Errorf("%s, %v", c.Graph, errs)
	}
}

// TestRulesNeedGroups: a rule that could never match is noticed.
func TestRulesNeedGroups(t *testing.T) {
	b := newBench(t)
	for source, known := range map[string]bool{groupsNone: false, "": false, groupsGroups: true, groupsRoles: true} {
		c := b.config(func(c *Config) { c.Groups.Source = source })
		p, err := New("cloud", "", c, authn.Route{}, Surroundings{PublicURL: portalURL})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.GroupRule("staff"); (err == nil) != known {
			t.Errorf("%q: %v", source, err)
		}
	}
}

// TestIDsInCapitals: some tools show them that way.
func TestIDsInCapitals(t *testing.T) {
	b := newBench(t)
	p := b.provider(t, func(c *Config) {
		c.Tenant, c.ClientID = strings.ToUpper(c.Tenant), strings.ToUpper(c.ClientID)
		c.AllowedTenants = []string{strings.ToUpper(b.partner.ID)}
	})
	b.app.MultiTenant = true
	b.good(t, p, b.ann)
}

// TestEveryNumberOnce: no number means two things.
func TestEveryNumberOnce(t *testing.T) {
	seen := map[int]int{}
	for i, table := range []map[int]meaning{ofPeople(), ofPolicies(), ofTheApplication(), ofTheService()} {
		for number, m := range table {
			if other, twice := seen[number]; twice {
				t.Errorf("%d is in tables %d and %d", number, other, i)
			}
			seen[number] = i
			if m.advice == "" || m.reason == "" || m.kind == authn.Internal {
				t.Errorf("%d: %+v", number, m)
			}
		}
	}
	for _, issues := range []int{50126, 50053, 50055, 50057, 50076, 50079, 50158, 65001, 7000222, 90002} {
		if _, known := seen[issues]; !known {
			t.Errorf("%d has no meaning", issues)
		}
	}
}

// TestKindsOfReasons: a reason is of one kind, as docs/errors.md says.
func TestKindsOfReasons(t *testing.T) {
	kinds := map[string][]authn.Kind{}
	for _, table := range []map[int]meaning{ofPeople(), ofPolicies(), ofTheApplication(), ofTheService()} {
		for _, m := range table {
			if !slices.Contains(kinds[m.reason], m.kind) {
				kinds[m.reason] = append(kinds[m.reason], m.kind)
			}
		}
	}
	for reason, list := range kinds {
		if len(list) != 1 {
			t.Errorf("%s is of kinds %v", reason, list)
		}
	}
}
