package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
	"github.com/idbridge/idbridge/testenv"
)

// A provider is lent to the next generation when neither its settings nor the files that it names have changed, and closed
// once, by the last that has it.
func TestProvidersAreLent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	made, closed := 0, 0
	fresh := func() (authn.Provider, error) {
		made++
		return authn.Provider{ID: "corp", Close: func() { closed++ }}, nil
	}
	config := func(base string) ProviderConfig {
		return ProviderConfig{ID: "corp", Type: "ldap", Settings: ldap.Config{BaseDN: base, CAFile: file, URLs: []string{"ldaps://a"}}}
	}
	ldapKind := providers(footing{})["ldap"]
	var all lending
	next := func(c ProviderConfig, k kind) lent {
		t.Helper()
		one, err := all.take(c, k, fresh)
		if err != nil {
			t.Fatal(err)
		}
		all = lending{one}
		return one
	}
	want := func(what string, m, c int) {
		t.Helper()
		if made != m || closed != c {
			t.Errorf("%s: %d made, %d closed; want %d and %d", what, made, closed, m, c)
		}
	}
	first := next(config("dc=a"), ldapKind)
	second := next(config("dc=a"), ldapKind)
	want("nothing changed", 1, 0)
	first.provider.Close()
	want("the first generation is over", 1, 0)
	third := next(config("dc=b"), ldapKind)
	want("its settings changed", 2, 0)
	second.provider.Close()
	want("the last that had the old one is over", 2, 1)
	write("two")
	next(config("dc=b"), ldapKind)
	want("a file changed", 3, 1)
	third.provider.Close()
	want("that one's", 3, 2)
	next(config("dc=b"), kind{})
	next(config("dc=b"), kind{})
	want("a kind that lends nothing", 5, 2)
}

// Against a real directory: a change of something else keeps the provider's connections, a change of its own makes new ones and
// leaves none of the old behind, and so does the end.
func TestConnectionsOfAnUnchangedProviderStay(t *testing.T) {
	slapd := testenv.Slapd(t, testenv.SlapdConfig{Users: 3})
	s := configured(t, nil)
	text, err := os.ReadFile(s.file("idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(text), "  - {id: corp, type: ldap")
	_, after, _ = strings.Cut(after, "\n")
	s.write(t, "idbridge.yaml", before+"  - {id: corp, type: ldap, match: {default: true}, urls: ['"+slapd.URL+"'], ca_file: "+slapd.CAFile+
		", base_dn: '"+slapd.BaseDN+"', bind_dn: '"+slapd.BindDN+"', bind_password: '"+slapd.BindPassword+"', cache_ttl: -1s}\n"+after)
	ground := managedGround(t, s.file("idbridge.yaml"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l, err := newLive(ctx, ground, newMetrics(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	find := func() {
		t.Helper()
		l.with(func(g *generation) {
			if _, err := g.doctor.Providers[0].Password.Find(ctx, testenv.SlapdUser(1)); err != nil {
				t.Error(err)
			}
		})
	}
	version := int64(1)
	change := func(change func(*ManagedConfig)) {
		t.Helper()
		next := l.current.Load().config.ManagedConfig
		next.Providers = append([]ProviderConfig{}, next.Providers...)
		change(&next)
		v, err := ground.history.Save(ctx, revision.Draft{Base: version, Text: next.encode(ground.config.dir, strictyaml.Reveal)})
		if err != nil {
			t.Fatal(err)
		}
		version = v.Number
		if l.look(ctx); l.current.Load().version != v.Number {
			t.Fatalf("version %d is not in force: %s", v.Number, l.state())
		}
		find()
	}
	find()
	open := []string{}
	wait(t, "the look at the start is over", func() bool {
		ends := l.current.Load().doctor.Providers[0].Ends()
		open = connectionsTo(t, slapd.URL)
		return len(open) == 1 && slices.ContainsFunc(ends, func(e authn.End) bool { return strings.HasPrefix(e.What, "certificate shown by ") })
	})
	for i := range 20 {
		change(func(m *ManagedConfig) { m.Throttle.Window += time.Second })
		if got := connectionsTo(t, slapd.URL); !slices.Equal(got, open) {
			t.Fatalf("after change %d of something else: connections %q, before %q", i, got, open)
		}
	}
	for range 5 {
		change(func(m *ManagedConfig) { m.Providers[0].Label += "x" })
	}
	wait(t, "the connections of those before are gone", func() bool {
		now := connectionsTo(t, slapd.URL)
		return len(now) == len(open) && !slices.Equal(now, open)
	})
	// What a request has begun and does not wait for keeps its generation, though another one is in force.
	old, end := l.current.Load(), make(chan struct{})
	l.with(func(g *generation) { g.beside(func(context.Context) { <-end }) })
	change(func(m *ManagedConfig) { m.Providers[0].Label += "y" })
	if n := old.calls.Load(); n != 1 {
		t.Errorf("%d calls are on the generation whose job goes on", n)
	}
	close(end)
	l.jobs.Wait()
	if n := old.calls.Load(); n != 0 {
		t.Errorf("%d calls are on the generation whose job is over", n)
	}
	l.current.Load().leave()
	wait(t, "all connections are gone", func() bool { return len(connectionsTo(t, slapd.URL)) == 0 })
}

// connectionsTo are our ends of the connections to an address of this machine, as the kernel knows them.
func connectionsTo(t *testing.T, address string) (list []string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) && f[3] == "01" { // established
			list = append(list, f[1])
		}
	}
	slices.Sort(list)
	return list
}
