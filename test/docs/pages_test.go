package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// pages are the documents for people, by path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "BENCHMARKS.md", "deploy/README.md", "mirrorengine/DESIGN.md"} {
		out[name] = read(t, name)
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		name, err := filepath.Rel(root, path)
		out[name] = read(t, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("%d pages: the docs are not where they were", len(out))
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	span    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

func TestLinksBetweenPagesResolve(t *testing.T) {
	n := 0
	for name, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			n++
			file := name
			if target != "" {
				file = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: link to %s: there is no %s", name, m[1], file)
			} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s: link to %s: %s has no such heading", name, m[1], file)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d links were looked at", n)
	}
}

// anchors of a page, as GitHub makes them of its headings.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ', r == '-':
				b.WriteRune('-')
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r > 127:
				b.WriteRune(r)
			}
		}
		out = append(out, b.String())
	}
	return out
}

// Every page below docs can be reached from its index.
func TestTheIndexLeadsToEveryPage(t *testing.T) {
	all := pages(t)
	seen, open := map[string]bool{}, []string{"docs/README.md"}
	for len(open) > 0 {
		name := open[0]
		open = open[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, m := range link.FindAllStringSubmatch(all[name], -1) {
			target, _, _ := strings.Cut(m[1], "#")
			next := filepath.Join(filepath.Dir(name), target)
			if _, ok := all[next]; ok && strings.HasPrefix(next, "docs/") {
				open = append(open, next)
			}
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "docs/") && !seen[name] {
			t.Errorf("%s: no page leads to it", name)
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	call := regexp.MustCompile("(?m)(?:`|^ *|    )make ([a-z][a-z-]*)")
	n := 0
	for name, text := range pages(t) {
		if name == "docs/transcript.md" {
			continue // what programs said; what was typed is the tutorial's
		}
		for _, m := range call.FindAllStringSubmatch(text, -1) {
			n++
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: make %s: the Makefile has no such target", name, m[1])
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d calls of make were looked at", n)
	}
}

// What the newcomer of the transcript typed is what the tutorial says, line by line.
func TestTheTranscriptHasNoCommandThatTheTutorialDoesNotHave(t *testing.T) {
	tutorial, n := read(t, "docs/tutorial.md"), 0
	for line := range strings.Lines(read(t, "docs/transcript.md")) {
		typed, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			typed, ok = strings.CutPrefix(line, "> ") // a command goes on
		}
		if ok {
			n++
			if !strings.Contains(tutorial, "\n"+typed) {
				t.Errorf("docs/transcript.md types %q, which the tutorial does not have", strings.TrimSpace(typed))
			}
		}
	}
	if n < 100 {
		t.Errorf("the transcript has only %d lines that were typed", n)
	}
}
