package runbooks

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Fail-forward: the pair stays where it was failed over to, is protected from
// there, and may go home later by the planned move alone.
func TestAPairThatStaysWhereItIsIsProtectedAgainAndGoesHomeWithoutARebuild(t *testing.T) {
	t.Parallel()
	p := newPair(t, ownServers(t, local.KFake), "forward", nil)
	p.outcome(runbook.Done, "setup")
	tr := &traveller{pair: p}
	tr.write(p.Home, "1", "2", "3")
	tr.reads(p.Home, 2)
	p.mirrored(p.Home, p.Standby)
	p.lag("lagged")
	p.must(p.Home.Kafka.Kill())
	p.outcome(runbook.Partly, "failover")
	tr.write(p.Standby, "4")
	p.ReleasePair()
	p.must(p.Home.Kafka.Restart(p.within(2 * time.Minute)))

	refused := func(verb, command string) {
		t.Helper()
		o, err := p.begin(p.within(time.Minute), verb)
		p.must(err)
		if _, err := o.finish(p.within(time.Minute)); err == nil || !strings.Contains(err.Error(), command) {
			t.Errorf("%s: %v, want it to name %q", verb, err, command)
		}
	}
	refused("restore", "drctl recover forward --debts-only")
	p.outcome(runbook.Done, "recover", "--debts-only")
	refused("restore", "drctl recover forward")
	p.outcome(runbook.Done, "recover", "--discard", "*")

	got := p.outcome(runbook.Done, "restore")
	p.epoch(got.Epoch, 2, got.Active, p.Standby)
	rep := got.Report
	if do := rep.AwayPlan; do == nil || !slices.Equal(do.Rebuild, []string{p.topic}) || !slices.Equal(do.Rejoin, []string{runbook.CanaryTopic("forward")}) {
		t.Errorf("plan %+v, topics %+v", rep.AwayPlan, rep.Away)
	}
	if !slices.Contains(rep.Overrides, runbook.OverrideRebuild) || rep.CopyRecords == 0 || rep.CopySeconds <= 0 || rep.Readiness == nil {
		t.Errorf("overrides %v, copied %d in %v s, readiness %v", rep.Overrides, rep.CopyRecords, rep.CopySeconds, rep.Readiness)
	}
	tr.write(p.Standby, "5")
	p.mirrored(p.Standby, p.Home)
	p.stands(p.Home, tr.all...)
	if p.tryProduce(p.Home, "refused") == nil {
		t.Error("the new standby takes records")
	}
	tr.reads(p.Standby, 2)
	p.mirrored(p.Standby, p.Home) // with the group's offsets

	// Home follows already: what is left of the failback is the planned move.
	got = p.outcome(runbook.Done, "failback")
	p.epoch(got.Epoch, 3, got.Active, p.Home)
	if do := got.Report.AwayPlan; len(do.Doomed())+len(do.Copied())+len(do.Rejoin) > 0 || len(got.Report.Approvals) != 1 {
		t.Errorf("plan %+v, approvals %+v", do, got.Report.Approvals)
	}
	tr.reads(p.Home, 1)
	tr.write(p.Home, "6")
	p.mirrored(p.Home, p.Standby)
	p.stands(p.Standby, tr.all...)
	p.left()
}
