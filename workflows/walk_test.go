package workflows

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The walk takes every operation through every fault at every place where one of its activities runs, on the fake world, and
// asks after each call and at the end what must hold whatever happens (invariants.go would be here if it were no test): see
// watcher.call, watcher.asks and watcher.end. It replaces an argument about the state machine by its enumeration.

// tale is an operation on one of its paths.
type tale struct {
	name     string
	op       string
	workflow any
	world    func() *world
	input    func() any
	// asks: nothing may be changed before an approval.
	asks bool
	// pivot is the link whose first STOPPED mirror is the pivot, "" for none; source its side.
	pivot, source string
}

func tales() []tale {
	return []tale{
		{name: "setup", op: runbook.OpSetUp, workflow: SetUp, world: newWorld, input: func() any { return SetUpInput{Start: request(runbook.OpSetUp)} }},
		{name: "failover, source lost", op: runbook.OpFailover, workflow: Failover, world: lost, asks: true, pivot: "there", source: home, input: func() any { return FailoverInput{Start: request(runbook.OpFailover)} }},
		{name: "failover, source alive", op: runbook.OpFailover, workflow: Failover, world: calm, asks: true, pivot: "there", source: home, input: func() any { return FailoverInput{Start: request(runbook.OpFailover)} }},
		{name: "switchover", op: runbook.OpSwitchover, workflow: Switchover, world: calm, asks: true, pivot: "there", source: home, input: func() any { return planned() }},
		{name: "recover", op: runbook.OpRecover, workflow: RecoverLaggedData, world: func() *world { return failedOver() }, input: func() any { return RecoverInput{Start: request(runbook.OpRecover)} }},
		{name: "failback", op: runbook.OpFailback, workflow: Failback, world: decided, asks: true, pivot: "back", source: away, input: func() any { return FailbackInput{Start: request(runbook.OpFailback)} }},
		{name: "unfence", op: runbook.OpUnfence, workflow: Unfence, asks: true, input: func() any { return unfencing(runbook.OverrideLock) }, world: func() *world {
			w := calm()
			abandon(w)
			return w
		}},
	}
}

// place is where an activity runs for the first time.
type place struct{ method, step string }

// fault is what befalls a run at a place. before and after stand around the activity's act; an error from them is its answer.
type fault struct {
	name   string
	before func(*watcher) error
	after  func(*watcher) error
	// times is how often it happens; 0 is once.
	times int
	// same: the run must end as it does without the fault.
	same bool
	// world changes the world beforehand; long: it takes a second of the clock, so it is walked with DRAWBRIDGE_LONG only.
	world func(*world)
	long  bool
	// people answer instead of watcher.asks, and nobody's approval may count.
	people func(Status) []runbook.Command
}

func faults() []fault {
	lostAnswer := func(*watcher) error {
		return temporal.NewApplicationError("the worker was lost behind the act", ErrUnreachable)
	}
	refusal := func(*watcher) error { return no(ErrRefused, "refused for good") }
	command := func(by, decision string) func(*watcher) error {
		return func(w *watcher) error {
			w.command(func(st Status) runbook.Command { return signed(st, by, decision) })
			return nil
		}
	}
	return []fault{
		{name: "unreachable once", same: true, before: func(*watcher) error { return temporal.NewApplicationError("connection refused", ErrUnreachable) }},
		{name: "worker lost behind the act", same: true, after: lostAnswer},
		{name: "refused once", before: refusal},
		{name: "refused until skipped", before: refusal, times: 3},
		{name: "acts, then fails for good", after: refusal},
		{name: "acts, then fails for good until skipped", after: refusal, times: 3},
		{name: "abort", before: command("ann", runbook.Abort)},
		{name: "into failover", before: command("eve", runbook.IntoFailover)},
		{name: "cancel in Temporal", before: func(w *watcher) error {
			w.s.during(func(done func()) { w.s.env.CancelWorkflow(); done() })
			return nil
		}},
		{name: "commands that do not count", same: true, before: (*watcher).noise},
		{name: "another's lock appears", before: func(w *watcher) error { w.intrude(false); return nil }},
		{name: "another's epoch appears", before: func(w *watcher) error { w.intrude(true); return nil }},
		{name: "plan changed", same: true, after: func(w *watcher) error {
			w.w.mu.Lock()
			defer w.w.mu.Unlock()
			w.w.plan.People, w.w.plan.Approvals, w.w.plan.Limits = nil, nil, runbook.Limits{}
			return nil
		}},
		{
			name: "freeze expires", long: true,
			world:  func(w *world) { w.plan.Limits.FreezeSeconds = 1 },
			before: func(*watcher) error { time.Sleep(1100 * time.Millisecond); return nil }, //nolint:forbidigo // the run's clock is this one while an activity runs
		},
	}
}

