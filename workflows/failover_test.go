package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestFailoverMakesTheStandbyActiveAndOwesWhatItCouldNotDo(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly) // debts are open
	s.clean()
	r := w.consul[away]
	if r.Active[0] != away || r.Epoch != 2 || r.PrevEpoch != 1 || r.OpID != s.res.OpID || r.Phase != record.Open {
		t.Errorf("record after failover: %+v", r)
	}
	if s.res.OpID == "failover-" || !strings.HasPrefix(s.res.OpID, "failover-") {
		t.Errorf("operation id %q", s.res.OpID)
	}
	var kinds []string
	for _, d := range r.FenceDebt {
		kinds = append(kinds, d.Kind+" "+d.Site)
	}
	slices.Sort(kinds)
	if strings.Join(kinds, ",") != "fence east,record east" {
		t.Errorf("debts %v", kinds)
	}
	for topic, st := range w.mirrors["there"] {
		if st != "STOPPED" {
			t.Errorf("mirror %s is %s", topic, st)
		}
	}
	rep := s.res.Report
	if rep.RPOEstimate == nil || *rep.RPOEstimate != 15 { // 3 topics x (3 lag + 2 s blind x 1/s)
		t.Errorf("estimate %v, want 15", rep.RPOEstimate)
	}
	if rpo := rep.RPOTime; rpo == nil || rpo.Objective != s.w.plan.Objectives.RPOSeconds || rpo.AtMost < 2 {
		t.Errorf("RPO in time: %+v, want the blind 2 s at least, beside the plan's objective", rpo)
	}
	if len(rep.Approvals) != 1 || rep.Approvals[0].By != "bob" || !slices.Contains(rep.Overrides, runbook.OverrideFence) {
		t.Errorf("approvals %+v overrides %v", rep.Approvals, rep.Overrides)
	}
	if len(rep.Fences) != 1 || rep.Fences[0].Level != runbook.LevelUnreachable {
		t.Errorf("fences %+v", rep.Fences)
	}
	for _, order := range [][2]string{{"AttestOutage", "EngineLock"}, {"EngineLock", "BeginOperation"}, {"BeginOperation", "FenceSite"}, {"FenceSite", "FailoverMirrors"}, {"FailoverMirrors", "ProveWritable"}, {"ProveWritable", "AwaitClientsMoved"}} {
		if !w.before(order[0], order[1]) {
			t.Errorf("%s did not come before %s: %v", order[0], order[1], w.calls)
		}
	}
	if w.count("SaveReport") != 1 || w.count("FailoverMirrors") != 2 { // three mirrors in waves of two
		t.Errorf("reports %d, waves %d", w.count("SaveReport"), w.count("FailoverMirrors"))
	}
	if !slices.Contains(s.seen, PhaseApproval) {
		t.Errorf("phases seen: %v", s.seen)
	}
}

func TestEveryStepHasTheOperationAndItsOwnNameAsKey(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	for i, c := range w.steps {
		if c.Pair != "orders" || c.OperationID != s.res.OpID || c.Step == "" || c.Operation != runbook.OpFailover {
			t.Errorf("call %d (%s): %+v", i, w.calls[i], c)
		}
	}
	for i, c := range w.steps {
		if slices.Contains([]string{"EngineLock", "BeginOperation", "FailoverMirrors"}, w.calls[i]) && c.Epoch != 2 {
			t.Errorf("%s carries epoch %d, want the new one", w.calls[i], c.Epoch)
		}
	}
}

func TestDryRunChangesNothingAndSaysWhatWouldHappen(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	s.id(DryID("orders", "1"))
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover), DryRun: true})
	s.outcome(runbook.Dry)
	for _, m := range []string{"EngineLock", "WriteRecord", "BeginOperation", "FenceSite", "FailoverMirrors", "Notify", "SaveReport"} {
		if w.count(m) > 0 {
			t.Errorf("a dry run called %s", m)
		}
	}
	rep := s.res.Report
	if len(rep.Planned) == 0 || rep.Forecast == nil || rep.Forecast.AtRisk != 15 || rep.Forecast.Groups[0].Redelivered != 5 {
		t.Errorf("planned %v, forecast %+v", rep.Planned, rep.Forecast)
	}
	if !strings.Contains(strings.Join(rep.Findings, " "), runbook.OverrideFence) {
		t.Errorf("the dry run does not name the override that is needed: %v", rep.Findings)
	}
}

