package runbooks

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A failover is terminated behind its flip, and the recovery that takes the pair over from it while people decide: whoever comes
// next breaks a lock by override, and finds neither a link that is shut nor topics that keep everything for ever.
func TestWhatTerminatedRunsLeftIsTakenOverByWhoBreaksTheirLocks(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "takenover", unwatched, harness.FaultsTag)
	p.steady()
	before := p.retention(p.Home)
	p.lag("lagged")
	ctx := p.within(6 * time.Minute)
	over := []string{"--override", runbook.OverrideLock, "--reason", "its run was terminated"}

	failover, err := p.begin(ctx, "failover")
	p.must(err)
	st := failover.awaitApproval()
	died := p.Worker.Process().Done()
	p.must(p.KillWorkerAt("before EndOperation end operation on *"))
	p.must(failover.approve(ctx, *st.Waiting))
	select {
	case <-died:
	case <-ctx.Done():
		t.Fatal("the worker did not come to the end of the failover's token")
	}
	p.terminate(failover)
	p.must(p.Worker.Restart(ctx))
	rec, err := p.Record(ctx, p.Standby)
	p.must(err)
	if rec.Lock == nil || rec.Active[0] != p.Standby.Name {
		t.Fatalf("active %v, lock %v: the failover was not terminated between its flip and its end", rec.Active, rec.Lock)
	}
	p.ReleasePair()

	lost, err := p.begin(ctx, "recover", over...)
	p.must(err)
	var asks *waits
	if _, err := lost.finish(ctx); !errors.As(err, &asks) || asks.For != workflows.WaitDecide {
		t.Fatalf("recover of the lost failover: %v, want it to wait for decisions", err)
	}
	if held := p.retention(p.Home); slices.Equal(held, before) {
		t.Fatalf("retention at %s is not held: %q", p.Home.Name, held)
	}
	p.terminate(lost)

	p.outcome(runbook.Done, "recover", append(slices.Clone(over), "--append", "*")...)
	if after := p.retention(p.Home); !slices.Equal(after, before) {
		t.Errorf("retention at %s: %q, before it was held %q", p.Home.Name, after, before)
	}
	p.outcome(runbook.Done, "restore", over...)
	p.produce(p.Standby, "4")
	p.mirrored(p.Standby, p.Home)
	p.stands(p.Home, "1", "2", "3", "lagged", "4")
}

func (p *pair) terminate(o *op) {
	p.Helper()
	p.must(p.temporal.TerminateWorkflow(p.within(time.Minute), o.id, o.runID, "as a person would who knows no better"))
}

// retention is what decides what is deleted of the topic at a site, as it was set.
func (p *pair) retention(s *harness.Site) (out []string) {
	p.Helper()
	got, err := p.admin(s).DescribeTopicConfigs(p.within(time.Minute), p.topic)
	p.must(err)
	for _, r := range got {
		p.must(r.Err)
		for _, c := range r.Configs {
			if slices.Contains([]string{"retention.ms", "retention.bytes", "cleanup.policy"}, c.Key) {
				out = append(out, c.Key+"="+c.MaybeValue())
			}
		}
	}
	slices.Sort(out)
	return out
}
