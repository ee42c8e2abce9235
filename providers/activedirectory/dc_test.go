package activedirectory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// windows is how a domain controller words a refused bind.
func windows(code string) string {
	return "80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data " + code + ", v4563\x00"
}

func TestRefusedBinds(t *testing.T) {
	const invalidCredentials, unwilling, busy = 49, 53, 51
	for name, test := range map[string]struct {
		code   int
		words  string
		kind   authn.Kind
		reason string
	}{
		"no such user":           {invalidCredentials, windows("525"), authn.BadCredentials, reasonUnknownUser},
		"wrong password":         {invalidCredentials, windows("52e"), authn.BadCredentials, reasonWrongPassword},
		"logon hours":            {invalidCredentials, windows("530"), authn.Locked, reasonHours},
		"workstation":            {invalidCredentials, windows("531"), authn.Locked, reasonWorkstation},
		"password expired":       {invalidCredentials, windows("532"), authn.Locked, reasonPassExpired},
		"disabled":               {invalidCredentials, windows("533"), authn.Locked, reasonDisabled},
		"account expired":        {invalidCredentials, windows("701"), authn.Locked, reasonExpired},
		"must change":            {invalidCredentials, windows("773"), authn.Locked, reasonMustChange},
		"locked":                 {invalidCredentials, windows("775"), authn.Locked, reasonLocked},
		"a code nobody knows":    {invalidCredentials, windows("51f"), authn.Unavailable, reasonBadAnswer},
		"no code":                {invalidCredentials, "go away", authn.BadCredentials, reasonWrongPassword},
		"no words":               {invalidCredentials, "", authn.BadCredentials, reasonWrongPassword},
		"locked, another result": {busy, windows("775"), authn.Unavailable, "directory_busy"},
		"a code on a success":    {0, windows("52e"), authn.OK, "ok"},
	} {
		f := startFake(t)
		f.bindCode, f.words = test.code, test.words
		_, err := signIn(t.Context(), connect(t, f.config), "ana", "secret-canary")
		if authn.KindOf(err) != test.kind || authn.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v, want %v (%s)", name, err, test.kind, test.reason)
		}
		if n := f.binds.Load(); n != 1 {
			t.Errorf("%s: %d binds, want 1", name, n)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

// TestRoundTrips counts what a sign-in costs the domain controller. Whoever makes it grow changes the table in
// docs/providers/active-directory.md.
func TestRoundTrips(t *testing.T) {
	f := startFake(t)
	d := connect(t, f.config)
	var later time.Duration
	d.now = func() time.Time { return time.Now().Add(later) }
	signIn := func(name string) func() error {
		return func() error { _, err := signIn(t.Context(), d, name, "x"); return err }
	}
	wrong := false
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		list := honest(base, filter, asked)
		if wrong && len(list) > 0 && list[0].dn == fakeAna {
			list[0].attributes[attrBadCount] = []string{"1"}
		}
		return list
	}
	for _, step := range []struct {
		name            string
		do              func() error
		later           time.Duration
		searches, binds int32
	}{
		{"the first user ever", signIn("ana"), 0, 4, 1},                                                                 // user, tokenGroups, names of the groups, lock-out policy
		{"the same again", signIn("ana"), 0, 1, 1},                                                                      // state
		{"and again", signIn("ana"), 0, 1, 1},                                                                           //
		{"another spelling", signIn(`EXAMPLE\ana`), 0, 1, 1},                                                            // user
		{"integrated", func() error { _, err := d.Lookup(t.Context(), "ana"); return err }, 0, 1, 0},                    // user
		{"groups forgotten", signIn("ANA"), 3 * time.Minute, 2, 1},                                                      // user, tokenGroups
		{"names forgotten", signIn("Ana"), namesFor + time.Minute, 3, 1},                                                // and the names
		{"once in an hour", signIn("aNa"), time.Hour + 4*time.Minute, 4, 1},                                             // and the policy
		{"a new password", func() error { return newPassword(t, d, "ana", "x", "y") }, time.Hour + 4*time.Minute, 1, 0}, // state
	} {
		later = step.later
		f.searches.Store(0)
		f.binds.Store(0)
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if s, b := f.searches.Load(), f.binds.Load(); s != step.searches || b != step.binds {
			t.Errorf("%s: %d searches and %d binds, want %d and %d", step.name, s, b, step.searches, step.binds)
		}
	}
	wrong = true // from now on the policy decides, so it is read anew each minute
	for _, want := range []int32{1, 2, 1} {
		f.searches.Store(0)
		if err := signIn("aNa")(); err != nil || f.searches.Load() != want {
			t.Errorf("after a wrong password: %d searches, want %d (%v)", f.searches.Load(), want, err)
		}
		if want == 1 {
			later += policyFor
		}
	}
}

// TestNothingIsAsked where an answer could not matter.
func TestNothingIsAsked(t *testing.T) {
	f := startFake(t)
	d := connect(t, f.config)
	a, _ := d.Find(t.Context(), "ana")
	f.searches.Store(0)
	for _, p := range []authn.Secret{"", "a\x00b"} {
		if _, err := d.Verify(t.Context(), a, p); authn.KindOf(err) != authn.BadCredentials {
			t.Error(err)
		}
		if err := d.ChangePassword(t.Context(), a, p, "x"); authn.KindOf(err) != authn.BadCredentials {
			t.Error(err)
		}
	}
	if err := d.ChangePassword(t.Context(), a, "x", "a\x00b"); authn.KindOf(err) != authn.Unsuitable {
		t.Error(err)
	}
	for _, name := range []string{
		"ana@other.test", `OTHER\ana`, `EXAMPLE\`, "@example.test", `EXAMPLE\ana@example.test`, `EXAMPLE\EXAMPLE\ana`,
	} {
		_, err := d.Find(t.Context(), name)
		wantReason(t, err, authn.BadCredentials, reasonUnknownUser)
	}
	if f.searches.Load()+f.binds.Load()+f.modifies.Load() != 0 {
		t.Error("the domain controller was asked what could be known without it")
	}
}

// TestWhatIsHiddenIsAnError: an attribute that the service account may not read must not look like a harmless value.
func TestWhatIsHiddenIsAnError(t *testing.T) {
	for attribute, reason := range map[string]string{
		"objectGUID": reasonConfig, "sAMAccountName": reasonConfig, "userAccountControl": reasonConfig,
		"msDS-User-Account-Control-Computed": reasonConfig, "accountExpires": reasonConfig, "pwdLastSet": reasonConfig,
		"objectSid": reasonGroups, "primaryGroupID": reasonGroups,
	} {
		f := startFake(t)
		f.entry = func(base, filter string, asked []string) []fakeEntry {
			list := honest(base, filter, asked)
			for _, e := range list {
				if e.dn == fakeAna {
					delete(e.attributes, attribute)
				}
			}
			return list
		}
		_, err := signIn(t.Context(), connect(t, f.config), "ana", "x")
		if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != reason {
			t.Errorf("without %s: %v, want %s", attribute, err, reason)
		}
	}
	f := startFake(t)
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if asked[0] == attrThreshold {
			return nil
		}
		return honest(base, filter, asked)
	}
	_, err := signIn(t.Context(), connect(t, f.config), "ana", "x")
	wantReason(t, err, authn.Unavailable, reasonConfig)
	if f.binds.Load() != 0 {
		t.Error("a password was tried without knowing when the domain locks")
	}
}

// TestAFineGrainedPolicy decides in the place of the domain's.
func TestAFineGrainedPolicy(t *testing.T) {
	const pso = "CN=admins,CN=Password Settings Container,CN=System," + fakeRoot
	locksAfter := func(threshold, window string) []fakeEntry {
		return []fakeEntry{{pso, map[string][]string{attrPSOThreshold: {threshold}, attrPSOWindow: {window}}}}
	}
	for name, test := range map[string]struct {
		bad    string
		policy []fakeEntry
		reason string
	}{
		"stricter":         {"2", locksAfter("3", "-18000000000"), reasonNearLockout},
		"milder":           {"4", locksAfter("50", "-18000000000"), "ok"},
		"locks nobody":     {"99", locksAfter("0", "0"), "ok"},
		"not to be read":   {"0", nil, reasonConfig},
		"half to be read":  {"0", []fakeEntry{{pso, map[string][]string{attrPSOThreshold: {"3"}}}}, reasonConfig},
		"counted for ever": {"2", locksAfter("3", "-9223372036854775808"), reasonNearLockout},
	} {
		f := startFake(t)
		f.entry = func(base, filter string, asked []string) []fakeEntry {
			if base == pso {
				return test.policy
			}
			list := honest(base, filter, asked)
			for _, e := range list {
				e.attributes[attrPSO], e.attributes[attrBadCount] = []string{pso}, []string{test.bad}
				e.attributes[attrBadTime] = []string{"116444736010000000"} // 1970
				if name != "counted for ever" {
					delete(e.attributes, attrBadTime)
				}
			}
			return list
		}
		_, err := signIn(t.Context(), connect(t, f.config), "ana", "x")
		if authn.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
	}
}

// TestThePolicyOfEachAccount: that of the domain, remembered for somebody else, does not do for who has another.
func TestThePolicyOfEachAccount(t *testing.T) {
	const pso = "CN=admins,CN=Password Settings Container,CN=System," + fakeRoot
	f := startFake(t)
	own := false
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if base == pso {
			return []fakeEntry{{pso, map[string][]string{attrPSOThreshold: {"3"}, attrPSOWindow: {"-18000000000"}}}}
		}
		list := honest(base, filter, asked)
		for _, e := range list {
			if e.attributes[attrBadCount] = []string{"2"}; own {
				e.attributes[attrPSO] = []string{pso}
			}
		}
		return list
	}
	d := connect(t, f.config)
	if _, err := signIn(t.Context(), d, "ana", "x"); err != nil { // 2 of 5
		t.Fatal(err)
	}
	own = true
	_, err := signIn(t.Context(), d, "ana", "x")
	wantReason(t, err, authn.Locked, reasonNearLockout) // 2 of 3
}

func TestTheNameOfAPerson(t *testing.T) {
	for display, want := range map[string]string{"": "ana of the tree", "Ana Lee": "Ana Lee"} {
		f := startFake(t)
		f.entry = func(base, filter string, asked []string) []fakeEntry {
			list := honest(base, filter, asked)
			for _, e := range list {
				e.attributes[attrName] = []string{"ana of the tree"}
				if display != "" {
					e.attributes[attrDisplay] = []string{display}
				}
			}
			return list
		}
		if a, err := connect(t, f.config).Find(t.Context(), "ana"); err != nil || a.Name != want {
			t.Errorf("%q, %v", a.Name, err)
		}
	}
}

// TestATornGUID is not taken for somebody.
func TestATornGUID(t *testing.T) {
	for _, guid := range []string{"", "0123456789abcde", "0123456789abcdef0"} {
		f := startFake(t)
		f.entry = func(base, filter string, asked []string) []fakeEntry {
			list := honest(base, filter, asked)
			for _, e := range list {
				e.attributes[attrGUID] = []string{guid}
			}
			return list
		}
		_, err := connect(t, f.config).Find(t.Context(), "ana")
		wantReason(t, err, authn.Unavailable, reasonConfig)
	}
}

// TestGoneBetweenTwoQuestions: the account was found, and its groups were not.
func TestGoneBetweenTwoQuestions(t *testing.T) {
	f := startFake(t)
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if asked[0] == attrTokenGroups {
			return nil
		}
		return honest(base, filter, asked)
	}
	_, err := connect(t, f.config).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, reasonChanged)
}

// ranged serves tokenGroups in pieces.
func ranged(pieces map[string][]string) func(string, string, []string) []fakeEntry {
	return func(base, filter string, asked []string) []fakeEntry {
		if !strings.HasPrefix(asked[0], attrTokenGroups) {
			return honest(base, filter, asked)
		}
		e := fakeEntry{fakeAna, map[string][]string{}}
		if piece, ok := pieces[asked[0]]; ok {
			e.attributes[piece[0]] = piece[1:]
		}
		return []fakeEntry{e}
	}
}

func sids(from, to uint32) (list []string) {
	for rid := from; rid <= to; rid++ {
		list = append(list, fakeSID(rid))
	}
	return list
}

func piece(option string, values []string) []string {
	return append([]string{attrTokenGroups + option}, values...)
}

func TestRanges(t *testing.T) {
	endless := map[string][]string{attrTokenGroups: piece(";range=0-0", sids(2000, 2000))}
	for i := 1; i < 500; i++ {
		n := strconv.Itoa(i)
		endless[attrTokenGroups+";range="+n+"-*"] = piece(";range="+n+"-"+n, sids(2000, 2000))
	}
	// two pieces: 0-99 with the groups up to last, and 50 more that come as range=from..., whatever was asked for.
	two := func(last uint32, from int, to string) map[string][]string {
		rest := piece(fmt.Sprintf(";range=%d%s", from, to), sids(2100, 2149))
		return map[string][]string{
			attrTokenGroups:                 piece(";range=0-99", sids(2000, last)),
			attrTokenGroups + ";range=99-*": rest, attrTokenGroups + ";range=100-*": rest,
		}
	}
	for name, test := range map[string]struct {
		pieces map[string][]string
		want   int // groups, with the primary one; 0: groups_incomplete
	}{
		"one piece":        {map[string][]string{attrTokenGroups: piece("", sids(2000, 2149))}, 151},
		"two pieces":       {two(2099, 100, "-*"), 151},
		"upper case":       {map[string][]string{attrTokenGroups: piece(";Range=0-*", sids(2000, 2149))}, 151},
		"no more comes":    {map[string][]string{attrTokenGroups: piece(";range=0-99", sids(2000, 2099))}, 0},
		"a gap":            {two(2099, 101, "-*"), 0},
		"fewer than said":  {two(2098, 99, "-*"), 0},
		"the same again":   {two(2099, 0, "-49"), 0},
		"a torn option":    {map[string][]string{attrTokenGroups: piece(";range", sids(2000, 2001))}, 0},
		"no range at all":  {map[string][]string{attrTokenGroups: piece(";rangy=0-*", sids(2000, 2001))}, 0},
		"two options":      {map[string][]string{attrTokenGroups: piece(";range=0-*;binary", sids(2000, 2001))}, 0},
		"no end":           {map[string][]string{attrTokenGroups: piece(";range=0", sids(2000, 2001))}, 0},
		"no start":         {map[string][]string{attrTokenGroups: piece(";range=-*", sids(2000, 2001))}, 0},
		"no numbers":       {map[string][]string{attrTokenGroups: piece(";range=a-b", sids(2000, 2001))}, 0},
		"another option":   {map[string][]string{attrTokenGroups: piece(";binary", sids(2000, 2001))}, 0},
		"without end":      {endless, 0},
		"not a SID":        {map[string][]string{attrTokenGroups: piece("", []string{"hello"})}, 0},
		"a torn SID":       {map[string][]string{attrTokenGroups: piece("", []string{fakeSID(2000)[:20]})}, 0},
		"no group at all":  {map[string][]string{}, 1},
		"as many as go":    {map[string][]string{attrTokenGroups: piece("", sids(2000, 2000+maxGroups-2))}, maxGroups},
		"too many":         {map[string][]string{attrTokenGroups: piece("", sids(2000, 2000+maxGroups-1))}, 0},
		"an unknown group": {map[string][]string{attrTokenGroups: piece("", sids(4000, 4000))}, 0},
	} {
		f := startFake(t)
		f.entry = ranged(test.pieces)
		a, err := connect(t, f.config).Find(t.Context(), "ana")
		if test.want == 0 {
			if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != reasonGroups {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || len(a.Groups) != 3*test.want {
			t.Errorf("%s: %d names, want %d (%v)", name, len(a.Groups), 3*test.want, err)
		}
	}
}

// TestGroupsOfOtherDomains have a SID and no name here.
func TestGroupsOfOtherDomains(t *testing.T) {
	f := startFake(t)
	f.entry = ranged(map[string][]string{attrTokenGroups: piece("", []string{fakeSID(2000, 8)})})
	a, err := connect(t, f.config).Find(t.Context(), "ana")
	want := "S-1-5-21-1-2-7-513 CN=g513," + fakeRoot + " g513 S-1-5-21-1-2-8-2000"
	if err != nil || strings.Join(a.Groups, " ") != want {
		t.Errorf("got %q (%v), want %q", a.Groups, err, want)
	}
}

// TestAGroupCannotPoseAsAnother: who may name a group gives it the SID or the DN of another one as its name.
func TestAGroupCannotPoseAsAnother(t *testing.T) {
	const admins, adminsDN = "S-1-5-32-544", "CN=Domain Admins,CN=Users," + fakeRoot
	for _, fakeName := range []string{admins, strings.ToLower(admins), adminsDN} {
		f := startFake(t)
		f.entry = func(base, filter string, asked []string) []fakeEntry {
			list := honest(base, filter, asked)
			for _, e := range list {
				if strings.HasPrefix(e.dn, "CN=g2000,") {
					e.attributes[attrSAM] = []string{fakeName}
				}
			}
			return list
		}
		f.config.AllowGroups = []string{admins, adminsDN}
		_, err := signIn(t.Context(), connect(t, f.config), "ana", "x")
		wantReason(t, err, authn.Locked, reasonNoGroup)
	}
}

func TestALyingGroup(t *testing.T) {
	f := startFake(t)
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if strings.Contains(filter, "objectSid=") {
			return append(groupsIn(filter), fakeEntry{"CN=x," + fakeRoot, map[string][]string{"objectSid": {fakeSID(500)}}})
		}
		return honest(base, filter, asked)
	}
	_, err := connect(t, f.config).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, reasonGroups)
}

func TestWithoutGroups(t *testing.T) {
	f := startFake(t)
	f.config.Groups.Source = sourceNone
	a, err := connect(t, f.config).Find(t.Context(), "ana")
	if err != nil || a.Groups != nil || f.searches.Load() != 1 {
		t.Errorf("%q, %v, %d searches", a.Groups, err, f.searches.Load())
	}
}

func TestACallerCannotChangeTheCache(t *testing.T) {
	d := connect(t, startFake(t).config)
	first, _ := d.Find(t.Context(), "ana")
	second, _ := d.Find(t.Context(), "ana")
	want := slices.Clone(second.Groups)
	first.Groups[0], second.Groups[0] = "x", "y"
	if third, err := d.Find(t.Context(), "ana"); err != nil || !slices.Equal(third.Groups, want) {
		t.Errorf("%q, %v", third.Groups, err)
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	_, err := New("corp", "", Config{
		Domain: "CORP\\x", NetBIOSNames: []string{"CORP", "a b", ""}, UPNSuffixes: []string{"@example.com", ""},
		DNSServers: []string{"hello"},
		BaseDN:     "DC=other,DC=test", URLs: []string{"ldap://dc1", "http://dc1"}, Username: "cn",
		Groups: Groups{Source: "memberOf"}, LockoutMargin: -1,
		AllowGroups: []string{" "}, DenyGroups: []string{"CN=x,broken"}, DialTimeout: -1,
	}, authn.Route{Pattern: "("})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"domain: ", "netbios_names[1]: ", "upn_suffixes[0]: ", "bind_dn: is required",
		"bind_password: is required", "base_dn: ", "urls[0]: ldap:// sends", "urls[1]: ", "username: ",
		"groups.source: ", "lockout_margin: ",
		"allow_groups[0]: ", "deny_groups[0]: ",
		"dial_timeout: ", "pattern: ", "netbios_names[2]: ", "upn_suffixes[1]: ", "dns_servers[0]: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported", want)
		}
	}
	if strings.Contains(fmt.Sprint(err), "netbios_names[0]") {
		t.Error("CORP is a good name")
	}
	_, err = New("corp", "", Config{
		Domain: "corp.test", URLs: []string{"ldaps://dc1"}, BindDN: "svc@corp.test", BindPassword: "x",
		Groups: Groups{Source: sourceNone}, DenyGroups: []string{"x"},
	}, authn.Route{})
	if err == nil || !strings.Contains(err.Error(), "deny_groups[0]: no group is known") {
		t.Errorf("groups that nobody reads: %v", err)
	}
}
