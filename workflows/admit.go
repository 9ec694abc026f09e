package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// admit is a story's verb, once it has found out what it is about: it refuses a
// run that must not start now (somebody holds the pair, it flaps, a change freeze holds),
// unless the signed request names the override for it. What was named so, the
// run's first approval names too. A dry run, and an operation that nothing may hold
// up, only says so.
func (s *story) admit(ctx workflow.Context) error {
	held, silent := runbook.ReadHold(s.holds)
	s.unheard = silent
	for _, h := range held {
		if err := s.admitOver(runbook.OverrideHold, h.Text(s.status.Pair), true); err != nil {
			return err
		}
		s.known = append(s.known, h)
	}
	if text, flaps := s.plan.Flapping(s.rec.Moves, s.op, workflow.Now(ctx)); flaps && s.report.Drill == "" { // a drill goes there and back
		if err := s.flapping(text); err != nil {
			return err
		}
	}
	if text, frozen := s.plan.FreezeText(workflow.Now(ctx)); frozen {
		if err := s.admitOver(runbook.OverrideFreeze, text, runbook.HeldByFreeze(s.op) && !s.first()); err != nil {
			return err
		}
	}
	return nil
}

// first tells whether this run makes the pair: nothing runs there that a change
// could harm.
func (s *story) first() bool { return s.op == runbook.OpSetUp && s.truth.Record == nil }

// flapping wants a planned move's request to say that it is meant. A failover is
// never turned away for it: its approvers say so, by the override's name.
func (s *story) flapping(text string) error {
	if s.op == runbook.OpFailover && !s.status.DryRun && !slices.Contains(s.request, runbook.OverrideFlapping) {
		s.find("%s: the approval names the override %s", text, runbook.OverrideFlapping)
		s.overrides = append(s.overrides, runbook.OverrideFlapping)
		return nil
	}
	return s.admitOver(runbook.OverrideFlapping, text, true)
}

// admitOver notes a reason not to start now. If it binds this run, only the
// override lets it go on.
func (s *story) admitOver(override, text string, binds bool) error {
	switch {
	case !binds || s.status.DryRun:
		s.find("%s", text)
		return nil
	case slices.Contains(s.request, override):
		s.find("%s; overridden by the request of %s", text, s.requester)
		if !slices.Contains(s.overrides, override) {
			s.overrides = append(s.overrides, override)
		}
		return nil
	}
	return refuse(ErrHeld, "%s. Wait for its end, or go on all the same with the override %s, named in the signed request (drctl %s %s --override %s --reason \"…\") and in its approvals",
		text, override, s.op, s.status.Pair, override)
}

// stillFree looks for a hold right before the pivot, at the Consuls that answered
// at the start: waiting for a dead one costs recovery time. A planned move stops
// and undoes; a failover, whose active site is lost, asks people.
func (s *story) stillFree(ctx workflow.Context) error {
	var sites []runbook.Site
	for _, site := range s.plan.Sites {
		if !slices.Contains(s.unheard, site.Name) {
			sites = append(sites, site)
		}
	}
	var held []runbook.Held
	err := s.do(ctx, "nobody holds the pair?", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "holds before the point of no return"), steps.ReadHold, ReadHoldInput{Call: s.call("read hold"), Sites: sites})
		if err != nil {
			return "", err
		}
		now, silent := runbook.ReadHold(got.Holds)
		held = slices.DeleteFunc(now, func(h runbook.Held) bool {
			return slices.ContainsFunc(s.known, h.Same) // overridden at the start
		})
		switch {
		case len(held) > 0 && s.path != runbook.OpFailover:
			return "", refuse(ErrHeld, "%s; nothing was moved", held[0].Text(s.status.Pair))
		case len(held) > 0:
			return held[0].Text(s.status.Pair), nil
		case len(silent) > 0 && len(silent) == len(sites) && s.path != runbook.OpFailover:
			return "", refuse(ErrUnreachable, "whether somebody holds the pair is not known, and the record could not be flipped: consul of %s does not answer", strings.Join(silent, ", "))
		case len(silent) > 0:
			s.find("whether somebody holds the pair could not be asked at %s before the point of no return", strings.Join(silent, ", "))
		}
		return "nobody", nil
	})
	if err != nil || len(held) == 0 {
		return err
	}
	text := fmt.Sprintf("%s. It was put after this failover began; nothing is failed over yet", held[0].Text(s.status.Pair))
	return s.approve(ctx, "approve against the hold", text, []string{runbook.OverrideHold}, true)
}
