package itusers

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/idbridge/idbridge/authn"
)

// file is an import file as it is being read. Every problem is kept; reading goes on after it.
type file struct {
	Options
	users    []entry
	byName   map[string]int // folded user name → index in users
	long     bool           // one row per user and environment
	problems []Problem
}

func parse(text []byte, format Format, o Options) *file {
	f := &file{Options: o, byName: map[string]int{}}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	switch {
	case len(text) > maxFile:
		f.problem(0, "the file is larger than %d MiB", maxFile>>20)
	case !f.checkText(text):
	case format == CSV:
		f.readCSV(text)
	case format == JSON:
		f.readJSON(text)
	default:
		f.problem(0, "format %q is none of csv, json", format)
	}
	return f
}

func (f *file) problem(line int, format string, args ...any) {
	f.problems = append(f.problems, Problem{line, format, args})
}

// checkText finds what is not UTF-8: a decoder would replace it, and the user would never be found by name.
func (f *file) checkText(text []byte) bool {
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		f.problem(0, "the file is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)")
		return false
	}
	if utf8.Valid(text) {
		return true
	}
	line := 0
	for l := range bytes.Lines(text) {
		if line++; !utf8.Valid(l) {
			f.problem(line, "is not UTF-8 (in Excel: save as CSV UTF-8)")
		}
	}
	return false
}

// environment is the known environment of that name.
func (f *file) environment(line int, name string) (string, bool) {
	for _, known := range f.Environments {
		if strings.EqualFold(known, name) {
			return known, true
		}
	}
	f.problem(line, "environment %q is not one of %s", name, strings.Join(f.Environments, ", "))
	return "", false
}

// setText checks a name or an e-mail address.
func (f *file) setText(line int, column, text string, to **string) {
	if why := malformed(text); why != "" {
		f.problem(line, "%s %s", column, why)
		return
	}
	*to = &text
}

// setUsername checks a user name as strictly as a sign-in does: one that cannot be typed there would never match.
func (f *file) setUsername(e *entry, text string) {
	switch why := malformed(text); {
	case text == "":
		f.problem(e.line, "username is empty")
	case why != "":
		f.problem(e.line, "username %s", why)
	default:
		e.username = text
	}
}

func malformed(text string) string {
	switch {
	case len(text) > authn.MaxUsername:
		return fmt.Sprintf("is longer than %d bytes", authn.MaxUsername)
	case strings.TrimSpace(text) != text:
		return "has space around it"
	case strings.ContainsFunc(text, hidden):
		return "holds control or invisible characters"
	}
	return ""
}

func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

func (f *file) setActive(e *entry, text string) {
	var active bool
	switch strings.ToLower(text) {
	case "true", "yes", "1":
		active = true
	case "false", "no", "0":
	default:
		f.problem(e.line, "active %q is none of true, false, yes, no, 1, 0", text)
		return
	}
	e.active = &active
}

// setID takes an id from a cell or a JSON number; environment may be empty when it was refused already.
func (f *file) setID(e *entry, environment, text string) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		f.problem(e.line, "id %q is not a whole number", text)
	case n < 1 || n > math.MaxInt32:
		f.problem(e.line, "id %d is not in 1…%d", n, math.MaxInt32)
	case environment != "":
		e.set(environment, int32(n))
	}
}

func (e *entry) set(environment string, number int32) {
	if e.ids == nil {
		e.ids = map[string]id{}
	}
	e.ids[environment] = id{number, e.line}
}

// add takes a finished row. In the long form a user has several, which must agree in everything but the environment.
func (f *file) add(e entry) {
	if e.username == "" {
		return // the problem is noted
	}
	folded := authn.FoldName(e.username)
	at, seen := f.byName[folded]
	if !seen {
		f.byName[folded] = len(f.users)
		f.users = append(f.users, e)
		return
	}
	first := &f.users[at]
	if !f.long {
		f.problem(e.line, "user %q is on line %d already", e.username, first.line)
		return
	}
	for environment, id := range e.ids {
		if before, twice := first.ids[environment]; twice {
			f.problem(e.line, "user %q has an id on %s on line %d already", e.username, environment, before.line)
			continue
		}
		first.set(environment, id.number)
		first.ids[environment] = id
	}
	if what := first.disagrees(e); what != "" {
		f.problem(e.line, "%s of user %q is another one on line %d", what, e.username, first.line)
	}
}

func (e entry) disagrees(other entry) string {
	switch {
	case e.username != other.username:
		return "the spelling"
	case differ(e.name, other.name):
		return "name"
	case differ(e.email, other.email):
		return "email"
	case differ(e.active, other.active):
		return "active"
	}
	return ""
}

func differ[T comparable](a, b *T) bool {
	return (a == nil) != (b == nil) || a != nil && *a != *b
}
