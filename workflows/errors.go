package workflows

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Types of application errors: wire format, on both sides of the seam and in
// the answers to Updates. The worker's activities decide by type whether a
// retry can help; all below are non-retryable unless it says so.
const (
	// Of activities.

	// ErrPairBusy: another operation holds the pair; the message names it.
	ErrPairBusy = "PairBusy"
	// ErrEpochConflict: the record is not what the run believed.
	ErrEpochConflict = "EpochConflict"
	// ErrPlanInvalid: the plan file has faults; the message lists all.
	ErrPlanInvalid = "PlanInvalid"
	// ErrPlanDiffers: the starter's hash is not the worker's; both are named.
	ErrPlanDiffers = "PlanDiffers"
	// ErrStaleOperation: the engine refused a call of a revoked, ended or
	// overtaken operation.
	ErrStaleOperation = "StaleOperation"
	// ErrRefused: the other side said no for good (bad request, not found,
	// unauthorized); a retry would get the same answer.
	ErrRefused = "Refused"
	// ErrUnreachable: nobody answered. Retryable.
	ErrUnreachable = "Unreachable"
	// ErrNotYet: it acted and the second look did not show it yet. Retryable.
	ErrNotYet = "NotYet"

	// Of workflows.

	// ErrWrongID: an operation was started under another id than dr/<pair>.
	ErrWrongID = "WrongWorkflowID"
	// ErrPrecondition: the runbook may not run now; the message names what
	// must be done first and the command that does it.
	ErrPrecondition = "PreconditionFailed"
	// ErrHeld: nothing is wrong, but people or the plan say that it is not the time;
	// the message names the override.
	ErrHeld = "Held"
	// ErrSplitBrain: two records of one epoch; a person decides.
	ErrSplitBrain = "SplitBrain"
	// ErrNotApproved: denied, or the deadline passed.
	ErrNotApproved = "NotApproved"
	// ErrAborted: a person ended the run before the pivot.
	ErrAborted = "Aborted"
	// ErrFreezeExpired: the freeze took longer than the plan allows; everything
	// was undone.
	ErrFreezeExpired = "FreezeExpired"
	// ErrHalted: a step reported failures of its own.
	ErrHalted = "Halted"

	// Of Updates.

	// ErrCommandStale: for another operation, epoch or plan hash.
	ErrCommandStale = "CommandStale"
	// ErrCommandLate: after the deadline, or after the command's own expiry.
	ErrCommandLate = "CommandLate"
	// ErrCommandForged: the signature is not the person's.
	ErrCommandForged = "CommandForged"
	// ErrNotAllowed: the person may not do that (requester, role, unsigned).
	ErrNotAllowed = "NotAllowed"
	// ErrNothingWaits: the run waits for no such command now.
	ErrNothingWaits = "NothingWaits"
)

// refuse makes a non-retryable application error of a type above.
func refuse(errType, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), errType, nil)
}

// said is what an error says to people: the messages, without what Temporal and
// its SDK write around them (step ids, workers, types and retries, which the
// history keeps for machines).
func said(err error) string {
	var text string
	switch e := err.(type) { //nolint:errorlint // every layer of the chain has its turn
	case *temporal.ActivityError:
		if cause := e.Unwrap(); cause != nil {
			return said(cause)
		}
		return "the step failed and said nothing"
	case *temporal.TimeoutError:
		text = "it did not end in the time that it has"
		if e.TimeoutType() == enumspb.TIMEOUT_TYPE_HEARTBEAT {
			text = "the worker that ran it went silent"
		}
		if cause := e.Unwrap(); cause != nil {
			text += "; the last try: " + said(cause)
		}
		return text
	case *temporal.ApplicationError:
		text = e.Message()
	default:
		text = err.Error()
	}
	// A wrapping text holds the wrapped one as Temporal renders it: as it is now,
	// or as it was when an activity wrapped it.
	for _, inner := range wrapped(err) {
		olds := []string{inner.Error()}
		if app, ok := inner.(*temporal.ApplicationError); ok { //nolint:errorlint // this layer only
			olds = append(olds, app.Message())
		}
		for _, old := range olds {
			if old != "" {
				text = strings.ReplaceAll(text, old, said(inner))
			}
		}
	}
	// Errors joined in an activity come without their parts.
	return rendering.ReplaceAllString(text, "")
}

// rendering is what ApplicationError.Error writes behind the message.
var rendering = regexp.MustCompile(` \(type: \w*, retryable: (?:true|false)\)`)

func wrapped(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if inner := errors.Unwrap(err); inner != nil {
		return []error{inner}
	}
	return nil
}

// failure is the error that a run ends with, as one application error: its type
// for machines, its message for people. A step that nobody answered in time is
// ErrUnreachable.
func failure(err error) error {
	if err == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(said(err), failureType(err), nil)
}

// ending is failure of a run that has made a report: what became of what it had done is told too.
func ending(err error, r runbook.Report) error {
	return temporal.NewNonRetryableApplicationError(r.Why(), failureType(err), nil, Ending{Outcome: r.Outcome})
}

func failureType(err error) string {
	errType := ErrorType(err)
	var late *temporal.TimeoutError
	if errType == "" && errors.As(err, &late) {
		errType = ErrUnreachable
	}
	return errType
}

// ErrorType returns the application error type in err's chain, "" if none. The
// outermost that is a type of ours counts: the SDK makes application errors, of
// types of its own, of whatever Go errors wrap one.
func ErrorType(err error) string {
	first := ""
	var app *temporal.ApplicationError
	for errors.As(err, &app) {
		if first == "" {
			first = app.Type()
		}
		if !slices.Contains([]string{"", "wrapError", "wrapErrors", "joinError"}, app.Type()) {
			return app.Type()
		}
		err = app.Unwrap()
	}
	return first
}
