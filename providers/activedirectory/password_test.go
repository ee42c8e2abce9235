package activedirectory

import (
	"fmt"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// forgetful makes Samba refuse a replaced password at once; by default the old one goes on to work for an hour.
func forgetful() testenv.SambaConfig {
	return testenv.SambaConfig{Options: []string{"old password allowed period = 0"}}
}

// newPassword finds the account by its name and changes its password.
func newPassword(t *testing.T, d *domain, user, current, next string) error {
	t.Helper()
	a, err := d.Find(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return d.ChangePassword(t.Context(), a, authn.Secret(current), authn.Secret(next))
}

func TestChangePassword(t *testing.T) {
	dc := testenv.Samba(t, forgetful())
	startTLS := configFor(dc)
	startTLS.URLs, startTLS.StartTLS = []string{dc.PlainURL}, true
	ldaps := connect(t, configFor(dc))
	for _, test := range []struct {
		d            *domain
		user, before string // what a sign-in with the old password said
	}{
		{ldaps, "alice", "ok"}, {ldaps, "josé", "ok"}, {connect(t, startTLS), "bob", "ok"},
		{ldaps, "mustchange", reasonMustChange}, {ldaps, "pwdexpired", reasonPassExpired},
	} {
		old, next := testenv.SambaPassword(test.user), `Ñeu"1 für `+test.user[:2]
		_, err := signIn(t.Context(), test.d, test.user, old)
		if authn.ReasonOf(err) != test.before {
			t.Errorf("%s before: %v, want %s", test.user, err, test.before)
		}
		if err := newPassword(t, test.d, test.user, old, next); err != nil {
			t.Errorf("%s: %v", test.user, err)
		}
		if _, err := signIn(t.Context(), test.d, test.user, next); err != nil {
			t.Errorf("%s with the new password: %v", test.user, err)
		}
		_, err = signIn(t.Context(), test.d, test.user, old)
		wantReason(t, err, authn.BadCredentials, reasonWrongPassword)
	}
}

func TestChangeWithAWrongPassword(t *testing.T) {
	dc := testenv.Samba(t, forgetful())
	d := connect(t, configFor(dc))
	const good = "G00d enough!"
	for i, user := range []string{"alice", "mustchange"} {
		err := newPassword(t, d, user, "wrong-canary", good)
		wantReason(t, err, authn.BadCredentials, reasonWrongPassword)
		if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), good)) {
			t.Errorf("the error shows a password: %v", err)
		}
		if _, err := signIn(t.Context(), d, user, good); err == nil {
			t.Errorf("%s has a password that nobody was allowed to set", user)
		}
		_, err = signIn(t.Context(), d, user, testenv.SambaPassword(user))
		if want := []string{"ok", reasonMustChange}[i]; authn.ReasonOf(err) != want {
			t.Errorf("%s: the old password is not what it was: %v, want %s", user, err, want)
		}
	}
	for current, reason := range map[string]string{
		"": "empty_password", "a\x00b": reasonMalformedPass, "\xff": reasonMalformedPass,
	} {
		wantReason(t, newPassword(t, d, "alice", current, good), authn.BadCredentials, reason)
	}
}

