package admin

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

// found is what a pattern finds in the sources that a glob names, without tests.
func found(t *testing.T, glob, pattern string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatal(glob, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			if !strings.HasSuffix(file, "_test.go") {
				list = append(list, string(m[1]))
			}
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s: nothing is like %s", glob, pattern)
	}
	return list
}

// Whatever the other packages call by a code or a word that pages show has a text, and no text is for what nobody says.
func TestEveryWordHasAText(t *testing.T) {
	audited := append(found(t, "../audit/audit.go", `(?m)^\t\w+ += "(.+?)"`), found(t, "../portal/portal.go", ` Action = "(.+?)"`)...)
	audited = append(audited, accountChanged)
	kinds := append(slices.Clone(authn.Kinds()), authn.OK)
	named := []string{"refused", "throttled"}
	for _, k := range kinds {
		named = append(named, k.String())
	}
	for name, one := range map[string]struct {
		texts map[string]string
		said  []string
	}{
		"actions":  {actionText, slices.DeleteFunc(audited, func(a string) bool { return a == "break-glass " })},
		"kinds":    {kindText, named},
		"factors":  {factorText, found(t, "../authn/authn.go", `Factor(?:Password|TOTP|Recovery|FrontEnd|IdP|IdPMFA|Token) += "(\w+)"`)},
		"checks":   {checkText, append(found(t, "../insight/steps.go", ` = check\{"(.+?)"`), "decision")},
		"passed":   {saidText, found(t, "../insight/steps.go", `(?:plain\(|quoting\(|said\{)"(\w+)"`)},
		"charts":   {chartWords, found(t, "../insight/chart.go", `\bsay\("(\w+)"`)},
		"states":   {runStateText, found(t, "../itusers/run.go", `RunState = "(\w+)"`)},
		"rows":     {rowActionText, found(t, "../itusers/run.go", `RowAction = "(\w+)"`)},
		"outcomes": {outcomeText, found(t, "../insight/story.go", `Outcome = "(.+?)"`)},
	} {
		for _, code := range one.said {
			if one.texts[code] == "" {
				t.Errorf("%s: %q has no text", name, code)
			}
		}
		for code := range maps.Keys(one.texts) {
			if !slices.Contains(one.said, code) {
				t.Errorf("%s: nobody says %q", name, code)
			}
		}
	}
	ends := append(found(t, "../cmd/idbridge/expiry.go", `\badd\("(.+?)"`), found(t, "../cmd/idbridge/expiry.go", `"(?:idp|own|metadata)": "(.+?)"`)...)
	ends = append(ends, found(t, "../providers/*/*.go", `authn\.End\{What: "(.+?)"`)...)
	for _, what := range ends {
		if _, ok := endingText[what]; !ok && what != "certificate shown by " {
			t.Errorf("endings: %q has no text", what)
		}
	}
	wrong := append(found(t, "../itusers/*.go", `\bproblem\((?:[^"\n]*,)?\s*"((?:[^"\\]|\\.)+)"`), found(t, "../itusers/*.go", `\{(?:line|0), "(.+?)",\s+\[\]any`)...)
	for i, format := range wrong {
		wrong[i] = strings.ReplaceAll(format, `\"`, `"`)
		if problemText[wrong[i]] == "" {
			t.Errorf("problems: %q has no text", wrong[i])
		}
	}
	for format := range problemText {
		if !slices.Contains(wrong, format) {
			t.Errorf("problems: nobody says %q", format)
		}
	}
	for _, stage := range found(t, "../itusers/run.go", `(?m)^\tStage\w+ += "(.+?)"`) {
		if _, ok := stageText[stage]; !ok && stage != "accounts of " {
			t.Errorf("stages: %q has no text", stage)
		}
	}
}
