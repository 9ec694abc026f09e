package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ErrNoUnfence: the worker that answers has no such workflow; nothing was done, the pair's id is free again.
var ErrNoUnfence = errors.New("the worker cannot lift fences: it has no workflow " + workflows.NameUnfence)

// Unfence starts lifting what the named operations, as the fence registers name them, fenced at sites. It runs under the
// pair's id, so that no operation runs meanwhile; the worker does it, because that needs admin rights on the fenced cluster.
// A worker that does not know the workflow would leave it open for ever, holding the pair's id against the next failover:
// that is noticed here and the run is ended.
func (o *Operator) Unfence(ctx context.Context, r Request, operations, sites []string) (Run, error) {
	r.Operation = runbook.OpUnfence
	r.Decisions = workflows.UnfenceChoices(operations, sites) // part of what is signed
	start, err := r.start()
	if err != nil {
		return Run{}, err
	}
	run, err := o.execute(ctx, r, workflows.NameUnfence, workflows.ID(r.Pair), workflows.UnfenceInput{Start: start, Operations: operations, Sites: sites})
	if err != nil {
		return Run{}, err
	}
	return run, o.watchStart(ctx, run)
}

// notTaken is how long a run may lie without any worker taking it.
const notTaken = 30 * time.Second

// watchStart waits for a run's first task. It ends a run that no worker can run and returns the reason; nil once a worker has
// done the task, and when ctx ends before.
func (o *Operator) watchStart(ctx context.Context, run Run) error {
	tick := time.NewTicker(followPause)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		taken, completed, failure, err := o.firstTask(ctx, run)
		switch {
		case err != nil || (failure == "" && taken):
			if completed {
				return nil
			}
			continue
		case failure == "" && time.Since(began) < notTaken:
			continue
		}
		reason := error(&UnreachableError{What: "the worker", Err: fmt.Errorf("nobody took run %s in %s", run.RunID, notTaken)})
		if failure != "" {
			reason = fmt.Errorf("%w (%s)", ErrNoUnfence, failure)
		}
		// Nothing of it has run, so there is nothing to undo.
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		err = o.temporal.TerminateWorkflow(end, run.ID, run.RunID, "no worker runs "+workflows.NameUnfence)
		stop()
		var gone *serviceerror.NotFound
		if err != nil && !errors.As(err, &gone) {
			reason = errors.Join(reason, fmt.Errorf("END IT BY HAND, it blocks every operation: `temporal workflow terminate --workflow-id %s`: %w", run.ID, err))
		}
		return reason
	}
}

// firstTask reads from a run's history whether a worker took its first workflow task, completed one, or failed it.
func (o *Operator) firstTask(ctx context.Context, run Run) (taken, completed bool, failure string, err error) {
	events := o.temporal.GetWorkflowHistory(ctx, run.ID, run.RunID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return taken, completed, failure, err
		}
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_TASK_STARTED:
			taken = true
		case enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			return true, true, "", nil
		case enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			failure = e.GetWorkflowTaskFailedEventAttributes().GetFailure().GetMessage()
			if failure == "" {
				failure = "its first task failed"
			}
		default:
		}
	}
	return taken, completed, failure, nil
}
