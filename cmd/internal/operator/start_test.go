package operator

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A server that has just come up was seen to drop a start: the person must neither start again by hand nor be told that
// somebody else holds the pair.
func TestAStartWhoseAnswerIsLostIsFoundAgain(t *testing.T) {
	var keys []temporal.SearchAttributeKey
	for _, a := range workflows.SearchAttributes {
		if a.Int {
			keys = append(keys, temporal.NewSearchAttributeKeyInt64(a.Name))
		} else {
			keys = append(keys, temporal.NewSearchAttributeKeyKeyword(a.Name))
		}
	}
	server := local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: keys})
	const method = "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution"
	var asked, lost, before atomic.Int32 // before: calls dropped before the server sees them, lost: after
	drop := func(ctx context.Context, m string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if m != method {
			return invoke(ctx, m, req, reply, cc, opts...)
		}
		asked.Add(1)
		if before.Add(-1) >= 0 {
			return status.Error(codes.Canceled, "dropped before it was done")
		}
		if err := invoke(ctx, m, req, reply, cc, opts...); err != nil {
			return err
		}
		if lost.Add(-1) >= 0 {
			return status.Error(codes.Canceled, "done, and its answer dropped")
		}
		return nil
	}
	c, err := client.Dial(client.Options{
		HostPort:          server.HostPort(),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(drop)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	o := New(c)
	for _, fault := range []struct {
		pair         string
		before, lost int32
		want         int32
	}{
		{"never", 0, 0, 1},
		{"unseen", 1, 0, 2},
		{"unheard", 0, 1, 2},
		{"both", 1, 1, 3},
	} {
		asked.Store(0)
		before.Store(fault.before)
		lost.Store(fault.lost)
		run, err := o.Start(t.Context(), Request{Operation: runbook.OpSetUp, Pair: fault.pair})
		if err != nil || run.RunID == "" || run.ID != workflows.ID(fault.pair) || asked.Load() != fault.want {
			t.Errorf("%s: %+v after %d calls, %v; want a run after %d", fault.pair, run, asked.Load(), err, fault.want)
		}
		var busy *BusyError
		if _, err := o.Start(t.Context(), Request{Operation: runbook.OpSetUp, Pair: fault.pair}); !errors.As(err, &busy) || busy.RunID != run.RunID {
			t.Errorf("%s: the next start: %v; want to hear that run %s holds the pair", fault.pair, err, run.RunID)
		}
	}
	before.Store(startAttempts)
	if run, err := o.Start(t.Context(), Request{Operation: runbook.OpSetUp, Pair: "gone"}); err == nil {
		t.Errorf("a server that drops every start: %+v", run)
	}
}

// A run that pays debts has no memo of ours: its list and status name it as people do all the same.
func TestARunWithoutAMemoHasTheNameOfItsOperation(t *testing.T) {
	for workflowType, want := range map[string]string{
		workflows.NameRecoverLaggedData: runbook.OpRecover, workflows.NameRestoreDR: runbook.OpRestore, workflows.NameSetUp: runbook.OpSetUp, "Other": "Other",
	} {
		if got := operationOf(workflowType); got != want {
			t.Errorf("%s is called %q, want %q", workflowType, got, want)
		}
	}
}

// Whoever names no namespace asks "default", where nothing is amiss but that it is the wrong one.
func TestAStartInAnotherNamespaceAsksWhetherItIsTheWorkers(t *testing.T) {
	err := notStarted("start failover of pair orders", serviceerror.NewInvalidArgument("Namespace default has no mapping defined for search attribute DrPair"))
	for _, want := range []string{"start failover of pair orders", "Namespace default", "DrPair", "namespace of the worker?", "TEMPORAL_NAMESPACE"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "registers") {
		t.Errorf("no worker registers anything: %q", err)
	}
}