// answers are what people may do instead of approving. The run must change nothing.
func answers() []fault {
	by := func(who, decision string) func(Status) []runbook.Command {
		return func(st Status) []runbook.Command {
			if st.Waiting == nil {
				return nil
			}
			return []runbook.Command{signed(st, who, decision, st.Waiting.Overrides...)}
		}
	}
	return []fault{
		{name: "nobody answers", people: func(Status) []runbook.Command { return nil }},
		{name: "denied", people: by("eve", runbook.Deny)},
		{name: "approved by the requester", people: by("ann", runbook.Approve)},
		{name: "approved without the overrides", people: func(st Status) []runbook.Command {
			if st.Waiting == nil || len(st.Waiting.Overrides) == 0 {
				return nil
			}
			return []runbook.Command{signed(st, "bob", runbook.Approve)}
		}},
	}
}

// watcher stands round every activity of one run.
type watcher struct {
	interceptor.WorkerInterceptorBase
	s     *stage
	w     *world
	tale  tale
	at    place
	fault fault

	mu         sync.Mutex // guards what follows
	places     []place
	happened   int
	approved   bool
	overridden bool
	intruded   string
	asked      map[string]int // step → how often a person was asked for it
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
	here := place{method: activity.GetInfo(ctx).ActivityType.Name}
	if c, ok := reflect.Indirect(reflect.ValueOf(in.Args[0])).FieldByName("Call").Interface().(Call); ok {
		here.step = c.Step
	}
	w.call(here, in.Args[0])
	hit := w.hit(here)
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

// looks are the activities that change nothing, and papers those that may always be written.
var looks = []string{
	"LoadPlan", "VerifySignature", "ReadRecord", "AttestOutage", "MeasureRisk", "ListDRTopics", "MeasureCopy", "OpenTransactions",
	"CompareTopics", "SurveyTopics", "InspectLink", "ComputeLedger", "AwaitMirrors", "CheckPrivileges", "ProveWritable", "PastRuns", "ReadFences", "Notify", "SaveReport",
}

// call asks what must hold before an activity acts.
func (w *watcher) call(here place, in any) {
	w.w.mu.Lock()
	stopped := w.stopped()
	fenced := len(w.w.fences[w.tale.source]) > 0 && !w.w.deaf && !w.w.down[w.tale.source+" kafka"]
	a, b := w.w.consul[home], w.w.consul[away]
	w.w.mu.Unlock()
	w.mu.Lock()
	approved, overridden := w.approved, w.overridden
	w.mu.Unlock()
	if w.tale.asks && !approved && !slices.Contains(looks, here.method) {
		w.err("%s (%s) ran before anybody had approved", here.method, here.step)
	}
	if hold, ok := in.(HoldRetentionInput); ok && hold.LookOnly {
		return
	}
	if stopped && here.method == "LiftFence" {
		w.err("the fence was lifted (%s) behind the pivot", here.step)
	}
	if here.step == "flip" && here.method == "WriteRecord" {
		if w.tale.pivot != "" && !stopped && w.fault.times == 0 { // else a person skipped what stops them
			w.err("flipped before any mirror was STOPPED")
		}
		if w.tale.source != "" && !fenced && !overridden {
			w.err("flipped without a proven fence, and nobody had overridden that")
		}
	}
	if a != nil && b != nil && a.Epoch == b.Epoch && !slices.Equal(a.Active, b.Active) {
		w.err("two sites are active at epoch %d: %v and %v", a.Epoch, a.Active, b.Active)
	}
}

// stopped tells whether the pivot is crossed; the world must be locked.
func (w *watcher) stopped() bool {
	for _, t := range []string{"a", "b"} {
		if w.tale.pivot != "" && w.w.mirrors[w.tale.pivot][t] == "STOPPED" {
			return true
		}
	}
	return false
}

// done notes what an activity found out.
func (w *watcher) done(here place, in, out any) {
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
		c.Choices = map[string]string{"*": runbook.ChooseAppend}
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

// command sends a command while an activity runs, and waits for its answer where that cannot block: a command under way keeps
// the others waiting.
func (w *watcher) command(c func(Status) runbook.Command) {
	if w.at.method == "VerifySignature" {
		w.s.env.RegisterDelayedCallback(func() { w.s.send(c(w.s.status())) }, 0)
		return
	}
	w.s.during(func(done func()) { w.s.sendThen(c(w.s.status()), done) })
}

// noise sends, by each command, what must not count: forged, stale, of another run, expired, by people who may not.
func (w *watcher) noise() error {
	for _, decision := range []string{runbook.Approve, runbook.Deny, runbook.Retry, runbook.Skip, runbook.Abort, runbook.Decide, runbook.IntoFailover} {
		for _, spoil := range []func(*runbook.Command){
			func(c *runbook.Command) { c.Signature = "by eve" },
			func(c *runbook.Command) { c.Epoch += 7 },
			func(c *runbook.Command) { c.PlanHash = "another" },
			func(c *runbook.Command) { c.OpID = "failover-0" },
			func(c *runbook.Command) { c.Operation = "drill" },
			func(c *runbook.Command) { c.Expires = time.Unix(1, 0) },
			func(c *runbook.Command) { c.By, c.Signature = "mallory", "by mallory" },
		} {
			w.s.env.RegisterDelayedCallback(func() {
				c := signed(w.s.status(), "bob", decision)
				spoil(&c)
				w.s.send(c)
			}, 0)
		}
	}
	return nil
}

// intrude is somebody who does not know of the run: another Temporal's operation that takes the locks, or one that moved the
// pair already.
func (w *watcher) intrude(moved bool) {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	by := runbook.By{OpID: "drill-elsewhere", Operation: "drill", Person: "eve", Now: time.Unix(5000, 0)}
	held := false
	for site, r := range w.w.consul {
		if r == nil {
			continue
		}
		if r.Lock != nil {
			held = true // its lock refuses the other
			continue
		}
		next := runbook.Locked(*r, record.Moving, by)
		if moved {
			next = runbook.Flip(*r, w.w.plan, r.Epoch+5, r.Standby[0], by)
		}
		next = next.Normalised()
		w.w.consul[site] = &next
		w.mu.Lock()
		w.intruded = by.OpID
		w.mu.Unlock()
	}
	if held {
		return
	}
	if !moved && len(w.w.locks) == 0 {
		w.w.locks[home], w.w.locks[away] = by.OpID, by.OpID
	}
	w.mu.Lock()
	w.intruded = by.OpID
	w.mu.Unlock()
}

// mend takes away by hand what another operation wrote into the record, as people must who are told that it is not the run's.
func (w *watcher) mend() {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	for site, r := range w.tale.world().consul {
		w.w.consul[site] = r
		for _, in := range w.w.writes {
			if in.Site.Name == site {
				r := in.Record
				w.w.consul[site] = &r
			}
		}
	}
}

// end asks what must hold when the run is over.
func (w *watcher) end(before *world, healthy *watcher) {
	s := w.s
	r := w.w.report
	if s.err != nil && ErrorType(s.err) == "" && !temporal.IsCanceledError(s.err) {
		w.err("it failed with no type of errors.go, so that nobody is told what to do: %v", s.err)
	}
	if s.err == nil && !slices.Contains([]string{runbook.Done, runbook.Partly, runbook.NoChange}, s.res.Outcome) {
		w.err("outcome %q", s.res.Outcome)
	}
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	skipped := slices.ContainsFunc(r.Steps, func(l runbook.StepLine) bool { return l.State == runbook.StateSkipped })
	for site, rec := range w.w.consul {
		if rec == nil || w.w.down[site+" consul"] || w.intruded != "" || skipped {
			continue
		}
		if rec.Lock != nil && strings.HasPrefix(rec.Lock.OpID, w.tale.op+"-") {
			w.err("the record at %s is left locked by %s in phase %s", site, rec.Lock.OpID, rec.Phase)
		}
		if len(rec.Active) != 1 {
			w.err("%v are active by the record at %s", rec.Active, site)
		}
	}
	for site, op := range w.w.locks {
		if op != w.intruded && op != gone && !skipped && !w.w.down[site+" engine"] {
			w.err("engine %s keeps the lock of %s", site, op)
		}
	}
	for link, state := range w.w.tokens {
		if state == "open" && w.tale.op != runbook.OpUnfence && !skipped {
			w.err("the token on %s is left open", link)
		}
	}
	if r.Outcome == runbook.NoChange && w.tale.pivot != "" && !skipped {
		for op := range w.w.fences[w.tale.source] {
			if strings.HasPrefix(op, w.tale.op+"-") && op != gone {
				w.err("it ended as %q and left its fence on %s", r.Outcome, w.tale.source)
			}
		}
		if w.stopped() {
			w.err("it ended as %q behind the pivot", r.Outcome)
		}
		for site, rec := range w.w.consul {
			if was := before.consul[site]; w.intruded == "" && was != nil && (rec.Epoch != was.Epoch || !slices.Equal(rec.Active, was.Active)) {
				w.err("it ended as %q and the record at %s says epoch %d, %v", r.Outcome, site, rec.Epoch, rec.Active)
			}
		}
	}
	flips := map[int64]bool{}
	for _, in := range w.w.writes {
		if in.Kind == WriteFlip {
			flips[in.Record.Epoch] = true
		}
	}
	if len(flips) > 1 {
		w.err("it made %d epochs", len(flips))
	}
	if w.fault.same && healthy != nil && (s.err != nil) != (healthy.s.err != nil) {
		w.err("it ended with %v, without the fault with %v", s.err, healthy.s.err)
	}
	if w.fault.same && healthy != nil && s.err == nil && s.res.Outcome != healthy.s.res.Outcome {
		w.err("it ended as %q (%s), without the fault as %q", s.res.Outcome, r.Error, healthy.s.res.Outcome)
	}
}

// walk runs a tale with a fault at a place.
func walk(t *testing.T, of tale, at place, f fault, healthy *watcher) *watcher {
	t.Helper()
	w := &watcher{tale: of, w: of.world(), at: at, fault: f, asked: map[string]int{}}
	if f.world != nil {
		f.world(w.w)
	}
	w.s = newStage(t, w.w)
	o := patient
	o.Interceptors = []interceptor.WorkerInterceptor{&faithful{}, w}
	w.s.env.SetWorkerOptions(o)
	w.s.react = w.asks
	if f.people != nil {
		w.s.react = f.people
	}
	w.s.run(of.workflow, of.input())
	w.end(of.world(), healthy)
	return w
}

// tell reports what did not hold.
func (w *watcher) tell(t *testing.T) {
	t.Helper()
	for _, text := range w.wrong {
		t.Errorf("%s, %s at %s (%s): %s", w.tale.name, w.fault.name, w.at.method, w.at.step, text)
	}
}

// Every operation, every place, every fault. Within `make test` a part of the product, spread so that each place and each
// fault with each operation is in it; all of it with DRAWBRIDGE_LONG.
func TestWhateverHappensWhereverItHappensTheRulesHold(t *testing.T) {
	long := os.Getenv("DRAWBRIDGE_LONG") != ""
	const stride = 11 // no divisor of the number of faults: every place and every fault has its turn
	whole, walked := 0, 0
	for _, of := range tales() {
		healthy := walk(t, of, place{}, fault{}, nil)
		healthy.tell(t)
		if healthy.s.err != nil || healthy.s.res.Outcome == runbook.NoChange {
			t.Fatalf("%s without a fault: %q, %v, %s", of.name, healthy.s.res.Outcome, healthy.s.err, healthy.s.res.Report.Error)
		}
		mine := 0
		for _, at := range healthy.places {
			for _, f := range faults() {
				whole++
				if !long && (f.long || whole%stride != 0) {
					continue
				}
				walk(t, of, at, f, healthy).tell(t)
				mine++
			}
		}
		for _, f := range answers() {
			if !of.asks {
				continue
			}
			w := walk(t, of, place{}, f, nil)
			if w.s.err != nil || w.s.res.Outcome != runbook.NoChange {
				w.err("it ended as %q, %v", w.s.res.Outcome, w.s.err)
			}
			w.tell(t)
			whole, mine = whole+1, mine+1
		}
		walked += mine
		t.Logf("%-24s %3d places, %4d runs, ends as %q without a fault", of.name, len(healthy.places), mine, healthy.s.res.Outcome)
	}
	t.Logf("operation x place x fault: %d operations, %d faults, %d answers of people; %d combinations, %d walked", len(tales()), len(faults()), len(answers()), whole, walked)
}

// The control: a run that acts without being asked, and one whose fence binds nobody, are noticed by the same watcher.
func TestTheWalkNoticesWhatMustNotBe(t *testing.T) {
	unasked := tales()[0]
	unasked.asks = true
	if w := walk(t, unasked, place{}, fault{}, nil); !slices.ContainsFunc(w.wrong, func(s string) bool { return strings.Contains(s, "before anybody had approved") }) {
		t.Errorf("a set-up that nobody approved: %q", w.wrong)
	}
	unfenced := tales()[2]
	unfenced.source = away // where no fence is
	if w := walk(t, unfenced, place{}, fault{}, nil); w.overridden == slices.ContainsFunc(w.wrong, func(s string) bool { return strings.Contains(s, "without a proven fence") }) {
		t.Errorf("a flip without a fence, overridden %t: %q", w.overridden, w.wrong)
	}
}
