package operator

import (
	"context"
	"errors"
	"fmt"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// Debts is what the pair's Debt workflow says of itself; open tells whether it still runs. ErrNoRun: there never was one, or
// Temporal has forgotten it.
func (o *Operator) Debts(ctx context.Context, pair string) (st workflows.DebtStatus, open bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	id := workflows.DebtID(pair)
	d, err := o.temporal.DescribeWorkflowExecution(ctx, id, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return st, false, fmt.Errorf("%w: nobody sees to debts of pair %s (%s); drctl debts %s --start does", ErrNoRun, pair, id, pair)
	case err != nil:
		return st, false, reached("debts of pair "+pair, err)
	}
	open = d.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	answer, err := o.temporal.QueryWorkflow(ctx, id, "", workflows.QueryDebts)
	if err != nil {
		return st, open, answered("query of "+id, err)
	}
	if err := answer.Get(&st); err != nil {
		return st, open, fmt.Errorf("query of %s: %w", id, err)
	}
	return st, open, nil
}

// WakeDebt starts the pair's Debt workflow, or has the one that runs look at once.
func (o *Operator) WakeDebt(ctx context.Context, pair, by string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id := workflows.DebtID(pair)
	_, err := o.temporal.SignalWithStartWorkflow(ctx, id, workflows.SignalWake, nil, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary: "debts of pair " + pair + ", asked for by " + by,
	}, workflows.NameDebt, workflows.DebtInput{Pair: pair})
	if err != nil {
		return reached("start "+id, err)
	}
	return nil
}
