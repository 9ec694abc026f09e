package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// NameUnfence is the workflow that lifts fences whose run is lost: it needs admin rights on the fenced cluster, which the
// worker has and drctl has not. It runs under the pair's id, so that no operation runs meanwhile.
const NameUnfence = "Unfence"

// OpUnfence is its operation in memo and signature.
const OpUnfence = "unfence"

// UnfenceInput starts it. Operations are the ids in the engines' fence registers whose entries are to go.
type UnfenceInput struct {
	workflows.Start
	Operations []string `json:"operations"`
}

// ErrNoUnfence: the worker that answers has no such workflow; nothing was done, the pair's id is free again.
var ErrNoUnfence = errors.New("the worker cannot lift fences: it has no workflow " + NameUnfence)

// Unfence lifts the fences of the named operations and waits for the end. A worker that does not know the workflow would
// leave it open for ever, holding the pair's id against the next failover: that is noticed and the run is ended.
func (o *Operator) Unfence(ctx context.Context, r Request, operations []string) (workflows.Result, error) {
	r.Operation = OpUnfence
	start, err := r.start()
	if err != nil {
		return workflows.Result{}, err
	}
	run, err := o.execute(ctx, r, NameUnfence, workflows.ID(r.Pair), UnfenceInput{Start: start, Operations: operations})
	if err != nil {
		return workflows.Result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var nobody error // why no worker can run it; written before watched is closed
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if nobody = o.watchStart(ctx, run); nobody != nil {
			cancel() // should the run not have ended by it
		}
	}()
	result, err := o.Result(ctx, run)
	cancel()
	<-watched
	if nobody != nil {
		return result, nobody
	}
	return result, err
}

// notTaken is how long a run may lie without any worker taking it.
const notTaken = 30 * time.Second

// watchStart ends a run that no worker can run and returns the reason; nil once a worker has done its first task.
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
		err = o.temporal.TerminateWorkflow(end, run.ID, run.RunID, "no worker runs "+NameUnfence)
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
