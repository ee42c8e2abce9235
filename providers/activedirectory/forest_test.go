package activedirectory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

const (
	emeaRoot = "DC=emea,DC=example,DC=test"
	emeaAna  = "CN=ana," + emeaRoot
	emeaBea  = "CN=bea," + emeaRoot
)

// emeaUser is a user of the second domain of the fake forest.
func emeaUser(sam, guid string) fakeEntry {
	e := ana()
	e.dn = "CN=" + sam + "," + emeaRoot
	e.attributes[attrGUID], e.attributes[attrSAM] = []string{guid}, []string{sam}
	e.attributes[attrSID] = []string{fakeSID(1104, 9)}
	return e
}

// fakeForest is the fake's domain, a second one with another ana and with bea, and a catalogue of both.
type fakeForest struct {
	config                Config
	first, emea, gc       *fake
	atEMEA                []fakeEntry
	inCatalogue           []fakeEntry
	groupsOfBea           []string
	foreignGroup, builtin fakeEntry
}

func startForest(t *testing.T) *fakeForest {
	t.Helper()
	f := &fakeForest{first: startFake(t), emea: startFake(t), gc: startFake(t)}
	bea := emeaUser("bea", "bea-bea-bea-bea-")
	bea.attributes[attrUPN], bea.attributes[attrMail] = []string{"bea@example.test"}, []string{"b@mail.test"}
	f.atEMEA = []fakeEntry{emeaUser("ana", "another-ana-----"), bea}
	f.inCatalogue = append([]fakeEntry{ana()}, f.atEMEA...)
	f.groupsOfBea = []string{fakeSID(513, 9), fakeSID(2000, 9), fakeSID(3000), fakeBuiltin}
	f.builtin = fakeEntry{"CN=Users,CN=Builtin," + emeaRoot,
		map[string][]string{attrSID: {fakeBuiltin}, attrSAM: {"Users"}}}
	f.foreignGroup = fakeEntry{"CN=g3000," + fakeRoot, map[string][]string{attrSID: {fakeSID(3000)}, attrSAM: {"g3000"}}}
	f.emea.entry, f.gc.entry = f.answerEMEA, f.answerCatalogue
	f.config = f.first.config
	f.config.CAFile = bothAuthorities(t, f.first, f.emea, f.gc)
	f.config.Forest = Forest{GlobalCatalogue: f.gc.config.URLs, Domains: []OtherDomain{
		{Domain: "emea.example.test", URLs: f.emea.config.URLs},
	}}
	return f
}

const fakeBuiltin = "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x21\x02\x00\x00" // S-1-5-32-545

func (f *fakeForest) answerEMEA(base, filter string, asked []string) (list []fakeEntry) {
	if strings.EqualFold(base, emeaRoot) && asked[0] == attrThreshold {
		return []fakeEntry{{emeaRoot, map[string][]string{attrThreshold: {"5"}, attrWindow: {"-18000000000"}}}}
	}
	for _, e := range f.atEMEA {
		if e.dn == base {
			e.attributes = maps.Clone(e.attributes)
			e.attributes[attrTokenGroups] = f.groupsOfBea
			list = append(list, e)
		}
	}
	for _, rid := range []uint32{513, 2000} {
		if s := fakeSID(rid, 9); strings.Contains(filter, sid(s).filter()) {
			list = append(list, fakeEntry{fmt.Sprintf("CN=g%d,%s", rid, emeaRoot),
				map[string][]string{attrSID: {s}, attrSAM: {fmt.Sprintf("g%d", rid)}}})
		}
	}
	if strings.Contains(filter, sid(fakeBuiltin).filter()) {
		list = append(list, f.builtin)
	}
	return list
}

// answerCatalogue finds by sAMAccountName, UPN or mail, in all domains, and knows no state.
func (f *fakeForest) answerCatalogue(base, filter string, _ []string) (list []fakeEntry) {
	if base != "" {
		return nil
	}
	if strings.Contains(filter, sid(fakeSID(3000)).filter()) {
		list = append(list, f.foreignGroup)
	}
	for _, e := range f.inCatalogue {
		known := map[string][]string{}
		matches := false
		for _, a := range []string{attrSAM, attrUPN, attrMail, attrGUID} {
			if v, ok := e.attributes[a]; ok {
				known[a] = v
				matches = matches || strings.Contains(strings.ToLower(filter), strings.ToLower("("+a+"="+v[0]+")"))
			}
		}
		if matches {
			list = append(list, fakeEntry{e.dn, known})
		}
	}
	return list
}

