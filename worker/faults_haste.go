//go:build faults

package worker

import (
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// What Temporal waits for before it takes a step for lost. A worker that dies of its own is waited for as long as options.go
// says, half a minute for some steps; a test that kills a hundred of them need not. Steps whose attempts are counted are left
// what options.go gives, or close to it: a slow machine must not use them up.
const (
	hasteHeartbeat = 5 * time.Second  // activities heartbeat every third of 10 s
	hasteAttempt   = 6 * time.Second  // of steps without a heartbeat
	hasteLast      = 15 * time.Second // of those whose attempts are counted
	hasteFew       = 2                // attempts: one is killed, and the other must not miss a heartbeat
	hasteMore      = time.Minute      // for all attempts of a step, of which the killed one took most
)

// haste shortens those waits and leaves how often a step is tried. A step whose attempts are counted has longer in all, so that
// the attempt behind a killed one has its whole time.
type haste struct {
	interceptor.WorkerInterceptorBase
}

func (*haste) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	i := &hasteIn{}
	i.Next = next
	return i
}

type hasteIn struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (i *hasteIn) Init(out interceptor.WorkflowOutboundInterceptor) error {
	o := &hasteOut{}
	o.Next = out
	return i.Next.Init(o)
}

type hasteOut struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (o *hasteOut) ExecuteActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	opts := workflow.GetActivityOptions(ctx)
	var attempts int32 // 0 for no limit
	if opts.RetryPolicy != nil {
		attempts = opts.RetryPolicy.MaximumAttempts
	}
	if attempts > 1 && opts.ScheduleToCloseTimeout > 0 {
		opts.ScheduleToCloseTimeout += hasteMore
	}
	switch {
	case opts.HeartbeatTimeout > 0 && attempts == hasteFew:
	case opts.HeartbeatTimeout > 0:
		opts.HeartbeatTimeout = min(opts.HeartbeatTimeout, hasteHeartbeat)
	case attempts > 0:
		opts.StartToCloseTimeout = min(opts.StartToCloseTimeout, hasteLast)
	default:
		opts.StartToCloseTimeout = min(opts.StartToCloseTimeout, hasteAttempt)
	}
	return o.Next.ExecuteActivity(workflow.WithActivityOptions(ctx, opts), activity, args...)
}
