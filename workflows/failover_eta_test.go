package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func pastFailovers() []runbook.RunTimes {
	r := runbook.RunTimes{OpID: "failover-0", Operation: runbook.OpFailover, Waves: 1, Steps: []runbook.Segment{{Name: "flip", Millis: 400}, {Name: "fail over wave", Millis: 1000}}}
	for _, name := range []string{"attest", "approve", "fence", "mirrors", "flip", "clients"} {
		r.RTO = append(r.RTO, runbook.Segment{Name: name, Millis: 2000})
	}
	return []runbook.RunTimes{r}
}

func TestAFailoverTellsWhenItWillBeOverFromEarlierRuns(t *testing.T) {
	w := lost()
	w.earlier = pastFailovers()
	s := newStage(t, w)
	var asked string
	var seen *runbook.ETA
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			asked, seen = st.Waiting.Text, st.ETA
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	for _, want := range []string{"time: approve runs", "RTO about 11.0 s, objective 60 s: met", "median of 1 earlier runs", "(approve 2.0 s, fence 2.0 s, mirrors 3.0 s, flip 2.0 s, clients 2.0 s)", "15 records at risk", "last exercised"} { // two waves
		if !strings.Contains(asked, want) {
			t.Errorf("people were asked without %q: %s", want, asked)
		}
	}
	if seen == nil || seen.Running != "approve" || seen.Done.IsZero() || seen.ObjectiveSeconds != 60 {
		t.Errorf("while people were asked the status said %+v", seen)
	}
	if end := s.status().ETA; end == nil || end.Running != "" || end.TotalMillis != s.res.Report.RTOMillis {
		t.Errorf("at the end: %+v, RTO %d", end, s.res.Report.RTOMillis)
	}
	if md := s.res.Report.Markdown(); !strings.Contains(md, "objective 60 s: met with") || !strings.Contains(md, "| mirrors | 0.0 | 3.0 of 1 runs |") {
		t.Errorf("report:\n%s", md)
	}
}

func TestAFailoverWithoutEarlierRunsInventsNoTime(t *testing.T) {
	w := lost()
	w.fail["PastRuns"] = []error{no(ErrRefused, "the folder is away")}
	s := newStage(t, w)
	var asked string
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			asked = st.Waiting.Text
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly) // it went on
	if !strings.Contains(asked, "so no estimate") || strings.Contains(asked, "median") || !strings.Contains(strings.Join(s.res.Report.Findings, " "), "the folder is away") {
		t.Errorf("asked %q, findings %v", asked, s.res.Report.Findings)
	}
}

// The dry run's list is the list of the steps that a run takes behind its
// forecast, name by name.
func TestTheDryRunNamesTheStepsThatARunTakes(t *testing.T) {
	w := lost()
	w.earlier = pastFailovers()
	dry := newStage(t, w)
	dry.id(DryID("orders", "1"))
	dry.run(Failover, FailoverInput{Start: request(runbook.OpFailover), DryRun: true})
	dry.outcome(runbook.Dry)
	s := newStage(t, lost())
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	var took, would []string
	for _, l := range s.res.Report.Steps {
		took = append(took, runbook.StepKey(l.Name))
	}
	took = slices.Compact(took[slices.Index(took, "forecast")+1:])
	for _, p := range dry.res.Report.Planned {
		would = append(would, runbook.StepKey(p.Name))
		if p.Name == "flip" && (p.Millis != 400 || p.Runs != 1) {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(took, would) {
		t.Errorf("would do %v\ndid %v", would, took)
	}
	if md := dry.res.Report.Markdown(); !strings.Contains(md, "RTO about 13.0 s") || !strings.Contains(md, "flip: write the record of truth: west is active; its own Consul first, east's is owed if it is silent, about 0.4 s (1 runs)") {
		t.Errorf("dry run:\n%s", md)
	}
}
