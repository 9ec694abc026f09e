package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/test/sightless"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// acting are sightless steps of a failover that everything lets pass, up to the wait for clients: that one lasts until they moved.
type acting struct {
	*sightless.Steps
	Seen chan struct{} // closed: clients are seen at the new site. A field, as in sightless

	mu      sync.Mutex // guards what follows
	written *record.Record
	told    []workflows.NotifyInput
}

func (a *acting) ReadRecord(ctx context.Context, in workflows.ReadRecordInput) (workflows.ReadRecordResult, error) {
	out, err := a.Steps.ReadRecord(ctx, in)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.written != nil {
		out.Copies[1].Record = a.written
	}
	return out, err
}

func (a *acting) WriteRecord(_ context.Context, in workflows.WriteRecordInput) (workflows.WriteRecordResult, error) {
	if in.Site.Name == "east" {
		return workflows.WriteRecordResult{}, errors.New("no answer")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.written = &in.Record
	return workflows.WriteRecordResult{Changed: true, SHA256: in.Record.SHA256}, nil
}

func (a *acting) ReadHold(_ context.Context, in workflows.ReadHoldInput) (workflows.ReadHoldResult, error) {
	return workflows.ReadHoldResult{}, nil
}

func (a *acting) EngineLock(context.Context, workflows.EngineLockInput) (workflows.EngineLockResult, error) {
	return workflows.EngineLockResult{Held: true}, nil
}

func (a *acting) EngineUnlock(context.Context, workflows.EngineLockInput) (workflows.EngineLockResult, error) {
	return workflows.EngineLockResult{}, nil
}

func (a *acting) BeginOperation(context.Context, workflows.OperationTokenInput) (workflows.OperationTokenResult, error) {
	return workflows.OperationTokenResult{State: "open"}, nil
}

func (a *acting) EndOperation(context.Context, workflows.OperationTokenInput) (workflows.OperationTokenResult, error) {
	return workflows.OperationTokenResult{State: "ended"}, nil
}

func stopped(topics []string) (out workflows.MirrorsResult, _ error) {
	for _, t := range topics {
		out.Topics = append(out.Topics, runbook.TopicResult{Topic: t, OK: true, Status: runbook.StatusStopped, WriterFence: "enforced"})
	}
	return out, nil
}

func (a *acting) GrowMirrors(_ context.Context, in workflows.MirrorsInput) (workflows.MirrorsResult, error) {
	return stopped(in.Topics)
}

func (a *acting) FailoverMirrors(_ context.Context, in workflows.MirrorsInput) (workflows.MirrorsResult, error) {
	return stopped(in.Topics)
}

func (a *acting) AwaitStopped(_ context.Context, in workflows.AwaitStoppedInput) (workflows.MirrorsResult, error) {
	return stopped(in.Topics)
}

func (a *acting) FenceSite(context.Context, workflows.FenceSiteInput) (workflows.FenceResult, error) {
	return workflows.FenceResult{Problem: "no answer"}, nil
}

func (a *acting) OwnGroups(context.Context, workflows.LinkGroupsInput) (workflows.SyncGroupsResult, error) {
	return workflows.SyncGroupsResult{Exact: true}, nil
}

func (a *acting) PlaceGroup(context.Context, workflows.PlaceGroupInput) (workflows.PlaceGroupResult, error) {
	return workflows.PlaceGroupResult{}, nil
}

func (a *acting) ProveWritable(context.Context, workflows.ProveWritableInput) (workflows.ProveWritableResult, error) {
	return workflows.ProveWritableResult{Writable: true, Brokers: 1}, nil
}

func (a *acting) ProduceConsumeCanary(context.Context, workflows.ProduceConsumeCanaryInput) (workflows.ProduceConsumeCanaryResult, error) {
	return workflows.ProduceConsumeCanaryResult{}, nil
}

func (a *acting) AwaitClientsMoved(ctx context.Context, in workflows.AwaitClientsMovedInput) (out workflows.AwaitClientsMovedResult, _ error) {
	select {
	case <-a.Seen:
	case <-ctx.Done():
		return out, ctx.Err()
	}
	out.Complete = true
	for _, g := range in.Groups {
		out.Groups = append(out.Groups, runbook.ClientMove{Group: g, MembersNew: 1, Moved: true})
	}
	return out, nil
}

func (a *acting) Notify(_ context.Context, in workflows.NotifyInput) (workflows.NotifyResult, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, in)
	return workflows.NotifyResult{Slack: runbook.NotConfigured, PagerDuty: runbook.NotConfigured, Webhook: "sent"}, nil
}

func (a *acting) WakeDebt(context.Context, workflows.WakeDebtInput) (workflows.WakeDebtResult, error) {
	return workflows.WakeDebtResult{}, nil
}

