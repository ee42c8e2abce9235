package azuread

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv/entra"
)

func withGroups(c *Config) { c.Groups.Source = groupsGroups }

func by(property string) func(*Config) {
	return func(c *Config) { c.Groups = Groups{Source: groupsGroups, By: property} }
}

// ids are so many groups.
func ids(n int) (list []string) {
	for i := range n {
		list = append(list, entra.GUID(fmt.Sprint("group ", i)))
	}
	return list
}

func TestGroupsOfTheToken(t *testing.T) {
	b := newBench(t)
	b.ann.Groups = ids(200)
	p := b.provider(t, withGroups)
	if got := b.good(t, p, b.ann); !slices.Equal(got.Groups, b.ann.Groups) {
		t.Errorf("%d groups", len(got.Groups))
	}
	if b.Calls("graph") != 0 {
		t.Error("Graph was asked for what the token said")
	}
}

// TestOverage: 1,200 groups do not fit into a token; Graph tells them in pages, once for a while.
func TestOverage(t *testing.T) {
	b := newBench(t)
	b.ann.Groups = ids(1200)
	p := b.provider(t, withGroups)
	for range 2 {
		if got := b.good(t, p, b.ann); !slices.Equal(got.Groups, b.ann.Groups) {
			t.Fatalf("%d groups, want 1200", len(got.Groups))
		}
	}
	if got := b.Calls("graph"); got != 2 {
		t.Errorf("%d questions to Graph, want the 2 pages of the first sign-in", got)
	}
	b.wait(DefaultCacheTTL)
	b.Change(func() { b.ann.Groups = b.ann.Groups[:1100] })
	if got := b.good(t, p, b.ann); len(got.Groups) != 1100 {
		t.Errorf("%d groups after the cache's time", len(got.Groups))
	}
}

func TestOverageWithoutCache(t *testing.T) {
	b := newBench(t)
	b.ann.Groups = ids(300)
	p := b.provider(t, withGroups, func(c *Config) { c.CacheTTL = -1 })
	b.good(t, p, b.ann)
	b.good(t, p, b.ann)
	if got := b.Calls("graph"); got != 2 {
		t.Errorf("%d questions to Graph", got)
	}
}

// TestEveryFormOfOverage leads to Graph, never to "no groups".
func TestEveryFormOfOverage(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"_claim_names":                  {"groups": nil, "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://evil.example/"}}},
		"_claim_names beside groups":    {"groups": []string{entra.GUID("x")}, "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{}}},
		"hasgroups":                     {"groups": nil, "hasgroups": true},
		"hasgroups in words":            {"groups": []string{entra.GUID("x")}, "hasgroups": "true"},
		"groups:src1":                   {"groups": []string{entra.GUID("x")}, "groups:src1": "link"},
		"no claim":                      {"groups": nil},
		"empty claim":                   {"groups": []string{}},
		"names where ids were expected": {"groups": []string{"CORP\\admins"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.ann.Groups = ids(3)
			p := b.provider(t, withGroups)
			b.claims(claims)
			if got := b.good(t, p, b.ann); !slices.Equal(got.Groups, b.ann.Groups) || b.Calls("graph") != 1 {
				t.Errorf("got %v", got.Groups)
			}
		})
	}
}

