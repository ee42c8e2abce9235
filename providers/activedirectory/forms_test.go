package activedirectory

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func TestSubCodes(t *testing.T) {
	for words, want := range map[string]uint64{
		windows("52e"): 0x52e,
		"80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 775, v1db1": 0x775,
		"data 52e, ": 0, "AcceptSecurityContext error, data 52e": 0, "AcceptSecurityContext error, data xyz, v1": 0,
		"AcceptSecurityContext error, data -52e, v1": 0, "AcceptSecurityContext error, data 100000000, v1": 0, "": 0,
	} {
		if code, ok := subCode(words); code != want || ok != (want != 0) {
			t.Errorf("%q: %x %v, want %x", words, code, ok, want)
		}
	}
}

// FuzzSubCode: whatever a server says, a refused bind stays refused, and only Windows' own code for it is a wrong
// password.
func FuzzSubCode(f *testing.F) {
	for _, code := range []string{
		"525", "52e", "530", "531", "532", "533", "701", "773", "775", "0", "ffffffff", "52E", "+52e", "0x52e", "",
	} {
		f.Add(windows(code))
	}
	f.Add("AcceptSecurityContext error, data AcceptSecurityContext error, data 52e, v1")
	f.Fuzz(func(t *testing.T, words string) {
		err := refused(words)
		code, ok := subCode(words)
		if ok != (err != nil) {
			t.Fatalf("%q: %v, code found: %v", words, err, ok)
		}
		if err == nil {
			return
		}
		kind := authn.KindOf(err)
		counts := kind == authn.BadCredentials
		if counts != (code == 0x52e || code == 0x525) || kind == authn.Internal || kind == authn.OK {
			t.Errorf("%q: %v", words, err)
		}
	})
}

// TestReadingsOfAName: each spelling is searched in every way in which the domain could understand it.
func TestReadingsOfAName(t *testing.T) {
	n := names{domain: "corp.test", short: []string{"CORP"}, suffixes: []string{"alt.test"}}
	byMail := n
	byMail.email = true
	const ann = "(sAMAccountName=ann)(sAMAccountName=ann@corp.test)" +
		"(userPrincipalName=ann@corp.test)(userPrincipalName=ann)"
	for _, test := range []struct {
		n           names
		typed, want string
	}{
		{n, "ann", ann},
		{n, `corp\ann`, ann},
		{n, "ann@corp.test", ann},
		{n, "ann@alt.test", "(userPrincipalName=ann@alt.test)(sAMAccountName=ann@alt.test)"},
		{byMail, "ann@alt.test", "(userPrincipalName=ann@alt.test)(sAMAccountName=ann@alt.test)(mail=ann@alt.test)"},
		{byMail, "ann@corp.test", ann + "(mail=ann@corp.test)"},
		{byMail, "ann@mail.test", "(mail=ann@mail.test)"},
		{n, "a*)(b", strings.ReplaceAll(ann, "ann", `a\2a\29\28b`)},
	} {
		got, err := test.n.read(test.typed)
		if want := "(&(objectCategory=person)(objectClass=user)(|" + test.want + "))"; err != nil || got.filter != want {
			t.Errorf("%s: %s (%v), want %s", test.typed, got.filter, err, want)
		}
	}
}

func TestTextOfIDs(t *testing.T) {
	b, _ := hex.DecodeString("a0b1c2d3e4f5061728394a5b6c7d8e9f")
	if got := guidText(b); got != "d3c2b1a0-f5e4-1706-2839-4a5b6c7d8e9f" {
		t.Errorf("GUID %s", got)
	}
	s, ok := parseSID([]byte("\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x20\x02\x00\x00"))
	other := s.sibling(545)
	if !ok || s.String() != "S-1-5-32-544" || other.String() != "S-1-5-32-545" || s.domain() != other.domain() {
		t.Errorf("SID %s %v", s, ok)
	}
	const authority = "\x00\x00\x00\x00\x00\x05"
	for _, bad := range []string{
		"", "\x01", "\x02\x00" + authority, "\x01\x01" + authority, "\x01\x00" + authority + "x",
	} {
		if s, ok := parseSID([]byte(bad)); ok {
			t.Errorf("%x is taken for the SID %s", bad, s)
		}
	}
}

func TestSIDs(t *testing.T) {
	const authority = "\x00\x00\x00\x00\x00\x05"
	if _, ok := parseSID([]byte("\x01\x10" + authority + strings.Repeat("\x01", 64))); ok {
		t.Error("16 numbers are one too many")
	}
	if s, ok := parseSID([]byte("\x01\x0f" + authority + strings.Repeat("\x01", 60))); !ok || s.domain() == "" {
		t.Error("15 numbers are a SID")
	}
	if s, ok := parseSID([]byte("\x01\x00" + authority)); !ok || s.domain() != "" {
		t.Error("a SID of no domain")
	}
	for text, want := range map[string]bool{"S-1-5-32": true, "s-1-5": true, "S-1-": false, "S-1": false, "": false, "Staff": false} {
		if isSIDText(text) != want {
			t.Errorf("%q is a SID: %v", text, !want)
		}
	}
}

