package ldap

import (
	"crypto/tls"
	"sync/atomic"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/testenv"
)

// BenchmarkSignIn compares with go-ldap itself on the same server: 16 callers, a search and a bind each.
func BenchmarkSignIn(b *testing.B) {
	const users, callers = 1000, 16
	s := testenv.Slapd(b, testenv.SlapdConfig{Users: users})
	run := func(name string, signIn func(b *testing.B, user string)) {
		b.Run(name, func(b *testing.B) {
			var next atomic.Int64
			b.SetParallelism(callers / 2) // of the two processors that CI has
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					signIn(b, testenv.SlapdUser(int(next.Add(1))%users))
				}
			})
		})
	}
	c := configFor(s)
	run("warm", provider(b, c))
	c.CacheTTL = -1
	run("cold", provider(b, c))
	run("go-ldap", rawGoLDAP(b, s, callers))
}

func provider(b *testing.B, c Config) func(*testing.B, string) {
	b.Helper()
	d, err := open("corp", c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.servers.close)
	return func(b *testing.B, user string) {
		if _, err := signIn(b.Context(), d, user, testenv.SlapdPassword(user)); err != nil {
			b.Error(err)
		}
	}
}

// rawGoLDAP keeps a pair of connections per caller: one bound to the service account, one for users' binds.
func rawGoLDAP(b *testing.B, s *testenv.SlapdServer, callers int) func(*testing.B, string) {
	b.Helper()
	type pair struct{ search, bind *goldap.Conn }
	pairs := make(chan pair, callers)
	dial := func() *goldap.Conn {
		c, err := goldap.DialURL(s.URL, goldap.DialWithTLSConfig(&tls.Config{RootCAs: s.CA.Pool, ServerName: "127.0.0.1"}))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range callers {
		p := pair{dial(), dial()}
		if err := p.search.Bind(s.BindDN, s.BindPassword); err != nil {
			b.Fatal(err)
		}
		pairs <- p
	}
	return func(b *testing.B, user string) {
		p := <-pairs
		defer func() { pairs <- p }()
		found, err := p.search.Search(&goldap.SearchRequest{BaseDN: s.BaseDN, Scope: goldap.ScopeWholeSubtree, SizeLimit: 2,
			Filter: "(&(objectClass=person)(uid=" + user + "))", Attributes: []string{"entryUUID", "uid", "cn", "mail"}})
		if err == nil {
			err = p.bind.Bind(found.Entries[0].DN, testenv.SlapdPassword(user))
		}
		if err != nil {
			b.Error(err)
		}
	}
}
