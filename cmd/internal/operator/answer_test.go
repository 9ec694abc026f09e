package operator

import (
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// approvals is a run that takes any approval and counts them.
func approvals(ctx workflow.Context, want int) (int, error) {
	n := 0
	err := workflow.SetQueryHandler(ctx, workflows.QueryStatus, func() (workflows.Status, error) {
		return workflows.Status{Pair: "orders", OpID: "failback-1", Operation: runbook.OpFailback, Epoch: 1}, nil
	})
	if err != nil {
		return 0, err
	}
	err = workflow.SetUpdateHandler(ctx, workflows.UpdateApprove, func(workflow.Context, runbook.Command) (workflows.Ack, error) {
		n++
		return workflows.Ack{Have: n, Need: want}, nil
	})
	if err != nil {
		return 0, err
	}
	err = workflow.Await(ctx, func() bool { return n >= want && workflow.AllHandlersFinished(ctx) })
	return n, err
}

// A failback asks twice. Its second question may come within the second in which
// the first was answered, and the two answers of one person are then signed alike.
func TestAnswersWithinASecondAllReachTheRun(t *testing.T) {
	server := local.TemporalForTest(t, local.TemporalConfig{})
	c, err := client.Dial(client.Options{HostPort: server.HostPort()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, workflows.TaskQueue, worker.Options{})
	w.RegisterWorkflow(approvals)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	const answers = 5 // some of them within one second
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.ID("orders"), TaskQueue: workflows.TaskQueue}, approvals, answers)
	if err != nil {
		t.Fatal(err)
	}
	o := New(c)
	bob, err := NewKeyFile(t.TempDir()+"/bob.json", "bob")
	if err != nil {
		t.Fatal(err)
	}
	for i := range answers {
		ack, err := o.Answer(t.Context(), "orders", Answer{Decision: runbook.Approve}, bob)
		if err != nil || ack.Have != i+1 {
			t.Fatalf("answer %d: %+v, %v", i+1, ack, err)
		}
	}
	var got int
	if err := run.Get(t.Context(), &got); err != nil || got != answers {
		t.Errorf("the run has heard %d answers: %v", got, err)
	}
}
