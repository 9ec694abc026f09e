package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// RestoreDR protects a pair again that was failed over and stays where it is
// (fail-forward): the site that was lost becomes the standby of the one that
// works. It refuses while anything is undecided or owed, deletes only with
// consent by name, and stops nobody. At the end it looks at the pair's readiness.
func RestoreDR(ctx workflow.Context, in RestoreInput) (Result, error) {
	s, err := open(ctx, runbook.OpRestore, in.Start, in.DryRun)
	if err != nil {
		return Result{}, err
	}
	r := &restore{newProtection(s)}
	return s.tell(ctx, func(ctx workflow.Context) error {
		if err := s.answered(in.Decisions); err != nil {
			return err
		}
		err := inOrder(ctx, r.orient, r.admit, r.decided, r.survey,
			func(ctx workflow.Context) error { return r.decide(ctx, in.Decisions) }, r.measure, r.foresee)
		if err != nil || in.DryRun {
			return err
		}
		return inOrder(ctx, r.consent, r.lock, r.canaryTopic, r.makeLink, r.begin,
			r.archive, r.remove, r.rejoinSame, r.mirror, r.own, r.guard, r.openGroups, r.catchUp, r.done, r.ready)
	})
}

type restore struct{ *protection }

func (r *restore) orient(workflow.Context) error {
	pair := r.plan.Pair
	if r.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth: run drctl setup %s", pair, pair)
	}
	active, err := r.plan.Site(r.rec.Active[0])
	if err != nil {
		return refuse(ErrPrecondition, "the active site of the record: %v", err)
	}
	standby, err := r.plan.Other(active.Name)
	if err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	return r.between(active, standby, "restore")
}

// foresee lists the steps of a dry run, and what is to be done with the plan.
func (r *restore) foresee(workflow.Context) error {
	if r.status.DryRun {
		r.report.Planned = runbook.RestoreSteps(r.plan, r.link, r.what, r.size)
	}
	if r.plan.Home != r.active.Name {
		r.find("%s stays the active site: write home: %s into the plan and run drctl setup %s; a failback is not needed then", r.active.Name, r.active.Name, r.plan.Pair)
	}
	return nil
}

// canaryTopic: the pair's own topic goes with the others.
func (r *restore) canaryTopic(ctx workflow.Context) error { return r.ensureCanary(ctx, r.active) }

func (r *restore) done(ctx workflow.Context) error {
	return r.release(ctx, []runbook.Site{r.standby, r.active})
}

// ready looks at what a failover would need, as the Schedule does. It is a look:
// what it finds is told and fails nothing.
func (r *restore) ready(ctx workflow.Context) error {
	return r.do(ctx, "look at readiness", func(ctx workflow.Context) (string, error) {
		got := (&readyLook{pair: r.plan.Pair, hash: r.hash}).at(ctx, r.plan)
		r.report.Readiness = &got
		if !got.Ready {
			r.find("the pair is mirrored again and not ready for a failover yet: %s", got.Summary())
		}
		return fmt.Sprintf("score %d of 100", got.Score), nil
	})
}
