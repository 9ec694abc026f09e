package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// calm is a pair in its steady state that may be moved.
func calm() *world {
	w := steady()
	w.heard = true
	return w
}

func planned(overrides ...string) SwitchoverInput {
	return SwitchoverInput{Start: request(runbook.OpSwitchover, overrides...)}
}

func TestSwitchoverMovesThePairAndTurnsTheMirrorsRound(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	frozen := false
	w.hook = func(method string, c Call) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if method == "PromoteMirrors" {
			frozen = w.consul[away].Phase == record.Frozen && w.consul[home].Phase == record.Frozen && w.fences[home][c.OperationID] && w.groups[home][c.OperationID]
		}
	}
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	s.clean()
	if !frozen {
		t.Error("mirrors were promoted while clients were not frozen and fenced")
	}
	turnedRound(t, w, home, away, "there", "back", 2)
	for _, o := range [][2]string{
		{"ComputeLedger", "EngineLock"},
		{"CompareTopics", "AwaitMirrors"},
		{"AwaitMirrors", "OpenTransactions"},
		{"OpenTransactions", "EngineLock"},
		{"EngineLock", "EnsureLink"},
		{"EnsureLink", "BeginOperation"},
		{"BeginOperation", "FenceSite"},
		{"FenceSite", "EndTransactions"},
		{"EndTransactions", "AwaitGroupsEmpty"},
		{"AwaitGroupsEmpty", "AwaitDrained"},
		{"AwaitDrained", "SyncGroups"},
		{"SyncGroups", "PromoteMirrors"},
		{"LiftGroupFence", "FenceSite"},
		{"AwaitClientsMoved", "CompareLogEnds"},
		{"CompareLogEnds", "Rejoin"},
		{"Rejoin", "OwnGroups"}, // before, its engine knows no group
		{"OwnGroups", "HandOverFence"},
	} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s: %v", o[0], o[1], w.calls)
		}
	}
	r := s.res.Report
	if len(r.Approvals) != 1 || r.Move == nil || r.Move.LagRecords != 9 || r.Move.LeastSeconds != 2 || r.Move.FreezeSeconds != 60 {
		t.Errorf("approvals %v, forecast %+v", r.Approvals, r.Move)
	}
	if r.Proof == nil || r.Proof.Partitions != 3 || !r.Proof.OffsetsExact || r.RPOExact == nil || *r.RPOExact != 0 {
		t.Errorf("proof %+v, exact RPO %v", r.Proof, r.RPOExact)
	}
	var segments []string
	for _, seg := range r.RTO {
		segments = append(segments, seg.Name)
	}
	if strings.Join(segments, " ") != "fence drain promote flip clients" {
		t.Errorf("RTO of %v", segments)
	}
	if !strings.Contains(r.Markdown(), "Zero loss: 3 partitions") {
		t.Error("the report does not say that nothing was lost")
	}

	// And back, over the mirrors that the first move left.
	w.topics[away] = w.topics[home]
	s = newStage(t, w)
	s.react = agree
	in := planned()
	in.Target = home
	s.run(Switchover, in)
	s.outcome(runbook.Done)
	s.clean()
	turnedRound(t, w, away, home, "back", "there", 3)
}

// turnedRound: clients, mirrors and guards are turned round, and no fence is left.
func turnedRound(t *testing.T, w *world, from, to, link, reverse string, epoch int64) {
	t.Helper()
	for site, r := range w.consul {
		if r.Active[0] != to || r.Epoch != epoch || len(r.FenceDebt) != 0 || r.Phase != record.Open {
			t.Errorf("record at %s: %+v", site, r)
		}
	}
	for topic, st := range w.mirrors[link] {
		if st != "STOPPED" || w.mirrors[reverse][topic] != "ACTIVE" {
			t.Errorf("%s: %s %s, %s %s", topic, link, st, reverse, w.mirrors[reverse][topic])
		}
	}
	if n := len(w.fences[home]) + len(w.fences[away]) + len(w.groups[home]) + len(w.groups[away]); n != 0 || !w.guards[from] {
		t.Errorf("fences %v, groups %v, guards %v: every fence must be a guard's now", w.fences, w.groups, w.guards)
	}
}