// answers tells how often somebody of a team was said to look after it.
func (a *acting) answers(team string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, in := range a.told {
		if in.Team == team && in.Kind == workflows.NotifyAcknowledged {
			n++
		}
	}
	return n
}

// payments has people, bob not among them; for insights anybody speaks.
const stageTeams = `teams:
  - {name: payments, groups: [billing], people: [eve, ann], webhook: {url: https://hooks.example/payments, secret: "${env:HOOK}"}}
  - {name: insights, groups: [reporting, web], webhook: {url: https://hooks.example/insights, secret: "${env:HOOK}"}}
`

// A team's button is pressed by a guest, by somebody of another team, by a member, by a member once more, by the next one, and
// when all is over.
func TestATeamIsAcknowledgedForByItsButton(t *testing.T) {
	clients := make(chan struct{})
	var steps *acting
	s := newStageOf(t, stageTeams, func(blind *sightless.Steps) any {
		steps = &acting{Steps: blind, Seen: clients}
		return steps
	})
	s.startBot(nil)
	run := s.begin()
	asks := s.root("0 of 2 given")
	if err := s.slack.Click(t.Context(), eve, asks, "answer-acknowledge-payments"); err == nil {
		t.Error("a team has a button before its clients are to move")
	}
	for i, who := range []string{bob, eve} {
		s.click(who, asks, runbook.Approve)
		s.submit(s.dialog(who, "approve"), map[string][]string{"reason": {"read"}, "overrides": {runbook.OverrideFence}})
		s.dialog(who, fmt.Sprintf("Taken: approved, %d of 2", i+1))
	}
	called := s.root("team payments: told webhook: sent", "acknowledged by nobody here; moved not known, of 1", "team insights: told ", "Team payments: we look after it", "Team insights: we look after it")

	team := func(name string) string { return runbook.Acknowledge + "-" + name }
	s.click(mallory, called, team("payments"))
	s.told(mallory, "Sorry, I do not know you", mallory)
	s.click(bob, called, team("payments"))
	s.submit(s.dialog(bob, "acknowledge for team payments"), nil)
	s.dialog(bob, "bob does not speak for team payments: its people are ann, eve")

	s.slack.Twice(true) // Slack sends what it got no answer to once more
	s.click(eve, called, team("payments"))
	mine := s.dialog(eve, "acknowledge for team payments")
	s.submit(mine, map[string][]string{"reason": {"on <it>"}})
	s.submit(mine, map[string][]string{"reason": {"on <it>"}})
	s.dialog(eve, "Taken: acknowledged: eve looks after it for team payments")
	s.slack.Twice(false)
	now := s.root("acknowledged by eve at ", "Team insights: we look after it")
	if err := s.slack.Click(t.Context(), ann, now, "answer-"+team("payments")); err == nil {
		t.Error("a team that somebody looks after has a button still")
	}
	s.click(eve, called, team("payments")) // whose Slack shows the old message
	s.told(eve, "You have acknowledged this already")
	s.click(ann, called, team("payments"))
	s.submit(s.dialog(ann, "acknowledge for team payments"), nil)
	s.dialog(ann, "eve has acknowledged for team payments already", "once is enough")
	s.click(bob, called, team("insights"))
	open := s.dialog(bob, "acknowledge for team insights")

	close(clients)
	s.root("Ended: ", "team payments: told ", "moved 1 of 1", "moved 2 of 2")
	s.submit(open, nil)
	s.dialog(bob, "Too late: the run has ended")
	s.click(bob, called, team("insights"))
	s.told(bob, "Too late: no operation is open on pair orders")
	s.until("the thread says it once", func() error {
		if n := count(s.replies(), "acknowledged for team payments by *eve* here: on &lt;it&gt;"); n != 1 {
			return fmt.Errorf("%d times in %q", n, s.replies())
		}
		return nil
	})
	if steps.answers("payments") != 1 || steps.answers("insights") != 0 {
		t.Errorf("payments heard %d times who looks after it, insights %d times", steps.answers("payments"), steps.answers("insights"))
	}
	s.reported(run)
}

// reported: the report has who acknowledged for whom.
func (s *stage) reported(run operator.Run) {
	s.Helper()
	got, err := s.op.Result(s.Context(), run)
	s.must(err)
	i := slices.IndexFunc(got.Report.Teams, func(l runbook.TeamLine) bool { return l.Team == "payments" })
	if len(got.Report.Teams) != 2 || i < 0 || got.Report.Teams[i].AcknowledgedBy != "eve" || got.Report.Teams[i].Via != "drbot" || got.Report.Teams[1-i].AcknowledgedBy != "" {
		s.Errorf("the report's teams %+v", got.Report.Teams)
	}
	if md := got.Report.Markdown(); !strings.Contains(md, "acknowledge for team payments") {
		s.Errorf("the report does not say so:\n%s", md)
	}
}
