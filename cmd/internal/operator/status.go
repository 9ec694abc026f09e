package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	common "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Status of a pair, as Temporal knows it.
type Status struct {
	Pair string `json:"pair"`
	// Run is the open or the last run on the pair; nil if Temporal knows none.
	Run *RunInfo `json:"run,omitempty"`
	// Detail is the run's own word; nil if there is no run or no worker answered, then Problem says why.
	Detail  *workflows.Status `json:"detail,omitempty"`
	Problem string            `json:"problem,omitempty"`
}

// Open reports whether an operation holds the pair.
func (s Status) Open() bool { return s.Run != nil && s.Run.State == StateOpen }

// States of a run in Temporal.
const (
	StateOpen       = "open"
	StateCompleted  = "completed"
	StateFailed     = "failed"
	StateCanceled   = "canceled"
	StateTerminated = "terminated"
	StateTimedOut   = "timed out"
)

// RunInfo is what Temporal knows of a run without asking a worker.
type RunInfo struct {
	Run
	State     string     `json:"state"`
	Requester string     `json:"requester"`
	PlanHash  string     `json:"plan_hash"`
	Summary   string     `json:"summary"`
	Phase     string     `json:"phase"`
	Outcome   string     `json:"outcome,omitempty"`
	Started   time.Time  `json:"started"`
	Closed    *time.Time `json:"closed,omitempty"`
}

// Status describes the open or last run of a pair. No run at all is no error.
func (o *Operator) Status(ctx context.Context, pair string) (Status, error) {
	return o.status(ctx, pair, queryTimeout)
}

// status gives the run's worker as long as within.
func (o *Operator) status(ctx context.Context, pair string, within time.Duration) (Status, error) {
	st := Status{Pair: pair}
	info, err := o.describe(ctx, pair, workflows.ID(pair), "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return st, nil
	case err != nil:
		return st, reached("status of pair "+pair, err)
	}
	st.Run = &info
	detail, err := o.ask(ctx, info.Run, within)
	if err != nil {
		st.Problem = err.Error()
	} else {
		st.Detail = &detail
	}
	return st, nil
}

// Last is what Temporal knows of the open or last run of a pair, without asking a worker; nil: it knows none.
func (o *Operator) Last(ctx context.Context, pair string) (*RunInfo, error) {
	info, err := o.describe(ctx, pair, workflows.ID(pair), "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil, nil
	case err != nil:
		return nil, reached("last run of pair "+pair, err)
	}
	return &info, nil
}

// Ask queries a run for its status; closed runs answer too, if a worker runs.
func (o *Operator) Ask(ctx context.Context, run Run) (workflows.Status, error) {
	return o.ask(ctx, run, queryTimeout)
}

func (o *Operator) ask(ctx context.Context, run Run, within time.Duration) (workflows.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var st workflows.Status
	what := "query of " + run.ID
	answer, err := o.temporal.QueryWorkflow(ctx, run.ID, run.RunID, workflows.QueryStatus)
	if err != nil {
		return st, answered(what, err)
	}
	if err := answer.Get(&st); err != nil {
		return st, fmt.Errorf("%s: %w", what, err)
	}
	return st, nil
}

func (o *Operator) describe(ctx context.Context, pair, id, runID string) (RunInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d, err := o.temporal.DescribeWorkflow(ctx, id, runID)
	if err != nil {
		return RunInfo{}, err
	}
	memo := func(key string) string { return memoText(d.Memo, key) }
	keyword := func(name string) string {
		v, _ := d.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(name))
		return v
	}
	info := RunInfo{
		Run:       Run{Pair: pair, ID: id, RunID: d.WorkflowExecution.RunID, Operation: memo(MemoOperation), DryRun: id != workflows.ID(pair)},
		State:     states[d.Status],
		Requester: memo(MemoHolder), PlanHash: memo(MemoPlanHash),
		Phase: keyword(workflows.SearchPhase), Outcome: keyword(workflows.SearchOutcome),
		Started: d.WorkflowStartTime, Closed: d.WorkflowCloseTime,
	}
	if info.Operation == "" {
		info.Operation = operationOf(d.WorkflowType.Name)
	}
	if info.Requester == "" {
		info.Requester = runbook.Unsigned
	}
	if info.Summary, err = d.GetStaticSummary(); err != nil {
		info.Summary = ""
	}
	return info, nil
}

// memoText reads a text of a memo, empty if there is none.
func memoText(memo *common.Memo, key string) (s string) {
	if p, ok := memo.GetFields()[key]; ok {
		if err := converter.GetDefaultDataConverter().FromPayload(p, &s); err != nil {
			return ""
		}
	}
	return s
}

var states = map[enums.WorkflowExecutionStatus]string{
	enums.WORKFLOW_EXECUTION_STATUS_RUNNING:    StateOpen,
	enums.WORKFLOW_EXECUTION_STATUS_PAUSED:     StateOpen,
	enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:  StateCompleted,
	enums.WORKFLOW_EXECUTION_STATUS_FAILED:     StateFailed,
	enums.WORKFLOW_EXECUTION_STATUS_CANCELED:   StateCanceled,
	enums.WORKFLOW_EXECUTION_STATUS_TERMINATED: StateTerminated,
	enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:  StateTimedOut,
}
