package kube

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// asks is what an operation asks for in the nth minute, at epoch 1.
func asks(operation string, minute int) Request {
	return Request{Operation: operation, Epoch: 1, At: time.Date(2026, 11, 23, 8, minute, 0, 0, time.UTC)}
}

// stopped is one look of a stop, settled by the controller behind a first one.
func (f *fake) stopped(n *Namespace, r Request) runbook.Workload {
	f.t.Helper()
	if _, err := n.Stop(f.t.Context(), r, 0); err != nil {
		f.t.Fatal(err)
	}
	f.settle()
	list, err := n.Stop(f.t.Context(), r, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return list[0]
}

func (f *fake) started(n *Namespace, r Request, of ...string) runbook.Workload {
	f.t.Helper()
	list, err := n.Start(f.t.Context(), r, of)
	if err != nil {
		f.t.Fatal(err)
	}
	f.settle()
	return list[0]
}

func (f *fake) holds(replicas int, stoppedBy string) {
	f.t.Helper()
	if n, marks := f.now(); n != replicas || marks[StoppedBy] != stoppedBy {
		f.t.Errorf("it has %d replicas, stopped by %q; want %d, %q; %q", n, marks[StoppedBy], replicas, stoppedBy, f.patches)
	}
}

// A status that was written before the workload was to be at 0 proves nothing: its
// controller may be about to make pods.
func TestNoPodIsNoProofBeforeTheControllerHasSeenTheZero(t *testing.T) {
	f := newFake(t, 3)
	f.counted, f.pods = 0, 0 // it was scaled up just now
	n := f.open()
	look := func(want string) {
		t.Helper()
		list, err := n.Stop(t.Context(), asks("op", 1), 0)
		if err != nil || (want == "") != (list[0].Problem == "") || !strings.Contains(list[0].Problem, want) {
			t.Errorf("it said %q, error %v, not %q", list[0].Problem, err, want)
		}
	}
	look("it was being scaled to 0")
	look("has not seen that it is to have none")
	f.mu.Lock()
	f.seen, f.counted = f.gen, 2
	f.mu.Unlock()
	look("still counts 2")
	f.settle()
	look("")
}

// A worker that was cut off in a stop goes on when the run, or a later one, has
// started the workloads again.
func TestAStopThatComesLateStopsNothing(t *testing.T) {
	for name, later := range map[string]func(f *fake, n *Namespace){
		"its run was undone": func(f *fake, n *Namespace) {
			f.stopped(n, asks("op-1", 1))
			f.started(n, asks("op-1", 2))
		},
		"its run was undone before it had stopped anything": func(f *fake, n *Namespace) { f.started(n, asks("op-1", 2)) },
		"another run moved there and back": func(f *fake, n *Namespace) {
			f.stopped(n, asks("op-2", 3))
			f.started(n, Request{Operation: "op-2", Epoch: 2, At: asks("", 4).At})
		},
		"unfence started what was running": func(f *fake, n *Namespace) { f.started(n, asks("op-2", 2), "op-1") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 3)
			n := f.open()
			later(f, n)
			f.holds(3, "")
			list, err := n.Stop(t.Context(), asks("op-1", 1), time.Minute) // it is told at once
			if err != nil || !strings.Contains(list[0].Problem, "after this was asked") || !strings.Contains(list[0].Problem, "kubectl -n shop annotate deployment/billing drawbridge.dev/asked-") {
				t.Errorf("it said %q, error %v", list[0].Problem, err)
			}
			f.holds(3, "")
			if w := f.stopped(n, asks("op-3", 9)); w.Problem != "" {
				t.Errorf("a new run was refused: %q", w.Problem)
			}
			f.holds(0, "op-3")
		})
	}
}

func TestAStartThatComesLateStartsNothing(t *testing.T) {
	f := newFake(t, 3)
	n := f.open()
	f.stopped(n, asks("op-1", 1))
	if w := f.stopped(n, asks("op-2", 3)); w.Problem != "" {
		t.Errorf("it said %q", w.Problem)
	}
	f.holds(0, "op-2") // and no longer op-1's to start
	if w := f.started(n, asks("op-1", 2)); !strings.Contains(w.Problem, "after this was asked") {
		t.Errorf("it said %q", w.Problem)
	}
	f.holds(0, "op-2")
	f.started(n, asks("op-2", 4))
	f.holds(3, "")
}

// Neither a clock that goes back nor a record that was restored may refuse what is new.
func TestALaterEpochOrALaterTimeIsNotLate(t *testing.T) {
	for _, r := range []Request{{"op-2", 2, asks("", 1).At}, {"op-2", 1, asks("", 6).At}, asks("op-2", 5)} {
		f := newFake(t, 3)
		n := f.open()
		f.started(n, asks("op-1", 5))
		f.stopped(n, r)
		f.holds(0, "op-2")
	}
}

func TestAMarkThatIsNoneIsReplaced(t *testing.T) {
	f := newFake(t, 3)
	f.marks[Asked] = "yesterday"
	n := f.open()
	f.stopped(n, asks("op", 1))
	f.holds(0, "op")
	if _, marks := f.now(); marks[Asked] != "1 2026-11-23T08:01:00Z" || marks[Remembered] != "3" {
		t.Errorf("marks %v", marks)
	}
}

