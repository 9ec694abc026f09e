package workflows

import (
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The site's Consul stays away for long, and nothing lags any more: that is known from one count, until it is said of all that
// nothing is owed.
func TestWhatIsDecidedIsNotCountedAgainWhileSomethingElseIsOwed(t *testing.T) {
	w := decidedWhileElseIsOwed()
	s := newStage(t, w)
	st, err := s.debts(func(look int) {
		if look == 50 { // for longer than a count is good for
			w.mu.Lock()
			asked := len(w.ledgerAsked)
			w.mu.Unlock()
			if asked != 1 {
				t.Errorf("the engine was asked %d times in 50 looks", asked)
			}
			w.back()
		}
	})
	if n := len(w.ledgerAsked); err != nil || len(st.Owed) > 0 || n < 2 || w.ledgerAsked[n-1] {
		t.Errorf("%v, owed %v, asked %v", err, st.Owed, w.ledgerAsked)
	}
}

// decidedWhileElseIsOwed is a pair whose lagged records are decided, and whose lost site has not got the record yet.
func decidedWhileElseIsOwed() *world {
	w := failedOver(record.FenceDebt{Kind: record.DebtRecord, Site: home, OpID: "failover-0", Since: time.Unix(2000, 0), Reason: "no answer"})
	w.ledger = []runbook.LedgerLine{{Topic: "a", Decision: runbook.LedgerDiscarded}}
	w.down[home+" consul"] = true
	w.plan.Debts.EverySeconds = 60
	return w
}

// What was decided of one failover says nothing of the next.
func TestALaterFailoverIsCountedAnew(t *testing.T) {
	w := decidedWhileElseIsOwed()
	s := newStage(t, w)
	_, err := s.debts(func(look int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch look {
		case 5:
			r := *w.consul[away]
			r.Moves = append(r.Moves[:len(r.Moves):len(r.Moves)], record.Move{OpID: "failover-9", Operation: runbook.OpFailover, At: time.Unix(3000, 0)})
			w.consul[away] = &r
			w.ledger[0].Decision = runbook.LedgerUndecided
		case 8:
			if len(w.ledgerAsked) < 2 {
				t.Error("nobody asked about the later one")
			}
			w.ledger[0].Decision = runbook.LedgerDiscarded
			w.down = map[string]bool{}
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// A run that died left a hold, and no debt in the record: whichever run sees the note next has Debt see to it.
func TestARunThatFindsAHoldOfALostRunWakesDebt(t *testing.T) {
	for name, c := range map[string]struct {
		noted bool
		want  int
	}{"noted": {true, 1}, "nothing noted": {false, 0}} {
		w := forgotten()
		if !c.noted {
			w.held, w.noted = false, nil
		}
		w.fail["EngineLock"] = []error{no(ErrRefused, "it says no")}
		s := newStage(t, w)
		s.react = agree
		s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
		if s.err == nil || w.count("WakeDebt") != c.want {
			t.Errorf("%s: Debt was woken %d times, want %d: %v", name, w.count("WakeDebt"), c.want, s.err)
		}
	}
	// Who puts it back leaves nothing.
	w := forgotten()
	w.consul[home].FenceDebt, w.consul[away].FenceDebt = []record.FenceDebt{}, []record.FenceDebt{}
	s := newStage(t, w)
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true})
	s.outcome(runbook.Done)
	if w.held || w.count("WakeDebt") > 0 {
		t.Errorf("held %t, Debt was woken %d times", w.held, w.count("WakeDebt"))
	}
}

// Somebody lifts the fence of the site that was left: its clients may write there until it is fenced again, so that what was
// decided is not all.
func TestASiteThatWasOpenIsCountedAnew(t *testing.T) {
	w := decidedWhileElseIsOwed()
	s := newStage(t, w)
	_, err := s.debts(func(look int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch look {
		case 5:
			r := runbook.WithDebt(*w.consul[away], record.FenceDebt{Kind: record.DebtFence, Site: home, OpID: "unfence-1", Since: time.Unix(3000, 0), Level: runbook.LevelOverridden, Reason: "its fence was lifted by drctl unfence"}, runbook.By{OpID: "unfence-1"})
			w.consul[away] = &r
			w.ledger[0].Decision = runbook.LedgerUndecided
		case 12:
			if len(w.consul[away].Debts(record.DebtFence)) > 0 || len(w.ledgerAsked) < 2 {
				t.Errorf("debts %v; nobody asked about what was written meanwhile: %v", w.consul[away].FenceDebt, w.ledgerAsked)
			}
			w.ledger[0].Decision = runbook.LedgerDiscarded
			w.down = map[string]bool{}
		}
	})
	if err != nil {
		t.Error(err)
	}
}
