package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Failback brings a pair home after a failover: home is made a standby of the
// site that works (see protection), then a planned move takes everybody home
// without loss, and the standby mirrors again. It refuses while anything is
// undecided or owed. People approve twice: before anything is deleted, and
// before clients are stopped. Where home mirrors already, as after a switchover,
// only the move is left.
func Failback(ctx workflow.Context, in FailbackInput) (Result, error) {
	s, err := open(ctx, runbook.OpFailback, in.Start, in.DryRun)
	if err != nil {
		return Result{}, err
	}
	b := &failback{protection: newProtection(s)}
	return s.tell(ctx, func(ctx workflow.Context) error {
		if err := s.answered(in.Decisions); err != nil {
			return err
		}
		err := inOrder(ctx, b.orient, b.admit, b.decided, b.survey,
			func(ctx workflow.Context) error { return b.decide(ctx, in.Decisions) }, b.measure, b.advise)
		if err != nil || in.DryRun {
			return err
		}
		err = inOrder(ctx, b.consentIfAny, b.lock, b.makeLink, b.begin,
			b.archive, b.remove, b.rejoinSame, b.mirror, b.own, b.guard, b.openGroups, b.catchUp, b.askMove)
		if err != nil {
			return err
		}
		move := &plannedMove{story: s, source: b.active, destination: b.standby, link: b.link, reverse: b.ended}
		if ctx, err = move.run(ctx); err != nil { // the pivot is in there
			return err
		}
		return inOrder(ctx, move.restoreDR, move.done)
	})
}

type failback struct{ *protection }

// lock takes the pair for the epoch that the move will make.
func (b *failback) lock(ctx workflow.Context) error {
	b.engine = b.truth.Highest + 1
	return b.protection.lock(ctx)
}

func (b *failback) orient(workflow.Context) error {
	pair := b.plan.Pair
	if b.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth: run drctl setup %s", pair, pair)
	}
	home, err := b.plan.Site(b.plan.Home)
	if err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	away, err := b.plan.Other(b.plan.Home)
	if err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if b.rec.Active[0] == home.Name {
		return refuse(ErrPrecondition, "pair %s is at home already (%s)", pair, home.Name)
	}
	return b.between(away, home, "failback")
}

// advise says what going home costs, and that staying is the other way.
func (b *failback) advise(workflow.Context) error {
	if b.status.DryRun {
		b.report.Planned = runbook.FailbackSteps(b.plan, b.link, b.what, b.size)
	}
	switch {
	case len(b.what.Copied()) > 0:
		b.find("%s", b.size.FailForward(b.plan.Pair, b.active.Name, b.standby.Name))
	case b.following():
		b.find("home (%s) mirrors every topic already: this is the planned move of drctl switchover %s --to %s, nothing is rebuilt", b.standby.Name, b.plan.Pair, b.standby.Name)
	}
	return nil
}

// following: home has nothing to catch up with but its lag.
func (b *failback) following() bool { return len(b.what.Follow) == len(b.topics) }

// consentIfAny: where home follows already there is nothing to consent to but
// the move itself.
func (b *failback) consentIfAny(ctx workflow.Context) error {
	if b.following() && len(b.what.Delete)+len(b.need) == 0 {
		return nil
	}
	return b.consent(ctx)
}

// askMove names the transactions that would be ended and how long clients stop
// at most.
func (b *failback) askMove(ctx workflow.Context) error {
	text := fmt.Sprintf("move from %s home to %s: clients stop for at most %d s", b.active.Name, b.standby.Name, b.plan.Limits.FreezeSeconds)
	if len(b.what.Leave) > 0 {
		text += "; not moved: " + fmt.Sprint(b.what.Leave)
	}
	err := b.do(ctx, "list transactions", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "open transactions at "+b.active.Name), steps.OpenTransactions, OpenTransactionsInput{Call: b.call("list transactions"), Site: b.active, Topics: b.topics})
		for _, t := range got.Open {
			text += fmt.Sprintf("; transaction %s on %s/%d is ended if it stays open", t.TransactionalID, t.Topic, t.Partition)
		}
		return fmt.Sprintf("%d open", len(got.Open)), err
	})
	if err != nil {
		return err
	}
	// No pause for retry here: no answer in time means no move.
	b.forward = false
	return b.approve(ctx, "approve move", text, nil, true)
}
