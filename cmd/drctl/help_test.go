package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestEveryCommandHasExamplesThatItWouldTake(t *testing.T) {
	a := &app{}
	walk(a.root(), func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no short help", cmd.CommandPath())
		}
		if !cmd.Runnable() || cmd.HasSubCommands() && cmd.HasParent() {
			return
		}
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		lines := callsIn("```\n" + cmd.Example + "\n```\n")
		if len(lines) == 0 && cmd.Example != "" {
			t.Errorf("%s: no example calls drctl", cmd.CommandPath())
		}
		for _, line := range lines {
			if _, fault := parses(line); fault != "" {
				t.Errorf("%s: %s: %s", cmd.CommandPath(), line, fault)
			}
		}
	})
}

func TestEveryCommandOfTheHelpStandsInAGroup(t *testing.T) {
	root := (&app{}).root()
	for name := range groupOf {
		if !slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name }) {
			t.Errorf("the help places %q, which is no command", name)
		}
	}
	for _, c := range root.Commands() {
		if c.Runnable() && c.GroupID == "" && c.Name() != "completion" && c.Name() != "help" {
			t.Errorf("%s stands in no group of the help: name it in help.go", c.Name())
		}
	}
}

// The exit codes are a promise to scripts: each one is explained, and none that is not there.
func TestTheHelpNamesEachExitCode(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^ +(\d+)  `).FindAllStringSubmatch(exitHelp, -1) {
		got = append(got, m[1])
	}
	var want []string
	for code := codeOK; code <= codeUnready; code++ {
		want = append(want, fmt.Sprint(code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes of the help (-code +help):\n%s", diff)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range want {
		if !regexp.MustCompile(`(?m)^\| ` + code + ` \| `).Match(readme) {
			t.Errorf("the README does not explain exit code %s", code)
		}
	}
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	type inner struct {
		Text string  `json:"text"`
		None *string `json:"none"`
	}
	v := map[string]any{
		"norway": "no", "number": "0123", "float": "1e3", "date": "2026-11-22", "empty": "", "colon": "a: b", "hash": "a #b", "lines": "a\nb\n",
		"quote": `"'`, "unicode": "é\u2028\x7f", "tilde": "~", "dash": "- x", "big": int64(9007199254740993), "small": -3, "half": 0.5, "yes": true,
		"list": []any{}, "map": map[string]int{}, "deep": []inner{{Text: "<&>"}}, "on": "on", "star": "*", "amp": "&a", "percent": "%x", "null": "null",
	}
	var texts [2][]byte
	for i, form := range []string{asJSON, asYAML} {
		var out bytes.Buffer
		a := &app{stdout: &out, output: form}
		if err := a.print(v, nil); err != nil {
			t.Fatal(err)
		}
		texts[i] = out.Bytes()
	}
	var fromYAML any
	if err := yaml.Unmarshal(texts[1], &fromYAML); err != nil {
		t.Fatalf("%v in\n%s", err, texts[1])
	}
	again, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	for raw, into := range map[string]*any{string(texts[0]): &want, string(again): &got} {
		dec := json.NewDecoder(strings.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON and YAML differ (-JSON +YAML):\n%s\n%s", diff, texts[1])
	}
}
