package workflows

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// dies lets the home site go when a step is reached the first time; what waits
// for it waits until the run is turned into a failover by eve.
func (s *stage) dies(at string) {
	w, gone := s.w, false
	w.hook = func(method string, _ Call) {
		if method != at || gone {
			return
		}
		gone = true
		w.mu.Lock()
		for _, part := range []string{"kafka", "consul", "engine"} {
			w.down[home+" "+part] = true
		}
		w.mu.Unlock()
		s.during(func(done func()) { s.sendThen(signed(s.status(), "eve", runbook.IntoFailover), done) })
	}
}

// failedOverTo: clients are sent away, and nothing but what the lost site keeps
// is left.
func (s *stage) failedOverTo(t *testing.T) {
	t.Helper()
	s.outcome(runbook.Partly) // home's Consul is owed
	w := s.w
	r := w.consul[away]
	if r.Active[0] != away || r.Epoch != 2 || r.Phase != "open" || r.Lock != nil {
		t.Errorf("record: %+v", r)
	}
	for topic, st := range w.mirrors["there"] {
		if st != "STOPPED" {
			t.Errorf("mirror %s is %s", topic, st)
		}
	}
	if w.locks[away] != "" || w.tokens["there"] == "open" || w.tokens["back"] == "open" {
		t.Errorf("locks %v, tokens %v", w.locks, w.tokens)
	}
	rep := s.res.Report
	if rep.Turned == nil || rep.Turned.By != "eve" || rep.Requester != "ann" || !strings.Contains(rep.Markdown(), "switchover turned into a failover of pair orders") {
		t.Errorf("turned %+v, requester %s", rep.Turned, rep.Requester)
	}
	if w.count("LiftFence")+w.count("Rejoin") > 0 {
		t.Errorf("%v", w.calls)
	}
	if !strings.Contains(strings.Join(rep.Findings, " "), "drctl failback orders") {
		t.Errorf("nothing says what is to be done later: %q", rep.Findings)
	}
}

// A fence that was proven before the site went silent stands in its own
// metadata: the failover needs no override for it, and owes none.
func TestSourceThatDiesBehindItsFenceIsFailedOverInTheSameRun(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	s.dies("AwaitDrained")
	s.react = agree
	s.run(Switchover, planned())
	s.failedOverTo(t)
	for _, d := range w.consul[away].FenceDebt {
		if d.Kind != "record" {
			t.Errorf("debt %+v", d)
		}
	}
	rep := s.res.Report
	if len(rep.Overrides) != 0 || w.count("FenceSite") != 1 || w.count("FailoverMirrors") != 2 || w.count("PromoteMirrors") != 0 {
		t.Errorf("overrides %v, calls %v", rep.Overrides, w.calls)
	}
	if len(rep.Approvals) != 3 || rep.RPOEstimate == nil {
		t.Errorf("approvals %+v: the planned one, the turn, the failover's", rep.Approvals)
	}
	// The lost engine still has the run's lock: it does not hold up what comes next.
	if w.locks[home] != s.res.OpID {
		t.Fatalf("locks %v", w.locks)
	}
	for _, part := range []string{"kafka", "consul", "engine"} {
		delete(w.down, home+" "+part)
	}
	w.topics[away] = w.topics[home]
	s = newStage(t, w)
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover), DebtsOnly: true})
	s.outcome(runbook.Done)
	if found := strings.Join(s.res.Report.Findings, "; "); !strings.Contains(found, "stays with the engine") || w.locks[home] == "" {
		t.Errorf("locks %v, findings %s", w.locks, found)
	}
	s = newStage(t, w)
	s.react = agree
	s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
	s.outcome(runbook.Done)
	if len(w.locks) > 0 {
		t.Errorf("locks %v", w.locks)
	}
}

func TestSourceThatDiesBeforeTheApprovalIsFailedOverWithItsOverrides(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	s.dies("OpenTransactions")
	s.react = agree
	s.run(Switchover, planned())
	s.failedOverTo(t)
	kinds := []string{}
	for _, d := range w.consul[away].FenceDebt {
		kinds = append(kinds, d.Kind)
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"fence", "record"}) || !slices.Equal(s.res.Report.Overrides, []string{runbook.OverrideFence}) {
		t.Errorf("debts %v, overrides %v", kinds, s.res.Report.Overrides)
	}
	if w.count("EngineLock") != 1 {
		t.Errorf("the lost engine was locked: %v", w.calls)
	}
}

