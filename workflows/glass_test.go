package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// breakable is a lost site and a plan that lets operators break the glass of a
// failover, with so many approvals left.
func breakable(approvals int) *world {
	w := lost()
	w.plan.Approvals[runbook.OpFailover] = runbook.Approval{Count: 2, Roles: []string{"approver"}, DeadlineSeconds: 600}
	w.plan.BreakGlass = &runbook.BreakGlassRule{Roles: []string{"operator"}, Approvals: approvals, Operations: []string{runbook.OpFailover}}
	w.plan.People = append(w.plan.People, runbook.Person{Name: "kim", Roles: []string{"operator", "approver"}, SlackID: "U7"})
	return w
}

// broken is ann's request that breaks the glass.
func broken(overrides ...string) Start {
	start := request(runbook.OpFailover, overrides...)
	start.Request.Decision, start.Request.Epoch, start.Request.PlanHash = runbook.BreakGlass, 1, "hash"
	return start
}

// toldBy checks that a broken glass is paged to everybody, stands at the head of
// the report, and lists the overrides one by one.
func (s *stage) toldBy(who string) {
	s.t.Helper()
	r := s.res.Report
	if len(r.BreakGlass) != 1 || r.BreakGlass[0].By != who || r.BreakGlass[0].Reason == "" {
		s.t.Errorf("the report's %+v", r.BreakGlass)
	}
	head, _, _ := strings.Cut(r.Markdown(), "## ")
	if !strings.Contains(head, "**BREAK-GLASS** by "+who) || !strings.Contains(head, "  - override `"+runbook.OverrideFence+"`: the old side is not fenced") {
		s.t.Errorf("the report begins\n%s", head)
	}
	if !slices.Equal(r.Overrides, []string{runbook.OverrideFence}) {
		s.t.Errorf("overrides %v", r.Overrides)
	}
	if !slices.ContainsFunc(s.w.notes, func(n NotifyInput) bool {
		return n.Kind == NotifyBreakGlass && n.Page && n.Wide && slices.Contains(n.Mention, "U7") && strings.Contains(n.Text, runbook.OverrideFence)
	}) {
		s.t.Errorf("nobody was paged: %+v", s.w.notes)
	}
}

func TestABrokenGlassNeedsAsManyApprovalsAsThePlanLeaves(t *testing.T) {
	w := breakable(0)
	s := newStage(t, w).run(Failover, FailoverInput{Start: broken(runbook.OverrideFence)})
	s.outcome(runbook.Partly) // the site is owed its fence
	s.clean()
	s.toldBy("ann")
	if len(s.res.Report.Approvals) != 0 || w.consul[away].Epoch != 2 {
		t.Errorf("approvals %+v", s.res.Report.Approvals)
	}
	if i := slices.IndexFunc(s.res.Report.Steps, func(l runbook.StepLine) bool { return l.Name == "approve" }); i < 0 || !strings.Contains(s.res.Report.Steps[i].Detail, "the glass was broken by ann") {
		t.Errorf("%s", runbook.Table(s.res.Report.Steps))
	}

	w = breakable(1)
	s = newStage(t, w)
	need := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			need = st.Waiting.Need
			return append([]runbook.Command{signed(st, "ann", runbook.Approve, runbook.OverrideFence)}, agree(st)...)
		}
		return nil
	}
	s.run(Failover, FailoverInput{Start: broken(runbook.OverrideFence)})
	s.outcome(runbook.Partly)
	s.toldBy("ann")
	s.refused(ErrNotAllowed, 1) // the requester is no approver, glass or no glass
	if need != 1 || len(s.res.Report.Approvals) != 1 {
		t.Errorf("needed %d, approvals %+v", need, s.res.Report.Approvals)
	}
}

// What was not named beforehand is asked for as ever.
func TestAnOverrideThatTheGlassDoesNotNameNeedsItsApprovals(t *testing.T) {
	w := breakable(0)
	s := newStage(t, w)
	need := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			need = st.Waiting.Need
			return append(agree(st), signed(st, "eve", runbook.Approve, st.Waiting.Overrides...))
		}
		return nil
	}
	s.run(Failover, FailoverInput{Start: broken()})
	s.outcome(runbook.Partly)
	if need != 2 || len(s.res.Report.Approvals) != 2 {
		t.Errorf("needed %d, approvals %+v", need, s.res.Report.Approvals)
	}
}

