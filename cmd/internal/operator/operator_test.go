package operator

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func step(name, state, detail string) runbook.StepLine {
	return runbook.StepLine{Name: name, State: state, Detail: detail}
}

func TestFollowingTellsEachChangeOnce(t *testing.T) {
	var told []string
	c := &changes{told: map[int]time.Time{}, tell: func(e Event) {
		switch {
		case e.Step != nil:
			told = append(told, e.Step.Name+" "+e.Step.State+" "+e.Step.Detail)
		case e.Waiting != nil:
			told = append(told, fmt.Sprintf("waits %s %d", e.Waiting.For, e.Waiting.Have))
		default:
			told = append(told, "problem")
		}
	}}
	approval := func(have int) *workflows.Waiting { return &workflows.Waiting{For: "approval", Have: have, Need: 2} }
	c.look(workflows.Status{}, fmt.Errorf("query: %w", ErrNoRun)) // not known to a worker yet
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "running", "")}}, nil)
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "running", "lag 5")}}, nil) // too soon for a detail alone
	c.look(workflows.Status{}, errors.New("no worker"))
	c.look(workflows.Status{}, errors.New("no worker, still"))
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "done", "lag 0"), step("b", "waiting", "")}, Waiting: approval(0)}, nil)
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "done", "lag 0"), step("b", "waiting", "")}, Waiting: approval(0)}, nil)
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "done", "lag 0"), step("b", "waiting", "")}, Waiting: approval(1)}, nil)
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "done", "lag 0"), step("b", "done", "")}}, nil)
	want := []string{"a running ", "problem", "a done lag 0", "b waiting ", "waits approval 0", "waits approval 1", "b done "}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestFollowingDoesNotTellAgainWhatWasShown(t *testing.T) {
	shown := workflows.Status{Steps: []runbook.StepLine{step("a", "done", ""), step("b", "running", "")}, Waiting: &workflows.Waiting{For: "approval", Need: 2}}
	var told []string
	c := changesAfter(&shown, func(e Event) { told = append(told, fmt.Sprintf("%+v", e)) })
	c.look(shown, nil)
	if len(told) > 0 {
		t.Errorf("told again: %q", told)
	}
	c.look(workflows.Status{Steps: []runbook.StepLine{step("a", "done", ""), step("b", "done", "")}}, nil)
	c.last(workflows.Status{}, errors.New("no worker")) // it has ended: nobody is told that it goes on
	if len(told) != 1 || shown.Steps[1].State != "running" {
		t.Errorf("told %q, shown is %+v now", told, shown.Steps)
	}
}

// Who wants to fail over reads here how to get past a run whose site was lost.
func TestABusyPairSaysWhatToDoWhereTheSiteWasLostUnderTheRun(t *testing.T) {
	for op, want := range map[string]string{
		runbook.OpFailback:   "`drctl abort orders --reason …` and `drctl skip orders --reason …` for each step that then waits, or, if that takes too long, `temporal workflow terminate --workflow-id dr/orders`; then `drctl failover orders --override break-lock --reason …`",
		runbook.OpSwitchover: "`drctl into-failover orders --reason …`",
		runbook.OpFailover:   "follow it with `drctl status orders --follow`",
	} {
		if err := (&BusyError{Pair: "orders", ID: workflows.ID("orders"), Operation: op}); !strings.HasSuffix(strings.TrimSuffix(err.Error(), " makes a failover of it"), want) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if err := (&BusyError{Pair: "orders", ID: "dr-drill/orders"}); strings.Contains(err.Error(), "lost") {
		t.Errorf("a launcher of drills: %v", err)
	}
}

func TestErrorsOfRunsAreSortedByWhatThePersonCanDo(t *testing.T) {
	app := func(errType string) error { return temporal.NewNonRetryableApplicationError("because", errType, nil) }
	run := Run{Operation: "failover", RunID: "r1"}
	for name, c := range map[string]struct {
		err           error
		refused, busy bool
		text          string
	}{
		"refused update":     {answered("approve", app(workflows.ErrCommandForged)), true, false, "drctl key show"},
		"refused run":        {ended(run, app(workflows.ErrPrecondition)), true, false, "because"},
		"refused too late":   {ended(run, temporal.NewNonRetryableApplicationError("because", workflows.ErrHeld, nil, workflows.Ending{Outcome: runbook.Partly})), false, false, "because"},
		"busy by the record": {ended(run, app(workflows.ErrPairBusy)), true, true, "because"},
		"failed run":         {ended(run, app(workflows.ErrHalted)), false, false, "failover (run r1) ended: because"},
		"busy by Temporal":   {&BusyError{Pair: "orders", RunID: "r2"}, false, true, "unknown by unknown"},
		"run is gone":        {answered("approve", serviceerror.NewNotFound("gone")), false, false, ErrNoRun.Error()},
	} {
		if Refused(c.err) != c.refused || Busy(c.err) != c.busy || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: refused %v, busy %v: %v", name, Refused(c.err), Busy(c.err), c.err)
		}
	}
	var away *UnreachableError
	for _, err := range []error{reached("start", serviceerror.NewUnavailable("x")), answered("query", serviceerror.NewDeadlineExceeded("x"))} {
		if !errors.As(err, &away) {
			t.Errorf("not told as unreachable: %v", err)
		}
	}
}

