package runbooks

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Nobody answers the pager that night: one person carries the failover out with the glass broken, by a real signature.
func TestTheLostSitesConsulIsOwedAndPaidByRecover(t *testing.T) {
	p := newPair(t, shared, "owed", func(pl *plan.Plan) { pl.BreakGlass = &plan.BreakGlass{Roles: []string{"operator"}} })
	p.steady()
	p.must(p.Home.Consul.Kill())
	t.Cleanup(func() { p.consulBack(p.Home) })
	_, err := p.Drctl.Run(p.within(time.Minute), "failover", p.Pair(), "--yes="+p.Pair(), "--break-glass", "--key", p.Key(harness.Approver), "--reason", "nobody answers", "--override", runbook.OverrideAlive)
	p.refused(err, codeRefused, "none of the roles that may break the glass")
	got := p.outcome(runbook.Partly, "failover", "--break-glass", "--key", p.Key(harness.Requester), "--reason", "nobody answers", "--override", runbook.OverrideAlive)
	if g := got.Report.BreakGlass; len(g) != 1 || g[0].By != harness.Requester || len(got.Report.Approvals) != 0 {
		t.Errorf("glass broken: %+v, answers %+v", g, got.Report.Approvals)
	}
	if len(got.Report.DebtsOpen) != 1 || got.Report.DebtsOpen[0].Kind != record.DebtRecord || got.Report.DebtsOpen[0].Site != p.Home.Name {
		t.Errorf("owed: %+v, want the record to %s", got.Report.DebtsOpen, p.Home.Name)
	}
	ctx := p.within(time.Minute)
	west, err := p.Record(ctx, p.Standby)
	p.must(err)
	if west.Epoch != 2 || west.Active[0] != p.Standby.Name || west.Phase != record.Open || west.Lock != nil || len(west.FenceDebt) != 1 {
		t.Errorf("the surviving copy: %+v", west)
	}
	p.must(p.Home.Consul.Restart(ctx))
	east, err := p.Record(ctx, p.Home)
	p.must(err)
	if east.Epoch != 1 || east.Active[0] != p.Home.Name {
		t.Errorf("the copy that came back: %+v, want the old one", east)
	}
	// Nothing goes home as long as that stands there.
	_, err = p.Drctl.Run(ctx, "failback", p.Pair(), "--yes="+p.Pair())
	p.refused(err, codeRefused, "drctl recover "+p.Pair()+" --debts-only")

	paid := p.outcome(runbook.Done, "recover", "--debts-only")
	if len(paid.Report.DebtsPaid) != 1 || len(paid.Report.DebtsOpen) != 0 {
		t.Errorf("paid %+v, open %+v", paid.Report.DebtsPaid, paid.Report.DebtsOpen)
	}
	for _, s := range []*harness.Site{p.Home, p.Standby} {
		rec, err := p.Record(ctx, s)
		p.must(err)
		if rec.Epoch != 2 || rec.Active[0] != p.Standby.Name || len(rec.FenceDebt) != 0 || rec.Lock != nil {
			t.Errorf("the copy at %s: %+v", s.Name, rec)
		}
	}
}

// consulBack leaves a Consul running for the tests that follow.
func (p *pair) consulBack(s *harness.Site) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.Context()), time.Minute)
	defer cancel()
	if err := s.Consul.Restart(ctx); err != nil && !strings.Contains(err.Error(), "running") {
		p.Errorf("consul %s does not come back: %v", s.Name, err)
	}
}

func TestAFlipWaitsForTheSurvivingConsulAndHappensOnce(t *testing.T) {
	p := newPair(t, shared, "flip", nil, harness.FaultsTag)
	p.steady()
	o, err := p.begin(p.within(4*time.Minute), "failover")
	p.must(err)
	o.stopAt("WriteRecord flip", "flip")
	p.must(p.Standby.Consul.Kill())
	t.Cleanup(func() { p.consulBack(p.Standby) })
	o.goOn()
	// The attempt that has begun may end in its hold; the next one has been made in vain when there is one more.
	begun := o.flips()
	p.must(local.WaitFor(p.within(time.Minute), "the flip to be tried in vain", func(context.Context) error {
		if n := o.flips(); n < begun+2 {
			return fmt.Errorf("attempt %d, %d when it was held", n, begun)
		}
		return nil
	}))
	st := o.await("the run to say that it flips", time.Minute, func(*workflows.Status) error { return nil })
	if st.Epoch != 1 || st.Outcome != "" {
		t.Errorf("without its Consul the run is at epoch %d, outcome %q", st.Epoch, st.Outcome)
	}
	p.consulBack(p.Standby)
	got, err := o.finish(p.within(2 * time.Minute))
	p.must(err)
	if got.Outcome != runbook.Done || got.Epoch != 2 {
		t.Errorf("outcome %q, epoch %d, error %q", got.Outcome, got.Epoch, got.Report.Error)
	}
	for _, s := range []*harness.Site{p.Home, p.Standby} {
		rec, err := p.Record(p.within(time.Minute), s)
		p.must(err)
		if rec.Epoch != 2 || rec.PrevEpoch != 1 || rec.OpID != got.OpID || rec.Phase != record.Open || rec.Lock != nil || len(rec.FenceDebt) != 0 {
			t.Errorf("the copy at %s: %+v", s.Name, rec)
		}
	}
}

// flips counts the attempts to flip that were begun.
func (o *op) flips() (n int) {
	o.Helper()
	lines, err := o.WorkerJournal()
	o.must(err)
	for _, l := range lines {
		if strings.Contains(l, "\tbefore WriteRecord flip\t") {
			n++
		}
	}
	return n
}
