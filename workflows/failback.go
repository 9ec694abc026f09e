package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Failback brings a pair home after a failover: the old primary's topics are
// rebuilt from the new one's, then a planned move takes everybody home without
// loss, and the standby mirrors again. It refuses while anything is undecided
// or owed. People approve twice: before anything is deleted, and before clients
// are stopped.
func Failback(ctx workflow.Context, in FailbackInput) (Result, error) {
	s, err := open(ctx, runbook.OpFailback, in.Start, in.DryRun)
	if err != nil {
		return Result{}, err
	}
	b := &failback{story: s}
	return s.tell(ctx, func(ctx workflow.Context) error {
		if err := inOrder(ctx, b.orient, b.admit, b.list, b.decided, b.measure); err != nil || in.DryRun {
			return err
		}
		err := inOrder(ctx, b.askRebuild, b.lock, b.makeLink, b.begin,
			b.archive, b.remove, b.mirror, b.guard, b.catchUp, b.askMove)
		if err != nil {
			return err
		}
		move := &plannedMove{story: s, source: b.away, destination: b.home, link: b.reverse, reverse: b.link}
		if ctx, err = move.run(ctx); err != nil { // the pivot is in there
			return err
		}
		return inOrder(ctx, move.restoreDR, b.done)
	})
}

type failback struct {
	*story
	home, away runbook.Site
	link       runbook.Link // home → away, the relation of normal life
	reverse    runbook.Link // away → home
	need       []string
	size       MeasureCopyResult
}

func (b *failback) orient(workflow.Context) error {
	pair := b.plan.Pair
	if b.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth: run drctl setup %s", pair, pair)
	}
	var err error
	if b.home, err = b.plan.Site(b.plan.Home); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if b.away, err = b.plan.Other(b.plan.Home); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if b.rec.Active[0] == b.home.Name {
		return refuse(ErrPrecondition, "pair %s is at home already (%s)", pair, b.home.Name)
	}
	if b.link, err = b.plan.Link(b.home.Name, b.away.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if b.reverse, err = b.plan.Link(b.away.Name, b.home.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if len(b.rec.FenceDebt) > 0 {
		d := b.rec.FenceDebt[0]
		return refuse(ErrPrecondition, "%d debts are open, first %s owed to %s since %s (%s): pay them with drctl recover %s --debts-only", len(b.rec.FenceDebt), d.Kind, d.Site, d.Since.UTC().Format("2006-01-02 15:04:05Z"), d.Reason, pair)
	}
	if len(b.truth.Silent) > 0 {
		return refuse(ErrPrecondition, "%s do not answer: a failback needs both sites", strings.Join(b.truth.Silent, ", "))
	}
	b.need, err = b.free()
	return err
}

func (b *failback) list(ctx workflow.Context) error {
	topics, err := b.listTopics(ctx, b.away)
	b.topics, b.pivotLink = topics, b.reverse.Name
	return err
}

// decided refuses while a lagged record waits for a decision: the rebuild
// would take the choice away.
func (b *failback) decided(ctx workflow.Context) error {
	return b.do(ctx, "ledger decided?", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "loss ledger of "+b.link.Name), steps.ComputeLedger, LedgerInput{Call: b.call("ledger decided"), Site: b.away, Link: b.link})
		if err != nil {
			return "", err
		}
		b.status.Ledger = got.Lines
		if open := runbook.Undecided(got.Lines); len(open) > 0 {
			return "", refuse(ErrPrecondition, "lagged records of %s are undecided: run drctl recover %s", strings.Join(open, ", "), b.plan.Pair)
		}
		return fmt.Sprintf("%d partitions decided", len(got.Lines)), nil
	})
}

func (b *failback) measure(ctx workflow.Context) error {
	return b.do(ctx, "measure copy", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "size of topics at "+b.away.Name), steps.MeasureCopy, MeasureCopyInput{Call: b.call("measure copy"), Source: b.away, Topics: b.topics})
		if err != nil {
			return "", err
		}
		b.size = got
		b.report.CopyRecords, b.report.CopyBytes = got.Records, got.Bytes
		if b.status.DryRun {
			b.report.Planned = runbook.FailbackSteps(b.plan, b.reverse, b.topics, got.Records, got.Bytes)
		}
		return runbook.CopyText(b.topics, got.Records, got.Bytes), nil
	})
}

