package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func (w *world) WakeDebt(_ context.Context, in WakeDebtInput) (WakeDebtResult, error) {
	return WakeDebtResult{Workflow: DebtID(in.Call.Pair)}, w.enter("WakeDebt", in.Call)
}

// indebted is a pair that failed over without a proven fence and without the lost
// site's Consul; that site is still away, and its lagged records are decided.
func indebted() *world {
	w := failedOver(
		record.FenceDebt{Kind: record.DebtFence, Site: home, OpID: "failover-0", Since: time.Unix(2000, 0), Level: "unreachable", Reason: "no answer"},
		record.FenceDebt{Kind: record.DebtRecord, Site: home, OpID: "failover-0", Since: time.Unix(2000, 0), Reason: "no answer"},
	)
	before := *steady().consul[home]
	w.consul[home] = &before
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.down[home+" "+part] = true
	}
	w.ledger = []runbook.LedgerLine{{Topic: "a", Decision: runbook.LedgerNothing}}
	w.plan.Debts.EverySeconds = 60
	return w
}

func (w *world) back() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = map[string]bool{}
}

// debts runs Debt until it ends; each looks at the world before each of its looks.
func (s *stage) debts(each func(look int)) (DebtStatus, error) {
	s.t.Helper()
	look := 0
	old := s.w.hook
	s.w.hook = func(method string, c Call) {
		if old != nil {
			old(method, c)
		}
		if method == "LoadPlan" && c.Operation == runbook.OpDebt {
			if look++; each != nil {
				each(look)
			}
		}
	}
	s.id(DebtID("orders"))
	s.env.ExecuteWorkflow(Debt, DebtInput{Pair: "orders"})
	if !s.env.IsWorkflowCompleted() {
		s.t.Fatal("it did not end")
	}
	var st DebtStatus
	err := s.env.GetWorkflowError()
	if err == nil {
		if err := s.env.GetWorkflowResult(&st); err != nil {
			s.t.Fatal(err)
		}
	}
	return st, err
}

// paid checks that nothing is owed, and that what was paid is really there.
func (s *stage) paid(st DebtStatus, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	for site, r := range s.w.consul {
		if len(r.FenceDebt) > 0 || r.Active[0] != away {
			s.t.Errorf("the record at %s: active %v, debts %v", site, r.Active, r.FenceDebt)
		}
	}
	if !anyTrue(s.w.fences[home]) || len(st.Owed) > 0 {
		s.t.Errorf("fences %v, owed %v", s.w.fences, st.Owed)
	}
	s.clean()
}

func TestDebtPaysWhenTheLostSiteIsBack(t *testing.T) {
	w := indebted()
	s := newStage(t, w)
	s.paid(s.debts(func(look int) {
		if acted := w.count("EngineLock") + w.count("FenceSite") + w.count("WriteRecord"); look <= 5 && acted > 0 {
			t.Errorf("it acted before look %d: %v", look, w.calls)
		}
		if look == 5 {
			w.back()
		}
	}))
	if w.report.Requester != runbook.Duty || w.report.Operation != runbook.OpRecover || len(w.report.Approvals) > 0 || len(w.report.DebtsPaid) != 2 {
		t.Errorf("paid by %s of %s, approvals %v, debts paid %v", w.report.Operation, w.report.Requester, w.report.Approvals, w.report.DebtsPaid)
	}
	if n := w.count("EngineLock"); n != 1 {
		t.Errorf("the pair was locked %d times", n)
	}
}

// The site's Consul is back before its Kafka: the record need not wait for the fence.
func TestARecordIsPaidThoughItsFenceCannotBe(t *testing.T) {
	w := indebted()
	delete(w.down, home+" consul")
	s := newStage(t, w)
	s.paid(s.debts(func(look int) {
		if look == 4 {
			if d := w.consul[home].FenceDebt; len(d) != 1 || d[0].Kind != record.DebtFence {
				t.Errorf("the record at the returned Consul has the debts %v", d)
			}
			w.back()
		}
	}))
}

func TestDebtWaitsWhileThePairIsBusyOrHeld(t *testing.T) {
	for name, c := range map[string]struct {
		busy, free func(*world)
		says       string
	}{
		"busy": {
			func(w *world) { w.locks[away] = "failback-9" }, func(w *world) { delete(w.locks, away) }, "held by failback failback-9",
		},
		"held": {
			func(w *world) { w.put(away, "zoe") }, func(w *world) { w.put(away, "zoe"); h := w.kill[away]; h.Held, h.Seq = false, 2; w.kill[away] = h }, "held by zoe",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := indebted()
			w.back()
			c.busy(w)
			s := newStage(t, w)
			said := ""
			s.paid(s.debts(func(look int) {
				if look == 6 {
					if v, err := s.env.QueryWorkflow(QueryDebts); err == nil {
						var st DebtStatus
						_ = v.Get(&st)
						said = st.Waits
					}
					if w.count("EngineLock")+w.count("FenceSite") > 0 {
						t.Errorf("it acted beside another: %v", w.calls)
					}
					c.free(w)
				}
			}))
			told(t, said, c.says)
		})
	}
}

