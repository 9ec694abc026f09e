package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tables are the contract as testdata/contract has it. They know nothing of our
// types: what an engine answers is held against them and nothing else.
type tables struct {
	objects map[string][]field
	calls   map[string]contractCall // by method and path
	codes   map[int]int             // HTTP status by error code
}

// field is a field of an object.
type field struct {
	name, of         string // of: bool, int, string or an object
	list             bool
	always, nullable bool
	enum             []string
}

// contractCall is one call.
type contractCall struct {
	method, path string
	query        map[string]bool // and whether it is required
	in, out      string          // objects; empty: no body
	status       int
}

func readTables(t *testing.T) tables {
	t.Helper()
	c := tables{map[string][]field{}, map[string]contractCall{}, map[int]int{}}
	object := ""
	for _, line := range lines(t, "objects.txt") {
		if !strings.HasPrefix(line, " ") {
			object = line
			continue
		}
		c.objects[object] = append(c.objects[object], readField(strings.TrimSpace(line)))
	}
	for _, line := range lines(t, "calls.txt") {
		columns := strings.Split(line, "|")
		if len(columns) != 5 {
			t.Fatalf("not a call: %s", line)
		}
		for i := range columns {
			columns[i] = strings.Trim(columns[i], " -")
		}
		call := contractCall{query: map[string]bool{}, in: columns[2], out: columns[4]}
		call.method, call.path, _ = strings.Cut(columns[0], " ")
		for _, q := range strings.Fields(columns[1]) {
			name, required := strings.CutSuffix(q, "*")
			call.query[name] = required
		}
		var err error
		if call.status, err = strconv.Atoi(columns[3]); err != nil {
			t.Fatal(err)
		}
		c.calls[columns[0]] = call
	}
	for _, line := range lines(t, "errors.txt") {
		var status, code int
		if _, err := fmt.Sscan(line, &status, &code); err != nil {
			t.Fatal(err)
		}
		c.codes[code] = status
	}
	return c
}

// lines are a file's, without comments and empty ones.
func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/contract/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimRight(line, " \n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func readField(line string) field {
	var f field
	name, of, _ := strings.Cut(line, " ")
	f.name, f.always = strings.CutSuffix(name, "*")
	of, enum, _ := strings.Cut(of, " ")
	f.enum = strings.Fields(strings.Trim(enum, "{}"))
	of, f.nullable = strings.CutSuffix(of, "|null")
	f.of, f.list = strings.Trim(of, "[]"), strings.HasPrefix(of, "[")
	return f
}

// check holds a body against an object, as a strict client reads it: no field that
// the contract does not have, none missing, no other type, no unknown word.
func (c tables) check(object string, body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("%s: %w", object, err)
	}
	return c.value(object, field{of: object}, v)
}

func (c tables) value(at string, f field, v any) error {
	if v == nil {
		if f.nullable {
			return nil
		}
		return fmt.Errorf("%s is null", at)
	}
	if f.list {
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s is no list: %v", at, v)
		}
		f.list, f.nullable = false, false
		for i, item := range list {
			if err := c.value(fmt.Sprintf("%s[%d]", at, i), f, item); err != nil {
				return err
			}
		}
		return nil
	}
	switch f.of {
	case "string":
		text, ok := v.(string)
		if !ok || len(f.enum) > 0 && !slices.Contains(f.enum, text) {
			return fmt.Errorf("%s is %v, none of %v", at, v, f.enum)
		}
	case "bool":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%s is no boolean: %v", at, v)
		}
	case "int":
		n, ok := v.(json.Number)
		if _, err := strconv.ParseInt(n.String(), 10, 64); !ok || err != nil {
			return fmt.Errorf("%s is no whole number: %v", at, v)
		}
	default:
		return c.object(at, f.of, v)
	}
	return nil
}

func (c tables) object(at, name string, v any) error {
	object, ok := v.(map[string]any)
	if !ok || c.objects[name] == nil {
		return fmt.Errorf("%s is no %s: %v", at, name, v)
	}
	left := maps.Clone(object)
	for _, f := range c.objects[name] {
		v, there := object[f.name]
		delete(left, f.name)
		if !there {
			if f.always {
				return fmt.Errorf("%s.%s is missing", at, f.name)
			}
			continue
		}
		if err := c.value(at+"."+f.name, f, v); err != nil {
			return err
		}
	}
	for name := range left {
		return fmt.Errorf("%s.%s is not in the contract", at, name)
	}
	return nil
}

func TestTheStrictReadingFindsEachMistake(t *testing.T) {
	c := readTables(t)
	const task = `{"task_name":"AclSync","state":"ACTIVE","errors":[]}`
	if err := c.check("LinkTask", []byte(task)); err != nil {
		t.Error(err)
	}
	for what, old := range map[string][2]string{
		"a field more":        {`"errors":[]`, `"errors":[],"since":1`},
		"a field less":        {`,"errors":[]`, ``},
		"null for a list":     {`[]`, `null`},
		"an object for lists": {`[]`, `{"items":[]}`},
		"an unknown word":     {`"ACTIVE"`, `"Active"`},
		"a number for a text": {`"AclSync"`, `1`},
		"a list of others":    {`[]`, `["INTERNAL_ERROR"]`},
		"an error's code":     {`[]`, `[{"error_code":"OTHER","error_message":""}]`},
	} {
		if err := c.check("LinkTask", []byte(strings.Replace(task, old[0], old[1], 1))); err == nil {
			t.Errorf("%s passed", what)
		}
	}
	if err := c.check("MirrorLag", []byte(`{"partition":0,"lag":1.5,"last_source_fetch_offset":0}`)); err == nil {
		t.Error("a lag of one and a half passed")
	}
}
