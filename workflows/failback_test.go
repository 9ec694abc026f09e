package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// decided is a pair that failed over and whose lagged data is dealt with; the
// old primary stands fenced by the recovery.
func decided() *world {
	w := failedOver()
	w.ledger[0].Decision = runbook.LedgerAppended
	w.fences[home]["recover-0"], w.groups[home]["recover-0"] = true, true
	return w
}

func TestFailbackBringsEverybodyHomeAndMirrorsAgain(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	frozen := false
	w.hook = func(method string, c Call) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if method == "PromoteMirrors" {
			frozen = w.consul[away].Phase == record.Frozen && w.consul[home].Phase == record.Frozen && w.fences[away][c.OperationID]
		}
	}
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Done)
	s.clean()
	if !frozen {
		t.Error("mirrors were promoted while clients were not frozen and fenced")
	}
	for site, r := range w.consul {
		if r.Active[0] != home || r.Epoch != 3 || len(r.FenceDebt) != 0 {
			t.Errorf("record at %s: %+v", site, r)
		}
	}
	for topic, st := range w.mirrors["back"] {
		if st != "STOPPED" || w.mirrors["there"][topic] != "ACTIVE" {
			t.Errorf("%s: back %s, there %s", topic, st, w.mirrors["there"][topic])
		}
	}
	if len(w.fences[home])+len(w.fences[away])+len(w.groups[home])+len(w.groups[away]) != 0 || !w.guards[away] || !w.guards[home] {
		t.Errorf("fences %v, groups %v, guards %v: every fence must be a guard's now", w.fences, w.groups, w.guards)
	}
	for _, o := range [][2]string{
		{"ComputeLedger", "EngineLock"},
		{"ExportLedger", "DeleteTopics"},
		{"DeleteTopics", "EnsureMirrors"},
		{"AwaitMirrors", "FenceSite"},
		{"FenceSite", "EndTransactions"},
		{"EndTransactions", "AwaitGroupsEmpty"},
		{"AwaitGroupsEmpty", "AwaitDrained"},
		{"AwaitDrained", "SyncGroups"},
		{"SyncGroups", "PromoteMirrors"},
		{"PromoteMirrors", "OwnGroups"},
		{"LiftGroupFence", "FenceSite"},
		{"AwaitClientsMoved", "CompareLogEnds"},
		{"CompareLogEnds", "Rejoin"},
	} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s: %v", o[0], o[1], w.calls)
		}
	}
	if n := len(s.res.Report.Approvals); n != 2 {
		t.Errorf("%d approvals, want one before the rebuild and one before the move", n)
	}
	if s.res.Report.CopyRecords != 42 || w.ledger[0].Decision != runbook.LedgerAppended {
		t.Errorf("copied %d, decision %q", s.res.Report.CopyRecords, w.ledger[0].Decision)
	}
}

func TestFailbackSaysBeforehandHowMuchWillBeCopied(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	var texts []string
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil {
			texts = append(texts, st.Waiting.Text)
			return []runbook.Command{signed(st, "bob", runbook.Deny)}
		}
		return nil
	}
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.NoChange)
	if len(texts) == 0 || !strings.Contains(texts[0], "42 records") || !strings.Contains(texts[0], "4200 bytes") || !strings.Contains(texts[0], "delete 3 topics") {
		t.Errorf("asked: %q", texts)
	}
	if w.count("DeleteTopics")+w.count("EngineLock") > 0 {
		t.Error("something was done before the approval")
	}

	s = newStage(t, decided())
	s.id(DryID("orders", "x"))
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback), DryRun: true})
	s.outcome(runbook.Dry)
	if !strings.Contains(s.res.Report.Markdown(), "42 records") {
		t.Error("the dry run does not say what is copied")
	}
}

func TestFailbackRefusesNamingTheCommandThatHelps(t *testing.T) {
	debt := record.FenceDebt{Kind: record.DebtFence, Site: home, OpID: "failover-0", Since: time.Unix(3000, 0), Reason: "unreachable"}
	owing := failedOver(debt)
	owing.ledger[0].Decision = runbook.LedgerAppended
	silent := decided()
	silent.down[home+" engine"] = true
	for name, c := range map[string]struct {
		w    *world
		want string
	}{
		"undecided": {failedOver(), "drctl recover orders"},
		"debt":      {owing, "drctl recover orders --debts-only"},
		"at home":   {steady(), "at home already"},
		"no record": {newWorld(), "drctl setup orders"},
		"silent":    {silent, "engine east"},
	} {
		s := newStage(t, c.w)
		s.react = agree
		s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
		if ErrorType(s.err) != ErrPrecondition || !strings.Contains(s.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, s.err, c.want)
		}
		if c.w.count("EngineLock")+c.w.count("DeleteTopics") > 0 {
			t.Errorf("%s: %v", name, c.w.calls)
		}
	}
}

