package deps

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goPackage is the part of `go list -json` that rules need.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Error      *struct{ Err string }
}

// graph is every package that the product's non-test code reaches, by import path.
type graph map[string]goPackage

// load asks the go command, from the root of the module.
func load(t *testing.T) graph {
	t.Helper()
	// -e: a package that does not compile yet still tells what it imports.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Error", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	g := graph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatalf("go list's answer: %v", err)
		}
		if p.Error != nil && under(p.ImportPath, module) {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		g[p.ImportPath] = p
	}
}

func TestEveryRoomImportsOnlyWhatItsRuleAllows(t *testing.T) {
	for _, fault := range check(load(t), rules) {
		t.Error(fault)
	}
}

// The checker is tried on a small made-up product, so that a rule that never bites is not taken for a clean product.
func TestTheCheckerFindsEachKindOfFault(t *testing.T) {
	pkg := func(imports ...string) goPackage { return goPackage{Imports: imports} }
	g := graph{
		module + "/pure":       pkg("time", module+"/middle"),
		module + "/middle":     pkg("example.test/lib"),
		module + "/free":       pkg("fmt"),
		module + "/later":      pkg(),
		module + "/newcomer":   pkg(),
		module + "/tool/small": pkg("example.test/lib/sub"),
		module + "/test/deps":  pkg("os/exec"),
		"example.test/lib":     pkg("net"),
		"example.test/lib/sub": pkg(),
		"net":                  {Standard: true, Imports: []string{"fmt"}},
		"fmt":                  {Standard: true},
		"time":                 {Standard: true},
		"os/exec":              {Standard: true},
	}
	got := check(g, []rule{
		{room: "pure", never: []ban{{"net", "no sockets"}}},
		{room: "middle", direct: []string{"example.test/lib"}},
		{room: "free"},
		{room: "gone"},
		{room: "later", absent: "comes in spring"},
		{room: "never", absent: "comes in autumn"},
		{room: "tool/..."},
	})
	want := []string{
		"gone: has a rule but no package: was it renamed or not written? A room of a later issue is marked absent",
		"later: is marked absent (comes in spring) but exists: write its rule",
		"newcomer: has no rule: add one to rules_test.go",
		"pure: reaches middle, which its rule does not allow: pure → middle",
		"pure: reaches net by pure → middle → example.test/lib → net: no sockets",
		"tool/small: imports example.test/lib/sub, which its rule does not allow",
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// under reports whether path is pkg or lies below it.
func under(path, pkg string) bool { return path == pkg || strings.HasPrefix(path, pkg+"/") }
