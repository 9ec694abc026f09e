package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ErrNoRun: no operation is open on the pair, so there is nothing to answer.
var ErrNoRun = errors.New("no operation is open")

// BusyError: another operation holds the pair.
type BusyError struct {
	Pair      string
	ID        string // workflow id
	RunID     string
	Operation string
	Requester string
	Started   time.Time
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("pair %s is busy: %s by %s holds it since %s (workflow %s, run %s); follow it with `drctl status %s --follow`%s",
		e.Pair, orUnknown(e.Operation), orUnknown(e.Requester), e.Started.UTC().Format(time.RFC3339), e.ID, e.RunID, e.Pair, e.siteLost())
}

// siteLost says what to do when the active site was lost under the run: the failover has no time to wait for it.
func (e *BusyError) siteLost() string {
	switch {
	case e.ID != workflows.ID(e.Pair) || e.Operation == runbook.OpFailover:
		return ""
	case e.Operation == runbook.OpSwitchover:
		return fmt.Sprintf("; if the active site was lost under it, `drctl into-failover %s --reason …` makes a failover of it", e.Pair)
	}
	return fmt.Sprintf("; if the active site was lost under it, `drctl abort %[1]s --reason …` and `drctl skip %[1]s --reason …` for each step that then waits, or, if that takes too long, "+
		"`temporal workflow terminate --workflow-id %[2]s`; then `drctl failover %[1]s --override break-lock --reason …`", e.Pair, e.ID)
}

// RefusedError: the run, or the check before it, said no. Nothing was changed by what was asked.
type RefusedError struct {
	Type string // of workflows/errors.go; empty if it was refused before a run was asked
	Text string
}

func (e *RefusedError) Error() string {
	return "refused: " + cured(e.Text, e.Type)
}

// cures say what to do about a refusal whose text speaks only of the fact.
var cures = map[string]string{
	workflows.ErrCommandStale:  "the run has moved on: look again with `drctl status` and answer what it asks now",
	workflows.ErrCommandLate:   "look again with `drctl status`; a deadline that has passed ends the run without a change",
	workflows.ErrCommandForged: "sign with the key whose public half the plan lists for you (`drctl key show`)",
	workflows.ErrNothingWaits:  "`drctl status` shows which commands it takes now",
	workflows.ErrPlanDiffers:   "bring your copy of the plan and the worker's to the same state",
}

// EndedError: the run ended without doing what it was started for.
type EndedError struct {
	Operation string
	RunID     string
	Type      string // application error type, empty for a cancelled, terminated or timed out run
	// Outcome, where the run could tell it: whether all that it had done was undone.
	Outcome string
	Text    string
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("%s (run %s) ended: %s", orUnknown(e.Operation), e.RunID, cured(e.Text, e.Type))
}

func cured(text, errType string) string {
	if cure := cures[errType]; cure != "" {
		return text + "; " + cure
	}
	return text
}

// UnreachableError: Temporal, or the worker behind it, did not answer. Whether what was asked has happened is not known.
type UnreachableError struct {
	What string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s does not answer: %v", e.What, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// refusals are the application errors by which a run refuses, mostly before it has changed anything that stays.
var refusals = map[string]bool{
	workflows.ErrEpochConflict: true, workflows.ErrPlanInvalid: true, workflows.ErrPlanDiffers: true,
	workflows.ErrWrongID: true, workflows.ErrPrecondition: true, workflows.ErrHeld: true, workflows.ErrSplitBrain: true, workflows.ErrNotApproved: true,
	workflows.ErrCommandStale: true, workflows.ErrCommandLate: true, workflows.ErrCommandForged: true,
	workflows.ErrNotAllowed: true, workflows.ErrNothingWaits: true, workflows.ErrPairBusy: true,
}

// Refused reports whether err says that nothing was done because somebody or something said no.
func Refused(err error) bool {
	var refused *RefusedError
	var ended *EndedError
	return errors.As(err, &refused) || (errors.As(err, &ended) && refusals[ended.Type] && ended.Outcome != runbook.Partly)
}

// Busy reports whether err says that another operation holds the pair: found by Temporal's fixed id, or by the run in the
// record or in an engine's state topic.
func Busy(err error) bool {
	var busy *BusyError
	var ended *EndedError
	var refused *RefusedError
	return errors.As(err, &busy) ||
		(errors.As(err, &ended) && ended.Type == workflows.ErrPairBusy) ||
		(errors.As(err, &refused) && refused.Type == workflows.ErrPairBusy)
}

// answered turns the error of an Update or a query.
func answered(what string, err error) error {
	var app *temporal.ApplicationError
	var gone *serviceerror.NotFound
	switch {
	case err == nil:
		return nil
	case errors.As(err, &app):
		return &RefusedError{Type: app.Type(), Text: app.Message()}
	case errors.As(err, &gone):
		return fmt.Errorf("%s: %w", what, ErrNoRun)
	case timedOut(err):
		return &UnreachableError{What: "the worker", Err: fmt.Errorf("%s: %w", what, err)}
	default:
		return reached(what, err)
	}
}

// reached turns the error of a call to Temporal itself.
func reached(what string, err error) error {
	var away *serviceerror.Unavailable
	if errors.As(err, &away) || timedOut(err) {
		return &UnreachableError{What: "Temporal", Err: fmt.Errorf("%s: %w", what, err)}
	}
	var denied *serviceerror.PermissionDenied
	if errors.As(err, &denied) {
		return &RefusedError{Text: fmt.Sprintf("%s: Temporal: %s", what, denied.Message)}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func timedOut(err error) bool {
	var update *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &update) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded)
}

// ended turns the error of a run's result.
func ended(run Run, err error) error {
	var app *temporal.ApplicationError
	var terminated *temporal.TerminatedError
	var canceled *temporal.CanceledError
	var timeout *temporal.TimeoutError
	var gone *serviceerror.NotFound
	end := &EndedError{Operation: run.Operation, RunID: run.RunID}
	switch {
	case errors.As(err, &app):
		end.Type, end.Text = app.Type(), strings.TrimSpace(app.Message())
		var how workflows.Ending
		if app.HasDetails() && app.Details(&how) == nil {
			end.Outcome = how.Outcome
		}
	case errors.As(err, &terminated):
		end.Text = "terminated from outside; nothing was undone: " + leftBehind(run.Pair)
	case errors.As(err, &canceled):
		end.Text = "cancelled"
	case errors.As(err, &timeout):
		end.Text = "timed out at the server; nothing was undone: " + leftBehind(run.Pair)
	case errors.As(err, &gone):
		return fmt.Errorf("result of %s, run %s, is not kept by Temporal: %w", run.ID, run.RunID, ErrNoRun)
	default:
		return reached("result of "+run.ID, err)
	}
	return end
}

// leftBehind says what to do about a run that is gone: lifting its fence is right only where it was before its pivot, and
// failing over again only where it was before its flip. docs/runbooks/README.md has the same as a table.
func leftBehind(pair string) string {
	pair = cmp.Or(pair, "PAIR")
	over := func(verb string) string {
		return fmt.Sprintf("`drctl %s %s --override break-lock --reason \"…\"`", verb, pair)
	}
	return "`drctl status " + pair + "` shows its fences and which site is active. Past its point of no return, with the site that it was leaving still active, " + over("failover") +
		" goes on; behind its flip, after a failover " + over("recover") + ", then `drctl restore " + pair + "`, and after a switchover or failback " + over("restore") +
		"; a recover, restore or setup is started again with that override; otherwise " + over("unfence") + " lifts the fences that are called lost"
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
