package worker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

var discard = slog.New(slog.DiscardHandler)

// attributes are the workflows' search attributes, but for the first skip.
func attributes(skip int) []temporal.SearchAttributeKey {
	var out []temporal.SearchAttributeKey
	for _, a := range workflows.SearchAttributes[skip:] {
		if a.Int {
			out = append(out, temporal.NewSearchAttributeKeyInt64(a.Name))
		} else {
			out = append(out, temporal.NewSearchAttributeKeyKeyword(a.Name))
		}
	}
	return out
}

func config(t *testing.T, s *local.Temporal) Config {
	t.Helper()
	c := Default()
	c.Listen, c.PlansDir, c.ReportsDir = "127.0.0.1:0", t.TempDir(), t.TempDir()
	c.Temporal.Address, c.Temporal.Namespace = s.HostPort(), s.Namespace()
	return c
}

func get(t *testing.T, w *Worker, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestAWorkerRefusesToStartWithoutSearchAttributes(t *testing.T) {
	s := local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: attributes(1)})
	w, err := New(t.Context(), config(t, s), runbook.Build{Version: "test"}, discard)
	if err == nil {
		w.Close()
		t.Fatal("it starts")
	}
	first := workflows.SearchAttributes[0].Name
	for _, says := range []string{"search attribute " + first + " is missing", "temporal operator search-attribute create --namespace default --name " + first + " --type Keyword"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("error %v does not say %q", err, says)
		}
	}
	if other := workflows.SearchAttributes[1].Name; strings.Contains(err.Error(), other) {
		t.Errorf("names %s, which is there: %v", other, err)
	}
}

// What a worker starts, it and its like must find: Schedules and Debt go to its own queue.
func TestWhatAWorkerStartsComesToItsOwnQueue(t *testing.T) {
	s := local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: attributes(0)})
	cfg := config(t, s)
	cfg.Temporal.TaskQueue = "drawbridge-2"
	w, err := New(t.Context(), cfg, runbook.Build{Version: "test"}, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	caller := sdk.New(c, "caller", sdk.Options{})
	call := workflows.Call{Pair: "orders", OperationID: "x"}
	caller.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: "drawbridge-2", StartToCloseTimeout: 10 * time.Second})
		err := workflow.ExecuteActivity(ctx, "WakeDebt", workflows.WakeDebtInput{Call: call}).Get(ctx, nil)
		if err == nil {
			err = workflow.ExecuteActivity(ctx, "WatchReadiness", workflows.WatchReadinessInput{Call: call, Every: time.Hour}).Get(ctx, nil)
		}
		return err
	}, workflow.RegisterOptions{Name: "Call"})
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	defer caller.Stop()
	wait, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	run, err := c.ExecuteWorkflow(wait, client.StartWorkflowOptions{TaskQueue: "caller"}, "Call")
	if err == nil {
		err = run.Get(wait, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	debt, err := c.DescribeWorkflowExecution(wait, workflows.DebtID("orders"), "")
	if err != nil || debt.GetExecutionConfig().GetTaskQueue().GetName() != "drawbridge-2" {
		t.Errorf("debt: %v, %v", debt.GetExecutionConfig().GetTaskQueue(), err)
	}
	ready, err := c.ScheduleClient().GetHandle(wait, workflows.ReadyID("orders")).Describe(wait)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := ready.Schedule.Action.(*client.ScheduleWorkflowAction); !ok || a.TaskQueue != "drawbridge-2" {
		t.Errorf("readiness: %+v", ready.Schedule.Action)
	}
}

func TestAWorkerServesRunsAndStopsInOrder(t *testing.T) {
	s := local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: attributes(0)})
	w, err := New(t.Context(), config(t, s), runbook.Build{Version: "v0-test"}, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	wait, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err = local.WaitFor(wait, "the worker to be ready", func(context.Context) error {
		if code, body := get(t, w, "/readyz"); code != http.StatusOK {
			return &notReady{body}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A run of a pair without a plan reaches LoadPlan and is refused by it: the
	// workflows and the activities are there, under their names.
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.ID("nobody"), TaskQueue: workflows.TaskQueue},
		workflows.NameSetUp, workflows.SetUpInput{Start: workflows.Start{Pair: "nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	if err = run.Get(wait, nil); workflows.ErrorType(err) != workflows.ErrPlanInvalid {
		t.Errorf("a run without a plan ends with %v", err)
	}
	if code, body := get(t, w, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz %d %s", code, body)
	}
	for _, says := range []string{
		`drawbridge_worker_build_info{version="v0-test"} 1`, `temporal_workflow_failed_total{`, `temporal_activity_execution_latency_seconds_bucket{`, `activity_type="LoadPlan"`,
	} {
		// The caller may hear of a run's end before the worker has counted it.
		eventually(t, wait, "/metrics has "+says, func() bool {
			code, body := get(t, w, "/metrics")
			return code == http.StatusOK && strings.Contains(body, says)
		})
	}
	if code, _ := get(t, w, "/other"); code != http.StatusNotFound {
		t.Errorf("/other %d", code)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	// A signal takes its time on a busy machine, and what was asked before is answered.
	eventually(t, wait, "with Temporal away /readyz says so", func() bool {
		code, body := get(t, w, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "temporal does not answer")
	})
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not stop")
	}
	if code, _ := get(t, w, "/healthz"); code != 0 {
		t.Errorf("it still answers: %d", code)
	}
}

type notReady struct{ text string }

func (e *notReady) Error() string { return e.text }

func TestAWorkerWithoutItsPlansFolderOrTemporalSaysSo(t *testing.T) {
	c := Default()
	c.PlansDir, c.Listen = t.TempDir()+"/gone", "127.0.0.1:0"
	if _, err := New(t.Context(), c, runbook.Build{Version: "test"}, discard); err == nil || !strings.Contains(err.Error(), "plans_dir") {
		t.Errorf("got %v", err)
	}
	ports, err := local.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	c.PlansDir = t.TempDir()
	c.Temporal.Address = "127.0.0.1:" + strconv.Itoa(ports[0])
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := New(ctx, c, runbook.Build{Version: "test"}, discard); err == nil || !strings.Contains(err.Error(), "temporal at 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
}

func eventually(t *testing.T, ctx context.Context, what string, is func() bool) {
	t.Helper()
	err := local.WaitFor(ctx, what, func(context.Context) error {
		if !is() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