func TestGraphDown(t *testing.T) {
	for name, c := range map[string]struct {
		graph  http.HandlerFunc
		reason string
	}{
		"error":     {status(http.StatusInternalServerError), "entra_busy"},
		"throttled": {status(http.StatusTooManyRequests), "entra_busy"},
		"denied":    {status(http.StatusForbidden), "graph_denied"},
		"not found": {status(http.StatusNotFound), "entra_bad_answer"},
		"nonsense":  {status(http.StatusOK), "entra_bad_answer"},
		"elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"value":[],"@odata.nextLink":"https://evil.example/v1.0/me"}`))
		}, "entra_bad_answer"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"value":[],"@odata.nextLink":"https://` + r.Host + `/v1.0/me/transitiveMemberOf"}`))
		}, "groups_incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.ann.Groups = ids(201)
			p := b.provider(t, withGroups)
			b.Break("graph", c.graph)
			_, err := b.signIn(t, p, b.ann)
			wantError(t, err, authn.Unavailable, c.reason, "Graph")
			b.Break("graph", nil)
			if got := b.good(t, p, b.ann); len(got.Groups) != 201 {
				t.Errorf("%d groups", len(got.Groups))
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		b := newBench(t)
		b.ann.Groups = ids(201)
		p := b.provider(t, withGroups)
		j := b.journey(t, p, b.ann)
		b.Break("graph", hang)
		_, err := p.Finish(short(t), j.pending, j.reply)
		wantError(t, err, authn.Unavailable, "entra_unreachable")
	})
}

func TestGroupsByName(t *testing.T) {
	b := newBench(t)
	b.ann.Groups = ids(3)
	b.tenant.Groups = []entra.Group{
		{ID: b.ann.Groups[0], Name: "Platform admins", OnPremises: "plat-admins"},
		{ID: b.ann.Groups[1], Name: "Cloud only"},
		{ID: b.ann.Groups[2], Name: "Global Reader", Role: true},
	}
	b.app.Scopes = []string{"User.Read", "GroupMember.Read.All"}
	if got := b.good(t, b.provider(t, by(byDisplayName)), b.ann); !slices.Equal(got.Groups, []string{"Platform admins", "Cloud only"}) {
		t.Errorf("by display name: %v", got.Groups)
	}
	if got := b.good(t, b.provider(t, by(byOnPremises)), b.ann); !slices.Equal(got.Groups, []string{"plat-admins"}) {
		t.Errorf("by on-premises name: %v", got.Groups)
	}
}

// TestNamesThatMayNotBeRead: Graph leaves them out without an error.
func TestNamesThatMayNotBeRead(t *testing.T) {
	b := newBench(t)
	b.ann.Groups = ids(1)
	p := b.provider(t, by(byDisplayName))
	b.app.Scopes = []string{"User.Read", "GroupMember.Read.All"}
	b.good(t, p, b.ann)
	b.wait(DefaultCacheTTL)
	j := b.journey(t, p, b.ann)
	b.Break("graph", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"value":[{"@odata.type":"#microsoft.graph.group","id":"x","displayName":null}]}`))
	})
	_, err := p.Finish(t.Context(), j.pending, j.reply)
	wantError(t, err, authn.Unavailable, "groups_incomplete", "GroupMember.Read.All")
}

func TestScopesAreTheLeast(t *testing.T) {
	b := newBench(t)
	b.app.Scopes = []string{"User.Read", "GroupMember.Read.All"}
	for name, c := range map[string]struct {
		change func(*Config)
		more   []string
	}{
		"none": {func(*Config) {}, nil}, "roles": {func(c *Config) { c.Groups.Source = groupsRoles }, nil},
		"ids": {withGroups, []string{"User.Read"}}, "names": {by(byDisplayName), []string{"User.Read", "GroupMember.Read.All"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := "openid profile email"
			for _, s := range c.more {
				want += " https://" + b.Graph + "/" + s
			}
			if got := b.journey(t, b.provider(t, c.change), b.ann).asked.Get("scope"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestRoles(t *testing.T) {
	b := newBench(t)
	b.ann.Groups, b.ann.Roles = ids(1200), []string{"Developers", "Operators"}
	p := b.provider(t, func(c *Config) { c.Groups.Source = groupsRoles })
	if got := b.good(t, p, b.ann); !slices.Equal(got.Groups, b.ann.Roles) {
		t.Errorf("got %v", got.Groups)
	}
	if got := b.good(t, p, b.bob); len(got.Groups) != 0 || b.Calls("graph") != 0 {
		t.Errorf("got %v", got.Groups)
	}
}

// TestNoGroupsWanted: then nobody's 1,200 groups keep them out.
func TestNoGroupsWanted(t *testing.T) {
	b := newBench(t)
	b.ann.Groups = ids(1200)
	b.Break("graph", status(500))
	if got := b.good(t, b.provider(t), b.ann); got.Groups != nil {
		t.Errorf("got %v", got.Groups)
	}
}

func TestNoConsentForGroups(t *testing.T) {
	b := newBench(t)
	p := b.provider(t, withGroups)
	b.good(t, p, b.ann)
	b.Change(func() { b.app.Scopes = nil })
	_, err := b.signIn(t, p, b.ann)
	wantError(t, err, authn.Locked, "consent_missing", "AADSTS65004", "admin consent")
}

func TestCachesForget(t *testing.T) {
	now := time.Now()
	c := newCache[int](func() time.Time { return now })
	for i := range cacheMax + 1 {
		c.put(fmt.Sprint(i), i, time.Minute)
	}
	if _, ok := c.get("0"); ok || len(c.kept) != 1 {
		t.Errorf("%d values are kept", len(c.kept))
	}
	if v, ok := c.get(fmt.Sprint(cacheMax)); !ok || v != cacheMax {
		t.Error("the last value is not kept")
	}
	now = now.Add(time.Minute)
	if _, ok := c.get(fmt.Sprint(cacheMax)); ok {
		t.Error("a value outlived its time")
	}
}

func TestCutKeepsLogsReadable(t *testing.T) {
	if got := cut(strings.Repeat("é", 200) + "\xff"); len(got) > 210 || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%q", got)
	}
}