func TestUnsuitablePasswords(t *testing.T) {
	dc := testenv.Samba(t, forgetful())
	d := connect(t, configFor(dc))
	const zeroth, first, second = "Zer0th password", "Fir5t password", "Sec0nd password"
	current := testenv.SambaPassword("alice")
	for _, next := range []string{zeroth, first} {
		if err := newPassword(t, d, "alice", current, next); err != nil {
			t.Fatal(err)
		}
		current = next
	}
	for next, reason := range map[string]string{
		"Sh0rt!": reasonPassTooShort, "all lower case": reasonPassTooSimple, zeroth: reasonPassUsed, first: reasonPassUsed,
		"": reasonPassTooShort, "Nu1 \x00 character": reasonMalformedPass, "N0t UTF-8 \xff": reasonMalformedPass,
		"T00 long" + strings.Repeat("x", longestPassword): reasonPassTooLong,
	} {
		err := newPassword(t, d, "alice", first, next)
		wantReason(t, err, authn.Unsuitable, reason)
		if err != nil && next != "" && strings.Contains(err.Error(), next) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	longest := "L0ng enough: " + strings.Repeat("é", longestPassword-13)
	if err := newPassword(t, d, "frank", testenv.SambaPassword("frank"), longest); err != nil {
		t.Errorf("the longest one: %v", err)
	}
	if _, err := signIn(t.Context(), d, "frank", longest); err != nil {
		t.Errorf("the longest one does not sign in: %v", err)
	}
	dc.LDBModify(t, "dn: "+dc.BaseDN+"\nchangetype: modify\nreplace: minPwdAge\nminPwdAge: -864000000000\n")
	wantReason(t, newPassword(t, d, "alice", first, second), authn.Unsuitable, reasonPassTooRecent)
	err := newPassword(t, d, "mustchange", testenv.SambaPassword("mustchange"), "Sh0rt!")
	wantReason(t, err, authn.Unsuitable, reasonPassTooShort) // who must change may always
	if err := newPassword(t, d, "mustchange", testenv.SambaPassword("mustchange"), second); err != nil {
		t.Error(err)
	}
}

// TestUnsuitableByAFineGrainedPolicy: the account's own rules explain, not those of the domain.
func TestUnsuitableByAFineGrainedPolicy(t *testing.T) {
	dc := testenv.Samba(t, forgetful())
	dc.LDBModify(t, "dn: CN=strict,CN=Password Settings Container,CN=System,"+dc.BaseDN+"\nchangetype: add\n"+
		"objectClass: msDS-PasswordSettings\nmsDS-PasswordSettingsPrecedence: 1\n"+
		"msDS-PasswordReversibleEncryptionEnabled: FALSE\n"+
		"msDS-PasswordHistoryLength: 3\nmsDS-PasswordComplexityEnabled: FALSE\nmsDS-MinimumPasswordLength: 20\n"+
		"msDS-MinimumPasswordAge: 0\nmsDS-MaximumPasswordAge: -315360000000000\nmsDS-LockoutThreshold: 0\n"+
		"msDS-LockoutObservationWindow: 0\nmsDS-LockoutDuration: 0\n"+
		"msDS-PSOAppliesTo: CN=alice,"+testenv.SambaPeopleDN+"\n")
	c := configFor(dc)
	c.BindDN, c.BindPassword = dc.AdminUPN, authn.Secret(dc.AdminPassword)
	d := connect(t, c)
	old := testenv.SambaPassword("alice")
	wantReason(t, newPassword(t, d, "alice", old, "L0ng, but not 20"), authn.Unsuitable, reasonPassTooShort)
	if err := newPassword(t, d, "alice", old, "long, simple, and at least 20"); err != nil {
		t.Error(err)
	}
}

// TestAChangeNeverLocks: a wrong current password is counted by the domain like one of a sign-in.
func TestAChangeNeverLocks(t *testing.T) {
	const threshold = 5
	dc := testenv.Samba(t, forgetful())
	dc.SetLockout(t, threshold, time.Hour)
	d := connect(t, configFor(dc))
	reasons := map[string]int{}
	for i := range 20 {
		reasons[authn.ReasonOf(newPassword(t, d, "lockme", fmt.Sprint("wrong", i), "G00d enough!"))]++
	}
	if reasons[reasonWrongPassword] != threshold-1 || reasons[reasonNearLockout] != 21-threshold {
		t.Errorf("got %v", reasons)
	}
	if n := dc.BadPwdCount(t, "lockme"); n != threshold-1 || dc.Locked(t, "lockme") {
		t.Errorf("%d wrong passwords reached the domain, locked: %v", n, dc.Locked(t, "lockme"))
	}
}

// TestWhoMayNotChange: accounts that a new password would not help, and one whose owner may not set it. Samba lets even
// a disabled account change its password.
func TestWhoMayNotChange(t *testing.T) {
	const changePassword = "ab721a53-1e2f-11d0-9819-00aa0040529b" // control access right User-Change-Password
	dc := testenv.Samba(t, forgetful())
	change(t, dc, "frank", "replace: nTSecurityDescriptor\nnTSecurityDescriptor: O:DAG:DAD:"+
		"(OD;;CR;"+changePassword+";;WD)(OD;;CR;"+changePassword+";;PS)(A;;GA;;;DA)(A;;GR;;;AU)\n")
	dc.SetLockout(t, 1, time.Hour)
	d := connect(t, configFor(dc))
	if _, err := signIn(t.Context(), d, "lockme", "wrong"); authn.ReasonOf(err) != reasonWrongPassword {
		t.Error(err)
	}
	for user, reason := range map[string]string{
		"disabled": reasonDisabled, "accountexpired": reasonExpired, "lockme": reasonLocked, "frank": reasonCannotChange,
	} {
		err := newPassword(t, d, user, testenv.SambaPassword(user), "G00d enough!")
		wantReason(t, err, authn.Locked, reason)
	}
}

// TestRefusedChanges are the words of Windows.
func TestRefusedChanges(t *testing.T) {
	const operations, referral, constraint, noAccess, unwilling, busy = 1, 10, 19, 50, 53, 51
	words := func(code string) string {
		return code + ": AtrErr: DSID-03191083, #1:\n\t0: " + code + ": DSID-03191083, problem 1005 (CONSTRAINT_ATT_TYPE), " +
			"data 0, Att 9005a (unicodePwd)\n\x00"
	}
	for name, test := range map[string]struct {
		result int
		words  string
		kind   authn.Kind
		reason string
	}{
		"done":                  {0, "", authn.OK, "ok"},
		"wrong":                 {constraint, words("00000056"), authn.BadCredentials, reasonWrongPassword},
		"wrong, newer":          {constraint, words("0000052B"), authn.BadCredentials, reasonWrongPassword},
		"restriction":           {constraint, words("0000052D"), authn.Unsuitable, reasonPassUsed},
		"restriction, older":    {unwilling, "0000052D: SvcErr: DSID-031A0FC0, problem 5003", authn.Unsuitable, reasonPassUsed},
		"ill-formed":            {constraint, words("0000052C"), authn.Unsuitable, reasonPassUsed},
		"too short":             {unwilling, words("000008C5"), authn.Unsuitable, reasonPassUsed},
		"locked":                {constraint, words("00000775"), authn.Locked, reasonLocked},
		"disabled":              {constraint, words("00000533"), authn.Locked, reasonDisabled},
		"no right":              {noAccess, "00000005: SecErr: DSID-031A11D9, problem 4003", authn.Locked, reasonCannotChange},
		"some other constraint": {constraint, words("00002081"), authn.Unavailable, "directory_busy"},
		"no right, Samba":       {constraint, "error in module acl", authn.Locked, reasonCannotChange},
		"no right, constraint":  {constraint, words("00000005"), authn.Locked, reasonCannotChange},
		"another number":        {unwilling, "56: no", authn.Unavailable, "directory_busy"},
		"read-only controller":  {referral, "0000202B: RefErr: DSID-03100781", authn.Unavailable, reasonConfig},
		"busy":                  {busy, "", authn.Unavailable, "directory_busy"},
		"no encryption":         {unwilling, "0000001F: SvcErr: DSID-031A12D2", authn.Unavailable, "directory_busy"},
		"not bound":             {operations, "00002020: Operation unavailable", authn.Unavailable, reasonConfig},
	} {
		f, second := startFake(t), startFake(t)
		f.modifyCode, f.words, second.modifyCode, second.words = test.result, test.words, test.result, test.words
		f.config.URLs, f.config.CAFile = append(f.config.URLs, second.config.URLs...), bothAuthorities(t, f, second)
		err := newPassword(t, connect(t, f.config), "ana", "old-zebra", "New-zebra 5")
		if authn.KindOf(err) != test.kind || authn.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v, want %v (%s)", name, err, test.kind, test.reason)
		}
		want := int32(0) // a second controller is asked only where the first has said that it did nothing
		if test.kind == authn.Unavailable {
			want = 1
		}
		if a, b := f.modifies.Load(), second.modifies.Load(); a != 1 || b != want {
			t.Errorf("%s: asked %d and %d times, want 1 and %d", name, a, b, want)
		}
		if err != nil && strings.Contains(err.Error(), "zebra") {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
}

// TestALostAnswerIsNotAskedForAgain: the change may have been made.
func TestALostAnswerIsNotAskedForAgain(t *testing.T) {
	f, second := startFake(t), startFake(t)
	f.lie = func(request ber.Tag, _ string, _ []string) string {
		return map[ber.Tag]string{modifyRequest: lieHangUp}[request]
	}
	f.config.URLs, f.config.CAFile = append(f.config.URLs, second.config.URLs...), bothAuthorities(t, f, second)
	err := newPassword(t, connect(t, f.config), "ana", "old", "new")
	wantReason(t, err, authn.Unavailable, "directory_unreachable")
	if a, b := f.modifies.Load(), second.modifies.Load(); a != 1 || b != 0 {
		t.Errorf("asked %d and %d times, want once", a, b)
	}
}

// TestWhatIsSent: in one modification, the old value taken away and the new one added.
func TestWhatIsSent(t *testing.T) {
	f := startFake(t)
	if err := newPassword(t, connect(t, f.config), "ana", "a", "é€𝄞"); err != nil {
		t.Fatal(err)
	}
	want := "delete unicodePwd \"\x00a\x00\"\x00; add unicodePwd \"\x00\xe9\x00\xac\x20\x34\xd8\x1e\xdd\"\x00; "
	if f.modified != want || f.modifiedDN != fakeAna {
		t.Errorf("got %q of %s, want %q", f.modified, f.modifiedDN, want)
	}
}

func TestBrokenRules(t *testing.T) {
	now := time.Now()
	all := passwordRules{length: 8, age: time.Hour, complex: true, history: 3}
	ann := authn.Identity{Username: "ann", Name: "Ann-Marie O. Lee"}
	old, young := state{passwordSet: now.Add(-time.Hour)}, state{passwordSet: now.Add(-time.Minute)}
	for _, test := range []struct {
		rules passwordRules
		s     state
		next  string
		want  string
	}{
		{all, young, "Sh0rt", reasonPassTooRecent},
		{all, state{mustChange: true}, "Sh0rt", reasonPassTooShort},
		{all, old, "Sh0rt é", reasonPassTooShort},
		{all, old, "lower UP", reasonPassUsed},
		{all, old, "onlylower", reasonPassTooSimple},
		{all, old, "lower123", reasonPassTooSimple},
		{all, old, "ONE and", reasonPassTooShort},
		{all, old, "Lower123", reasonPassUsed},
		{all, old, "lower 12", reasonPassUsed},
		{all, old, "日本語日本語12!", reasonPassUsed},
		{all, old, "日本語日本語日本", reasonPassTooSimple},
		{all, old, "Aあ1234567", reasonPassUsed}, // each kind is one of its own
		{all, old, "aあ1234567", reasonPassUsed},
		{all, old, "aA1234567", reasonPassUsed},
		{all, old, "あ12345678", reasonPassTooSimple},
		{all, old, "X1!-aNN-", reasonPassTooSimple},
		{all, old, "X1!-marie-", reasonPassTooSimple},
		{all, old, "X1!-o.-other", reasonPassUsed}, // O is too short a name
		{passwordRules{}, young, "x", reasonUnsuitable},
	} {
		err := test.rules.broken(ann, test.s, test.next, now)
		if authn.KindOf(err) != authn.Unsuitable || authn.ReasonOf(err) != test.want {
			t.Errorf("%q: %v, want %s", test.next, err, test.want)
		}
	}
}

// TestUnreadableRules: the refusal stands, only the explanation is missing.
func TestUnreadableRules(t *testing.T) {
	f := startFake(t)
	f.modifyCode, f.words = 19, "0000052D: AtrErr"
	f.entry = func(base, filter string, asked []string) []fakeEntry {
		if asked[0] == attrMinLength {
			return nil
		}
		return honest(base, filter, asked)
	}
	wantReason(t, newPassword(t, connect(t, f.config), "ana", "a", "b"), authn.Unsuitable, reasonUnsuitable)
}

// TestChangesLeaveNoConnections: each makes one of its own, and closes it.
func TestChangesLeaveNoConnections(t *testing.T) {
	f := startFake(t)
	d := connect(t, f.config)
	for i := range 5 {
		if err := newPassword(t, d, "ana", "old", fmt.Sprint("new", i)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); f.conns.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, want one for searches", f.conns.Load())
		}
	}
}