func TestAbortInTheFreezeCompensatesOnce(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	w.hook = func(method string, c Call) {
		if method == "AwaitDrained" {
			s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.Abort), done) })
		}
	}
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Partly) // the rebuild at home stays
	s.clean()
	s.stillAway(t)
	if r := s.res.Report; !strings.Contains(r.Error, "aborted by ann") || !strings.Contains(r.Undone, "not all undone") {
		t.Errorf("%q, %q", r.Error, r.Undone)
	}
}

// stillAway: clients work where they worked before, unfenced, and each undo ran
// once.
func (s *stage) stillAway(t *testing.T) {
	t.Helper()
	w := s.w
	r := w.consul[away]
	if r.Active[0] != away || r.Epoch != 2 || r.Phase != record.Open || len(w.fences[away]) != 0 || len(w.groups[away]) != 0 {
		t.Errorf("record %+v, fences %v, groups %v", r, w.fences[away], w.groups[away])
	}
	if w.count("LiftFence") != 1 || w.count("RevokeOperation") != 2 || !w.before("RevokeOperation", "LiftFence") {
		t.Errorf("undo: %v", w.calls)
	}
	thaws := 0
	for _, in := range w.writes {
		if in.Kind == WritePhase && in.Record.Phase == record.Open {
			thaws++
		}
	}
	if thaws != 1 {
		t.Errorf("thawed %d times", thaws)
	}
	for topic, st := range w.mirrors["back"] {
		if st != "ACTIVE" {
			t.Errorf("mirror %s at home is %s", topic, st)
		}
	}
}

func TestFreezeThatTakesTooLongIsUndone(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	w.plan.Limits.FreezeSeconds = 4 // the test's clock runs while a step does
	over := make(chan struct{})
	w.hook = func(method string, c Call) {
		if method == "AwaitDrained" {
			<-over // a drain that never ends: the expiry must not wait for it
		}
	}
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	close(over)
	s.outcome(runbook.Partly)
	s.clean()
	s.stillAway(t)
	if !strings.Contains(s.res.Report.Error, "freeze took longer") {
		t.Errorf("%q", s.res.Report.Error)
	}
}

func TestPlannedMoveNeedsAProvenFence(t *testing.T) {
	w := decided()
	w.deaf = true
	s := newStage(t, w)
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.failed(ErrHalted)
	s.clean()
	s.stillAway(t)
}

func TestPromoteThatEndsNoMirrorIsUndone(t *testing.T) {
	w := decided()
	w.fail["PromoteMirrors"] = []error{no(ErrRefused, "source unreachable")}
	s := newStage(t, w)
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.failed(ErrRefused)
	s.clean()
	s.stillAway(t)
}

func TestPromoteThatEndedSomeMirrorsOnlyGoesOn(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	half := false
	w.hook = func(method string, c Call) {
		if method == "PromoteMirrors" && !half {
			half = true
			w.mu.Lock()
			w.mirrors["back"]["a"] = "STOPPED"
			w.fail["AwaitStopped"] = []error{no(ErrRefused, "b does not stop")}
			w.mu.Unlock()
		}
	}
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Done)
	s.clean()
	if w.consul[home].Active[0] != home || w.count("LiftFence") != 0 {
		t.Errorf("the run must go on: %+v, %v", w.consul[home], w.calls)
	}
	var ids []string
	for i, c := range w.steps {
		if w.calls[i] == "PromoteMirrors" {
			ids = append(ids, c.OperationID)
		}
	}
	for i, c := range w.steps {
		if w.calls[i] == "Rejoin" && c.OperationID != ids[0]+".2" || w.calls[i] == "EngineUnlock" && c.OperationID != ids[0] {
			t.Errorf("%s as %s", w.calls[i], c.OperationID)
		}
	}
	if len(ids) != 2 || ids[1] != ids[0]+".2" {
		t.Errorf("promoted as %v: a revoked operation's calls are refused for good", ids)
	}
}

func TestClampedOffsetStopsThePlannedMove(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	w.synced = []runbook.GroupRisk{{Group: "g", Topic: "a", SourceOffset: 9, Wanted: 8, Clamped: true}}
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.failed(ErrHalted)
	s.clean()
	s.stillAway(t)
}

func TestFailedRebuildWaitsForAPersonAndDeletesNothingTwice(t *testing.T) {
	w := decided()
	w.fail["EnsureMirrors"] = []error{no(ErrRefused, "source refuses the credentials")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			c := signed(st, "eve", runbook.Retry)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return agree(st)
	}
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Done)
	if w.count("DeleteTopics") != 1 || w.count("EnsureMirrors") != 2 {
		t.Errorf("%v", w.calls)
	}
}

func TestArchiveCannotBeSkippedBeforeTopicsAreDeleted(t *testing.T) {
	w := decided()
	w.fail["ExportLedger"] = []error{no(ErrRefused, "no space")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			if slices.Contains(st.Waiting.Commands, runbook.Skip) {
				t.Error("the archive may be skipped")
			}
			return []runbook.Command{signed(st, "ann", runbook.Abort)}
		}
		return agree(st)
	}
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Partly)
	s.clean()
	if w.count("DeleteTopics") > 0 {
		t.Error("topics were deleted that were not archived")
	}
}
