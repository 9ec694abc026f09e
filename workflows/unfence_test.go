package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const gone = "failover-gone"

// terminated is a failover that was killed behind its fence: entries, locks and
// a token are left. The record's lock stands at the survivor only.
func terminated() *world {
	w := steady()
	abandon(w)
	return w
}

func abandon(w *world) {
	w.fences[home][gone], w.groups[home][gone] = true, true
	w.leftToken("there", gone, 2)
	locked := runbook.Locked(*w.consul[away], record.Moving, runbook.By{OpID: gone, Operation: runbook.OpFailover, Person: "ann", Now: time.Unix(2000, 0)})
	w.consul[away] = &locked
}

func unfencing(overrides ...string) UnfenceInput {
	return unfencingAt([]string{gone + ".groups", gone}, []string{home}, overrides...)
}

func unfencingAt(operations, sites []string, overrides ...string) UnfenceInput {
	in := UnfenceInput{Start: request(runbook.OpUnfence, overrides...), Operations: operations, Sites: sites}
	in.Request.Choices = UnfenceChoices(operations, sites)
	return in
}

// untouched: the refusal has changed nothing.
func (s *stage) untouched(errType string, texts ...string) {
	s.t.Helper()
	s.failed(errType)
	for _, text := range texts {
		if !strings.Contains(s.err.Error(), text) {
			s.t.Errorf("the refusal does not say %q: %v", text, s.err)
		}
	}
	if n := s.w.count("LiftFence") + s.w.count("EngineLock") + s.w.count("RevokeOperation") + len(s.w.writes); n > 0 {
		s.t.Errorf("a refused run acted: %v", s.w.calls)
	}
}

func TestUnfenceTakesAllThatALostRunLeft(t *testing.T) {
	w := terminated()
	s := newStage(t, w)
	asked := ""
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			asked = st.Waiting.Text
		}
		return agree(st)
	}
	s.run(Unfence, unfencing(runbook.OverrideLock))
	s.outcome(runbook.Done)
	s.clean()
	if len(w.fences[home])+len(w.groups[home]) > 0 || w.tokens["there"] != "revoked" {
		t.Errorf("left: fences %v, groups %v, tokens %v", w.fences, w.groups, w.tokens)
	}
	for _, c := range w.steps {
		if strings.HasPrefix(c.Step, "revoke ") && c.OperationID != gone {
			t.Errorf("revoked %q, not the lost operation", c.OperationID)
		}
	}
	for _, o := range [][2]string{{"EngineLock", "RevokeOperation"}, {"RevokeOperation", "LiftFence"}, {"LiftFence", "ProveWritable"}, {"ProveWritable", "ProduceConsumeCanary"}} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s: %v", o[0], o[1], w.calls)
		}
	}
	if !strings.Contains(asked, gone+" at engine west") || !strings.Contains(asked, "east is the active site") {
		t.Errorf("approvers read %q", asked)
	}
	if w.consul[home].Epoch != 1 || len(w.consul[home].FenceDebt) > 0 {
		t.Errorf("record %+v", w.consul[home])
	}
	if s.res.Report.Approvals[0].By != "bob" || len(s.res.Report.Overrides) != 1 {
		t.Errorf("report: %+v", s.res.Report.Approvals)
	}
}

func TestUnfenceLeavesOtherOperationsFencesAlone(t *testing.T) {
	w := terminated()
	w.deaf = true // the canary is let through although the other fence stands
	w.fences[home]["failback-7"] = true
	s := newStage(t, w)
	s.react = agree
	s.run(Unfence, unfencing(runbook.OverrideLock))
	s.outcome(runbook.Done)
	if !w.fences[home]["failback-7"] || w.fences[home][gone] {
		t.Errorf("fences %v", w.fences)
	}
}