func TestEveryDomainOfAForest(t *testing.T) {
	f := startForest(t)
	f.config.SignInByEmail = true
	d := connect(t, f.config)
	for typed, want := range map[string]string{
		"ana": fakeAna, `EXAMPLE\ana`: fakeAna, "ana@example.test": fakeAna,
		`EMEA\ana`: emeaAna, `emea.example.test\ANA`: emeaAna, "ana@emea.example.test": emeaAna,
		"bea": emeaBea, "bea@example.test": emeaBea, `EMEA\bea`: emeaBea, "bea@EMEA.example.test": emeaBea,
		"b@mail.test": emeaBea,
	} {
		f.first.binds.Store(0)
		f.emea.binds.Store(0)
		a, err := d.Find(t.Context(), typed)
		if err != nil || a.Ref != want {
			t.Errorf("%s is %q, want %q (%v)", typed, a.Ref, want, err)
			continue
		}
		if _, err := d.Verify(t.Context(), a, "x"); err != nil {
			t.Errorf("%s: %v", typed, err)
		}
		atFirst := map[bool]int32{true: 1}[want == fakeAna]
		if x, y := f.first.binds.Load(), f.emea.binds.Load(); x != atFirst || y != 1-atFirst {
			t.Errorf("%s: %d and %d binds", typed, x, y)
		}
	}
	if f.gc.binds.Load() != 0 {
		t.Error("the global catalogue was sent a user's password")
	}
	if id, err := d.Lookup(t.Context(), `EMEA\bea`); err != nil || id.Username != "bea" {
		t.Errorf("Lookup: %+v, %v", id, err)
	}
	if err := newPassword(t, d, "bea", "old", "new"); err != nil || f.emea.modifies.Load() != 1 {
		t.Errorf("a new password: %v, %d changes at her own domain controller", err, f.emea.modifies.Load())
	}
}

// TestForestRoundTrips counts what is asked of the catalogue, and of the account's own domain.
func TestForestRoundTrips(t *testing.T) {
	f := startForest(t)
	d := connect(t, f.config)
	for _, step := range []struct {
		typed    string
		gc, home int32
		what     string
	}{
		{"bea", 2, 3, "catalogue, names there; account with tokenGroups, names, policy"},
		{"bea", 0, 1, "state"},
		{`EMEA\bea`, 1, 1, "catalogue; account"},
		{`EMEA\ana`, 1, 1, "catalogue; account with tokenGroups, whose names are known"},
	} {
		f.gc.searches.Store(0)
		f.emea.searches.Store(0)
		if _, err := signIn(t.Context(), d, step.typed, "x"); err != nil {
			t.Errorf("%s: %v", step.typed, err)
		}
		if x, y := f.gc.searches.Load(), f.emea.searches.Load(); x != step.gc || y != step.home {
			t.Errorf("%s: %d and %d searches, want %d and %d: %s", step.typed, x, y, step.gc, step.home, step.what)
		}
	}
	if f.first.searches.Load()+f.first.binds.Load() != 0 {
		t.Error("another domain was asked")
	}
}

func TestTheForestsRootIsTheDomain(t *testing.T) {
	f, dns := startForest(t), startNameServer(t)
	f.config.Forest.GlobalCatalogue, f.config.DNSServers = nil, []string{dns.address}
	dns.set(nil, nil)
	dns.mu.Lock()
	dns.srv["_gc._tcp.example.test."] = []string{"gc.example.test"}
	dns.mu.Unlock()
	urls, err := newCatalogueLocator(connect(t, f.config).config, resolver(f.config.DNSServers), time.Now).servers(t.Context())
	if err != nil || len(urls) != 1 {
		t.Errorf("%q, %v", urls, err)
	}
	_, err = connect(t, f.config).Find(t.Context(), "ana")
	if err == nil || !strings.Contains(err.Error(), "gc.example.test") {
		t.Errorf("the catalogue of DNS was not asked: %v", err)
	}
}

