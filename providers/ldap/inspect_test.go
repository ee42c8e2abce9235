package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

func TestInspect(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 450}) // more than two pages
	dead := fmt.Sprintf("ldaps://127.0.0.1:%d", testenv.FreePort(t))
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string // check, outcome and text of each finding
	}{
		"ldaps": {func(*Config) {}, []string{
			"server 127.0.0.1:\\d+ ok answers in .* ms, connecting took .* ms; TLS 1.3, certificate until 20.* days\\)$",
			"certificate of 127.0.0.1:.* warn .* ends on 20.*: renew it in time", "users ok 450 account\\(s\\) match user_filter$"}},
		"StartTLS": {func(c *Config) { c.URLs, c.StartTLS = []string{s.PlainURL}, true }, []string{
			"server 127.0.0.1:\\d+ ok .*; TLS 1.3, certificate until", "certificate of 127.0.0.1:.* warn", "users ok 450"}},
		"in clear": {func(c *Config) { c.URLs, c.InsecurePlaintext = []string{s.PlainURL}, true }, []string{
			"server 127.0.0.1:\\d+ ok .*; in clear, without TLS$", "users ok 450"}},
		"one is dead": {func(c *Config) { c.URLs = []string{dead, s.URL} }, []string{
			"server " + strings.TrimPrefix(dead, "ldaps://") + " warn .*connection refused: is the server running", "server .* ok answers",
			"certificate of .* warn", "users ok 450"}},
		"all are dead": {func(c *Config) { c.URLs = []string{dead, dead} }, []string{
			"server .* fail .*connection refused", "server .* fail .*connection refused"}},
		"no users": {func(c *Config) { c.BaseDN = s.GroupsDN }, []string{
			"server .* ok", "certificate of .* warn", "users warn the search for all users finds none"}},
		"no base": {func(c *Config) { c.BaseDN = "ou=nowhere," + s.BaseDN }, []string{"server .* fail .*does not exist", "certificate"}},
		"strangers": {func(c *Config) { c.BindPassword = "wrong"; c.URLs = append(c.URLs, s.URL) }, []string{
			"server .* fail .*refused the service account \"" + s.BindDN + "\": check bind_dn"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := configFor(s)
			test.change(&c)
			found := connect(t, c).Inspect(t.Context(), func(string) {})
			if len(found) != len(test.want) {
				t.Fatalf("%+v", found)
			}
			for i, f := range found {
				line := f.Check + " ok " + f.Seen
				switch {
				case !f.OK() && f.Warning:
					line = f.Check + " warn " + f.Problem
				case !f.OK():
					line = f.Check + " fail " + f.Problem
				}
				if !regexp.MustCompile("(?s)^" + test.want[i]).MatchString(line) {
					t.Errorf("%q, want %q", line, test.want[i])
				}
			}
		})
	}
}

// TestSightings are of the servers that were visited lately, the last certificate of each.
func TestSightings(t *testing.T) {
	var s sightings
	now := time.Now()
	shown := func(host string, ends, at time.Time) {
		s.note(Visit{URL: "ldaps://" + host, TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{NotAfter: ends}}}}}, at)
	}
	s.note(Visit{URL: "ldap://in-clear"}, now)
	shown("one", now, now.Add(-time.Hour))
	shown("one", now.Add(time.Hour), now)
	shown("gone", now, now.Add(-sightingsLast))
	if got := s.ends(now); len(got) != 1 || got[0] != (authn.End{What: "certificate shown by one", At: now.Add(time.Hour)}) {
		t.Errorf("%+v", got)
	}
}