func (b *failback) askRebuild(ctx workflow.Context) error {
	text := fmt.Sprintf("delete %d topics at %s and mirror them from %s: %s; what only %s has is archived first",
		len(b.topics), b.home.Name, b.away.Name, runbook.CopyText(b.topics, b.size.Records, b.size.Bytes), b.home.Name)
	return b.approve(ctx, "approve rebuild", text, b.need, true)
}

func (b *failback) lock(ctx workflow.Context) error {
	b.phase(ctx, PhaseActing)
	b.engine = b.truth.Highest + 1
	if err := b.story.lock(ctx, []runbook.Site{b.home, b.away}, b.away.Name, record.Open); err != nil {
		return err
	}
	// Until the freeze nobody is stopped: a failed step waits for a person.
	b.forward = true
	return nil
}

func (b *failback) makeLink(ctx workflow.Context) error { return b.ensureLink(ctx, b.reverse) }

func (b *failback) begin(ctx workflow.Context) error {
	if err := b.token(ctx, b.link); err != nil {
		return err
	}
	return b.token(ctx, b.reverse)
}

// archive exports what stands behind the stop offsets at home, whatever was
// decided about it: the rebuild deletes the only other copy.
func (b *failback) archive(ctx workflow.Context) error {
	b.changed = true
	var topics []string
	for _, l := range b.status.Ledger {
		if l.Records > 0 && l.Decision != runbook.LedgerExported && len(runbook.Missing([]string{l.Topic}, topics)) > 0 {
			topics = append(topics, l.Topic)
		}
	}
	return b.must(ctx, "archive tail", func(ctx workflow.Context) (string, error) {
		if len(topics) == 0 {
			return "nothing behind the stop offsets that is not archived", nil
		}
		got, err := run(with(ctx, kindLong, "archive the tail of "+b.home.Name), steps.ExportLedger, LedgerInput{
			Call: b.call("archive tail"), Site: b.away, Link: b.link, Topics: topics, DecidedBy: b.requester, Reason: "archived before the rebuild", KeepDecision: true,
		})
		if err != nil {
			return "", err
		}
		b.report.Export = got.Exported
		return fmt.Sprintf("%d records in topic %s", got.Records, got.Exported), nil
	})
}

func (b *failback) remove(ctx workflow.Context) error {
	return b.must(ctx, "delete old topics", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "delete topics at "+b.home.Name), steps.DeleteTopics, DeleteTopicsInput{Call: b.call("delete old topics"), Site: b.home, Other: b.away, Link: b.reverse, Topics: b.topics})
		return fmt.Sprintf("%d deleted, %d mirrors already", len(got.Deleted), len(got.Kept)), err
	})
}

func (b *failback) mirror(ctx workflow.Context) error {
	_, err := b.ensureMirrors(ctx, b.reverse, b.away, b.home, true)
	return err
}

// guard: the old primary is a standby now, so that its fence becomes the
// guards' of its mirrors.
func (b *failback) guard(ctx workflow.Context) error {
	return b.handOver(ctx, b.home, b.away, b.reverse)
}

func (b *failback) catchUp(ctx workflow.Context) error {
	return b.do(ctx, "catch up", func(ctx workflow.Context) (string, error) {
		got, err := b.awaitMirrors(ctx, "catch up", b.reverse, b.home)
		if err == nil && !got.CaughtUp {
			err = refuse(ErrHalted, "the mirrors at %s lag %d records after %d s: %s; retry waits on", b.home.Name, got.LagRecords, b.plan.Limits.CatchUpSeconds, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("lag %d records", got.LagRecords), err
	})
}

// askMove names the transactions that would be ended and how long clients stop
// at most.
func (b *failback) askMove(ctx workflow.Context) error {
	text := fmt.Sprintf("move from %s home to %s: clients stop for at most %d s", b.away.Name, b.home.Name, b.plan.Limits.FreezeSeconds)
	err := b.do(ctx, "list transactions", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "open transactions at "+b.away.Name), steps.OpenTransactions, OpenTransactionsInput{Call: b.call("list transactions"), Site: b.away, Topics: b.topics})
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

func (b *failback) done(ctx workflow.Context) error {
	return b.release(ctx, []runbook.Site{b.home, b.away})
}
