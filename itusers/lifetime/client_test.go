package lifetime_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/itusers/lifetime"
	fake "github.com/idbridge/idbridge/testenv/lifetime"
)

// connect is a client of a LifeTime, whose waits are counted and not waited for.
func connect(t *testing.T, s *fake.Server) (*lifetime.Client, *atomic.Int64) {
	t.Helper()
	c, err := lifetime.New(lifetime.Config{URL: s.URL, Token: authn.Secret(s.Token), CAFile: s.CAFile, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var waits atomic.Int64
	c.SetSleep(func(context.Context, time.Duration) { waits.Add(1) })
	return c, &waits
}

func listed(t *testing.T, c *lifetime.Client) (list []string, err error) {
	t.Helper()
	err = lifetime.Source{Client: c}.Users(t.Context(), func(l itusers.Listed) error {
		list = append(list, fmt.Sprintf("%s %s <%s> %v", l.Username, *l.Name, *l.Email, *l.Active))
		return nil
	})
	slices.Sort(list)
	return list, err
}

func TestSource(t *testing.T) {
	s := fake.Start(t)
	c, _ := connect(t, s)
	if list, err := listed(t, c); err != nil || len(list) != 0 { // 204
		t.Errorf("nobody: %q, %v", list, err)
	}
	s.Add(fake.User{Username: "ann", Name: "Ann", Email: "ann@example.test", IsActive: true}, fake.User{Username: "bob", Name: "Bob"})
	list, err := listed(t, c)
	if want := []string{"ann Ann <ann@example.test> true", "bob Bob <> false"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("got %q, %v; want %q", list, err, want)
	}
	if seen, err := (lifetime.Source{Client: c}).Check(t.Context()); err != nil || !strings.Contains(seen, "Development, Production") {
		t.Errorf("check: %q, %v", seen, err)
	}
	if got := s.Requests(); !slices.Equal(got, []string{"GET /users/", "GET /users/", "GET /environments/"}) {
		t.Errorf("asked %q", got)
	}
}

// TestFaults: each fault is an error with its reason, and never a shorter list.
func TestFaults(t *testing.T) {
	s := fake.Start(t)
	for i := range 50 {
		s.Add(fake.User{Username: fmt.Sprintf("user%02d", i), Name: "Some Body", IsActive: true})
	}
	var elsewhere atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer thief.Close()
	for name, test := range map[string]struct {
		fault  fake.Fault
		reason string
		waits  int64
	}{
		"500 for a moment": {fake.Failing(500, 2), "", 2},
		"429 for a moment": {fake.Failing(429, 1), "", 1},
		"500 for ever":     {fake.Failing(500, -1), "lifetime_busy", 3},
		"403":              {fake.Failing(403, -1), "lifetime_refused", 0},
		"401":              {fake.Failing(401, -1), "lifetime_refused", 0},
		"404":              {fake.Failing(404, -1), "lifetime_rejected", 0},
		"400":              {fake.Failing(400, -1), "lifetime_rejected", 0},
		"cut off":          {fake.Truncated, "lifetime_bad_answer", 3},
		"half":             {fake.Halved, "lifetime_bad_answer", 3},
		"HTML":             {fake.Page, "lifetime_bad_answer", 3},
		"redirect":         {fake.Elsewhere(thief.URL), "lifetime_bad_answer", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, waits := connect(t, s)
			s.Break(test.fault)
			list, err := listed(t, c)
			if (err != nil || test.reason != "") && authn.ReasonOf(err) != test.reason || waits.Load() != test.waits {
				t.Errorf("%v after %d waits; want %q after %d", err, waits.Load(), test.reason, test.waits)
			}
			if test.reason == "" && len(list) != 50 {
				t.Errorf("%d users", len(list))
			}
			if err != nil && (strings.Contains(err.Error(), s.Token) || authn.KindOf(err) != authn.Unavailable) {
				t.Errorf("the error: %v", err)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("the token went to another host")
	}
}

func TestSilenceAndFlood(t *testing.T) {
	s := fake.Start(t)
	c, err := lifetime.New(lifetime.Config{URL: s.URL, Token: authn.Secret(s.Token), CAFile: s.CAFile, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c.SetSleep(func(context.Context, time.Duration) {})
	s.Break(fake.Slow(time.Minute))
	if _, err := listed(t, c); authn.ReasonOf(err) != "lifetime_unreachable" {
		t.Errorf("silent: %v", err)
	}
	s.Break(nil)
	flooded, _ := connect(t, s)
	flooded.SetMost(1 << 20)
	s.Break(fake.Flood)
	if _, err := listed(t, flooded); authn.ReasonOf(err) != "lifetime_bad_answer" || !strings.Contains(err.Error(), "more than") {
		t.Errorf("flood: %v", err)
	}
	s.Break(nil)
	wrongCA, err := lifetime.New(lifetime.Config{URL: s.URL, Token: "x", CAFile: fake.Start(t).CAFile})
	if err != nil {
		t.Fatal(err)
	}
	wrongCA.SetSleep(func(context.Context, time.Duration) {})
	if _, err := listed(t, wrongCA); authn.ReasonOf(err) != "lifetime_unreachable" || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another authority: %v", err)
	}
}

// TestWrites: users, teams and blocked logins, once each, also when the server fails.
func TestWrites(t *testing.T) {
	s := fake.Start(t)
	c, waits := connect(t, s)
	key, err := c.Create(t.Context(), lifetime.User{Username: "ann", Name: "Ann", RoleKey: s.Role("Developer")})
	if err != nil || s.User("ann").Key != key || !s.User("ann").IsActive {
		t.Fatalf("created %q, %v: %+v", key, err, s.User("ann"))
	}
	off := false
	u := lifetime.User{Key: key, Username: "ann.b", Name: "Ann B", Email: "ann@example.test", IsActive: &off, RoleKey: s.Role("Operator")}
	if err := c.Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got := s.User("ann.b"); got.IsActive || got.RoleName != "Operator" || got.Email != "ann@example.test" {
		t.Errorf("updated: %+v", got)
	}
	if err := c.Join(t.Context(), s.Team("Web"), key, s.Role("Developer")); err != nil || s.User("ann.b").Teams[0].TeamName != "Web" {
		t.Errorf("joined: %v, %+v", err, s.User("ann.b"))
	}
	if err := c.Leave(t.Context(), s.Team("Web"), key); err != nil || len(s.User("ann.b").Teams) != 0 {
		t.Errorf("left: %v", err)
	}
	s.Block(fake.Blocked{UserKey: key, EnvironmentKey: s.Environment("Production"), IpAddress: "192.0.2.1"},
		fake.Blocked{UserKey: key, EnvironmentKey: s.Environment("Development"), IpAddress: "192.0.2.1"})
	if list, err := c.BlockedLogins(t.Context(), key, s.Environment("Production"), ""); err != nil || len(list) != 1 ||
		!slices.Contains(list[0].Texts(), "IpAddress=192.0.2.1") {
		t.Errorf("blocked: %v, %v", list, err)
	}
	if err := c.Unblock(t.Context(), key, "", ""); err != nil {
		t.Error(err)
	}
	if list, err := c.BlockedLogins(t.Context(), key, "", ""); err != nil || len(list) != 0 {
		t.Errorf("unblocked: %v, %v", list, err)
	}

	if _, err := c.Create(t.Context(), lifetime.User{Username: "ANN.B", Name: "x", RoleKey: s.Role("Developer")}); authn.ReasonOf(err) != "lifetime_rejected" ||
		!strings.Contains(err.Error(), "already exists") {
		t.Errorf("a name twice: %v", err)
	}
	s.Requests()
	s.Break(fake.Failing(500, -1))
	if err := c.Update(t.Context(), u); authn.ReasonOf(err) != "lifetime_busy" || waits.Load() != 0 || len(s.Requests()) != 1 {
		t.Errorf("a write that fails: %v, after %d waits", err, waits.Load())
	}
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		"http://lifetime.example.test": "url: ", "https://u:p@lifetime.example.test": "url: ", "lifetime.example.test": "url: ",
		"https://lifetime.example.test/?x=1": "url: ",
	} {
		if _, err := lifetime.New(lifetime.Config{URL: text, Token: "x"}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	badEnd := lifetime.Config{URL: "https://lifetime.example.test", Token: "x", Expires: "in May"}
	if _, err := lifetime.New(badEnd); err == nil || !strings.HasPrefix(err.Error(), `expires: "in May" is not a day such as`) {
		t.Errorf("an end that is no day: %v", err)
	}
	for _, token := range []authn.Secret{"", "two words", "a\nb"} {
		if _, err := lifetime.New(lifetime.Config{URL: "https://lifetime.example.test", Token: token}); err == nil {
			t.Errorf("token %q is taken", token.Reveal())
		}
	}
	s := fake.Start(t)
	c, _ := connect(t, s)
	if c.Own() != s.Account {
		t.Errorf("the token's account is %q, want %q", c.Own(), s.Account)
	}
	withPath, err := lifetime.New(lifetime.Config{URL: s.URL + "/lifetimeapi/rest/v2/", Token: authn.Secret(s.Token), CAFile: s.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	if roles, err := withPath.Roles(t.Context()); err != nil || len(roles) != 3 || roles[0].Name != "Developer" {
		t.Errorf("with the whole path: %v, %v", roles, err)
	}
}
