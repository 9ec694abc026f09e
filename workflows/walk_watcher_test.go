package workflows

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// watcher stands round every activity of one run.
type watcher struct {
	interceptor.WorkerInterceptorBase
	s     *stage
	w     *world
	tale  tale
	at    place
	fault fault
	react func(Status) []runbook.Command

	failed  error  // how the tale ended
	outcome string // likewise, if not failed

	mu         sync.Mutex // guards what follows
	places     []place
	turned     bool // it was aborted at its tale's turn
	happened   int
	approved   bool
	overridden bool
	intruded   string
	asked      map[string]int      // step → how often a person was asked for it
	runs       map[string][]string // workflow id → its runs so far
	sent       int
	ticks      int
	wrong      []string
}

func (w *watcher) err(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !slices.Contains(w.wrong, text) {
		w.wrong = append(w.wrong, text)
	}
}

func (w *watcher) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &inbound{w: w}
	i.Next = next
	return i
}

type inbound struct {
	interceptor.ActivityInboundInterceptorBase
	w *watcher
}

func (i *inbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	w := i.w
	info := activity.GetInfo(ctx)
	here := place{run: w.run(info.WorkflowExecution.ID, info.WorkflowExecution.RunID), method: info.ActivityType.Name}
	if c, ok := reflect.Indirect(reflect.ValueOf(in.Args[0])).FieldByName("Call").Interface().(Call); ok {
		here.step = c.Step
	}
	w.call(here, in.Args[0])
	hit := w.hit(here)
	if w.turns(here) {
		w.sayAt(here, func(st Status) runbook.Command { return signed(st, "ann", runbook.Abort) })
	}
	if hit && w.fault.before != nil {
		if err := w.fault.before(w); err != nil {
			return nil, err
		}
	}
	out, err := i.Next.ExecuteActivity(ctx, in)
	if err == nil {
		w.done(here, in.Args[0], out)
	}
	if hit && err == nil && w.fault.after != nil {
		err = w.fault.after(w)
	}
	return out, err
}

// run names the n-th run of a workflow id.
func (w *watcher) run(id, run string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.runs[id], run) {
		w.runs[id] = append(w.runs[id], run)
	}
	return fmt.Sprintf("%s %d", id, slices.Index(w.runs[id], run)+1)
}

// id is the workflow id of the place's run.
func (p place) id() string { return p.run[:strings.LastIndex(p.run, " ")] }

// hit tells whether the fault happens now.
func (w *watcher) hit(here place) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.places, here) {
		w.places = append(w.places, here)
	}
	if here != w.at || w.happened > max(w.fault.times-1, 0) {
		return false
	}
	w.happened++
	return true
}

// turns tells whether the tale is aborted now.
func (w *watcher) turns(here place) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if here != w.tale.turn || w.turned {
		return false
	}
	w.turned = true
	return true
}

// looks are the activities that change nothing, and papers those that may always be written.
var looks = []string{
	"LoadPlan", "VerifySignature", "ReadRecord", "AttestOutage", "MeasureRisk", "ListDRTopics", "MeasureCopy", "OpenTransactions",
	"CompareTopics", "SurveyTopics", "InspectLink", "ComputeLedger", "AwaitMirrors", "CheckPrivileges", "ProveWritable", "PastRuns", "ReadFences", "ReadHold",
	"InspectDrills", "Notify", "SaveReport", "SaveReadiness",
}

// call asks what must hold before an activity acts.
func (w *watcher) call(here place, in any) {
	pivot, source := w.move(here)
	w.w.mu.Lock()
	stopped := w.stopped(pivot)
	fenced := len(w.w.fences[source]) > 0 && !w.w.deaf && !w.w.down[source+" kafka"]
	a, b := w.w.consul[home], w.w.consul[away]
	w.w.mu.Unlock()
	w.mu.Lock()
	approved, overridden := w.approved, w.overridden
	w.mu.Unlock()
	if w.tale.asks && !approved && !slices.Contains(looks, here.method) {
		w.err("%s (%s) ran before anybody had approved", here.method, here.step)
	}
	if w.tale.still && !slices.Contains(looks, here.method) {
		w.err("it is to look only, and called %s (%s)", here.method, here.step)
	}
	if slices.Contains(w.tale.never, here.method) {
		w.err("%s (%s) has no place in it", here.method, here.step)
	}
	if w.tale.each != nil {
		w.tale.each(w, here, in)
	}
	if hold, ok := in.(HoldRetentionInput); ok && hold.LookOnly {
		return
	}
	if stopped && here.method == "LiftFence" {
		w.err("the fence was lifted (%s) behind the pivot", here.step)
	}
	if here.step == "flip" && here.method == "WriteRecord" {
		if pivot != "" && !stopped && w.fault.times == 0 { // else a person skipped what stops them
			w.err("flipped before any mirror was STOPPED")
		}
		if source != "" && !fenced && !overridden {
			w.err("flipped without a proven fence, and nobody had overridden that")
		}
	}
	if a != nil && b != nil && a.Epoch == b.Epoch && !slices.Equal(a.Active, b.Active) {
		w.err("two sites are active at epoch %d: %v and %v", a.Epoch, a.Active, b.Active)
	}
}

