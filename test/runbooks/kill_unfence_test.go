package runbooks

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// unfenceDeaths are where the worker of an unfence dies: those that follow a change in every run, the others with
// DRAWBRIDGE_LONG, since they fall to one pair, one after the other.
func unfenceDeaths() []string {
	out := []string{
		"after EngineLock lock engine west", "after WriteRecord lock record", "after RevokeOperation revoke *",
		"after LiftFence lift fence east of *", "after WriteRecord unlock record",
	}
	if os.Getenv("DRAWBRIDGE_LONG") != "" {
		out = append(out,
			"after LoadPlan load plan", "after ReadRecord read record", "after VerifySignature verify request", "after MeasureRisk mirrors of *",
			"after VerifySignature verify approve", "after EngineLock lock engine east", "after WriteRecord lock record copy",
			"after ListDRTopics list topics east", "after ProveWritable prove writable east", "after ProduceConsumeCanary canary record east",
			"after WriteRecord unlock record copy", "after EngineUnlock unlock engine east", "after EngineUnlock unlock engine west",
			"after SaveReport save report")
	}
	return out
}

// A switchover is terminated in its freeze, which undoes nothing; what it left is lifted by a run whose worker is killed again
// and again.
func TestAWorkerKilledAtAnyStepOfAnUnfenceChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "unfenced", unwatched, harness.FaultsTag)
	p.steady()
	east, west := p.calm(p.Home), p.calm(p.Standby)
	ctx := p.within(6 * time.Minute)
	lost, err := p.begin(ctx, "switchover")
	p.must(err)
	lost.freezes(p.Home)
	p.must(p.temporal.TerminateWorkflow(ctx, workflows.ID(p.Pair()), lost.runID, "as a person would who knows no better"))
	if len(p.deny(p.Home)) == 0 {
		t.Fatal("the terminated run left no fence: nothing is tested")
	}

	p.keepWorker()
	if !p.Worker.Process().Running() {
		p.must(p.Worker.Restart(ctx))
	}
	before := p.killed()
	places := unfenceDeaths()
	p.must(p.KillWorkerAt(places...))
	o, err := p.begin(ctx, "unfence", "--yes="+p.Pair(), "--override", runbook.OverrideLock, "--reason", "its run is lost")
	p.must(err)
	got, err := o.finish(ctx)
	p.must(err)
	if got.Outcome != runbook.Done || got.Active[0] != p.Home.Name {
		t.Errorf("unfence: %s, active %v: %s", got.Outcome, got.Active, got.Report.Error)
	}
	p.died(places, p.killed()[len(before):])
	var table strings.Builder
	for _, at := range places {
		fmt.Fprintf(&table, "%-52s as without\n", at)
	}
	t.Logf("unfence: killed -9 at\n%s", table.String())
	p.same(east, p.calm(p.Home))
	p.same(west, p.calm(p.Standby))
	p.produce(p.Home, "4")
	p.mirrored(p.Home, p.Standby)
	p.stands(p.Standby, "1", "2", "3", "4")
}
