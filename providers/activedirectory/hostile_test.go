package activedirectory

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/idbridge/idbridge/authn"
)

// TestAControllerThatAnswersNonsense, breaks off or falls silent, at each step of a sign-in and of a change: never a
// success, never a wrong password, and a reason that says what it was.
func TestAControllerThatAnswersNonsense(t *testing.T) {
	entry := string(ana().packet(4).Bytes())
	whole := "\x30\x82\x10\x00\x02\x01\x02" + entry // an envelope that promises 4 KiB
	lies := map[string]struct{ bytes, reason string }{
		"hangs up":      {lieHangUp, "directory_unreachable"},
		"is silent":     {lieSilence, "directory_silent"},
		"HTTP":          {"HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat("x", 100), "directory_silent"},
		"zeros":         {strings.Repeat("\x00", 64), "directory_silent"},
		"half a packet": {whole[:60], "directory_silent"},
		"a wrong type":  {"\x30\x0c\x02\x01\x01\x7f\x07\x0a\x01\x00\x04\x00\x04\x00", ""},
		"a huge length": {"\x30\x84\x7f\xff\xff\xff", ""},
	}
	type step struct {
		name string
		hit  func(request ber.Tag, dn string, asked []string) bool
		do   func(d *domain) error
	}
	signsIn := func(d *domain) error { _, err := signIn(t.Context(), d, "ana", "x"); return err }
	changes := func(d *domain) error {
		a, err := d.Find(t.Context(), "ana")
		if err != nil {
			return err
		}
		return d.ChangePassword(t.Context(), a, "x", "y")
	}
	search := func(first string) func(ber.Tag, string, []string) bool {
		return func(r ber.Tag, _ string, asked []string) bool { return r == searchRequest && asked[0] == first }
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, s := range []step{
		{"service account", func(r ber.Tag, dn string, _ []string) bool { return r == bindRequest && dn != fakeAna }, signsIn},
		{"account", search(attrGUID), signsIn},
		{"tokenGroups", search(attrTokenGroups), signsIn},
		{"names", search(attrSID), signsIn},
		{"policy", search(attrThreshold), signsIn},
		{"bind", func(r ber.Tag, dn string, _ []string) bool { return r == bindRequest && dn == fakeAna }, signsIn},
		{"change", func(r ber.Tag, _ string, _ []string) bool { return r == modifyRequest }, changes},
	} {
		for name, lie := range lies {
			f := startFake(t)
			f.config.RequestTimeout = 3 * time.Second
			f.lie = func(r ber.Tag, dn string, asked []string) string {
				return map[bool]string{true: lie.bytes}[s.hit(r, dn, asked)]
			}
			d := connect(t, f.config)
			wg.Go(func() { // they wait for the same moment
				err := s.do(d)
				if authn.KindOf(err) != authn.Unavailable || lie.reason != "" && authn.ReasonOf(err) != lie.reason {
					t.Errorf("%s, %s: %v, want %s", s.name, name, err, lie.reason)
				}
				if lie.bytes != lieHangUp && lie.bytes != lieSilence && err != nil &&
					!strings.Contains(err.Error(), "bytes and no whole answer") && !strings.Contains(err.Error(), "no valid answer") {
					t.Errorf("%s, %s: no clear cause: %v", s.name, name, err)
				}
				if n := f.binds.Load(); n > 1 || f.modifies.Load() > 1 {
					t.Errorf("%s, %s: %d binds, %d changes", s.name, name, n, f.modifies.Load())
				}
			})
		}
	}
	wg.Wait()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestTenThousandGroups are refused with a clear reason, whether they come at once or in ranges, and without reading more
// than it takes to know.
func TestTenThousandGroups(t *testing.T) {
	const groups, perRange = 10_000, 1500
	all := sids(2000, 2000+groups-1)
	ranges := map[string][]string{attrTokenGroups: piece(";range=0-1499", all[:perRange])}
	for from := perRange; from < groups; from += perRange {
		to := min(from+perRange, groups)
		end := strconv.Itoa(to - 1)
		if to == groups {
			end = "*"
		}
		ranges[attrTokenGroups+";range="+strconv.Itoa(from)+"-*"] =
			piece(";range="+strconv.Itoa(from)+"-"+end, all[from:to])
	}
	for name, pieces := range map[string]map[string][]string{
		"at once": {attrTokenGroups: piece("", all)}, "in ranges": ranges,
	} {
		f := startFake(t)
		f.entry = ranged(pieces)
		d := connect(t, f.config)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Find(t.Context(), "ana")
		runtime.ReadMemStats(&after)
		wantReason(t, err, authn.Unavailable, reasonGroups)
		if err == nil || !strings.Contains(err.Error(), "more than 1024 groups") {
			t.Errorf("%s: no clear cause: %v", name, err)
		}
		if n := f.searches.Load(); n != 2 {
			t.Errorf("%s: %d searches, want 2: the account and the first groups", name, n)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 { // the fake's own part is in it
			t.Errorf("%s: %d MiB", name, used>>20)
		}
	}
}

// TestAnAnswerWithoutEnd is cut off by the cap of package ldap.
func TestAnAnswerWithoutEnd(t *testing.T) {
	f := startFake(t)
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		e := ana()
		e.attributes["displayName"] = []string{strings.Repeat("x", 2<<20)}
		return []fakeEntry{e}
	}
	_, err := connect(t, f.config).Find(t.Context(), "ana")
	wantReason(t, err, authn.Unavailable, reasonBadAnswer)
}
