package rest_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestTheDocumentIsTheContract compares the OpenAPI document with the contract's
// tables: calls, parameters, fields, words and error codes, no more and no less.
func TestTheDocumentIsTheContract(t *testing.T) {
	c := readTables(t)
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		if len(item.Servers) == 0 {
			continue // Drawbridge's own
		}
		var prefixes []string
		for _, s := range item.Servers {
			prefixes = append(prefixes, s.URL)
		}
		if !slices.Equal(prefixes, []string{"/kafka/v3", "/v3"}) {
			t.Errorf("%s is under %v", path, prefixes)
		}
		for method, op := range item.Operations() {
			call := method + " " + path
			found[call] = true
			if of, known := c.calls[call]; known {
				c.compareCall(t, call, of, op)
			} else {
				t.Errorf("%s is not in the contract", call)
			}
		}
	}
	for call := range c.calls {
		if !found[call] {
			t.Errorf("%s is not in the document", call)
		}
	}
}

func (c tables) compareCall(t *testing.T, call string, of contractCall, op *openapi3.Operation) {
	t.Helper()
	query := map[string]bool{}
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			query[p.Value.Name] = p.Value.Required
		}
	}
	if !maps.Equal(query, of.query) {
		t.Errorf("%s: the document has the query parameters %v, the contract %v", call, query, of.query)
	}
	switch {
	case (op.RequestBody == nil) != (of.in == ""):
		t.Errorf("%s: one has a body, the other has none", call)
	case op.RequestBody != nil:
		c.compare(t, call+": request", field{of: of.in}, op.RequestBody.Value.Content.Get("application/json").Schema.Value, true)
	}
	answer := op.Responses.Status(of.status)
	if answer == nil {
		t.Errorf("%s: %d is not in the document", call, of.status)
		return
	}
	body := answer.Value.Content.Get("application/json")
	switch {
	case (body == nil) != (of.out == ""):
		t.Errorf("%s: one answers with a body, the other does not", call)
	case body != nil && of.out != "Error":
		c.compare(t, call, field{of: of.out}, body.Schema.Value, false)
	}
	for code, status := range c.codes {
		if status == 413 && of.in == "" {
			continue
		}
		r := op.Responses.Status(status)
		if r == nil || !slices.Contains(words(r.Value.Content.Get("application/json").Schema.Value.Properties["error_code"].Value), fmt.Sprint(code)) {
			t.Errorf("%s: error code %d of status %d is not in the document", call, code, status)
		}
	}
}

func words(s *openapi3.Schema) []string {
	var out []string
	for _, v := range s.Enum {
		if n, ok := v.(float64); ok {
			out = append(out, strconv.Itoa(int(n)))
		} else {
			out = append(out, fmt.Sprint(v))
		}
	}
	return out
}

// compare holds a schema against a field. The document may promise more of an
// answer (a field that is always there, or never null), of a request it may ask less.
func (c tables) compare(t *testing.T, at string, f field, s *openapi3.Schema, asked bool) {
	t.Helper()
	if s.Nullable && !f.nullable && !asked {
		t.Errorf("%s: null is not in the contract", at)
	}
	if f.list {
		if !s.Type.Is("array") {
			t.Errorf("%s: the contract has a list", at)
			return
		}
		f.list, f.nullable = false, false
		c.compare(t, at+"[]", f, s.Items.Value, asked)
		return
	}
	if got := words(s); len(f.enum) > 0 && !sameWords(got, f.enum) {
		t.Errorf("%s: the document has the words %v, the contract %v", at, got, f.enum)
	}
	of := map[string]string{"string": "string", "int": "integer", "bool": "boolean"}[f.of]
	switch {
	case of != "" && !s.Type.Is(of):
		t.Errorf("%s: the document has %v, the contract %s", at, s.Type, f.of)
	case of == "":
		c.compareObject(t, at, f.of, s, asked)
	}
}

func (c tables) compareObject(t *testing.T, at, name string, s *openapi3.Schema, asked bool) {
	t.Helper()
	left := maps.Clone(s.Properties)
	for _, f := range c.objects[name] {
		p := left[f.name]
		delete(left, f.name)
		required := slices.Contains(s.Required, f.name)
		switch {
		case p == nil && !f.always && !asked:
			continue // the engine never says it
		case p == nil:
			t.Errorf("%s: %s is not in the document", at, f.name)
			continue
		case f.always && !required && !asked, required && !f.always && asked:
			t.Errorf("%s: %s is required in one and not in the other", at, f.name)
		}
		c.compare(t, at+"."+f.name, f, p.Value, asked)
	}
	for _, extra := range slices.Sorted(maps.Keys(left)) {
		// One Go type serves both kinds of metadata; a list's has no resource_name.
		if strings.HasSuffix(at, ".metadata") && (extra == "next" || extra == "resource_name") {
			continue
		}
		t.Errorf("%s: %s is not in the contract", at, extra)
	}
}

func sameWords(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
