// Package templates holds everything that people see of idbridge: pages as html/template files, one style sheet, a few
// lines of JavaScript that the pages can do without, and the texts in each language, all embedded in the program. It knows
// nothing of what the pages are about: data and headers are those of the package that shows a page.
//
// The pages and texts of the portal and of the administrators' door can be replaced file by file (New, NewAdmin). The page
// that the plugin's door shows cannot (Load).
package templates

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed *.html portal admin texts
var files embed.FS

// Page is one parsed page that stands alone. It is safe for concurrent use.
type Page struct {
	parsed *template.Template
	style  string
}

// Load parses a page by its file name without .html.
func Load(name string) (*Page, error) {
	text, err := files.ReadFile(name + ".html")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	parsed, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	return &Page{parsed, style}, nil
}

// Execute writes the page.
func (p *Page) Execute(w io.Writer, data any) error { return p.parsed.Execute(w, data) }

// StyleSource is the source expression that allows the page's one style element, and no other (Content Security Policy
// Level 3, hash-source).
func (p *Page) StyleSource() string { return hashSource(p.style) }

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
