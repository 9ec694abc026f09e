package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// gate is one wait for people.
type gate struct {
	name      string // of the step that waits
	question  string // number and name: what an answer must carry
	accepts   []string
	deadline  time.Time
	step      string // failed step, for retry and skip
	need      int
	from      int // approvals before this one do not count here
	overrides []string
	glass     string // who broke the glass for this question
	escalated bool   // more people were told, and may approve if the plan says so
	verdict   string // the decision that opened it, "" while it is shut
	by        runbook.Signed
	choose    func(map[string]string, string) error
	allow     func(runbook.Person, map[string]string) error // who may decide that
}

// approve waits until enough people approved, each naming all overrides.
// fresh: approvals given earlier in this run do not count.
func (s *story) approve(ctx workflow.Context, name, text string, overrides []string, fresh bool) error {
	rule := s.rule()
	overrides = append(slices.Clone(overrides), runbook.Missing(s.overrides, overrides)...)
	need, glass := s.needed(overrides)
	g := &gate{name: name, accepts: []string{runbook.Approve, runbook.Deny}, need: need, overrides: overrides, from: s.from}
	if fresh {
		g.from = len(s.status.Approvals)
	}
	if glass {
		s.grant(overrides)
	}
	if glass && need == 0 {
		s.overrides = nil // as below
		return s.do(ctx, name, func(workflow.Context) (string, error) { return s.unapproved(overrides), nil })
	}
	if s.breakable() {
		g.accepts = append(g.accepts, runbook.BreakGlass)
	}
	if runbook.Count(s.status.Approvals[g.from:], overrides) >= need {
		return nil
	}
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		wait := runbook.Seconds(rule.DeadlineSeconds)
		g.deadline = workflow.Now(ctx).Add(wait)
		before := s.status.Phase
		w := Waiting{
			For: WaitApproval, Text: text, Deadline: g.deadline, Have: runbook.Count(s.status.Approvals[g.from:], overrides), Need: need, Roles: rule.Roles, Overrides: overrides,
		}
		after := runbook.EscalateAfter(rule)
		if after > 0 {
			w.Escalates = workflow.Now(ctx).Add(after)
		}
		s.wait(ctx, PhaseApproval, g, w)
		defer s.resume(ctx, before)
		s.notify(ctx, NotifyApproval, fmt.Sprintf("%s of %s needs %d approvals", s.path, s.status.Pair, need), cut(text, mostSaid), s.path == runbook.OpFailover)
		ok, err := false, error(nil)
		if after > 0 {
			if ok, err = workflow.AwaitWithTimeout(ctx, after, g.opened); err == nil && !ok {
				s.escalate(ctx, g, rule, text)
			}
		}
		if err == nil && !ok {
			ok, err = workflow.AwaitWithTimeout(ctx, wait-after, g.opened)
		}
		switch {
		case err != nil:
			return "", err
		case !ok:
			return "", refuse(ErrNotApproved, "the deadline %s passed with %d of %d approvals", g.deadline.UTC().Format(time.RFC3339), runbook.Count(s.status.Approvals[g.from:], overrides), g.need)
		case g.verdict == runbook.Deny:
			return "", refuse(ErrNotApproved, "denied by %s: %s", g.by.By, g.by.Reason)
		}
		s.overrides = nil // later approvals of this run are about something else
		if g.glass != "" {
			s.grant(overrides)
			return "the glass was broken by " + g.glass + "; approved " + s.approvers(g.from), nil
		}
		return s.approvers(g.from), nil
	})
}

// escalate tells more people of a question that is not answered yet.
func (s *story) escalate(ctx workflow.Context, g *gate, rule runbook.Approval, text string) {
	people := runbook.EscalatedTo(rule, s.plan.People)
	e := runbook.Escalation{Question: g.question, At: workflow.Now(ctx), MayApprove: rule.EscalatedMayApprove, Have: s.status.Waiting.Have, Need: g.need}
	for _, who := range people {
		e.To = append(e.To, who.Name)
	}
	g.escalated = true
	s.status.Waiting.EscalatedTo = e.To
	s.status.Escalations = append(s.status.Escalations, e)
	s.report.Escalations = s.status.Escalations
	s.page(ctx, NotifyEscalated, fmt.Sprintf("%s of %s still needs approvals (%d of %d)", s.path, s.status.Pair, e.Have, e.Need),
		fmt.Sprintf("%s; until %s; escalated to %s", cut(text, mostSaid), g.deadline.UTC().Format(time.RFC3339), strings.Join(e.To, ", ")), people)
	s.show(ctx)
}