func TestAGlassThatMayNotBeBrokenRefusesTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world, *runbook.Command)
		want   string
		says   string
	}{
		"no such rule":     {func(w *world, _ *runbook.Command) { w.plan.BreakGlass = nil }, ErrNotAllowed, "no break_glass"},
		"other operations": {func(w *world, _ *runbook.Command) { w.plan.BreakGlass.Operations = []string{runbook.OpUnfence} }, ErrNotAllowed, "no break_glass"},
		"no role":          {func(_ *world, c *runbook.Command) { c.By, c.Signature = "bob", "by bob" }, ErrNotAllowed, "operator"},
		"no reason":        {func(_ *world, c *runbook.Command) { c.Reason, c.Overrides = "", nil }, ErrNotAllowed, "reason"},
		"no override":      {func(_ *world, c *runbook.Command) { c.Overrides = []string{"split-brain"} }, ErrNotAllowed, "cannot be overridden at all"},
		"another epoch":    {func(_ *world, c *runbook.Command) { c.Epoch = 2 }, ErrCommandStale, "epoch"},
		"no epoch":         {func(_ *world, c *runbook.Command) { c.Epoch = 0 }, ErrCommandStale, "epoch"},
		"no plan":          {func(_ *world, c *runbook.Command) { c.PlanHash = "" }, ErrCommandStale, "plan"},
		"forged":           {func(_ *world, c *runbook.Command) { c.Signature = "by bob" }, ErrCommandForged, ""},
		"split brain": {func(w *world, _ *runbook.Command) {
			other := *w.consul[home]
			other.OpID = "failover-elsewhere"
			other = other.Normalised()
			w.consul[home], w.down = &other, map[string]bool{}
		}, ErrSplitBrain, ""},
	} {
		w := breakable(0)
		start := broken(runbook.OverrideFence)
		start.Request.Choices = nil
		c.change(w, start.Request)
		s := newStage(t, w).run(Failover, FailoverInput{Start: start})
		if got := ErrorType(s.err); got != c.want || !strings.Contains(s.err.Error(), c.says) {
			t.Errorf("%s: %q (%v), want %q naming %q", name, got, s.err, c.want, c.says)
		}
		if w.count("AttestOutage") > 0 || len(w.notes) > 0 {
			t.Errorf("%s: the run went on, or people were paged for nothing", name)
		}
	}
}

// In the middle of the night somebody else answers for approvers who do not, and
// what the answer grants is not asked for again.
func TestAQuestionCanBeAnsweredByBreakingTheGlass(t *testing.T) {
	for _, approvals := range []int{0, 1} {
		w := breakable(approvals)
		s := newStage(t, w)
		n := 0
		s.react = func(st Status) []runbook.Command {
			if st.Waiting == nil {
				return nil
			}
			if !slices.Contains(st.Waiting.Commands, runbook.BreakGlass) {
				t.Errorf("takes %v", st.Waiting.Commands)
			}
			none := signed(st, "kim", runbook.BreakGlass)
			roleless := signed(st, "bob", runbook.BreakGlass, runbook.OverrideFence)
			stale := signed(st, "kim", runbook.BreakGlass, runbook.OverrideFence)
			stale.Question = "0 approve"
			try := []runbook.Command{none, roleless, stale, signed(st, "kim", runbook.BreakGlass, runbook.OverrideFence)}
			if n++; n <= len(try) {
				return try[n-1 : n]
			}
			self := signed(st, "kim", runbook.Approve, runbook.OverrideFence)
			return append([]runbook.Command{self}, agree(st)...)
		}
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
		s.outcome(runbook.Partly)
		s.clean()
		s.toldBy("kim")
		want := []string{ErrNotAllowed, ErrNotAllowed, ErrCommandStale}
		if approvals == 1 {
			want = append(want, ErrNotAllowed) // who broke it does not approve too
		}
		var got []string
		for _, err := range s.nays {
			got = append(got, ErrorType(err))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d approvals: refusals (-want +got):\n%s%v", approvals, diff, s.nays)
		}
		if got := s.res.Report.Approvals; len(got) != 1+approvals || got[0].Decision != runbook.BreakGlass {
			t.Errorf("%d approvals: commands %+v", approvals, got)
		}
	}
}

func TestAnApprovalThatOverridesNeedsAReasonAndIsPaged(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	n := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		c := signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)
		if n++; n == 1 {
			c.Reason = ""
		}
		return []runbook.Command{c}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.refused(ErrNotAllowed, 1)
	if !slices.ContainsFunc(w.notes, func(n NotifyInput) bool {
		return n.Kind == NotifyOverride && n.Page && strings.Contains(n.Title, "bob overrides "+runbook.OverrideFence) && n.Text == "because"
	}) {
		t.Errorf("%+v", w.notes)
	}
}
