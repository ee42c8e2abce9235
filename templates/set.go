package templates

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Set is a door's pages in every language, each parsed once. It is safe for concurrent use.
type Set struct {
	admin  bool // also the pages of the administrators' door
	texts  texts
	pages  map[string]map[string]*template.Template // by language, then by page
	style  string
	script string
	assets map[string][]byte
}

// partials are the files that are parts of pages. Every other file of the folder is a page.
var partials = []string{"layout.html", "brand.html", "imprint.html", "parts.html", "startover.html"}

// adminPartials are those of the folder admin, which only its own pages have.
var adminPartials = []string{"nav.html", "adminparts.html"}

// New reads the portal's pages. branding, if not empty, is a folder whose files take the place of the embedded ones of
// the same name; whatever it lacks is taken from these. docs/branding.md says what may be in it. languages, if any, are the
// only ones, the first being for readers of none of them. The error names the file.
func New(branding string, languages ...string) (*Set, error) {
	return (&Set{}).read(branding, languages)
}

// NewAdmin reads what New reads, and the pages, texts and style of the administrators' door. A language that lacks texts of
// these is left out.
func NewAdmin(branding string, languages ...string) (*Set, error) {
	return (&Set{admin: true}).read(branding, languages)
}

func (s *Set) read(branding string, languages []string) (*Set, error) {
	source := overlay{files, nil}
	if branding != "" {
		if info, err := os.Stat(branding); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("templates: %s is not a folder", branding)
		}
		source.over = os.DirFS(branding)
		if err := source.strangers(); err != nil {
			return nil, err
		}
	}
	s.pages, s.assets = map[string]map[string]*template.Template{}, map[string][]byte{}
	var err error
	if s.texts, err = readTexts(source, s.admin); err != nil {
		return nil, err
	}
	if s.admin {
		languages = s.texts.known(languages)
	}
	if err := s.texts.only(languages); err != nil {
		return nil, err
	}
	style, err1 := source.read("portal/style.css")
	script, err2 := source.read("portal/script.js")
	extra, err3 := source.optional("brand.css")
	more, err4 := "", error(nil)
	if s.admin {
		more, err4 = source.read("admin/style.css")
	}
	if err := errors.Join(err1, err2, err3, err4, s.readAssets(source)); err != nil {
		return nil, err
	}
	s.style, s.script = compact(style+more+extra), script
	for _, language := range s.texts.order {
		if s.pages[language], err = s.parse(source, language); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// compact takes the line ends and indents of the style sheet out, which every page carries.
func compact(style string) string {
	var b strings.Builder
	for line := range strings.Lines(style) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

// parse makes all pages of one language.
func (s *Set) parse(source overlay, language string) (map[string]*template.Template, error) {
	base := template.New("layout.html").Option("missingkey=error").Funcs(template.FuncMap{
		"t":      func(key string, args ...any) (string, error) { return s.texts.get(language, key, args...) },
		"time":   stamp,
		"style":  func() template.CSS { return template.CSS(s.style) },
		"script": func() template.JS { return template.JS(s.script) },
	})
	for _, name := range partials {
		if err := source.parseInto(base, "portal/"+name); err != nil {
			return nil, err
		}
	}
	pages := map[string]*template.Template{}
	if err := source.parsePages(pages, base, "portal", partials); err != nil || !s.admin {
		return pages, err
	}
	for _, name := range adminPartials {
		if err := source.parseInto(base, "admin/"+name); err != nil {
			return nil, err
		}
	}
	return pages, source.parsePages(pages, base, "admin", adminPartials)
}

// parsePages makes the pages of a folder; those of admin have the folder in their name.
func (o overlay) parsePages(pages map[string]*template.Template, base *template.Template, folder string, parts []string) error {
	names, err := fs.Glob(files, folder+"/*.html")
	for _, name := range names {
		if slices.Contains(parts, path.Base(name)) {
			continue
		}
		page, err := base.Clone()
		if err != nil {
			return fmt.Errorf("templates: %s: %w", name, err)
		}
		if err := o.parseInto(page, name); err != nil {
			return err
		}
		pages[strings.TrimPrefix(strings.TrimSuffix(name, ".html"), "portal/")] = page
	}
	return err
}

// stamp is a moment as every reader can read it; the script shows it in the reader's own time.
func stamp(at time.Time) template.HTML {
	at = at.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s UTC</time>`,
		at.Format(time.RFC3339), at.Format("2006-01-02 15:04")))
}

// Render writes a page in a language. Nothing is written when the page cannot be made.
func (s *Set) Render(w io.Writer, language, page string, data any) error {
	t, ok := s.pages[language][page]
	if !ok {
		return fmt.Errorf("templates: no page %q in %q", page, language)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// StyleSource and ScriptSource are the source expressions that allow the pages' own style and script, and no other.
func (s *Set) StyleSource() string { return hashSource(s.style) }

// ScriptSource is what StyleSource is, for the script.
func (s *Set) ScriptSource() string { return hashSource(s.script) }

// Asset is a file that a page loads by its name; ok is false when there is none.
func (s *Set) Asset(name string) (content []byte, ok bool) {
	content, ok = s.assets[name]
	return content, ok
}

// overlay is the embedded files with some of them replaced.
type overlay struct {
	under fs.FS
	over  fs.FS // nil: none
}

// read reads portal/x as x of the folder of replacements, if it is there.
func (o overlay) read(name string) (string, error) {
	if text, err := o.optional(strings.TrimPrefix(name, "portal/")); err != nil || text != "" {
		return text, err
	}
	text, err := fs.ReadFile(o.under, name)
	if err != nil {
		return "", fmt.Errorf("templates: %w", err)
	}
	return string(text), nil
}

// strangers tells of files in the folder of replacements that nothing reads, though they look as if: a name with a slip.
func (o overlay) strangers() error {
	return fs.WalkDir(o.over, ".", func(name string, d fs.DirEntry, err error) error {
		folder := path.Dir(name)
		if err != nil || d.IsDir() || folder == "assets" || name == "brand.css" {
			return err
		}
		switch path.Ext(name) {
		case ".json":
			if folder == "texts" || folder == "admin/texts" {
				return nil
			}
		case ".html", ".css", ".js":
			ours := name
			if folder == "." {
				ours = "portal/" + name
			}
			if _, err := fs.Stat(o.under, ours); err == nil {
				return nil
			}
		default:
			return nil
		}
		return fmt.Errorf("templates: branding: nothing reads %s", name)
	})
}

// optional reads a file of the folder of replacements; what is not there is empty.
func (o overlay) optional(name string) (string, error) {
	if o.over == nil {
		return "", nil
	}
	text, err := fs.ReadFile(o.over, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("templates: branding: %w", err)
	}
	return string(text), nil
}

func (o overlay) parseInto(t *template.Template, name string) error {
	text, err := o.read(name)
	if err != nil {
		return err
	}
	if name == "portal/layout.html" {
		_, err = t.Parse(text)
	} else {
		_, err = t.New(name).Parse(text)
	}
	if err != nil {
		return fmt.Errorf("templates: %s: %w", strings.TrimPrefix(name, "portal/"), err)
	}
	return nil
}

// readAssets reads the folders of files that pages load by name.
func (s *Set) readAssets(source overlay) error {
	for _, from := range []struct {
		fs  fs.FS
		dir string
	}{{source.under, "portal/assets"}, {source.over, "assets"}} {
		if from.fs == nil {
			continue
		}
		entries, err := fs.ReadDir(from.fs, from.dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("templates: %w", err)
		}
		for _, e := range entries {
			if s.assets[e.Name()], err = fs.ReadFile(from.fs, from.dir+"/"+e.Name()); err != nil {
				return fmt.Errorf("templates: %w", err)
			}
		}
	}
	return nil
}
