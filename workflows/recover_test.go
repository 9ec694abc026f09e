package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func debts() []record.FenceDebt {
	since := time.Unix(3000, 0)
	return []record.FenceDebt{
		{Kind: record.DebtFence, Site: home, OpID: "failover-0", Since: since, Level: runbook.LevelUnreachable, Reason: "dead"},
		{Kind: record.DebtRecord, Site: home, OpID: "failover-0", Since: since, Reason: "dead"},
	}
}

// returned is a world whose old primary is back: its Consul still says what it
// said before the failover.
func returned() *world {
	w := failedOver(debts()...)
	w.consul[home] = steady().consul[home]
	return w
}

func TestRecoveryPaysDebtsFirstThenAsksAndCountsExactly(t *testing.T) {
	w := returned()
	w.ledger[0].FirstTime = time.Unix(1700000000, 0).UTC()
	w.ledger[0].LastTime = w.ledger[0].FirstTime.Add(42 * time.Second)
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitDecide {
			return nil
		}
		if len(st.Waiting.Topics) != 1 || st.Waiting.Topics[0] != "a" {
			t.Errorf("asks about %v", st.Waiting.Topics)
		}
		typo := signed(st, "ann", runbook.Decide)
		typo.Choices = map[string]string{"aa": "append"}
		good := signed(st, "bob", runbook.Decide)
		good.Choices = map[string]string{"a": "append"}
		return []runbook.Command{typo, good}
	}
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)})
	s.outcome(runbook.Done)
	s.clean()
	s.refused(ErrNotAllowed, 1)
	for site, r := range w.consul {
		if r.Active[0] != away || r.Epoch != 2 || len(r.FenceDebt) != 0 {
			t.Errorf("record at %s: %+v", site, r)
		}
	}
	if !w.fences[home][s.res.OpID] || !w.groups[home][s.res.OpID] || w.count("LiftFence") != 0 {
		t.Error("the returned cluster must stay fenced")
	}
	rep := s.res.Report
	if rep.RPOExact == nil || *rep.RPOExact != 3 || rep.RPOByTopic["a"] != 3 || len(rep.DebtsPaid) != 2 {
		t.Errorf("exact %v by topic %v, paid %v", rep.RPOExact, rep.RPOByTopic, rep.DebtsPaid)
	}
	if rpo := rep.RPOTime; rpo == nil || rpo.Exact == nil || *rpo.Exact != 42 || rpo.Verdict() != runbook.ObjectiveMissed {
		t.Errorf("RPO in time: %+v", rpo)
	}
	if len(w.amended) != 1 || w.amended[0].Time == nil || *w.amended[0].Time.Exact != 42 {
		t.Errorf("the failover's report got %+v", w.amended)
	}
	if len(rep.RecoveryForecast) != 1 || rep.RecoveryForecast[0].Redelivered != 2 {
		t.Errorf("redelivery forecast %v", rep.RecoveryForecast)
	}
	if w.ledger[0].Decision != runbook.LedgerAppended || w.ledger[0].DecidedBy != "bob" || w.held {
		t.Errorf("ledger %+v, held %t", w.ledger[0], w.held)
	}
	for _, o := range [][2]string{{"ProveFence", "HoldRetention"}, {"HoldRetention", "ComputeLedger"}, {"ComputeLedger", "AppendLedger"}, {"AppendLedger", "PutBackRetention"}} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s", o[0], o[1])
		}
	}
}

func TestThereIsNoDefaultDecision(t *testing.T) {
	w := failedOver()
	s := newStage(t, w)
	asked := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitDecide {
			return nil
		}
		if asked++; asked < 3 {
			return nil
		}
		return []runbook.Command{signed(st, "ann", runbook.Abort)}
	}
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)})
	s.outcome(runbook.Partly)
	s.clean()
	if w.count("AppendLedger")+w.count("ExportLedger")+w.count("DiscardLedger") > 0 || asked < 3 {
		t.Errorf("something was decided: %v", w.calls)
	}
	if w.held {
		t.Error("retention is still held after the abort")
	}
}

func TestDecisionsOfTheInputNeedNobodyElse(t *testing.T) {
	w := failedOver()
	s := newStage(t, w)
	s.run(RecoverLaggedData, RecoverInput{Start: deciding(runbook.OpRecover, map[string]string{"*": "discard"})})
	s.outcome(runbook.Done)
	if w.ledger[0].Decision != runbook.LedgerDiscarded || w.ledger[0].DecidedBy != "ann" {
		t.Errorf("%+v", w.ledger[0])
	}
	s = newStage(t, failedOver())
	s.run(RecoverLaggedData, RecoverInput{Start: deciding(runbook.OpRecover, map[string]string{"a": "keep"})})
	s.failed(ErrPrecondition)
	s.clean()
}

