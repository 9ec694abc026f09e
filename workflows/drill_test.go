package workflows

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// drilling is a stage for a launched drill; people answer its child.
func drilling(t *testing.T, w *world, kind string, people func(Status) []runbook.Command) *stage {
	t.Helper()
	s := newStage(t, w)
	s.id(DrillSchedule("orders", kind) + "-2026-11-22T10:00:00Z")
	var tick func()
	n := 0
	tick = func() {
		s.env.RegisterDelayedCallback(tick, time.Second)
		v, err := s.env.QueryWorkflowByID(ID("orders"), QueryStatus)
		var st Status
		if people == nil || err != nil || v.Get(&st) != nil {
			return // no child runs
		}
		for _, c := range people(st) {
			n++
			_ = s.env.UpdateWorkflowByID(ID("orders"), c.Decision, fmt.Sprintf("%s-%d", c.Decision, n), &testsuite.TestUpdateCallback{
				OnAccept: func() {}, OnReject: func(error) {}, OnComplete: func(any, error) {},
			}, c)
		}
	}
	s.env.RegisterDelayedCallback(tick, time.Second)
	return s
}

func drillOf(kind string) DrillInput {
	in := DrillInput{Start: request(runbook.OpDrill), Kind: kind}
	in.Request.Choices = DrillChoices(kind)
	return in
}

// pairAsItWas checks that a drill touched nothing of the pair.
func (s *stage) pairAsItWas() {
	s.t.Helper()
	s.clean()
	for _, call := range s.w.calls {
		switch call {
		case "EngineLock", "EngineUnlock", "WriteRecord", "FenceSite", "FenceGroups", "LiftFence", "PromoteMirrors", "AwaitClientsMoved", "EnsureCanaryTopic":
			s.t.Errorf("it called %s", call)
		}
	}
	calm := calm()
	if !maps.Equal(s.w.mirrors["there"], calm.mirrors["there"]) || len(s.w.mirrors["back"]) > 0 {
		s.t.Errorf("the mirrors of the pair are %v", s.w.mirrors)
	}
	if s.w.consul[home].SHA256 != calm.consul[home].SHA256 {
		s.t.Error("the record of the pair is another")
	}
}

func TestACanaryDrillFailsItsOwnTopicOverAndTouchesNothingElse(t *testing.T) {
	w := calm()
	w.drill.left = map[string]bool{"link": true} // of a run that died
	s := drilling(t, w, runbook.DrillCanary, nil)
	s.env.ExecuteWorkflow(Drill, DrillInput{Start: Start{Pair: "orders"}, Kind: runbook.DrillCanary}) // as a Schedule starts it
	if err := s.env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if err := s.env.GetWorkflowResult(&s.res); err != nil {
		t.Fatal(err)
	}
	s.outcome(runbook.Done)
	s.pairAsItWas()
	if len(w.drill.left) > 0 {
		t.Errorf("left behind: %v", w.drill.left)
	}
	for _, o := range [][2]string{
		{"ClearDrill", "WriteDrill"},
		{"WriteDrill", "EnsureLink"},
		{"EnsureLink", "BeginOperation"},
		{"BeginOperation", "EnsureMirrors"},
		{"EnsureMirrors", "AwaitMirrors"},
		{"AwaitMirrors", "SyncGroups"},
		{"SyncGroups", "FailoverMirrors"},
		{"FailoverMirrors", "ProveWritable"},
		{"ProveWritable", "ReadDrill"},
		{"ReadDrill", "ProduceConsumeCanary"},
		{"ProduceConsumeCanary", "DeleteTopics"},
	} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s: %v", o[0], o[1], w.calls)
		}
	}
	r := w.report
	if len(w.drill.reports) != 1 || r.Drill != runbook.DrillCanary || r.Operation != runbook.OpDrill || r.Outcome != runbook.Done || r.Drilled == nil || r.RPOExact == nil || *r.RPOExact != 0 {
		t.Errorf("%d reports, %+v", len(w.drill.reports), r)
	}
	var segments []string
	for _, seg := range r.RTO {
		segments = append(segments, seg.Name)
	}
	if strings.Join(segments, " ") != "attest mirrors prove" {
		t.Errorf("RTO of %v", segments)
	}
	if text := r.Markdown(); !strings.Contains(text, "# Drill (canary): drill of pair orders: done") || !strings.Contains(text, "Drilled: 10 records") {
		t.Error(text)
	}
}