func TestOperationRefusesAnotherWorkflowID(t *testing.T) {
	for _, c := range []struct {
		id       string
		workflow any
		input    any
		command  string
	}{
		{"my-failover", Failover, FailoverInput{Start: request(runbook.OpFailover)}, "drctl failover orders"},
		{"dr/payments", Failover, FailoverInput{Start: request(runbook.OpFailover)}, "drctl failover orders"},
		{"dr/orders", Failover, FailoverInput{Start: request(runbook.OpFailover), DryRun: true}, "--dry-run"},
		{"dr-dry/orders/1", Failover, FailoverInput{Start: request(runbook.OpFailover)}, "drctl failover orders"},
		{"dr-dry/orders/1", RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)}, "drctl recover orders"},
		{"x", SetUp, SetUpInput{Start: request(runbook.OpSetUp)}, "drctl setup orders"},
		{"x", Failback, FailbackInput{Start: request(runbook.OpFailback)}, "drctl failback orders"},
	} {
		w := lost()
		s := newStage(t, w)
		s.id(c.id)
		s.run(c.workflow, c.input)
		s.failed(ErrWrongID)
		if !strings.Contains(s.err.Error(), c.command) {
			t.Errorf("id %s: the refusal does not name %q: %v", c.id, c.command, s.err)
		}
		if len(w.calls) > 0 {
			t.Errorf("id %s: %v was called", c.id, w.calls)
		}
	}
}

func TestDeniedFailoverChangesNothing(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{signed(st, "eve", runbook.Deny)}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	s.clean()
	if !strings.Contains(s.res.Report.Error, "denied by eve") || w.count("EngineLock") > 0 || w.consul[away].Epoch != 1 {
		t.Errorf("%q, calls %v", s.res.Report.Error, w.calls)
	}
}

func TestApprovalDeadlineEndsTheRunAfterAReminder(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	asked := 0
	for _, n := range w.notes {
		if n.Kind == NotifyApproval || n.Kind == NotifyEscalated && n.Page && n.Wide {
			asked++
		}
	}
	if asked != 2 || !strings.Contains(s.res.Report.Error, "deadline") {
		t.Errorf("asked %d times, error %q", asked, s.res.Report.Error)
	}
}

// Every way in which an approval does not count, then one that does.
func TestApprovalsThatDoNotCountAreRefusedWithTheirReason(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	bad := []struct {
		errType string
		change  func(*runbook.Command)
	}{
		{ErrCommandForged, func(c *runbook.Command) { c.Signature = "by mallory" }},
		{ErrCommandStale, func(c *runbook.Command) { c.Epoch = 7 }},
		{ErrCommandStale, func(c *runbook.Command) { c.PlanHash = "older" }},
		{ErrCommandStale, func(c *runbook.Command) { c.OpID = "failover-before" }},
		{ErrCommandStale, func(c *runbook.Command) { c.Pair = "payments" }},
		{ErrCommandStale, func(c *runbook.Command) { c.Question = "" }},
		{ErrCommandStale, func(c *runbook.Command) { c.Question = "0 approve" }},
		{ErrCommandLate, func(c *runbook.Command) { c.Expires = time.Unix(1, 0) }},
		{ErrNotAllowed, func(c *runbook.Command) { c.By, c.Signature = "ann", "by ann" }},         // the requester
		{ErrNotAllowed, func(c *runbook.Command) { c.By, c.Signature = "mallory", "by mallory" }}, // nobody of the plan
		{ErrNotAllowed, func(c *runbook.Command) { c.By, c.Signature = "unsigned", "" }},
		{ErrNotAllowed, func(c *runbook.Command) { c.Overrides = nil }}, // names no override
	}
	i := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		c := signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)
		if i < len(bad) {
			bad[i].change(&c)
			i++
		}
		return []runbook.Command{c}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if len(s.nays) != len(bad) {
		t.Fatalf("%d refusals, want %d: %v", len(s.nays), len(bad), s.nays)
	}
	for k, err := range s.nays {
		if got := ErrorType(err); got != bad[k].errType {
			t.Errorf("refusal %d is %q, want %q: %v", k, got, bad[k].errType, err)
		}
	}
	if len(s.res.Report.Approvals) != 1 {
		t.Errorf("%d approvals counted", len(s.res.Report.Approvals))
	}
}

