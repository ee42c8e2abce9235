package authn

import (
	"encoding/hex"
	"strings"
)

// GroupKeys gives the two forms in which a group can be compared: the whole DN, without regard to case, to spaces
// around separators and to the ways of escaping; and the value of its first part. Of a text that is no DN both are
// the text.
func GroupKeys(group string) (dn, name string) {
	var parts []string
	for i, part := range splitUnescaped(group, ',') {
		attribute, value, ok := strings.Cut(part, "=")
		if !ok {
			plain := FoldName(strings.TrimSpace(group))
			return plain, plain
		}
		value = FoldName(unescape(strings.TrimSpace(value)))
		if i == 0 {
			name = value
		}
		parts = append(parts, FoldName(strings.TrimSpace(attribute))+"="+value)
	}
	return strings.Join(parts, "\x00"), name
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