func TestNamesOfAForestThatAreNobodys(t *testing.T) {
	f := startForest(t)
	emea := ana() // her name reads like a domain's
	emea.dn, emea.attributes[attrSAM], emea.attributes[attrGUID] = fakeAna, []string{"emea"}, ana().attributes[attrGUID]
	both := emeaUser("both", "both-both-both-b")
	both.attributes[attrUPN] = []string{"both@example.test"}
	rival := emeaUser("rival", "rival-rival-riva")
	rival.attributes[attrUPN] = []string{"zoe@example.test"}
	zoe, far := ana(), ana()
	zoe.dn, zoe.attributes[attrSAM], zoe.attributes[attrGUID] = "CN=zoe,"+fakeRoot, []string{"zoe"}, []string{"zoe-zoe-zoe-zoe-"}
	far.dn, far.attributes[attrSAM], far.attributes[attrUPN] = "CN=far,DC=apac,DC=example,DC=test", []string{"far"},
		[]string{"far@example.test"}
	mail := emeaUser("nina", "nina-nina-nina-n")
	mail.attributes[attrMail] = []string{"nina@example.test"}
	f.inCatalogue = append(f.inCatalogue, rival, zoe, far, mail, both, emea)
	f.atEMEA = append(f.atEMEA, rival, mail)
	d := connect(t, f.config)
	for typed, reason := range map[string]string{
		"zoe": reasonAmbiguousUser, "zoe@example.test": reasonAmbiguousUser, `EXAMPLE\zoe`: reasonAmbiguousUser,
		"rival":             reasonUnknownUser, // a sAMAccountName of another domain
		"nina":              reasonUnknownUser, // the mail address is no name here
		`EXAMPLE\bea`:       reasonUnknownUser, // a UPN
		`EXAMPLE\both`:      reasonUnknownUser, // a UPN here, a sAMAccountName there
		"bea@mail.test":     reasonUnknownUser,
		"b@mail.test":       reasonUnknownUser,
		"far@example.test":  reasonUnknownUser, // of a domain that is not configured
		"nobody":            reasonUnknownUser,
		`APAC\far`:          reasonUnknownUser,
		"far@apac.corp":     reasonUnknownUser,
		`EMEA\ana@x`:        reasonUnknownUser,
		"ana*@example.test": reasonUnknownUser,
	} {
		_, err := d.Find(t.Context(), typed)
		if authn.KindOf(err) != authn.BadCredentials || authn.ReasonOf(err) != reason {
			t.Errorf("%q: %v, want %s", typed, err, reason)
		}
	}
	if a, err := d.Find(t.Context(), "emea"); err != nil || a.Ref != fakeAna {
		t.Errorf("a bare name that is a domain's too: %q, %v", a.Ref, err)
	}
	f.config.BaseDN = "OU=Staff," + fakeRoot // of the first domain alone
	d = connect(t, f.config)
	_, err := d.Find(t.Context(), "ana")
	wantReason(t, err, authn.BadCredentials, reasonUnknownUser)
	if _, err := d.Find(t.Context(), "bea"); err != nil {
		t.Error(err)
	}
}

// TestAStaleCatalogue lists an account under a DN that is gone, or is somebody else by now.
func TestAStaleCatalogue(t *testing.T) {
	f := startForest(t)
	f.atEMEA = []fakeEntry{emeaUser("ana", "a third ana-----")}
	d := connect(t, f.config)
	for _, typed := range []string{"bea", `EMEA\ana`} {
		_, err := d.Find(t.Context(), typed)
		wantReason(t, err, authn.Unavailable, reasonChanged)
	}
}

func TestACatalogueThatLies(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(string, string, []string) []fakeEntry
		kind   authn.Kind
		reason string
	}{
		"no GUID": {func(string, string, []string) []fakeEntry {
			return []fakeEntry{{fakeAna, map[string][]string{attrSAM: {"ana"}}}}
		}, authn.Unavailable, reasonConfig},
		"not a DN": {func(string, string, []string) []fakeEntry {
			return []fakeEntry{{"hello", map[string][]string{attrSAM: {"ana"}}}}
		}, authn.Unavailable, reasonBadAnswer},
		"everybody": {func(string, string, []string) []fakeEntry {
			return slices.Repeat([]fakeEntry{ana()}, maxNamesakes+1)
		}, authn.BadCredentials, reasonAmbiguousUser},
		"twice": {func(string, string, []string) []fakeEntry {
			return []fakeEntry{ana(), ana()}
		}, authn.BadCredentials, reasonAmbiguousUser},
	} {
		f := startForest(t)
		f.gc.entry = test.answer
		_, err := connect(t, f.config).Find(t.Context(), "ana")
		if authn.KindOf(err) != test.kind || authn.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
	}
	f := startForest(t)
	f.config.Forest.GlobalCatalogue, f.config.RequestTimeout = []string{silent(t)}, time.Second
	f.config.DialTimeout = 100_000_000
	_, err := connect(t, f.config).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, "directory_unreachable")
}

