// Package mutation takes the checks of a package out, one at a time, and looks whether some test misses them. It is what
// make mutate runs, and finds tests that cannot fail.
//
// The package is compiled once, with a switch in front of every check: a condition under which it refuses or goes on to the
// next candidate, each part of one, the parts of what a predicate returns, and each entry of a list of checks. Then its tests
// run once for each switch.
package mutation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Plan says what is taken out, and which tests should miss it.
type Plan struct {
	Files []string // of the package in the working directory
	Tests []string // patterns of tests, the quick ones first: the next pattern is tried where nothing was missed so far
	// Spare are checks that no test can miss, by "function: check", because another one holds too or because they only make
	// an error clearer. Each says which.
	Spare map[string]string
}

// Run fails for each check that no test misses, and for each spare one that is missed after all.
func Run(t *testing.T, p Plan) {
	t.Helper()
	w := &weaver{set: token.NewFileSet()}
	program := w.build(t, p.Files)
	for _, tests := range p.Tests {
		if out := run(program, 0, tests); out != "" {
			t.Fatalf("with every check in its place: %s", out)
		}
	}
	missed := make([]string, len(w.checks))
	work := make(chan int)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for n := range work {
				for i := 0; i < len(p.Tests) && missed[n] == ""; i++ {
					missed[n] = run(program, n+1, p.Tests[i])
				}
			}
		})
	}
	for n := range w.checks {
		work <- n
	}
	close(work)
	workers.Wait()
	report(t, w.checks, missed, p.Spare)
}

func report(t *testing.T, checks, missed []string, spare map[string]string) {
	t.Helper()
	count, used := 0, map[string]bool{}
	for n, check := range checks {
		_, what, _ := strings.Cut(check, ": ")
		switch {
		case missed[n] != "":
			count++
			t.Logf("%s: missed by %s", check, missed[n])
		case spare[what] != "":
			used[what] = true
		default:
			t.Errorf("%s: nothing fails without it", check)
		}
	}
	for what := range spare {
		if !used[what] {
			t.Errorf("%s: is no spare check, or is not there", what)
		}
	}
	t.Logf("%d checks: %d are missed when they are taken out, %d are spare", len(checks), count, len(used))
}

// weaver puts switches into source files.
type weaver struct {
	set      *token.FileSet
	checks   []string // "file: function: check", by the number of the switch less one
	file     string
	function string
}

// build compiles the package's tests with all switches in it.
func (w *weaver) build(t *testing.T, files []string) (program string) {
	t.Helper()
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	put := func(name string, text []byte) {
		replace[filepath.Join(here, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := ""
	for _, file := range files {
		tree, err := parser.ParseFile(w.set, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		name, w.file = tree.Name.Name, file
		ast.Inspect(tree, w.weave)
		var b bytes.Buffer
		if err := printer.Fprint(&b, w.set, tree); err != nil {
			t.Fatal(err)
		}
		put(file, b.Bytes())
	}
	put("zz_mutant.go", []byte("package "+name+switches))
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	put("overlay.json", overlay)
	program = filepath.Join(dir, "tests")
	build := exec.Command("go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-vet=off", "-ldflags=-s -w", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// switches is a file of the package under test.
const switches = `

import "os"

var mutantNow = os.Getenv("MUTANT")

func mutant(n string) bool { return n == mutantNow }

func mutantCheck(n string, f func() error) func() error {
	if mutant(n) {
		return func() error { return nil }
	}
	return f
}
`

// weave puts switches into one node; it is a visitor for ast.Inspect.
func (w *weaver) weave(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.FuncDecl:
		w.function = node.Name.Name
	case *ast.IfStmt:
		if refusing(node.Body.List) {
			node.Cond = w.condition(node.Cond, false)
		}
	case *ast.SwitchStmt:
		if node.Tag == nil {
			w.cases(node.Body.List)
		}
	case *ast.CompositeLit:
		if node.Type != nil && w.spelled(node.Type) == "[]func() error" {
			for i, e := range node.Elts {
				node.Elts[i] = call("mutantCheck", w.number(e), e)
			}
		}
	case *ast.ReturnStmt: // of a predicate
		for i, r := range node.Results {
			if b, ok := r.(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
				node.Results[i] = w.condition(b, b.Op == token.LAND)
			}
		}
	}
	return true
}

// cases puts switches into the refusing cases of a switch without a tag.
func (w *weaver) cases(clauses []ast.Stmt) {
	for _, s := range clauses {
		c := s.(*ast.CaseClause)
		if !refusing(c.Body) {
			continue
		}
		for i := range c.List {
			c.List[i] = w.condition(c.List[i], false)
		}
	}
}

// condition puts a switch on a condition, which makes it a constant, and on each of its parts, which leaves the decision to
// the others.
func (w *weaver) condition(e ast.Expr, constant bool) ast.Expr {
	number := w.number(e)
	inner := e
	for p, ok := inner.(*ast.ParenExpr); ok; p, ok = inner.(*ast.ParenExpr) {
		inner = p.X
	}
	if b, ok := inner.(*ast.BinaryExpr); ok && (b.Op == token.LOR || b.Op == token.LAND) {
		b.X, b.Y = w.condition(b.X, b.Op == token.LAND), w.condition(b.Y, b.Op == token.LAND)
	}
	off := call("mutant", number)
	if constant {
		return &ast.ParenExpr{X: &ast.BinaryExpr{X: &ast.ParenExpr{X: e}, Op: token.LOR, Y: off}}
	}
	return &ast.ParenExpr{X: &ast.BinaryExpr{X: &ast.ParenExpr{X: e}, Op: token.LAND, Y: &ast.UnaryExpr{Op: token.NOT, X: off}}}
}

// number is the name of a new switch.
func (w *weaver) number(of ast.Expr) ast.Expr {
	w.checks = append(w.checks, fmt.Sprintf("%s: %s: %s", w.file, w.function, w.spelled(of)))
	return &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(strconv.Itoa(len(w.checks)))}
}

func call(function string, args ...ast.Expr) ast.Expr {
	return &ast.CallExpr{Fun: ast.NewIdent(function), Args: args}
}

func (w *weaver) spelled(node any) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, w.set, node)
	return strings.Join(strings.Fields(b.String()), " ")
}

// refusing tells whether statements end in a return of something else than only nil, or go on to the next candidate.
func refusing(body []ast.Stmt) bool {
	if len(body) == 0 {
		return false
	}
	r, ok := body[len(body)-1].(*ast.ReturnStmt)
	if !ok {
		_, skips := body[len(body)-1].(*ast.BranchStmt)
		return skips
	}
	for _, result := range r.Results {
		if id, ok := result.(*ast.Ident); !ok || id.Name != "nil" {
			return true
		}
	}
	return false
}

var failed = regexp.MustCompile(`--- FAIL: (\S+)`)

// run runs tests with one switch turned, 0 for none, and tells which of them failed.
func run(program string, number int, tests string) string {
	c := exec.Command(program, "-test.run", tests, "-test.failfast", "-test.timeout", "5m")
	c.Env = append(os.Environ(), "MUTANT="+strconv.Itoa(number))
	out, err := c.CombinedOutput()
	if err == nil {
		return ""
	}
	if all := failed.FindAllSubmatch(out, -1); len(all) > 0 {
		return string(all[len(all)-1][1])
	}
	return fmt.Sprintf("a panic: %.200s", out)
}
