package workflows

import (
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// lose takes a whole site away, back brings it.
func (w *world) lose(site string, away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.down[site+" "+part] = away
	}
}

// Once every mirror is ended nothing may wait for the source: clients stand still, and there is no way back. Who does not
// want to wait for it behind the flip either ends the run, and a restore protects the pair later.
func TestPlannedMoveWhoseSourceIsLostBehindItsPivotEndsWithoutIt(t *testing.T) {
	for name, c := range map[string]struct {
		world    *world
		flow     any
		in       any
		from, to string
		link     string
		advice   string
		returns  bool // before anybody skips
	}{
		"switchover":                         {calm(), Switchover, planned(), home, away, "there", "drctl failback orders", false},
		"failback":                           {decided(), Failback, FailbackInput{Start: request(runbook.OpFailback)}, away, home, "back", "drctl restore orders", false},
		"failback, of a source that is back": {decided(), Failback, FailbackInput{Start: request(runbook.OpFailback)}, away, home, "back", "drctl restore orders", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world
			s := newStage(t, w)
			lost := false
			w.hook = func(method string, _ Call) {
				if method == "AwaitStopped" && !lost {
					lost = true
					w.lose(c.from, true)
				}
			}
			var waited []string
			s.react = func(st Status) []runbook.Command {
				if st.Waiting != nil && st.Waiting.For == WaitPerson {
					if waited = append(waited, st.Waiting.Step); len(waited) > 9 {
						t.Fatalf("it waits for people for ever: %+v, answers %v", st.Waiting, s.nays)
					}
					w.lose(c.from, !c.returns)
					skip := signed(st, "eve", runbook.Skip)
					skip.Step = st.Waiting.Step
					return []runbook.Command{skip}
				}
				return agree(st)
			}
			s.run(c.flow, c.in)
			s.outcome(runbook.Partly)
			if len(waited) != 1 || !strings.HasPrefix(waited[0], "begin operation on ") {
				t.Errorf("waited for people at %q", waited)
			}
			r := w.consul[c.to]
			if r.Active[0] != c.to || r.Phase != "open" || r.Lock != nil || len(r.FenceDebt) != 1 && !c.returns {
				t.Errorf("record: %+v", r)
			}
			if w.locks[c.to] != "" || w.tokens[c.link] == "open" || w.count("CompareLogEnds") > 0 {
				t.Errorf("locks %v, tokens %v", w.locks, w.tokens)
			}
			if all := strings.Join(s.res.Report.Findings, " "); !strings.Contains(all, "the pair is not protected") || !strings.Contains(all, c.advice) {
				t.Errorf("findings %q", s.res.Report.Findings)
			}
			w.lose(c.from, false)
			w.hook, w.same = nil, map[string]bool{}
			w.topics[home], w.topics[away] = w.plan.Topics, w.plan.Topics
			for _, topic := range w.plan.Topics {
				w.same[topic] = true
			}
			if len(r.FenceDebt) > 0 {
				w.tale(t, RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true}, "")
			}
			w.tale(t, RestoreDR, RestoreInput{Start: request(runbook.OpRestore, runbook.OverrideRebuild)}, "")
			if len(w.groups[c.from]) > 0 || !w.guards[c.from] || w.locks[c.from] != "" {
				t.Errorf("groups %v, guards %v, locks %v", w.groups, w.guards, w.locks)
			}
		})
	}
}

// What an earlier operation denied the groups at home is taken back before anybody is asked to move: a failover to a
// standby asks no register of the site that is lost.
func TestFailbackThatStaysAtItsQuestionLeavesAStandbyThatMayBeRead(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && strings.HasSuffix(st.Waiting.Question, " approve move") {
			return []runbook.Command{signed(st, "bob", runbook.Deny)}
		}
		return agree(st)
	}
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Partly)
	if len(w.groups[home]) > 0 {
		t.Errorf("READ stays denied at the standby: %v", w.groups[home])
	}
}
