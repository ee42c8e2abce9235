package demodir_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/demodir"
	"github.com/idbridge/idbridge/providers/ldap"
)

func start(t *testing.T, users ...demodir.User) (*demodir.Directory, authn.Provider) {
	t.Helper()
	d, err := demodir.Start(demodir.Config{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, d.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ldap.New("demo", "Demo", ldap.Config{
		URLs: []string{d.URL}, CAFile: ca, BaseDN: d.BaseDN, BindDN: d.BindDN, BindPassword: authn.Secret(d.BindPassword),
		Groups: ldap.Groups{Source: "memberOf", Name: "cn"},
	}, authn.Route{})
	if err != nil {
		t.Fatal(err)
	}
	return d, p
}

func TestTheProductSignsInAgainstIt(t *testing.T) {
	_, p := start(t,
		demodir.User{Username: "ana", Password: "ana-pw", Name: "Ana Ávila", Email: "ana@demo.example", Groups: []string{"developers", "a,b"}},
		demodir.User{Username: "o'neil(x)", Password: "x-pw", Name: "O'Neil"},
	)
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	for user, password := range map[string]string{"ana": "ana-pw", "ANA": "ana-pw", "o'neil(x)": "x-pw"} {
		account, err := p.Password.Find(t.Context(), user)
		if err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		if _, err := p.Password.Verify(t.Context(), account, authn.Secret(password)); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		_, err = p.Password.Verify(t.Context(), account, "wrong")
		if authn.ReasonOf(err) != "wrong_password" {
			t.Errorf("%s with a wrong password: %v", user, err)
		}
	}
	id, err := p.Lookup(t.Context(), "ana")
	if err != nil || id.Name != "Ana Ávila" || id.Email != "ana@demo.example" || !slices.Contains(id.Groups, "developers") || len(id.Groups) != 2 {
		t.Errorf("got %+v, %v", id, err)
	}
	for _, name := range []string{"*", "nobody", "ana)(uid=*", "cn=idbridge"} {
		if _, err := p.Password.Find(t.Context(), name); authn.ReasonOf(err) != "unknown_user" {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestIDsSurviveARestart(t *testing.T) {
	user := demodir.User{Username: "ana", Password: "ana-pw", Name: "Ana"}
	_, first := start(t, user)
	_, second := start(t, user)
	a, err1 := first.Lookup(t.Context(), "ana")
	b, err2 := second.Lookup(t.Context(), "ana")
	if err1 != nil || err2 != nil || a.Subject == "" || a.Subject != b.Subject {
		t.Errorf("%q and %q (%v, %v)", a.Subject, b.Subject, err1, err2)
	}
}

func TestOnlyTheServiceAccountMaySearch(t *testing.T) {
	d, _ := start(t, demodir.User{Username: "ana", Password: "ana-pw", Name: "Ana"})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, d.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []ldap.Config{
		{BindDN: "uid=ana,ou=people," + d.BaseDN, BindPassword: "ana-pw"},
		{}, // anonymous
	} {
		c.URLs, c.CAFile, c.BaseDN = []string{d.URL}, ca, d.BaseDN
		p, err := ldap.New("demo", "", c, authn.Route{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Password.Find(t.Context(), "ana"); authn.ReasonOf(err) != "directory_config" {
			t.Errorf("as %q: %v", c.BindDN, err)
		}
	}
}

func TestTheSameUserTwice(t *testing.T) {
	if _, err := demodir.Start(demodir.Config{Users: []demodir.User{{Username: "ana"}, {Username: "Ana"}}}); err == nil {
		t.Error("accepted")
	}
}
