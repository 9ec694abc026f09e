package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/sightless"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

func TestUnfenceListsLostFencesAndLeavesThePairFreeWhenNoWorkerCanLiftThem(t *testing.T) {
	s := newStage(t)
	token := filepath.Join(s.dir, "engine.token")
	if err := os.WriteFile(token, []byte(fakeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"unfence", "orders", "--epoch", "3", "--engine-token", "east=" + token, "--engine-token", "west=" + token}, s.as("ann")...)
	s.want(s.drctl(append(args, "--yes=orders")...), 3, "no engine that answered knows a fence of a lost run")
	entry := api.ACLEntry{Principal: "User:app", Host: "*", ResourceType: "TOPIC", ResourceName: sightless.Topic, PatternType: "LITERAL", Operation: "WRITE", Permission: "DENY"}
	s.engine.mu.Lock()
	s.engine.fences = []api.Fence{{Pair: "orders", OperationID: "failover-gone", Site: "east", Entries: []api.FenceEntry{{ACLEntry: entry, ClusterID: "lkc-east"}}}}
	s.engine.mu.Unlock()

	s.want(s.drctl(append(args, "--list")...), 0, "failover-gone", "lost", "TOPIC LITERAL dr-topic", "User:app")
	s.want(s.drctl("status", "orders", "--plan", s.planFile, "--engine-token", "west="+token), 0, "its run is lost", "Authentication failed", "does not answer")
	s.want(s.drctl(args...), 2, "no terminal", "--yes=orders")
	s.want(s.drctl(append(args, "--yes=payments")...), 3, `--yes names "payments"`, "nothing was done")
	s.stopWorker()
	s.startWorkerWith(func(r workflows.Registry) {
		r.RegisterWorkflowWithOptions(workflows.Failover, workflow.RegisterOptions{Name: workflows.NameFailover})
	})
	s.want(s.drctl(append(args, "--yes=orders")...), 1, "has no workflow Unfence", "nothing was changed")
	s.want(s.drctl("status", "orders"), 0, "terminated")
	s.stopWorker()
	s.startWorker()

	// An open operation is never disturbed.
	s.want(s.drctl("failover", "orders", "--yes=orders", "--unsigned", "--detach"), 0)
	s.untilWaits("approval")
	s.want(s.drctl(append(args, "--yes=orders")...), 4, "busy: failover by unsigned")

	// Terminated from outside, its own undo never runs: whoever waits is told where to look.
	if err := s.sdk.TerminateWorkflow(t.Context(), workflows.ID("orders"), "", "test"); err != nil {
		t.Fatal(err)
	}
	_, err := operator.New(s.sdk).Result(t.Context(), operator.Run{ID: workflows.ID("orders"), Operation: "failover"})
	var ended *operator.EndedError
	if !errors.As(err, &ended) || !strings.Contains(err.Error(), "drctl unfence") || exitCode(err) != codeFailed {
		t.Errorf("result of a terminated run: %v", err)
	}
}

func TestUnfenceLeavesTheFenceOfASiteThatIsNotActive(t *testing.T) {
	line := func(site, op string, lost, kept bool) fenceLine {
		return fenceLine{Fence: api.Fence{Site: site, OperationID: op}, Lost: lost, Kept: kept}
	}
	sites := []siteFences{
		{Engine: "east", Fences: []fenceLine{line("west", "switchover-2", true, false), line("west", "switchover-2.groups", true, false), line("west", "setup-1", false, false)}},
		{Engine: "west", Fences: []fenceLine{line("east", "failover-1", false, true), line("east", "failover-1.groups", false, true)}},
	}
	for _, c := range []struct{ overrides, lost, at, kept []string }{
		{nil, []string{"switchover-2"}, []string{"west"}, []string{"east"}},
		{[]string{"break-lock", "two-writers"}, []string{"failover-1", "switchover-2"}, []string{"east", "west"}, nil},
	} {
		lost, at, kept := liftable(sites, c.overrides)
		if diff := cmp.Diff([][]string{c.lost, c.at, c.kept}, [][]string{lost, at, kept}); diff != "" {
			t.Errorf("with %v (-want +got):\n%s", c.overrides, diff)
		}
	}
}

// fenced is a pair whose failover was lost behind its fence: a workflow that no worker has any more made entries at east,
// which west's engine registers, and left its lock there.
type fenced struct {
	*sightless.Steps
	mu     sync.Mutex // guards the fields below
	lock   string
	lifted []workflows.LiftFenceInput
	did    []string
}

func (f *fenced) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what)
}