// TestCertificateEnds: of the whole chain, and only when it is near.
func TestCertificateEnds(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{})
	visits, err := connect(t, configFor(s)).visits(t.Context(), nil)
	if err != nil || visits[0].Err != nil {
		t.Fatal(err, visits)
	}
	end, whose, _ := visits[0].certificateEnd()
	if time.Until(end) > 25*time.Hour || whose == "" {
		t.Errorf("%s of %q", end, whose)
	}
	for before, warns := range map[time.Duration]bool{expirySoon - time.Second: true, expirySoon + time.Second: false} {
		if found, answers := FindingsOf(visits, end.Add(-before), nil); (len(found) == 2) != warns || answers != 1 {
			t.Errorf("%s before the end: %+v", before, found)
		}
	}
	visits[0].TLS.VerifiedChains[0][1].NotAfter = end.Add(-time.Hour)
	if found, _ := FindingsOf(visits, time.Now(), nil); !strings.Contains(found[1].Problem, "the authority's certificate") {
		t.Errorf("%+v", found)
	}
}

func TestCount(t *testing.T) {
	entries := func(n int, then error) func(func(), func(Entry) error) error {
		return func(begin func(), take func(Entry) error) error {
			for range 2 { // on another server, after the first one broke off
				begin()
				for range n {
					if err := take(Entry{}); err != nil {
						return err
					}
				}
			}
			return then
		}
	}
	silent := authn.Errorf(authn.Unavailable, reasonSilent, "no answer")
	for name, test := range map[string]struct {
		list          func(func(), func(Entry) error) error
		seen, problem string
	}{
		"all":      {entries(3, nil), "3 account(s)", ""},
		"none":     {entries(0, nil), "0 account(s)", "finds none"},
		"too many": {entries(maxCounted+1, nil), fmt.Sprint("at least ", maxCounted, " account(s)"), ""},
		"some":     {entries(5, silent), "at least 5 account(s)", ""},
		"silence":  {entries(0, silent), "", "no answer"},
	} {
		f := Count(func(string) {}, test.list, nil)
		if !strings.HasPrefix(f.Seen, test.seen) || !strings.Contains(f.Problem, test.problem) || f.OK() != (test.problem == "") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	odd := 0
	f := Count(func(string) {}, entries(5, nil), func(Entry) bool { odd++; return odd%2 == 1 })
	if f.Seen != "5 account(s), 2 of them usable," {
		t.Errorf("%+v", f)
	}
}

// TestHealthChecksDoNotLockTheServiceAccount: within a process a refusal is remembered for a while.
func TestHealthChecksDoNotLockTheServiceAccount(t *testing.T) {
	const invalidCredentials = 49
	f := lying(t, answers{bind: func(id int64) []byte { return result(id, goldap.ApplicationBindResponse, invalidCredentials) }})
	d := connect(t, Config{URLs: []string{f.url}, InsecurePlaintext: true, BaseDN: fakeBase, BindDN: "cn=other", BindPassword: "x"})
	for range 5 {
		err := d.Check(t.Context())
		wantReason(t, err, authn.Unavailable, reasonServiceAccount)
	}
	if n := f.binds.Load(); n != 1 {
		t.Errorf("the service account's password was tried %d times", n)
	}
}

// TestExplainTellsWhatItAsked, also where nothing is found, and never from the cache.
func TestExplainTellsWhatItAsked(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 2})
	c := configFor(s)
	c.DisabledFilter = "(description=gone)"
	d := connect(t, c)
	if _, err := d.Find(t.Context(), "user00001"); err != nil {
		t.Fatal(err)
	}
	s.Modify(t, "dn: uid=user00001,"+s.PeopleDN+"\nchangetype: modify\nreplace: description\ndescription: gone\n")
	a, told, err := d.Explain(t.Context(), "user00001")
	if err != nil || a.Subject == "" {
		t.Fatal(err)
	}
	last := told[len(told)-1]
	if last.About != "account" || authn.ReasonOf(last.Err) != reasonDisabled {
		t.Errorf("%+v", told)
	}
	_, told, err = d.Explain(t.Context(), "*)(uid=*")
	wantReason(t, err, authn.BadCredentials, reasonUnknownUser)
	if len(told) != 2 || !strings.Contains(told[0].Text, `(uid=\2a\29\28uid=\2a)`) || told[1].Text != s.URL {
		t.Errorf("%+v", told)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	_, told, err = d.Explain(ctx, "user00001")
	if authn.KindOf(err) != authn.Unavailable || len(told) == 0 {
		t.Errorf("%v, %+v", err, told)
	}
}
