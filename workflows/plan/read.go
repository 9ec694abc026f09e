package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Fault is one mistake in a plan.
type Fault struct {
	Key   string // sites[0].kafka.bootstrap
	Value string // as written; "(not shown)" for secrets
	Cure  string
}

func (f Fault) Error() string { return fmt.Sprintf("%s: %s: %s", f.Key, f.Value, f.Cure) }

// Load reads <folder>/<pair>.yaml, see Parse.
func Load(folder, pair string) (Plan, error) {
	if pair == "" || pair != filepath.Base(pair) || strings.HasPrefix(pair, ".") {
		return Plan{}, fmt.Errorf("pair %q is no plain name: give the pair's name without folder or suffix", pair)
	}
	name := filepath.Join(folder, pair+".yaml")
	b, err := os.ReadFile(name)
	if err != nil {
		return Plan{}, fmt.Errorf("read the plan of pair %s: %w", pair, err)
	}
	p, err := Parse(b)
	if err != nil {
		return Plan{}, fmt.Errorf("plan %s: %w", name, err)
	}
	if p.Pair != pair {
		return Plan{}, fmt.Errorf("plan %s: %w", name, Fault{"pair", fmt.Sprintf("%q", p.Pair), "the file's name says " + pair + ": make both the same"})
	}
	return p, nil
}

// Parse reads, validates and normalises a plan. The error joins every Fault
// there is: unknown keys, wrong types, wrong values.
func Parse(b []byte) (Plan, error) {
	var doc any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return Plan{}, fmt.Errorf("not readable as YAML: %s", yaml.FormatError(err, false, false))
	}
	w := walker{}
	clean := w.walk("", doc, reflect.TypeFor[Plan]())
	var p Plan
	if clean != nil {
		j, err := json.Marshal(clean)
		if err != nil {
			return Plan{}, fmt.Errorf("convert the plan: %w", err)
		}
		if err := json.Unmarshal(j, &p); err != nil {
			return Plan{}, fmt.Errorf("convert the plan: %w", err)
		}
	}
	p = p.Normalise()
	faults := w.faults
	for _, f := range p.faults() {
		// A key that was misread already has its fault.
		if !slices.ContainsFunc(w.faults, func(o Fault) bool { return o.Key == f.Key }) {
			faults = append(faults, f)
		}
	}
	if len(faults) > 0 {
		return Plan{}, join(faults)
	}
	return p, nil
}

// Validate returns all faults of a normalised plan, joined.
func (p Plan) Validate() error { return join(p.faults()) }

func join(faults []Fault) error {
	errs := make([]error, 0, len(faults))
	for _, f := range faults {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// walker compares a document with the shape of a struct, so that unknown keys
// and wrong types are all found at once (a decoder stops at the first). It
// returns the document without what it complained about.
type walker struct{ faults []Fault }

func (w *walker) bad(key string, v any, cure string) any {
	if key == "" {
		key = "plan"
	}
	w.faults = append(w.faults, Fault{key, show(key, v), cure})
	return nil
}

func (w *walker) walk(key string, v any, t reflect.Type) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.object(key, v, t)
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return w.bad(key, v, "write a mapping of names")
		}
		out := map[string]any{}
		for _, k := range sortedKeys(m) {
			if got := w.walk(key+"."+k, m[k], t.Elem()); got != nil {
				out[k] = got
			}
		}
		return out
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return w.bad(key, v, "write a list, as in [a, b]")
		}
		out := []any{}
		for i, e := range list {
			if got := w.walk(fmt.Sprintf("%s[%d]", key, i), e, t.Elem()); got != nil {
				out = append(out, got)
			}
		}
		return out
	case reflect.String:
		if s, ok := v.(string); ok {
			return s
		}
		return w.bad(key, v, "write text; put quotes around a number or yes/no that is meant as text")
	case reflect.Int64:
		switch v.(type) {
		case uint64, int64, int:
			return v
		}
		return w.bad(key, v, "write a whole number without a unit (keys say the unit)")
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			return b
		}
		return w.bad(key, v, "write true or false")
	default:
		panic("plan: no reading rule for " + t.String())
	}
}

func (w *walker) object(key string, v any, t reflect.Type) any {
	m, ok := v.(map[string]any)
	if !ok {
		return w.bad(key, v, "write a mapping with the keys "+strings.Join(names(t), ", "))
	}
	out := map[string]any{}
	for _, k := range sortedKeys(m) {
		path := strings.TrimPrefix(key+"."+k, ".")
		f, ok := field(t, k)
		if !ok {
			w.bad(path, m[k], "unknown key: remove it; known here are "+strings.Join(names(t), ", "))
			continue
		}
		if got := w.walk(path, m[k], f.Type); got != nil {
			out[k] = got
		}
	}
	return out
}

func tag(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func field(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if tag(t.Field(i)) == name {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func names(t reflect.Type) []string {
	out := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		out = append(out, tag(t.Field(i)))
	}
	return out
}

func sortedKeys(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// show prints a value for a fault; what may be a secret is not shown, whatever
// was written there.
func show(key string, v any) string {
	for _, s := range []string{"password", "token", "webhook", "routing_key", "secret"} {
		if strings.Contains(strings.ToLower(key), s) && !strings.HasSuffix(key, "_file") {
			return "(not shown)"
		}
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return "(empty)"
		}
		return fmt.Sprintf("%q", v)
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	}
	return fmt.Sprint(v)
}