func (f *fenced) ReadRecord(context.Context, workflows.ReadRecordInput) (workflows.ReadRecordResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := rec(3, "east", record.Open).Normalised()
	var lock *record.Lock
	if f.lock != "" {
		lock = &record.Lock{OpID: f.lock, Operation: "failover", Since: time.Unix(1, 0)}
	}
	return workflows.ReadRecordResult{
		Copies:  []runbook.RecordCopy{{Site: "east", Reachable: true, Record: &r}, {Site: "west", Reachable: true, Record: &r}},
		Engines: []runbook.EngineTruth{{Site: "east", Reachable: true}, {Site: "west", Reachable: true, HighestEpoch: 3, Lock: lock}},
	}, nil
}

func (f *fenced) EngineLock(_ context.Context, in workflows.EngineLockInput) (workflows.EngineLockResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.Site.Name == "west" {
		if f.lock != "" && f.lock != in.Call.OperationID && f.lock != in.Break {
			return workflows.EngineLockResult{}, temporal.NewNonRetryableApplicationError("held by "+f.lock, workflows.ErrPairBusy, nil)
		}
		f.lock = in.Call.OperationID
	}
	return workflows.EngineLockResult{Held: true}, nil
}

func (f *fenced) EngineUnlock(context.Context, workflows.EngineLockInput) (workflows.EngineLockResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lock = ""
	return workflows.EngineLockResult{}, nil
}

func (f *fenced) WriteRecord(_ context.Context, in workflows.WriteRecordInput) (workflows.WriteRecordResult, error) {
	return workflows.WriteRecordResult{Changed: true, SHA256: in.Record.SHA256}, nil
}

func (f *fenced) RevokeOperation(_ context.Context, in workflows.OperationTokenInput) (workflows.RevokeOperationResult, error) {
	f.note("revoked " + in.Call.OperationID)
	return workflows.RevokeOperationResult{State: "revoked"}, nil
}

func (f *fenced) LiftFence(_ context.Context, in workflows.LiftFenceInput) (workflows.FenceResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lifted = append(f.lifted, in)
	return workflows.FenceResult{Reachable: true, Entries: 1, Operations: []string{in.FencingOperation}}, nil
}

func (f *fenced) ListDRTopics(context.Context, workflows.ListDRTopicsInput) (workflows.ListDRTopicsResult, error) {
	return workflows.ListDRTopicsResult{Topics: []string{sightless.Topic}}, nil
}

func (f *fenced) ProveWritable(_ context.Context, in workflows.ProveWritableInput) (workflows.ProveWritableResult, error) {
	f.note("proved " + in.Site.Name)
	return workflows.ProveWritableResult{Writable: true, Brokers: 3}, nil
}

func (f *fenced) ProduceConsumeCanary(context.Context, workflows.ProduceConsumeCanaryInput) (workflows.ProduceConsumeCanaryResult, error) {
	return workflows.ProduceConsumeCanaryResult{Topic: "canary"}, nil
}

func TestUnfenceLiftsAfterAnApprovalAndIsFollowed(t *testing.T) {
	s := newStage(t)
	f := &fenced{Steps: s.people, lock: "failover-gone"}
	s.stopWorker()
	s.steps = f
	s.startWorker()
	token := filepath.Join(s.dir, "engine.token")
	if err := os.WriteFile(token, []byte(fakeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	s.engine.mu.Lock()
	for _, register := range []string{"failover-gone", "failover-gone.groups"} {
		s.engine.fences = append(s.engine.fences, api.Fence{Pair: "orders", OperationID: register, Site: "east"})
	}
	s.engine.mu.Unlock()
	args := append([]string{"unfence", "orders", "--yes=orders", "--epoch", "3", "--engine-token", "east=" + token, "--engine-token", "west=" + token}, s.as("ann")...)

	// Its lock is still there: that it is gone for good must be said.
	s.want(s.drctl(args...), 4, "still locked by failover-gone at engine west", "break-lock")
	s.want(s.drctl(append(args, "--unsigned", "--override", "break-lock")...), 2, "only in a signed request")

	s.want(s.drctl(append(args, "--override", "break-lock")...), 2, "needs a --reason")
	var followed said
	var wg sync.WaitGroup
	wg.Go(func() {
		followed = s.drctl(append(args, "--reason", "its host is gone", "--override", "break-lock")...)
	})
	s.untilStatus("lift what failover-gone fenced at east: clients can write there again")
	s.want(s.drctl(append([]string{"approve", "orders"}, s.as("bob")...)...), 3, "break-lock")
	s.want(s.drctl(append([]string{"approve", "orders", "--reason", "its host is gone", "--override", "break-lock"}, s.as("bob")...)...), 0, "approved")
	wg.Wait()
	s.want(followed, 0, "lift fence east of failover-gone", "1 entries removed", "prove writable east", "outcome")
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lifted) != 1 || f.lifted[0].Site.Name != "east" || f.lifted[0].RegisterAt.Name != "west" || f.lock != "" {
		t.Errorf("lifted %+v, lock %q", f.lifted, f.lock)
	}
	if diff := cmp.Diff([]string{"revoked failover-gone", "revoked failover-gone", "proved east"}, f.did); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
