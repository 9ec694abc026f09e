package operator

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Answer is what a person tells the open run of a pair.
type Answer struct {
	Decision string // runbook.Approve, Deny, Retry, Skip, Abort, Decide, IntoFailover, Pause, Resume, BreakGlass or Acknowledge
	Reason   string // needed for Deny, Skip, Abort, IntoFailover, Pause, BreakGlass and overrides
	// Overrides accepted by an approval or break-glass, named one by one.
	Overrides []string
	// Step that a retry or skip speaks of; empty: the one that the run waits at.
	Step string
	// Choices of a Decide: topic (or "*") to "append", "export" or "discard".
	Choices map[string]string
	// Team that an Acknowledge speaks for; empty: for the run.
	Team string
	// OpID, if given, must be the open run's: it ties the answer to what the person has looked at.
	OpID string
	// Question, if given, must be what the run asks: it ties the answer to what the person has read. Empty: whatever it asks
	// when Answer looks.
	Question string
	// Before, if given, is told of what is asked and what is about to be signed, before it is.
	Before func(workflows.Status, runbook.Command)
	// PlanHash of the person's own copy of the plan, if given, must be the run's.
	PlanHash string
	// Expires bounds the signed answer's life. Default 10 minutes.
	Expires time.Duration
	// Token, if given, makes two answers one: the run tells the second what it told the first.
	Token string
}

// updates are the Updates by decision.
var updates = map[string]string{
	runbook.Approve: workflows.UpdateApprove, runbook.Deny: workflows.UpdateDeny, runbook.Retry: workflows.UpdateRetry,
	runbook.Skip: workflows.UpdateSkip, runbook.Abort: workflows.UpdateAbort, runbook.Decide: workflows.UpdateDecide,
	runbook.IntoFailover: workflows.UpdateIntoFailover, runbook.Pause: workflows.UpdatePause, runbook.Resume: workflows.UpdateResume,
	runbook.BreakGlass: workflows.UpdateBreakGlass, runbook.Acknowledge: workflows.UpdateAcknowledge,
}

// Answer signs a as by, bound to the open run's operation, epoch, plan and question, sends it and waits for what the run says. A
// RefusedError carries the run's words.
func (o *Operator) Answer(ctx context.Context, pair string, a Answer, by Signer) (workflows.Ack, error) {
	update, ok := updates[a.Decision]
	if !ok {
		return workflows.Ack{}, fmt.Errorf("no answer is called %q", a.Decision)
	}
	if a.Reason == "" && len(a.Overrides) > 0 {
		return workflows.Ack{}, &RefusedError{Text: a.Decision + " with overrides needs a reason, it is kept in the report"}
	}
	if a.Reason == "" && slices.Contains([]string{runbook.Deny, runbook.Skip, runbook.Abort, runbook.IntoFailover, runbook.Pause, runbook.BreakGlass}, a.Decision) {
		return workflows.Ack{}, &RefusedError{Text: a.Decision + " needs a reason, it is kept in the report"}
	}
	st, err := o.status(ctx, pair, patientTimeout)
	switch {
	case err != nil:
		return workflows.Ack{}, err
	case !st.Open():
		return workflows.Ack{}, fmt.Errorf("%s for pair %s: %w", a.Decision, pair, ErrNoRun)
	case st.Detail == nil:
		return workflows.Ack{}, &UnreachableError{What: "the worker", Err: fmt.Errorf("ask run %s what it waits for: %s", st.Run.RunID, st.Problem)}
	case a.OpID != "" && a.OpID != st.Detail.OpID:
		return workflows.Ack{}, &RefusedError{Text: fmt.Sprintf("you named operation %s, the open one is %s", a.OpID, st.Detail.OpID), Type: workflows.ErrCommandStale}
	case a.PlanHash != "" && st.Detail.PlanHash != "" && a.PlanHash != st.Detail.PlanHash:
		return workflows.Ack{}, &RefusedError{Text: fmt.Sprintf("your plan has hash %s, the run goes by %s", a.PlanHash, st.Detail.PlanHash), Type: workflows.ErrPlanDiffers}
	}
	if a.Step == "" && st.Detail.Waiting != nil && (a.Decision == runbook.Retry || a.Decision == runbook.Skip) {
		a.Step = st.Detail.Waiting.Step
	}
	asked := asks(*st.Detail, a.Decision)
	if a.Question != "" && a.Question != asked {
		return workflows.Ack{}, &RefusedError{Text: fmt.Sprintf("you answer the question %q, the run asks %q", a.Question, asked), Type: workflows.ErrCommandStale}
	}
	c := runbook.Command{
		OpID: st.Detail.OpID, Pair: pair, Operation: st.Detail.Operation, Epoch: st.Detail.Epoch, PlanHash: st.Detail.PlanHash,
		Decision: a.Decision, Reason: a.Reason, Overrides: a.Overrides, Question: asked, Step: a.Step, Choices: a.Choices, Team: a.Team, Expires: expiry(a.Expires),
	}
	if a.Before != nil {
		a.Before(*st.Detail, c)
	}
	signed, err := by.sign(c)
	if err != nil {
		return workflows.Ack{}, err
	}
	// The same answer sent again, by a retry below us, counts once.
	id := a.Decision + "-" + cmp.Or(a.Token, rand.Text())
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	what := fmt.Sprintf("%s for pair %s", a.Decision, pair)
	handle, err := o.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID:   id,
		WorkflowID: st.Run.ID, RunID: st.Run.RunID,
		UpdateName: update, Args: []any{signed},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return workflows.Ack{}, answered(what, err)
	}
	var ack workflows.Ack
	if err := handle.Get(ctx, &ack); err != nil {
		return workflows.Ack{}, answered(what, err)
	}
	return ack, nil
}

// asks is the question that an answer must carry, "" for what answers none.
func asks(st workflows.Status, decision string) string {
	switch {
	case slices.Contains([]string{runbook.Abort, runbook.IntoFailover, runbook.Pause, runbook.Acknowledge}, decision):
		return ""
	case decision == runbook.Resume && st.Paused != nil:
		return st.Paused.Question
	case st.Waiting == nil:
		return ""
	}
	return st.Waiting.Question
}
