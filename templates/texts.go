package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// fallback is the language that has every text.
const fallback = "en"

// texts are all texts of all languages.
type texts struct {
	order []string // of the languages: the fallback first
	by    map[string]map[string]string
}

// Language is one that the pages can be shown in.
type Language struct{ Code, Name string }

// readTexts reads texts/CODE.json of the embedded files and of the folder of replacements, which may change single texts
// and add languages. Every language must have every text. For admin, the texts of admin/texts come to them and over them, and
// only languages that are there too are kept.
func readTexts(source overlay, admin bool) (texts, error) {
	t := texts{by: map[string]map[string]string{}}
	for _, from := range []fs.FS{source.under, source.over} {
		if _, err := t.readAll(from, "texts"); err != nil {
			return t, err
		}
	}
	if admin {
		ours, err1 := t.readAll(source.under, "admin/texts")
		theirs, err2 := t.readAll(source.over, "admin/texts")
		if err := errors.Join(err1, err2); err != nil {
			return t, err
		}
		maps.DeleteFunc(t.by, func(code string, _ map[string]string) bool {
			return !slices.Contains(ours, code) && !slices.Contains(theirs, code)
		})
	}
	t.order = slices.Sorted(maps.Keys(t.by))
	t.order = append([]string{fallback}, slices.DeleteFunc(t.order, func(c string) bool { return c == fallback })...)
	return t, t.check()
}

// readAll reads the files of a folder, and returns the languages.
func (t texts) readAll(from fs.FS, folder string) (codes []string, err error) {
	if from == nil {
		return nil, nil
	}
	names, err := fs.Glob(from, folder+"/*.json")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	for _, name := range names {
		if err := t.read(from, name); err != nil {
			return nil, err
		}
		codes = append(codes, strings.TrimSuffix(path.Base(name), ".json"))
	}
	return codes, nil
}

func (t texts) read(from fs.FS, name string) error {
	content, err := fs.ReadFile(from, name)
	if err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	var some map[string]string
	if err := json.Unmarshal(content, &some); err != nil {
		return fmt.Errorf("templates: %s: %w", name, err)
	}
	code := strings.TrimSuffix(path.Base(name), ".json")
	if t.by[code] == nil {
		t.by[code] = map[string]string{}
	}
	maps.Copy(t.by[code], some)
	return nil
}

// check compares every language with the fallback.
func (t texts) check() error {
	var errs []error
	for _, code := range t.order {
		for _, key := range slices.Sorted(maps.Keys(t.by[fallback])) {
			text := t.by[fallback][key]
			other, ok := t.by[code][key]
			switch {
			case !ok:
				errs = append(errs, fmt.Errorf("templates: texts/%s.json lacks %q", code, key))
			case places(other) != places(text):
				errs = append(errs, fmt.Errorf("templates: texts/%s.json: %q has other {0} places than in English", code, key))
			}
		}
		for _, key := range slices.Sorted(maps.Keys(t.by[code])) {
			if _, ok := t.by[fallback][key]; !ok {
				errs = append(errs, fmt.Errorf("templates: texts/%s.json: nothing shows %q", code, key))
			}
		}
	}
	return errors.Join(errs...)
}

// only keeps some of the languages, in the order given.
func (t *texts) only(languages []string) error {
	for _, code := range languages {
		if t.by[code] == nil {
			return fmt.Errorf("templates: there is no language %q, only %s", code, strings.Join(t.order, ", "))
		}
	}
	if len(languages) > 0 {
		t.order = slices.Clone(languages)
	}
	return nil
}

// known are those of the languages that there are.
func (t *texts) known(languages []string) (list []string) {
	return slices.DeleteFunc(slices.Clone(languages), func(code string) bool { return t.by[code] == nil })
}

// places are the arguments that a text has room for.
func places(text string) (found string) {
	for i := range 10 {
		if p := "{" + strconv.Itoa(i) + "}"; strings.Contains(text, p) {
			found += p
		}
	}
	return found
}

func (t texts) get(language, key string, args ...any) (string, error) {
	text, ok := t.by[language][key]
	if !ok {
		return "", fmt.Errorf("templates: no text %q in %q", key, language)
	}
	pairs := make([]string, 0, 2*len(args))
	for i, a := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", fmt.Sprint(a))
	}
	return strings.NewReplacer(pairs...).Replace(text), nil // in one pass: an argument is never looked into
}

// Text is a text in a language; of an unknown key, the key.
func (s *Set) Text(language, key string, args ...any) string {
	text, err := s.texts.get(language, key, args...)
	if err != nil {
		return key
	}
	return text
}

// Languages are all languages, the one for readers of none of them first.
func (s *Set) Languages() (list []Language) {
	for _, code := range s.texts.order {
		list = append(list, Language{code, s.texts.by[code]["language"]})
	}
	return list
}

// Choose is the language of a reader: the chosen one if there is such, else the best of an Accept-Language header
// (RFC 9110 section 12.5.4), else the first.
func (s *Set) Choose(chosen, accept string) string {
	if slices.Contains(s.texts.order, chosen) {
		return chosen
	}
	best, weight := s.texts.order[0], 0.0
	for i, part := range strings.Split(accept, ",") {
		if i == 32 { // nobody speaks more
			break
		}
		tag, parameter, _ := strings.Cut(part, ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if q > weight && slices.Contains(s.texts.order, primary) {
			best, weight = primary, q
		}
	}
	return best
}
