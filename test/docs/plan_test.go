package docs

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

var rewrite = flag.Bool("rewrite", false, "write docs/plan.md anew; review the diff")

// The plan reference is made of package plan: keys and types of its structs, meanings of their comments, defaults of what
// Normalise adds to a plan that has only what it must.
func TestThePlanReferenceIsWhatTheCodeSays(t *testing.T) {
	least := minimalPlan()
	w := &planPage{meaning: comments(t), minimal: asJSON(t, least), needed: needed(least), seen: map[reflect.Type]string{}}
	w.page(t)
	got := w.b.String()
	if *rewrite {
		if err := os.WriteFile(filepath.Join(root, "docs", "plan.md"), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(got, read(t, "docs/plan.md")); diff != "" {
		t.Fatalf("docs/plan.md is not true any more: make docs writes it anew; review it (-code +file)\n%s", diff)
	}
}

// minimalPlan is a plan with what it must have and an entry in each list and section that has defaults, normalised.
func minimalPlan() plan.Plan {
	p := plan.Plan{
		Sites: []plan.Site{{Canary: &plan.Security{}}, {}}, Pipelines: []plan.Pipeline{{}}, Teams: []plan.Team{{}},
		Groups:     []plan.Group{{Kubernetes: []plan.Workloads{{}, {Way: "rollout"}}}},
		BreakGlass: &plan.BreakGlass{}, Bot: &plan.Bot{}, Notify: plan.Notify{SMTP: &plan.SMTP{}},
	}
	p.Sites[0].Name, p.Sites[1].Name = "east", "west"
	p = p.Normalise()
	// The defaults of waves are those of a rollout, the way's own is the other.
	k := p.Groups[0].Kubernetes
	k[0].WaveWorkloads, k[0].HaltPercent = k[1].WaveWorkloads, k[1].HaltPercent
	return p
}

func asJSON(t *testing.T, p plan.Plan) map[string]any {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// needed are the keys that a plan is refused without: what stands there in a minimal one is no default.
func needed(p plan.Plan) map[string]bool {
	out := map[string]bool{}
	if all, ok := p.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			var f plan.Fault
			if errors.As(err, &f) {
				out[f.Key] = true
			}
		}
	}
	return out
}

// comments are the doc comments of package plan: by struct, and by struct and field.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "workflows", "plan", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok {
					structComments(out, ts, g.Doc.Text())
				}
			}
		}
	}
	return out
}

func structComments(out map[string]string, ts *ast.TypeSpec, doc string) {
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return
	}
	out[ts.Name.Name] = oneLine(doc)
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			out[ts.Name.Name+"."+n.Name] = strings.TrimSpace(oneLine(f.Doc.Text()) + " " + oneLine(f.Comment.Text()))
		}
	}
}

func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

type planPage struct {
	b       strings.Builder
	meaning map[string]string
	minimal map[string]any
	needed  map[string]bool
	seen    map[reflect.Type]string // the heading under which a struct stands
}

func (w *planPage) page(t *testing.T) {
	w.b.WriteString(`# Plan reference

<!-- Made of the code by make docs. Do not edit: change the comments of workflows/plan. -->

A plan says what a pair is: its sites, topics, groups, people, and what an approval needs. The file is called ` + "`<pair>.yaml`" + ` and lies in the
worker's plans folder. Unknown keys are errors. ` + "`drctl plan validate FILE`" + ` names every mistake at once with its cure, ` + "`drctl plan example`" + `
prints the plan at the end of this page.

A dash is no fixed default: the key is needed, what it says is off, or its meaning tells what counts instead.

`)
	w.table(t, reflect.TypeFor[plan.Plan](), "", w.minimal)
	w.b.WriteString("## How many approvals, without a rule of your own\n\n| operation | approvals |\n|---|---|\n")
	rules := w.minimal["approvals"].(map[string]any)
	for _, op := range slices.Sorted(maps.Keys(rules)) {
		fmt.Fprintf(&w.b, "| `%s` | %v |\n", op, rules[op].(map[string]any)["count"])
	}
	w.b.WriteString("\nA run that was started unsigned, from the Temporal UI, needs one more.\n\n## A complete plan\n\n```yaml\n" + plan.Example() + "```\n")
}

// table writes a struct's keys, and then those of the structs in it.
func (w *planPage) table(t *testing.T, s reflect.Type, path string, defaults any) {
	title, about := "The plan", ""
	if path != "" {
		title, about = "`"+path+"`", w.words(s, w.meaning[s.Name()])+"\n\n"
	}
	fmt.Fprintf(&w.b, "## %s\n\n%s| key | is | default | meaning |\n|---|---|---|---|\n", title, about)
	type inner struct {
		s        reflect.Type
		path     string
		defaults any
	}
	var below []inner
	values, _ := defaults.(map[string]any)
	for i := range s.NumField() {
		f := s.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		value := values[key]
		kind, in, mark := shape(f.Type)
		meaning := w.words(s, w.meaning[s.Name()+"."+f.Name])
		at := strings.TrimPrefix(path+"."+key+mark, ".")
		if in != nil {
			if list, ok := value.([]any); ok && len(list) > 0 {
				value = list[0]
			}
			if m, ok := value.(map[string]any); ok && mark == ".OPERATION" {
				value = m["failover"]
			}
			if w.seen[in] == "" {
				w.seen[in] = at
				below = append(below, inner{in, at, value})
			}
			meaning = strings.TrimSpace(fmt.Sprintf("%s See [`%s`](#%s).", meaning, w.seen[in], anchors("# " + w.seen[in])[0]))
			value = nil
		} else if meaning == "" && w.meaning[s.Name()] == "" {
			t.Errorf("%s.%s of package plan has no comment: people read it in docs/plan.md", s.Name(), f.Name)
		}
		if w.needed[at] {
			value = nil
		}
		fmt.Fprintf(&w.b, "| `%s` | %s | %s | %s |\n", key, kind, shown(value), meaning)
	}
	w.b.WriteString("\n")
	for _, in := range below {
		w.table(t, in.s, in.path, in.defaults)
	}
}

// words are a comment's, with a struct's fields as the plan writes them.
func (w *planPage) words(s reflect.Type, text string) string {
	for i := range s.NumField() {
		f := s.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		text = regexp.MustCompile(`\b`+f.Name+`\b`).ReplaceAllString(text, "`"+key+"`")
	}
	return strings.NewReplacer("<", "&lt;", ">", "&gt;", "drctl key)", "`drctl key new`)").Replace(text)
}

// shape says what a field is, for people: the struct inside, if any, and how its path goes on.
func shape(f reflect.Type) (kind string, in reflect.Type, mark string) {
	switch f.Kind() {
	case reflect.Pointer:
		return shape(f.Elem())
	case reflect.Struct:
		return "section", f, ""
	case reflect.Slice:
		if _, in, _ := shape(f.Elem()); in != nil {
			return "list", in, "[]"
		}
		return "list of text", nil, ""
	case reflect.Map:
		if _, in, _ := shape(f.Elem()); in != nil {
			return "section by operation", in, ".OPERATION"
		}
		return "names and values", nil, ""
	case reflect.String:
		return "text", nil, ""
	case reflect.Bool:
		return "true or false", nil, ""
	default:
		return "whole number", nil, ""
	}
}

func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" || v == "east" || v == "west" {
			return "-"
		}
		return "`" + v + "`"
	case float64:
		return fmt.Sprintf("`%.0f`", v)
	case bool:
		return fmt.Sprintf("`%t`", v)
	case []any:
		if len(v) == 0 {
			return "-"
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return "`" + string(raw) + "`"
	}
	return "-"
}
