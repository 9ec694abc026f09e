package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// handle registers the query and the Updates, before anything blocks.
func (s *story) handle(ctx workflow.Context) error {
	status := func() (Status, error) {
		st := s.status
		st.PastPivot = s.pastPivot
		return st, nil
	}
	if err := workflow.SetQueryHandler(ctx, QueryStatus, status); err != nil {
		return err
	}
	for _, name := range []string{UpdateApprove, UpdateDeny, UpdateRetry, UpdateSkip, UpdateAbort, UpdateDecide, UpdateIntoFailover, UpdatePause, UpdateResume, UpdateBreakGlass, UpdateAcknowledge} {
		err := workflow.SetUpdateHandlerWithOptions(ctx, name,
			func(ctx workflow.Context, c runbook.Command) (Ack, error) { return s.command(ctx, name, c) },
			workflow.UpdateHandlerOptions{
				Validator:   func(ctx workflow.Context, c runbook.Command) error { return s.judge(ctx, name, c) },
				Description: "a signed command: " + name,
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// judge decides whether a command may be taken now; it changes nothing. It runs
// as validator (a refusal leaves no trace in the history) and again under the
// mutex, since two commands may both pass the validator.
func (s *story) judge(ctx workflow.Context, name string, c runbook.Command) error {
	if c.Decision != name {
		return refuse(ErrCommandStale, "the command is signed as %q but sent as %q", c.Decision, name)
	}
	if _, twice := s.taken[c.Content()]; twice {
		return nil // it is told what it was told before
	}
	if !s.ready || s.ended {
		return refuse(ErrNothingWaits, "this run takes no command now (phase %q)", s.status.Phase)
	}
	switch {
	case name == runbook.IntoFailover:
		if why := s.unturnable(); why != "" {
			return refuse(ErrNotAllowed, "%s", why)
		}
	case name == runbook.Abort:
		if s.pastPivot || s.undoing {
			return refuse(ErrNotAllowed, "the run is past the point of no return or undoing already: it only goes on; see its status for retry and skip")
		}
	case name == runbook.Acknowledge:
	case name == runbook.Pause:
		if why := s.unpausable(); why != "" {
			return refuse(ErrNotAllowed, "%s", why)
		}
	case name == runbook.Resume:
		if s.held == nil || s.held.EndedBy != "" {
			return refuse(ErrNothingWaits, "nobody has paused this run (phase %q)", s.status.Phase)
		}
	case s.gate == nil || s.gate.opened() || !slices.Contains(s.gate.accepts, name):
		return refuse(ErrNothingWaits, "this run does not wait for %q now (phase %q)", name, s.status.Phase)
	}
	var g gate
	if s.gate != nil {
		g = *s.gate
	}
	deadline := g.deadline
	if toRun(name) || name == runbook.Resume {
		deadline = time.Time{} // never too late
	}
	if r := runbook.Fits(c, s.boundTo(name), workflow.Now(ctx), deadline); r != nil {
		return refuse(r.Code, "%s", r.Text)
	}
	i := slices.IndexFunc(s.plan.People, func(p runbook.Person) bool { return p.Name == c.By })
	if i < 0 {
		return refuse(ErrNotAllowed, "the plan lists nobody called %q: sign with a key of the plan's people", c.By)
	}
	return s.entitled(name, c, s.plan.People[i], g)
}

// toRun tells the commands that are said to the run as such and answer no question.
func toRun(name string) bool {
	return slices.Contains([]string{runbook.Abort, runbook.IntoFailover, runbook.Pause, runbook.Acknowledge}, name)
}

// boundTo is what a command must fit: some answer a question, some the run.
func (s *story) boundTo(name string) runbook.Bound {
	b := s.bound()
	switch {
	case toRun(name):
	case name == runbook.Resume:
		b.Question = s.held.Question
	case s.gate != nil:
		b.Question = s.gate.question
	}
	return b
}

// entitled judges whether this person may say that.
func (s *story) entitled(name string, c runbook.Command, who runbook.Person, g gate) error {
	rule := s.rule()
	switch name {
	case runbook.Approve:
		if g.glass == c.By {
			return refuse(ErrNotAllowed, "%s broke the glass: the approvals that remain are other people's", c.By)
		}
		if r := runbook.MayApprove(c, runbook.RolesFor(rule, who, g.escalated), rule, s.requester, g.overrides, s.status.Approvals[g.from:]); r != nil {
			return refuse(r.Code, "%s", r.Text)
		}
	case runbook.Deny:
		if !runbook.HasRole(rule, runbook.RolesFor(rule, who, g.escalated)) && c.By != s.requester {
			return refuse(ErrNotAllowed, "%s has none of the roles that may deny: %s", c.By, strings.Join(rule.Roles, ", "))
		}
	case runbook.Retry, runbook.Skip:
		if c.Step != g.step {
			return refuse(ErrCommandStale, "this %s is for step %q, the run waits at step %q", name, c.Step, g.step)
		}
		if name == runbook.Skip && c.Reason == "" {
			return refuse(ErrNotAllowed, "a skip needs a reason: it goes into the report")
		}
	case runbook.Pause:
		// Anybody of the plan, as with an abort: who sees the danger stops it.
		if c.Reason == "" {
			return refuse(ErrNotAllowed, "a pause needs a reason: others must know what to look for, and it goes into the report")
		}
	case runbook.Acknowledge:
		if c.Team != "" {
			if r := runbook.MayAcknowledge(s.plan, s.status.Teams, c.Team, who); r != nil {
				return refuse(r.Code, "%s", r.Text)
			}
			return nil
		}
		if s.acknowledged(c.By) {
			return refuse(ErrNotAllowed, "%s has acknowledged this run already: once is enough", c.By)
		}
	case runbook.BreakGlass:
		if g.glass != "" {
			return refuse(ErrNotAllowed, "the glass was broken already, by %s", g.glass)
		}
		if slices.ContainsFunc(s.status.Approvals[g.from:], func(a runbook.Signed) bool { return a.By == c.By && a.Decision == runbook.Approve }) {
			return refuse(ErrNotAllowed, "%s has approved this: the approvals that remain are other people's, so another must break the glass", c.By)
		}
		if r := runbook.MayBreakGlass(c, who.Roles, s.path, s.plan.BreakGlass, g.overrides); r != nil {
			return refuse(r.Code, "%s", r.Text)
		}
	case runbook.Resume:
		return s.mayResume(c, who)
	case runbook.IntoFailover:
		// Who may approve a failover, or stands behind this run: it is a request,
		// and the failover's approvals are asked for afterwards.
		if rule := s.plan.Approvals[runbook.OpFailover]; !runbook.HasRole(rule, who.Roles) && c.By != s.requester {
			return refuse(ErrNotAllowed, "%s did not ask for this run and has none of the roles that may turn it into a failover: %s", c.By, strings.Join(rule.Roles, ", "))
		}
		if c.Reason == "" {
			return refuse(ErrNotAllowed, "turning a planned move into a failover needs a reason: it goes into the report")
		}
	case runbook.Decide:
		if err := g.allow(who, c.Choices); err != nil {
			return refuse(ErrNotAllowed, "%v", err)
		}
	}
	return nil
}

// answered refuses decisions of the input that nobody answers for: they are whose
// request is signed for them. What a dry run is told decides nothing.
func (s *story) answered(decisions map[string]string) error {
	switch {
	case len(decisions) == 0 || s.status.DryRun || runbook.SameChoices(decisions, s.choices):
		return nil
	case s.requester == runbook.Unsigned:
		return refuse(ErrNotAllowed, "nobody has signed the decisions of the input: start without them and answer when the run asks (drctl decide %s), or start it signed, with drctl %s %s and without --unsigned", s.status.Pair, s.op, s.status.Pair)
	}
	return refuse(ErrCommandStale, "the decisions of the input are not those that the request by %s is signed for: start it with drctl %s %s", s.requester, s.op, s.status.Pair)
}

// command carries out an accepted command. The same one sent twice counts once,
// whether its answer was lost or somebody has kept it.
func (s *story) command(ctx workflow.Context, name string, c runbook.Command) (Ack, error) {
	if err := s.mu.Lock(ctx); err != nil {
		return Ack{}, err
	}
	defer s.mu.Unlock()
	if err := s.judge(ctx, name, c); err != nil {
		return Ack{}, err
	}
	free, _ := workflow.NewDisconnectedContext(ctx)
	got, err := run(with(free, kindProbe, "signature of "+c.By), steps.VerifySignature, VerifySignatureInput{Call: s.call("verify " + name), Command: c, People: s.plan.Called(c.By), Bot: s.plan.Bot})
	if err != nil {
		return Ack{}, err
	}
	if !got.Valid {
		return Ack{}, refuse(ErrCommandForged, "%s by %s: %s", name, c.By, got.Problem)
	}
	if ack, twice := s.taken[c.Content()]; twice {
		ack.Duplicate, ack.Text = true, "this very command was taken before and counts once: "+ack.Text
		return ack, nil
	}
	// The signature took time: the wait may be over by now.
	if err := s.judge(ctx, name, c); err != nil {
		return Ack{}, err
	}
	signed := runbook.Signed{By: c.By, Via: c.Via, Decision: name, At: workflow.Now(ctx), Reason: c.Reason, Overrides: c.Overrides, Step: c.Step, Question: s.boundTo(name).Question, Team: c.Team}
	s.status.Approvals = append(s.status.Approvals, signed)
	for _, o := range c.Overrides {
		if name == runbook.Approve && !slices.Contains(s.report.Overrides, o) {
			s.report.Overrides = append(s.report.Overrides, o)
		}
	}
	if name == runbook.Approve && len(c.Overrides) > 0 {
		s.notify(ctx, NotifyOverride, fmt.Sprintf("%s of %s: %s overrides %s", s.path, s.status.Pair, c.By, strings.Join(c.Overrides, ", ")), c.Reason, true)
	}
	defer s.show(ctx)
	ack, err := s.apply(ctx, name, c, signed)
	if err == nil {
		s.taken[c.Content()] = ack
	}
	return ack, err
}

func (s *story) apply(ctx workflow.Context, name string, c runbook.Command, signed runbook.Signed) (Ack, error) {
	ack := Ack{OpID: s.id, Question: signed.Question}
	switch name {
	case runbook.Abort:
		s.aborted = &signed
		s.cancel()
		ack.Text = "aborted: what was done is being undone"
	case runbook.Acknowledge:
		ack.Text = s.acknowledge(ctx, signed)
	case runbook.BreakGlass:
		ack.Text = s.breakGlass(ctx, signed)
		ack.Have, ack.Need = s.status.Waiting.Have, s.gate.need
	case runbook.Pause:
		ack.Text = s.hold(ctx, signed)
	case runbook.Resume:
		ack.Text = s.goOn(signed)
	case runbook.IntoFailover:
		s.turn(signed)
		ack.Text = "the run goes on as a failover: it attests the outage and asks for the failover's approvals"
	case runbook.Approve:
		g := s.gate
		ack.Have, ack.Need = runbook.Count(s.status.Approvals[g.from:], g.overrides), g.need
		s.status.Waiting.Have = ack.Have
		ack.Text = fmt.Sprintf("approved, %d of %d", ack.Have, ack.Need)
		if ack.Have >= ack.Need {
			g.by, g.verdict = signed, name
		}
	case runbook.Decide:
		if err := s.gate.choose(c.Choices, c.By); err != nil {
			return Ack{}, refuse(ErrNotAllowed, "%v", err)
		}
		ack.Text = "decided"
	default:
		s.gate.by, s.gate.verdict = signed, name
		ack.Text = name + " taken"
	}
	return ack, nil
}
