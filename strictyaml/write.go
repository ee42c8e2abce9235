package strictyaml

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const step = "  "

// write writes a mapping or list, each key or item on a line of its own.
func write(text *strings.Builder, t tree, depth int) {
	in := strings.Repeat(step, depth)
	for i, key := range t.keys {
		text.WriteString(in + quote(key) + ":")
		behind(text, t.values[i], depth)
	}
	for _, item := range t.list {
		text.WriteString(in + "-")
		if item.kind != reflect.Map || item.empty() {
			behind(text, item, depth)
			continue
		}
		var inner strings.Builder
		write(&inner, item, depth+1)
		text.WriteString(" " + strings.TrimPrefix(inner.String(), in+step)) // its first key stands behind the dash
	}
}

// behind writes a value behind its key or dash.
func behind(text *strings.Builder, t tree, depth int) {
	switch {
	case t.kind == reflect.String:
		text.WriteString(" " + t.text() + "\n")
	case t.empty() && t.kind == reflect.Slice:
		text.WriteString(" []\n")
	case t.empty():
		text.WriteString(" {}\n")
	default:
		text.WriteString("\n")
		write(text, t, depth+1)
	}
}

func (t tree) text() string {
	if t.plain != "" {
		return t.plain
	}
	s, _ := t.scalar.(string)
	return quote(s)
}

// plainText needs no quotes, wherever in a block it stands.
var plainText = regexp.MustCompile(`^[A-Za-z/<][A-Za-z0-9_./:@=,+<>-]*( [A-Za-z0-9_./@=,+<>-][A-Za-z0-9_./:@=,+<>-]*)*$`)

// notTexts would be read as something else than a text.
var notTexts = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// quote writes a text so that it is read as that text.
func quote(s string) string {
	switch {
	case plainText.MatchString(s) && !strings.HasSuffix(s, ":") && !strings.Contains(s, ": ") && !strings.HasPrefix(s, "<<") &&
		!slices.Contains(notTexts, strings.ToLower(s)):
		return s
	case !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }):
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text can be
	return strings.TrimSpace(text.String())
}
