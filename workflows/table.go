package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// act is the body of a step: it returns what the table shows of it.
type act = func(workflow.Context) (detail string, err error)

// do runs one named step of the story and keeps its row. When the run can only
// go forward a failure waits for a person: retry runs the step again under the
// same name (and so the same idempotency key), skip leaves it.
func (s *story) do(ctx workflow.Context, name string, body act) error {
	return s.step(ctx, name, true, body)
}

// must is do for a step without which the rest makes no sense: no skip.
func (s *story) must(ctx workflow.Context, name string, body act) error {
	return s.step(ctx, name, false, body)
}

func (s *story) step(ctx workflow.Context, name string, skippable bool, body act) error {
	for {
		if err := s.boundary(ctx, name); err != nil {
			return err
		}
		row := s.begin(ctx, name)
		s.within++
		detail, err := body(ctx)
		s.within--
		s.finish(ctx, row, detail, err)
		if err == nil || !s.forward || s.over(ctx) {
			return err
		}
		if ErrorType(err) == ErrNotApproved {
			return err // an answer, no failure: nobody may skip it
		}
		choice, why, perr := s.pause(ctx, name, err, skippable)
		if perr != nil {
			return perr
		}
		if choice == runbook.Skip {
			s.status.Steps[row].State = runbook.StateSkipped
			s.status.Steps[row].Detail = fmt.Sprintf("skipped: %s (it failed with: %s)", why, brief(err))
			s.show(ctx)
			return nil
		}
	}
}

// skipped tells whether a person went on without any of the steps.
func (s *story) skipped() bool {
	return slices.ContainsFunc(s.status.Steps, func(l runbook.StepLine) bool { return l.State == runbook.StateSkipped })
}

// skippedAt tells whether a person went on without a step.
func (s *story) skippedAt(name string) bool {
	return slices.ContainsFunc(s.status.Steps, func(l runbook.StepLine) bool {
		return l.Name == name && l.State == runbook.StateSkipped
	})
}

// over: the run was aborted, or cancelled before the pivot; a person has
// decided already.
func (s *story) over(ctx workflow.Context) bool {
	if s.turned != nil && ctx.Err() != nil {
		return true // what was under way is left for the failover
	}
	return !s.undoing && !s.pastPivot && (s.aborted != nil || s.expired || ctx.Err() != nil)
}

// begin opens the row of a step; a retry opens the same row again.
func (s *story) begin(ctx workflow.Context, name string) int {
	i := slices.IndexFunc(s.status.Steps, func(l runbook.StepLine) bool {
		return l.Name == name && (l.State == runbook.StateFailed || l.State == runbook.StateWaiting)
	})
	if i < 0 {
		i = len(s.status.Steps)
		s.status.Steps = append(s.status.Steps, runbook.StepLine{Name: name, Started: workflow.Now(ctx)})
	}
	s.status.Steps[i].State = runbook.StateRunning
	s.show(ctx)
	return i
}

func (s *story) finish(ctx workflow.Context, i int, detail string, err error) {
	row := &s.status.Steps[i]
	row.Ended = workflow.Now(ctx)
	row.Millis = row.Ended.Sub(row.Started).Milliseconds()
	row.State, row.Detail = runbook.StateDone, detail
	if err != nil {
		row.State, row.Detail = runbook.StateFailed, brief(err)
	}
	s.show(ctx)
}

// brief is what an error says, cut where a page would end.
func brief(err error) string { return cut(said(err), 800) }

// mostSaid bounds, in characters, what is sent to people: Slack shows no more, and each
// reminder stays in the history of a run that may wait for weeks.
const mostSaid = 3000

func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + " …"
	}
	return text
}

// find notes something for the report.
func (s *story) find(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(s.status.Findings, text) {
		s.status.Findings = append(s.status.Findings, text)
	}
}