func TestWhateverEndsACanaryDrillIsCleanedUp(t *testing.T) {
	for _, method := range []string{
		"WriteDrill", "EnsureLink", "BeginOperation", "EnsureMirrors", "AwaitMirrors", "SyncGroups", "MeasureRisk",
		"FailoverMirrors", "AwaitStopped", "ProveWritable", "ReadDrill", "ProduceConsumeCanary", "DeleteTopics",
	} {
		t.Run(method, func(t *testing.T) {
			w := calm()
			w.fail[method] = []error{no(ErrRefused, "it says no")}
			s := newStage(t, w)
			s.run(CanaryDrill, drillOf(runbook.DrillCanary))
			s.failed(ErrRefused)
			s.pairAsItWas()
			if len(w.drill.left) > 0 {
				t.Errorf("left behind: %v", w.drill.left)
			}
			if w.report.Outcome != runbook.NoChange || !strings.Contains(w.report.Error, "it says no") || w.report.Drill != runbook.DrillCanary {
				t.Errorf("report %+v", w.report)
			}
		})
	}
	for name, spoil := range map[string]func(*world){
		"other records":    func(w *world) { w.drill.spoilt = true },
		"it never catches": func(w *world) { w.behind = true },
		"offsets not exact": func(w *world) {
			w.synced = []runbook.GroupRisk{{Clamped: true}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			spoil(w)
			s := newStage(t, w)
			s.run(CanaryDrill, drillOf(runbook.DrillCanary))
			s.failed(ErrHalted)
			s.pairAsItWas()
			if len(w.drill.left) > 0 {
				t.Errorf("left behind: %v", w.drill.left)
			}
		})
	}
	t.Run("aborted", func(t *testing.T) {
		w := calm()
		w.plan.Approvals[runbook.OpDrill] = runbook.Approval{Count: 1, DeadlineSeconds: 600}
		s := newStage(t, w)
		s.react = func(st Status) []runbook.Command {
			if st.Waiting == nil {
				return nil
			}
			return []runbook.Command{signed(st, "ann", runbook.Abort)}
		}
		s.run(CanaryDrill, drillOf(runbook.DrillCanary))
		s.outcome(runbook.NoChange)
		if w.count("WriteDrill") > 0 {
			t.Error("it acted without the approval that the plan wants")
		}
	})
}

// What cannot be removed must not hold the pair: the run ends, and the next drill
// removes it.
func TestADrillThatCannotCleanUpEndsAndTheNextOneDoes(t *testing.T) {
	w := calm()
	w.fail["FailoverMirrors"] = []error{no(ErrRefused, "it says no")}
	w.fail["ClearDrill"] = append([]error{nil}, repeat(no(ErrRefused, "the engine is away"), 1)...)
	s := newStage(t, w)
	s.run(CanaryDrill, drillOf(runbook.DrillCanary))
	s.failed(ErrRefused)
	if len(w.drill.left) == 0 || !strings.Contains(strings.Join(w.report.Findings, "\n"), "the next drill removes them: the engine is away") {
		t.Errorf("left %v, findings %q", w.drill.left, w.report.Findings)
	}
	s = newStage(t, w)
	s.run(CanaryDrill, drillOf(runbook.DrillCanary))
	s.outcome(runbook.Done)
	if len(w.drill.left) > 0 {
		t.Errorf("left behind: %v", w.drill.left)
	}
}

