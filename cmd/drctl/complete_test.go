package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const noFiles = ":4" // what cobra tells the shell's script: offer no files

// completed are the words that a press of the tab key behind args offers, and the directive.
func completed(t *testing.T, args ...string) (words []string, directive string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(append([]string{"__complete"}, args...), strings.NewReader(""), &out, &errOut); code != codeOK {
		t.Fatalf("code %d: %s", code, errOut.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		words = append(words, word)
	}
	return words, lines[len(lines)-1]
}

func TestNamesAreCompletedFromThePlanAndTheEngine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "orders.yaml")
	if err := os.WriteFile(file, []byte(plan.Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	temporal := filepath.Join(dir, "temporal.toml")
	if err := os.WriteFile(temporal, []byte("[profile.west]\naddress = \"a:1\"\n[profile.east]\naddress = \"b:1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", temporal)
	engine, url := newFakeEngine(t)
	engine.mu.Lock()
	engine.links["east-to-west"] = &api.Link{LinkName: "east-to-west"}
	engine.mu.Unlock()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(fakeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	at := []string{"--engine", url, "--token-file", token}
	for _, topic := range []string{"invoices", "audit"} {
		var out, errOut bytes.Buffer
		if code := run(append([]string{"mirror", "create", "east-to-west", topic}, at...), strings.NewReader(""), &out, &errOut); code != codeOK {
			t.Fatal(errOut.String())
		}
	}
	expect := func(want []string, args ...string) {
		t.Helper()
		got, directive := completed(t, args...)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" || directive != noFiles {
			t.Errorf("%q: directive %s (-want +got):\n%s", args, directive, diff)
		}
	}
	// Without a plan or an engine nothing is guessed, and no file is offered.
	expect(nil, "status", "")
	expect(nil, "link", "describe", "")
	expect(nil, "link", "describe", "--engine", "http://127.0.0.1:9", "")

	expect([]string{"orders"}, "status", "--plan", file, "")
	t.Setenv("DRCTL_PLAN", file)
	expect([]string{"orders"}, "status", "")
	expect([]string{"orders"}, "watch", "")
	expect([]string{"orders"}, "hold", "")
	expect(nil, "status", "orders", "")
	expect([]string{"east", "west"}, "switchover", "orders", "--to", "")
	expect([]string{"orders"}, "failover", "orders", "--yes", "")
	expect([]string{"orders"}, "exec", "--pair", "")
	p, err := plan.Parse([]byte(plan.Example()))
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	topics := []string{"*"}
	for _, g := range p.Groups {
		groups = append(groups, g.Name)
	}
	for _, name := range p.Topics {
		if name[0] != '^' {
			topics = append(topics, name)
		}
	}
	expect(groups, "exec", "--group", "")
	expect([]string{"insights", "payments"}, "acknowledge", "orders", "--team", "")
	expect(topics, "decide", "orders", "--append", "")

	expect([]string{"table", "json", "yaml"}, "status", "orders", "-o", "")
	expect(slices.Clone(runbook.DrillKinds), "drill", "orders", "--kind", "")
	expect(append(runbook.OverrideNames(), runbook.OverrideRebuild), "approve", "orders", "--override", "")
	expect([]string{"east", "west"}, "status", "orders", "--temporal-profile", "")
	expect([]string{"bash", "zsh", "fish", "powershell"}, "completion", "")

	expect([]string{"east-to-west"}, append(append([]string{"link", "describe"}, at...), "")...)
	expect([]string{"invoices"}, append(append([]string{"mirror", "pause"}, at...), "east-to-west", "audit", "")...)
	expect([]string{"invoices", "audit"}, append(append([]string{"mirror", "describe"}, at...), "east-to-west", "")...)
	expect(api.MirrorStatuses(), "mirror", "list", "--status", "")

	if got, directive := completed(t, "plan", "validate", ""); len(got) != 0 || directive != ":0" {
		t.Errorf("a file is to be completed as a file: %q %s", got, directive)
	}
	if got, _ := completed(t, "fail"); !slices.Equal(got, []string{"failback", "failover"}) {
		t.Errorf("commands: %q", got)
	}
}
