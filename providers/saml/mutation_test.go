//go:build mutation

package saml

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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// judgeFiles hold every check of an answer.
var judgeFiles = []string{
	"tree.go", "gate.go", "signature.go", "encrypted.go", "checks.go", "replay.go", "inflate.go", "judge.go",
}

// spare are checks that no test can miss, because another one holds too or because they only make an error clearer. Each
// says which.
var spare = map[string]string{
	"verify: got != id || !is(signed, e.NamespaceURI(), e.Tag)": "goxmldsig verified this element; another one would be its bug",
	"verify: got != id":                            "the same",
	"verify: !is(signed, e.NamespaceURI(), e.Tag)": "the same",
	"signer: err != nil":                           "of canonicalisation: the gate lets nothing through that has no canonical form",
	"decrypt: err != nil":                          "without a key, its size is wrong",
	"openGCM: err != nil":                          "the size of the key was checked",
	"openCBC: err != nil":                          "the size of the key was checked",
}

// mutant is the package with one condition made ineffective.
type mutant struct {
	file, what string
	source     []byte
}

// TestMutants (make mutate) takes one check at a time out of the package: a whole condition, one part of one, one entry of
// the list of checks. Each time some test must fail. It takes minutes, so it is not part of make test.
func TestMutants(t *testing.T) {
	for _, file := range judgeFiles {
		t.Run(file, func(t *testing.T) {
			var killed, broken, spared atomic.Int32
			var queue sync.WaitGroup
			work := make(chan mutant)
			for range runtime.NumCPU() {
				queue.Go(func() {
					for m := range work {
						switch by := m.killer(t); {
						case by == "does not compile":
							broken.Add(1)
						case by != "":
							killed.Add(1)
						case spare[m.what] != "":
							spared.Add(1)
						default:
							t.Errorf("nothing fails without %s", m.what)
						}
					}
				})
			}
			mutants := mutate(t, file)
			for _, m := range mutants {
				work <- m
			}
			close(work)
			queue.Wait()
			t.Logf("%s: %d checks taken out: %d noticed, %d spare, %d do not compile", file, len(mutants), killed.Load(), spared.Load(), broken.Load())
		})
	}
}

// mutate makes the mutants of one file.
func mutate(t *testing.T, file string) (all []mutant) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, file, source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		what := weaken(set, tree, n)
		if what == "" {
			return all
		}
		var b bytes.Buffer
		if err := printer.Fprint(&b, set, tree); err != nil {
			t.Fatal(err)
		}
		all = append(all, mutant{file, what, b.Bytes()})
	}
}

// weaken takes the n-th check out of a file and says which it was.
func weaken(set *token.FileSet, file *ast.File, n int) (what string) {
	function := ""
	hit := func(e ast.Expr) bool {
		if n--; n != -1 {
			return false
		}
		what = fmt.Sprintf("%s: %s", function, spelled(set, e))
		return true
	}
	var condition func(e ast.Expr, refuses bool) ast.Expr
	condition = func(e ast.Expr, refuses bool) ast.Expr {
		if hit(e) {
			return fixed(e, !refuses)
		}
		if b, ok := e.(*ast.BinaryExpr); ok && (b.Op == token.LOR || b.Op == token.LAND) {
			b.X = part(condition, b.Op, b.X, refuses)
			b.Y = part(condition, b.Op, b.Y, refuses)
		}
		return e
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			function = node.Name.Name
		case *ast.IfStmt:
			if refusing(node.Body.List) {
				node.Cond = condition(node.Cond, true)
			}
		case *ast.SwitchStmt:
			for _, c := range node.Body.List {
				c := c.(*ast.CaseClause)
				for i := range c.List {
					if node.Tag == nil && refusing(c.Body) {
						c.List[i] = condition(c.List[i], true)
					}
				}
			}
		case *ast.CompositeLit:
			if function == "checks" {
				for i, e := range node.Elts {
					if hit(e) {
						node.Elts[i] = &ast.FuncLit{Type: node.Type.(*ast.ArrayType).Elt.(*ast.FuncType), Body: &ast.BlockStmt{
							List: []ast.Stmt{&ast.ReturnStmt{Results: []ast.Expr{ast.NewIdent("nil")}}}}}
					}
				}
			}
		case *ast.ReturnStmt: // of a predicate
			for i, r := range node.Results {
				if b, ok := r.(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
					node.Results[i] = condition(b, b.Op == token.LOR)
				}
			}
		}
		return what == ""
	})
	return what
}

// part takes one side out of a && b or a || b, so that the other alone decides.
func part(condition func(ast.Expr, bool) ast.Expr, op token.Token, e ast.Expr, refuses bool) ast.Expr {
	if p, ok := e.(*ast.ParenExpr); ok {
		e = p.X
	}
	if b, ok := e.(*ast.BinaryExpr); ok && (b.Op == token.LOR || b.Op == token.LAND) {
		return &ast.ParenExpr{X: condition(b, (op == token.LOR) == refuses == refuses)}
	}
	return condition(e, op == token.LOR)
}

// fixed is an expression that is still evaluated, but always has one value.
func fixed(e ast.Expr, value bool) ast.Expr {
	op, constant := token.LAND, "false"
	if value {
		op, constant = token.LOR, "true"
	}
	return &ast.ParenExpr{X: &ast.BinaryExpr{X: &ast.ParenExpr{X: e}, Op: op, Y: ast.NewIdent(constant)}}
}

// refusing tells whether statements end in a return of something else than only nil: a refusal.
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

func spelled(set *token.FileSet, node any) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, set, node)
	return strings.Join(strings.Fields(b.String()), " ")
}

var failed = regexp.MustCompile(`--- FAIL: (\S+)`)

// killer is the test that fails with the mutant in the place of its file.
func (m mutant) killer(t *testing.T) string {
	dir := t.TempDir()
	replaced, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	here, err := filepath.Abs(m.file)
	if err != nil {
		t.Error(err)
	}
	mapping, _ := json.Marshal(map[string]any{"Replace": map[string]string{here: replaced}})
	if os.WriteFile(replaced, m.source, 0o600) != nil || os.WriteFile(overlay, mapping, 0o600) != nil {
		t.Error("cannot write the mutant")
	}
	out, err := exec.Command("go", "test", "-overlay", overlay, "-vet=off", "-failfast",
		"-run", "TestAttacks|TestAccepted|TestReplay|TestWithoutAnExpectation|TestWhatIsRead|TestDecode|TestGate|TestStrong|TestOpenCBC", ".").CombinedOutput()
	switch all := failed.FindAllSubmatch(out, -1); {
	case err == nil:
		return ""
	case strings.Contains(string(out), "[build failed]"):
		return "does not compile"
	case len(all) > 0:
		return string(all[len(all)-1][1])
	}
	return "panic"
}
