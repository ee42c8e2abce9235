package activedirectory

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// Attributes of an account.
const (
	attrGUID    = "objectGUID"
	attrSID     = "objectSid"
	attrSAM     = "sAMAccountName"
	attrUPN     = "userPrincipalName"
	attrMail    = "mail"
	attrDisplay = "displayName"
	attrName    = "name"
	attrPrimary = "primaryGroupID"
)

func identityAttributes() []string {
	return []string{attrGUID, attrSID, attrSAM, attrUPN, attrMail, attrDisplay, attrName, attrPrimary}
}

// account makes an Account of an entry, without groups. It does not depend on how the name was typed: every spelling
// of a person is the same account.
func (d *domain) account(e ldap.Entry) (authn.Account, error) {
	subject, err := subjectOf(e)
	if err != nil {
		return authn.Account{}, err
	}
	id := authn.Identity{Provider: d.id, Subject: subject, Username: e.Text(d.config.Username), Name: e.Text(attrDisplay),
		Email: e.Text(attrMail)}
	if e.Text(attrSAM) == "" {
		return authn.Account{}, hidden(e, attrSAM)
	}
	if id.Username == "" && d.config.Username == attrUPN { // the UPN that the domain gives to who has none
		id.Username = e.Text(attrSAM) + "@" + d.config.Domain
	}
	if id.Name == "" {
		id.Name = e.Text(attrName)
	}
	return authn.Account{Identity: id, Ref: e.DN()}, nil
}

// subjectOf is the objectGUID, which is never given to another entry.
func subjectOf(e ldap.Entry) (string, error) {
	values := e.Values(attrGUID)
	if len(values) != 1 || len(values[0]) != 16 {
		return "", hidden(e, attrGUID)
	}
	return guidText(values[0]), nil
}

func hidden(e ldap.Entry, attribute string) error {
	return authn.Errorf(authn.Unavailable, reasonConfig, "%q has no %s: may the service account read it?",
		e.DN(), attribute)
}

// guidText is a GUID as people write it: its first three numbers are stored little-endian, [MS-DTYP] section 2.3.4.2.
func guidText(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// sid is a security identifier as it is stored, [MS-DTYP] section 2.4.2.2.
type sid string

// parseSID accepts well-formed ones only.
func parseSID(b []byte) (sid, bool) {
	if len(b) < 8 || b[0] != 1 || len(b) != 8+4*int(b[1]) || b[1] > 15 {
		return "", false
	}
	return sid(b), true
}

// String is the form S-1-5-21-...
func (s sid) String() string {
	authority := binary.BigEndian.Uint64(append([]byte{0, 0}, s[2:8]...))
	var b strings.Builder
	fmt.Fprintf(&b, "S-1-%d", authority)
	for at := 8; at < len(s); at += 4 {
		fmt.Fprintf(&b, "-%d", binary.LittleEndian.Uint32([]byte(s[at:])))
	}
	return b.String()
}

// domain is the SID without its last number: that of the domain that gave it.
func (s sid) domain() string {
	if len(s) < 12 {
		return ""
	}
	return string(s[2 : len(s)-4])
}

// sibling is another SID of the same domain.
func (s sid) sibling(rid uint32) sid {
	return sid(binary.LittleEndian.AppendUint32([]byte(s[:len(s)-4]), rid))
}

// rid is the last number of the SID: which one of its domain's it is.
func (s sid) rid() string {
	return strconv.FormatUint(uint64(binary.LittleEndian.Uint32([]byte(s[len(s)-4:]))), 10)
}

// filter matches the entry with this SID.
func (s sid) filter() string {
	var b strings.Builder
	b.WriteString("(" + attrSID + "=")
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\%02x`, c)
	}
	return b.String() + ")"
}

func isSIDText(s string) bool { return len(s) > 4 && strings.EqualFold(s[:4], "S-1-") }