func TestADrillIsRefusedAndPeopleAreTold(t *testing.T) {
	lock := func(w *world) { w.locks[away] = "failover-1" }
	debt := func(w *world) {
		for _, site := range []string{home, away} {
			r := runbook.WithDebt(*w.consul[site], record.FenceDebt{Kind: record.DebtFence, Site: home, OpID: "failover-0", Since: time.Unix(5, 0)}, runbook.By{OpID: "x", Operation: "x", Person: "x", Now: time.Unix(6, 0)})
			w.consul[site] = &r
		}
	}
	for name, tc := range map[string]struct {
		kind   string
		change func(*world)
		typ    string
		says   string
	}{
		"an operation holds the pair": {runbook.DrillCanary, lock, ErrPairBusy, "held by failover failover-1"},
		"tabletop, held":              {runbook.DrillTabletop, lock, ErrPairBusy, "held by failover failover-1"},
		"a debt is open":              {runbook.DrillCanary, debt, ErrPrecondition, "drctl recover orders --debts-only"},
		"the active site looks lost":  {runbook.DrillCanary, func(w *world) { w.down[home+" kafka"] = true }, ErrPrecondition, "no time for a drill"},
		"a Consul is silent":          {runbook.DrillCanary, func(w *world) { w.down[away+" consul"] = true }, ErrPrecondition, "consul west do not answer"},
		"nobody set it up":            {runbook.DrillCanary, func(w *world) { w.consul = map[string]*record.Record{} }, ErrPrecondition, "drctl setup orders"},
		"readiness is red":            {runbook.DrillFull, func(w *world) { w.mirrors["there"]["a"] = "FAILED" }, ErrPrecondition, "mirror a is FAILED"},
		"somebody holds it": {runbook.DrillTabletop, func(w *world) {
			w.kill = map[string]runbook.Hold{home: {Held: true, Seq: 1, By: "bob", Reason: "audit", Since: time.Unix(5, 0)}}
		}, ErrHeld, "held by bob"},
		"a change freeze": {runbook.DrillCanary, func(w *world) {
			w.plan.Freezes = []runbook.Freeze{{Name: "year end", From: "2000-01-01T00:00:00Z", To: "2100-01-01T00:00:00Z"}}
		}, ErrHeld, "year end"},
		"the request is forged": {runbook.DrillCanary, nil, ErrCommandForged, "not their signature"},
	} {
		for _, scheduled := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, by schedule %t", name, scheduled), func(t *testing.T) {
				w := calm()
				in := drillOf(tc.kind)
				if tc.change == nil {
					in.Request.Signature = "by eve"
				} else {
					tc.change(w)
				}
				records := maps.Clone(w.consul)
				s := drilling(t, w, tc.kind, nil)
				if !scheduled {
					s.id(DrillID("orders"))
				}
				s.env.ExecuteWorkflow(Drill, in)
				err := s.env.GetWorkflowError()
				var res Result
				if scheduled && tc.change != nil { // a failed run would pause the Schedule
					if err != nil || s.env.GetWorkflowResult(&res) != nil || res.Outcome != runbook.NoChange || res.Report.Drill != tc.kind || !strings.Contains(res.Report.Error, tc.says) {
						t.Fatalf("got %+v, %v", res, err)
					}
				} else if ErrorType(err) != tc.typ || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("got %v", err)
				}
				if len(w.notes) != 1 || w.notes[0].Kind != NotifyDrill || !strings.Contains(w.notes[0].Title, "was refused") || !strings.Contains(w.notes[0].Text, tc.says) {
					t.Errorf("notes %+v", w.notes)
				}
				if w.count("ClearDrill")+w.count("WriteDrill")+w.count("EngineLock")+w.count("WriteRecord") > 0 || !maps.Equal(records, w.consul) {
					t.Errorf("it acted: %v", w.calls)
				}
				if len(w.drill.reports) > 0 {
					t.Error("a drill that was not played has a report")
				}
			})
		}
	}
	t.Run("a mirror that failed is no reason against a canary", func(t *testing.T) {
		w := calm()
		w.mirrors["there"]["a"] = "FAILED"
		s := drilling(t, w, runbook.DrillCanary, nil)
		s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillCanary))
		if err := s.env.GetWorkflowError(); err != nil {
			t.Error(err)
		}
	})
	t.Run("another id, another kind", func(t *testing.T) {
		s := newStage(t, calm())
		s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillCanary))
		if err := s.env.GetWorkflowError(); ErrorType(err) != ErrWrongID {
			t.Errorf("got %v", err)
		}
		s = drilling(t, calm(), "x", nil)
		s.env.ExecuteWorkflow(Drill, drillOf("fire"))
		if err := s.env.GetWorkflowError(); ErrorType(err) != ErrPrecondition {
			t.Errorf("got %v", err)
		}
	})
}