func TestDryRunOfASwitchoverSaysWhatItWouldDo(t *testing.T) {
	w := calm()
	w.behind = true // it does not wait for that
	w.open = []runbook.OpenTransaction{{Topic: "a", TransactionalID: "checkout"}}
	s := newStage(t, w)
	s.id(DryID("orders", "1"))
	in := planned()
	in.DryRun = true
	s.run(Switchover, in)
	s.outcome(runbook.Dry)
	for _, m := range []string{"EngineLock", "WriteRecord", "EnsureLink", "BeginOperation", "FenceSite", "EndTransactions", "AwaitMirrors", "Notify", "SaveReport"} {
		if w.count(m) > 0 {
			t.Errorf("a dry run called %s", m)
		}
	}
	r := s.res.Report
	if r.Move == nil || r.Move.LeastSeconds != 7 || !slices.Equal(r.Move.Groups, []string{"g"}) || len(r.Move.Transactions) != 1 {
		t.Errorf("forecast %+v", r.Move)
	}
	pivots := 0
	for _, p := range r.Planned {
		if p.Pivot {
			pivots++
		}
	}
	if len(r.Planned) < 10 || pivots != 1 || !strings.Contains(r.Markdown(), "transaction checkout on a/0 is ended") {
		t.Errorf("planned %+v", r.Planned)
	}
}

func TestSwitchoverRefusesWhatAWaitWouldNotMend(t *testing.T) {
	debt := record.FenceDebt{Kind: record.DebtFence, Site: home, OpID: "failover-0", Since: time.Unix(3000, 0), Reason: "unreachable"}
	undecided := calm()
	undecided.ledger = []runbook.LedgerLine{{Topic: "a", Records: 3, Decision: runbook.LedgerUndecided}}
	with := func(change func(*world)) *world {
		w := calm()
		change(w)
		return w
	}
	for name, c := range map[string]struct {
		w       *world
		target  string
		errType string
		want    string
	}{
		"no record":       {newWorld(), "", ErrPrecondition, "drctl setup orders"},
		"debt":            {failedOver(debt), "", ErrPrecondition, "drctl recover orders --debts-only"},
		"silent":          {with(func(w *world) { w.down[away+" engine"] = true }), "", ErrPrecondition, "engine west"},
		"active already":  {calm(), home, ErrPrecondition, "active at east already"},
		"no such site":    {calm(), "north", ErrPrecondition, "can be moved to west"},
		"held":            {with(func(w *world) { w.locks[away] = "drill-1" }), "", ErrPairBusy, "drill-1"},
		"undecided":       {undecided, "", ErrPrecondition, "drctl recover orders"},
		"no mirror":       {with(func(w *world) { delete(w.mirrors["there"], "b") }), "", ErrPrecondition, "topic b has no mirror on link there"},
		"paused mirror":   {with(func(w *world) { w.mirrors["there"]["b"] = "PAUSED" }), "", ErrPrecondition, "mirror b on link there is PAUSED"},
		"partitions":      {with(func(w *world) { w.shapes = map[string]int{"a": 3} }), "", ErrPrecondition, "1 partitions at east and 3 at west"},
		"source unheard":  {with(func(w *world) { w.heard = false }), "", ErrPrecondition, "does not reach east"},
		"lag":             {with(func(w *world) { w.behind = true }), "", ErrPrecondition, "lag 99 records"},
		"away, not ready": {decided(), "", ErrPrecondition, "does not reach west"},
	} {
		s := newStage(t, c.w)
		s.react = agree
		in := planned()
		in.Target = c.target
		s.run(Switchover, in)
		if ErrorType(s.err) != c.errType || !strings.Contains(s.err.Error(), c.want) {
			t.Errorf("%s: %v, want %s with %q", name, s.err, c.errType, c.want)
		}
		if c.w.count("EngineLock")+c.w.count("FenceSite") > 0 {
			t.Errorf("%s: %v", name, c.w.calls)
		}
	}
}

func TestSwitchoverThatNobodyApprovesChangesNothing(t *testing.T) {
	w := calm()
	w.open = []runbook.OpenTransaction{{Topic: "a", TransactionalID: "checkout"}}
	s := newStage(t, w)
	text := ""
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		text = st.Waiting.Text
		return []runbook.Command{signed(st, "eve", runbook.Deny)}
	}
	s.run(Switchover, planned())
	s.outcome(runbook.NoChange)
	s.clean()
	if w.count("EngineLock") > 0 || !strings.Contains(text, "transaction checkout on a/0") || !strings.Contains(text, "at most 60 s") {
		t.Errorf("asked %q; %v", text, w.calls)
	}
	s = newStage(t, calm()) // and nobody at all
	s.run(Switchover, planned())
	s.outcome(runbook.NoChange)
	if !strings.Contains(s.res.Report.Error, "deadline") {
		t.Error(s.res.Report.Error)
	}
}

