//go:build real

package workflows_test

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// beating keeps a step alive that the test's world holds: without heartbeats the server would try it a second time after
// ten seconds, and a test that took longer would find what both attempts did.
type beating struct {
	interceptor.WorkerInterceptorBase
}

func (*beating) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &beatingInbound{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type beatingInbound struct {
	interceptor.ActivityInboundInterceptorBase
}

func (i *beatingInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	over := make(chan struct{})
	defer close(over)
	go func() {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return i.Next.ExecuteActivity(ctx, in)
}