func TestRequestsThatCannotBeAreRefusedBeforeTemporalIsAsked(t *testing.T) {
	o := New(nil) // would panic if it were asked
	for _, r := range []Request{
		{Operation: runbook.OpSetUp, Pair: ""},
		{Operation: runbook.OpSetUp, Pair: "a/b"},
		{Operation: "explode", Pair: "orders"},
		{Operation: runbook.OpRecover, Pair: "orders", DryRun: true},
	} {
		if run, err := o.Start(t.Context(), r); err == nil {
			t.Errorf("%+v started as %+v", r, run)
		}
	}
	if _, err := o.Answer(t.Context(), "orders", Answer{Decision: "explode"}, Signer{}); err == nil {
		t.Error("an unknown answer was taken")
	}
}

func TestSignedRequestsAndAnswersCoverEveryField(t *testing.T) {
	signer, err := NewKeyFile(t.TempDir()+"/ann.json", "ann")
	if err != nil {
		t.Fatal(err)
	}
	people := []plan.Person{{Name: "ann", PublicKey: signer.Public()}}
	r := Request{
		Operation: runbook.OpRecover, Pair: "orders", PlanHash: "h", Epoch: 3, Reason: "why", By: &signer,
		Overrides: []string{runbook.OverrideLock}, Decisions: map[string]string{"*": "append"},
	}
	start, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Verify(people, nil, plan.Approval(*start.Request)); err != nil {
		t.Fatalf("the untouched request: %v", err)
	}
	for name, change := range map[string]func(*runbook.Command){
		"pair":      func(c *runbook.Command) { c.Pair = "payments" },
		"operation": func(c *runbook.Command) { c.Operation = runbook.OpFailover },
		"plan":      func(c *runbook.Command) { c.PlanHash = "other" },
		"epoch":     func(c *runbook.Command) { c.Epoch++ },
		"decision":  func(c *runbook.Command) { c.Decision = runbook.Approve },
		"by":        func(c *runbook.Command) { c.By = "bob" },
		"reason":    func(c *runbook.Command) { c.Reason = "" },
		"overrides": func(c *runbook.Command) { c.Overrides = nil },
		"choices":   func(c *runbook.Command) { c.Choices = map[string]string{"*": "discard"} },
		"expires":   func(c *runbook.Command) { c.Expires = c.Expires.Add(time.Second) },
		"op":        func(c *runbook.Command) { c.OpID = "x" },
		"step":      func(c *runbook.Command) { c.Step = "x" },
	} {
		c := *start.Request
		change(&c)
		if _, err := plan.Verify(people, nil, plan.Approval(c)); err == nil {
			t.Errorf("a change of %s keeps the signature valid", name)
		}
	}
}

func TestSummaryFitsTheServersLimit(t *testing.T) {
	s := Request{Operation: "failover", Pair: "orders", Reason: strings.Repeat("ö", 400)}.summary("ann")
	if len(s) > 400 || !strings.HasPrefix(s, "failover of pair orders, asked by ann: ö") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}
