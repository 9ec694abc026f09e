package workflows

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (w *world) ReadHold(_ context.Context, in ReadHoldInput) (ReadHoldResult, error) {
	err := w.enter("ReadHold", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	var out ReadHoldResult
	for _, s := range in.Sites {
		out.Holds = append(out.Holds, w.holdAt(s.Name))
	}
	return out, err
}

func (w *world) holdAt(site string) runbook.HoldCopy {
	c := runbook.HoldCopy{Site: site, Scope: runbook.HoldPair, Reachable: !w.down[site+" consul"]}
	if h, ok := w.kill[site]; ok && c.Reachable {
		c.Hold = &h
	}
	return c
}

// put holds the pair at a site.
func (w *world) put(site, by string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kill == nil {
		w.kill = map[string]runbook.Hold{}
	}
	w.kill[site] = runbook.Hold{Held: true, Seq: 1, By: by, Reason: "audit week", Since: time.Unix(5000, 0)}
}

func TestNoOperationStartsOnAPairThatIsHeld(t *testing.T) {
	debt := runbook.OpUnfence
	for name, c := range map[string]struct {
		world    *world
		workflow any
		input    any
	}{
		runbook.OpSetUp:      {steady(), SetUp, SetUpInput{Start: request(runbook.OpSetUp)}},
		runbook.OpFailover:   {lost(), Failover, FailoverInput{Start: request(runbook.OpFailover)}},
		runbook.OpSwitchover: {calm(), Switchover, planned()},
		runbook.OpRecover:    {failedOver(), RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)}},
		runbook.OpFailback:   {failedOver(), Failback, FailbackInput{Start: request(runbook.OpFailback)}},
		debt:                 {steady(), Unfence, UnfenceInput{Start: Start{Pair: "orders"}, Operations: []string{"failover-9"}, Sites: []string{home}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.world.put(away, "zoe")
			s := newStage(t, c.world)
			s.run(c.workflow, c.input)
			s.failed(ErrHeld)
			s.clean()
			told(t, s.err.Error(), "zoe", "1970-01-01 01:23:20", "audit week", "drctl release orders", "drctl "+name+" orders --override hold")
			if got := s.w.changed(); len(got) > 0 {
				t.Errorf("it went on to %v", got)
			}
		})
	}
}

func TestAHoldIsOverriddenByRequestAndApproval(t *testing.T) {
	w := lost()
	w.put(away, "zoe")
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover, runbook.OverrideHold)})
	s.outcome(runbook.Partly)
	if !slices.Contains(s.res.Report.Overrides, runbook.OverrideHold) || len(s.res.Report.Approvals) != 1 {
		t.Errorf("overrides %v by %v", s.res.Report.Overrides, s.res.Report.Approvals)
	}
}

func TestAReleasedHoldHoldsNothingWhereOneConsulMissedTheRelease(t *testing.T) {
	w := calm()
	w.put(home, "zoe")
	w.put(away, "zoe")
	w.kill[away] = runbook.Hold{Seq: 2, By: "zoe"}
	s := newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
}

// when puts the hold while a step runs.
func (w *world) putDuring(step string) {
	w.hook = func(method string, _ Call) {
		if method == step {
			w.put(away, "zoe")
		}
	}
}

func TestAHoldDuringTheFreezeUndoesAPlannedMove(t *testing.T) {
	w := calm()
	w.putDuring("AwaitDrained")
	s := newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.failed(ErrHeld)
	s.clean()
	told(t, s.err.Error(), "zoe", "audit week", "nothing was moved", "everything was undone")
	s.endedAs(runbook.NoChange)
	if w.count("PromoteMirrors") > 0 || w.consul[home].Active[0] != home || len(w.fences[home]) > 0 && anyTrue(w.fences[home]) {
		t.Errorf("promoted %d times, active %v, fences %v", w.count("PromoteMirrors"), w.consul[home].Active, w.fences)
	}
}

// endedAs wants the outcome that goes with the error of a run.
func (s *stage) endedAs(outcome string) {
	s.t.Helper()
	var end Ending
	var app *temporal.ApplicationError
	if !errors.As(s.err, &app) || !app.HasDetails() || app.Details(&end) != nil || end.Outcome != outcome {
		s.t.Errorf("ended as %q, want %q: %v", end.Outcome, outcome, s.err)
	}
}

func TestAHoldDuringAFailbacksFreezeDoesNotSayThatNothingWasChanged(t *testing.T) {
	w := decided()
	w.putDuring("AwaitDrained")
	s := newStage(t, w)
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.failed(ErrHeld)
	s.clean()
	s.stillAway(t)
	told(t, s.err.Error(), "zoe", "not all undone", "drctl status orders")
	s.endedAs(runbook.Partly)
}

func anyTrue(m map[string]bool) bool {
	for _, v := range m {
		if v {
			return true
		}
	}
	return false
}

// Nobody can wait out a failover whose site is lost: people decide, by the hold's name.
func TestAHoldBeforeAFailoversPivotAsksPeople(t *testing.T) {
	for _, yes := range []bool{true, false} {
		w := lost()
		w.putDuring("GrowMirrors")
		s := newStage(t, w)
		s.react = func(st Status) []runbook.Command {
			if !yes && st.Waiting != nil && slices.Contains(st.Waiting.Overrides, runbook.OverrideHold) {
				told(t, st.Waiting.Text, "zoe", "audit week")
				return []runbook.Command{signed(st, "bob", runbook.Deny)}
			}
			return agree(st)
		}
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
		if yes {
			s.outcome(runbook.Partly)
			if len(s.res.Report.Approvals) != 2 || w.count("FailoverMirrors") == 0 {
				t.Errorf("approvals %v, calls %v", s.res.Report.Approvals, w.calls)
			}
			continue
		}
		s.outcome(runbook.NoChange)
		s.clean()
		if w.count("FailoverMirrors") > 0 {
			t.Error("it failed over against the hold")
		}
	}
}

func TestAFailoverDoesNotWaitForTheLostSitesConsulTwice(t *testing.T) {
	w := lost()
	asked := ""
	w.hook = func(method string, c Call) {
		if method == "ReadHold" {
			asked += c.Step
		}
	}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if asked != "read hold" || strings.Contains(strings.Join(s.res.Report.Findings, ";"), "whether somebody holds") {
		t.Errorf("asked %q, findings %v", asked, s.res.Report.Findings)
	}
}
