package runbooks

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Exit codes of drctl.
const (
	codeRefused = 3
	codeBusy    = 4
)

// refused insists that a call of drctl ended with a code and said all of words.
func (p *pair) refused(err error, code int, words ...string) {
	p.Helper()
	var exit *harness.ExitError
	if !errors.As(err, &exit) {
		p.Fatalf("drctl was not refused: %v", err)
	}
	if exit.Code != code {
		p.Errorf("exit code %d, want %d: %s", exit.Code, code, exit.Stderr)
	}
	for _, w := range words {
		if !strings.Contains(exit.Stderr, w) {
			p.Errorf("the refusal does not say %q: %s", w, exit.Stderr)
		}
	}
}

func TestASecondFailoverIsRefusedNamingTheFirst(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "busy", nil)
	p.steady()
	ctx := p.within(2 * time.Minute)
	first, err := p.begin(ctx, "failover")
	p.must(err)
	first.awaitApproval()
	_, err = p.begin(ctx, "failover")
	p.refused(err, codeBusy, "busy", "failover by "+harness.Requester, first.runID)
	_, err = p.begin(ctx, "recover")
	p.refused(err, codeBusy, "failover by "+harness.Requester)

	got, err := first.finish(ctx)
	p.must(err)
	if got.Outcome != runbook.Done || got.Epoch != 2 {
		t.Errorf("the first failover: %+v", got)
	}
}

// Another Temporal knows nothing of the first run: what is left of it is the
// lock, here as an engine's state topic has it.
func TestAFailoverOfAnotherTemporalIsRefusedByTheLockNamingItsHolder(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "locked", nil)
	p.steady()
	ctx := p.within(2 * time.Minute)
	const holder = "failover-elsewhere"
	engine := p.Standby.Engine.Client()
	_, err := engine.PutLock(ctx, p.Pair(), api.Lock{OperationID: holder, Operation: "failover", Epoch: 2})
	p.must(err)
	before, err := p.Record(ctx, p.Standby)
	p.must(err)
	_, err = p.Drctl.Run(ctx, "failover", p.Pair(), "--yes="+p.Pair())
	p.refused(err, codeBusy, holder, "held by failover")
	after, err := p.Record(ctx, p.Standby)
	p.must(err)
	if after.SHA256 != before.SHA256 {
		t.Errorf("the record changed: %+v", after)
	}
	p.must(engine.DeleteLock(ctx, p.Pair(), holder))
	p.outcome(runbook.Done, "failover")
}

// A run that a person typed into Temporal's UI under an id of his own.
func TestAStartUnderAnotherWorkflowIDIsRefusedNamingTheCommand(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "otherid", nil)
	p.steady()
	ctx := p.within(time.Minute)
	before, err := p.Record(ctx, p.Standby)
	p.must(err)
	for _, c := range []struct{ id, name, command string }{
		{"my-failover", workflows.NameFailover, "drctl failover otherid"},
		{"dr/another", workflows.NameFailback, "drctl failback otherid"},
		{workflows.DryID("otherid", "1"), workflows.NameRecoverLaggedData, "drctl recover otherid"},
	} {
		run, err := p.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: c.id, TaskQueue: workflows.TaskQueue}, c.name, workflows.Start{Pair: "otherid"})
		p.must(err)
		err = run.Get(ctx, nil)
		if workflows.ErrorType(err) != workflows.ErrWrongID || !strings.Contains(err.Error(), c.command) {
			t.Errorf("%s under id %s: %v, want it refused with %q", c.name, c.id, err, c.command)
		}
	}
	after, err := p.Record(ctx, p.Standby)
	p.must(err)
	if after.SHA256 != before.SHA256 {
		t.Errorf("the record changed: %+v", after)
	}
}

func TestAPlanThatChangedSinceDrctlReadItIsRefusedWithBothHashes(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "changed", nil)
	p.steady()
	raw, err := os.ReadFile(p.PlanFile)
	p.must(err)
	mine := p.PlanFile + ".mine.yaml"
	p.must(os.WriteFile(mine, raw, 0o644))
	changed := strings.Replace(string(raw), "catch_up_seconds: 300", "catch_up_seconds: 301", 1)
	if changed == string(raw) {
		t.Fatal("the plan has no catch_up_seconds: 300 to change")
	}
	p.must(os.WriteFile(p.PlanFile, []byte(changed), 0o644))
	hash := func(file string) string {
		raw, err := os.ReadFile(file)
		p.must(err)
		got, err := plan.Parse(raw)
		p.must(err)
		h, err := got.Hash()
		p.must(err)
		return h
	}
	_, err = p.Drctl.Run(p.within(time.Minute), "failover", p.Pair(), "--yes="+p.Pair(), "--plan", mine)
	p.refused(err, codeRefused, hash(mine), hash(p.PlanFile))
	rec, err := p.Record(p.within(time.Minute), p.Standby)
	p.must(err)
	if rec.Epoch != 1 || rec.Lock != nil {
		t.Errorf("the record changed: %+v", rec)
	}
}