func TestUnsignedRequesterCostsOneApprovalMore(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	bob := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		if st.Waiting.Need != 2 {
			t.Errorf("needs %d approvals, want 2", st.Waiting.Need)
		}
		if bob++; bob <= 2 { // bob twice is one approval
			c := signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)
			c.Reason = fmt.Sprint("for the time ", bob)
			return []runbook.Command{c}
		}
		return []runbook.Command{signed(st, "eve", runbook.Approve, st.Waiting.Overrides...)}
	}
	s.run(Failover, FailoverInput{Start: Start{Pair: "orders"}})
	s.outcome(runbook.Partly)
	s.refused(ErrNotAllowed, 1)
	if s.res.Report.Requester != runbook.Unsigned || len(s.res.Report.Approvals) != 2 {
		t.Errorf("requester %q, %d approvals", s.res.Report.Requester, len(s.res.Report.Approvals))
	}
}

func TestForgedOrStaleRequestDoesNotStart(t *testing.T) {
	for want, change := range map[string]func(*runbook.Command){
		ErrCommandForged: func(c *runbook.Command) { c.Signature = "by mallory" },
		ErrCommandStale:  func(c *runbook.Command) { c.Epoch = 9 },
		ErrCommandLate:   func(c *runbook.Command) { c.Expires = time.Unix(1, 0) },
	} {
		start := request(runbook.OpFailover)
		change(start.Request)
		w := lost()
		s := newStage(t, w).run(Failover, FailoverInput{Start: start})
		s.failed(want)
		if w.count("AttestOutage") > 0 {
			t.Errorf("%s: the run went on", want)
		}
	}
}

// A site that answers can be fenced; when that is not proven, the override is
// asked for by name, and an approval without it does not count.
func TestUnprovenFenceNeedsItsOverrideByName(t *testing.T) {
	w := steady() // the primary answers
	w.deaf = true
	s := newStage(t, w)
	asked := [][]string{}
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		asked = append(asked, st.Waiting.Overrides)
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if len(asked) != 2 || asked[0][0] != runbook.OverrideAlive || asked[1][0] != runbook.OverrideFence {
		t.Errorf("overrides asked for: %v", asked)
	}
	if d := w.consul[away].Debts(record.DebtFence); len(d) != 1 || d[0].Level != runbook.LevelClientsOnly {
		t.Errorf("fence debts %+v", d)
	}
	if !w.fences[home][s.res.OpID] || !w.groups[home][s.res.OpID] {
		t.Error("the old side's fence does not stand")
	}
}

// Whoever watches a failover of a site that is not lost reads so as soon as somebody was asked, not with the question that comes
// after the forecast.
func TestThatTheSiteAnswersIsSaidBeforeTheForecast(t *testing.T) {
	w := steady()
	s := newStage(t, w)
	s.id(DryID("orders", "1"))
	said := ""
	w.hook = func(method string, _ Call) {
		if method == "MeasureRisk" {
			s.during(func(done func()) { said = strings.Join(s.status().Findings, "; "); done() })
		}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover), DryRun: true})
	told(t, said, "needs the override "+runbook.OverrideAlive, "still answers somebody")
}

func TestProvenFenceOwesNothing(t *testing.T) {
	w := steady()
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Done)
	if len(w.consul[away].FenceDebt)+len(w.consul[home].FenceDebt) != 0 || w.consul[home].SHA256 != w.consul[away].SHA256 {
		t.Errorf("%+v\n%+v", w.consul[home], w.consul[away])
	}
}

