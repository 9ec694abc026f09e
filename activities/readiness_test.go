package activities

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestTheLastExerciseIsReadFromThePairsReports(t *testing.T) {
	dir := t.TempDir()
	a, closeAll := New(Options{ReportsDir: dir})
	defer closeAll()
	at := func(day int) time.Time { return time.Date(2026, 11, day, 12, 0, 0, 0, time.UTC) }
	in := workflows.PastRunsInput{Call: workflows.Call{Pair: "orders"}, Folder: "reports"}
	got, err := a.PastRuns(t.Context(), in)
	if err != nil || !got.Past.Exercised.IsZero() {
		t.Errorf("without any report: %+v, %v", got, err)
	}
	for i, r := range []runbook.Report{
		{Pair: "orders", Operation: runbook.OpFailover, Outcome: runbook.Done, Ended: at(3), EpochBefore: 1, EpochAfter: 2},
		{Pair: "orders", Operation: runbook.OpFailback, Outcome: runbook.Partly, Ended: at(4), RTOMillis: 1, EpochBefore: 2, EpochAfter: 3},
		{Pair: "orders", Operation: runbook.OpSwitchover, Outcome: runbook.Done, Ended: at(5), RTOMillis: 7000, RPOTime: &runbook.RPOTime{AtMost: 3}, EpochBefore: 3, EpochAfter: 4},
		// What it rebuilt stays, and nobody has moved.
		{Pair: "orders", Operation: runbook.OpFailback, Outcome: runbook.Partly, Error: "denied by bob", Ended: at(6), EpochBefore: 4, EpochAfter: 4},
		{Pair: "orders", Operation: runbook.OpFailover, Outcome: runbook.NoChange, Ended: at(7), RTOMillis: 9},
		{Pair: "orders", Operation: runbook.OpDrill, Drill: runbook.DrillTabletop, Outcome: runbook.Done, Ended: at(7), RTOMillis: 9},
		{Pair: "orders", Operation: runbook.OpFailover, Outcome: runbook.Dry, DryRun: true, Ended: at(8)},
		{Pair: "orders", Operation: runbook.OpSetUp, Outcome: runbook.Done, Ended: at(9)},
		{Pair: "bills", Operation: runbook.OpFailover, Outcome: runbook.Done, Ended: at(10)},
	} {
		r.OpID = string(rune('a' + i))
		if _, err := a.SaveReport(t.Context(), workflows.SaveReportInput{Folder: "reports", Report: r}); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"torn.json": `{"pair":"orders","oper`, "other.json": `[1]`} {
		if err := os.WriteFile(filepath.Join(dir, "reports", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in.Times = 10
	got, err = a.PastRuns(t.Context(), in)
	if err != nil || !got.Past.Exercised.Equal(at(5)) || got.Past.Operation != runbook.OpSwitchover {
		t.Errorf("%+v, %v", got, err)
	}
	if l := got.Past.Last; l == nil || l.OpID != "c" || l.RTOMillis != 7000 || l.RPO == nil || l.RPO.AtMost != 3 {
		t.Errorf("the last real move: %+v", l)
	}
}

// gauges are what was told to a metrics handler.
type gauges struct {
	client.MetricsHandler
	told map[string]float64
}

type gauge func(float64)

func (g gauge) Update(v float64) { g(v) }

func (g gauges) Gauge(name string) client.MetricsGauge {
	return gauge(func(v float64) { g.told[name] = v })
}

func TestTheLastMoveIsMeasuredBesideItsObjectives(t *testing.T) {
	exact := 12.5
	r := runbook.Readiness{Objectives: &runbook.Objectives{RTOSeconds: 900, RPOSeconds: 30}, Last: &runbook.Measured{RTOMillis: 1500, Ended: time.Unix(1700000000, 0), RPO: &runbook.RPOTime{AtMost: 60}}}
	want := map[string]float64{"drawbridge_rto_seconds": 1.5, "drawbridge_rto_objective_seconds": 900, "drawbridge_rpo_seconds": 60, "drawbridge_rpo_objective_seconds": 30, "drawbridge_last_move_time_seconds": 1700000000}
	for _, rpo := range []float64{60, exact} {
		g := gauges{told: map[string]float64{}}
		want["drawbridge_rpo_seconds"] = rpo
		tellObjectives(g, r)
		if d := cmp.Diff(want, g.told); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		r.Last.RPO.Exact = &exact
	}
	g := gauges{told: map[string]float64{}}
	if tellObjectives(g, runbook.Readiness{}); len(g.told) > 0 {
		t.Errorf("a pair that never moved: %v", g.told)
	}
}

func TestTheNewestReadinessIsKept(t *testing.T) {
	dir := t.TempDir()
	a, closeAll := New(Options{ReportsDir: dir})
	defer closeAll()
	for _, score := range []int{40, 100} {
		got, err := a.SaveReadiness(t.Context(), workflows.SaveReadinessInput{Folder: "reports", Readiness: runbook.Readiness{Pair: "orders", Score: score}})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(got.File)
		var r runbook.Readiness
		if err == nil {
			err = json.Unmarshal(raw, &r)
		}
		if err != nil || r.Score != score || r.Pair != "orders" {
			t.Errorf("%s: %v", raw, err)
		}
	}
	// It is no report: whoever reads those does not meet it.
	if got, err := a.PastRuns(t.Context(), workflows.PastRunsInput{Call: workflows.Call{Pair: "orders"}, Folder: "reports"}); err != nil || !got.Past.Exercised.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := a.SaveReadiness(t.Context(), workflows.SaveReadinessInput{Readiness: runbook.Readiness{Pair: "../orders"}}); err == nil {
		t.Error("a pair led out of the folder")
	}
}
