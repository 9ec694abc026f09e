//go:build real

package workflows_test

import (
	"slices"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Every way in which a switchover ends, on a real Temporal server whose worker
// keeps no cache; -record keeps the histories.
func TestSwitchoversOnARealServer(t *testing.T) {
	drains := func(st workflows.Status) bool {
		return slices.ContainsFunc(st.Steps, func(l runbook.StepLine) bool { return l.Name == "drain" && l.State == runbook.StateRunning })
	}
	deny := func(st workflows.Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{workflows.SignedBy(st, "eve", runbook.Deny)}
	}
	for name, c := range map[string]struct {
		world   func() workflows.World
		people  func(workflows.World) func(workflows.Status) []runbook.Command // default: all agree
		outcome string
		fails   string
		active  string
	}{
		"switchover": {outcome: runbook.Done, active: "west"},
		"switchover-denied": {
			people:  func(workflows.World) func(workflows.Status) []runbook.Command { return deny },
			outcome: runbook.NoChange, active: "east",
		},
		"switchover-aborted": {
			world: func() workflows.World { return workflows.Calm().Hold("AwaitDrained") },
			people: func(w workflows.World) func(workflows.Status) []runbook.Command {
				return func(st workflows.Status) []runbook.Command {
					if drains(st) {
						return []runbook.Command{workflows.SignedBy(st, "ann", runbook.Abort)}
					}
					if st.Phase == workflows.PhaseUndoing {
						w.Release()
					}
					return workflows.Agree(st)
				}
			},
			outcome: runbook.NoChange, active: "east",
		},
		"switchover-expired": {
			world: func() workflows.World { return workflows.Calm().Hold("AwaitDrained").Freeze(2) },
			people: func(w workflows.World) func(workflows.Status) []runbook.Command {
				return func(st workflows.Status) []runbook.Command {
					if st.Phase == workflows.PhaseUndoing {
						w.Release()
					}
					return workflows.Agree(st)
				}
			},
			outcome: runbook.NoChange, active: "east",
		},
		"switchover-unproven": {world: func() workflows.World { return workflows.Calm().Deaf() }, fails: workflows.ErrHalted, active: "east"},
		"switchover-half-way": {world: func() workflows.World { return workflows.Calm().Stuck("b", true) }, outcome: runbook.Done, active: "west"},
		"switchover-turned":   {world: func() workflows.World { return workflows.Calm().Hold("AwaitDrained") }, people: turnAt(drains), outcome: runbook.Partly, active: "west"},
		"switchover-turned-late": {
			world: func() workflows.World { return workflows.Calm().Stuck("b", false) },
			people: turnAt(func(st workflows.Status) bool {
				return st.Waiting != nil && st.Waiting.Step == "promote the rest"
			}),
			outcome: runbook.Partly, active: "west",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := workflows.Calm()
			if c.world != nil {
				w = c.world()
			}
			defer w.Release()
			l := start(t, w)
			l.fails = c.fails
			people := workflows.Agree
			if c.people != nil {
				people = c.people(w)
			}
			res := l.play(name, workflows.NameSwitchover, workflows.SwitchoverInput{Start: workflows.RequestBy("ann", runbook.OpSwitchover)}, people)
			if c.fails == "" && (res.Outcome != c.outcome || res.Active[0] != c.active) {
				t.Errorf("%s, active %v: %s", res.Outcome, res.Active, res.Report.Error)
			}
			if active := w.Active(); active != c.active {
				t.Errorf("%s is active", active)
			}
			if left := w.Left(); left != "" && c.outcome != runbook.Partly {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// turnAt loses east at a moment and has eve turn the run into a failover.
func turnAt(moment func(workflows.Status) bool) func(workflows.World) func(workflows.Status) []runbook.Command {
	return func(w workflows.World) func(workflows.Status) []runbook.Command {
		return func(st workflows.Status) []runbook.Command {
			if st.Turned == nil && moment(st) {
				w.Lose("east")
				return []runbook.Command{workflows.SignedBy(st, "eve", runbook.IntoFailover)}
			}
			if st.Turned != nil {
				w.Release()
			}
			return workflows.Agree(st)
		}
	}
}
