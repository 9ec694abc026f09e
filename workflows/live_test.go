//go:build real

package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

var record = flag.String("record", "", "release name: write the histories of this run to testdata/replay/<release>-*.json")

// live is a real Temporal server with a worker over a fake world.
type live struct {
	t *testing.T
	c client.Client
	w workflows.World
	// fails is the error type that a run may end with, "" for none.
	fails  string
	unkept bool // its histories are not recorded
	// every is how often people look, each time a replay of the run; 0 for 100 ms.
	every time.Duration
}

func start(t *testing.T, w workflows.World) *live {
	t.Helper()
	return startOn(t, serve(t), w)
}

func serve(t *testing.T) *local.Temporal {
	t.Helper()
	return local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: workflows.SearchAttributeKeys()})
}

// beside is start on a server that others use at the same time.
func beside(t *testing.T, srv *local.Temporal, w workflows.World) *live {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	view, err := srv.In(ctx, t.Name()[strings.LastIndex(t.Name(), "/")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, view, w)
}

func startOn(t *testing.T, srv *local.Temporal, w workflows.World) *live {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: srv.HostPort(), Namespace: srv.Namespace(), Identity: "test", Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	// Without a cache every workflow task replays the run from its start.
	worker.SetStickyWorkflowCacheSize(0)
	l := &live{t: t, c: c, w: w}
	wk := worker.New(c, workflows.TaskQueue, worker.Options{
		DisableRegistrationAliasing: true, Identity: "worker", Interceptors: []interceptor.WorkerInterceptor{&beating{}},
		DeadlockDetectionTimeout: time.Minute, // on a busy machine a second without progress is no deadlock
	})
	workflows.Register(wk)
	wk.RegisterActivityWithOptions(l.w.Steps(), activity.RegisterOptions{})
	if err := wk.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wk.Stop)
	return l
}

func (l *live) begin(ctx context.Context, id, workflow string, in any) (client.WorkflowRun, error) {
	return l.c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true, StaticSummary: workflows.Summary(workflow, "orders", "ann", ""),
	}, workflow, in)
}

// play runs one operation to its end; people answer what it waits for.
func (l *live) play(name, workflow string, in any, people func(workflows.Status) []runbook.Command) workflows.Result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Minute)
	defer cancel()
	r, err := l.begin(ctx, workflows.ID("orders"), workflow, in)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.begin(ctx, workflows.ID("orders"), "Failover", in); err == nil {
		l.t.Error("a second operation started beside the first")
	} else if busy := new(serviceerror.WorkflowExecutionAlreadyStarted); !errors.As(err, &busy) {
		l.t.Errorf("second start: %v", err)
	}
	var res workflows.Result
	l.follow(ctx, name, r, &res, people)
	return res
}

// follow waits for the end of a run, has people answer it and the pair's run that it may have launched, and keeps its history.
func (l *live) follow(ctx context.Context, name string, r client.WorkflowRun, res any, people func(workflows.Status) []runbook.Command) {
	l.t.Helper()
	done := make(chan error, 1)
	go func() { done <- r.Get(ctx, res) }()
	tick := time.NewTicker(max(l.every, 400*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			l.save(ctx, name, r)
			if err != nil && workflows.ErrorType(err) != l.fails {
				l.t.Fatalf("%s: %v", name, err)
			}
			return
		case <-tick.C:
			l.answer(ctx, r, people)
			if r.GetID() != workflows.ID("orders") {
				l.answer(ctx, l.c.GetWorkflow(ctx, workflows.ID("orders"), ""), people)
			}
		}
	}
}

func (l *live) answer(ctx context.Context, r client.WorkflowRun, people func(workflows.Status) []runbook.Command) {
	v, err := l.c.QueryWorkflow(ctx, r.GetID(), r.GetRunID(), workflows.QueryStatus)
	if err != nil {
		return // it may be between two states; the end is seen elsewhere
	}
	var st workflows.Status
	if err := v.Get(&st); err != nil {
		l.t.Fatal(err)
	}
	for _, c := range people(st) {
		h, err := l.c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: r.GetID(), RunID: r.GetRunID(), UpdateName: c.Decision, Args: []any{c}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err != nil {
			l.t.Logf("%s: %v", c.Decision, err)
			continue
		}
		var ack workflows.Ack
		if err := h.Get(ctx, &ack); err != nil {
			l.t.Logf("%s: %v", c.Decision, err)
		}
	}
}

