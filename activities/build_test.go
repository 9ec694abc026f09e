package activities

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAReportSaysWhichBuildKeptIt(t *testing.T) {
	a := newActivities(t, Options{ReportsDir: t.TempDir(), Build: runbook.Build{Version: "v1.2.3", Go: "go1.26"}})
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
	if err := json.Unmarshal(raw, &kept); err != nil || kept.Build == nil || *kept.Build != *got.Build || kept.Build.Go != "go1.26" {
		t.Errorf("JSON: %+v, %v", kept.Build, err)
	}
	if md, err := os.ReadFile(got.Markdown); err != nil || !strings.Contains(string(md), "\n- kept by Drawbridge v1.2.3") || !strings.Contains(string(md), "go1.26") {
		t.Errorf("Markdown %s, %v", md, err)
	}
}