// TestGroupsInAForest: those of another domain cannot pose as the first one's, whose names the rules are about.
func TestGroupsInAForest(t *testing.T) {
	f := startForest(t)
	d := connect(t, f.config)
	asked := ""
	f.gc.entry = func(base, filter string, attributes []string) []fakeEntry {
		if strings.Contains(filter, attrSID) {
			asked += filter
		}
		return f.answerCatalogue(base, filter, attributes)
	}
	a, err := d.Find(t.Context(), "bea")
	if asked != sid(fakeSID(3000)).filter() { // her own domain's groups, and the built-in ones, are known there
		t.Errorf("the catalogue was asked for %s", asked)
	}
	want := []string{
		"S-1-5-21-1-2-9-513", "CN=g513," + emeaRoot, `emea\g513`, "S-1-5-21-1-2-9-2000", "CN=g2000," + emeaRoot,
		`emea\g2000`, "S-1-5-21-1-2-7-3000", "CN=g3000," + fakeRoot, "g3000", "CN=Users,CN=Builtin," + emeaRoot, `emea\Users`,
	}
	slices.Sort(want)
	slices.Sort(a.Groups)
	if err != nil || !slices.Equal(a.Groups, want) {
		t.Errorf("got %q (%v), want %q", a.Groups, err, want)
	}
	f.groupsOfBea = []string{fakeSID(5000)} // that nobody knows any more
	f.config.CacheTTL = -1
	a, err = connect(t, f.config).Find(t.Context(), "bea")
	if err != nil || !slices.Contains(a.Groups, "S-1-5-21-1-2-7-5000") {
		t.Errorf("%q, %v", a.Groups, err)
	}
	f.gc.entry = func(base, filter string, asked []string) []fakeEntry {
		if strings.Contains(filter, "objectSid") {
			return []fakeEntry{f.builtin}
		}
		return f.answerCatalogue(base, filter, asked)
	}
	_, err = connect(t, f.config).Find(t.Context(), "bea")
	wantReason(t, err, authn.Unavailable, reasonGroups)
}

