package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Errors as they come to a workflow: through Temporal, from a real activity of
// the test environment.
func TestErrorsSayTheirMessagesAndKeepTheirTypes(t *testing.T) {
	refused := no(ErrRefused, "east said no (for good)")
	for name, c := range map[string]struct {
		err  error
		text string
		typ  string
	}{
		"one":            {refused, "east said no (for good)", ErrRefused},
		"wrapped by Go":  {fmt.Errorf("lift the fence of east: %w", refused), "lift the fence of east: east said no (for good)", ErrRefused},
		"wrapped twice":  {fmt.Errorf("a: %w", fmt.Errorf("b: %w", refused)), "a: b: east said no (for good)", ErrRefused},
		"joined":         {errors.Join(errors.New("first"), refused), "first\neast said no (for good)", "joinError"},
		"with a cause":   {temporal.NewNonRetryableApplicationError("not equal", ErrHalted, refused), "not equal", ErrHalted},
		"no application": {errors.New("plain"), "plain", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
			env := suite.NewTestWorkflowEnvironment()
			env.SetWorkerOptions(patient)
			fails := func(context.Context) error { return c.err }
			env.RegisterActivity(fails)
			env.ExecuteWorkflow(func(ctx workflow.Context) error {
				ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
				err := workflow.ExecuteActivity(ctx, fails).Get(ctx, nil)
				if got := said(err); got != c.text {
					t.Errorf("says %q, want %q (%v)", got, c.text, err)
				}
				if got := ErrorType(err); got != c.typ {
					t.Errorf("is a %q, want %q", got, c.typ)
				}
				wrapped := fmt.Errorf("step: %w", err)
				if got := said(wrapped); got != "step: "+c.text {
					t.Errorf("wrapped says %q", got)
				}
				return failure(wrapped)
			})
			var end *temporal.ApplicationError
			if err := env.GetWorkflowError(); !errors.As(err, &end) || end.Message() != "step: "+c.text || end.Type() != c.typ {
				t.Errorf("the run ended with %v", env.GetWorkflowError())
			}
		})
	}
}

func TestAStepThatNobodyAnsweredInTimeIsUnreachable(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(patient)
	late := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	env.RegisterActivity(late)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 50 * time.Millisecond, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
		return failure(fmt.Errorf("west: %w", workflow.ExecuteActivity(ctx, late).Get(ctx, nil)))
	})
	if err := env.GetWorkflowError(); ErrorType(err) != ErrUnreachable || !strings.Contains(err.Error(), "west: it did not end in the time that it has") {
		t.Errorf("%v", err)
	}
}

// What people read of a run (report, steps, findings, debts, notifications)
// holds nothing of Temporal's own rendering.
func TestReportsSpeakToPeople(t *testing.T) {
	w := lost()
	w.fail["GrowMirrors"] = []error{no(ErrStaleOperation, "the engine refused the call")}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.failed(ErrStaleOperation)
	var told []any
	for _, n := range w.notes {
		told = append(told, n.Text)
	}
	for what, v := range map[string]any{"status": s.status(), "report": s.w.report, "notifications": told} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, noise := range []string{"(type:", "retryable", "activity error", "scheduledEventID"} {
			if strings.Contains(string(b), noise) {
				t.Errorf("the %s says %q: %s", what, noise, b)
			}
		}
	}
	if s.w.report.Error != "the engine refused the call" {
		t.Errorf("the report's error is %q", s.w.report.Error)
	}
}
