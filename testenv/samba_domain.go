package testenv

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Sizes of the large parts of the test domain.
const (
	SambaBigGroup   = 1600 // members of the group big
	SambaManyGroups = 320  // groups of the user manygroups: many000, many001 ...
)

// sambaPeople is the LDIF of everybody in the test domain; every user's UPN is name@example.test, the mail address too,
// and the DN is CN=name under OU=People, where nothing else is said:
//
//	alice bob frank     ordinary; alice is in staff, big and newsletter, bob in staff and loop-a
//	josé o'neil         names that need care; janedoe's DN holds a comma and parentheses
//	altupn              UPN altupn@corp.example, an alternative suffix of the forest
//	carol mallory       carol's UPN is c.jones@example.test; mallory's is carol@example.test
//	dave erin           both have the mail address shared@example.test
//	disabled accountexpired mustchange pwdexpired logonhours workstation
//	                    refused with 533, 701, 773, 532, 530 and 531
//	lockme              ordinary, for lock-outs (775); see SetLockout
//	primary             primary group contractors, which is in externals; not in Domain Users
//	manygroups          in SambaManyGroups groups
//
// Groups: staff in department in company; loop-a in loop-c in loop-b in loop-a; big with alice and bulk0000, bulk0001
// ... (disabled accounts without a password); newsletter, a distribution list; foreigners, whose member is a principal
// of another domain. Passwords may be changed at once and last ten years.
func sambaPeople() string {
	var b strings.Builder
	for _, ou := range []string{"People", "Groups", "Services", "Bulk"} {
		fmt.Fprintf(&b, "dn: OU=%s,%s\nobjectClass: organizationalUnit\n\n", ou, SambaBaseDN)
	}
	b.WriteString(sambaUser("svc-idbridge", "dn: "+SambaServiceDN))
	for name := range strings.FieldsSeq("alice bob frank josé o'neil mallory lockme pwdexpired primary manygroups") {
		b.WriteString(sambaUser(name))
	}
	b.WriteString(sambaUser("janedoe", `dn: CN=Doe\, Jane (Ops),`+SambaPeopleDN))
	b.WriteString(sambaUser("altupn", "userPrincipalName: altupn@corp.example"))
	b.WriteString(sambaUser("carol", "userPrincipalName: c.jones@"+SambaDomain))
	b.WriteString(sambaUser("dave", "mail: shared@"+SambaDomain))
	b.WriteString(sambaUser("erin", "mail: shared@"+SambaDomain))
	b.WriteString(sambaUser("disabled", "userAccountControl: 514"))
	b.WriteString(sambaUser("accountexpired", "accountExpires: 130000000000000000"))
	b.WriteString(sambaUser("mustchange", "pwdLastSet: 0"))
	b.WriteString(sambaUser("logonhours", "logonHours:: "+strings.Repeat("A", 28))) // 21 zero bytes: no hour of the week
	b.WriteString(sambaUser("workstation", "userWorkstations: OTHERPC"))
	bulk := []string{sambaDN("alice")}
	for i := range SambaBigGroup - 1 {
		dn := fmt.Sprintf("CN=bulk%04d,OU=Bulk,%s", i, SambaBaseDN)
		fmt.Fprintf(&b, "dn: %s\nobjectClass: user\nsAMAccountName: bulk%04d\n\n", dn, i)
		bulk = append(bulk, dn)
	}
	b.WriteString(sambaGroups(bulk))
	return b.String()
}

func sambaGroups(bulk []string) string {
	const global, universal, local, distribution = -2147483646, -2147483640, -2147483644, 2
	var b strings.Builder
	group := func(name string, kind int, members ...string) {
		fmt.Fprintf(&b, "dn: CN=%s,%s\nobjectClass: group\n", name, SambaGroupsDN)
		fmt.Fprintf(&b, "sAMAccountName: %s\ngroupType: %d\n", name, kind)
		for _, m := range members {
			b.WriteString("member: " + m + "\n")
		}
		b.WriteString("\n")
	}
	of := func(name string) string { return "CN=" + name + "," + SambaGroupsDN }
	group("staff", global, sambaDN("alice"), sambaDN("bob"), sambaDN("josé"), sambaDN("o'neil"))
	group("department", global, of("staff"))
	group("company", universal, of("department"))
	group("loop-a", global, sambaDN("bob"))
	group("loop-c", global, of("loop-a"))
	group("loop-b", global, of("loop-c"))
	group("contractors", global, sambaDN("primary"))
	group("externals", universal, of("contractors"))
	group("newsletter", distribution, sambaDN("alice"))
	group("big", global, bulk...)
	group("foreigners", local)
	for i := range SambaManyGroups {
		group(fmt.Sprintf("many%03d", i), global, sambaDN("manygroups"))
	}
	return b.String()
}

// sambaLater is what can be said only when everybody is there.
func sambaLater(contractorsRID string) string {
	modify := sambaModify
	return modify(SambaBaseDN, "replace", "maxPwdAge", "-3153600000000000") + // 3650 days
		modify(SambaBaseDN, "replace", "minPwdAge", "0") +
		modify("CN=Partitions,CN=Configuration,"+SambaBaseDN, "add", "uPNSuffixes", "corp.example") +
		modify("CN=loop-a,"+SambaGroupsDN, "add", "member", "CN=loop-b,"+SambaGroupsDN) +
		modify("CN=foreigners,"+SambaGroupsDN, "add", "member", "<SID=S-1-5-21-1111111111-2222222222-3333333333-1104>") +
		modify(sambaDN("primary"), "replace", "primaryGroupID", contractorsRID) +
		modify("CN=Domain Users,CN=Users,"+SambaBaseDN, "delete", "member", sambaDN("primary"))
}

// sambaExpired makes a password of the year 2000.
func sambaExpired() string {
	return sambaModify(sambaDN("pwdexpired"), "replace", "pwdLastSet", "125911584000000000")
}

// sambaClash gives mallory the UPN that is implied by carol's sAMAccountName.
func sambaClash() string {
	return sambaModify(sambaDN("mallory"), "replace", "userPrincipalName", "carol@"+SambaDomain)
}

func sambaModify(dn, kind, attribute, value string) string {
	return fmt.Sprintf("dn: %s\nchangetype: modify\n%s: %s\n%s: %s\n\n", dn, kind, attribute, attribute, value)
}

// sambaUser is the record of a user; a line given takes the place of the plain one of the same attribute.
func sambaUser(name string, lines ...string) string {
	plain := []string{
		"dn: " + sambaDN(name), "objectClass: user", "sAMAccountName: " + name,
		"userPrincipalName: " + name + "@" + SambaDomain, "mail: " + name + "@" + SambaDomain,
		"displayName: The " + name, "userAccountControl: 512", "unicodePwd:: " + unicodePwd(SambaPassword(name)),
	}
	for _, line := range lines {
		attribute, _, _ := strings.Cut(line, ":")
		i := 0
		for i < len(plain) && !strings.HasPrefix(plain[i], attribute+":") {
			i++
		}
		plain = append(plain[:i], append([]string{line}, plain[min(i+1, len(plain)):]...)...)
	}
	return strings.Join(plain, "\n") + "\n\n"
}

func sambaDN(name string) string { return "CN=" + name + "," + SambaPeopleDN }

// unicodePwd is a password as that attribute takes it (MS-ADTS 3.1.1.3.1.5): quoted, UTF-16LE; here in LDIF's base64.
func unicodePwd(password string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(`"` + password + `"`)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return base64.StdEncoding.EncodeToString(b)
}