func TestUnprovenFenceDeniedIsUndone(t *testing.T) {
	w := steady()
	w.deaf = true
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && slices.Contains(st.Waiting.Overrides, runbook.OverrideFence) {
			return []runbook.Command{signed(st, "bob", runbook.Deny)}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	s.clean()
	if w.count("LiftFence") != 1 || len(w.fences[home])+len(w.groups[home]) != 0 || !w.before("RevokeOperation", "LiftFence") {
		t.Errorf("undo: %v, fences %v %v", w.calls, w.fences, w.groups)
	}
}

func TestFailedStepBehindThePivotWaitsForRetry(t *testing.T) {
	w := lost()
	w.fail["FailoverMirrors"] = []error{no(ErrRefused, "disk full")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			wrong := signed(st, "bob", runbook.Retry)
			wrong.Step = "flip"
			right := signed(st, "bob", runbook.Retry)
			right.Step = st.Waiting.Step
			return []runbook.Command{wrong, signed(st, "bob", runbook.Abort), right}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.refused(ErrCommandStale, 1)
	s.refused(ErrNotAllowed, 1) // no abort behind the pivot
	if w.count("FailoverMirrors") != 3 || w.count("LiftFence") != 0 || w.consul[away].Active[0] != away {
		t.Errorf("calls %v", w.calls)
	}
	if !slices.ContainsFunc(w.notes, func(n NotifyInput) bool { return n.Kind == NotifyPaused && n.Page }) {
		t.Error("nobody was paged")
	}
	n := 0
	for _, l := range s.res.Report.Steps {
		if strings.HasPrefix(l.Name, "fail over wave 1") {
			n++
			if l.State != runbook.StateDone {
				t.Errorf("%+v", l)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d rows for a step that was retried", n)
	}
}

func TestSkipNeedsAReasonAndIsReported(t *testing.T) {
	w := lost()
	w.fail["ProduceConsumeCanary"] = []error{no(ErrRefused, "no such topic")}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			dumb := signed(st, "bob", runbook.Skip)
			dumb.Step, dumb.Reason = st.Waiting.Step, ""
			good := signed(st, "bob", runbook.Skip)
			good.Step, good.Reason = st.Waiting.Step, "canary topic is gone"
			return []runbook.Command{dumb, good}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.refused(ErrNotAllowed, 1)
	if !slices.ContainsFunc(s.res.Report.Steps, func(l runbook.StepLine) bool {
		return l.State == runbook.StateSkipped && strings.Contains(l.Detail, "canary topic is gone") && strings.Contains(l.Detail, "no such topic")
	}) {
		t.Errorf("%+v", s.res.Report.Steps)
	}
}

func TestFlipCannotBeSkippedAndGoesOnWhenConsulIsBack(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	w.hook = func(method string, c Call) {
		if method == "ProduceConsumeCanary" {
			w.mu.Lock()
			w.down[away+" consul"] = true
			w.mu.Unlock()
		}
	}
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitPerson {
			return agree(st)
		}
		if st.Waiting.Step != "flip" || slices.Contains(st.Waiting.Commands, runbook.Skip) {
			t.Errorf("waits at %q for %v", st.Waiting.Step, st.Waiting.Commands)
		}
		w.mu.Lock()
		w.down[away+" consul"] = false
		w.mu.Unlock()
		c := signed(st, "bob", runbook.Retry)
		c.Step = "flip"
		skip := signed(st, "bob", runbook.Skip)
		skip.Step = "flip"
		return []runbook.Command{skip, c}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.refused(ErrNothingWaits, 1)
	if w.consul[away].Active[0] != away {
		t.Error("not flipped")
	}
	s.clean()
}

// The answer to each record write is lost once: nothing is written twice, and
// nobody takes the run's own write for somebody else's.
func TestLostAnswersOfRecordWritesAreFoundOut(t *testing.T) {
	w := lost()
	w.after["WriteRecord"] = 50
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.clean()
	flips := 0
	for _, in := range w.writes {
		if in.Kind == WriteFlip && in.Site.Name == away {
			flips++
		}
	}
	if flips != 1 || w.consul[away].Epoch != 2 {
		t.Errorf("%d flips, epoch %d", flips, w.consul[away].Epoch)
	}
}

// The last write of the record stands, but its answer never came, so that a
// person retries the step minutes later: what stands is the run's own work.
func TestRetriedRecordWriteKnowsItsOwnWork(t *testing.T) {
	w := lost()
	w.after["WriteRecord unlock record"] = 1
	tries := 0
	w.hook = func(method string, c Call) {
		if method != "WriteRecord" || c.Step != "unlock record" {
			return
		}
		if tries++; tries == 2 { // the first has written; from here on Consul is away
			w.mu.Lock()
			w.down[away+" consul"] = true
			w.mu.Unlock()
		}
	}
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitPerson {
			return agree(st)
		}
		w.mu.Lock()
		w.down[away+" consul"] = false
		w.mu.Unlock()
		if s.sent[runbook.Retry] == 3 {
			t.Fatal("the run does not know its own write")
		}
		c := signed(st, "bob", runbook.Retry)
		c.Step = st.Waiting.Step
		return []runbook.Command{c}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.clean()
	if s.sent[runbook.Retry] != 1 {
		t.Errorf("%d retries", s.sent[runbook.Retry])
	}
}

func TestAbortBeforeThePivotUndoesOnceAndInOrder(t *testing.T) {
	w := steady()
	s := newStage(t, w)
	aborted := false
	w.hook = func(method string, c Call) {
		if method == "GrowMirrors" && !aborted {
			aborted = true
			s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.Abort), done) })
		}
	}
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	s.clean()
	if w.count("LiftFence") != 1 || w.count("RevokeOperation") != 1 || w.count("EngineUnlock") != 1 || w.count("FailoverMirrors") != 0 {
		t.Errorf("undo: %v", w.calls)
	}
	for _, o := range [][2]string{{"RevokeOperation", "LiftFence"}, {"LiftFence", "EngineUnlock"}} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s", o[0], o[1])
		}
	}
	if !strings.Contains(s.res.Report.Error, "aborted by ann") {
		t.Errorf("%q", s.res.Report.Error)
	}
}