func TestUnfenceNeedsAnApprovalWhateverThePlanSays(t *testing.T) {
	for name, edit := range map[string]func(*world){
		"rule":                  func(*world) {},
		"plan without the rule": func(w *world) { delete(w.plan.Approvals, runbook.OpUnfence) },
		"plan without any":      func(w *world) { w.plan.Approvals = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := terminated()
			edit(w)
			s := newStage(t, w).run(Unfence, unfencing(runbook.OverrideLock))
			s.outcome(runbook.NoChange)
			if w.count("LiftFence")+w.count("EngineLock") > 0 || !strings.Contains(s.res.Report.Error, "deadline") {
				t.Errorf("%q after %v", s.res.Report.Error, w.calls)
			}
		})
	}
}

func TestUnfenceRefusesAnOperationThatStillHoldsThePair(t *testing.T) {
	// Named, but nobody says that it is gone.
	newStage(t, terminated()).run(Unfence, unfencing()).untouched(ErrPairBusy, gone+" at engine west", "in the record at west", runbook.OverrideLock)
	// Another operation is at work: no override helps.
	w := terminated()
	w.locks[away] = "failover-2"
	newStage(t, w).run(Unfence, unfencing(runbook.OverrideLock)).untouched(ErrPairBusy, "failover-2")
	w = terminated()
	locked := runbook.Locked(*w.consul[home], record.Moving, runbook.By{OpID: "setup-9", Operation: runbook.OpSetUp, Person: "ann", Now: time.Unix(2000, 0)})
	w.consul[home] = &locked
	newStage(t, w).run(Unfence, unfencing(runbook.OverrideLock)).untouched(ErrPairBusy, "setup-9", "record of truth at east")
}

func TestUnfenceRefusesWhatWasNotSignedOrNamed(t *testing.T) {
	in := unfencing(runbook.OverrideLock)
	in.Sites = []string{home, away}
	newStage(t, terminated()).run(Unfence, in).untouched(ErrCommandStale, "is not signed for "+gone)
	in = unfencing(runbook.OverrideLock)
	in.Operations = append(in.Operations, "failback-7")
	newStage(t, terminated()).run(Unfence, in).untouched(ErrCommandStale, "is not signed for")
	newStage(t, terminated()).run(Unfence, unfencingAt(nil, []string{home})).untouched(ErrPrecondition, "drctl unfence orders --list")
	newStage(t, terminated()).run(Unfence, unfencingAt([]string{gone}, []string{"north"})).untouched(ErrPrecondition, "north")
	w := terminated()
	w.down[away+" engine"] = true
	newStage(t, w).run(Unfence, unfencing(runbook.OverrideLock)).untouched(ErrPrecondition, "engine west does not answer")
}

// moved is terminated behind its flip: the fence stands on the old primary.
func moved(d ...record.FenceDebt) *world {
	w := failedOver(d...)
	w.fences[home][gone] = true
	return w
}

func TestUnfenceRefusesAnOldPrimaryWhileAnythingIsOpen(t *testing.T) {
	newStage(t, moved()).run(Unfence, unfencing()).untouched(ErrPrecondition, "undecided records of a", "drctl recover orders", runbook.OverrideWriters)
	w := moved(debts()[1])
	w.ledger = nil
	newStage(t, w).run(Unfence, unfencing()).untouched(ErrPrecondition, "a record is owed to it", "--debts-only")
	w = moved()
	w.fail["ComputeLedger"] = []error{no(ErrRefused, "no such ledger")}
	newStage(t, w).run(Unfence, unfencing()).untouched(ErrPrecondition, "no such ledger")
	w = moved()
	w.ledger = nil
	w.fail["MeasureRisk"] = []error{no(ErrRefused, "no such link")}
	newStage(t, w).run(Unfence, unfencing()).untouched(ErrPrecondition, "whether link there still mirrors east is not known: no such link")
}

