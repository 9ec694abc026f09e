package runbooks

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// privateKey is a person's, from the file that drctl key new made.
func (p *pair) privateKey(person string) ed25519.PrivateKey {
	p.Helper()
	raw, err := os.ReadFile(p.Key(person))
	p.must(err)
	var file struct {
		PrivateKey string `json:"private_key"`
	}
	p.must(json.Unmarshal(raw, &file))
	key, err := plan.ParsePrivate(file.PrivateKey)
	p.must(err)
	return key
}

// send sends a command to the run as drctl would, whoever signed it.
func (o *op) send(c runbook.Command, key ed25519.PrivateKey) error {
	o.Helper()
	signed, err := plan.Sign(key, plan.Approval(c))
	o.must(err)
	handle, err := o.temporal.UpdateWorkflow(o.within(2*time.Minute), client.UpdateWorkflowOptions{
		WorkflowID: workflows.ID(o.Pair()), RunID: o.runID, UpdateName: c.Decision,
		Args: []any{runbook.Command(signed)}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return err
	}
	var ack workflows.Ack
	return handle.Get(o.Context(), &ack)
}

// Every way in which an approval does not count, sent to a real run, which goes
// on waiting; then one that does.
func TestApprovalsThatDoNotCountAreRefusedAndTheRunWaitsOn(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "approvals", nil)
	p.steady()
	o, err := p.begin(p.within(3*time.Minute), "failover")
	p.must(err)
	st := o.awaitApproval()
	good := runbook.Command{
		OpID: st.OpID, Pair: st.Pair, Operation: st.Operation, Epoch: st.Epoch, PlanHash: st.PlanHash, Question: st.Waiting.Question, Decision: runbook.Approve,
		By: harness.Approver, Reason: "read", Overrides: st.Waiting.Overrides, Expires: time.Now().Add(10 * time.Minute),
	}
	bob, ann := p.privateKey(harness.Approver), p.privateKey(harness.Requester)
	for _, c := range []struct {
		name, want, says string
		key              ed25519.PrivateKey
		change           func(*runbook.Command)
	}{
		{"another's signature", workflows.ErrCommandForged, harness.Approver, ann, func(*runbook.Command) {}},
		{"by the requester", workflows.ErrNotAllowed, harness.Requester, ann, func(c *runbook.Command) { c.By = harness.Requester }},
		{"by nobody of the plan", workflows.ErrNotAllowed, "mallory", ann, func(c *runbook.Command) { c.By = "mallory" }},
		{"for another epoch", workflows.ErrCommandStale, "epoch", bob, func(c *runbook.Command) { c.Epoch++ }},
		{"for another plan", workflows.ErrCommandStale, "plan", bob, func(c *runbook.Command) { c.PlanHash = strings.Repeat("0", len(c.PlanHash)) }},
		{"for another run", workflows.ErrCommandStale, "failover-before", bob, func(c *runbook.Command) { c.OpID = "failover-before" }},
		{"for another question", workflows.ErrCommandStale, "7 approve", bob, func(c *runbook.Command) { c.Question = "7 approve" }},
		{"for no question", workflows.ErrCommandStale, st.Waiting.Question, bob, func(c *runbook.Command) { c.Question = "" }},
		{"expired", workflows.ErrCommandLate, "", bob, func(c *runbook.Command) { c.Expires = time.Now().Add(-time.Second) }},
		{"without the override", workflows.ErrNotAllowed, runbook.OverrideAlive, bob, func(c *runbook.Command) { c.Overrides = nil }},
	} {
		bad := good
		c.change(&bad)
		err := o.send(bad, c.key)
		if got := workflows.ErrorType(err); got != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: refused as %q (%v), want %q naming %q", c.name, got, err, c.want, c.says)
		}
		if now := o.awaitApproval(); len(now.Approvals) > 0 || now.Waiting.Have != 0 {
			t.Errorf("%s: counted: %+v", c.name, now.Approvals)
		}
	}
	// drctl too says no, by its exit code.
	_, err = p.Drctl.Run(p.within(time.Minute), "approve", p.Pair(), "--key", p.Key(harness.Requester), "--reason", "read", "--override", runbook.OverrideAlive)
	p.refused(err, codeRefused, harness.Requester)
	_, err = p.Drctl.Run(p.within(time.Minute), "approve", p.Pair(), "--key", p.Key(harness.Approver), "--reason", "read", "--override", runbook.OverrideAlive, "--question", "7 approve")
	p.refused(err, codeRefused, st.Waiting.Question)
	// Held by one of the plan between two steps, and let go again.
	_, err = p.Drctl.Run(p.within(time.Minute), "pause", p.Pair(), "--key", p.Key(harness.Requester), "--reason", "let me look")
	p.must(err)
	p.must(o.send(good, bob))
	st = o.await("the run to be paused", time.Minute, func(st *workflows.Status) error {
		if st.Paused == nil || st.Paused.Since.IsZero() {
			return fmt.Errorf("phase %s", st.Phase)
		}
		return nil
	})
	resume := runbook.Command{
		OpID: st.OpID, Pair: st.Pair, Operation: st.Operation, Epoch: st.Epoch, PlanHash: st.PlanHash, Question: st.Paused.Question,
		Decision: runbook.Resume, By: harness.Approver, Expires: time.Now().Add(10 * time.Minute),
	}
	if err := o.send(resume, ann); workflows.ErrorType(err) != workflows.ErrCommandForged {
		t.Errorf("a forged resume: %v", err)
	}
	_, err = p.Drctl.Run(p.within(time.Minute), "resume", p.Pair(), "--key", p.Key(harness.Requester))
	p.must(err)
	got, err := o.finish(p.within(2 * time.Minute))
	p.must(err)
	if got.Outcome != runbook.Done || len(got.Report.Approvals) != 3 || got.Report.Approvals[1].By != harness.Approver || got.Report.Approvals[1].Decision != runbook.Approve {
		t.Errorf("after the one that counts: %s, commands %+v", got.Outcome, got.Report.Approvals)
	}
	if len(got.Report.Pauses) != 1 || got.Report.Pauses[0].EndedBy != "resumed by "+harness.Requester {
		t.Errorf("pauses %+v", got.Report.Pauses)
	}
}

