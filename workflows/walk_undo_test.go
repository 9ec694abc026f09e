package workflows

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The walk of the way back: an operation is aborted where the most is to be undone, and every fault strikes at every place that
// follows, those of its undo. The same must hold as on the way there.

// ways are the operations that undo, each with the activity before which it is aborted: of those that have a pivot it.
var ways = []struct{ tale, before string }{
	{"failover, source lost", "FailoverMirrors"},
	{"failover, source alive", "FailoverMirrors"},
	{"switchover", "PromoteMirrors"},
	{"recover", "ComputeLedger"},
	{"failback", "PromoteMirrors"},
	{"restore", "AwaitMirrors"},
	{"unfence", "LiftFence"},
	{"drill, canary", "FailoverMirrors"},
}

// turnsBack is where a run of a tale is aborted: the last place before the first one of an activity.
func (w *watcher) turnsBack(before string) place {
	i := slices.IndexFunc(w.places, func(p place) bool { return p.method == before })
	if i < 1 {
		return place{}
	}
	return w.places[i-1]
}

// Every operation that can be undone, every place of its undo, every fault. Within `make test` a part of the product; all of it
// with DRAWBRIDGE_LONG.
func TestWhateverHappensWhileARunIsUndoneTheRulesHold(t *testing.T) {
	var whole, walked atomic.Int64
	t.Run("tales", func(t *testing.T) {
		for _, way := range ways {
			t.Run(way.tale, func(t *testing.T) {
				t.Parallel()
				all, mine := taleOf(way.tale).walkedBack(t, way.before)
				whole.Add(int64(all))
				walked.Add(int64(mine))
			})
		}
	})
	t.Logf("operation x place of its undo x fault: %d operations, %d combinations, %d walked", len(ways), whole.Load(), walked.Load())
}

func (of tale) walkedBack(t *testing.T, before string) (all, met int) {
	t.Helper()
	turn := walk(t, of, place{}, fault{}, nil).turnsBack(before)
	if turn == (place{}) {
		t.Fatalf("%s without a fault never comes to %s", of.name, before)
	}
	of.turn, of.want = turn, "" // how it ends without a fault is what undone says
	undone := walk(t, of, place{}, fault{}, nil)
	undone.tell(t)
	i := slices.Index(undone.places, turn)
	places := undone.places[i+1:]
	if !undone.turned || i < 0 || len(places) < 2 || undone.outcome == runbook.Done {
		t.Fatalf("%s aborted at %v: turned %t, %d places follow, %q, %v", of.name, turn, undone.turned, len(places), undone.outcome, undone.failed)
	}
	all, met = of.struck(t, places, undone)
	t.Logf("%-24s aborted at %s (%s): %3d places of its undo, %4d runs of %4d, ends as %q", of.name, turn.method, strings.TrimSpace(turn.step), len(places), met, all, undone.outcome)
	return all, met
}

// What the walk of the undo found: a Consul that took the lock and not its end shows a lock of nobody, and is alone when the
// other one dies. People are told, and Debt writes the copy.
func TestACopyThatAnUndoCouldNotWriteIsToldAndSeenTo(t *testing.T) {
	for name, c := range map[string]struct {
		step string // of the write behind which the next one is refused
		want int
	}{"the copy is refused": {"undo lock record", 1}, "an earlier copy, made good by the next": {"undo freeze", 0}} {
		w := calm()
		w.plan.Debts.EverySeconds = 60
		s := newStage(t, w)
		s.react = agree
		w.hook = func(method string, in Call) {
			switch {
			case method == "AwaitDrained":
				s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.Abort), done) })
			case method == "WriteRecord" && in.Step == c.step:
				w.mu.Lock()
				w.fail["WriteRecord"] = []error{no(ErrRefused, "the token was revoked")}
				w.mu.Unlock()
			}
		}
		s.run(Switchover, planned())
		s.outcome(runbook.NoChange)
		told := slices.ContainsFunc(s.res.Report.Findings, func(f string) bool {
			return strings.Contains(f, "may still show the lock of this run") && strings.Contains(f, "the token was revoked")
		})
		if w.count("WakeDebt") != c.want || told != (c.want > 0) {
			t.Errorf("%s: Debt was woken %d times, want %d; findings %q", name, w.count("WakeDebt"), c.want, s.res.Report.Findings)
		}
	}
}