// A site that comes and goes: each try gives the pair back, and the tries get rarer.
func TestASiteThatFlapsIsTriedLessAndLessOften(t *testing.T) {
	w := indebted()
	w.back()
	for range 4 {
		w.fail["FenceSite"] = append(w.fail["FenceSite"], no(ErrRefused, "gone again"))
	}
	s := newStage(t, w)
	var tries []int
	s.paid(s.debts(func(look int) {
		if n := w.count("FenceSite"); n > len(tries) {
			tries = append(tries, look)
		}
		if r := w.consul[away]; r.Lock != nil || len(w.locks) > 0 {
			t.Errorf("look %d: the pair is left locked: %v %v", look, r.Lock, w.locks)
		}
	}))
	if len(tries) < 4 {
		t.Fatalf("tried after the looks %v", tries)
	}
	for i := 2; i < len(tries); i++ {
		if tries[i]-tries[i-1] <= tries[i-1]-tries[i-2] {
			t.Errorf("tried after the looks %v: it does not get rarer", tries)
		}
	}
}

// What only people decide keeps Debt awake, and makes it act on nothing.
func TestUndecidedLaggedDataIsOwedUntilPeopleDecide(t *testing.T) {
	w := failedOver()
	w.plan.Debts.EverySeconds = 60
	s := newStage(t, w)
	var owed []runbook.Owed
	st, err := s.debts(func(look int) {
		if look == 4 {
			if v, err := s.env.QueryWorkflow(QueryDebts); err == nil {
				var st DebtStatus
				_ = v.Get(&st)
				owed = st.Owed
			}
			w.mu.Lock()
			w.ledger[0].Decision = runbook.LedgerExported
			w.mu.Unlock()
		}
	})
	if err != nil || len(st.Owed) > 0 || w.count("EngineLock") > 0 {
		t.Errorf("%v, owed %v, calls %v", err, st.Owed, w.calls)
	}
	if len(owed) != 1 || owed[0].Kind != runbook.DebtLagged || !owed[0].People || owed[0].Pays != "drctl recover orders" || !strings.Contains(owed[0].Reason, "a are undecided") {
		t.Errorf("owed %+v", owed)
	}
}

func TestDebtLivesForWeeksInShortRunsAndRemindsPeople(t *testing.T) {
	w := indebted()
	w.plan.Debts.EverySeconds = 3600
	s := newStage(t, w)
	_, err := s.debts(nil)
	var again *workflow.ContinueAsNewError
	if !errors.As(err, &again) {
		t.Fatalf("%v", err)
	}
	told := 0
	for _, n := range w.notes {
		if n.Kind == NotifyDebt && strings.Contains(n.Title, "3 debts are open") && strings.Contains(n.Text, "drctl recover orders --debts-only") {
			told++
		}
	}
	if looks := w.count("AttestOutage"); looks != debtLooks || told != 5 { // a hundred hours
		t.Errorf("%d looks, people were told %d times", looks, told)
	}
}

func TestRunsThatLeaveDebtsWakeDebt(t *testing.T) {
	for _, every := range []int64{60, -1} {
		w := lost()
		w.plan.Debts.EverySeconds = every
		s := newStage(t, w)
		s.react = agree
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
		s.outcome(runbook.Partly)
		if got := w.count("WakeDebt"); got != map[int64]int{60: 1, -1: 0}[every] {
			t.Errorf("every %d s: woken %d times", every, got)
		}
	}
	w := lost()
	w.plan.Debts.EverySeconds = 60
	w.fail["WakeDebt"] = []error{no(ErrRefused, "no"), no(ErrRefused, "no"), no(ErrRefused, "no")}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	told(t, strings.Join(s.res.Report.Findings, ";"), "drctl debts orders --start")

	w = calm()
	w.plan.Debts.EverySeconds = 60
	s = newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	if w.count("WakeDebt") > 0 {
		t.Error("a run that owes nothing woke Debt")
	}
}

// What anybody types into the Temporal UI is not Debt's word.
func TestOnlyDebtPaysWithoutTheApprovalOfAnUnsignedRun(t *testing.T) {
	w := indebted()
	w.back()
	s := newStage(t, w)
	s.run(RecoverLaggedData, RecoverInput{Start: Start{Pair: "orders"}, DebtsOnly: true})
	s.outcome(runbook.NoChange) // nobody approved
	if s.res.Report.Requester != runbook.Unsigned || !slices.Contains(s.seen, PhaseApproval) {
		t.Errorf("requester %s, phases %v", s.res.Report.Requester, s.seen)
	}
}

