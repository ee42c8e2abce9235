// Package layout_test keeps the architecture readable from the tree: who may import whom, and which outside library is
// used in which room. docs/architecture.md explains the rules; a rule that is wrong is changed here, in the open.
package layout_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/idbridge/idbridge/"

// mayImport lists, for each package of ours, the packages of ours that it may import outside of its tests. A package that
// is not listed fails the test: a new package is a decision.
var mayImport = map[string][]string{
	"authn":           {},
	"authn/authntest": {"authn"},
	"keyring":         {},
	"strictyaml":      {},
	"strictxml":       {},
	"platform":        {},
	"altcha":          {},
	"demodir":         {},
	"mfa":             {"authn"},
	"plugin":          {"authn", "strictxml", "templates"},
	"templates":       {},
	"docs":            {},
	"itusers":         {"authn"},
	"audit":           {"authn"},
	"providers/ldap":  {"authn"},
	"providers/local": {"authn"},
	"providers/saml":  {"authn", "strictxml"},
	"store":           {"authn", "audit", "insight", "itusers", "itusers/lifetime", "keyring", "mfa", "providers/local", "providers/saml", "revision", "webhook"},
	"cmd/idbridge":    {"*"},

	"providers/activedirectory": {"authn", "providers/ldap"},
	"providers/azuread":         {"authn", "providers/saml"},

	"portal": {"altcha", "authn", "mfa", "templates"},

	// Administration: docs/adr/0003-administration.md.
	"admin":              {"audit", "authn", "docs", "insight", "itusers", "mfa", "portal", "revision", "templates"},
	"revision":           {"authn"},
	"insight":            {"audit", "authn", "docs"}, // a sign-in is explained in the documentation's words
	"webhook":            {"audit", "authn"},
	"itusers/lifetime":   {"authn", "itusers"},
	"itusers/platformdb": {"authn", "itusers"},

	// For tests and measurements only.
	"testenv":             {},
	"testenv/soapclients": {},
	"testenv/chromium":    {"testenv"},
	"testenv/entra":       {"testenv"},
	"testenv/lifetime":    {"testenv"},
	"testenv/mutation":    {},
	"bench":               {"authn", "itusers", "keyring", "mfa", "store", "testenv"}, // enrols people for the portal
	"e2e":                 {},
}

// onlyForTests are packages that no package of the product may import.
var onlyForTests = []string{"testenv", "testenv/soapclients", "testenv/chromium", "testenv/entra", "testenv/lifetime", "testenv/mutation", "authn/authntest", "bench", "e2e"}

// rooms says which package of ours may import an outside library; everything else outside the standard library is
// allowed where docs/dependencies.md says so.
var rooms = map[string][]string{
	"github.com/go-ldap/ldap/v3":          {"providers/ldap", "bench"},
	"github.com/pquerna/otp":              {"mfa"},
	"github.com/boombuler/barcode":        {"mfa"},
	"modernc.org/sqlite":                  {"store"},
	"github.com/jackc/pgx/v5":             {"store", "itusers/platformdb"}, // the platform's database may be PostgreSQL, too
	"github.com/microsoft/go-mssqldb":     {"itusers/platformdb"},
	"github.com/sijms/go-ora/v2":          {"itusers/platformdb"},
	"github.com/pressly/goose/v3":         {"store"},
	"github.com/goccy/go-yaml":            {"strictyaml"},
	"github.com/spf13/cobra":              {"cmd/idbridge"},
	"github.com/prometheus/client_golang": {"cmd/idbridge"},
	"github.com/jimlambrt/gldap":          {"demodir"},
	"github.com/hashicorp/go-hclog":       {"demodir"},
	"golang.org/x/crypto":                 {"providers/local"},
	"golang.org/x/text":                   {"authn"},
	"github.com/russellhaering/goxmldsig": {"providers/saml"},
	"github.com/beevik/etree":             {"providers/saml"},
	"github.com/crewjam/saml":             {"providers/saml"},
	"github.com/coreos/go-oidc/v3":        {"providers/azuread"},
	"github.com/go-jose/go-jose/v4":       {"providers/azuread"},
	"golang.org/x/oauth2":                 {"providers/azuread"},
	"github.com/gorilla/sessions":         {"portal"},
	"github.com/chromedp":                 {"testenv/chromium"},
	"golang.org/x/term":                   {"cmd/idbridge"},
}

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