func TestAFailedDrillIsAFailedRunAndPages(t *testing.T) {
	w := calm()
	w.drill.spoilt = true
	s := drilling(t, w, runbook.DrillCanary, nil)
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillCanary))
	err := s.env.GetWorkflowError()
	if ErrorType(err) != ErrHalted || !strings.Contains(err.Error(), "they differ") {
		t.Fatalf("got %v", err)
	}
	last := w.notes[len(w.notes)-1]
	if last.Kind != NotifyDrill || !last.Page || !strings.Contains(last.Title, "canary drill of pair orders failed") {
		t.Errorf("notes %+v", w.notes)
	}
	// The next one that goes well ends the page: the same incident.
	w.drill.spoilt = false
	s = drilling(t, w, runbook.DrillCanary, nil)
	s.env.SetLastError(err)
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillCanary))
	if err := s.env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	well := w.notes[len(w.notes)-1]
	if well.Kind != NotifyDrillAgain || well.Page || well.Call.OperationID != last.Call.OperationID {
		t.Errorf("note %+v", well)
	}
	// So does one behind a drill that was refused, whose run did not fail.
	s = drilling(t, w, runbook.DrillCanary, nil)
	s.env.SetLastCompletionResult(Result{Outcome: runbook.NoChange})
	n := len(w.notes)
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillCanary))
	if s.env.GetWorkflowError() != nil || len(w.notes) <= n || w.notes[len(w.notes)-1].Kind != NotifyDrillAgain {
		t.Errorf("notes %+v, %v", w.notes[n:], s.env.GetWorkflowError())
	}
}

// A run that a person starts knows nothing of what the Schedule's last one came to, nor the other way round.
func TestAGoodDrillEndsThePageOfABadOneWhoeverStartedEither(t *testing.T) {
	failed := []runbook.PastDrill{{Kind: runbook.DrillTabletop, Last: time.Now(), Error: "it did not go well"}}
	pager := &runbook.PagerDuty{RoutingKey: "${env:X}"}
	for name, tc := range map[string]struct {
		kind    string
		past    []runbook.PastDrill
		pager   *runbook.PagerDuty
		told    bool
		quietly bool
	}{
		"its report says so":          {runbook.DrillTabletop, failed, pager, true, false},
		"the same without a pager":    {runbook.DrillTabletop, failed, nil, true, false},
		"it left no report":           {runbook.DrillTabletop, nil, pager, true, true},
		"one of another kind":         {runbook.DrillCanary, failed, pager, true, true},
		"no report, and nobody paged": {runbook.DrillTabletop, nil, nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			w.plan.Notify.PagerDuty, w.drill.past = tc.pager, tc.past
			s := drilling(t, w, tc.kind, nil)
			s.id(DrillID("orders"))
			s.env.ExecuteWorkflow(Drill, drillOf(tc.kind))
			if err := s.env.GetWorkflowError(); err != nil {
				t.Fatal(err)
			}
			var well []NotifyInput
			for _, n := range w.notes {
				if n.Kind == NotifyDrillAgain {
					well = append(well, n)
				}
			}
			if !tc.told {
				if len(well) > 0 {
					t.Errorf("told for nothing: %+v", well)
				}
				return
			}
			if len(well) != 1 || well[0].Page || well[0].Quietly != tc.quietly || well[0].Call.OperationID != "drill-orders-"+tc.kind {
				t.Errorf("notes %+v", well)
			}
		})
	}
}

func TestATabletopDrillLooksAndSaysWhatWouldBeDone(t *testing.T) {
	w := calm()
	s := drilling(t, w, runbook.DrillTabletop, nil)
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillTabletop))
	if err := s.env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if err := s.env.GetWorkflowResult(&s.res); err != nil {
		t.Fatal(err)
	}
	s.outcome(runbook.Done)
	s.pairAsItWas()
	if w.count("FailoverMirrors")+w.count("WriteDrill")+w.count("ClearDrill") > 0 {
		t.Errorf("it acted: %v", w.calls)
	}
	r := w.report
	if len(w.drill.reports) != 1 || r.Drill != runbook.DrillTabletop || r.Forecast == nil || r.Move == nil || len(r.Planned) < 15 ||
		r.Planned[0].Name != "failover: approve" || r.Planned[len(r.Planned)-1].Name != "switchover: report" {
		t.Errorf("%d reports, %+v", len(w.drill.reports), r)
	}
}