func TestExplainInAForest(t *testing.T) {
	f := startForest(t)
	a, told, err := connect(t, f.config).Explain(t.Context(), "bea")
	if err != nil || a.Ref != emeaBea {
		t.Errorf("%q, %v", a.Ref, err)
	}
	text := ""
	for _, r := range told {
		text += r.About + ": " + r.Text + "\n"
	}
	for _, want := range []string{
		"global catalogue: " + emeaBea, "server: " + f.emea.config.URLs[0], `groups: 4: `, `emea\g513`, "; g3000", `emea\Users`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
}

// TestARealCatalogue: Samba's, of its one domain; the second domain of the forest is a fake.
func TestARealCatalogue(t *testing.T) {
	dc, f := testenv.Samba(t, forgetful()), startForest(t)
	c := configFor(dc)
	c.UPNSuffixes = []string{"corp.example"}
	c.CAFile = bothAuthorities(t, f.emea, &fake{config: c})
	c.Forest = Forest{GlobalCatalogue: []string{dc.GCURL}, Domains: f.config.Forest.Domains}
	f.emea.config.BindDN = c.BindDN
	d := connect(t, c)
	for typed, sam := range map[string]string{
		"alice": "alice", `EXAMPLE\alice`: "alice", "alice@example.test": "alice", "josé": "josé", "janedoe": "janedoe",
		"altupn@corp.example": "altupn", "c.jones": "carol", "manygroups": "manygroups",
	} {
		id, err := signIn(t.Context(), d, typed, testenv.SambaPassword(sam))
		if err != nil || id.Username != sam || id.Subject != strings.ToLower(dc.Attribute(t, sam, "objectGUID")) {
			t.Errorf("%s: %+v, %v", typed, id, err)
		}
		if sam == "alice" && !slices.Contains(id.Groups, "company") {
			t.Errorf("groups %q", id.Groups)
		}
	}
	_, err := signIn(t.Context(), d, "alice", "wrong")
	wantReason(t, err, authn.BadCredentials, reasonWrongPassword)
	_, err = d.Find(t.Context(), "carol")
	wantReason(t, err, authn.BadCredentials, reasonAmbiguousUser)
	_, err = signIn(t.Context(), d, "pwdexpired", testenv.SambaPassword("pwdexpired"))
	wantReason(t, err, authn.Locked, reasonPassExpired)
	if err := newPassword(t, d, "pwdexpired", testenv.SambaPassword("pwdexpired"), "G00d enough!"); err != nil {
		t.Error(err)
	}
	if _, err := signIn(t.Context(), d, "pwdexpired", "G00d enough!"); err != nil {
		t.Error(err)
	}
}

func TestCheckOfAForest(t *testing.T) {
	for _, broken := range []string{"", "first", "emea", "gc"} {
		f := startForest(t)
		honestRoot := func(base string) []fakeEntry {
			if strings.HasPrefix(base, "CN=Password Settings") {
				return []fakeEntry{{base, nil}}
			}
			return []fakeEntry{{base, map[string][]string{attrThreshold: {"5"}, attrWindow: {"-18000000000"}}}}
		}
		for name, one := range map[string]*fake{"first": f.first, "emea": f.emea, "gc": f.gc} {
			one.entry = func(base, filter string, _ []string) []fakeEntry {
				if name == broken || strings.Contains(filter, "nobody") {
					return nil
				}
				return honestRoot(base)
			}
		}
		err := connect(t, f.config).Check(t.Context())
		if (err == nil) != (broken == "") {
			t.Errorf("%q broken: %v", broken, err)
		}
	}
}

func TestTheCatalogueByDNS(t *testing.T) {
	dns := startNameServer(t)
	dns.set(nil, nil)
	dns.mu.Lock()
	dns.srv["_gc._tcp.forest.test."] = []string{"gc1.emea.example.test", "gc2.forest.test", "gc3.evil.test"}
	dns.srv["_gc._tcp.berlin._sites.forest.test."] = []string{"gc0.example.test"}
	dns.mu.Unlock()
	c := Config{Domain: "example.test", Site: "Berlin", Forest: Forest{Root: "forest.test",
		Domains: []OtherDomain{{Domain: "emea.example.test"}}}}
	got := func() string {
		urls, err := newCatalogueLocator(c, resolver([]string{dns.address}), time.Now).servers(t.Context())
		if err != nil {
			t.Error(err)
		}
		return strings.Join(urls, " ")
	}
	const want = "ldaps://gc0.example.test:3269 ldaps://gc1.emea.example.test:3269 ldaps://gc2.forest.test:3269"
	if urls := got(); urls != want {
		t.Errorf("%q", urls)
	}
	c.StartTLS, c.Site = true, ""
	if urls := got(); urls != "ldap://gc1.emea.example.test:389 ldap://gc2.forest.test:389" { // the record's port
		t.Errorf("%q", urls)
	}
}

func TestMistakesOfAForest(t *testing.T) {
	base := Config{Domain: "corp.test", URLs: []string{"ldaps://dc1"}, BindDN: "svc@corp.test", BindPassword: "x"}
	for want, f := range map[string]Forest{
		"forest.domains: is required":                              {Root: "corp.test"},
		"forest.root: ":                                            {Root: "a b", Domains: []OtherDomain{{Domain: "a.corp.test"}}},
		"forest.global_catalogue[0]: ldap:// sends":                {GlobalCatalogue: []string{"ldap://x"}, Domains: []OtherDomain{{Domain: "a.test"}}},
		"forest.global_catalogue: urls[0]: ":                       {GlobalCatalogue: []string{"http://x"}, Domains: []OtherDomain{{Domain: "a.test"}}},
		"forest.domains[0]: \"CORP.test\" names another domain":    {Domains: []OtherDomain{{Domain: "CORP.test", NetBIOSNames: []string{"X"}}}},
		"forest.domains[0]: \"corp\" names another domain":         {Domains: []OtherDomain{{Domain: "corp.other"}}},
		"forest.domains[1]: \"A\" names another domain":            {Domains: []OtherDomain{{Domain: "a.test"}, {Domain: "b.test", NetBIOSNames: []string{"A"}}}},
		"forest.domains[0]: domain: \"a b\" is not":                {Domains: []OtherDomain{{Domain: "a b"}}},
		"forest.domains[0]: urls[0]: ldap:// sends passwords in c": {Domains: []OtherDomain{{Domain: "a.test", URLs: []string{"ldap://x"}}}},
	} {
		c := base
		c.Forest = f
		if _, err := New("corp", "", c, authn.Route{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, g := range map[string]Groups{
		"groups.trusting_domains: cannot be asked":                     {Source: "none", TrustingDomains: []OtherDomain{{Domain: "a.test"}}},
		"groups.trusting_domains[0]: \"corp.test\" names another":      {TrustingDomains: []OtherDomain{{Domain: "corp.test"}}},
		"groups.trusting_domains[0]: urls[0]: ldap:// sends passwords": {TrustingDomains: []OtherDomain{{Domain: "a.test", URLs: []string{"ldap://x"}}}},
	} {
		c := base
		c.Groups = g
		if _, err := New("corp", "", c, authn.Route{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	base.BindDN, base.Forest = "CN=svc,DC=corp,DC=test", Forest{Domains: []OtherDomain{{Domain: "a.test"}}}
	if _, err := New("corp", "", base, authn.Route{}); err == nil || !strings.Contains(err.Error(), "bind_dn: a DN") {
		t.Errorf("%v", err)
	}
}
