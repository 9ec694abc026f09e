package workflows

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/interceptor"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The walk takes every operation through every fault at every place where one of its activities runs, on the fake world, and
// asks after each call and at the end what must hold whatever happens: see watcher.call, watcher.asks and watcher.end, and of
// the single tale its holds. It replaces an argument about the state machine by its enumeration.

// place is where an activity runs for the first time: in which run of the tale, and at which of its steps.
type place struct{ run, method, step string }

// walk runs a tale with a fault at a place.
func walk(t *testing.T, of tale, at place, f fault, healthy *watcher) *watcher {
	t.Helper()
	w := &watcher{tale: of, w: of.world(), at: at, fault: f, asked: map[string]int{}, runs: map[string][]string{}}
	if f.world != nil {
		f.world(w.w)
	}
	w.s = newStage(t, w.w)
	if of.root != "" { // to say the same one twice makes the environment forget it
		w.s.id(of.root)
	}
	o := patient
	o.Interceptors = []interceptor.WorkerInterceptor{&faithful{}, w}
	w.s.env.SetWorkerOptions(o)
	w.react = w.asks
	if f.people != nil {
		w.react = func(st Status) []runbook.Command {
			if st.Waiting != nil && st.Waiting.For == WaitDecide {
				return w.asks(st)
			}
			return f.people(st)
		}
	}
	w.s.env.RegisterDelayedCallback(w.tick, time.Second)
	w.s.env.ExecuteWorkflow(of.workflow, of.input())
	if !w.s.env.IsWorkflowCompleted() {
		t.Fatalf("%s, %s at %v: the run did not end", of.name, f.name, at)
	}
	if w.failed = w.s.env.GetWorkflowError(); w.failed == nil {
		w.outcome = of.ends(w.s.env)
	}
	w.end(of.world(), healthy)
	return w
}

// tell reports what did not hold.
func (w *watcher) tell(t *testing.T) {
	t.Helper()
	for _, text := range w.wrong {
		t.Errorf("%s, %s at %s (%s) of %s: %s", w.tale.name, w.fault.name, w.at.method, w.at.step, w.at.run, text)
	}
}

// stride is which part of the product `make test` walks: no divisor of the number of faults, so that every place and every fault
// with each tale has its turn.
const stride = 23

// Every operation, every place, every fault. Within `make test` a part of the product; all of it with DRAWBRIDGE_LONG.
func TestWhateverHappensWhereverItHappensTheRulesHold(t *testing.T) {
	var whole, walked atomic.Int64
	t.Run("tales", func(t *testing.T) {
		for _, of := range tales() {
			t.Run(of.name, func(t *testing.T) {
				t.Parallel()
				all, mine := of.walked(t)
				whole.Add(int64(all))
				walked.Add(int64(mine))
			})
		}
	})
	t.Logf("operation x place x fault: %d tales, %d faults, %d answers of people; %d combinations, %d walked", len(tales()), len(faults()), len(answers()), whole.Load(), walked.Load())
}

// walked takes one tale through its faults; it tells how many there are, and how many it met.
func (of tale) walked(t *testing.T) (all, met int) {
	t.Helper()
	healthy := walk(t, of, place{}, fault{}, nil)
	healthy.tell(t)
	if healthy.failed != nil || healthy.outcome != of.goal() {
		t.Fatalf("%s without a fault: %q, %v, %s", of.name, healthy.outcome, healthy.failed, healthy.w.report.Error)
	}
	all, met = of.struck(t, healthy.places, healthy)
	for _, f := range answers() {
		if !of.asks {
			continue
		}
		w := walk(t, of, place{}, f, nil)
		if ErrorType(w.failed) != of.refused || w.failed == nil && w.outcome != runbook.NoChange {
			w.err("it ended as %q, %v", w.outcome, w.failed)
		}
		w.tell(t)
		all, met = all+1, met+1
	}
	t.Logf("%-24s %3d places, %4d runs of %4d, ends as %q without a fault", of.name, len(healthy.places), met, all, healthy.outcome)
	return all, met
}

// struck takes a tale through every fault at places; like is the same tale without one.
func (of tale) struck(t *testing.T, places []place, like *watcher) (all, met int) {
	t.Helper()
	long := os.Getenv("DRAWBRIDGE_LONG") != ""
	for _, at := range places {
		for _, f := range faults() {
			if f.command && !of.hears(at.run) {
				continue
			}
			all++
			if !long && (f.long || all%stride != 0) {
				continue
			}
			walk(t, of, at, f, like).tell(t)
			met++
		}
	}
	return all, met
}

// The control: a run that acts without being asked, one whose fence binds nobody, a look that writes and a drill that leaves
// something behind are noticed by the same watcher.
func TestTheWalkNoticesWhatMustNotBe(t *testing.T) {
	notices := func(of tale, f fault, want string) {
		t.Helper()
		if w := walk(t, of, place{}, f, nil); !slices.ContainsFunc(w.wrong, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%s: nobody says %q: %q", of.name, want, w.wrong)
		}
	}
	unasked := taleOf("setup")
	unasked.asks = true
	notices(unasked, fault{}, "before anybody had approved")
	still := taleOf("setup")
	still.still = true
	notices(still, fault{}, "it is to look only")
	notices(still, fault{}, "is another than before")
	astray := taleOf("setup")
	astray.never = []string{"EnsureLink"}
	notices(astray, fault{}, "EnsureLink")
	messy := taleOf("drill, canary")
	notices(messy, fault{world: func(w *world) { w.drill.sticks = true }}, "it left")

	unfenced := taleOf("failover, source alive")
	unfenced.source = away // where no fence is
	if w := walk(t, unfenced, place{}, fault{}, nil); w.overridden == slices.ContainsFunc(w.wrong, func(s string) bool { return strings.Contains(s, "without a proven fence") }) {
		t.Errorf("a flip without a fence, overridden %t: %q", w.overridden, w.wrong)
	}
}
