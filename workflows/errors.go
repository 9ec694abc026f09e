package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
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
	// ErrSplitBrain: two records of one epoch; a person decides.
	ErrSplitBrain = "SplitBrain"
	// ErrNotApproved: denied, or the deadline passed.
	ErrNotApproved = "NotApproved"
	// ErrAborted: a person ended the run before the pivot.
	ErrAborted = "Aborted"
	// ErrFreezeExpired: the freeze took longer than the plan allows; everything
	// was undone.
	ErrFreezeExpired = "FreezeExpired"
	// ErrHalted: a step reported failures of its own before the pivot.
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

// ErrorType returns the application error type in err's chain, "" if none.
func ErrorType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}