func TestRangeOptions(t *testing.T) {
	for text, want := range map[string][2]int{
		"range=0-1499": {0, 1499}, "Range=1500-*": {1500, -1}, "range=7-7": {7, 7},
		"range=7-6": {}, "range=-1-5": {}, "range=a-5": {}, "range=0-b": {}, "range=0": {}, "range=": {}, "range": {},
		"ranges0-1": {}, "binary": {}, "": {},
	} {
		from, to, ok := rangeOf([]string{text})
		if ok != (want != [2]int{}) || ok && (from != want[0] || to != want[1]) {
			t.Errorf("%q: %d to %d, %v", text, from, to, ok)
		}
	}
	if _, _, ok := rangeOf([]string{"range=0-1", "binary"}); ok {
		t.Error("a second option is overlooked")
	}
}

func TestDomainNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for text, want := range map[string]bool{
		"corp": true, "corp.example.com": true, "CORP-1.a_b.com": true, "z.Z.0.9": true, long + ".com": true,
		"": false, ".": false, "corp.": false, ".corp": false, "a..b": false, long + "a.com": false, "a b": false, "a@b": false,
		"a{b": false, "a[b": false, "a/b": false, "a:b": false, "a`b": false, "é.com": false, "a.b\x00": false,
	} {
		if isDomain(text) != want {
			t.Errorf("%q is a domain: %v", text, !want)
		}
	}
	if resolver(nil) != nil {
		t.Error("without dns_servers the system's own resolver is asked")
	}
}

