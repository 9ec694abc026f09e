//go:build real

package workflows_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// cancels cancels the run in Temporal when it acts, as a person would who knows no better, then agrees to all that is asked.
func (l *live) cancels(w workflows.World) func(workflows.Status) []runbook.Command {
	done := false
	return func(st workflows.Status) []runbook.Command {
		if st.Phase == workflows.PhaseActing && !done {
			done = true
			if err := l.c.CancelWorkflow(l.t.Context(), workflows.ID("orders"), ""); err != nil {
				l.t.Error(err)
			}
			w.Release()
		}
		return workflows.Agree(st)
	}
}

// says has somebody give one command at the first moment that is, lets go of what the world holds, and agrees to the rest.
func says(w workflows.World, who, decision string, moment func(workflows.Status) bool) func(workflows.Status) []runbook.Command {
	said := false
	return func(st workflows.Status) []runbook.Command {
		if said {
			w.Release()
		}
		if !said && moment(st) {
			said = true
			return []runbook.Command{workflows.SignedBy(st, who, decision)}
		}
		if said && decision == runbook.Deny {
			return nil
		}
		return workflows.Agree(st)
	}
}

// during is the moment when a step runs, "" for any that acts.
func during(step string) func(workflows.Status) bool {
	return func(st workflows.Status) bool {
		if step == "" {
			return st.Phase == workflows.PhaseActing && !st.PastPivot
		}
		return slices.ContainsFunc(st.Steps, func(l runbook.StepLine) bool { return l.Name == step && l.State == runbook.StateRunning })
	}
}

