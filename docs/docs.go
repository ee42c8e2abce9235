// Package docs lets the program say what the documentation says, so that there is one text only.
package docs

import (
	_ "embed" // for errorsText
	"slices"
	"strings"
)

//go:embed errors.md
var errorsText string

// Reason is a row of the table of reasons in errors.md.
type Reason struct {
	Happened string // what happened
	Advice   string // what to do; may be empty
}

// Explain finds what errors.md says of a reason; ok is false where it says nothing in a table.
func Explain(reason string) (r Reason, ok bool) {
	_, table, _ := strings.Cut(errorsText, "## Reasons of a refused sign-in")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !slices.Contains(strings.Split(strings.TrimSpace(cells[1]), ", "), "`"+reason+"`") {
			continue
		}
		return Reason{plain(cells[3]), plain(cells[4])}, true
	}
	return Reason{}, false
}

// plain takes the marks of Markdown off a cell.
func plain(cell string) string { return strings.TrimSpace(strings.ReplaceAll(cell, "`", "")) }
