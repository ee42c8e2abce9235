// Package docs lets the program say what the documentation says, so that there is one text only.
package docs

import (
	_ "embed" // for errorsText
	"iter"
	"regexp"
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
	for row := range rows() {
		if slices.Contains(row.reasons, reason) {
			return row.Reason, true
		}
	}
	return Reason{}, false
}

// RowOf is the first of the reasons that errors.md explains together with this one, by which other languages find the row;
// empty where it says nothing in a table.
func RowOf(reason string) string {
	for row := range rows() {
		if slices.Contains(row.reasons, reason) {
			return row.reasons[0]
		}
	}
	return ""
}

// Reasons are all that errors.md explains in a table, in its order.
func Reasons() (list []string) {
	for row := range rows() {
		list = append(list, row.reasons...)
	}
	return list
}

// row of a table: reasons, where there is such a column their kind, what happened, what to do.
type row struct {
	reasons []string
	Reason
}

var quoted = regexp.MustCompile("`([^`]+)`")

func rows() iter.Seq[row] {
	return func(yield func(row) bool) {
		_, tables, _ := strings.Cut(errorsText, "## Reasons of a refused sign-in")
		for line := range strings.Lines(tables) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			if len(cells) < 5 || !strings.HasPrefix(cells[1], " `") {
				continue
			}
			var one row
			for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
				one.reasons = append(one.reasons, m[1])
			}
			last := len(cells) - 2
			one.Reason = Reason{plain(cells[last-1]), plain(cells[last])}
			if !yield(one) {
				return
			}
		}
	}
}

// plain takes the marks of Markdown off a cell.
func plain(cell string) string { return strings.TrimSpace(strings.ReplaceAll(cell, "`", "")) }