func TestOnlyWhatTheGivenOperationsStoppedIsStarted(t *testing.T) {
	f := newFake(t, 3)
	n := f.open()
	f.stopped(n, asks("op-1", 1))
	for _, of := range []string{"op-2", "op-3"} {
		if w := f.started(n, asks("unfence", 2), of); w.Problem != "" || w.StoppedBy != "op-1" || w.Was != "3" || w.Replicas != 0 {
			t.Errorf("it said %+v", w)
		}
		f.holds(0, "op-1")
	}
	if w := f.started(n, asks("unfence", 3), "op-2", "op-1"); w.Problem != "" || w.Replicas != 3 {
		t.Errorf("it said %+v", w)
	}
	f.holds(3, "")

	byHand := newFake(t, 0)
	if w := byHand.started(byHand.open(), asks("unfence", 2), "op-1"); w.Problem != "" {
		t.Errorf("what somebody scaled to 0 is no business of it: %q", w.Problem)
	}
}

// A change between look and patch is looked at again, and no more than once is asked.
func TestAStepThatRunsAgainChangesNothing(t *testing.T) {
	f := newFake(t, 3)
	n := f.open()
	var moved bool
	f.before = func(r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Method == http.MethodPatch && !moved {
			f.version++ // somebody else was quicker
			moved = true
		}
	}
	for range 3 {
		f.stopped(n, asks("op", 1))
	}
	f.holds(0, "op")
	for range 3 {
		f.started(n, asks("op", 2))
	}
	f.holds(3, "")
	if len(f.patches) != 2 || !moved {
		t.Errorf("patches %q", f.patches)
	}
}

// A freeze must not wait for client-go's five requests a second.
func TestRequestsAreNotHeldBackByTheClient(t *testing.T) {
	n := newFake(t, 1).open()
	for name, api := range map[string]float32{"apps": n.apps.RESTClient().GetRateLimiter().QPS(), "core": n.core.RESTClient().GetRateLimiter().QPS(), "authorization": n.can.RESTClient().GetRateLimiter().QPS()} {
		if api < 100 {
			t.Errorf("%s: %g requests a second", name, api)
		}
	}
}

func TestWhatStandsOrRunsWhereItShouldNotIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		replicas     int
		marks        map[string]string
		site, active string
		what, cure   string
		blocker      bool
	}{
		"runs at both":               {replicas: 3, active: "east"},
		"runs at the active site":    {replicas: 3, site: "east", active: "east"},
		"waits at the standby":       {marks: map[string]string{Remembered: "3", StoppedBy: "op"}, site: "west", active: "east"},
		"who is active is not known": {replicas: 3, site: "west"},
		"is to stand still":          {marks: map[string]string{Remembered: "0"}, site: "east", active: "east"},
		"nobody wrote down": {
			site: "west", active: "east",
			what: "deployment/billing in namespace shop (west) stands at 0 and nobody wrote down how many it should be when west is active",
			cure: "kubectl -n shop annotate deployment/billing drawbridge.dev/replicas=<n>", blocker: true,
		},
		"stopped at both": {
			marks: map[string]string{Remembered: "3", StoppedBy: "op"}, active: "east",
			what: "deployment/billing in namespace shop stands at 0 since op stopped it",
			cure: "if that run is over: kubectl -n shop scale deployment/billing --replicas=3", blocker: true,
		},
		"stopped at the active site": {
			marks: map[string]string{Remembered: "3", StoppedBy: "op"}, site: "east", active: "east",
			what: "deployment/billing in namespace shop (east) stands at 0 since op stopped it",
			cure: "if that run is over: kubectl -n shop scale deployment/billing --replicas=3", blocker: true,
		},
		"was never started": {
			marks: map[string]string{Remembered: "2"}, site: "east", active: "east",
			what: "deployment/billing in namespace shop (east) stands at 0 although its clients are to run now: 2 is written on it",
			cure: "if nobody wants that: kubectl -n shop scale deployment/billing --replicas=2",
		},
		"runs at the standby": {
			replicas: 3, site: "west", active: "east",
			what: "deployment/billing in namespace shop (west) has 3 replicas although east is active: they read mirrors, may not write, and count as members of the group",
			cure: "kubectl -n shop annotate --overwrite deployment/billing drawbridge.dev/replicas=3 && kubectl -n shop scale deployment/billing --replicas=0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.replicas)
			maps.Copy(f.marks, c.marks)
			f.place.Site = c.site
			found := f.open().Check(t.Context(), "orders", c.active)
			var want []Finding
			if c.what != "" {
				want = []Finding{{c.what, c.cure, c.blocker}}
			}
			if !slices.Equal(found, want) {
				t.Errorf("found %+v", found)
			}
			if len(f.patches) > 0 {
				t.Errorf("a look changed %q", f.patches)
			}
		})
	}
}

// A planned move asks a place for its stop up to three times, one place after the other while clients stand still: what stands
// already costs one look.
func TestAStopOfWhatItsOwnRunHasStoppedIsOneLook(t *testing.T) {
	f := newFake(t, 3)
	n := f.open()
	f.stopped(n, asks("op", 1))
	patches := len(f.patches)
	for minute := range 3 {
		list, err := n.Stop(t.Context(), asks("op", 2+minute), 0)
		if err != nil || list[0].Problem != "" {
			t.Errorf("it said %q, error %v", list[0].Problem, err)
		}
	}
	if len(f.patches) != patches {
		t.Errorf("patches %q", f.patches)
	}
	f.started(n, asks("op", 9))
	f.holds(3, "")
}