func TestWhoImportsWhom(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath+"/" == module {
			continue // only this test
		}
		allowed, known := mayImport[p.name()]
		if !known {
			t.Errorf("%s: a package the layout does not know; add it to mayImport and docs/architecture.md", p.name())
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok {
				checkOurs(t, p.name(), ours, allowed)
			} else if strings.Contains(strings.Split(i, "/")[0], ".") {
				checkOutside(t, p.name(), i)
			}
		}
	}
}

func checkOurs(t *testing.T, from, to string, allowed []string) {
	t.Helper()
	if slices.Contains(onlyForTests, to) && !slices.Contains(onlyForTests, from) {
		t.Errorf("%s imports %s, which is for tests only", from, to)
	}
	if !slices.Contains(allowed, to) && !slices.Contains(allowed, "*") {
		t.Errorf("%s may not import %s", from, to)
	}
}

func checkOutside(t *testing.T, from, to string) {
	t.Helper()
	for library, room := range rooms {
		if to == library || strings.HasPrefix(to, library+"/") {
			if !slices.Contains(room, from) {
				t.Errorf("%s imports %s, whose room is %v", from, to, room)
			}
			return
		}
	}
	t.Errorf("%s imports %s, which has no room yet: add it to rooms and to docs/dependencies.md", from, to)
}

func TestTheCoreKnowsNoAdapter(t *testing.T) {
	for _, p := range packages(t) {
		if p.name() != "authn" {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "net/http") || strings.HasPrefix(i, "database/") || strings.HasPrefix(i, "encoding/xml") {
				t.Errorf("authn imports %s", i)
			}
		}
	}
}

func TestNoDrawerPackages(t *testing.T) {
	drawers := []string{"internal", "pkg", "utils", "util", "common", "models", "types", "helpers"}
	for _, p := range packages(t) {
		for _, part := range strings.Split(p.name(), "/") {
			if slices.Contains(drawers, part) {
				t.Errorf("%s: a package named %q says nothing about its reason", p.name(), part)
			}
		}
	}
}

// TestHabits finds what reviewers should not have to: global registration, the default HTTP client, skipped tests.
func TestHabits(t *testing.T) {
	habits := map[string]*regexp.Regexp{
		"init() registers behind the reader's back": regexp.MustCompile(`(?m)^func init\(\)`),
		"http.DefaultClient has no deadline":        regexp.MustCompile(`http\.(DefaultClient|DefaultServeMux|Get\(|Post\(|HandleFunc\()`),
		"a skipped test tests nothing":              regexp.MustCompile(`\b[tb]b?\.Skip(f|Now)?\(`),
	}
	for _, file := range goFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for why, pattern := range habits {
			if at := pattern.FindString(string(text)); at != "" && file != "layout_test.go" {
				t.Errorf("%s: %q: %s", file, at, why)
			}
		}
	}
}

func goFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// reason finds the stable codes of refusals where they are given.
var reason = regexp.MustCompile(
	`(?:Reason: |Errorf\(authn\.\w+, |Errorf\([A-Z]\w+, |\breason\w*\s+= |\b(?:refuse|badMetadata)\()"([a-z]+_[a-z_]+)"`)

// TestEveryReasonIsExplained: what an operator reads in the audit stands in docs/errors.md.
func TestEveryReasonIsExplained(t *testing.T) {
	doc, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "authn/authntest/") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reason.FindAllSubmatch(text, -1) {
			if !strings.Contains(string(doc), "`"+string(m[1])+"`") {
				t.Errorf("%s gives the reason %q, which docs/errors.md does not explain", file, m[1])
			}
		}
	}
}
