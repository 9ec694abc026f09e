package activities

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// WakeDebt starts the workflow of the pair's debts, or wakes the one that runs.
func (a *Activities) WakeDebt(ctx context.Context, in workflows.WakeDebtInput) (workflows.WakeDebtResult, error) {
	out := workflows.WakeDebtResult{Workflow: workflows.DebtID(in.Call.Pair)}
	if !activity.IsActivity(ctx) {
		return out, refuse(workflows.ErrRefused, "a workflow is started by a worker only")
	}
	_, err := activity.GetClient(ctx).SignalWithStartWorkflow(ctx, out.Workflow, workflows.SignalWake, nil, client.StartWorkflowOptions{
		ID: out.Workflow, TaskQueue: activity.GetInfo(ctx).TaskQueue, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary: "debts of pair " + in.Call.Pair + ", left by " + in.Call.OperationID,
	}, workflows.NameDebt, workflows.DebtInput{Pair: in.Call.Pair})
	if err != nil {
		return out, settle(fmt.Errorf("start %s: %w", out.Workflow, err))
	}
	return out, nil
}
