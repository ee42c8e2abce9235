package revision

import "strings"

// Line is a line of a diff.
type Line struct {
	Op   string `json:"op"` // Same, Removed or Added
	Text string `json:"text"`
}

// What became of a line.
const (
	Same    = " "
	Removed = "-"
	Added   = "+"
)

// maxCells bounds the table that Diff fills. Beyond it, everything between the first and the last difference counts as
// replaced, which is true, if less readable.
const maxCells = 4 << 20

// Diff tells how to come from one text to another, line by line.
func Diff(from, to string) []Line {
	a, b := lines(from), lines(to)
	var head, tail []Line
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head, a, b = append(head, Line{Same, a[0]}), a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, Line{Same, a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	head = append(head, between(a, b)...)
	for i := len(tail) - 1; i >= 0; i-- {
		head = append(head, tail[i])
	}
	return head
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// between finds a longest common subsequence. left[i][j] is its length for a[i:] and b[j:].
func between(a, b []string) (list []Line) {
	if (len(a)+1)*(len(b)+1) > maxCells {
		return append(all(Removed, a), all(Added, b)...)
	}
	left := make([][]int32, len(a)+1)
	for i := len(a); i >= 0; i-- {
		left[i] = make([]int32, len(b)+1)
		for j := len(b) - 1; j >= 0 && i < len(a); j-- {
			left[i][j] = max(left[i+1][j], left[i][j+1])
			if a[i] == b[j] {
				left[i][j] = left[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			list = append(list, Line{Same, a[i]})
			i, j = i+1, j+1
		case left[i+1][j] >= left[i][j+1]:
			list = append(list, Line{Removed, a[i]})
			i++
		default:
			list = append(list, Line{Added, b[j]})
			j++
		}
	}
	return append(append(list, all(Removed, a[i:])...), all(Added, b[j:])...)
}

func all(op string, texts []string) (list []Line) {
	for _, text := range texts {
		list = append(list, Line{op, text})
	}
	return list
}

// Context keeps the lines that changed and n around each; what is left out between them is one Line of Op "".
func Context(diff []Line, n int) (list []Line) {
	keep := make([]bool, len(diff))
	for i, l := range diff {
		for k := max(0, i-n); l.Op != Same && k < min(len(diff), i+n+1); k++ {
			keep[k] = true
		}
	}
	for i, l := range diff {
		switch {
		case keep[i]:
			list = append(list, l)
		case i > 0 && keep[i-1]:
			list = append(list, Line{})
		case i == 0:
			list = append(list, Line{})
		}
	}
	if len(list) == 1 && list[0] == (Line{}) {
		return nil // nothing changed
	}
	return list
}