func TestDebtsOnlyPaysAndEnds(t *testing.T) {
	w := returned()
	s := newStage(t, w)
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true})
	s.outcome(runbook.Done)
	s.clean()
	if w.count("ComputeLedger") > 0 || len(w.consul[away].FenceDebt) > 0 || w.consul[home].Active[0] != away {
		t.Errorf("calls %v, debts %v", w.calls, w.consul[away].FenceDebt)
	}
}

func TestUnprovenFenceKeepsTheDebtOpen(t *testing.T) {
	w := returned()
	w.deaf = true
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			c := signed(st, "bob", runbook.Skip)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return nil
	}
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true})
	s.outcome(runbook.Partly)
	if d := w.consul[away].Debts(record.DebtFence); len(d) != 1 {
		t.Errorf("debts %v", d)
	}
}

func TestConsulThatIsStillAwayKeepsItsDebt(t *testing.T) {
	w := returned()
	w.down[home+" consul"] = true
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			c := signed(st, "bob", runbook.Skip)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return nil
	}
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true})
	s.outcome(runbook.Partly)
	if d := w.consul[away].FenceDebt; len(d) != 1 || d[0].Kind != record.DebtRecord {
		t.Errorf("debts %v", d)
	}
}

func TestSetUpWritesTheFirstRecordAndIsIdempotent(t *testing.T) {
	w := newWorld()
	s := newStage(t, w)
	s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	s.outcome(runbook.Done)
	s.clean()
	for _, site := range []string{home, away} {
		r := w.consul[site]
		if r == nil || r.Active[0] != home || r.Epoch != 1 || r.Lock != nil {
			t.Fatalf("record at %s: %+v", site, r)
		}
	}
	if len(w.mirrors["there"]) != 3 || w.mirrors["there"]["a"] != "ACTIVE" {
		t.Errorf("mirrors %v", w.mirrors)
	}
	s = newStage(t, w)
	s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	s.outcome(runbook.Done)
	if w.consul[home].Epoch != 1 {
		t.Errorf("a second set-up raised the epoch to %d", w.consul[home].Epoch)
	}
	w.plan.Sites[1].Kafka.Bootstrap = []string{"west-new:9092"}
	s = newStage(t, w)
	s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	s.outcome(runbook.Done)
	if r := w.consul[away]; r.Epoch != 2 || r.Bootstrap[away][0] != "west-new:9092" {
		t.Errorf("a moved cluster is not in the record: %+v", r)
	}
}

func TestSetUpRefusesWhatWouldOverwriteOrFail(t *testing.T) {
	s := newStage(t, decided()).run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	s.failed(ErrPrecondition)
	if !strings.Contains(s.err.Error(), "drctl failback") {
		t.Errorf("%v", s.err)
	}
	w := newWorld()
	s = newStage(t, w)
	w.findings = []Finding{{Site: home, What: "no ALTER on CLUSTER", Cure: "grant it", Blocker: true}, {Site: away, What: "old", Cure: "update"}}
	s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	s.failed(ErrPrecondition)
	if !strings.Contains(s.err.Error(), "grant it") || w.count("EngineLock") > 0 {
		t.Errorf("%v, %v", s.err, w.calls)
	}
}

func TestHeldValuesCanBePutBackByHand(t *testing.T) {
	const line = "retention of topic a at east is held; to put it back by hand: retention.ms=60000, cleanup.policy (delete it: it was not set)"
	for _, skip := range []bool{false, true} {
		w := failedOver()
		if skip {
			w.fail["PutBackRetention"] = []error{no(ErrRefused, "no")}
		}
		s := newStage(t, w)
		shown := false
		s.react = func(st Status) []runbook.Command {
			shown = shown || slices.Contains(st.Findings, line)
			if st.Waiting != nil && st.Waiting.For == WaitDecide {
				c := signed(st, "bob", runbook.Decide)
				c.Choices = map[string]string{"*": "discard"}
				return []runbook.Command{c}
			}
			if st.Waiting != nil && st.Waiting.For == WaitPerson {
				c := signed(st, "bob", runbook.Skip)
				c.Step = st.Waiting.Step
				return []runbook.Command{c}
			}
			return nil
		}
		s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)})
		if s.err != nil || !shown {
			t.Errorf("skip %t: %v, shown while held: %t", skip, s.err, shown)
		}
		if got := slices.Contains(s.res.Report.Findings, line); got != skip {
			t.Errorf("skip %t: the report says %v", skip, s.res.Report.Findings)
		}
	}
}