// mark ends an RTO segment that began where the last one ended. What people
// paused in it is a segment of its own: it is part of the recovery time, but no
// step took it.
func (s *story) mark(ctx workflow.Context, segment string) {
	now := workflow.Now(ctx)
	rest := s.rested(s.marks, now).Milliseconds()
	ms := now.Sub(s.marks).Milliseconds()
	s.report.RTO = append(s.report.RTO, runbook.Segment{Name: segment, Millis: ms - rest})
	if rest > 0 {
		s.report.RTO = append(s.report.RTO, runbook.Segment{Name: runbook.SegmentPaused, Millis: rest})
	}
	s.report.RTOMillis += ms
	s.report.RTOSeconds = s.plan.Objectives.RTOSeconds
	s.marks = now
}

// phase tells everybody where the run is: the status, the Temporal UI and, for
// times when no worker answers queries, the search attributes.
func (s *story) phase(ctx workflow.Context, name string) {
	if s.status.Phase == name {
		return
	}
	s.status.Phase = name
	s.show(ctx)
	s.search(ctx)
}

var (
	keyPair      = temporal.NewSearchAttributeKeyKeyword(SearchPair)
	keyOperation = temporal.NewSearchAttributeKeyKeyword(SearchOperation)
	keyPhase     = temporal.NewSearchAttributeKeyKeyword(SearchPhase)
	keyEpoch     = temporal.NewSearchAttributeKeyInt64(SearchEpoch)
	keyOutcome   = temporal.NewSearchAttributeKeyKeyword(SearchOutcome)
)

// SearchAttributeKeys are what must be registered in the namespace before a
// worker starts; see SearchAttributes.
func SearchAttributeKeys() []temporal.SearchAttributeKey {
	return []temporal.SearchAttributeKey{keyPair, keyOperation, keyPhase, keyEpoch, keyOutcome}
}

func (s *story) search(ctx workflow.Context) {
	outcome := s.status.Outcome
	if outcome == "" {
		outcome = "running"
	}
	err := workflow.UpsertTypedSearchAttributes(ctx,
		keyPair.ValueSet(s.status.Pair), keyOperation.ValueSet(s.path), keyPhase.ValueSet(s.status.Phase),
		keyEpoch.ValueSet(s.rec.Epoch), keyOutcome.ValueSet(outcome))
	if err != nil {
		workflow.GetLogger(ctx).Warn("search attributes were not written", "error", err)
	}
}

// shownFindings bounds the live details, as people's eyes do.
const shownFindings = 30

// shownTeams, likewise: each of hundreds of messages shows the table anew, and a replay
// does all of it at once.
const shownTeams = 30

// expect is the estimate as of now, nil where there is none.
func (s *story) expect(ctx workflow.Context) *runbook.ETA {
	if s.eta == nil || s.status.DryRun {
		return nil
	}
	e := s.eta.At(workflow.Now(ctx), s.report.RTO[min(s.etaFrom, len(s.report.RTO)):], s.marks, s.report.RTOMillis)
	return &e
}

// show writes the live details of the Temporal UI.
func (s *story) show(ctx workflow.Context) {
	s.status.ETA = s.expect(ctx)
	text := fmt.Sprintf("**%s** %s, asked for by %s, epoch %d\n\n", s.status.Phase, s.status.Outcome, s.requester, s.status.Epoch)
	if e := s.status.ETA; e != nil {
		text += "**time**: " + e.Text() + "\n\n"
	}
	if w := s.status.Waiting; w != nil {
		text += fmt.Sprintf("**waits for %s** (question %q): %s", w.For, w.Question, w.Text)
		if !w.Deadline.IsZero() {
			text += " (until " + w.Deadline.UTC().Format("2006-01-02 15:04:05Z") + ")"
		}
		text += "\n\n"
	}
	text += runbook.Table(s.status.Steps)
	if len(s.status.Teams) > 0 {
		text += "\n" + runbook.TeamTable(s.status.Teams[:min(shownTeams, len(s.status.Teams))])
		if more := len(s.status.Teams) - shownTeams; more > 0 {
			text += fmt.Sprintf("\nand %d teams more: drctl status %s\n", more, s.status.Pair)
		}
	}
	for i, f := range s.status.Findings {
		if i == shownFindings {
			text += fmt.Sprintf("\n- and %d more: see the report", len(s.status.Findings)-i)
			break
		}
		text += "\n- " + f
	}
	workflow.SetCurrentDetails(ctx, text)
}
