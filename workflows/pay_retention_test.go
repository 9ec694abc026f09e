package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// forgotten is a pair whose recovery is gone: retention is held at home, and written down, and nothing else is owed.
func forgotten() *world {
	w := failedOver()
	w.ledger = []runbook.LedgerLine{{Topic: "a", Decision: runbook.LedgerNothing}}
	w.plan.Debts.EverySeconds = 60
	w.held = true
	w.noted = []runbook.HeldRetention{{Site: home, OpID: "recover-7", Since: time.Unix(3000, 0), Topics: 1}}
	return w
}

func TestDebtPutsBackWhatALostRecoveryHeld(t *testing.T) {
	for name, c := range map[string]struct {
		before, then func(*world)
		says         string
	}{
		"its lock stands until somebody breaks it": {
			func(w *world) { w.locks[away] = "recover-7" }, func(w *world) { delete(w.locks, away) }, "recover-7, which holds it",
		},
		"the site is away": {
			func(w *world) { w.down[home+" kafka"] = true }, func(w *world) { w.down = map[string]bool{} }, "Kafka of east",
		},
		"what it keeps is not decided yet": {
			func(w *world) { w.ledger[0].Records, w.ledger[0].Decision = 3, runbook.LedgerUndecided },
			func(w *world) { w.ledger[0].Decision = runbook.LedgerDiscarded }, "decision",
		},
	} {
		w := forgotten()
		c.before(w)
		s := newStage(t, w)
		st, err := s.debts(func(look int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if look == 4 {
				if !w.held || slices.Contains(w.calls, "EngineLock") {
					t.Errorf("%s: it acted before it might: %v", name, w.calls)
				}
				c.then(w)
			}
		})
		if err != nil || w.held || len(w.noted) > 0 || len(st.Owed) > 0 {
			t.Errorf("%s: %v, held %t, noted %v, owes %v", name, err, w.held, w.noted, st.Owed)
		}
		if n := w.count("PutBackRetention"); n != 1 {
			t.Errorf("%s: put back %d times", name, n)
		}
		s.clean()
	}
}

// Debts are paid by hand while records that the hold keeps are undecided: it stays, and the report says so.
func TestAHoldStaysWhileWhatItKeepsIsUndecided(t *testing.T) {
	w := forgotten()
	w.consul[home].FenceDebt, w.consul[away].FenceDebt = []record.FenceDebt{}, []record.FenceDebt{}
	w.ledger[0].Records, w.ledger[0].Decision = 3, runbook.LedgerUndecided
	s := newStage(t, w)
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true})
	s.outcome(runbook.Done)
	if !w.held || len(w.noted) != 1 || w.count("PutBackRetention") != 0 {
		t.Errorf("held %t, noted %v", w.held, w.noted)
	}
	if !slices.ContainsFunc(s.res.Report.Findings, func(f string) bool {
		return strings.Contains(f, "stays held") && strings.Contains(f, "recover-7") && strings.Contains(f, "drctl recover orders takes it over")
	}) {
		t.Errorf("findings %q", s.res.Report.Findings)
	}
	s.clean()
}

// Somebody skips the put-back: the run wakes Debt, which finds it by what was written down.
func TestASkippedPutBackIsLeftToDebt(t *testing.T) {
	for decision, want := range map[string]int{runbook.Skip: 1, runbook.Retry: 0} {
		w := failedOver()
		w.plan.Debts.EverySeconds = 60
		w.fail["PutBackRetention"] = []error{no(ErrRefused, "ALTER_CONFIGS is denied")}
		s := newStage(t, w)
		s.react = func(st Status) []runbook.Command {
			if st.Waiting == nil || st.Waiting.For != WaitPerson {
				return nil
			}
			c := signed(st, "bob", decision)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		s.run(RecoverLaggedData, RecoverInput{Start: deciding(runbook.OpRecover, map[string]string{"*": runbook.ChooseDiscard})})
		if s.err != nil || w.count("WakeDebt") != want {
			t.Errorf("%s: %v, Debt was woken %d times, want %d", decision, s.err, w.count("WakeDebt"), want)
		}
	}
}
