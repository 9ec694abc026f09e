package main

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/goccy/go-yaml"
)

// Forms of the output.
const (
	asTable = "table"
	asJSON  = "json"
	asYAML  = "yaml"
)

var outputs = []string{asTable, asJSON, asYAML}

// print writes v as JSON or YAML, or what table writes, as -o says. JSON and YAML have the same keys.
func (a *app) print(v any, table func(w io.Writer)) error {
	if a.output == asTable {
		table(screenOf(a.stdout))
		return nil
	}
	raw, err := a.encode(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(raw)
	return err
}

func (a *app) encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil || a.output == asJSON {
		return b.Bytes(), err
	}
	return yaml.JSONToYAML(b.Bytes())
}

// stamp shows a time to the second, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
