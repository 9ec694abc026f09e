package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Whoever copies a command line out of the documents at 3 a.m. must not learn then that it never worked: command, number of
// arguments and flags are those of the commands themselves.
func TestTheCommandLinesInTheDocumentsExist(t *testing.T) {
	lines, named := 0, map[string]bool{}
	for name, text := range documents(t) {
		for _, line := range callsIn(text) {
			lines++
			cmd, fault := parses(line)
			if fault != "" {
				t.Errorf("%s: %s: %s", name, line, fault)
				continue
			}
			named[cmd.CommandPath()] = true
		}
	}
	if lines < 100 {
		t.Errorf("only %d command lines were looked at", lines)
	}
	for _, cmd := range leaves((&app{}).root()) {
		if !named[cmd.CommandPath()] {
			t.Errorf("no document shows %s", cmd.CommandPath())
		}
	}
}

func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	add := func(path string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[path] = string(raw)
	}
	for _, path := range []string{"../../README.md", "../../deploy/README.md"} {
		add(path)
	}
	err := filepath.WalkDir("../../docs", func(path string, d fs.DirEntry, err error) error {
		// The transcript is what programs said; what was typed in it is the tutorial's.
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".md" && d.Name() != "transcript.md" {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	indented  = regexp.MustCompile(`(?m)^    +.*$`)
	inline    = regexp.MustCompile("`([^`\n]+)`")
	call      = regexp.MustCompile(`(?:^|[\s(!=])drctl ([a-z-](?:[^|;&>)'"\n]|'[^']*'|"[^"]*")*)`)
	redirect  = regexp.MustCompile(` [0-9]$`)
)

// callsIn are the calls of drctl in code: blocks, with lines joined that end in a backslash, and spans that begin with it.
func callsIn(text string) []string {
	var out []string
	block := func(code string) {
		for line := range strings.Lines(strings.ReplaceAll(code, "\\\n", " ")) {
			if strings.HasPrefix(strings.TrimSpace(line), "drctl: ") {
				continue // what it says
			}
			line, _, _ = strings.Cut(line, "# ")
			for _, m := range call.FindAllStringSubmatch(line, -1) {
				out = append(out, "drctl "+strings.TrimSpace(redirect.ReplaceAllString(m[1], "")))
			}
		}
	}
	for _, m := range codeBlock.FindAllStringSubmatch(text, -1) {
		block(m[1])
	}
	text = codeBlock.ReplaceAllString(text, "")
	for _, line := range indented.FindAllString(text, -1) {
		block(line)
	}
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[1], "drctl ") {
			block(m[1])
		}
	}
	return out
}

// shellWords splits a line as a shell does, as far as the documents go.
func shellWords(line string) []string {
	var out []string
	for _, w := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		out = append(out, strings.NewReplacer(`'`, "", `"`, "").Replace(w))
	}
	return out
}

// parses finds the command of a line and tries its flags and arguments on it, without running it. A line may name a command
// without its arguments, as prose does.
func parses(line string) (*cobra.Command, string) {
	args := shellWords(line)[1:]
	root := (&app{}).root()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return nil, err.Error()
	}
	if cmd == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && rest[0] != "help" {
		return nil, "there is no such command"
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && rest[0] != "help" {
		return nil, "there is no such command below " + cmd.CommandPath()
	}
	for i, w := range rest {
		if w == "…" && (i == 0 || !strings.HasPrefix(rest[i-1], "--")) { // and so on
			rest = rest[:i]
			break
		}
	}
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if cmd.Flags().Lookup(f.Name) == nil {
			cmd.Flags().AddFlag(f)
		}
	})
	if err := cmd.ParseFlags(rest); err != nil {
		return nil, err.Error()
	}
	if given := cmd.Flags().Args(); cmd.Args != nil && len(given) > 0 && !cmd.HasSubCommands() {
		if err := cmd.Args(cmd, given); err != nil {
			return nil, err.Error()
		}
	}
	return cmd, unreasoned(cmd)
}

// reasoned are the commands that are refused without a --reason; every other one is with an --override.
var reasoned = []string{"deny", "skip", "abort", "pause", "into-failover", "break-glass", "hold", "release"}

// unreasoned says that a call whose flags are parsed wants a --reason and has none. One without its pair only names a command.
func unreasoned(cmd *cobra.Command) string {
	wants := cmd.Flags().Changed("override") || cmd.Flags().Changed("break-glass")
	wants = wants || len(cmd.Flags().Args()) > 0 && slices.Contains(reasoned, strings.TrimPrefix(cmd.CommandPath(), "drctl "))
	if wants && !cmd.Flags().Changed("reason") {
		return "it is refused without a --reason"
	}
	return ""
}

func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		if cmd.Name() == "help" || !cmd.Runnable() { // a topic of the help
			return nil
		}
		return []*cobra.Command{cmd}
	}
	var out []*cobra.Command
	for _, c := range cmd.Commands() {
		out = append(out, leaves(c)...)
	}
	return out
}

func TestACommandLineThatDoesNotExistIsFoundOut(t *testing.T) {
	for _, line := range []string{
		"drctl fialover orders", "drctl failover orders --dryrun", "drctl link frobnicate", "drctl approve orders payments", "drctl --plain",
		"drctl approve orders --override unproven-fence", "drctl abort orders", "drctl into-failover orders", "drctl failover orders --break-glass",
	} {
		if _, fault := parses(line); fault == "" {
			t.Errorf("%s is taken for a command", line)
		}
	}
	got := callsIn("see `drctl status orders`:\n```sh\nuntil ! drctl debts shop | grep x; do\nX=$(drctl plan hash f) drctl exec --pair a \\\n  -- b | drctl failover s 2>&1 # why\ndrctl: no call\n```\n")
	want := []string{"drctl debts shop", "drctl plan hash f", "drctl exec --pair a    -- b", "drctl failover s", "drctl status orders"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}
