package authn

import (
	"encoding/hex"
	"strings"
)

// GroupKey is the form in which the group of a rule and one of an Identity are compared: without regard to case, and where
// it is a DN, to spaces around separators and to the ways of escaping.
//
// A group is what its provider calls it, as a whole. The name inside of a DN is not enough: who may make groups in some
// corner of a directory could call one like another elsewhere, and gain what rules give to that one.
func GroupKey(group string) string {
	var parts []string
	for _, part := range splitUnescaped(group, ',') {
		attribute, value, ok := strings.Cut(part, "=")
		if !ok {
			return FoldName(strings.TrimSpace(group))
		}
		parts = append(parts, FoldName(strings.TrimSpace(attribute))+"="+FoldName(unescape(strings.TrimSpace(value))))
	}
	return strings.Join(parts, "\x00")
}

// splitUnescaped cuts at separators that no backslash precedes (RFC 4514 section 3).
func splitUnescaped(s string, separator byte) (parts []string) {
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case separator:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}

// unescape undoes \, and \2C alike.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}
