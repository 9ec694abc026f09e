package activities

import (
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAReportSaysWhichBuildKeptIt(t *testing.T) {
	a := newActivities(t, Options{ReportsDir: t.TempDir(), Version: "v1.2.3"})
	in := workflows.SaveReportInput{Call: call("report"), Report: runbook.Report{Pair: "orders", Operation: "failover", OpID: "failover-1", Outcome: runbook.Done}}
	got, err := a.SaveReport(t.Context(), in)
	if err != nil || got.Build == nil || got.Build.Version != "v1.2.3" {
		t.Fatalf("%+v, %v", got, err)
	}
	raw, err := os.ReadFile(got.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var kept runbook.Report
	if err := json.Unmarshal(raw, &kept); err != nil || kept.Build == nil || *kept.Build != *got.Build || kept.Build.Go != runtime.Version() {
		t.Errorf("JSON: %+v, %v", kept.Build, err)
	}
	if md, err := os.ReadFile(got.Markdown); err != nil || !strings.Contains(string(md), "\n- kept by Drawbridge v1.2.3") || !strings.Contains(string(md), runtime.Version()) {
		t.Errorf("Markdown %s, %v", md, err)
	}
}

func TestABuildIsNamedByItsReleaseElseByItsModule(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v0.9.0"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "4f2a9c1d03bea11"}, {Key: "vcs.modified", Value: "true"}}}
	for want, b := range map[string]runbook.Build{
		"v1.0.0 (commit 4f2a9c1d03bea11, with changes of no commit), go1.26": buildOf("v1.0.0", info),
		"v0.9.0 (commit 4f2a9c1d03bea11, with changes of no commit), go1.26": buildOf("", info),
		"v1.0.0, go1.26": buildOf("v1.0.0", &debug.BuildInfo{GoVersion: "go1.26"}),
		"(devel)":        buildOf("", nil),
	} {
		if got := b.Text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
