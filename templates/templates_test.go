package templates_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/templates"
)

// Every page parses, loads nothing from elsewhere, runs no script, and allows the style that it really has.
func TestPages(t *testing.T) {
	pages, _ := filepath.Glob("*.html")
	if len(pages) == 0 {
		t.Fatal("no pages")
	}
	for _, file := range pages {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page, err := templates.Load(strings.TrimSuffix(file, ".html"))
		if err != nil {
			t.Fatal(err)
		}
		if at := regexp.MustCompile(`(?i)<script|\bon[a-z]+=|style=|https?://|src=`).FindString(string(text)); at != "" {
			t.Errorf("%s: %q", file, at)
		}
		style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindSubmatch(text)
		sum := sha256.Sum256(style[1])
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; page.StyleSource() != want {
			t.Errorf("%s: allows %s, has %s", file, page.StyleSource(), want)
		}
		if !strings.Contains(string(text), `<html lang="`) || !strings.Contains(string(text), "<title>") {
			t.Errorf("%s: no language or no title", file)
		}
		if err := page.Execute(io.Discard, map[string]string{}); err == nil {
			t.Errorf("%s: missing data is not noticed", file)
		}
	}
	if _, err := templates.Load("nothing"); err == nil {
		t.Error("a page that is not there")
	}
}