// How operations end otherwise than in their own tests, on a real Temporal server whose worker keeps no cache; -record keeps
// the histories.
func TestOtherEndingsOnARealServer(t *testing.T) {
	srv := serve(t)
	asked := func(st workflows.Status) bool { return st.Waiting != nil }
	by := func(op string) workflows.Start { return workflows.RequestBy("ann", op) }
	type people = func(*live) func(workflows.Status) []runbook.Command
	agree := func(*live) func(workflows.Status) []runbook.Command { return workflows.Agree }
	denied := func(l *live) func(workflows.Status) []runbook.Command { return says(l.w, "eve", runbook.Deny, asked) }
	abortedAt := func(step string) people {
		return func(l *live) func(workflows.Status) []runbook.Command {
			return says(l.w, "ann", runbook.Abort, during(step))
		}
	}
	cancelled := func(l *live) func(workflows.Status) []runbook.Command { return l.cancels(l.w) }
	for name, c := range map[string]struct {
		world    workflows.World
		workflow string
		in       any
		people   people
		outcome  string
		fails    string
	}{
		"failover-done":        {workflows.Calm(), workflows.NameFailover, workflows.FailoverInput{Start: by(runbook.OpFailover)}, agree, runbook.Done, ""},
		"failover-aborted":     {workflows.Calm().Hold("FenceSite"), workflows.NameFailover, workflows.FailoverInput{Start: by(runbook.OpFailover)}, abortedAt("fence east"), runbook.NoChange, ""},
		"failover-cancelled":   {workflows.Lost().Hold("GrowMirrors"), workflows.NameFailover, workflows.FailoverInput{Start: by(runbook.OpFailover)}, cancelled, runbook.NoChange, ""},
		"failover-held":        {workflows.Lost().Held(), workflows.NameFailover, workflows.FailoverInput{Start: by(runbook.OpFailover)}, agree, "", workflows.ErrHeld},
		"switchover-cancelled": {workflows.Calm().Hold("AwaitDrained"), workflows.NameSwitchover, workflows.SwitchoverInput{Start: by(runbook.OpSwitchover)}, cancelled, runbook.NoChange, ""},
		"switchover-held":      {workflows.Calm().Held(), workflows.NameSwitchover, workflows.SwitchoverInput{Start: by(runbook.OpSwitchover)}, agree, "", workflows.ErrHeld},
		"setup-aborted":        {workflows.NewWorld().Hold("EnsureLink"), workflows.NameSetUp, workflows.SetUpInput{Start: by(runbook.OpSetUp)}, abortedAt(""), runbook.NoChange, ""},
		"recover-aborted":      {workflows.FailedOver().Hold("ComputeLedger"), workflows.NameRecoverLaggedData, workflows.RecoverInput{Start: by(runbook.OpRecover)}, abortedAt(""), runbook.Partly, ""},
		"failback-denied":      {workflows.Decided(), workflows.NameFailback, workflows.FailbackInput{Start: workflows.Deciding(runbook.OpFailback, map[string]string{"new": runbook.ChooseMirror}), Decisions: map[string]string{"new": runbook.ChooseMirror}}, denied, runbook.NoChange, ""},
		"failback-aborted":     {workflows.Decided().Hold("AwaitDrained"), workflows.NameFailback, workflows.FailbackInput{Start: workflows.Deciding(runbook.OpFailback, map[string]string{"new": runbook.ChooseMirror}), Decisions: map[string]string{"new": runbook.ChooseMirror}}, abortedAt("drain"), runbook.Partly, ""},
		"restore-denied":       {workflows.Decided(), workflows.NameRestoreDR, workflows.RestoreInput{Start: workflows.Deciding(runbook.OpRestore, map[string]string{"new": runbook.ChooseMirror}), Decisions: map[string]string{"new": runbook.ChooseMirror}}, denied, runbook.NoChange, ""},
		"restore-aborted":      {workflows.Decided().Hold("EnsureMirrors"), workflows.NameRestoreDR, workflows.RestoreInput{Start: workflows.Deciding(runbook.OpRestore, map[string]string{"new": runbook.ChooseMirror}), Decisions: map[string]string{"new": runbook.ChooseMirror}}, abortedAt("mirrors on back"), runbook.Partly, ""},
		"unfence-denied":       {workflows.Calm().Abandoned(), workflows.NameUnfence, workflows.AskUnfence(), denied, runbook.NoChange, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer c.world.Release()
			l := beside(t, srv, c.world)
			l.fails = c.fails
			if res := l.play(name, c.workflow, c.in, c.people(l)); c.fails == "" && res.Outcome != c.outcome {
				t.Errorf("%s, want %s: %s\n%s", res.Outcome, c.outcome, res.Report.Error, runbook.Table(res.Report.Steps))
			}
			if left := c.world.Left(); left != "" && c.outcome == runbook.NoChange && c.workflow != workflows.NameUnfence && c.workflow != workflows.NameRestoreDR && c.workflow != workflows.NameFailback {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// launch plays a workflow that has an id of its own, and has others act under the pair's.
func (l *live) launch(name, id, workflow string, in, res any, people func(workflows.Status) []runbook.Command) context.Context {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Minute)
	l.t.Cleanup(cancel)
	r, err := l.begin(ctx, id, workflow, in)
	if err != nil {
		l.t.Fatal(err)
	}
	l.follow(ctx, name, r, res, people)
	return ctx
}

// latest is the last run under an id.
func (l *live) latest(ctx context.Context, id string) client.WorkflowRun {
	l.t.Helper()
	r := l.c.GetWorkflow(ctx, id, "")
	if r.GetRunID() == "" {
		d, err := l.c.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			l.t.Fatal(err)
		}
		r = l.c.GetWorkflow(ctx, id, d.GetWorkflowExecutionInfo().GetExecution().GetRunId())
	}
	return r
}

func TestDrillsOnARealServer(t *testing.T) {
	srv := serve(t)
	nobody := func(workflows.Status) []runbook.Command { return nil }
	deny := func(st workflows.Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{workflows.SignedBy(st, "eve", runbook.Deny)}
	}
	for name, c := range map[string]struct {
		world  workflows.World
		kind   string
		people func(workflows.Status) []runbook.Command
		fails  string
		child  string // its history is kept too, by this name
	}{
		"drill-tabletop":      {workflows.Calm(), runbook.DrillTabletop, nobody, "", ""},
		"drill-canary":        {workflows.Calm(), runbook.DrillCanary, nobody, "", "canary"},
		"drill-canary-failed": {workflows.Calm().Spoilt(), runbook.DrillCanary, nobody, workflows.ErrHalted, "canary-failed"},
		"drill-refused":       {workflows.Calm().Held(), runbook.DrillCanary, nobody, workflows.ErrHeld, ""},
		"drill-full":          {workflows.Turning(), runbook.DrillFull, workflows.Agree, "", "switchover-home-of-a-drill"},
		"drill-full-denied":   {workflows.Turning(), runbook.DrillFull, deny, workflows.ErrHalted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := beside(t, srv, c.world)
			l.fails = c.fails
			var res workflows.Result
			ctx := l.launch(name, workflows.DrillID("orders"), workflows.NameDrill, workflows.DrillOf(c.kind), &res, c.people)
			if c.fails == "" && (res.Outcome != runbook.Done || res.Active[0] != "east") {
				t.Errorf("%s: %s", res.Outcome, res.Report.Error)
			}
			if c.child != "" {
				l.save(ctx, c.child, l.latest(ctx, workflows.ID("orders")))
			}
			if name == "drill-tabletop" {
				run := l.latest(ctx, workflows.DrillID("orders")).GetRunID()
				for _, op := range []string{runbook.OpFailover, runbook.OpSwitchover} {
					l.save(ctx, op+"-dry", l.latest(ctx, workflows.DryID("orders", "drill-"+op+"-"+run)))
				}
			}
			if left := c.world.Left(); left != "" || c.world.Active() != "east" {
				t.Errorf("%s is active, left behind: %s", c.world.Active(), left)
			}
		})
	}
}

func TestDebtAndReadinessOnARealServer(t *testing.T) {
	srv := serve(t)
	nobody := func(workflows.Status) []runbook.Command { return nil }
	t.Run("debt", func(t *testing.T) {
		t.Parallel()
		l := beside(t, srv, workflows.Indebted())
		var st workflows.DebtStatus
		ctx := l.launch("debt", workflows.DebtID("orders"), workflows.NameDebt, workflows.DebtInput{Pair: "orders"}, &st, nobody)
		if len(st.Owed) > 0 || st.Last != runbook.Done {
			t.Errorf("%+v", st)
		}
		l.save(ctx, "recover-debts-only", l.latest(ctx, workflows.ID("orders")))
	})
	for name, w := range map[string]workflows.World{"readiness": workflows.Calm(), "readiness-proposes": workflows.Lost()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := beside(t, srv, w)
			var r runbook.Readiness
			l.launch(name, workflows.ReadyID("orders"), workflows.NameReadiness, workflows.ReadinessInput{Pair: "orders"}, &r, nobody)
			if lost := name == "readiness-proposes"; r.Ready == lost || (r.Proposal == "") == lost {
				t.Errorf("ready %t, proposal %q: %s", r.Ready, r.Proposal, r.Summary())
			}
		})
	}
}
