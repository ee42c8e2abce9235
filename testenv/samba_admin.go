package testenv

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// LDBModify applies LDIF change records to the domain's database, as nobody over LDAP may: with any attribute, whether
// the server runs or not. The running server sees the change at once. More arguments go to ldbmodify.
func (dc *SambaDC) LDBModify(tb TB, ldif string, args ...string) {
	tb.Helper()
	dc.ldb(tb, "sam.ldb", ldif, "ldbmodify", args...)
}

// SetLockout lets wrong passwords lock an account: as many as the threshold inside the window lock it until the window
// has passed. A threshold of 0, which is the plain domain's, locks nobody.
func (dc *SambaDC) SetLockout(tb TB, threshold int, window time.Duration) {
	tb.Helper()
	interval := strconv.FormatInt(-int64(window/100), 10) // AD writes durations as negative counts of 100 ns
	dc.LDBModify(tb, sambaModify(SambaBaseDN, "replace", "lockoutThreshold", strconv.Itoa(threshold))+
		sambaModify(SambaBaseDN, "replace", "lockOutObservationWindow", interval)+
		sambaModify(SambaBaseDN, "replace", "lockoutDuration", interval))
}

// BadPwdCount is the account's count of wrong passwords as the domain controller holds it.
func (dc *SambaDC) BadPwdCount(tb TB, user string) int {
	tb.Helper()
	value := dc.Attribute(tb, user, "badPwdCount")
	if value == "" {
		return 0
	}
	n, err := strconv.Atoi(value)
	check(tb, err)
	return n
}

// Locked says whether the account is locked out, or was since its last good sign-in.
func (dc *SambaDC) Locked(tb TB, user string) bool {
	tb.Helper()
	value := dc.Attribute(tb, user, "lockoutTime")
	return value != "" && value != "0"
}

// Unlock takes a lock-out and the count of wrong passwords away.
func (dc *SambaDC) Unlock(tb TB, user string) {
	tb.Helper()
	dn := dc.Attribute(tb, user, "dn")
	dc.LDBModify(tb, sambaModify(dn, "replace", "lockoutTime", "0")+sambaModify(dn, "replace", "badPwdCount", "0"))
}

// Attribute is the first value of an account's attribute, by sAMAccountName, as the database's files hold it; "dn" is
// its name. Without a value it is empty.
func (dc *SambaDC) Attribute(tb TB, user, attribute string) string {
	tb.Helper()
	out := dc.ldb(tb, "sam.ldb", "", "ldbsearch", "-b", SambaBaseDN, fmt.Sprintf("(sAMAccountName=%s)", user), attribute)
	out = strings.ReplaceAll(out, "\n ", "") // LDIF folds long lines
	found := false
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		found = found || name == "dn"
		if strings.EqualFold(name, attribute) {
			return value
		}
	}
	if !found {
		tb.Fatalf("no account %s in the domain:\n%s", user, out)
	}
	return ""
}
