package activities

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Activities has exactly the methods of workflows.Steps exported: the SDK
// registers every exported method. Make it with New.
type Activities struct {
	opts    Options
	log     *slog.Logger
	http    *http.Client
	clients clients
	threads threads
	pace    pace
	// notifies is how long a notification may take, 0 for notifyWithin.
	notifies time.Duration
}

var _ workflows.Steps = (*Activities)(nil)

// Options of the activities. The zero value has no plans folder, and LoadPlan
// fails with it.
type Options struct {
	// PlansDir has the plans, <pair>.yaml.
	PlansDir string
	// ReportsDir is where relative report folders of plans begin.
	ReportsDir string
	// SlackAPI and PagerDutyAPI replace the public endpoints (tests, proxies);
	// Slack's with the path up to the method, as https://slack.com/api/.
	SlackAPI     string
	PagerDutyAPI string
	// Secrets resolves what plans refer to.
	Secrets secret.Reader
	// Logger is nil for none.
	Logger *slog.Logger
	// Build of this process, for reports; the zero value is none that they would tell.
	Build runbook.Build
}

// New makes the activities and the function that closes their connections,
// which is called when no activity runs any more.
func New(o Options) (a *Activities, closeAll func()) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 0 // every call ends with its ctx; engines compute long
	a = &Activities{opts: o, log: o.Logger, http: &http.Client{Transport: transport}}
	a.clients.resolve = a.resolve
	return a, func() {
		a.clients.close()
		transport.CloseIdleConnections()
	}
}

// Bounds of single calls. A step is made of several, and its own deadline is
// the workflow's.
const (
	callTimeout  = 10 * time.Second // one request to a site that should be up
	reachTimeout = 6 * time.Second  // finding out that a site is down
)

// beat heartbeats every second until the returned function is called, which
// waits for the goroutine. Calls to an engine take as long as the work does;
// what bounds a call that hangs is the step's deadline. details, if any, are
// what a later attempt finds by activity.GetHeartbeatDetails.
func (a *Activities) beat(ctx context.Context, details ...any) (stop func()) {
	if !activity.IsActivity(ctx) {
		return func() {} // a test without Temporal
	}
	activity.RecordHeartbeat(ctx, details...)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx, details...)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// logger has the fixed keys of a call.
func (a *Activities) logger(c workflows.Call) *slog.Logger {
	return a.log.With("run_id", c.OperationID, "runbook", c.Operation, "step", c.Step)
}
