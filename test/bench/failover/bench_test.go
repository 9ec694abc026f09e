//go:build real

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// It proves that the bench can be run and what it counts, not how fast anything is: a busy machine says nothing about that.
func TestAFailoverOfMoreTopicsTakesTheSameStepsButForTheWaves(t *testing.T) {
	dir := t.TempDir()
	var out local.Output
	err := bench(t.Context(), Options{
		Sizes: []size{{Name: "2", Topics: 2, Partitions: 2}, {Name: "60", Topics: 60, Partitions: 1, Scripts: true}},
		Ways:  []string{wayScript}, Kind: local.KFake, Repeats: 1, Out: dir,
	}, &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "bench-failover.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 2 || len(r.Direct) != 1 || len(r.Steps) < 10 {
		t.Fatalf("%d runs, %d scripts, steps %q", len(r.Runs), len(r.Direct), r.Steps)
	}
	// Two topics and the canary are one wave of 50, sixty and the canary two.
	if a, b := r.Runs[0], r.Runs[1]; a.Waves != 1 || b.Waves != 2 || len(b.Steps) != len(a.Steps)+1 || b.Activities != a.Activities+2 && a.Retried+b.Retried == 0 {
		t.Errorf("%d steps, %d activities, %d waves; with sixty topics %d, %d, %d", len(a.Steps), a.Activities, a.Waves, len(b.Steps), b.Activities, b.Waves)
	}
	for _, run := range r.Runs {
		if run.WritableMillis <= 0 || run.ClientMillis <= 0 || run.ProvenMillis <= 0 || run.EndMillis < run.ProvenMillis || run.PerStepMillis <= 0 || run.ActivityMillis <= 0 || run.ActivityMillis >= run.WallMillis {
			t.Errorf("no figures of a run: %+v", run)
		}
	}
	if d := r.Direct[0]; d.Calls < 120 || d.WritableMillis <= 0 || d.StoppedMillis < d.CallsMillis {
		t.Errorf("no figures of the script: %+v", d)
	}
}
