package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAPipelineIsPlacedBehindTheWavesAndBeforeTheFlip(t *testing.T) {
	w := lost()
	w.plan.Pipelines = []runbook.Pipeline{{Group: "g", Inputs: []string{"a"}, Outputs: []string{"b"}, MarginSeconds: 60}}
	s := newStage(t, w)
	asked := ""
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			asked = st.Waiting.Text
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if !strings.Contains(asked, "pipeline g reads 50 again") { // from 500 s - 60 s, record 40, to the commit at 90
		t.Errorf("people were asked %q", asked)
	}
	if len(w.placed) != 2 || w.placed[0].At != 40 || w.placed[0].Repeats != 50 || w.placed[1].Skipped == "" {
		t.Errorf("placed %+v", w.placed)
	}
	flip := slices.IndexFunc(w.steps, func(c Call) bool { return c.Step == "flip" })
	placed := slices.Index(w.calls, "PlaceGroup")
	last := 0
	for i, c := range w.calls {
		if c == "FailoverMirrors" {
			last = i
		}
	}
	if placed < last || placed > flip {
		t.Errorf("placed as call %d, the last wave was %d, the flip %d", placed, last, flip)
	}
	rep := s.res.Report
	if len(rep.Pipelines) != 2 || !strings.Contains(strings.Join(rep.Findings, " "), "pipeline g on a/1 is left: the group has no offset") || !strings.Contains(rep.Markdown(), "| g | a | 0 | 90 | 40 | 50 |") {
		t.Errorf("report %s", rep.Markdown())
	}
	w = lost()
	w.plan.Pipelines = []runbook.Pipeline{{Group: "g", Inputs: []string{"a"}, Outputs: []string{"b"}, MarginSeconds: 60}}
	dry := newStage(t, w)
	dry.id(DryID("orders", "1"))
	dry.run(Failover, FailoverInput{Start: request(runbook.OpFailover), DryRun: true})
	if !slices.ContainsFunc(dry.res.Report.Planned, func(p runbook.PlannedStep) bool { return p.Name == placePipelines }) || w.count("PlaceGroup") != 0 {
		t.Errorf("dry run %v, placed %d times", dry.res.Report.Planned, w.count("PlaceGroup"))
	}
}
