package mirrorengine

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logKeys are all attributes that the engine logs by; DESIGN.md says what the
// first ones mean. Whoever searches the log searches by these.
var logKeys = strings.Fields(`
	link topic partition group pair run_id task who decided_by
	error reason code stack panic after took pause
	method path status from to
	broker brokers refused_by of_link entries refused records superseded topics partitions changes entries_elsewhere entry
	authorizer super_user allow_everyone_if_no_acl_found canary no_guard_because
	links leading address session shard
	source_cluster_id reachable force writer_fence
`)

func TestTheLogHasFixedKeys(t *testing.T) {
	methods := []string{"Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "With"}
	unused := slices.Clone(logKeys)
	calls := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(methods, sel.Sel.Name) || !logs(sel.X) {
				return true
			}
			args := call.Args
			switch {
			case sel.Sel.Name == "Log":
				args = args[3:]
			case strings.HasSuffix(sel.Sel.Name, "Context"):
				args = args[2:]
			case sel.Sel.Name != "With":
				args = args[1:]
			}
			calls++
			for i := 0; i < len(args); i += 2 {
				lit, ok := args[i].(*ast.BasicLit)
				if !ok {
					t.Errorf("%s: a key is not written out", files.Position(args[i].Pos()))
					continue
				}
				key, _ := strconv.Unquote(lit.Value)
				unused = slices.DeleteFunc(unused, func(k string) bool { return k == key })
				if !slices.Contains(logKeys, key) {
					t.Errorf("%s: %q is no key of the log; take one of logKeys, or add it there", files.Position(lit.Pos()), key)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || calls < 40 {
		t.Fatalf("%d calls found, error %v", calls, err)
	}
	t.Logf("%d calls; only by other ways: %q", calls, unused)
}

// logs tells whether an expression is a logger by its name: log, Logger, x.log.
func logs(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log" || x.Name == "logger"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "Logger"
	}
	return false
}