// move is the link whose mirrors a run ends, and the side that it leaves.
func (w *watcher) move(here place) (pivot, source string) {
	if w.tale.back && here.run == ID("orders")+" 2" {
		return "back", away
	}
	return w.tale.pivot, w.tale.source
}

// stopped tells whether the pivot is crossed; the world must be locked.
func (w *watcher) stopped(pivot string) bool {
	for _, t := range []string{"a", "b"} {
		if pivot != "" && w.w.mirrors[pivot][t] == "STOPPED" {
			return true
		}
	}
	return false
}

// done notes what an activity found out.
func (w *watcher) done(here place, in, out any) {
	if here.method == "SaveReport" { // a run that follows asks for its own
		w.mu.Lock()
		w.approved, w.overridden = false, false
		w.mu.Unlock()
	}
	v, ok := in.(VerifySignatureInput)
	if !ok || here.step == "verify request" {
		return
	}
	if got, ok := out.(VerifySignatureResult); ok && got.Valid && v.Command.Decision == runbook.Approve {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.approved = true
		w.overridden = w.overridden || slices.Contains(v.Command.Overrides, runbook.OverrideFence)
	}
}

// status asks a run that takes commands. The environment falls over a child that was
// started and has not had its first turn: that is no answer either.
func (w *watcher) status(id string) (st Status, ok bool) {
	defer func() { ok = recover() == nil && ok }()
	v, err := w.s.env.QueryWorkflowByID(id, QueryStatus)
	return st, err == nil && v.Get(&st) == nil
}

// send sends a run a command and calls then when its answer is there.
func (w *watcher) send(id string, c runbook.Command, then func()) {
	w.sent++
	err := w.s.env.UpdateWorkflowByID(id, c.Decision, fmt.Sprintf("%s-%d", c.Decision, w.sent), &testsuite.TestUpdateCallback{
		OnAccept: func() {}, OnReject: func(error) { then() }, OnComplete: func(any, error) { then() },
	}, c)
	if err != nil {
		then() // that run has ended
	}
}

// tick has people look at the runs of the tale that take commands, every second.
func (w *watcher) tick() {
	if w.ticks++; w.ticks > 100_000 {
		panic(fmt.Sprintf("%s, %s at %v: it never ends: %+v", w.tale.name, w.fault.name, w.at, w.w.calls[max(0, len(w.w.calls)-20):]))
	}
	for _, id := range slices.Compact([]string{ID("orders"), w.tale.id()}) {
		if st, ok := w.status(id); ok && w.tale.hears(id) {
			for _, c := range w.react(st) {
				w.send(id, c, func() {})
			}
		}
	}
	w.s.env.RegisterDelayedCallback(w.tick, time.Second)
}

// asks is people's part, each second: they approve, decide, try a failed step again, then skip it where that is offered; and it
// asks what must hold of every state that they see.
func (w *watcher) asks(st Status) []runbook.Command {
	q := st.Waiting
	if q == nil {
		return nil
	}
	if len(q.Commands) == 0 || q.Text == "" {
		w.err("phase %q waits for %s and names no way out: %q, %v", st.Phase, q.For, q.Text, q.Commands)
	}
	if undoing := strings.HasPrefix(q.Step, "undo: ") || strings.HasPrefix(q.Step, "revoke "); slices.Contains(q.Commands, runbook.Abort) == (st.PastPivot || undoing) {
		w.err("phase %q (past the pivot %t, step %q) offers %v", st.Phase, st.PastPivot, q.Step, q.Commands)
	}
	switch q.For {
	case WaitApproval:
		return agree(st)
	case WaitDecide:
		c := signed(st, "bob", runbook.Decide)
		c.Choices = map[string]string{"*": w.tale.choice}
		return []runbook.Command{c}
	case WaitPerson:
		w.mu.Lock()
		w.asked[q.Step]++
		n := w.asked[q.Step]
		w.mu.Unlock()
		if n > 10 {
			panic(fmt.Sprintf("%s, %s at %v: step %q was tried %d times and never goes on: %s", w.tale.name, w.fault.name, w.at, q.Step, n, q.Text))
		}
		if n > 3 {
			w.mend()
		}
		decision := runbook.Retry
		if n > 1 && slices.Contains(q.Commands, runbook.Skip) {
			decision = runbook.Skip
		}
		if !slices.Contains(q.Commands, decision) {
			w.err("step %q waits for a person and offers %v", q.Step, q.Commands)
		}
		c := signed(st, "bob", decision)
		c.Step = q.Step
		return []runbook.Command{c}
	}
	w.err("phase %q waits for %q, which nobody knows how to answer", st.Phase, q.For)
	return nil
}
