package runbooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// starter is a way to start an operation without drctl; input is what a person typed.
type starter struct {
	name  string
	start func(p *pair, id, workflow, input string) (runID string, err error)
}

// starters send to the server what Temporal's own tools send. `temporal workflow start --task-queue drawbridge --type Failover
// --workflow-id dr/orders --id-conflict-policy Fail --input '{"pair":"orders"}'` makes one json/plain payload of the input as it
// was typed; the start form of the Web UI the same, without a conflict policy. Neither sets a memo, a summary or search attributes.
var starters = []starter{
	{"temporal workflow start", func(p *pair, id, workflow, input string) (string, error) {
		return p.raw(id, workflow, input, enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL)
	}},
	{"the Web UI's start form", func(p *pair, id, workflow, input string) (string, error) {
		return p.raw(id, workflow, "\n"+strings.ReplaceAll(input, ":", " : ")+"\n", enumspb.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED)
	}},
}

func (p *pair) raw(id, workflow, input string, conflict enumspb.WorkflowIdConflictPolicy) (string, error) {
	res, err := p.temporal.WorkflowService().StartWorkflowExecution(p.within(2*time.Minute), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: p.Temporal.Namespace(), WorkflowId: id, RequestId: fmt.Sprint(time.Now().UnixNano()), Identity: "somebody",
		WorkflowType: &commonpb.WorkflowType{Name: workflow}, TaskQueue: &taskqueuepb.TaskQueue{Name: workflows.TaskQueue},
		WorkflowIdConflictPolicy: conflict,
		Input:                    &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(input)}}},
	})
	return res.GetRunId(), err
}

// Every operation, started by hand as runbooks tell people to, runs as nobody's: it says so, wants one approval more, and is
// the only one of its pair.
func TestEveryOperationCanBeStartedByHand(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "byhand", nil)
	input := `{"pair":"byhand"}`
	for _, by := range starters {
		t.Run(by.name, func(t *testing.T) {
			p.T = t
			for _, c := range []struct {
				workflow string
				op       string
				asks     bool   // it must wait for people, who say no but to the set-up
				says     string // what a refusal says, where it is refused before anybody is asked
			}{
				{workflows.NameSetUp, runbook.OpSetUp, true, ""},
				{workflows.NameFailover, runbook.OpFailover, true, ""},
				{workflows.NameSwitchover, runbook.OpSwitchover, true, ""},
				{workflows.NameRecoverLaggedData, runbook.OpRecover, false, "byhand"},
				{workflows.NameFailback, runbook.OpFailback, false, "byhand"},
				{workflows.NameUnfence, runbook.OpUnfence, false, "drctl unfence byhand"},
			} {
				id := workflows.ID("byhand")
				run, err := by.start(p, id, c.workflow, input)
				if err != nil {
					t.Fatalf("%s: %v", c.workflow, err)
				}
				o := &op{pair: p, verb: c.op, id: workflows.ID(p.Pair()), runID: run, given: map[string]bool{}}
				st, asks := o.asksOrEnds()
				if c.asks && !asks {
					t.Errorf("%s asked nobody", c.workflow)
				}
				if asks {
					if st.Requester != runbook.Unsigned || st.Operation != c.op || st.Waiting.Need < 1 {
						t.Errorf("%s runs as %q of %q and needs %d approvals", c.workflow, st.Operation, st.Requester, st.Waiting.Need)
					}
					_, err := by.start(p, id, workflows.NameFailover, input)
					if busy := new(serviceerror.WorkflowExecutionAlreadyStarted); !errors.As(err, &busy) || busy.RunId != run {
						t.Errorf("a second start beside a %s: %v, want it refused naming run %s", c.workflow, err, run)
					}
					p.answerByHand(o, st, c.op == runbook.OpSetUp)
				}
				var res workflows.Result
				err = p.temporal.GetWorkflow(t.Context(), id, run).Get(p.within(time.Minute), &res)
				switch {
				case !asks && (err == nil || workflows.ErrorType(err) == "" || !strings.Contains(err.Error(), c.says)):
					t.Errorf("%s: outcome %q, %v, want it refused with %q", c.workflow, res.Outcome, err, c.says)
				case asks && err != nil:
					t.Errorf("%s: %v", c.workflow, err)
				case c.op == runbook.OpSetUp && res.Outcome != runbook.Done, asks && c.op != runbook.OpSetUp && res.Outcome != runbook.NoChange:
					t.Errorf("%s ended as %q: %s", c.workflow, res.Outcome, res.Report.Error)
				}
				// Under another id it is refused, with the command.
				wrong, err := by.start(p, "my-"+c.op, c.workflow, input)
				p.must(err)
				err = p.temporal.GetWorkflow(t.Context(), "my-"+c.op, wrong).Get(p.within(time.Minute), nil)
				if workflows.ErrorType(err) != workflows.ErrWrongID || !strings.Contains(err.Error(), "byhand") {
					t.Errorf("%s under another id: %v", c.workflow, err)
				}
			}
			run, err := by.start(p, workflows.ReadyID("byhand"), workflows.NameReadiness, input)
			p.must(err)
			p.must(p.temporal.GetWorkflow(t.Context(), workflows.ReadyID("byhand"), run).Get(p.within(time.Minute), nil))
		})
	}
}

