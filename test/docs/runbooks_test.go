package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// runbookPages are the pages for 3 a.m.; each names every step of these files of package workflows, and those of the files
// that it shares with others.
var runbookPages = map[string][]string{
	"setup":      {"setup.go"},
	"failover":   {"failover.go", "locks.go", "clientwaves.go"},
	"switchover": {"switchover.go", "planned.go", "clientwaves.go"},
	"recover":    {"recover.go"},
	"failback":   {"failback.go", "protect.go"},
	"restore":    {"restore.go", "protect.go"},
	"drill":      {"drill.go", "drill_canary.go"},
	"unfence":    {"unfence.go"},
	"readiness":  nil,
	"debts":      nil,
}

// Somebody who reads a step's name in the status at 3 a.m. finds it in the page of the runbook, and no page speaks of a step
// that the code does not have.
func TestTheRunbookPagesNameTheStepsThatTheCodeHas(t *testing.T) {
	byFile := stepsInCode(t)
	var all []string
	for _, names := range byFile {
		all = append(all, names...)
	}
	if len(all) < 70 {
		t.Fatalf("only %d steps were found in package workflows: it is not read rightly", len(all))
	}
	// What each run has: reading, approval, locks.
	common := named(t, "docs/runbooks/README.md")
	told := slices.Clone(common)
	for page, files := range runbookPages {
		names := named(t, "docs/runbooks/"+page+".md")
		told = append(told, names...)
		for _, file := range files {
			for _, step := range byFile[file] {
				if page == "restore" && step == "approve rebuild" {
					continue // what failback calls it, which asks twice
				}
				if !slices.Contains(names, step) && !slices.Contains(common, step) {
					t.Errorf("docs/runbooks/%s.md does not name the step %q of workflows/%s", page, step, file)
				}
			}
		}
	}
	for _, step := range slices.Compact(slices.Sorted(slices.Values(all))) {
		if !slices.Contains(told, step) {
			t.Errorf("no page of docs/runbooks names the step %q", step)
		}
	}
	for _, step := range slices.Compact(slices.Sorted(slices.Values(told))) {
		if !slices.Contains(all, step) {
			t.Errorf("a page of docs/runbooks has a row for the step %q, which the code does not have", step)
		}
	}
}

// The lines of a dry run are steps too, in a few words more: whoever compares finds them.
func TestTheRunbookPagesNameTheLinesOfADryRun(t *testing.T) {
	p := runbook.Plan{Pair: "orders", Pipelines: []runbook.Pipeline{{}}}
	link, back := runbook.Link{Name: "LINK", Source: "SITE", Destination: "SITE"}, runbook.Link{Name: "LINK", Source: "SITE", Destination: "SITE"}
	away := runbook.AwayPlan{Open: []string{"a"}, Rebuild: []string{"b"}}
	for page, steps := range map[string][]runbook.PlannedStep{
		"failover":   runbook.FailoverSteps(p, link, []string{"a"}, runbook.Forecast{}, nil),
		"switchover": runbook.SwitchoverSteps(p, link, back, runbook.MoveForecast{}),
		"failback":   runbook.FailbackSteps(p, link, away, runbook.CopySize{}),
		"restore":    runbook.RestoreSteps(p, link, away, runbook.CopySize{}),
	} {
		text := read(t, "docs/runbooks/"+page+".md")
		if page == "failback" {
			text += read(t, "docs/runbooks/switchover.md") // whose move it ends with
		}
		for _, s := range steps {
			name := strings.ReplaceAll(s.Name, "wave 1", "wave N")
			if !strings.Contains(text, "`"+name+"`") && !slices.Contains(named(t, "docs/runbooks/README.md"), placeholders.ReplaceAllString(name, "*")) {
				t.Errorf("docs/runbooks/%s.md does not name %q of the dry run", page, name)
			}
		}
	}
}

// Phases, what a run waits for, what people may say, overrides: the common page has them all.
func TestTheCommonPageNamesWhatARunCanSay(t *testing.T) {
	text := read(t, "docs/runbooks/README.md")
	consts := constants(t)
	n := 0
	for name, value := range consts {
		for _, prefix := range []string{"Phase", "Wait", "Update", "Override"} {
			if strings.HasPrefix(name, prefix) && value != "" {
				n++
				if !strings.Contains(text, "`"+value+"`") {
					t.Errorf("docs/runbooks/README.md does not name %q (%s)", value, name)
				}
			}
		}
	}
	for name, value := range consts {
		if strings.HasPrefix(name, "Part") && name != "Partly" && !regexp.MustCompile(`(?m)^\|[^|]*\b`+value+`\b`).MatchString(read(t, "docs/runbooks/readiness.md")) {
			t.Errorf("docs/runbooks/readiness.md has no row for the check %q", value)
		}
	}
	if n < 30 {
		t.Errorf("only %d constants were looked at", n)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| override").FindAllStringSubmatch(text, -1) {
		if runbook.OverrideMeaning(m[1]) == "" && m[1] != runbook.OverrideRebuild {
			t.Errorf("docs/runbooks/README.md names the override %q, which is none", m[1])
		}
	}
	for page := range runbookPages {
		for _, want := range []string{"## Before", "## During", "## After"} {
			if !strings.Contains(read(t, "docs/runbooks/"+page+".md"), "\n"+want+"\n") {
				t.Errorf("docs/runbooks/%s.md has no %q", page, want)
			}
		}
	}
}