func TestTurnedRunThatNobodyApprovesIsUndone(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	turned := false
	w.hook = func(method string, _ Call) {
		if method == "AwaitDrained" && !turned {
			turned = true
			s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.IntoFailover), done) })
		}
	}
	var asked Waiting
	s.react = func(st Status) []runbook.Command {
		switch {
		case st.Waiting == nil:
			return nil
		case st.Turned == nil:
			return agree(st)
		}
		asked = *st.Waiting
		if st.Operation != runbook.OpFailover {
			t.Errorf("commands are to name %q", st.Operation)
		}
		// bob's approval of the planned move, sent again, is not one of a failover.
		old := signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)
		old.Operation = runbook.OpSwitchover
		self := signed(st, "ann", runbook.Approve, st.Waiting.Overrides...) // who turned it
		return []runbook.Command{old, self, signed(st, "eve", runbook.Deny)}
	}
	s.run(Switchover, planned())
	s.refused(ErrCommandStale, 1)
	s.refused(ErrNotAllowed, 1)
	s.still(runbook.NoChange)
	if !slices.Equal(asked.Overrides, []string{runbook.OverrideAlive}) || !strings.Contains(s.res.Report.Error, "denied by eve") {
		t.Errorf("asked %+v, ended with %q: the source lives, which is to be overridden", asked, s.res.Report.Error)
	}
}

func TestTurnedRunCanBeAborted(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	turned := false
	w.hook = func(method string, _ Call) {
		if method == "AwaitDrained" && !turned {
			turned = true
			s.during(func(done func()) { s.sendThen(signed(s.status(), "eve", runbook.IntoFailover), done) })
		}
	}
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Turned != nil {
			return []runbook.Command{signed(st, "ann", runbook.Abort)}
		}
		return agree(st)
	}
	s.run(Switchover, planned())
	s.still(runbook.NoChange)
}

// Mirror a is STOPPED, b drains from a source that is gone.
func TestMirrorsThatAreNotPromotedAreFailedOverBehindThePivot(t *testing.T) {
	for _, during := range []bool{true, false} {
		w := calm()
		s := newStage(t, w)
		w.stuck = map[string]bool{"b": true}
		gone := func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, part := range []string{"kafka", "consul", "engine"} {
				w.down[home+" "+part] = true
			}
		}
		first := true
		w.hook = func(method string, _ Call) {
			if method == "AwaitStopped" && first {
				first = false
				gone()
				if during { // while the first promote waits
					s.during(func(done func()) { s.sendThen(signed(s.status(), "eve", runbook.IntoFailover), done) })
				}
			}
		}
		s.react = func(st Status) []runbook.Command {
			if st.Waiting != nil && st.Waiting.For == WaitPerson && st.Waiting.Step == "promote the rest" {
				if !slices.Contains(st.Waiting.Commands, runbook.IntoFailover) || slices.Contains(st.Waiting.Commands, runbook.Abort) {
					t.Errorf("answer with %v", st.Waiting.Commands)
				}
				return []runbook.Command{signed(st, "eve", runbook.IntoFailover)}
			}
			return agree(st)
		}
		s.run(Switchover, planned())
		s.failedOverTo(t)
		for i, m := range w.calls {
			if m == "FailoverMirrors" && !strings.HasSuffix(w.steps[i].OperationID, ".2") {
				t.Errorf("failed over as %s", w.steps[i].OperationID)
			}
		}
		if w.count("FailoverMirrors") != 1 || w.count("OwnGroups") != 0 || len(s.res.Report.Overrides) != 0 {
			t.Errorf("overrides %v, calls %v", s.res.Report.Overrides, w.calls)
		}
	}
}

// What the failover of the rest had to leave is not asked for afterwards either.
func TestOfARestThatIsSkippedNobodyIsAskedToProveThatItTakesWrites(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.stuck = map[string]bool{"b": true}
	var proven, asked []string
	w.hook = func(method string, _ Call) {
		if method == "AwaitStopped" && w.refuses == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refuses, w.proven = map[string]string{"b": "mirror b is FAILED"}, &proven
			for _, part := range []string{"kafka", "consul", "engine"} {
				w.down[home+" "+part] = true
			}
		}
	}
	skip := s.skipping(&asked)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.Step == "promote the rest" {
			return []runbook.Command{signed(st, "eve", runbook.IntoFailover)}
		}
		return skip(st)
	}
	s.run(Switchover, planned())
	s.outcome(runbook.Partly)
	if slices.Contains(proven, "b") || !slices.Contains(proven, "a") || !slices.Equal(asked, []string{"fail over wave 1"}) {
		t.Errorf("writing was asked of %v, people at %q", proven, asked)
	}
	told(t, strings.Join(s.res.Report.Findings, "\n"), "mirror b was not failed over")
}

