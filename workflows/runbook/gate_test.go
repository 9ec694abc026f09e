package runbook_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata with what the gates say now; review the diff")

// TestGates runs testdata/gate/*.txt: each block is a gate's name with its facts
// one a line, a line of ----, and the verdict.
func TestGates(t *testing.T) {
	files, err := filepath.Glob("testdata/gate/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatalf("gate scripts: %v %v", files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(b))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(b), got); d != "" && !*rewrite {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func play(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		facts, _, ok := strings.Cut(block, "\n----")
		if !ok {
			t.Fatalf("block without ----:\n%s", block)
		}
		out.WriteString(facts + "\n----\n" + judge(t, facts) + "\n")
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func judge(t *testing.T, facts string) string {
	t.Helper()
	sc := bufio.NewScanner(strings.NewReader(facts))
	var name string
	var lines [][]string
	for sc.Scan() {
		line := sc.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		if name == "" {
			name = line
			continue
		}
		lines = append(lines, strings.Fields(line))
	}
	switch name {
	case "outage east":
		var seen []runbook.Vantage
		for _, l := range lines {
			seen = append(seen, runbook.Vantage{From: l[0], Known: l[1] != "unknown", Reachable: l[1] == "reaches"})
		}
		return verdict(runbook.Outage("east", seen))
	case "mirrors":
		r := runbook.Risk{Link: "there"}
		for _, l := range lines {
			r.Partitions = append(r.Partitions, runbook.PartitionRisk{Topic: l[0], Status: l[1]})
		}
		return verdict(runbook.Mirrors(r))
	case "halt at 20 percent":
		var res []runbook.TopicResult
		for _, l := range lines {
			n, err := strconv.Atoi(l[0])
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				res = append(res, runbook.TopicResult{Topic: fmt.Sprintf("t%d", i), OK: l[1] == "ok", Error: "disk full"})
			}
		}
		return verdict(runbook.Halt(res, 20))
	case "fence":
		e := runbook.FenceEvidence{Site: "east"}
		for _, l := range lines {
			switch l[0] {
			case "reachable":
				e.Reachable = true
			case "entries":
				e.Entries = 2
			case "canary-before":
				e.CanaryBefore = true
			case "canary-refused":
				e.CanaryRefused = true
			case "logs-still":
				e.LogsStill = true
			case "super-user":
				e.SuperUsers = append(e.SuperUsers, l[1])
			case "problem":
				e.Problem = strings.Join(l[1:], " ")
			default:
				t.Fatalf("unknown fact %v", l)
			}
		}
		f := runbook.Fence(e)
		return strings.TrimRight(fmt.Sprintf("%s, needs override %t\n%s", f.Level, !f.Proven(), f.Reason), "\n") + "\n"
	}
	t.Fatalf("unknown gate %q", name)
	return ""
}

func verdict(v runbook.Verdict) string {
	s := fmt.Sprintf("ok %t\n", v.OK)
	for _, r := range v.Reasons {
		s += "- " + r + "\n"
	}
	if len(v.Overrides) > 0 {
		s += "needs " + strings.Join(v.Overrides, ", ") + "\n"
	}
	return s
}
