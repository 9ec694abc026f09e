package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

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
	// plan: it changes the plan.
	plan bool
	// command: it is one to the run at the place.
	command bool
}

func faults() []fault {
	lostAnswer := func(*watcher) error {
		return temporal.NewApplicationError("the worker was lost behind the act", ErrUnreachable)
	}
	refusal := func(*watcher) error { return no(ErrRefused, "refused for good") }
	command := func(by, decision string) func(*watcher) error {
		return func(w *watcher) error {
			w.say(func(st Status) runbook.Command { return signed(st, by, decision) })
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
		{name: "abort", command: true, before: command("ann", runbook.Abort)},
		{name: "into failover", command: true, before: command("eve", runbook.IntoFailover)},
		{name: "cancel in Temporal", before: func(w *watcher) error {
			w.s.during(func(done func()) { w.s.env.CancelWorkflow(); done() })
			return nil
		}},
		{name: "commands that do not count", same: true, command: true, before: (*watcher).noise},
		{name: "another's lock appears", before: func(w *watcher) error { w.intrude(false); return nil }},
		{name: "another's epoch appears", before: func(w *watcher) error { w.intrude(true); return nil }},
		{name: "plan changed", same: true, plan: true, after: func(w *watcher) error {
			w.w.mu.Lock()
			defer w.w.mu.Unlock()
			w.w.plan.People, w.w.plan.Approvals, w.w.plan.Limits, w.w.edited = nil, nil, runbook.Limits{}, true
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

// say sends a command to the run at the place while its activity runs, and waits for its answer where that cannot block: a
// command under way keeps the others waiting.
func (w *watcher) say(c func(Status) runbook.Command) { w.sayAt(w.at, c) }

func (w *watcher) sayAt(at place, c func(Status) runbook.Command) {
	id := at.id()
	if at.method == "VerifySignature" {
		w.s.env.RegisterDelayedCallback(func() {
			if st, ok := w.status(id); ok {
				w.send(id, c(st), func() {})
			}
		}, 0)
		return
	}
	w.s.during(func(done func()) {
		if st, ok := w.status(id); ok {
			w.send(id, c(st), done)
		} else {
			done()
		}
	})
}

// noise sends, by each command, what must not count: forged, stale, of another run, expired, by people who may not.
func (w *watcher) noise() error {
	for _, decision := range []string{runbook.Approve, runbook.Deny, runbook.Retry, runbook.Skip, runbook.Abort, runbook.Decide, runbook.IntoFailover} {
		for _, spoil := range []func(*runbook.Command){
			func(c *runbook.Command) { c.Signature = "by eve" },
			func(c *runbook.Command) { c.Epoch += 7 },
			func(c *runbook.Command) { c.PlanHash = "another" },
			func(c *runbook.Command) { c.OpID = "failover-0" },
			func(c *runbook.Command) { c.Operation = "another" },
			func(c *runbook.Command) { c.Expires = time.Unix(1, 0) },
			func(c *runbook.Command) { c.By, c.Signature = "mallory", "by mallory" },
		} {
			w.s.env.RegisterDelayedCallback(func() {
				if st, ok := w.status(w.at.id()); ok {
					c := signed(st, "bob", decision)
					spoil(&c)
					w.send(w.at.id(), c, func() {})
				}
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
