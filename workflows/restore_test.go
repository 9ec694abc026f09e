package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func canary() string { return runbook.CanaryTopic("orders") }

func TestRestoreMakesAStandbyOfTheSiteThatCameBack(t *testing.T) {
	w := decided()
	w.same = map[string]bool{"b": true, canary(): true}
	s := newStage(t, w)
	var asked *Waiting
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && asked == nil {
			asked = st.Waiting
		}
		return agree(st)
	}
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
	s.outcome(runbook.Done)
	s.clean()
	if !slices.Equal(asked.Overrides, []string{runbook.OverrideRebuild}) || !strings.Contains(asked.Text, "delete 1 topics at east and mirror them from west: a") {
		t.Errorf("asked %q, overrides %v", asked.Text, asked.Overrides)
	}
	if !slices.Equal(w.deleted, []string{"a"}) {
		t.Errorf("deleted %v", w.deleted)
	}
	for topic := range map[string]bool{"a": true, "b": true, canary(): true} {
		if w.mirrors["back"][topic] != "ACTIVE" {
			t.Errorf("mirror %s at east is %q", topic, w.mirrors["back"][topic])
		}
	}
	for site, r := range w.consul {
		if r.Active[0] != away || r.Epoch != 2 {
			t.Errorf("record at %s: %+v", site, r)
		}
	}
	if len(w.fences[home])+len(w.groups[home]) != 0 || !w.guards[home] {
		t.Errorf("fences %v, groups %v, guards %v", w.fences, w.groups, w.guards)
	}
	if w.count("PromoteMirrors")+w.count("FenceSite") > 0 {
		t.Error("clients were stopped")
	}
	for _, o := range [][2]string{{"ComputeLedger", "SurveyTopics"}, {"ExportLedger", "DeleteTopics"}, {"DeleteTopics", "Rejoin"}, {"Rejoin", "OwnGroups"}, {"HandOverFence", "LiftGroupFence"}, {"AwaitMirrors", "EngineUnlock"}, {"EngineUnlock", "InspectLink"}} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s: %v", o[0], o[1], w.calls)
		}
	}
	rep := s.res.Report
	if rep.Readiness == nil || rep.CopyRecords != 42 || rep.AwayPlan == nil || len(rep.Away) != 3 {
		t.Errorf("report: readiness %v, copied %d, plan %+v", rep.Readiness, rep.CopyRecords, rep.AwayPlan)
	}
	if !slices.ContainsFunc(rep.Findings, func(f string) bool { return strings.Contains(f, "home: west") }) {
		t.Errorf("findings %q: nobody is told how the plan is to be changed", rep.Findings)
	}
	for _, part := range []string{"home: west", "## Topics while a site was away", "rejoin: b", "Readiness"} {
		if !strings.Contains(rep.Markdown(), part) {
			t.Errorf("the report does not say %q:\n%s", part, rep.Markdown())
		}
	}

	// Once more: nothing is left to do, and nothing is deleted.
	s = newStage(t, w)
	s.react = agree
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
	s.outcome(runbook.Done)
	if len(w.deleted) != 1 || w.count("EnsureMirrors") != 1 {
		t.Errorf("a second restore did something: %v", w.calls)
	}
}

func TestRestoreWithoutDivergenceDeletesNothingAndAsksForNoConsent(t *testing.T) {
	w := decided()
	w.same = map[string]bool{"a": true, "b": true, canary(): true}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && len(st.Waiting.Overrides) > 0 {
			t.Errorf("asks for %v", st.Waiting.Overrides)
		}
		return agree(st)
	}
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
	s.outcome(runbook.Done)
	if w.count("DeleteTopics")+w.count("MeasureCopy")+w.count("EnsureMirrors") > 0 || w.count("Rejoin") != 1 {
		t.Errorf("%v", w.calls)
	}
}

func TestRestoreWithoutConsentDeletesNothing(t *testing.T) {
	w := decided()
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{signed(st, "bob", runbook.Approve)} // without the override
	}
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
	s.outcome(runbook.NoChange) // the deadline passes
	if w.count("DeleteTopics")+w.count("EngineLock") > 0 || len(s.nays) == 0 {
		t.Errorf("%v, refused %v", w.calls, s.nays)
	}
}

func TestRestoreRefusesNamingTheCommandThatHelps(t *testing.T) {
	owing := failedOver(record.FenceDebt{Kind: record.DebtFence, Site: home, OpID: "failover-0", Since: time.Unix(3000, 0)})
	owing.ledger[0].Decision = runbook.LedgerAppended
	silent := decided()
	silent.down[home+" engine"] = true
	for name, c := range map[string]struct {
		w    *world
		want string
	}{
		"undecided": {failedOver(), "drctl recover orders"},
		"debt":      {owing, "drctl recover orders --debts-only"},
		"no record": {newWorld(), "drctl setup orders"},
		"silent":    {silent, "engine east"},
	} {
		s := newStage(t, c.w)
		s.react = agree
		s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
		if ErrorType(s.err) != ErrPrecondition || !strings.Contains(s.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, s.err, c.want)
		}
		if c.w.count("EngineLock")+c.w.count("DeleteTopics") > 0 {
			t.Errorf("%s: %v", name, c.w.calls)
		}
	}
}

