package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// again forgets what the last run called.
func (w *world) again() { w.calls, w.steps, w.writes = nil, nil, nil }

// A cluster that flaps: operators move the pair to and fro, each because the other
// one did. The second of a kind is turned away until somebody says that it is meant.
func TestAFlappingPairIsNotMovedAgainWithoutAWord(t *testing.T) {
	w := calm()
	w.plan.Limits.AntiFlapSeconds = 3600
	s := newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	made := w.consul[away].OpID
	if m := w.consul[away].Moves; len(m) != 1 || m[0].OpID != made || m[0].Operation != runbook.OpSwitchover || m[0].Active != away {
		t.Fatalf("the record's moves: %+v", m)
	}

	w.again()
	s = newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.failed(ErrHeld)
	told(t, s.err.Error(), "flaps", made, "moved it to west", "drctl switchover orders --override flapping")
	if got := w.changed(); len(got) > 0 {
		t.Errorf("it went on to %v", got)
	}

	w.again()
	s = newStage(t, w)
	s.react = agree
	s.run(Switchover, planned(runbook.OverrideFlapping))
	s.outcome(runbook.Done)
	if m := w.consul[home].Moves; len(m) != 2 || m[1].Active != home || !slices.Contains(s.res.Report.Overrides, runbook.OverrideFlapping) {
		t.Errorf("moves %+v, overrides %v", m, s.res.Report.Overrides)
	}

	// The site dies now: that two planned moves were just made is no obstacle.
	w.again()
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.down[home+" "+part] = true
	}
	s = newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if slices.Contains(s.res.Report.Overrides, runbook.OverrideFlapping) {
		t.Error("the failover was held up by planned moves")
	}
}

// A second failover is never turned away: whoever approves it says that it is meant,
// also of one that was started unsigned.
func TestASecondFailoverAsksItsApprovers(t *testing.T) {
	for name, in := range map[string]FailoverInput{
		"signed": {Start: request(runbook.OpFailover)}, "named": {Start: request(runbook.OpFailover, runbook.OverrideFlapping)}, "unsigned": {Start: Start{Pair: "orders"}},
	} {
		w := lost()
		w.plan.Limits.AntiFlapSeconds = 3600
		for _, r := range w.consul {
			r.Moves = []record.Move{{OpID: "failover-0", Operation: runbook.OpFailover, Active: home, At: time.Now()}}
			*r = r.Normalised()
		}
		s := newStage(t, w)
		first := true
		s.react = func(st Status) []runbook.Command {
			if st.Waiting == nil || st.Waiting.For != WaitApproval {
				return nil
			}
			if first {
				first = false
				return []runbook.Command{signed(st, "bob", runbook.Approve, runbook.OverrideFence)}
			}
			return append(agree(st), signed(st, "eve", runbook.Approve, st.Waiting.Overrides...))
		}
		s.run(Failover, in)
		s.outcome(runbook.Partly)
		if !slices.Contains(s.res.Report.Overrides, runbook.OverrideFlapping) {
			t.Errorf("%s: overrides %v", name, s.res.Report.Overrides)
		}
		told(t, strings.Join(s.res.Report.Findings, ";"), "pair orders flaps: failover-0 moved it")
	}
}
