package workflows

import (
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A failback asks twice, and both times afresh. What was signed for its first
// question does not answer the second: neither the very command that was taken,
// nor one that was signed and kept, nor one that names no question.
func TestAnAnswerCountsForItsOwnQuestionOnly(t *testing.T) {
	w := failedOver()
	w.ledger = nil
	s := newStage(t, w)
	var first runbook.Command
	var asked []string
	sent := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitApproval {
			return nil
		}
		if !slices.Contains(asked, st.Waiting.Question) {
			asked = append(asked, st.Waiting.Question)
		}
		if len(asked) == 1 {
			first = signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)
			return []runbook.Command{first}
		}
		if st.Waiting.Have != 0 {
			t.Errorf("%d approvals of %q before anybody gave one", st.Waiting.Have, st.Waiting.Question)
		}
		kept, none := signed(st, "eve", runbook.Approve), signed(st, "eve", runbook.Approve)
		kept.Question, none.Question = first.Question, ""
		try := []runbook.Command{first, kept, none, signed(st, "bob", runbook.Approve)}
		if sent++; sent <= len(try) {
			return try[sent-1 : sent]
		}
		return nil
	}
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Done)
	s.refused(ErrCommandStale, 2)
	if len(asked) != 2 || !strings.HasSuffix(asked[0], " approve rebuild") || !strings.HasSuffix(asked[1], " approve move") {
		t.Errorf("questions %q", asked)
	}
	for _, err := range s.nays {
		if !strings.Contains(err.Error(), asked[1]) {
			t.Errorf("the refusal does not name what is asked: %v", err)
		}
	}
	if len(s.acks) != 3 || s.acks[1].Question != asked[0] || !s.acks[1].Duplicate || s.acks[2].Duplicate {
		t.Errorf("answers %+v", s.acks)
	}
	if got := s.res.Report.Approvals; len(got) != 2 || got[0].Question != asked[0] || got[1].Question != asked[1] {
		t.Errorf("the report's approvals %+v", got)
	}
}

// The same signed command twice counts once, and who sends it again is told
// what it was told before: of two approvals that are needed it is one. A forger
// who copies it learns nothing.
func TestTheSameCommandTwiceCountsOnce(t *testing.T) {
	s := newStage(t, lost())
	var mine runbook.Command
	n := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		switch n++; n {
		case 1:
			mine = signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)
			return []runbook.Command{mine}
		case 2:
			again := mine
			again.Expires = again.Expires.In(again.Expires.Local().Location()) // the same instant, written otherwise
			return []runbook.Command{again}
		case 3:
			forged := mine
			forged.Signature = "by mallory"
			return []runbook.Command{forged}
		}
		if st.Waiting.Have != 1 {
			t.Errorf("%d approvals", st.Waiting.Have)
		}
		return []runbook.Command{signed(st, "eve", runbook.Approve, st.Waiting.Overrides...)}
	}
	s.run(Failover, FailoverInput{Start: Start{Pair: "orders"}})
	s.outcome(runbook.Partly)
	s.refused(ErrCommandForged, 1)
	if len(s.nays) != 1 || len(s.acks) != 3 || !s.acks[1].Duplicate || s.acks[1].Have != 1 || len(s.res.Report.Approvals) != 2 {
		t.Errorf("refusals %v, answers %+v, %d approvals", s.nays, s.acks, len(s.res.Report.Approvals))
	}
}

// A run that only goes forward lets people skip a failed step, but never a
// question that was denied or not answered.
func TestNobodySkipsAQuestion(t *testing.T) {
	s := newStage(t, calm())
	s.env.ExecuteWorkflow(func(ctx workflow.Context) (string, error) {
		st := &story{forward: true, op: runbook.OpFailback}
		err := st.do(ctx, "approve", func(workflow.Context) (string, error) { return "", refuse(ErrNotApproved, "denied by bob: no") })
		return ErrorType(err), nil
	})
	got := ""
	if err := s.env.GetWorkflowResult(&got); err != nil || got != ErrNotApproved {
		t.Errorf("%q, %v", got, err)
	}
}