// changing is decided with topics that changed while east was away.
func changing() *world {
	w := decided()
	w.same = map[string]bool{"a": true, "b": true, canary(): true}
	w.altered = map[string]func(*runbook.AwayTopic){
		"a":    func(a *runbook.AwayTopic) { a.Active = 3 },
		"b":    func(a *runbook.AwayTopic) { a.Remade = true },
		"new":  func(a *runbook.AwayTopic) { a.Active = 1 },
		"gone": func(a *runbook.AwayTopic) { a.Standby, a.Ended = 1, true },
		"only": func(a *runbook.AwayTopic) { a.Standby = 1 },
	}
	return w
}

func TestTopicsThatChangedWhileAwayAreEachDecided(t *testing.T) {
	w := changing()
	s := newStage(t, w)
	sent := false
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitDecide {
			return agree(st)
		}
		choose := func(choices map[string]string) runbook.Command {
			c := signed(st, "bob", runbook.Decide)
			c.Choices = choices
			return c
		}
		if sent {
			return []runbook.Command{choose(map[string]string{"a": "mirror"}), choose(map[string]string{"*": "mirror"})}
		}
		sent = true
		if !slices.Equal(st.Waiting.Topics, []string{"a", "b", "gone", "new"}) {
			t.Errorf("asks about %v", st.Waiting.Topics)
		}
		stale := choose(map[string]string{"a": "mirror"})
		stale.Epoch++
		late := choose(map[string]string{"a": "mirror"})
		late.Expires = st.Started
		return []runbook.Command{
			choose(map[string]string{"new": "delete"}),  // does not fit
			choose(map[string]string{"only": "delete"}), // the only copy
			choose(map[string]string{"typo": "mirror"}),
			stale, late,
			choose(map[string]string{"a": "leave", "b": "mirror", "gone": "delete"}),
		}
	}
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
	s.outcome(runbook.Done)
	s.refused(ErrNotAllowed, 4) // the last: a was decided already
	s.refused(ErrCommandStale, 1)
	s.refused(ErrCommandLate, 1)
	p := s.res.Report.AwayPlan
	if !slices.Equal(p.Rebuild, []string{"b"}) || !slices.Equal(p.Create, []string{"new"}) || !slices.Equal(p.Delete, []string{"gone"}) || !slices.Equal(p.Leave, []string{"a", "only"}) {
		t.Errorf("plan %+v", p)
	}
	if !slices.Equal(w.deleted, []string{"b", "gone"}) || w.mirrors["back"]["new"] != "ACTIVE" || w.mirrors["back"]["a"] != "" {
		t.Errorf("deleted %v, mirrors %v", w.deleted, w.mirrors["back"])
	}
	if by := s.res.Report.AwayBy; by["gone"] != "bob" {
		t.Errorf("decided by %v", by)
	}
}

func TestADryRunListsWhatChangedAndWhatIsDecided(t *testing.T) {
	for name, c := range map[string]struct {
		workflow any
		input    any
		op       string
	}{
		"restore":  {RestoreDR, RestoreInput{Start: request(runbook.OpRestore), DryRun: true, Decisions: map[string]string{"gone": "leave"}}, runbook.OpRestore},
		"failback": {Failback, FailbackInput{Start: request(runbook.OpFailback), DryRun: true, Decisions: map[string]string{"gone": "leave", "b": "mirror"}}, runbook.OpFailback},
	} {
		w := changing()
		s := newStage(t, w)
		s.id(DryID("orders", "x"))
		s.run(c.workflow, c.input)
		s.outcome(runbook.Dry)
		text := s.res.Report.Markdown()
		for _, want := range []string{"to be decided: a: grown at west from 1 to 3 partitions", "to be decided: new: made at west", "gone", "only: never mirrored"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the dry run does not say %q:\n%s", name, want, text)
			}
		}
		if strings.Contains(text, "to be decided: gone") {
			t.Errorf("%s: gone was decided", name)
		}
		if name == "failback" && (!strings.Contains(text, "drctl restore orders") || !strings.Contains(text, "about 10s at the 0.0 MB/s of failback-0")) {
			t.Errorf("neither cost nor the other way is told:\n%s", text)
		}
		if w.count("EngineLock") > 0 {
			t.Errorf("%s: %v", name, w.calls)
		}
	}
}

func TestFailbackWhereHomeMirrorsAlreadyIsOnlyTheMove(t *testing.T) {
	w := decided()
	w.mirrors["back"] = map[string]string{"a": "ACTIVE", "b": "ACTIVE", canary(): "ACTIVE"}
	w.ledger = nil
	s := newStage(t, w)
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Done)
	s.clean()
	if w.count("DeleteTopics")+w.count("MeasureCopy")+w.count("EnsureMirrors")+w.count("ExportLedger") > 0 {
		t.Errorf("it rebuilt: %v", w.calls)
	}
	if n := len(s.res.Report.Approvals); n != 1 || w.consul[home].Active[0] != home {
		t.Errorf("%d approvals, active %v", n, w.consul[home].Active)
	}
	if !slices.ContainsFunc(s.res.Report.Findings, func(f string) bool { return strings.Contains(f, "drctl switchover orders --to east") }) {
		t.Errorf("findings %q", s.res.Report.Findings)
	}
}

func TestASourceThatDiesDuringARestoreIsRetriedOrLeft(t *testing.T) {
	w := decided()
	w.fail["AwaitMirrors"] = []error{no(ErrUnreachable, "east answers no more")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			c := signed(st, "bob", runbook.Retry)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return agree(st)
	}
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)})
	s.outcome(runbook.Done)
	if w.count("DeleteTopics") != 1 || w.count("AwaitMirrors") != 2 {
		t.Errorf("%v", w.calls)
	}
}
