package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// frozen is w within a change freeze.
func frozen(w *world) *world {
	w.plan.Freezes = []runbook.Freeze{{Name: "black friday", From: "2000-01-01T00:00:00Z", To: "2100-01-01T00:00:00Z"}}
	return w
}

// told tells whether text holds every one of parts, else says which it lacks.
func told(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not say %q", text, p)
		}
	}
}

// changed are the calls that change anything at a site.
func (w *world) changed() []string {
	looks := []string{"LoadPlan", "VerifySignature", "ReadRecord", "ReadHold", "Notify", "SaveReport"}
	return slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return slices.Contains(looks, c) })
}

func TestPlannedOperationsAreRefusedInAChangeFreeze(t *testing.T) {
	for name, c := range map[string]struct {
		world    *world
		workflow any
		input    any
	}{
		"switchover": {calm(), Switchover, planned()},
		"failback":   {failedOver(), Failback, FailbackInput{Start: request(runbook.OpFailback)}},
		"setup":      {steady(), SetUp, SetUpInput{Start: request(runbook.OpSetUp)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, frozen(c.world))
			s.run(c.workflow, c.input)
			s.failed(ErrHeld)
			s.clean()
			told(t, s.err.Error(), "black friday", "2100-01-01 00:00:00", "drctl "+name+" orders --override change-freeze")
			if got := s.w.changed(); len(got) > 0 {
				t.Errorf("it went on to %v", got)
			}
		})
	}
}

func TestAChangeFreezeIsOverriddenByRequestAndApproval(t *testing.T) {
	w := frozen(calm())
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitApproval {
			return nil
		}
		if s.sent[runbook.Approve] == 0 { // without its name first
			return []runbook.Command{signed(st, "eve", runbook.Approve)}
		}
		return agree(st)
	}
	s.run(Switchover, planned(runbook.OverrideFreeze))
	s.outcome(runbook.Done)
	s.refused(ErrNotAllowed, 1)
	told(t, strings.Join(s.res.Report.Findings, "; "), "black friday", "overridden by the request of ann")
	if !slices.Contains(s.res.Report.Overrides, runbook.OverrideFreeze) {
		t.Errorf("the report's overrides are %v", s.res.Report.Overrides)
	}
}

// Behind the first approval the override is settled: a failback asks twice, and the
// second question is about something else.
func TestAFailbackAsksForTheOverrideOnce(t *testing.T) {
	w := failedOver()
	w.ledger = nil
	s := newStage(t, frozen(w))
	var asked [][]string
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitApproval {
			asked = append(asked, st.Waiting.Overrides)
		}
		return agree(st)
	}
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback, runbook.OverrideFreeze)})
	s.outcome(runbook.Done)
	if len(asked) != 2 || !slices.Equal(asked[0], []string{runbook.OverrideRebuild, runbook.OverrideFreeze}) || len(asked[1]) > 0 {
		t.Errorf("asked for the overrides %v", asked)
	}
}

func TestAFailoverIsNeverHeldUpByAChangeFreeze(t *testing.T) {
	s := newStage(t, frozen(lost()))
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly) // the lost site is owed its fence
	told(t, strings.Join(s.res.Report.Findings, "; "), "black friday", "2100")
	if slices.Contains(s.res.Report.Overrides, runbook.OverrideFreeze) {
		t.Error("it took an override that it does not need")
	}
}

func TestADryRunAndTheFirstSetUpOnlySayThatAFreezeHolds(t *testing.T) {
	s := newStage(t, frozen(calm()))
	s.id(DryID("orders", "1"))
	in := planned()
	in.DryRun = true
	s.run(Switchover, in)
	s.outcome(runbook.Dry)
	told(t, strings.Join(s.res.Report.Findings, "; "), "black friday")

	s = newStage(t, frozen(newWorld()))
	s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	s.outcome(runbook.Done)
	told(t, strings.Join(s.res.Report.Findings, "; "), "black friday")
}

func TestAFreezeThatIsOverHoldsNothing(t *testing.T) {
	w := calm()
	w.plan.Freezes = []runbook.Freeze{{Name: "long ago", From: "2000-01-01T00:00:00Z", To: time.Now().Add(-time.Hour).Format(time.RFC3339)}}
	s := newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
}