func TestCancelInTemporalUndoesAsWell(t *testing.T) {
	w := steady()
	s := newStage(t, w)
	w.hook = func(method string, c Call) {
		if method == "GrowMirrors" {
			s.during(func(done func()) {
				s.env.CancelWorkflow()
				done()
			})
		}
	}
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.NoChange)
	s.clean()
	if w.count("LiftFence") != 1 || w.count("FailoverMirrors") != 0 {
		t.Errorf("undo: %v", w.calls)
	}
}

func TestStepThatActsAndReportsFailureIsUndone(t *testing.T) {
	w := steady()
	w.after["EngineLock"] = 1000 // acts each time, never gets its answer through
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	if s.err == nil {
		t.Fatal("the run must fail: the lock was never confirmed")
	}
	s.clean()
}

func TestSecondOperationIsRefusedNamingTheHolder(t *testing.T) {
	w := steady()
	w.locks[away] = "drill-7"
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.failed(ErrPairBusy)
	if !strings.Contains(s.err.Error(), "drill-7") || w.locks[away] != "drill-7" {
		t.Errorf("%v, locks %v", s.err, w.locks)
	}

	w = steady()
	w.locks[away] = "drill-7"
	s = newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover, runbook.OverrideLock)})
	s.outcome(runbook.Done)
	if !slices.Contains(s.res.Report.Overrides, runbook.OverrideLock) {
		t.Errorf("the lock was broken without an approval that names it: %v", s.res.Report.Overrides)
	}
}

func TestSplitBrainStopsEveryOperation(t *testing.T) {
	w := steady()
	other := *w.consul[away]
	other.OpID = "failover-elsewhere"
	other = other.Normalised()
	w.consul[away] = &other
	s := newStage(t, w).run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.failed(ErrSplitBrain)
	if w.count("WriteRecord") > 0 {
		t.Error("something was written")
	}
}

func TestPlanOfAnotherHashIsRefused(t *testing.T) {
	start := request(runbook.OpFailover)
	start.PlanHash = "mine"
	s := newStage(t, lost()).run(Failover, FailoverInput{Start: start})
	s.failed(ErrPlanDiffers)
}

func TestNotificationsNeverFailARun(t *testing.T) {
	w := lost()
	for range 100 {
		w.fail["Notify"] = append(w.fail["Notify"], errors.New("slack is away"))
	}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
}
