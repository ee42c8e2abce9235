package templates_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/docs"
	"github.com/idbridge/idbridge/templates"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	actions = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	tags    = regexp.MustCompile(`(?s)<[^>]*>`)
	worded  = regexp.MustCompile(`(?i)\b(?:alt|title|placeholder|aria-label|summary|label)="([^"]*[a-z][^"]*)"`)
	textKey = regexp.MustCompile(`"([a-z]+(?:\.[a-z]+)*)"`)
)

func allPages() []string {
	ours, _ := filepath.Glob("portal/*.html")
	admins, _ := filepath.Glob("admin/*.html")
	return append(ours, admins...)
}

// No page says anything by itself: what people read comes from texts/.
func TestNoPageHasWordsOfItsOwn(t *testing.T) {
	pages := allPages()
	if len(pages) < 15 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, file := range pages {
		text := actions.ReplaceAllString(read(t, file), "")
		for _, m := range worded.FindAllStringSubmatch(text, -1) {
			t.Errorf("%s: %s", file, m[0])
		}
		if words := regexp.MustCompile(`[A-Za-z]{2,}`).FindAllString(tags.ReplaceAllString(text, ""), -1); words != nil {
			t.Errorf("%s says %q", file, words)
		}
	}
}

// Every page loads nothing from elsewhere and has no handler or style in its markup: the policy would refuse them.
func TestNothingInline(t *testing.T) {
	for _, file := range allPages() {
		if at := regexp.MustCompile(`(?i)\son[a-z]+=|\sstyle=|https?://|javascript:`).FindString(read(t, file)); at != "" {
			t.Errorf("%s: %q", file, at)
		}
	}
}

// Every text is shown somewhere, and every text that is asked for is there.
func TestTextsAreUsed(t *testing.T) {
	english := map[string]string{}
	for _, file := range []string{"texts/en.json", "admin/texts/en.json"} {
		if err := json.Unmarshal([]byte(read(t, file)), &english); err != nil {
			t.Fatal(err)
		}
	}
	used := map[string]bool{"language": true}
	for _, reason := range docs.Reasons() { // asked for by their codes
		says, _ := docs.Explain(reason)
		for key, text := range map[string]string{"admin.reason.": says.Happened, "admin.advice.": says.Advice} {
			key += docs.RowOf(reason)
			if used[key] = text != ""; english[key] != text {
				t.Errorf("admin/texts/en.json: %s is not what docs/errors.md says; when it is, mend the other languages too", key)
			}
		}
	}
	asked := regexp.MustCompile(`\{\{-? ?(?:[a-z]+ )?\(?t "([^"]+)"`)
	for _, dir := range []string{"portal", "../portal", "admin", "../admin"} {
		err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text := read(t, file)
			for _, m := range textKey.FindAllStringSubmatch(text, -1) {
				used[m[1]] = true
			}
			for _, m := range asked.FindAllStringSubmatch(text, -1) {
				if _, ok := english[m[1]]; !ok {
					t.Errorf("%s asks for %q, which texts/en.json lacks", file, m[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range english {
		if !used[key] {
			t.Errorf("nothing shows the text %q", key)
		}
	}
}

// folder makes a folder of replacements.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// view is enough data for the page signedout.
type view struct {
	Language, Chosen, Who, Problem, Notice string
	Languages                              []struct{}
}

func (view) Link(path string, _ ...string) string { return path }

func render(t *testing.T, s *templates.Set, language string) string {
	t.Helper()
	var out strings.Builder
	if err := s.Render(&out, language, "signedout", view{Language: language}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// One file and one text are replaced; everything else stays, and the policy allows the style that is there now.
func TestBranding(t *testing.T) {
	plain, err := templates.New("")
	if err != nil {
		t.Fatal(err)
	}
	s, err := templates.New(folder(t, map[string]string{
		"brand.html":    `{{define "brand"}}<b>Example Ltd</b>{{end}}`,
		"brand.css":     ":root { --accent: #123456; }",
		"texts/en.json": `{"signedout.title": "Bye"}`,
		"assets/x.svg":  "<svg/>",
	}))
	if err != nil {
		t.Fatal(err)
	}
	page := render(t, s, "en")
	for _, want := range []string{"<b>Example Ltd</b>", "--accent: #123456", "<h1>Bye</h1>", "Sign in again", "--muted"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if s.StyleSource() == plain.StyleSource() || s.ScriptSource() != plain.ScriptSource() {
		t.Error("the hashes do not follow style and script")
	}
	if content, ok := s.Asset("x.svg"); !ok || string(content) != "<svg/>" {
		t.Error("an asset of the folder is not there")
	}
	if _, ok := s.Asset("../brand.css"); ok {
		t.Error("an asset outside of its folder")
	}
}

func TestWrongBranding(t *testing.T) {
	for name, one := range map[string]struct {
		files map[string]string
		want  string
	}{
		"syntax":       {map[string]string{"code.html": "{{if}}"}, "code.html"},
		"no JSON":      {map[string]string{"texts/en.json": "{"}, "texts/en.json"},
		"unknown text": {map[string]string{"texts/de.json": `{"hello": "x"}`}, `nothing shows "hello"`},
		"half":         {map[string]string{"texts/fr.json": `{"language": "Français"}`}, "texts/fr.json lacks"},
		"a slip":       {map[string]string{"singin.html": "x", "README.md": "x"}, "nothing reads singin.html"},
		"texts astray": {map[string]string{"en.json": "{}"}, "nothing reads en.json"},
		"places":       {map[string]string{"texts/de.json": `{"signin.with": "Anmelden"}`}, "{0}"},
	} {
		if _, err := templates.New(folder(t, one.files)); err == nil || !strings.Contains(err.Error(), one.want) {
			t.Errorf("%s: %v, want %q", name, err, one.want)
		}
	}
	if _, err := templates.New("/nowhere"); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("no folder: %v", err)
	}
	if _, err := templates.New("", "en", "xx"); err == nil || !strings.Contains(err.Error(), `"xx"`) {
		t.Errorf("an unknown language: %v", err)
	}
}

func TestChoosingALanguage(t *testing.T) {
	s, err := templates.New("")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct{ chosen, accept, want string }{
		{"", "", "en"}, {"de", "pt", "de"}, {"xx", "pt", "pt"}, {"", "pt-BR,pt;q=0.9,en;q=0.8", "pt"},
		{"", "fr, de;q=0.5, en;q=0.7", "en"}, {"", "de;q=0", "en"}, {"", "de;q=rubbish,pt", "pt"}, {"", "*", "en"},
		{"../en", "", "en"}, {"", strings.Repeat("fr,", 100) + "de", "en"},
	} {
		if got := s.Choose(one.chosen, one.accept); got != one.want {
			t.Errorf("chosen %q, accepted %q: %s, want %s", one.chosen, one.accept, got, one.want)
		}
	}
	only, err := templates.New("", "pt", "de")
	if err != nil {
		t.Fatal(err)
	}
	if got := only.Choose("en", "fr"); got != "pt" {
		t.Errorf("of Portuguese and German a French reader gets %s", got)
	}
}

// What a person is called is shown as text, whatever it looks like.
func TestArgumentsAreText(t *testing.T) {
	s, err := templates.New("")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Text("en", "signin.with", "{0}<b>"); got != "Sign in with {0}<b>" {
		t.Errorf("%q", got)
	}
	var out strings.Builder
	if err := s.Render(&out, "en", "signedout", view{Language: "en", Who: `<script>alert(1)</script>`}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "<script>alert") {
		t.Error("a name was taken for markup")
	}
}
