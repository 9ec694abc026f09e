package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ReportLine is one ended run of a pair.
type ReportLine struct {
	RunID     string    `json:"run_id"`
	OpID      string    `json:"op_id,omitempty"`
	Operation string    `json:"operation"`
	DryRun    bool      `json:"dry_run,omitempty"`
	Drill     string    `json:"drill,omitempty"` // the kind of drill that it was, or was a part of
	State     string    `json:"state"`
	Outcome   string    `json:"outcome,omitempty"`
	Error     string    `json:"error,omitempty"`
	Requester string    `json:"requester,omitempty"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended"`
	// Amends is the failover whose exact count of lost records this recovery found out.
	Amends string `json:"amends,omitempty"`
	// RTOMillis and the records lost, estimated and exact, where the run measured them, or one that amends it.
	RTOMillis   int64  `json:"rto_ms,omitempty"`
	RPOEstimate *int64 `json:"rpo_records_estimate,omitempty"`
	RPOExact    *int64 `json:"rpo_records_exact,omitempty"`
}

// Reports lists the last ended runs of a pair that Temporal still keeps, the newest first. What is older is in the
// worker's folder of reports.
func (o *Operator) Reports(ctx context.Context, pair string, most int) ([]ReportLine, error) {
	if pair == "" || strings.ContainsAny(pair, `'"\/ `) {
		return nil, fmt.Errorf("pair %q is no plain name", pair)
	}
	req := &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("%s = '%s' AND ExecutionStatus != 'Running'", workflows.SearchPair, pair), PageSize: int32(min(most, 1000)), //nolint:gosec // bounded
	}
	var found []*workflowpb.WorkflowExecutionInfo
	for {
		page, err := o.list(ctx, req)
		if err != nil {
			return nil, reached("ended runs of pair "+pair, err)
		}
		found = append(found, page.GetExecutions()...)
		if req.NextPageToken = page.GetNextPageToken(); len(req.NextPageToken) == 0 || len(found) >= most {
			break
		}
	}
	slices.SortFunc(found, func(a, b *workflowpb.WorkflowExecutionInfo) int {
		return b.GetCloseTime().AsTime().Compare(a.GetCloseTime().AsTime())
	})
	found = found[:min(most, len(found))]
	out := make([]ReportLine, len(found))
	exact := map[string]*int64{} // by the failover that a later recovery amended
	for i, w := range found {
		out[i] = o.line(ctx, w)
		if l := out[i]; l.Amends != "" && exact[l.Amends] == nil {
			exact[l.Amends] = l.RPOExact
		}
	}
	for i := range out {
		if e := exact[out[i].OpID]; e != nil {
			out[i].RPOExact = e
		}
	}
	return out, nil
}

func (o *Operator) list(ctx context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return o.temporal.ListWorkflow(ctx, req)
}

func (o *Operator) line(ctx context.Context, w *workflowpb.WorkflowExecutionInfo) ReportLine {
	id := w.GetExecution().GetWorkflowId()
	l := ReportLine{
		RunID: w.GetExecution().GetRunId(), Operation: memoText(w.GetMemo(), MemoOperation), Requester: memoText(w.GetMemo(), MemoHolder),
		DryRun: strings.HasPrefix(id, "dr-dry/"), State: states[w.GetStatus()],
		Started: w.GetStartTime().AsTime(), Ended: w.GetCloseTime().AsTime(),
	}
	if l.Operation == "" {
		l.Operation = operationOf(w.GetType().GetName())
	}
	r, err := o.result(ctx, id, l.RunID)
	if err != nil {
		l.Error = err.Error()
		return l
	}
	l.OpID, l.Amends, l.Requester = r.OpID, r.Report.Amends, cmp.Or(l.Requester, r.Report.Requester)
	l.Drill, l.Outcome, l.Error, l.RTOMillis, l.RPOEstimate, l.RPOExact = r.Report.Drill, r.Outcome, r.Report.Error, r.Report.RTOMillis, r.Report.RPOEstimate, r.Report.RPOExact
	return l
}

func (o *Operator) result(ctx context.Context, id, run string) (workflows.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var r workflows.Result
	if err := o.temporal.GetWorkflow(ctx, id, run).Get(ctx, &r); err != nil {
		return r, answered(id, err)
	}
	return r, nil
}

// Report is the report of one ended run of a pair, by its run id or operation id.
func (o *Operator) Report(ctx context.Context, pair, run string) (runbook.Report, error) {
	if i := strings.IndexByte(run, '-'); i > 0 && !strings.ContainsAny(run[:i], "0123456789") {
		run = run[i+1:] // an operation id is <operation>-<first run's id>
	}
	r, err := o.result(ctx, workflows.ID(pair), run)
	var refused *RefusedError
	if err != nil && !errors.As(err, &refused) {
		// It may be a dry run, which has an id of its own.
		for _, l := range o.find(ctx, pair, run) {
			r, err = o.result(ctx, l, run)
		}
	}
	if err == nil && r.Report.Pair != pair {
		err = fmt.Errorf("run %s: %w", run, ErrNoRun)
	}
	if err == nil && r.Report.RPOEstimate != nil && r.Report.RPOExact == nil && !r.Report.DryRun {
		err = o.amend(ctx, &r.Report)
	}
	return r.Report, err
}

// amend adds what a later recovery found out to a failover's report: the run's own
// result, which Temporal keeps, cannot know it.
func (o *Operator) amend(ctx context.Context, r *runbook.Report) error {
	lines, err := o.Reports(ctx, r.Pair, amendWithin)
	if err != nil {
		return err
	}
	for _, l := range lines { // the newest first
		if l.Amends != r.OpID {
			continue
		}
		got, err := o.result(ctx, workflows.ID(r.Pair), l.RunID)
		if err != nil {
			return fmt.Errorf("the recovery that counted what was lost: %w", err)
		}
		r.Amended(got.Report)
		return nil
	}
	return nil
}

// amendWithin is among how many runs of a pair its recovery is looked for.
const amendWithin = 200

// find gives the workflow ids of a run.
func (o *Operator) find(ctx context.Context, pair, run string) (ids []string) {
	if strings.ContainsAny(run+pair, `'"\`) {
		return nil
	}
	page, err := o.list(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("RunId = '%s' AND %s = '%s'", run, workflows.SearchPair, pair), PageSize: 1})
	if err != nil {
		return nil
	}
	for _, w := range page.GetExecutions() {
		ids = append(ids, w.GetExecution().GetWorkflowId())
	}
	return ids
}
