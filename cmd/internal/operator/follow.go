package operator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Event is one thing that has changed in a run; exactly one of Step, Waiting, ETA and Problem is set.
type Event struct {
	At time.Time // when it was seen
	// Step has entered the state that it says.
	Step *runbook.StepLine
	// Waiting is what the run now asks of people.
	Waiting *workflows.Waiting
	// ETA of a failover; told when another segment runs, or the end has moved by etaMoves.
	ETA *runbook.ETA
	// Problem: the run could not be asked; it goes on whether or not somebody looks. Told once until it answers again.
	Problem string
}

// followPause is the time between two looks. A query costs the worker little and leaves no history.
const followPause = 400 * time.Millisecond

// detailPause is the least time between two tellings of a running step whose detail alone has changed (a lag, a count).
const detailPause = 5 * time.Second

// etaMoves is how far the expected end moves before it is told again.
const etaMoves = 15 * time.Second

// Follow tells every change of a run until it ends, then returns its result as Result does. What shown has already is not
// told again; nil: everything is. When ctx ends it returns ctx.Err(), and the run goes on.
func (o *Operator) Follow(ctx context.Context, run Run, shown *workflows.Status, tell func(Event)) (workflows.Result, error) {
	type end struct {
		result workflows.Result
		err    error
	}
	ended := make(chan end, 1)
	waitCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		result, err := o.Result(waitCtx, run)
		ended <- end{result, err}
	}()
	seen := changesAfter(shown, tell)
	tick := time.NewTicker(followPause)
	defer tick.Stop()
	for {
		select {
		case e := <-ended:
			if ctx.Err() == nil { // what happened since the last look
				seen.last(o.Ask(ctx, run))
			}
			return e.result, e.err
		case <-tick.C:
			st, err := o.Ask(ctx, run)
			if ctx.Err() == nil {
				seen.look(st, err)
			}
		}
	}
}

// changes compares one status with the one before.
type changes struct {
	tell    func(Event)
	steps   []runbook.StepLine // as last told
	told    map[int]time.Time  // when, by index
	waiting workflows.Waiting
	eta     runbook.ETA
	problem bool
}

// changesAfter begins with what somebody has read already.
func changesAfter(shown *workflows.Status, tell func(Event)) *changes {
	c := &changes{tell: tell, told: map[int]time.Time{}}
	if shown == nil {
		return c
	}
	c.steps = slices.Clone(shown.Steps)
	for i := range c.steps {
		c.told[i] = time.Now()
	}
	if shown.Waiting != nil {
		c.waiting = *shown.Waiting
	}
	if shown.ETA != nil {
		c.eta = *shown.ETA
	}
	return c
}

// last is look for a run that has ended: that it cannot be asked any more is no news, and it does not go on.
func (c *changes) last(st workflows.Status, err error) {
	if err == nil {
		c.look(st, nil)
	}
}

func (c *changes) look(st workflows.Status, err error) {
	now := time.Now()
	if err != nil {
		// Right after its start a run may not be known to any worker yet.
		if !c.problem && !errors.Is(err, ErrNoRun) {
			c.problem = true
			c.tell(Event{At: now, Problem: err.Error()})
		}
		return
	}
	c.problem = false
	if e := st.ETA; e != nil && (e.Running != c.eta.Running || e.Done.Sub(c.eta.Done).Abs() >= etaMoves) {
		c.eta = *e
		c.tell(Event{At: now, ETA: e})
	}
	for i, s := range st.Steps {
		if i < len(c.steps) {
			last := c.steps[i]
			same := last.Name == s.Name && last.State == s.State
			if same && (last.Detail == s.Detail || s.State == runbook.StateRunning && now.Sub(c.told[i]) < detailPause) {
				continue
			}
			c.steps[i] = s
		} else {
			c.steps = append(c.steps, s)
		}
		c.told[i] = now
		c.tell(Event{At: now, Step: &s})
	}
	var waiting workflows.Waiting
	if st.Waiting != nil {
		waiting = *st.Waiting
	}
	if st.Waiting != nil && (waiting.For != c.waiting.For || waiting.Text != c.waiting.Text || waiting.Have != c.waiting.Have || waiting.Step != c.waiting.Step || waiting.Question != c.waiting.Question || len(waiting.EscalatedTo) != len(c.waiting.EscalatedTo)) {
		c.tell(Event{At: now, Waiting: &waiting})
	}
	c.waiting = waiting
}