// Not one mirror is ended when the promote is given up: the failover begins
// before its pivot, under a name that the engine has not shut out.
func TestTurnWhileNoMirrorIsEndedFailsOverAll(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.stuck = map[string]bool{"a": true, "b": true}
	s.dies("AwaitStopped")
	s.react = agree
	s.run(Switchover, planned())
	s.failedOverTo(t)
	if w.count("FailoverMirrors") != 2 || w.count("FenceSite") != 1 {
		t.Errorf("%v", w.calls)
	}
	for i, m := range w.calls {
		if m == "FailoverMirrors" && !strings.HasSuffix(w.steps[i].OperationID, ".2") {
			t.Errorf("failed over as %s", w.steps[i].OperationID)
		}
	}
}

// One workflow task may bring both the command's signature and the last STOPPED.
func TestTurnThatComesWithTheLastMirrorLeavesTheMoveAsItIs(t *testing.T) {
	s := newStage(t, calm())
	s.env.ExecuteWorkflow(func(ctx workflow.Context) (string, error) {
		by := runbook.Signed{By: "eve"}
		m := &plannedMove{story: &story{op: runbook.OpSwitchover, path: runbook.OpFailover, turned: &by}}
		m.promoted(ctx)
		return fmt.Sprint(m.turned, m.path, m.noTurn, m.status.Findings), nil
	})
	got, want := "", fmt.Sprint((*runbook.Signed)(nil), runbook.OpSwitchover, allStopped, []string{"eve wanted to turn the run into a failover: every mirror was promoted by then"})
	if err := s.env.GetWorkflowResult(&got); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestTurnBehindThePivotThatIsDeniedPromotesOn(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.stuck = map[string]bool{"b": true}
	s.react = func(st Status) []runbook.Command {
		switch {
		case st.Waiting == nil:
			return nil
		case st.Turned != nil:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.stuck = nil
			return []runbook.Command{signed(st, "bob", runbook.Deny)}
		case st.Waiting.For == WaitPerson:
			return []runbook.Command{signed(st, "eve", runbook.IntoFailover)}
		}
		return agree(st)
	}
	s.run(Switchover, planned())
	if s.err != nil || s.res.Active[0] != away || w.count("FailoverMirrors") != 0 || s.res.Report.Turned != nil {
		t.Errorf("%v, active %v, %v", s.err, s.res.Active, w.calls)
	}
	turnedRound(t, w, home, away, "there", "back", 2)
	if !strings.Contains(strings.Join(s.res.Report.Findings, " "), "into a failover: it was not approved") {
		t.Errorf("%q", s.res.Report.Findings)
	}
}

func TestIntoFailoverIsRefusedWhereItMakesNoSense(t *testing.T) {
	w := calm()
	w.fail["OwnGroups"] = []error{no(ErrRefused, "no")}
	s := newStage(t, w)
	bad := []func(*runbook.Command){
		func(c *runbook.Command) { c.By, c.Signature = "zed", "by zed" },         // no role, not the requester
		func(c *runbook.Command) { c.Reason = "" },                               // no reason
		func(c *runbook.Command) { c.By, c.Signature = "mallory", "by mallory" }, // nobody of the plan
	}
	w.plan.People = append(w.plan.People, runbook.Person{Name: "zed", Roles: []string{"operator"}})
	i, last := 0, false
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		c := signed(st, "eve", runbook.IntoFailover)
		if i < len(bad) {
			bad[i](&c)
			i++
			return []runbook.Command{c}
		}
		if st.Waiting.For == WaitPerson { // every mirror is STOPPED
			if slices.Contains(st.Waiting.Commands, runbook.IntoFailover) {
				t.Errorf("answer with %v", st.Waiting.Commands)
			}
			retry := signed(st, "eve", runbook.Retry)
			retry.Step = st.Waiting.Step
			last = true
			return []runbook.Command{c, retry}
		}
		return agree(st)
	}
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	s.refused(ErrNotAllowed, len(bad)+1)
	if !last || !strings.Contains(s.nays[len(s.nays)-1].Error(), "nothing left to fail over") {
		t.Errorf("%v", s.nays)
	}

	s = newStage(t, lost()) // a failover is one already
	s.react = func(st Status) []runbook.Command {
		return append([]runbook.Command{signed(st, "eve", runbook.IntoFailover)}, agree(st)...)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if len(s.nays) == 0 || !strings.Contains(s.nays[0].Error(), "a failover cannot be turned into a failover") {
		t.Errorf("%v", s.nays)
	}
}