func TestAFullDrillMovesThePairAndComesBack(t *testing.T) {
	w := calm()
	w.topics[away] = w.topics[home]
	w.plan.Limits.AntiFlapSeconds = 3600 // going there and back is what it is for
	s := drilling(t, w, runbook.DrillFull, agree)
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillFull))
	if err := s.env.GetWorkflowError(); err != nil {
		t.Fatalf("%v\n%s", err, w.report.Markdown())
	}
	if err := s.env.GetWorkflowResult(&s.res); err != nil {
		t.Fatal(err)
	}
	s.outcome(runbook.Done)
	s.clean()
	turnedRound(t, w, away, home, "back", "there", 3)
	if len(w.drill.reports) != 3 {
		t.Fatalf("%d reports", len(w.drill.reports))
	}
	for i, r := range w.drill.reports {
		if r.Drill != runbook.DrillFull || r.Outcome != runbook.Done || r.Requester != "ann" || i < 2 && (r.Operation != runbook.OpSwitchover || len(r.Approvals) != 1) {
			t.Errorf("report %d: %+v", i, r)
		}
	}
	if r := w.report; r.Operation != runbook.OpDrill || len(r.RTO) != 5 || r.Proof == nil || *r.RPOExact != 0 || r.EpochAfter != 3 || r.Active[0] != home {
		t.Errorf("%+v", r)
	}
}

func TestAFullDrillThatIsNotApprovedOrStaysAwayIsAFailedRun(t *testing.T) {
	deny := func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{signed(st, "eve", runbook.Deny)}
	}
	w := calm()
	s := drilling(t, w, runbook.DrillFull, deny)
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillFull))
	if err := s.env.GetWorkflowError(); ErrorType(err) != ErrHalted || !strings.Contains(err.Error(), "denied by eve") {
		t.Fatalf("got %v", err)
	}
	if w.report.Outcome != runbook.NoChange || w.consul[home].Active[0] != home {
		t.Errorf("%+v", w.report)
	}

	w = calm()
	w.topics[away] = w.topics[home]
	s = drilling(t, w, runbook.DrillFull, func(st Status) []runbook.Command {
		if st.Epoch > 1 {
			return deny(st)
		}
		return agree(st)
	})
	s.env.ExecuteWorkflow(Drill, drillOf(runbook.DrillFull))
	err := s.env.GetWorkflowError()
	if err == nil || !strings.Contains(err.Error(), "the pair stays at west") || !strings.Contains(err.Error(), "drctl switchover orders --to east") {
		t.Fatalf("got %v", err)
	}
	var app *temporal.ApplicationError
	var end Ending
	if !errors.As(err, &app) || app.Details(&end) != nil || end.Outcome != runbook.Partly {
		t.Errorf("nothing tells drctl that the pair is not where it was: %+v of %v", end, err)
	}
	if w.report.Outcome != runbook.Partly || w.report.Active[0] != away || !w.notes[len(w.notes)-1].Page {
		t.Errorf("%+v", w.report)
	}
}

func TestReadinessTellsOfDrillsThatWereNotPlayed(t *testing.T) {
	w := calm()
	w.plan.Drills = []runbook.DrillPlan{{Kind: runbook.DrillCanary, EverySeconds: 3600}}
	w.drill.watches = []runbook.DrillWatch{{Kind: runbook.DrillCanary, Exists: true, Created: time.Now(), PeriodSeconds: 3600}}
	w.drill.past = []runbook.PastDrill{{Kind: runbook.DrillCanary, Good: time.Now().Add(-time.Minute), Last: time.Now().Add(-time.Minute)}}
	first := look(t, w, nil)
	if !first.Ready || len(w.notes) > 0 {
		t.Fatalf("%+v, notes %+v", first, w.notes)
	}
	w.drill.watches[0].Missed, w.drill.watches[0].Skipped = 2, 1
	second := look(t, w, &first)
	third := look(t, w, &second)
	if len(w.notes) != 1 || w.notes[0].Kind != NotifyDrill || !strings.Contains(w.notes[0].Text, "2 canary drills came due") || !strings.Contains(w.notes[0].Text, "1 canary drills were skipped") {
		t.Errorf("notes %+v", w.notes)
	}
	w.drill.past[0].Last = time.Now().Add(time.Minute)
	fourth := look(t, w, &third)
	look(t, w, &fourth)
	if again := w.notes[len(w.notes)-1]; len(w.notes) != 2 || again.Kind != NotifyDrillAgain || again.Page || again.Call.OperationID != w.notes[0].Call.OperationID {
		t.Errorf("its page is not ended: notes %+v", w.notes)
	}
	w.drill.past[0].Error = "it says no"
	if r := look(t, w, nil); r.Ready || !strings.Contains(r.Summary(), "the last canary drill") {
		t.Errorf("%+v", r)
	}
}