// asksOrEnds waits until the run asks for an approval or is over.
func (o *op) asksOrEnds() (st *workflows.Status, asks bool) {
	o.Helper()
	o.must(local.WaitFor(o.within(time.Minute), "the run to ask for an approval or to end", func(ctx context.Context) error {
		d, err := o.temporal.DescribeWorkflowExecution(ctx, workflows.ID(o.Pair()), o.runID)
		if err != nil {
			return err
		}
		if d.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return nil
		}
		if st = o.status(ctx); st == nil || st.Waiting == nil || st.Waiting.For != workflows.WaitApproval {
			return errors.New("neither yet")
		}
		asks = true
		return nil
	}))
	return st, asks
}

func (p *pair) answerByHand(o *op, st *workflows.Status, yes bool) {
	p.Helper()
	verb := "deny"
	if yes {
		verb = "approve"
	}
	_, err := p.Drctl.Run(p.within(time.Minute), verb, p.Pair(), "--key", p.Key(harness.Approver), "--op", st.OpID, "--reason", "started by hand")
	p.must(err)
}

// A Schedule puts the time behind the id that it was given: an operation started so would not be the only one of its pair,
// and refuses to run. What may be scheduled is the readiness.
func TestAnOperationStartedByAScheduleIsRefusedAndReadinessIsNot(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "scheduled", nil)
	p.steady()
	ctx := p.within(2 * time.Minute)
	for _, c := range []struct{ id, workflow, want string }{
		{workflows.ID("scheduled"), workflows.NameFailover, workflows.ErrWrongID},
		{workflows.ID("scheduled"), workflows.NameSwitchover, workflows.ErrWrongID},
		{workflows.ReadyID("scheduled"), workflows.NameReadiness, ""},
	} {
		handle, err := p.temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
			ID: "by-" + c.workflow, Paused: true,
			Action: &client.ScheduleWorkflowAction{ID: c.id, Workflow: c.workflow, TaskQueue: workflows.TaskQueue, Args: []any{map[string]string{"pair": "scheduled"}}},
		})
		p.must(err)
		t.Cleanup(func() {
			if err := handle.Delete(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		})
		p.must(handle.Trigger(ctx, client.ScheduleTriggerOptions{}))
		var ran client.ScheduleActionResult
		p.must(local.WaitFor(ctx, "the schedule of "+c.workflow+" to start it", func(ctx context.Context) error {
			d, err := handle.Describe(ctx)
			if err == nil && len(d.Info.RecentActions) == 0 {
				err = errors.New("nothing yet")
			}
			if err == nil {
				ran = d.Info.RecentActions[0]
			}
			return err
		}))
		started := ran.StartWorkflowResult
		if !strings.HasPrefix(started.WorkflowID, c.id+"-") {
			t.Errorf("%s ran as %s", c.workflow, started.WorkflowID)
		}
		err = p.temporal.GetWorkflow(ctx, started.WorkflowID, started.FirstExecutionRunID).Get(ctx, nil)
		if workflows.ErrorType(err) != c.want || c.want == "" && err != nil {
			t.Errorf("%s by a schedule: %v, want %q", c.workflow, err, c.want)
		}
	}
}

