package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A move of a full drill that was skipped through ended well enough to have moved the pair: the drill must not say that it did
// not, nor send people after a pair that is at home.
func TestAFullDrillSaysWhereThePairIsWhateverBecameOfItsMoves(t *testing.T) {
	refusal := no(ErrRefused, "it says no")
	for name, c := range map[string]struct {
		fails  []error // of the moves' looks, of which a person skips those that fail
		active string
		says   string
		never  string
	}{
		"there": {[]error{refusal}, away, "drctl switchover orders --to east", "no change"},
		"back":  {[]error{nil, refusal}, home, `switchover ended as "partly"`, "the pair stays"},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			w.topics[away] = w.topics[home]
			w.plan.Limits.AntiFlapSeconds = 3600
			s := drilling(t, w, runbook.DrillFull, func(st Status) []runbook.Command {
				if st.Waiting != nil && st.Waiting.For == WaitPerson {
					c := signed(st, "bob", runbook.Skip)
					c.Step = st.Waiting.Step
					return []runbook.Command{c}
				}
				return agree(st)
			})
			w.fail["CompareLogEnds"] = c.fails // behind the flip
			s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillFull))
			err := s.env.GetWorkflowError()
			r := w.report
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.never) {
				t.Errorf("it ended with %v", err)
			}
			if now := w.consul[home]; !slices.Equal(now.Active, []string{c.active}) || !slices.Equal(r.Active, now.Active) || r.EpochAfter != now.Epoch || r.Outcome != runbook.Partly {
				t.Errorf("the pair is at %v, epoch %d; the report says %q, %v, epoch %d", now.Active, now.Epoch, r.Outcome, r.Active, r.EpochAfter)
			}
		})
	}
}

// Somebody changes the plan while a full drill has the pair away: the way home does not run on it, and people are told.
func TestAFullDrillComesHomeOnThePlanThatItLeftWithOrStopsAndSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		edit   string // the step of a move behind which the plan is another
		active string
		says   []string
	}{
		"while it goes there": {"flip", away, []string{"the pair stays at west", "yours hash, mine another hash", "drctl switchover orders --to east", "put the plan back"}},
		"while it comes home": {"back", home, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			w.topics[away] = w.topics[home]
			w.plan.Limits.AntiFlapSeconds = 3600
			s := drilling(t, w, runbook.DrillFull, agree)
			flips := 0
			w.hook = func(method string, in Call) {
				if method == "WriteRecord" && in.Step == "flip" {
					flips++
					w.mu.Lock()
					w.edited = w.edited || c.edit == "flip" || flips > 1
					w.mu.Unlock()
				}
			}
			s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillFull))
			err := s.env.GetWorkflowError()
			if len(c.says) == 0 && err != nil || len(c.says) > 0 && ErrorType(err) != ErrPlanDiffers {
				t.Fatalf("it ended with %v", err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("nobody is told %q: %v", text, err)
				}
			}
			now := w.consul[home]
			if !slices.Equal(now.Active, []string{c.active}) || now.Lock != nil || len(w.locks) > 0 || w.report.PlanHash != "hash" {
				t.Errorf("the pair is at %v, locked %v and %v, the report has the plan %q", now.Active, now.Lock, w.locks, w.report.PlanHash)
			}
			if !slices.ContainsFunc(w.notes, func(n NotifyInput) bool { return n.Kind == NotifyDrill }) && len(c.says) > 0 {
				t.Error("nobody was told")
			}
		})
	}
}

// Who cancels a launcher in Temporal is told what that was: an error with no type names no cure.
func TestACancelledDrillSaysSo(t *testing.T) {
	for _, kind := range runbook.DrillKinds {
		w := calm()
		s := drilling(t, w, kind, agree)
		w.hook = func(method string, c Call) {
			if method == "CheckPrivileges" {
				s.during(func(done func()) { s.env.CancelWorkflow(); done() })
			}
		}
		s.env.ExecuteWorkflow(Drill, drillOf(kind))
		if err := s.env.GetWorkflowError(); ErrorType(err) != ErrAborted || !strings.Contains(err.Error(), "cancelled in Temporal") {
			t.Errorf("%s: %v", kind, err)
		}
		s.pairAsItWas()
	}
}
