package strictyaml

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parse turns the text into one syntax tree, nil for an empty file. It reports at most one problem: after a syntax
// error nothing that follows can be trusted.
func (doc *Document) parse(text []byte) (root ast.Node, ok bool) {
	if len(text) > MaxSize {
		doc.refuse(position{1, 1}, "", "the file is larger than %d KiB", MaxSize>>10)
		return nil, false
	}
	if !utf8.Valid(text) {
		doc.refuse(position{1, 1}, "", "the file is not UTF-8")
		return nil, false
	}
	defer func() {
		if recover() != nil { // the library's parser has panicked on nonsense before
			doc.refuse(position{1, 1}, "", "the file cannot be read as YAML")
			root, ok = nil, false
		}
	}()
	tokens := lexer.Tokenize(string(text))
	if !doc.tame(tokens) {
		return nil, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		doc.syntax(err)
		return nil, false
	}
	return doc.single(file)
}

// tame refuses, before a tree is built of them, the tokens that could make a large tree of a small file, and those of
// YAML that nobody needs in a configuration.
func (doc *Document) tame(tokens token.Tokens) bool {
	depth, line, dashes := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		}
		why := unwanted[t.Type]
		if depth > MaxDepth || dashes > MaxDepth {
			why = "nested too deeply"
		}
		if why != "" {
			doc.refuse(positionOf(t), "", "%s", why)
			return false
		}
	}
	return true
}

var unwanted = map[token.Type]string{
	token.AnchorType:     "anchors (&name) are not accepted (write the value out; a text that begins with & needs quotes)",
	token.AliasType:      "aliases (*name) are not accepted (write the value out; a text that begins with * needs quotes)",
	token.MergeKeyType:   "merge keys (<<) are not accepted (write the keys out)",
	token.TagType:        "tags (!name) are not accepted (a text that begins with ! needs quotes)",
	token.MappingKeyType: "keys that are not plain texts (?) are not accepted",
	token.DirectiveType:  "directives (%) are not accepted",
}

func (doc *Document) syntax(err error) {
	at, text := position{1, 1}, err.Error()
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		text = syntax.Message
		if syntax.Token != nil {
			at = positionOf(syntax.Token)
		}
	}
	text, _, _ = strings.Cut(text, "\n")
	doc.refuse(at, "", "not YAML: %s", text)
}

// single returns the one document of a file.
func (doc *Document) single(file *ast.File) (ast.Node, bool) {
	var root ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			doc.refuse(positionOf(d.Body.GetToken()), "", "a second document (---) is not accepted; one file holds one")
			return nil, false
		}
		root = d.Body
	}
	return root, true
}

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(1, t.Position.Line), max(1, t.Position.Column)}
}

func at(n ast.Node) position { return positionOf(n.GetToken()) }