// elsewhere is the pair as another Temporal sees it.
func (p *pair) elsewhere() *pair {
	p.Helper()
	sys, err := p.System.Elsewhere(p.within(2 * time.Minute))
	p.must(err)
	p.Cleanup(func() {
		if err := sys.Stop(); err != nil && !p.Failed() {
			p.Error(err)
		}
	})
	q := *p
	q.System, q.last = sys, nil
	q.temporal, err = sys.Temporal.Dial(p.Context())
	p.must(err)
	p.Cleanup(q.temporal.Close)
	return &q
}

// Two Temporal services, each with a worker and people, on one pair: the second finds the lock of the first in the record and in the
// state topic, whatever it knows of its runs.
func TestASecondTemporalIsRefusedWhileTheFirstHoldsThePair(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "twoservices", nil, harness.FaultsTag)
	p.steady()
	q := p.elsewhere()
	ctx := p.within(4 * time.Minute)
	first, err := p.begin(ctx, "failover")
	p.must(err)
	// Its worker dies behind its lock: it holds the pair and does nothing.
	first.stopAt("GrowMirrors grow mirrors", "grow mirrors")
	p.must(p.Worker.Kill())
	first.goOn()
	before, err := p.Record(ctx, p.Standby)
	p.must(err)
	if before.Lock == nil {
		t.Fatal("the first run was over before its worker was killed: nothing is tested")
	}
	for _, verb := range []string{"failover", "switchover", "setup"} {
		_, err := q.begin(ctx, verb)
		if err == nil {
			_, err = q.Drctl.Run(ctx, "status", q.Pair(), "--follow")
		}
		if err == nil || !strings.Contains(err.Error(), before.Lock.OpID) {
			var exit *harness.ExitError
			errors.As(err, &exit)
			t.Errorf("%s of the other Temporal: %v, want it refused naming %s", verb, err, before.Lock.OpID)
		}
	}
	after, err := p.Record(ctx, p.Standby)
	p.must(err)
	if after.SHA256 != before.SHA256 {
		t.Errorf("the record changed from %+v to %+v", before, after)
	}
	p.must(p.Worker.Restart(ctx))
	got, err := first.finish(ctx)
	p.must(err)
	if got.Outcome != runbook.Done || got.Epoch != 2 {
		t.Errorf("the first: %s at epoch %d: %s", got.Outcome, got.Epoch, got.Report.Error)
	}
}

// Both are let go at the same moment, after both have found the pair free.
func TestOfTwoTemporalsThatStartTogetherOneActs(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "together", nil)
	p.steady()
	q := p.elsewhere()
	ctx := p.within(4 * time.Minute)
	runs := [2]*op{}
	for i, at := range []*pair{p, q} {
		var err error
		runs[i], err = at.begin(ctx, "failover")
		p.must(err)
		runs[i].awaitApproval()
	}
	type end struct {
		res workflows.Result
		err error
	}
	var ends [2]chan end
	for i, o := range runs {
		ends[i] = make(chan end, 1)
		go func() {
			var e end
			e.res, e.err = o.finish(ctx)
			ends[i] <- e
		}()
	}
	done := 0
	for i := range ends {
		e := <-ends[i]
		switch {
		case e.err == nil && e.res.Outcome == runbook.Done && e.res.Epoch == 2:
			done++
		case workflows.ErrorType(e.err) == workflows.ErrPairBusy || workflows.ErrorType(e.err) == workflows.ErrEpochConflict:
		default:
			t.Errorf("run %d: %s, %v", i, e.res.Outcome, e.err)
		}
	}
	rec, err := p.Record(ctx, p.Standby)
	p.must(err)
	if done != 1 || rec.Epoch != 2 || len(rec.Active) != 1 || rec.Active[0] != p.Standby.Name || rec.Lock != nil {
		t.Errorf("%d runs failed over; the record: %+v", done, rec)
	}
}
