package activedirectory

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// TestChain: what tokenGroups has, and distribution groups too.
func TestChain(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{})
	c := configFor(dc)
	c.Groups.Source = sourceChain
	c.AllowGroups = []string{"newsletter"}
	d := connect(t, c)
	for user, want := range map[string]string{
		"alice":   "staff department company big newsletter Domain~Users Users -loop-a",
		"bob":     "staff department company loop-a loop-b loop-c -big -newsletter",
		"primary": "contractors externals -staff -Domain~Users -big",
		"janedoe": "Domain~Users Users -staff",
	} {
		a, err := d.Find(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(want) {
			no, inGroup := strings.CutPrefix(strings.ReplaceAll(name, "~", " "), "-")
			if slices.Contains(a.Groups, no) == inGroup {
				t.Errorf("%s: %s in %q", user, name, a.Groups)
			}
		}
	}
	a, err := d.Find(t.Context(), "alice")
	for _, spelling := range []string{"CN=big," + testenv.SambaGroupsDN, dc.Attribute(t, "big", "objectSid")} {
		if !slices.Contains(a.Groups, spelling) || err != nil {
			t.Errorf("no %s in %q (%v)", spelling, a.Groups, err)
		}
	}
	if _, err := signIn(t.Context(), d, "alice", testenv.SambaPassword("alice")); err != nil {
		t.Error(err)
	}
	_, err = signIn(t.Context(), d, "bob", testenv.SambaPassword("bob"))
	wantReason(t, err, authn.Locked, reasonNoGroup)
	a, err = d.Find(t.Context(), "manygroups")
	if n := len(slices.DeleteFunc(a.Groups, func(g string) bool { return !strings.HasPrefix(g, "many") })); err != nil ||
		n != testenv.SambaManyGroups {
		t.Errorf("%d groups (%v)", n, err)
	}
}

// chained is a domain whose groups of ana are found by the rule.
func chained(t *testing.T, groups ...fakeEntry) *fake {
	t.Helper()
	f := startFake(t)
	f.config.Groups.Source = sourceChain
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if strings.Contains(filter, "(1.2.840.113556.1.4.1941") || strings.Contains(filter, memberInChain) {
			return groups
		}
		return honest(base, filter, asked)
	}
	return f
}

func fakeGroup(rid uint32) fakeEntry {
	e := fakeGroups()[sid(fakeSID(rid)).filter()]
	e.attributes = maps.Clone(e.attributes)
	return e
}

func TestChainRoundTrips(t *testing.T) {
	f := chained(t, fakeGroup(2000), fakeGroup(2001), fakeGroup(513))
	d := connect(t, f.config)
	a, err := d.Find(t.Context(), "ana")
	if n := f.searches.Load(); err != nil || len(a.Groups) != 3*3 || n != 3 { // user, name of the primary group, the chain
		t.Errorf("%q, %v, %d searches", a.Groups, err, n)
	}
	f.searches.Store(0)
	if _, err := d.Find(t.Context(), "ANA"); err != nil || f.searches.Load() != 1 {
		t.Errorf("another spelling: %d searches, %v", f.searches.Load(), err)
	}
}

func TestAChainIsCompleteOrAnError(t *testing.T) {
	var many []fakeEntry
	for rid := uint32(514); rid < 514+maxGroups; rid++ {
		many = append(many, fakeGroup(rid))
	}
	hidden := fakeGroup(2001)
	delete(hidden.attributes, attrSID)
	for name, test := range map[string]struct {
		groups []fakeEntry
		want   int // 0: groups_incomplete
	}{
		"as many as go": {many[1:], maxGroups}, // with the primary group
		"one too many":  {many, 0},
		"without a SID": {[]fakeEntry{hidden}, 0},
		"none":          {nil, 1},
	} {
		a, err := connect(t, chained(t, test.groups...).config).Find(t.Context(), "ana")
		if test.want == 0 {
			wantReason(t, err, authn.Unavailable, reasonGroups)
		} else if err != nil || len(a.Groups) != 3*test.want {
			t.Errorf("%s: %d names, want %d (%v)", name, len(a.Groups), 3*test.want, err)
		}
	}
	f := chained(t)
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if strings.Contains(filter, "objectSid=") { // the primary group is hidden
			return nil
		}
		return honest(base, filter, asked)
	}
	_, err := connect(t, f.config).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, reasonGroups)
}

