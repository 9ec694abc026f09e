package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// admit is a story's verb, once it has found out what it is about: it refuses a
// run that must not start now (a change freeze holds), unless the signed request
// names the override for it. What was named so, the run's first approval names too.
// A dry run, and an operation that nothing may hold up, only says so.
func (s *story) admit(ctx workflow.Context) error {
	if text, frozen := s.plan.FreezeText(workflow.Now(ctx)); frozen {
		if err := s.hold(runbook.OverrideFreeze, text, runbook.HeldByFreeze(s.op) && !s.first()); err != nil {
			return err
		}
	}
	return nil
}

// first tells whether this run makes the pair: nothing runs there that a change
// could harm.
func (s *story) first() bool { return s.op == runbook.OpSetUp && s.truth.Record == nil }

// hold notes a reason not to start now. If it binds this run, only the override
// lets it go on.
func (s *story) hold(override, text string, binds bool) error {
	switch {
	case !binds || s.status.DryRun:
		s.find("%s", text)
		return nil
	case slices.Contains(s.request, override):
		s.find("%s; overridden by the request of %s", text, s.requester)
		s.overrides = append(s.overrides, override)
		return nil
	}
	return refuse(ErrHeld, "%s. Wait for its end, or go on all the same with the override %s, named in the signed request (drctl %s %s --override %s) and in its approvals",
		text, override, s.op, s.status.Pair, override)
}
