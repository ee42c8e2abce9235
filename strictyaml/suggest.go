package strictyaml

import (
	"fmt"
	"strings"
)

// fewKeys is how many keys a hint may list.
const fewKeys = 12

// suggest is a hint at what an unknown key was meant to be.
func suggest(key string, slots []slot) string {
	var known []string
	for _, s := range slots {
		known = append(known, s.key)
	}
	if near := nearest(key, known); near != "" || len(known) == 0 || len(known) > fewKeys {
		return near
	}
	return " (known here: " + strings.Join(known, ", ") + ")"
}

// nearest is a hint at the word that looks most like the one written, if any looks alike.
func nearest(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range known {
		if n := distance(strings.ToLower(word), k); n < least {
			best, least = k, n
		}
	}
	if best == "" || least >= len(best) {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance counts the insertions, deletions and replacements between two words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
