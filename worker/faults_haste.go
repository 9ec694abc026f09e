//go:build faults

package worker

import (
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// What Temporal waits for before it takes a step for lost. A worker that dies of its own is waited for as long as options.go
// says, half a minute for some steps; a test that kills a hundred of them need not.
const (
	hasteHeartbeat = 5 * time.Second  // activities heartbeat every third of 10 s
	hasteAttempt   = 6 * time.Second  // of steps without a heartbeat
	hasteLast      = 15 * time.Second // of those whose attempts are counted: a slow machine must not use them up
)

// haste shortens those waits and nothing else: how often a step is tried, and how long in all, is as it is.
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
	switch {
	case opts.HeartbeatTimeout > 0:
		opts.HeartbeatTimeout = min(opts.HeartbeatTimeout, hasteHeartbeat)
	case opts.RetryPolicy != nil && opts.RetryPolicy.MaximumAttempts > 0:
		opts.StartToCloseTimeout = min(opts.StartToCloseTimeout, hasteLast)
	default:
		opts.StartToCloseTimeout = min(opts.StartToCloseTimeout, hasteAttempt)
	}
	return o.Next.ExecuteActivity(workflow.WithActivityOptions(ctx, opts), activity, args...)
}
