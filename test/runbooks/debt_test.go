package runbooks

import (
	"context"
	"errors"
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

// owes asks drctl until the pair's debts are as is says.
func (p *pair) owes(what string, is func(workflows.DebtStatus, bool) error) (st workflows.DebtStatus) {
	p.Helper()
	p.must(local.WaitFor(p.within(6*time.Minute), what, func(ctx context.Context) error {
		var got struct {
			workflows.DebtStatus
			Seen bool `json:"seen_to"`
		}
		if err := p.Drctl.JSON(ctx, &got, "debts", p.Pair()); err != nil {
			return err
		}
		st = got.DebtStatus
		if err := is(st, got.Seen); err != nil {
			return fmt.Errorf("%w; owed %+v, waits for %q, last %q, problem %q", err, st.Owed, st.Waits, st.Last, st.Problem)
		}
		return nil
	}))
	return st
}

func kinds(owed []runbook.Owed) string {
	var out []string
	for _, o := range owed {
		out = append(out, o.Kind)
	}
	return strings.Join(out, ", ")
}

// debtDeaths are where the worker dies while a debt is seen to: in the looks of Debt, and in the run that it has pay.
var debtDeaths = []string{
	"after debt:LoadPlan load plan", "after debt:ReadRecord read record", "after debt:AttestOutage is it back?", "after debt:ComputeLedger ledger decided?",
	"after recover:LoadPlan load plan", "after recover:ReadRecord read record", "after EngineLock lock engine west", "after WriteRecord lock record",
	"after ListDRTopics list topics east", "after ProveWritable canary before fence east", "after FenceSite fence east", "after FenceGroups fence groups east",
	"after ProveFence prove fence east", "after WriteRecord pay fence debt east", "after WriteRecord pay fence debt east copy",
	"after WriteRecord unlock record", "after WriteRecord unlock record copy", "after EngineUnlock unlock engine west", "after SaveReport save report",
}

// A site is lost and comes back hours later, to nobody's notice: what it is owed is
// paid by itself, over a worker that dies at every step, and never beside another operation.
func TestWhatIsOwedToALostSiteIsPaidWhenItIsBack(t *testing.T) {
	t.Parallel()
	p := newPair(t, ownServers(t, local.KFake), "owing", func(pl *plan.Plan) {
		unwatched(pl)
		pl.Debts.EverySeconds = 10
	}, harness.FaultsTag)
	p.keepWorker()
	p.steady()
	p.must(p.Home.Kafka.Kill())
	p.must(p.Home.Consul.Kill())
	p.outcome(runbook.Partly, "failover", "--reason", "east went dark")
	p.owes("the debts are known, and what they wait for", func(st workflows.DebtStatus, seen bool) error {
		if got := kinds(st.Owed); !seen || got != strings.Join([]string{record.DebtFence, record.DebtRecord, runbook.DebtLagged}, ", ") {
			return fmt.Errorf("seen to %t, kinds %q", seen, got)
		}
		if !strings.Contains(st.Waits, "Kafka of east does not answer") { // its first look may be under way
			return fmt.Errorf("it waits for %q", st.Waits)
		}
		return nil
	})
	// Held when the site is back: it waits, and says for whom.
	_, err := p.Drctl.Run(p.within(time.Minute), "hold", p.Pair(), "--reason", "looking at east first")
	p.must(err)
	p.must(p.Home.Kafka.Restart(p.within(2 * time.Minute)))
	p.must(p.Home.Consul.Restart(p.within(time.Minute)))
	p.owes("Debt waits for the hold", func(st workflows.DebtStatus, _ bool) error {
		if !strings.Contains(st.Waits, "looking at east first") {
			return errors.New("it waits for something else")
		}
		return nil
	})
	if err := p.tryProduce(p.Home, "written while nobody looked"); err != nil {
		t.Logf("the returned site refused a record before it was fenced: %v", err)
	}
	p.must(p.KillWorkerAt(debtDeaths...))
	_, err = p.Drctl.Run(p.within(time.Minute), "release", p.Pair(), "--reason", "looked")
	p.must(err)
	p.owes("fence and record are paid", func(st workflows.DebtStatus, _ bool) error {
		if got := kinds(st.Owed); got != runbook.DebtLagged && got != "" {
			return errors.New("still owed: " + got)
		}
		return nil
	})
	if p.tryProduce(p.Home, "refused") == nil {
		t.Error("the returned site takes records: its fence was not paid")
	}
	for _, s := range []*harness.Site{p.Home, p.Standby} {
		r, err := p.Record(p.within(time.Minute), s)
		p.must(err)
		if len(r.FenceDebt) > 0 || r.Lock != nil || r.Active[0] != p.Standby.Name {
			t.Errorf("the record at %s: active %v, lock %v, debts %v", s.Name, r.Active, r.Lock, r.FenceDebt)
		}
	}
	p.owes("Debt looks on", func(st workflows.DebtStatus, _ bool) error {
		if n := len(p.killed()); st.Paying || st.Last != runbook.Done || n < len(debtDeaths) {
			return fmt.Errorf("paying %t, last %q, the worker died %d times", st.Paying, st.Last, n)
		}
		return nil
	})
	p.died(debtDeaths, p.killed())
	t.Logf("debt: killed -9 at %d places\n%s\nall was paid, once", len(debtDeaths), strings.Join(debtDeaths, "\n"))
	// One fence for producers and one for groups, however often they were begun.
	if deny, kept := p.deny(p.Home), p.standing(p.Standby).Registers; len(deny) == 0 || strings.Count(strings.Join(kept, "\n"), "recover at east") != 2 {
		t.Errorf("at the returned site: entries %q, registers %q", deny, kept)
	}
	// What only people decide: then nothing is owed, and Debt ends.
	p.outcome(runbook.Done, "recover", "--append", "*")
	p.owes("Debt ends", func(st workflows.DebtStatus, seen bool) error {
		if seen || len(st.Owed) > 0 {
			return errors.New("it goes on")
		}
		return nil
	})
}