// TestChainInAForest: universal groups of other domains come from the catalogue.
func TestChainInAForest(t *testing.T) {
	f := startForest(t)
	f.config.Groups.Source = sourceChain
	answerEMEA, answerCatalogue := f.emea.entry, f.gc.entry
	f.emea.entry = func(base, filter string, asked []string) []fakeEntry {
		if strings.Contains(filter, memberInChain) {
			return []fakeEntry{{"CN=g2000," + emeaRoot, map[string][]string{attrSID: {fakeSID(2000, 9)}, attrSAM: {"g2000"}}}}
		}
		return answerEMEA(base, filter, asked)
	}
	asked := ""
	f.gc.entry = func(base, filter string, attributes []string) []fakeEntry {
		if strings.Contains(filter, memberInChain) {
			asked = filter
			return []fakeEntry{f.foreignGroup, {"CN=g2000," + emeaRoot, map[string][]string{attrSID: {fakeSID(2000, 9)}}}}
		}
		return answerCatalogue(base, filter, attributes)
	}
	a, err := connect(t, f.config).Find(t.Context(), "bea")
	want := []string{"S-1-5-21-1-2-9-513", "CN=g513," + emeaRoot, `emea\g513`, "S-1-5-21-1-2-9-2000", "CN=g2000," + emeaRoot,
		`emea\g2000`, "S-1-5-21-1-2-7-3000", "CN=g3000," + fakeRoot, "g3000"}
	if err != nil || !slices.Equal(a.Groups, want) {
		t.Errorf("got %q (%v), want %q", a.Groups, err, want)
	}
	for _, part := range []string{universal, emeaBea, "CN=g513," + emeaRoot} {
		if !strings.Contains(asked, part) {
			t.Errorf("the catalogue was not asked for %s: %s", part, asked)
		}
	}
}

// TestHalfAChain: what the account's own domain does not answer is not made up for by the catalogue.
func TestHalfAChain(t *testing.T) {
	f := startForest(t)
	f.config.Groups.Source = sourceChain
	answerEMEA := f.emea.entry
	f.emea.entry = func(base, filter string, asked []string) []fakeEntry {
		if strings.Contains(filter, memberInChain) {
			return []fakeEntry{{"CN=x," + emeaRoot, map[string][]string{attrSAM: {"x"}}}}
		}
		return answerEMEA(base, filter, asked)
	}
	_, err := connect(t, f.config).Find(t.Context(), "bea")
	wantReason(t, err, authn.Unavailable, reasonGroups)
}

// TestATrustingDomainIsComplete or an error, and is not asked about built-in groups, which are others there.
func TestATrustingDomainIsComplete(t *testing.T) {
	f, trusting := startPartner(t), startFake(t)
	f.config.CAFile = bothAuthorities(t, f, trusting)
	f.config.Groups.TrustingDomains = []OtherDomain{{Domain: "example.test", URLs: trusting.config.URLs}}
	asked := ""
	trusting.entry = func(base, filter string, _ []string) (list []fakeEntry) {
		switch {
		case strings.HasPrefix(base, "CN=ForeignSecurityPrincipals,"):
			asked += filter
			return []fakeEntry{{"CN=S-1-5-21-x," + base, map[string][]string{attrSID: {partnerSID(1104)}}}}
		case strings.Contains(filter, memberInChain):
			return []fakeEntry{fakeGroup(2000)}
		}
		return nil
	}
	a, err := connect(t, f.config).Find(t.Context(), "pia")
	if err != nil || !slices.Contains(a.Groups, `example\g2000`) {
		t.Errorf("%q, %v", a.Groups, err)
	}
	if !strings.Contains(asked, sid(partnerSID(2000)).filter()) || strings.Contains(asked, sid(fakeBuiltin).filter()) {
		t.Errorf("asked for %s", asked)
	}
	known := trusting.entry
	trusting.entry = func(base, filter string, attributes []string) []fakeEntry {
		if strings.HasPrefix(base, "CN=ForeignSecurityPrincipals,") {
			return nil
		}
		return known(base, filter, attributes)
	}
	trusting.searches.Store(0)
	a, err = connect(t, f.config).Find(t.Context(), "pia")
	if err != nil || slices.Contains(a.Groups, `example\g2000`) || trusting.searches.Load() != 1 {
		t.Errorf("nobody is known there: %q, %v, %d searches", a.Groups, err, trusting.searches.Load())
	}
	trusting.lie = func(request ber.Tag, dn string, _ []string) string {
		return map[bool]string{true: lieHangUp}[strings.HasPrefix(dn, "CN=ForeignSecurityPrincipals,")]
	}
	_, err = connect(t, f.config).Find(t.Context(), "pia")
	wantReason(t, err, authn.Unavailable, "directory_unreachable")
}

const (
	partnerRoot = "DC=partner,DC=test"
	partnerPia  = "CN=pia," + partnerRoot
)

// partnerSID is of the domain from which the test domain knows foreign security principals.
func partnerSID(rid uint32) string {
	b := []byte{1, 5, 0, 0, 0, 0, 0, 5}
	for _, n := range []uint32{21, 1111111111, 2222222222, 3333333333, rid} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return string(b)
}

