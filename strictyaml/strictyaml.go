// Package strictyaml reads a YAML file into Go structs and reports everything that is wrong with it at once, each
// problem with file, line, column, the key's path and a hint. From the same structs it makes a JSON Schema for editors.
//
// What it accepts is a small part of YAML: one document of mappings, lists and scalars; no anchors, aliases, tags or
// merge keys, so that a small file cannot become a large one. Values are not converted: a number where a text is wanted
// is a problem, not a text. What the keys mean, and what must hold between several of them, is the caller's business,
// who can add problems at a key's position with Document.Refuse.
//
// # Struct tags
//
//	yaml:"name"        the key; fields without it are left alone, embedded structs are part of the outer one
//	doc:"text"         what the key is for; goes into the schema
//	default:"text"     YAML; used when the key is absent
//	required:"true"    an absent key is a problem
//	enum:"a,b"         the allowed texts, also of the items of a list
//	variants:"set"     on a field of type any: the further keys of this mapping are those of one struct of the set in
//	by:"type"          Options.Variants, which the value of the key named by `by` selects
//
// Types: text, bool, integers, floats, time.Duration, Size, anything with UnmarshalText, and structs, pointers to
// structs, lists and maps of them. An absent struct is read like an empty one, so its defaults and required keys count;
// an absent pointer stays nil. A Secret has a twin key with the suffix _file, the name of a file that holds it. Any
// text whose key has that suffix is the name of a file; a relative one is joined to Options.Dir.
package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Limits of what is read.
const (
	MaxSize  = 256 << 10 // bytes of a file
	MaxDepth = 32        // of nesting
)

// Options say what the structs cannot.
type Options struct {
	Dir      string              // where relative file names begin
	Variants map[string]Variants // the sets that `variants` tags name

	// NoSecretFiles refuses the _file twins of secrets: for a text that came over the network, whose author could otherwise
	// have any file of this machine sent to where the secret is sent.
	NoSecretFiles bool
}

// Variants are the structs that a mapping's further keys may have, by the text that selects them. The values are zero
// values of the structs.
type Variants map[string]any

// Secret is a text type that never shows itself. Its value appears in no problem, and it has a _file twin.
type Secret interface{ Reveal() string }

// Problem is one thing that is wrong.
type Problem struct {
	File         string
	Line, Column int // from 1
	Path         string
	Text         string // with a hint in parentheses, where there is one
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Text
}

// Problems are all of them, in the order of the file. As an error it has one line for each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// Document is a file that has been read: what was wrong with it, and where each key is.
type Document struct {
	file     string
	at       map[string]position
	problems Problems
	broken   bool // not even YAML
}

type position struct{ line, column int }

// Decode reads text into the struct that into points to. file is its name in problems. It never panics, whatever the
// text. What could be read is in the struct even when there are problems, so that the caller can look for more.
func Decode(file string, text []byte, into any, o Options) *Document {
	doc := &Document{file: file, at: map[string]position{"": {1, 1}}}
	root, ok := doc.parse(text)
	if !ok {
		doc.broken = true
		return doc
	}
	d := &decoder{doc: doc, options: o}
	d.root(root, into)
	return doc
}

// Refuse adds a problem at the position of a key, or of the nearest key around it. It is ignored where that key, one
// around it or one inside it has a problem already: what is said then would only be a consequence.
func (doc *Document) Refuse(path, format string, args ...any) {
	if doc.broken || slices.ContainsFunc(doc.problems, func(p Problem) bool { return within(path, p.Path) || within(p.Path, path) }) {
		return
	}
	doc.refuse(doc.position(path), path, format, args...)
}

// Has tells whether the file has the key.
func (doc *Document) Has(path string) bool {
	_, ok := doc.at[path]
	return ok
}

// Wrong tells whether something is wrong at a key or inside it.
func (doc *Document) Wrong(path string) bool {
	return doc.broken || slices.ContainsFunc(doc.problems, func(p Problem) bool { return within(p.Path, path) })
}

// Err is nil when nothing is wrong, Problems otherwise.
func (doc *Document) Err() error {
	if len(doc.problems) == 0 {
		return nil
	}
	sorted := slices.Clone(doc.problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return sorted
}

// Where is file:line:column of a key, or of the nearest key around it.
func (doc *Document) Where(path string) string {
	at := doc.position(path)
	return fmt.Sprintf("%s:%d:%d", doc.file, at.line, at.column)
}

func (doc *Document) refuse(at position, path, format string, args ...any) {
	doc.problems = append(doc.problems, Problem{doc.file, at.line, at.column, path, fmt.Sprintf(format, args...)})
}

func (doc *Document) position(path string) position {
	for {
		if at, ok := doc.at[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// within tells whether path is outer or inside of it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && outer != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
