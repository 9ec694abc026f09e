package workflows

import (
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// faithful keeps the server's word to steps that are held (WaitForCancellation): a cancelled run gets their answer when they have
// ended. The test environment of SDK 1.50 gives them up at once, and what they do then lands behind their undo.
type faithful struct {
	interceptor.WorkerInterceptorBase
}

func (*faithful) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	i := &faithfulIn{}
	i.Next = next
	return i
}

type faithfulIn struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (i *faithfulIn) Init(out interceptor.WorkflowOutboundInterceptor) error {
	o := &faithfulOut{}
	o.Next = out
	return i.Next.Init(o)
}

type faithfulOut struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (o *faithfulOut) ExecuteActivity(ctx workflow.Context, activity string, args ...any) workflow.Future {
	if workflow.GetActivityOptions(ctx).WaitForCancellation && ctx.Err() == nil {
		ctx, _ = workflow.NewDisconnectedContext(ctx)
	}
	return o.Next.ExecuteActivity(ctx, activity, args...)
}