// startPartner is a domain controller of another forest with one user, pia. She is in group 2000 there.
func startPartner(t *testing.T) *fake {
	t.Helper()
	f := startFake(t)
	f.config.Domain = "partner.test"
	pia := ana()
	pia.dn, pia.attributes[attrSAM], pia.attributes[attrSID] = partnerPia, []string{"pia"}, []string{partnerSID(1104)}
	f.entry = func(base, filter string, asked []string) (list []fakeEntry) {
		switch {
		case base == partnerPia && asked[0] == attrTokenGroups:
			return []fakeEntry{{partnerPia, map[string][]string{attrTokenGroups: {partnerSID(2000), fakeBuiltin}}}}
		case base == partnerPia, strings.Contains(filter, "sAMAccountName=pia)"):
			return []fakeEntry{pia}
		case base == partnerRoot && asked[0] == attrThreshold:
			return []fakeEntry{{partnerRoot, map[string][]string{attrThreshold: {"0"}, attrWindow: {"0"}}}}
		}
		for _, rid := range []uint32{513, 2000} {
			if strings.Contains(filter, sid(partnerSID(rid)).filter()) {
				list = append(list, fakeEntry{fmt.Sprintf("CN=company%d,%s", rid, partnerRoot),
					map[string][]string{attrSID: {partnerSID(rid)}, attrSAM: {fmt.Sprintf("company%d", rid)}}})
			}
		}
		return list
	}
	return f
}

// TestForeignSecurityPrincipals: a user of another forest is in groups of Samba's domain, herself and through a group of
// her own domain.
func TestForeignSecurityPrincipals(t *testing.T) {
	dc := testenv.Samba(t, testenv.SambaConfig{LDIF: "dn: CN=department," + testenv.SambaGroupsDN +
		"\nchangetype: modify\nadd: member\nmember: <SID=S-1-5-21-1111111111-2222222222-3333333333-2000>\n"})
	f := startPartner(t)
	f.config.BindDN, f.config.BindPassword = dc.BindUPN, authn.Secret(dc.BindPassword) // as if the trust were there
	f.config.CAFile = bothAuthorities(t, f, &fake{config: configFor(dc)})
	f.config.Groups.TrustingDomains = []OtherDomain{
		{Domain: dc.Domain, NetBIOSNames: []string{dc.NetBIOS}, URLs: []string{dc.URL}},
	}
	f.config.AllowGroups = []string{`example\COMPANY`}
	d := connect(t, f.config)
	id, err := signIn(t.Context(), d, "pia", "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`EXAMPLE\foreigners`, `EXAMPLE\department`, `EXAMPLE\company`, "CN=company," + testenv.SambaGroupsDN,
		dc.Attribute(t, "foreigners", "objectSid"), "company2000", "S-1-5-21-1111111111-2222222222-3333333333-2000",
	} {
		if !slices.Contains(id.Groups, want) {
			t.Errorf("no %s in %q", want, id.Groups)
		}
	}
	if slices.Contains(id.Groups, "company") || slices.Contains(id.Groups, `EXAMPLE\staff`) ||
		slices.Contains(id.Groups, `EXAMPLE\Users`) {
		t.Errorf("too much: %q", id.Groups)
	}
	if err := d.Check(t.Context()); err == nil || strings.Contains(err.Error(), dc.URL) { // the fake fails, Samba does not
		t.Errorf("Check: %v", err)
	}
	inspected := ""
	for _, f := range d.Inspect(t.Context(), func(string) {}) {
		inspected += f.Check + ": " + f.Problem + "\n"
	}
	if want := "trusting example.test server " + dc.Address + ":636: \n"; !strings.Contains(inspected, want) {
		t.Errorf("no %q in what was inspected:\n%s", want, inspected)
	}
	dc.Kill()
	_, err = connect(t, f.config).Find(t.Context(), "pia")
	wantReason(t, err, authn.Unavailable, "directory_unreachable")
}

func TestNoForeignSecurityPrincipals(t *testing.T) {
	dc, f := testenv.Samba(t, testenv.SambaConfig{}), startPartner(t)
	f.config.BindDN, f.config.BindPassword = dc.BindUPN, authn.Secret(dc.BindPassword)
	f.config.CAFile = bothAuthorities(t, f, &fake{config: configFor(dc)})
	honestly := f.entry
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		list := honestly(base, filter, asked)
		for _, e := range list {
			if e.dn == partnerPia && e.attributes[attrSID] != nil {
				e.attributes[attrSID] = []string{partnerSID(1999)}
			}
		}
		return list
	}
	f.config.Groups.TrustingDomains = []OtherDomain{{Domain: dc.Domain, URLs: []string{dc.URL}}}
	a, err := connect(t, f.config).Find(t.Context(), "pia")
	if err != nil || strings.Contains(strings.Join(a.Groups, " "), `example\`) || !slices.Contains(a.Groups, "company2000") {
		t.Errorf("%q, %v", a.Groups, err)
	}
}