// TestNumbersAndSites are mistakes that one setting can have alone.
func TestNumbersAndSites(t *testing.T) {
	good := Config{Domain: "corp.test", BindDN: "svc@corp.test", BindPassword: "x", Site: "Berlin", LockoutMargin: 100}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string // empty: no mistake
	}{
		"all is well":       {func(*Config) {}, ""},
		"site with dots":    {func(c *Config) { c.Site = "berlin.corp" }, "site: "},
		"site with a space": {func(c *Config) { c.Site = "Berlin Mitte" }, "site: "},
		"site and urls":     {func(c *Config) { c.URLs = []string{"ldaps://dc1"} }, "site: "},
		"urls alone":        {func(c *Config) { c.URLs, c.Site = []string{"ldaps://dc1"}, "" }, ""},
		"margin":            {func(c *Config) { c.LockoutMargin = 101 }, "lockout_margin: "},
		"a catalogue alone": {func(c *Config) { c.Forest.GlobalCatalogue = []string{"ldaps://gc"} }, "forest.domains: "},
		"another root": {func(c *Config) {
			c.Forest = Forest{Root: "root.test", Domains: []OtherDomain{{Domain: "a.test"}}}
		}, ""},
	} {
		c := good
		test.change(&c)
		_, err := New("corp", "", c, authn.Route{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestTimes(t *testing.T) {
	if got := fileTime(116444736010000000); !got.Equal(time.Unix(1, 0)) {
		t.Errorf("got %v", got)
	}
	for _, never := range []int64{0, -1, 1<<63 - 1} {
		if !fileTime(never).IsZero() {
			t.Errorf("%d is %v", never, fileTime(never))
		}
	}
	for n, want := range map[int64]time.Duration{-18000000000: 30 * time.Minute, 0: 0} {
		if got := interval(n); got != want {
			t.Errorf("%d is %v", n, got)
		}
	}
	for _, forEver := range []int64{-1 << 63, -1<<63 + 1, 5} {
		if got := interval(forEver); got < 100*365*24*time.Hour || got+clockSlack < 0 {
			t.Errorf("%d is %v", forEver, got)
		}
	}
}

func TestStates(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 30, 0, 0, time.UTC) // a Tuesday
	hours := make([]byte, 21)
	hours[(2*24+10)/8] = 1 << ((2*24 + 10) % 8)
	for name, test := range map[string]struct {
		state  state
		reason string
	}{
		"well":             {state{}, "ok"},
		"disabled":         {state{flags: 0x200 | flagDisabled}, reasonDisabled},
		"locked":           {state{flags: flagLocked}, reasonLocked},
		"expired":          {state{expires: now}, reasonExpired},
		"expires soon":     {state{expires: now.Add(time.Second)}, "ok"},
		"must change":      {state{mustChange: true, flags: flagPasswordExpired}, reasonMustChange},
		"password expired": {state{flags: flagPasswordExpired}, reasonPassExpired},
		"in the hours":     {state{hours: hours}, "ok"},
		"torn hours":       {state{hours: hours[:2]}, reasonHours},
	} {
		wantLocked(t, name, test.state.mayEnter(now), test.reason)
	}
	for _, off := range []time.Duration{-31 * time.Minute, 30 * time.Minute} {
		there := now.Add(off).In(time.FixedZone("", 3600))
		if got := authn.ReasonOf((state{hours: hours}).mayEnter(there)); got != reasonHours {
			t.Errorf("%v off: %s", off, got)
		}
	}
}

// wantLocked wants a refusal for a reason, or none for "ok".
func wantLocked(t *testing.T, name string, err error, reason string) {
	t.Helper()
	kind := authn.Locked
	if reason == "ok" {
		kind = authn.OK
	}
	if authn.KindOf(err) != kind || authn.ReasonOf(err) != reason {
		t.Errorf("%s: %v (%v), want %v (%s)", name, authn.KindOf(err), err, kind, reason)
	}
}

func TestMayTry(t *testing.T) {
	now := time.Now()
	p := policy{threshold: 5, window: 30 * time.Minute}
	for name, test := range map[string]struct {
		state  state
		policy policy
		margin int
		want   string
	}{
		"clean":                 {state{}, p, 1, "ok"},
		"two left":              {state{badCount: 3, badTime: now}, p, 1, "ok"},
		"one left":              {state{badCount: 4, badTime: now}, p, 1, reasonNearLockout},
		"a wider margin":        {state{badCount: 3, badTime: now}, p, 2, reasonNearLockout},
		"margin over threshold": {state{badCount: 1, badTime: now}, p, 9, reasonNearLockout},
		"clean, margin over":    {state{}, p, 9, "ok"},
		"forgotten":             {state{badCount: 4, badTime: now.Add(-36 * time.Minute)}, p, 1, "ok"},
		"by a slow clock":       {state{badCount: 4, badTime: now.Add(-34 * time.Minute)}, p, 1, reasonNearLockout},
		"in the future":         {state{badCount: 4, badTime: now.Add(time.Hour)}, p, 1, reasonNearLockout},
		"no time":               {state{badCount: 4}, p, 1, reasonNearLockout},
		"no threshold":          {state{badCount: 400, badTime: now}, policy{}, 1, "ok"},
		"locked":                {state{flags: flagLocked}, policy{}, 1, reasonLocked},
	} {
		wantLocked(t, name, test.state.mayTry(test.policy, test.margin, now), test.want)
	}
}

func TestReadingsAreForgotten(t *testing.T) {
	now := time.Now()
	r := newReadings(func() time.Time { return now })
	r.keep("a", state{badCount: 1}, now)
	if s, ok := r.take("a"); !ok || s.badCount != 1 {
		t.Error("the reading is not there")
	}
	if _, ok := r.take("a"); ok {
		t.Error("a reading served twice")
	}
	r.keep("a", state{}, now)
	now = now.Add(readingFor)
	if _, ok := r.take("a"); ok {
		t.Error("an old reading was believed")
	}
	for i := range maxKept + 10 {
		r.keep(strings.Repeat("x", i%100)+string(rune(i)), state{}, now)
	}
	if len(r.kept) > maxKept {
		t.Errorf("%d readings kept", len(r.kept))
	}
}

// TestASearchBesideAnAttempt has not seen what the attempt did to the count of wrong passwords, so the next attempt
// reads it anew: else every spelling of a name would be good for one attempt more.
func TestASearchBesideAnAttempt(t *testing.T) {
	f := startFake(t)
	d := connect(t, f.config)
	a, err := d.Find(t.Context(), "ana")
	if err != nil {
		t.Fatal(err)
	}
	tried, states := false, 0
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if base == fakeAna && slices.Contains(asked, attrBadCount) {
			states++
		}
		if !tried && strings.Contains(filter, "sAMAccountName=ana") {
			tried = true // while the other spelling is searched
			if _, err := d.Verify(t.Context(), a, "x"); err != nil {
				t.Error(err)
			}
		}
		return honest(base, filter, asked)
	}
	again, err := d.Find(t.Context(), `EXAMPLE\ana`)
	if err != nil || again.Subject != a.Subject || !tried || states != 0 {
		t.Fatalf("%+v, %v, %d states read", again, err, states)
	}
	for want := 1; want <= 2; want++ {
		if _, err := d.Verify(t.Context(), again, "x"); err != nil || states != want {
			t.Errorf("attempt %d: %d states read, %v", want, states, err)
		}
	}
}