func TestAnApprovalAfterTheDeadlineFindsTheRunEndedWithoutAChange(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "late", func(pl *plan.Plan) {
		rule := pl.Approvals["failover"]
		rule.DeadlineSeconds = 30 // long enough for the question to be seen by a busy machine
		pl.Approvals["failover"] = rule
	})
	p.steady()
	before := p.standing(p.Standby)
	o, err := p.begin(p.within(time.Minute), "failover")
	p.must(err)
	st := o.awaitApproval()
	good := runbook.Command{
		OpID: st.OpID, Pair: st.Pair, Operation: st.Operation, Epoch: st.Epoch, PlanHash: st.PlanHash, Question: st.Waiting.Question, Decision: runbook.Approve,
		By: harness.Approver, Reason: "read", Overrides: st.Waiting.Overrides, Expires: time.Now().Add(10 * time.Minute),
	}
	var got workflows.Result
	p.must(p.temporal.GetWorkflow(p.Context(), workflows.ID(p.Pair()), o.runID).Get(p.within(time.Minute), &got))
	if got.Outcome != runbook.NoChange || !strings.Contains(got.Report.Error, "deadline") {
		t.Errorf("outcome %q, error %q", got.Outcome, got.Report.Error)
	}
	if err := o.send(good, p.privateKey(harness.Approver)); err == nil {
		t.Error("the ended run took an approval")
	}
	_, err = p.Drctl.Run(p.within(time.Minute), "approve", p.Pair(), "--key", p.Key(harness.Approver))
	p.refused(err, codeRefused, "no operation is open")
	p.same(before, p.standing(p.Standby))
}
