package operator

import (
	"context"
	"errors"
	"fmt"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Readiness has a worker look at a pair, and waits for what it finds. Two who ask at the same time share one look.
func (o *Operator) Readiness(ctx context.Context, pair, planHash, by string) (runbook.Readiness, error) {
	var r runbook.Readiness
	run, err := o.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.ReadyID(pair), TaskQueue: workflows.TaskQueue,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "readiness of pair " + pair + ", asked by " + by,
	}, workflows.NameReadiness, workflows.ReadinessInput{Pair: pair, PlanHash: planHash})
	if err != nil {
		return r, reached("look at the readiness of pair "+pair, err)
	}
	return r, o.readiness(ctx, run, &r)
}

// LastReadiness is what the pair's Schedule found last. ErrNoRun: it has not found anything yet, or there is none.
func (o *Operator) LastReadiness(ctx context.Context, pair string) (runbook.Readiness, error) {
	var r runbook.Readiness
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := o.temporal.ScheduleClient().GetHandle(ctx, workflows.ReadyID(pair)).Describe(ctx)
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return r, fmt.Errorf("%w: pair %s has no Schedule of readiness; drctl setup %s makes it", ErrNoRun, pair, pair)
	}
	if err != nil {
		return r, reached("schedule "+workflows.ReadyID(pair), err)
	}
	for i := len(s.Info.RecentActions) - 1; i >= 0; i-- {
		started := s.Info.RecentActions[i].StartWorkflowResult
		if started == nil {
			continue
		}
		d, err := o.temporal.DescribeWorkflowExecution(ctx, started.WorkflowID, started.FirstExecutionRunID)
		if err != nil || d.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			continue // under way, failed, or forgotten by Temporal
		}
		return r, o.readiness(ctx, o.temporal.GetWorkflow(ctx, started.WorkflowID, started.FirstExecutionRunID), &r)
	}
	return r, fmt.Errorf("%w: the Schedule %s has not found anything yet", ErrNoRun, workflows.ReadyID(pair))
}

func (o *Operator) readiness(ctx context.Context, run client.WorkflowRun, r *runbook.Readiness) error {
	if err := run.Get(ctx, r); err != nil {
		return answered("readiness "+run.GetID(), err)
	}
	return nil
}
