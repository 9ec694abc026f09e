package workflows

import (
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// owned is failedOver with three lagging topics: a is ann's, b is team billing's,
// c nobody's; only operators decide without owning.
func owned() *world {
	w := failedOver()
	w.ledger = nil
	for _, t := range []string{"a", "b", "c"} {
		w.ledger = append(w.ledger, runbook.LedgerLine{Topic: t, Records: 2, Decision: runbook.LedgerUndecided})
		w.mirrors["there"][t] = "STOPPED"
	}
	w.plan.Topics = []string{"a", "b", "c"}
	w.plan.People = append(w.plan.People, runbook.Person{Name: "bill", Roles: []string{"billing"}}, runbook.Person{Name: "olga", Roles: []string{"duty"}})
	w.plan.Owners = []runbook.Owner{{Topics: []string{"a"}, By: []string{"ann"}}, {Topics: []string{"^b.*"}, By: []string{"billing"}}}
	rule := w.plan.Approvals[runbook.OpRecover]
	rule.Roles = []string{"duty"}
	w.plan.Approvals[runbook.OpRecover] = rule
	return w
}

func TestEachTopicIsDecidedByItsOwner(t *testing.T) {
	w := owned()
	s := newStage(t, w)
	sent, question := 0, ""
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitDecide {
			return nil
		}
		choose := func(by string, choices map[string]string) runbook.Command {
			c := signed(st, by, runbook.Decide)
			c.Choices = choices
			return c
		}
		if sent++; sent == 2 { // b is decided
			return []runbook.Command{choose("bill", map[string]string{"b": "discard"}), choose("bill", map[string]string{"b": "append"}), choose("olga", map[string]string{"c": "discard"})}
		} else if sent > 2 {
			return nil
		}
		question = st.Waiting.Text
		return []runbook.Command{
			choose("eve", map[string]string{"a": "append"}),                 // no owner, not on duty
			choose("bill", map[string]string{"a": "append", "b": "append"}), // one of two: nothing of it counts
			choose("eve", map[string]string{"*": "discard"}),                // owns nothing
			choose("bill", map[string]string{"c": "discard"}),               // nobody's: those on duty decide
			choose("ann", map[string]string{"*": "export"}),                 // only a
			choose("bill", map[string]string{"b": "append"}),
		}
	}
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)})
	s.outcome(runbook.Done)
	s.refused(ErrNotAllowed, 5)
	if !strings.Contains(question, "b: 2 records (0 bytes) in 1 partitions, decided by billing") {
		t.Errorf("asked %q", question)
	}
	for i, want := range []struct{ decision, by string }{{runbook.LedgerExported, "ann"}, {runbook.LedgerAppended, "bill"}, {runbook.LedgerDiscarded, "olga"}} {
		if l := w.ledger[i]; l.Decision != want.decision || l.DecidedBy != want.by {
			t.Errorf("%s: %s by %s, want %v", l.Topic, l.Decision, l.DecidedBy, want)
		}
	}
}

func TestDecisionsOfTheInputAreTheRequestersOwn(t *testing.T) {
	s := newStage(t, owned())
	s.run(RecoverLaggedData, RecoverInput{Start: deciding(runbook.OpRecover, map[string]string{"b": "append"})})
	s.failed(ErrPrecondition)
	s.clean()
	if !strings.Contains(s.err.Error(), "ann is not among the owners of b: billing") {
		t.Errorf("%v", s.err)
	}
	if s.w.held {
		t.Error("retention is still held")
	}
}

func TestWhoeverIsOnDutyDecidesByName(t *testing.T) {
	w := owned()
	s := newStage(t, w)
	in := RecoverInput{Start: deciding(runbook.OpRecover, map[string]string{"a": "append", "b": "export", "*": "discard"})}
	in.Request.By, in.Request.Signature = "olga", "by olga"
	s.run(RecoverLaggedData, in)
	s.outcome(runbook.Done)
	if len(w.amended) != 1 || w.amended[0].Exact != 6 || w.amended[0].Epoch != 2 || w.amended[0].Active != away || s.res.Report.Amends != "failover-0" {
		t.Errorf("amended %+v, report amends %q", w.amended, s.res.Report.Amends)
	}
	if !w.before("EngineUnlock", "AmendReport") {
		t.Error("paper held up the lock")
	}
}

func TestASourceThatDiesAgainDuringARecoveryIsWaitedForAndNothingIsDecidedTwice(t *testing.T) {
	w := failedOver()
	w.fail["AppendLedger"] = []error{no(ErrUnreachable, "the source of cluster link there does not answer")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			c := signed(st, "bob", runbook.Retry)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return nil
	}
	s.run(RecoverLaggedData, RecoverInput{Start: deciding(runbook.OpRecover, map[string]string{"*": "append"})})
	s.outcome(runbook.Done)
	s.clean()
	if w.count("AppendLedger") != 2 || w.ledger[0].Decision != runbook.LedgerAppended || w.held {
		t.Errorf("%v, held %t", w.calls, w.held)
	}
}

// Decisions stand beside the signed request in the input, where anybody can write them
// who may start a run.
func TestDecisionsOfTheInputThatNobodySignedAreRefused(t *testing.T) {
	all := map[string]string{"*": "discard"}
	away := map[string]string{"*": "delete"}
	unsigned := Start{Pair: "orders"}
	for name, c := range map[string]struct {
		world          func() *world
		workflow       any
		signed, nobody any
	}{
		"recover":  {owned, RecoverLaggedData, RecoverInput{deciding(runbook.OpRecover, map[string]string{"b": "append"}), false, all}, RecoverInput{unsigned, false, all}},
		"restore":  {changing, RestoreDR, RestoreInput{request(runbook.OpRestore), false, away}, RestoreInput{unsigned, false, away}},
		"failback": {changing, Failback, FailbackInput{request(runbook.OpFailback), false, away}, FailbackInput{unsigned, false, away}},
	} {
		for kind, in := range map[string]any{ErrCommandStale: c.signed, ErrNotAllowed: c.nobody} {
			t.Run(name+" "+kind, func(t *testing.T) {
				w := c.world()
				s := newStage(t, w)
				s.react = agree
				s.run(c.workflow, in)
				s.failed(kind)
				if w.count("EngineLock") > 0 {
					t.Errorf("it acted: %v", w.calls)
				}
			})
		}
	}
}