// placeholders in a page's step names: SITE, LINK, OP, TOPIC, N.
var placeholders = regexp.MustCompile(`\b[A-Z][A-Z]+\b|\bN\b`)

// named are the steps of a page: the first cells, in code, of tables headed "step".
func named(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	in := false
	for line := range strings.Lines(read(t, page)) {
		switch {
		case strings.HasPrefix(line, "| step |"):
			in = true
		case !strings.HasPrefix(line, "|"):
			in = false
		case in:
			first, _, _ := strings.Cut(line[1:], " | ")
			for _, s := range span.FindAllString(first, -1) {
				out = append(out, placeholders.ReplaceAllString(strings.Trim(s, "`"), "*"))
			}
		}
	}
	return out
}

// stepsInCode are the names that package workflows gives to steps, by file; "*" stands for what a run fills in.
func stepsInCode(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "workflows", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	// Methods that give their name on to do, and which argument that is.
	takes := map[string]int{"do": 1, "must": 1, "step": 1, "approve": 1, "moveWave": 1, "caughtUp": 1, "caughtUpAs": 1, "mirrorAs": 1, "compareAs": 1, "own": 1}
	out := map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, d := range parsed.Decls {
			for name, value := range constantsOf(d) { // a step's name that others use too
				if used(parsed, name) {
					names[value] = true
				}
			}
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if i, named := takes[nameOf(sel, ok)]; named && len(call.Args) > i {
					for _, name := range texts(call.Args[i], f) {
						if strings.Trim(name, "* ") != "" {
							names[name] = true
						}
					}
				}
				return true
			})
		}
		out[filepath.Base(file)] = slices.Sorted(maps.Keys(names))
	}
	return out
}

func nameOf(sel *ast.SelectorExpr, ok bool) string {
	if !ok {
		return ""
	}
	return sel.Sel.Name
}

// texts are what an expression may be as text, in a function that may have given it a name before.
func texts(e ast.Expr, f *ast.FuncDecl) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return []string{s}
		}
	case *ast.BinaryExpr:
		var out []string
		for _, l := range texts(e.X, f) {
			for _, r := range texts(e.Y, f) {
				out = append(out, l+r)
			}
		}
		return out
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sprintf" && len(e.Args) > 0 {
			var out []string
			for _, s := range texts(e.Args[0], f) {
				out = append(out, regexp.MustCompile(`%[a-z]`).ReplaceAllString(s, "*"))
			}
			return out
		}
	case *ast.Ident:
		return assigned(e.Name, f)
	case *ast.SelectorExpr:
		if e.Sel.Name == "name" { // of a table in the same function
			return tabled(f)
		}
		if e.Sel.Name == "Step" {
			return append(called(f), set("Step", f)...)
		}
	}
	return []string{"*"}
}

// assigned are the values that a name is given in a function; a parameter is anything.
func assigned(name string, f *ast.FuncDecl) []string {
	var out []string
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for i, l := range a.Lhs {
				if id, ok := l.(*ast.Ident); ok && id.Name == name {
					if self, ok := a.Rhs[i].(*ast.Ident); !ok || self.Name != name {
						out = append(out, texts(a.Rhs[i], f)...)
					}
				}
			}
		}
		return true
	})
	if len(out) == 0 {
		return []string{"*"}
	}
	return out
}

// set are the texts that a field is set to in a function.
func set(field string, f *ast.FuncDecl) []string {
	var out []string
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for i, l := range a.Lhs {
				if sel, ok := l.(*ast.SelectorExpr); ok && sel.Sel.Name == field {
					out = append(out, texts(a.Rhs[i], f)...)
				}
			}
		}
		return true
	})
	return out
}

// tabled are the first texts of the rows of a table in a function.
func tabled(f *ast.FuncDecl) []string {
	var out []string
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CompositeLit); ok && c.Type == nil && len(c.Elts) > 0 {
			if lit, ok := c.Elts[0].(*ast.BasicLit); ok {
				out = append(out, texts(lit, f)...)
			}
		}
		return true
	})
	return out
}

// called are the names given to s.call in a function.
func called(f *ast.FuncDecl) []string {
	var out []string
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && len(c.Args) == 1 {
			if sel, ok := c.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "call" {
				if b, ok := c.Args[0].(*ast.BinaryExpr); ok {
					out = append(out, texts(b, f)...)
				}
			}
		}
		return true
	})
	return out
}

// constants are those of text in packages workflows and runbook, by name.
func constants(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"workflows/messages.go", "workflows/runbook/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				maps.Copy(out, constantsOf(d))
			}
		}
	}
	return out
}

func constantsOf(d ast.Decl) map[string]string {
	out := map[string]string{}
	g, ok := d.(*ast.GenDecl)
	if !ok || g.Tok != token.CONST {
		return nil
	}
	for _, s := range g.Specs {
		v, ok := s.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, n := range v.Names {
			if i < len(v.Values) {
				if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					out[n.Name], _ = strconv.Unquote(lit.Value)
				}
			}
		}
	}
	return out
}

// used tells whether a constant is the name of a step in a file.
func used(file *ast.File, name string) bool {
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 1 {
			sel, ok := call.Fun.(*ast.SelectorExpr)
			id, is := call.Args[1].(*ast.Ident)
			found = found || is && id.Name == name && slices.Contains([]string{"do", "must", "step"}, nameOf(sel, ok))
		}
		return !found
	})
	return found
}
