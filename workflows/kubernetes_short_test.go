package workflows

import (
	"fmt"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Behind the pivot what is at the old site alone has less time than the plan gives it: whoever reads that it does not stand
// still must not look for two minutes that nobody waited.
func TestAPlaceThatWasCutShortBehindThePivotSaysSo(t *testing.T) {
	p := scaled(home, "deployment/a")
	p.Context, p.WaitSeconds = "east-cluster", 120
	for name, c := range map[string]struct {
		wait int64
		says []string
		not  string
	}{
		"cut":         {120, []string{`step "workloads leave east" waits 15s at most`, "runs at east alone", "wait_seconds (2m0s)", "kubectl --context east-cluster -n shop get pods", "kubectl --context east-cluster -n shop scale deployment/a --replicas=0"}, "after 15s"},
		"its own 5 s": {5, []string{"do not stand still after 5s"}, "at most"},
	} {
		w := lost()
		p.WaitSeconds = c.wait
		w.inKubernetes(p, scaled(away, "deployment/a"))
		w.pods.stuck[p.Where()] = "2 of its pods still run"
		s := newStage(t, w)
		s.react = agree
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
		s.outcome(runbook.Partly)
		told := strings.Join(s.res.Report.Findings, "\n")
		for _, text := range append(c.says, "namespace shop of east-cluster (east)", "2 of its pods still run") {
			if !strings.Contains(told, text) {
				t.Errorf("%s: it does not say %q:\n%s", name, text, told)
			}
		}
		if strings.Contains(told, c.not) {
			t.Errorf("%s: it says %q:\n%s", name, c.not, told)
		}
	}
}

// In a freeze the wait is a quarter of what the plan gives the freeze: nothing of one site or of a pivot has to do with it.
func TestAPlaceThatWasCutShortInAFreezeSaysSo(t *testing.T) {
	for _, site := range []string{"", home} {
		w := calm()
		p := scaled(site, "deployment/a")
		p.WaitSeconds = 300
		w.inKubernetes(p)
		w.pods.stuck[p.Where()] = "2 of its pods still run"
		w.plan.Limits.FreezeSeconds = 120
		s := newStage(t, w)
		s.react = agree
		s.run(Switchover, planned())
		told := fmt.Sprint(s.err)
		if s.status().Outcome != runbook.NoChange {
			t.Errorf("outcome %s", s.status().Outcome)
		}
		for _, text := range []string{"do not stand still after 30s", "limits.freeze_seconds", "wait_seconds (5m0s)", "2 of its pods still run"} {
			if !strings.Contains(told, text) {
				t.Errorf("site %q: it does not say %q: %s", site, text, told)
			}
		}
		if strings.Contains(told, "alone") || strings.Contains(told, "--replicas=0") {
			t.Errorf("site %q: it says what is true behind a pivot only: %s", site, told)
		}
	}
}