// still: clients work where they worked before, unfenced; each undo ran once.
func (s *stage) still(outcome string) {
	s.t.Helper()
	w := s.w
	if s.err == nil {
		s.outcome(outcome)
	} else if w.report.Outcome != outcome {
		s.t.Errorf("outcome %q, want %q", w.report.Outcome, outcome)
	}
	s.clean()
	for site, r := range w.consul {
		if r.Active[0] != home || r.Epoch != 1 || r.Phase != record.Open {
			s.t.Errorf("record at %s: %+v", site, r)
		}
	}
	if n := len(w.fences[home]) + len(w.groups[home]); n != 0 || w.count("LiftFence") != 1 || w.count("RevokeOperation") != 1 || !w.before("RevokeOperation", "LiftFence") {
		s.t.Errorf("fences %v, groups %v, undone by %v", w.fences, w.groups, w.calls)
	}
	for topic, st := range w.mirrors["there"] {
		if st != "ACTIVE" {
			s.t.Errorf("mirror %s is %s", topic, st)
		}
	}
}

func TestSwitchoverThatCannotGoOnInItsFreezeIsUndone(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(*world)
		errType string
		want    string
	}{
		"fence not proven":            {func(w *world) { w.deaf = true }, ErrHalted, "not proven"},
		"transaction cannot be ended": {func(w *world) { w.open = []runbook.OpenTransaction{{Topic: "a", TransactionalID: "checkout"}} }, ErrHalted, "checkout on a/0"},
		"group never stops":           {func(w *world) { w.busy = []string{"g (2 members)"} }, ErrHalted, "g (2 members)"},
		"clamped offset":              {func(w *world) { w.synced = []runbook.GroupRisk{{Group: "g", Topic: "a", Clamped: true}} }, ErrHalted, "would be set back"},
		"promote that ends no mirror": {func(w *world) { w.fail["PromoteMirrors"] = []error{no(ErrRefused, "source unreachable")} }, ErrRefused, "source unreachable"},
		"drain that fails for good":   {func(w *world) { w.fail["AwaitDrained"] = []error{no(ErrRefused, "a partition is gone")} }, ErrRefused, "partition is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			c.spoil(w)
			s := newStage(t, w)
			s.react = agree
			s.run(Switchover, planned())
			s.failed(c.errType)
			if !strings.Contains(s.err.Error(), c.want) {
				t.Errorf("%v does not say %q", s.err, c.want)
			}
			s.still(runbook.NoChange)
		})
	}
}

func TestUnprovenFenceOfASwitchoverMayBeOverridden(t *testing.T) {
	w := calm()
	w.deaf = true
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return []runbook.Command{signed(st, "bob", runbook.Approve, runbook.OverrideFence)}
	}
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	if !slices.Contains(s.res.Report.Overrides, runbook.OverrideFence) {
		t.Errorf("overrides %v", s.res.Report.Overrides)
	}
	turnedRound(t, w, home, away, "there", "back", 2)
}

func TestSwitchoverWhoseFreezeExpiresChangesNothing(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.plan.Limits.FreezeSeconds = 4 // the test's clock runs while a step does
	over := make(chan struct{})
	w.hook = func(method string, _ Call) {
		if method == "AwaitDrained" {
			<-over // a drain that never ends: the expiry must not wait for it
		}
	}
	s.react = agree
	s.run(Switchover, planned())
	close(over)
	s.still(runbook.NoChange)
	if !strings.Contains(s.res.Report.Error, "freeze took longer") {
		t.Errorf("%q", s.res.Report.Error)
	}
}

func TestAbortedSwitchoverChangesNothing(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.hook = func(method string, _ Call) {
		if method == "AwaitDrained" {
			s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.Abort), done) })
		}
	}
	s.react = agree
	s.run(Switchover, planned())
	s.still(runbook.NoChange)
	if !strings.Contains(s.res.Report.Error, "aborted by ann") {
		t.Errorf("%q", s.res.Report.Error)
	}
}

func TestSwitchoverThatPromotedSomeMirrorsOnlyGoesOn(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.stuck = map[string]bool{"b": true}
	w.hook = func(method string, _ Call) {
		if method == "RevokeOperation" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.stuck = nil // the second try ends it
		}
	}
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	s.clean()
	turnedRound(t, w, home, away, "there", "back", 2)
	if w.count("PromoteMirrors") != 2 || w.count("LiftFence") != 0 {
		t.Errorf("%v", w.calls)
	}
}
