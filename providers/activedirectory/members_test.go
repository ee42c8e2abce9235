package activedirectory

import (
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/testenv"
)

func TestMembers(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.LDBModify(t, "dn: CN=staff,"+testenv.SambaGroupsDN+"\nchangetype: modify\nadd: member\nmember: CN=disabled,"+testenv.SambaPeopleDN+
		"\nmember: CN=accountexpired,"+testenv.SambaPeopleDN+"\nmember: CN=logonhours,"+testenv.SambaPeopleDN+"\n")
	crew := []string{"accountexpired", "alice", "bob", "disabled", "josé", "logonhours", "o'neil"}
	out := []string{"accountexpired", "disabled", "logonhours"}
	chain := configFor(dc)
	chain.Groups.Source = sourceChain
	chain.BaseDN = testenv.SambaPeopleDN // each account costs a search of all groups: the thousands elsewhere are no better a test
	for name, test := range map[string]struct {
		config        Config
		group         string
		want, refused []string
	}{
		"direct":                   {configFor(dc), "STAFF", crew, out},
		"through two groups":       {configFor(dc), "CN=company," + testenv.SambaGroupsDN, crew, out},
		"by SID":                   {configFor(dc), dc.Attribute(t, "department", "objectSid"), crew, out},
		"in a circle":              {configFor(dc), "loop-b", []string{"bob"}, nil},
		"by primary group, nested": {configFor(dc), "externals", []string{"primary"}, nil},
		"source chain":             {chain, "newsletter", []string{"alice"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := connect(t, test.config)
			authntest.TestMembers(t, authntest.MembersFixture{
				Provider: authn.Provider{ID: "corp", Password: d, Members: d.Members},
				Group:    test.group, Want: test.want, Refused: test.refused, Nobody: "nobody's group",
			})
		})
	}
	t.Run("many", func(t *testing.T) {
		n, start := 0, time.Now()
		err := connect(t, configFor(dc)).Members(t.Context(), "big", func(authn.Member) error { n++; return nil })
		if err != nil || n != testenv.SambaBigGroup {
			t.Errorf("%d members, %v; want %d", n, err, testenv.SambaBigGroup)
		}
		t.Log(n, "members in", time.Since(start))
	})
	t.Run("out of allow_groups", func(t *testing.T) {
		c := configFor(dc)
		c.AllowGroups = []string{"loop-a"}
		err := connect(t, c).Members(t.Context(), "staff", func(m authn.Member) error {
			if refused := authn.ReasonOf(m.Err) == reasonNoGroup; refused == (m.Username == "bob") && m.Username != "disabled" &&
				m.Username != "accountexpired" && m.Username != "logonhours" {
				t.Errorf("%s: %v", m.Username, m.Err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