func TestUnfenceByOverrideLeavesAFenceDebt(t *testing.T) {
	w := moved()
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitApproval {
			return nil
		}
		return []runbook.Command{signed(st, "eve", runbook.Approve), signed(st, "bob", runbook.Approve, runbook.OverrideWriters)}
	}
	s.run(Unfence, unfencing(runbook.OverrideWriters))
	s.outcome(runbook.Partly)
	s.clean()
	s.refused(ErrNotAllowed, 1) // eve did not name the override
	for site, r := range w.consul {
		if d := r.Debts(record.DebtFence); len(d) != 1 || d[0].Site != home || d[0].OpID != s.res.OpID {
			t.Errorf("record at %s: debts %v", site, d)
		}
	}
	if w.fences[home][gone] || w.count("ProduceConsumeCanary") > 0 {
		t.Errorf("fences %v; a record is written at the active site only: %v", w.fences, w.calls)
	}
	// The debt does what it is for.
	newStage(t, w).run(Failback, FailbackInput{Start: request(runbook.OpFailback)}).failed(ErrPrecondition)
}

// However it is asked for: nobody but the fence keeps clients out of a site that was left, until its mirrors have guards.
func TestUnfenceOfASiteThatWasLeftNeedsTheOverrideThoughNothingIsOwed(t *testing.T) {
	w := moved()
	w.ledger = nil
	newStage(t, w).run(Unfence, unfencing()).untouched(ErrPrecondition, "east is not active", "drctl restore orders", runbook.OverrideWriters)
}

func TestUnfenceOfAGuardedStandbyOwesNothing(t *testing.T) {
	w := steady()
	w.fences[away][gone] = true
	s := newStage(t, w)
	s.react = agree
	s.run(Unfence, unfencingAt([]string{gone}, []string{away}))
	s.outcome(runbook.Done)
	if w.fences[away][gone] || len(w.consul[home].FenceDebt) > 0 || w.count("ProveWritable") > 0 {
		t.Errorf("fences %v, debts %v, calls %v", w.fences, w.consul[home].FenceDebt, w.calls)
	}
}

func TestUnfenceOfAnActiveSiteThatNobodyMirrorsAnyMoreIsRefused(t *testing.T) {
	w := terminated()
	w.mirrors["there"]["a"] = "STOPPED"
	newStage(t, w).run(Unfence, unfencing(runbook.OverrideLock)).untouched(ErrPrecondition, "past its point of no return", "drctl failover orders", runbook.OverrideWriters)

	// One that stops only while people decide is found by the revoking.
	w = terminated()
	w.hook = func(method string, _ Call) {
		if method == "EngineLock" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.mirrors["there"]["a"] = "STOPPED"
		}
	}
	s := newStage(t, w)
	s.react = agree
	s.run(Unfence, unfencing(runbook.OverrideLock))
	s.failed(ErrHalted)
	if w.count("LiftFence") > 0 || !w.fences[home][gone] {
		t.Errorf("the fence was lifted: %v", w.calls)
	}
	s.clean()
}

// A worker that dies behind the lift leaves no register to find: the run must not say that nothing was lifted, and must prove
// that the site takes writes.
func TestAnUnfenceWhoseLiftWasNotAnsweredProvesTheSiteAllTheSame(t *testing.T) {
	w := terminated()
	w.after["LiftFence"] = 1
	s := newStage(t, w)
	s.react = agree
	s.run(Unfence, unfencing(runbook.OverrideLock))
	s.outcome(runbook.Done)
	s.clean()
	if w.count("LiftFence") < 2 || w.count("ProveWritable") == 0 {
		t.Errorf("%v", w.calls)
	}
	for _, f := range s.res.Report.Findings {
		if strings.Contains(f, "nothing was lifted") {
			t.Errorf("it says %q", f)
		}
	}
}

func TestUnfenceWaitsForAPersonWhenALiftFails(t *testing.T) {
	w := terminated()
	w.fail["LiftFence"] = []error{no(ErrRefused, "no right to delete entries")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			if !strings.HasSuffix(st.Waiting.Text, ": no right to delete entries") {
				t.Errorf("asks %q", st.Waiting.Text)
			}
			c := signed(st, "bob", runbook.Retry)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return agree(st)
	}
	s.run(Unfence, unfencing(runbook.OverrideLock))
	s.outcome(runbook.Done)
	s.clean()
	if w.fences[home][gone] {
		t.Error("the fence still stands")
	}
}
