package workflows

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Who has asked for a tabletop has not asked for clients to move.
func TestARequestForOneKindOfDrillIsNoneForAnother(t *testing.T) {
	w := calm()
	s := drilling(t, w, runbook.DrillFull, agree)
	in := drillOf(runbook.DrillTabletop)
	in.Kind = runbook.DrillFull
	s.env.ExecuteWorkflow(Drill, in)
	if err := s.env.GetWorkflowError(); ErrorType(err) != ErrCommandStale || !strings.Contains(err.Error(), `signed for a drill of the kind "tabletop", not "full"`) {
		t.Fatalf("got %v", err)
	}
	s.pairAsItWas()

	w = calm()
	s = newStage(t, w)
	s.run(CanaryDrill, drillOf(runbook.DrillTabletop))
	s.failed(ErrCommandStale)
	if w.count("ClearDrill") > 0 {
		t.Error("it acted")
	}
}

// A request for a drill starts no operation by itself, and an input that calls a run a
// drill gets it around nothing.
func TestARunThatNoDrillLaunchedIsNoPartOfOne(t *testing.T) {
	start := drillOf(runbook.DrillFull).Start
	start.Drill = runbook.DrillFull
	for name, run := range map[string]func(*stage){
		"switchover": func(s *stage) { s.run(Switchover, SwitchoverInput{Start: start}) },
		"failover":   func(s *stage) { s.run(Failover, FailoverInput{Start: start}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			s := newStage(t, w)
			run(s)
			s.failed(ErrPrecondition)
			if len(w.calls) > 0 {
				t.Errorf("it called %v", w.calls)
			}
		})
	}
}

// The way home of a full drill begins when the way there was approved and has gone
// through, by the same request.
func TestAFullDrillComesHomeThoughItsRequestHasExpiredMeanwhile(t *testing.T) {
	w := calm()
	w.topics[away] = w.topics[home]
	ticks := 0
	s := drilling(t, w, runbook.DrillFull, func(st Status) []runbook.Command {
		if ticks++; ticks < 120 {
			return nil
		}
		return agree(st)
	})
	in := drillOf(runbook.DrillFull)
	in.Request.Expires = s.env.Now().Add(time.Minute)
	s.env.ExecuteWorkflow(Drill, in)
	if err := s.env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if w.consul[home].Active[0] != home || w.consul[home].Epoch != 3 {
		t.Errorf("active %v at epoch %d", w.consul[home].Active, w.consul[home].Epoch)
	}
}

// Whoever may start workflows may start one under a drill's id; with an old request for a
// drill it must get no operation that no drill plays, and none for ever.
func TestAnOldRequestForADrillStartsNothingElse(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		kind    string
		run     string
		in      func(Start) any
		expired time.Duration
		want    string
	}{
		"failover by a full drill":       {runbook.DrillFull, NameFailover, func(in Start) any { return FailoverInput{Start: in} }, 0, ErrPrecondition},
		"switchover by a tabletop":       {runbook.DrillTabletop, NameSwitchover, func(in Start) any { return SwitchoverInput{Start: in} }, 0, ErrPrecondition},
		"switchover by a canary drill":   {runbook.DrillCanary, NameSwitchover, func(in Start) any { return SwitchoverInput{Start: in} }, 0, ErrPrecondition},
		"switchover by another kind":     {"any", NameSwitchover, func(in Start) any { return SwitchoverInput{Start: in} }, 0, ErrPrecondition},
		"switchover of a full, too late": {runbook.DrillFull, NameSwitchover, func(in Start) any { return SwitchoverInput{Start: in} }, day + time.Minute, ErrCommandLate},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			s := newStage(t, w)
			s.id(DrillID("orders"))
			start := drillOf(c.kind).Start
			start.Drill = c.kind
			start.Request.Expires = s.env.Now().Add(-c.expired).Add(time.Second)
			if c.expired > 0 {
				start.Request.Expires = s.env.Now().Add(-c.expired)
			}
			s.env.ExecuteWorkflow(func(ctx workflow.Context) error {
				ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: ID("orders")})
				return workflow.ExecuteChildWorkflow(ctx, c.run, c.in(start)).Get(ctx, nil)
			})
			if err := s.env.GetWorkflowError(); ErrorType(err) != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			s.pairAsItWas()
		})
	}
}