// overridden tells whether enough approvals of this run name an override.
func (s *story) overridden(name string) bool {
	need, _ := s.needed([]string{name})
	return slices.Contains(s.granted, s.path+" "+name) || runbook.Count(s.status.Approvals[s.from:], []string{name}) >= need
}

// rule is what the plan says of approvals of the path.
func (s *story) rule() runbook.Approval { return s.plan.Approvals[s.path] }

// ruled gives the path a rule where the plan names none, as plans of an older
// drctl may: it is never without anybody's approval.
func (s *story) ruled() {
	if _, ok := s.plan.Approvals[s.path]; !ok {
		if s.plan.Approvals == nil {
			s.plan.Approvals = map[string]runbook.Approval{}
		}
		s.plan.Approvals[s.path] = runbook.Approval{Count: 1, DeadlineSeconds: 3600}
	}
}

func (s *story) approvers(from int) string {
	var who []string
	for _, a := range s.status.Approvals[from:] {
		if a.Decision == runbook.Approve {
			who = append(who, a.By)
		}
	}
	if len(who) == 0 {
		return "by nobody"
	}
	return "by " + strings.Join(who, ", ")
}

func (g *gate) opened() bool { return g.verdict != "" }

// wait asks a question and shows that people are waited for; resume ends it. No
// two questions of a run have one name.
func (s *story) wait(ctx workflow.Context, phase string, g *gate, w Waiting) {
	if g.question == "" {
		g.question = s.question(cmp.Or(g.name, w.For))
	}
	w.Question = g.question
	w.Commands = slices.Clone(g.accepts)
	if !s.pastPivot && !s.undoing && !slices.Contains(w.Commands, runbook.Abort) {
		w.Commands = append(w.Commands, runbook.Abort)
	}
	if s.held == nil && s.unpausable() == "" {
		w.Commands = append(w.Commands, runbook.Pause)
	}
	if s.noTurn == "" {
		w.Commands = append(w.Commands, runbook.IntoFailover)
	}
	s.gate, s.status.Waiting = g, &w
	s.phase(ctx, phase)
	s.show(ctx)
}

func (s *story) question(name string) string {
	s.asked++
	return fmt.Sprintf("%d %s", s.asked, name)
}

func (s *story) resume(ctx workflow.Context, phase string) {
	s.gate, s.status.Waiting = nil, nil
	s.phase(ctx, phase)
	s.show(ctx)
}

// pause waits, without end, until a person says retry or skip for a failed step.
func (s *story) pause(ctx workflow.Context, name string, cause error, skippable bool) (choice, why string, err error) {
	g := &gate{name: name, accepts: []string{runbook.Retry}, step: name}
	if skippable {
		g.accepts = append(g.accepts, runbook.Skip)
	}
	text := fmt.Sprintf("step %q failed: %s", name, brief(cause))
	before := s.status.Phase
	s.wait(ctx, PhasePaused, g, Waiting{For: WaitPerson, Text: text, Step: name})
	defer s.resume(ctx, before)
	if err := s.awaitPeople(ctx, g, NotifyPaused, text); err != nil {
		return "", "", err
	}
	return g.verdict, g.by.Reason, nil
}

// awaitPeople waits without end and reminds people every hour.
func (s *story) awaitPeople(ctx workflow.Context, g *gate, what, text string) error {
	return s.awaitEvery(ctx, remind, g, what, text)
}

func (s *story) awaitEvery(ctx workflow.Context, every time.Duration, g *gate, what, text string) error {
	for {
		s.notify(ctx, what, fmt.Sprintf("%s of %s waits for a person", s.path, s.status.Pair), cut(text, mostSaid), true)
		ok, err := workflow.AwaitWithTimeout(ctx, every, g.opened)
		if err != nil || ok {
			return err
		}
	}
}
