package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// escalating is a lost site, a plan that escalates failovers after a minute to
// operators, and kim, who is one.
func escalating(mayApprove bool) *world {
	w := lost()
	w.plan.People = append(w.plan.People, runbook.Person{Name: "kim", Roles: []string{"operator"}, SlackID: "U7"})
	rule := w.plan.Approvals[runbook.OpFailover]
	rule.EscalateSeconds, rule.EscalateTo, rule.EscalatedMayApprove = 60, []string{"operator"}, mayApprove
	w.plan.Approvals[runbook.OpFailover] = rule
	return w
}

// kim approves from the start, each time in other words, and ann, who asked for
// the failover and was escalated to as well, does so afterwards.
func kimAndAnn(s *stage) {
	n := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || n > 100 {
			return nil
		}
		n++
		c := signed(st, "kim", runbook.Approve, st.Waiting.Overrides...)
		c.Reason += strings.Repeat("!", n)
		own := signed(st, "ann", runbook.Approve, st.Waiting.Overrides...)
		if len(st.Waiting.EscalatedTo) > 0 {
			return []runbook.Command{own, c}
		}
		return []runbook.Command{c}
	}
}

func TestAnEscalationTellsMoreWhoMayApproveIfThePlanSaysSo(t *testing.T) {
	w := escalating(true)
	s := newStage(t, w)
	kimAndAnn(s)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	r := s.res.Report
	if len(r.Approvals) != 1 || r.Approvals[0].By != "kim" || r.Approvals[0].At.Sub(r.Escalations[0].At) > 5e9 {
		t.Errorf("approvals %+v", r.Approvals)
	}
	for _, err := range s.nays {
		if ErrorType(err) != ErrNotAllowed {
			t.Errorf("%v", err)
		}
	}
	if !slices.ContainsFunc(s.nays, func(err error) bool { return strings.Contains(err.Error(), "ann asked for this run") }) {
		t.Errorf("the requester approved it: %v", s.nays)
	}
	if len(r.Escalations) != 1 || strings.Join(r.Escalations[0].To, " ") != "ann kim" || r.Escalations[0].Need != 1 || !r.Escalations[0].MayApprove {
		t.Errorf("escalations %+v", r.Escalations)
	}
	if took := r.Escalations[0].At.Sub(r.Started).Seconds(); took < 60 || took > 65 {
		t.Errorf("escalated after %.0f s", took)
	}
	if !strings.Contains(r.Markdown(), "escalated to ann, kim, who may approve it too") {
		t.Errorf("not in the report:\n%s", r.Markdown())
	}
	if !slices.ContainsFunc(w.notes, func(n NotifyInput) bool {
		return n.Kind == NotifyEscalated && n.Page && n.Wide && slices.Equal(n.Mention, []string{"U7"})
	}) {
		t.Errorf("%+v", w.notes)
	}
}

// Without the plan's word an escalation gives nobody a say, and the deadline
// before the pivot ends the run as if it had never begun.
func TestAnEscalationAloneLetsNobodyApprove(t *testing.T) {
	w := escalating(false)
	s := newStage(t, w)
	kimAndAnn(s)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	s.clean()
	if r := s.res.Report; len(r.Approvals) != 0 || len(r.Escalations) != 1 || r.Escalations[0].MayApprove || !strings.Contains(r.Error, "deadline") {
		t.Errorf("approvals %+v, escalations %+v, %q", r.Approvals, r.Escalations, r.Error)
	}
	if w.count("EngineLock") > 0 || w.consul[away].Epoch != 1 {
		t.Errorf("%v", w.calls)
	}
}

func TestAPlanCanForbidEscalation(t *testing.T) {
	w := escalating(true)
	rule := w.plan.Approvals[runbook.OpFailover]
	rule.EscalateSeconds = -1
	w.plan.Approvals[runbook.OpFailover] = rule
	s := newStage(t, w).run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	if len(s.res.Report.Escalations) != 0 || slices.ContainsFunc(w.notes, func(n NotifyInput) bool { return n.Wide }) {
		t.Errorf("%+v", s.res.Report.Escalations)
	}
}

// The second question of a failover comes behind its fence: no answer in time
// takes the fence, the tokens and the locks back.
func TestADeadlineBehindTheFenceUndoesEverything(t *testing.T) {
	w := steady()
	w.deaf = true
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || slices.Contains(st.Waiting.Overrides, runbook.OverrideFence) {
			return nil
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	s.clean()
	if !w.before("FenceSite", "LiftFence") || len(w.fences[home])+len(w.groups[home]) != 0 || w.mirrors["there"]["a"] != "ACTIVE" || w.consul[away].Epoch != 1 {
		t.Errorf("fences %v %v, mirrors %v, epoch %d", w.fences, w.groups, w.mirrors, w.consul[away].Epoch)
	}
	if !strings.Contains(s.res.Report.Error, "0 of 1 approvals") && !strings.Contains(s.res.Report.Error, "deadline") {
		t.Errorf("%q", s.res.Report.Error)
	}
}

// Behind the pivot nobody's silence ends a run: a switchover that was turned
// into a failover half way waits for approvals in vain, and goes on promoting.
func TestADeadlineBehindThePivotEndsNothing(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.stuck = map[string]bool{"b": true}
	tries := 0
	w.hook = func(method string, c Call) {
		if method != "PromoteMirrors" {
			return
		}
		switch tries++; tries {
		case 2:
			s.during(func(done func()) { s.sendThen(signed(s.status(), "eve", runbook.IntoFailover), done) })
		case 3:
			w.mu.Lock()
			w.stuck = nil
			w.mu.Unlock()
		}
	}
	waited := false
	s.react = func(st Status) []runbook.Command {
		if st.Turned != nil && st.Waiting != nil && st.Waiting.For == WaitApproval {
			if waited = true; !st.PastPivot {
				t.Error("not past the pivot")
			}
			return nil
		}
		return agree(st)
	}
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	s.clean()
	if !waited || len(s.res.Report.Escalations) != 1 || s.res.Report.Turned != nil {
		t.Errorf("waited %t, escalations %+v, turned %+v", waited, s.res.Report.Escalations, s.res.Report.Turned)
	}
	turnedRound(t, w, home, away, "there", "back", 2)
}