func TestDebtRefusesAnotherId(t *testing.T) {
	s := newStage(t, steady())
	s.id("my-debts")
	s.env.ExecuteWorkflow(Debt, DebtInput{Pair: "orders"})
	if err := s.env.GetWorkflowError(); ErrorType(err) != ErrWrongID {
		t.Errorf("%v", err)
	}
}

// A debt that no run can pay is not tried at every look: each try is a run with a
// report, of which people are told.
func TestADebtToASiteThatThePlanNoLongerHasIsTriedLessAndLessOften(t *testing.T) {
	w := failedOver(record.FenceDebt{Kind: record.DebtRecord, Site: "north", OpID: "failover-0", Since: time.Unix(2000, 0), Reason: "no answer"})
	w.ledger = []runbook.LedgerLine{{Topic: "a", Decision: runbook.LedgerNothing}}
	w.plan.Debts.EverySeconds = 60
	s := newStage(t, w)
	st, err := s.debts(func(look int) {
		if look == 50 {
			s.env.CancelWorkflow()
		}
	})
	if n := w.count("EngineLock"); n < 2 || n > 8 {
		t.Errorf("%d tries in 50 minutes: %v, %+v", n, err, st)
	}
}

func TestDebtLooksAgainWhenItIsWokenByTheTimeItFindsNothing(t *testing.T) {
	w := failedOver()
	w.ledger = []runbook.LedgerLine{{Topic: "a", Decision: runbook.LedgerNothing}}
	s := newStage(t, w)
	looks := 0
	old := w.hook
	w.hook = func(method string, c Call) {
		if old != nil {
			old(method, c)
		}
		if method == "AttestOutage" && looks == 1 { // the record is read by now
			s.env.SignalWorkflow(SignalWake, nil)
		}
	}
	if _, err := s.debts(func(look int) { looks = look }); err != nil || looks != 2 {
		t.Errorf("%d looks, %v", looks, err)
	}
}

func TestDebtLooksAgainWhenItIsWokenWhileItTellsThatNothingIsOwed(t *testing.T) {
	w := indebted()
	w.plan.Notify = runbook.Notify{PagerDuty: &runbook.PagerDuty{RoutingKey: "${file:/x}"}}
	s := newStage(t, w)
	over, woken, after := 0, false, 0
	w.hook = func(method string, c Call) {
		switch {
		case method == "Notify" && c.Step == "notify "+NotifyDebtPaid:
			over++
			if !woken {
				woken = true
				s.env.SignalWorkflow(SignalWake, nil)
			}
		case method == "ReadRecord" && woken && c.Operation == runbook.OpDebt:
			after++
		}
	}
	s.paid(s.debts(func(look int) {
		if look == 5 {
			w.back()
		}
	}))
	if over != 1 || after != 1 {
		t.Errorf("told the end %d times, looked %d times behind it", over, after)
	}
}

// Where nobody reads Slack the reminder pages, and what was paged has an end.
func TestOldDebtsArePagedWhereThereIsNoSlackAndTheirEndIsTold(t *testing.T) {
	w := indebted()
	w.plan.Notify = runbook.Notify{PagerDuty: &runbook.PagerDuty{RoutingKey: "${file:/x}"}}
	s := newStage(t, w)
	s.paid(s.debts(func(look int) {
		if look == 5 {
			w.back()
		}
	}))
	var kinds []string
	for _, n := range w.notes {
		if n.Kind == NotifyDebt || n.Kind == NotifyDebtPaid {
			kinds = append(kinds, fmt.Sprintf("%s %t", n.Kind, n.Page))
		}
	}
	if !slices.Equal(kinds, []string{"debt true", "debt paid false"}) {
		t.Errorf("told %v", kinds)
	}
}

// To count lagged records is to read them all, from a site that has only just come back.
func TestLaggedRecordsAreNotCountedAtEveryLookAndAreBeforeNothingIsOwed(t *testing.T) {
	w := failedOver()
	w.plan.Debts.EverySeconds = 60
	s := newStage(t, w)
	st, err := s.debts(func(look int) {
		if look == 50 {
			w.mu.Lock()
			w.ledger[0].Decision = runbook.LedgerExported
			w.mu.Unlock()
		}
	})
	looks, counts := len(w.ledgerAsked), 0
	for _, stored := range w.ledgerAsked {
		if !stored {
			counts++
		}
	}
	if err != nil || len(st.Owed) > 0 || looks < 50 || counts != 3 || w.ledgerAsked[looks-1] {
		t.Errorf("%d looks, %d counts, %v, owed %v", looks, counts, err, st.Owed)
	}
}
