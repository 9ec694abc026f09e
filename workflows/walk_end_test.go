package workflows

import (
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// end asks what must hold when the run is over.
func (w *watcher) end(before *world, healthy *watcher) {
	r := w.w.report
	if w.failed != nil && ErrorType(w.failed) == "" && !temporal.IsCanceledError(w.failed) && !workflow.IsContinueAsNewError(w.failed) {
		w.err("it failed with no type of errors.go, so that nobody is told what to do: %v", w.failed)
	}
	if w.failed == nil && w.tale.result == nil && !slices.Contains([]string{runbook.Done, runbook.Partly, runbook.NoChange}, w.outcome) {
		w.err("outcome %q", w.outcome)
	}
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	if w.tale.still {
		w.untouched(before)
	}
	if w.tale.holds != nil {
		w.tale.holds(w, before)
	}
	skipped := slices.ContainsFunc(w.w.drill.reports, func(r runbook.Report) bool {
		return slices.ContainsFunc(r.Steps, func(l runbook.StepLine) bool { return l.State == runbook.StateSkipped })
	})
	for site, rec := range w.w.consul {
		if rec == nil || w.w.down[site+" consul"] || w.intruded != "" || skipped {
			continue
		}
		told := slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, "the Consul of "+site+" may still show") })
		if rec.Lock != nil && strings.HasPrefix(rec.Lock.OpID, w.tale.op+"-") && !told {
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
		if state == "open" && w.tale.op != runbook.OpUnfence && !skipped && link != w.remains() && w.w.holders[link].OperationID != gone {
			w.err("the token on %s is left open", link)
		}
	}
	if r.Outcome == runbook.NoChange && w.tale.pivot != "" && !skipped {
		for op := range w.w.fences[w.tale.source] {
			if strings.HasPrefix(op, w.tale.op+"-") && op != gone {
				w.err("it ended as %q and left its fence on %s", r.Outcome, w.tale.source)
			}
		}
		if w.stopped(w.tale.pivot) {
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
	if len(flips) > map[bool]int{false: 1, true: 2}[w.tale.back] {
		w.err("it made %d epochs", len(flips))
	}
	if !w.fault.same || healthy == nil || w.fault.plan && w.tale.launches {
		return // a plan that changed on the way is refused by the next run
	}
	if (w.failed != nil) != (healthy.failed != nil) {
		w.err("it ended with %v, without the fault with %v", w.failed, healthy.failed)
	}
	if w.failed == nil && w.outcome != healthy.outcome {
		w.err("it ended as %q (%s), without the fault as %q", w.outcome, r.Error, healthy.outcome)
	}
}