// save replays the run's history against this code, and keeps it when asked to.
func (l *live) save(ctx context.Context, name string, r client.WorkflowRun) {
	l.t.Helper()
	h := new(historypb.History)
	for it := l.c.GetWorkflowHistory(ctx, r.GetID(), r.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			l.t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	if err := replay(h); err != nil {
		l.t.Errorf("replay of %s: %v", name, err)
	}
	if *record == "" || l.unkept {
		return
	}
	b, err := protojson.Marshal(h)
	if err != nil {
		l.t.Fatal(err)
	}
	var plain any // protojson's white space is random on purpose
	if err := json.Unmarshal(b, &plain); err != nil {
		l.t.Fatal(err)
	}
	if b, err = json.Marshal(plain); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "replay", *record+"-"+name+".json"), append(b, '\n'), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// TestRunbooksOnARealServer plays the whole story, there and home, on a real
// Temporal server whose worker keeps no cache.
func TestRunbooksOnARealServer(t *testing.T) {
	l := start(t, workflows.NewWorld())
	nobody := func(workflows.Status) []runbook.Command { return nil }
	if res := l.play("setup", workflows.NameSetUp, workflows.SetUpInput{Start: workflows.RequestBy("ann", runbook.OpSetUp)}, nobody); res.Outcome != runbook.Done || res.Epoch != 1 {
		t.Fatalf("set-up: %s at epoch %d: %s", res.Outcome, res.Epoch, res.Report.Error)
	}
	l.w.Lose("east")
	deny := func(st workflows.Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{workflows.SignedBy(st, "eve", runbook.Deny)}
	}
	if res := l.play("failover-denied", workflows.NameFailover, workflows.FailoverInput{Start: workflows.RequestBy("ann", runbook.OpFailover)}, deny); res.Outcome != runbook.NoChange {
		t.Fatalf("denied failover: %s", res.Outcome)
	}
	if res := l.play("failover", workflows.NameFailover, workflows.FailoverInput{Start: workflows.RequestBy("ann", runbook.OpFailover)}, workflows.Agree); res.Outcome != runbook.Partly || res.Active[0] != "west" || len(res.Report.DebtsOpen) != 2 {
		t.Fatalf("failover: %s, active %v, debts %v: %s", res.Outcome, res.Active, res.Report.DebtsOpen, res.Report.Error)
	}
	l.attributes("Failover", runbook.Partly)
	l.w.Return("east", 3)
	choose := func(st workflows.Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != workflows.WaitDecide {
			return nil
		}
		c := workflows.SignedBy(st, "bob", runbook.Decide)
		c.Choices = map[string]string{"*": runbook.ChooseAppend}
		return []runbook.Command{c}
	}
	if res := l.play("recover", workflows.NameRecoverLaggedData, workflows.RecoverInput{Start: workflows.RequestBy("ann", runbook.OpRecover)}, choose); res.Outcome != runbook.Done || *res.Report.RPOExact != 3 || len(res.Report.DebtsOpen) != 0 {
		t.Fatalf("recover: %s, debts %v: %s", res.Outcome, res.Report.DebtsOpen, res.Report.Error)
	}
	if res := l.play("failback", workflows.NameFailback, workflows.FailbackInput{Start: workflows.RequestBy("ann", runbook.OpFailback)}, workflows.Agree); res.Outcome != runbook.Done || res.Active[0] != "east" || res.Epoch <= 2 {
		t.Fatalf("failback: %s, active %v: %s", res.Outcome, res.Active, res.Report.Error)
	}
	if left := l.w.Left(); left != "" {
		t.Errorf("left behind: %s", left)
	}
	l.w.Abandon()
	if res := l.play("unfence", workflows.NameUnfence, workflows.AskUnfence(), workflows.Agree); res.Outcome != runbook.Done || res.Active[0] != "east" {
		t.Fatalf("unfence: %s, active %v: %s", res.Outcome, res.Active, res.Report.Error)
	}
	if left := l.w.Left(); left != "" {
		t.Errorf("left behind after unfence: %s", left)
	}
	_, err := l.begin(t.Context(), "not-the-id", workflows.NameFailover, workflows.FailoverInput{Start: workflows.RequestBy("ann", runbook.OpFailover)})
	if err == nil {
		err = l.c.GetWorkflow(t.Context(), "not-the-id", "").Get(t.Context(), nil)
	}
	if workflows.ErrorType(err) != workflows.ErrWrongID {
		t.Errorf("another id: %v", err)
	}
}

// attributes checks what can be seen of a run when no worker answers.
func (l *live) attributes(operation, outcome string) {
	l.t.Helper()
	d, err := l.c.DescribeWorkflow(l.t.Context(), workflows.ID("orders"), "")
	if err != nil {
		l.t.Fatal(err)
	}
	got := map[string]string{}
	for k, v := range d.TypedSearchAttributes.GetUntypedValues() {
		got[k.GetName()], _ = v.(string)
	}
	if got[workflows.SearchOutcome] != outcome || got[workflows.SearchPair] != "orders" || got[workflows.SearchPhase] != workflows.PhaseEnded {
		l.t.Errorf("search attributes %v", got)
	}
	s, err := d.GetStaticSummary()
	if err != nil || !strings.HasPrefix(s, operation+" of orders") {
		l.t.Errorf("summary %q, %v", s, err)
	}
}
