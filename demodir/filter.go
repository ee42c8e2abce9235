package demodir

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

var errFilter = errors.New("demo directory: only and, or, not, equality and presence are understood in a filter")

// maxFilterDepth bounds filters in filters.
const maxFilterDepth = 20

// parseFilter reads the text form of a filter (RFC 4515) with and, or, not, equality and presence. Values are compared
// without regard to case.
func parseFilter(text string) (func(entry) bool, error) {
	match, rest, err := parseOne(text, maxFilterDepth)
	if err != nil || rest != "" {
		return nil, errFilter
	}
	return match, nil
}

func parseOne(text string, depth int) (match func(entry) bool, rest string, err error) {
	if depth == 0 || len(text) < 3 || text[0] != '(' {
		return nil, "", errFilter
	}
	if !strings.ContainsRune("&|!", rune(text[1])) {
		return parseItem(text[1:])
	}
	var parts []func(entry) bool
	for rest = text[2:]; strings.HasPrefix(rest, "("); {
		var part func(entry) bool
		if part, rest, err = parseOne(rest, depth-1); err != nil {
			return nil, "", err
		}
		parts = append(parts, part)
	}
	if !strings.HasPrefix(rest, ")") || text[1] == '!' && len(parts) != 1 {
		return nil, "", errFilter
	}
	return combine(text[1], parts), rest[1:], nil
}

func combine(op byte, parts []func(entry) bool) func(entry) bool {
	return func(e entry) bool {
		holds := func(part func(entry) bool) bool { return part(e) }
		fails := func(part func(entry) bool) bool { return !part(e) }
		if op == '|' {
			return slices.ContainsFunc(parts, holds)
		}
		if op == '&' {
			return !slices.ContainsFunc(parts, fails)
		}
		return !parts[0](e)
	}
}

// parseItem reads attribute=value) or attribute=*).
func parseItem(text string) (match func(entry) bool, rest string, err error) {
	item, rest, closed := strings.Cut(text, ")")
	name, escaped, isEquality := strings.Cut(item, "=")
	if !closed || !isEquality || name == "" || strings.ContainsAny(name, "<>~:(") {
		return nil, "", errFilter
	}
	if escaped == "*" {
		return func(e entry) bool { return len(e.values(name)) > 0 }, rest, nil
	}
	value, err := unescape(escaped)
	if err != nil || strings.Contains(escaped, "*") {
		return nil, "", errFilter
	}
	return func(e entry) bool {
		return slices.ContainsFunc(e.values(name), func(v string) bool { return strings.EqualFold(v, value) })
	}, rest, nil
}

// unescape turns \28 into ( and so on.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, `\`)
		b.WriteString(plain)
		if !found {
			return b.String(), nil
		}
		if len(rest) < 2 {
			return "", errFilter
		}
		raw, err := hex.DecodeString(rest[:2])
		if err != nil {
			return "", errFilter
		}
		b.Write(raw)
		s = rest[2:]
	}
}

func (e entry) values(name string) []string {
	for n, values := range e.shown {
		if strings.EqualFold(n, name) {
			return values
		}
	}
	return nil
}
