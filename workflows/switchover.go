package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Switchover moves a healthy pair to its standby without loss and turns the
// mirrors round, so that it is protected again. Clients stand still while it is
// frozen, for a bounded time: what ends the run before its pivot undoes
// everything. It can be turned into a failover when its source dies under it.
func Switchover(ctx workflow.Context, in SwitchoverInput) (Result, error) {
	s, err := open(ctx, runbook.OpSwitchover, in.Start, in.DryRun)
	if err != nil {
		return Result{}, err
	}
	s.noTurn = "this run has not found out yet what it may do: ask again in a moment"
	if in.DryRun {
		s.noTurn = "a dry run holds nothing that could be turned: start drctl failover " + in.Pair
	}
	w := &switchover{plannedMove: plannedMove{story: s, wayOut: !in.DryRun}, target: in.Target}
	return s.tell(ctx, func(inner workflow.Context) error {
		if err := inOrder(inner, w.orient, w.admit); err != nil {
			return err
		}
		inner = w.mayTurn(inner)
		after, err := w.move(inner)
		switch {
		case s.turned != nil && !s.pastPivot:
			return w.asFailover().takeOver(ctx) // inner was cancelled
		case s.turned != nil && err == nil:
			f := w.asFailover()
			return inOrder(after, f.prove, f.flip, f.move, f.done)
		case err != nil || in.DryRun:
			return err
		}
		return inOrder(after, w.restoreDR, w.proven, w.done)
	})
}

type switchover struct {
	plannedMove
	target string
	need   []string // overrides
	risk   runbook.Risk
}

// move is the switchover up to clients that have moved; a dry run ends with the
// forecast.
func (w *switchover) move(ctx workflow.Context) (workflow.Context, error) {
	err := inOrder(ctx, w.list, w.healthy, w.waitForLag, w.foresee)
	if err != nil || w.status.DryRun {
		return ctx, err
	}
	if err := inOrder(ctx, w.ask, w.lock, w.wayBack, w.open, w.begin, w.tip); err != nil {
		return ctx, err
	}
	return w.run(ctx) // the pivot is in there
}

// orient finds out who is active, and refuses what no wait can mend.
func (w *switchover) orient(workflow.Context) error {
	pair := w.plan.Pair
	w.ruled()
	if w.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth: run drctl setup %s", pair, pair)
	}
	var err error
	if w.source, err = w.plan.Site(w.rec.Active[0]); err != nil {
		return refuse(ErrPrecondition, "the active site of the record: %v", err)
	}
	if w.destination, err = w.plan.Other(w.source.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	switch w.target {
	case "", w.destination.Name:
	case w.source.Name:
		return refuse(ErrPrecondition, "pair %s is active at %s already, since epoch %d", pair, w.target, w.rec.Epoch)
	default:
		return refuse(ErrPrecondition, "pair %s has no site %q: it can be moved to %s", pair, w.target, w.destination.Name)
	}
	if w.link, err = w.plan.Link(w.source.Name, w.destination.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if w.reverse, err = w.plan.Link(w.destination.Name, w.source.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if len(w.rec.FenceDebt) > 0 {
		d := w.rec.FenceDebt[0]
		return refuse(ErrPrecondition, "%d debts are open, first %s owed to %s since %s (%s): pay them with drctl recover %s --debts-only", len(w.rec.FenceDebt), d.Kind, d.Site, d.Since.UTC().Format("2006-01-02 15:04:05Z"), d.Reason, pair)
	}
	if len(w.truth.Silent) > 0 {
		return refuse(ErrPrecondition, "%s do not answer: a planned move needs both sites; if %s is lost, drctl failover %s", strings.Join(w.truth.Silent, ", "), w.source.Name, pair)
	}
	w.pivotLink = w.link.Name
	w.need, err = w.free()
	return err
}

func (w *switchover) list(ctx workflow.Context) error {
	topics, err := w.listTopics(ctx, w.source)
	w.topics = topics
	return err
}

// healthy looks at mirrors, topics of both sites and what an earlier failover
// left undecided.
func (w *switchover) healthy(ctx workflow.Context) error {
	return w.do(ctx, "may it be moved?", func(ctx workflow.Context) (string, error) {
		ledger, err := run(with(ctx, kindLong, "loss ledger of "+w.reverse.Name), steps.ComputeLedger, LedgerInput{Call: w.call("ledger decided"), Site: w.source, Link: w.reverse, IfLink: true, Lost: w.beside()})
		if err != nil {
			return "", err
		}
		if err := w.measure(ctx, "measure mirrors"); err != nil {
			return "", err
		}
		shapes, err := run(with(ctx, kindProbe, "topics of both sites"), steps.CompareTopics, CompareTopicsInput{Call: w.call("compare topics"), Source: w.source, Destination: w.destination, Topics: w.topics})
		if err != nil {
			return "", err
		}
		v := runbook.Planned(runbook.MoveFacts{
			Pair: w.plan.Pair, Link: w.link, Topics: w.topics, Risk: w.risk, Shapes: shapes.Shapes, Undecided: runbook.Undecided(ledger.Lines),
		})
		if !v.OK {
			return "", refuse(ErrPrecondition, "%s", v.Text())
		}
		for _, r := range v.Reasons {
			w.find("%s", r)
		}
		return fmt.Sprintf("%d mirrors ACTIVE on %s", len(w.topics), w.link.Name), nil
	})
}

func (w *switchover) measure(ctx workflow.Context, step string) error {
	got, err := run(with(ctx, kindProbe, "mirrors of "+w.link.Name), steps.MeasureRisk, MeasureRiskInput{Call: w.call(step), Site: w.destination, Link: w.link})
	w.risk = got.Risk
	return err
}

// waitForLag is for the lag to get under its objective, before anybody is asked. A
// dry run does not wait, the forecast says how it stands.
func (w *switchover) waitForLag(ctx workflow.Context) error {
	if w.status.DryRun {
		return nil
	}
	return w.caughtUp(ctx, "wait for lag")
}

// tip waits again: approvals may have taken their time.
func (w *switchover) tip(ctx workflow.Context) error { return w.caughtUp(ctx, "catch up") }

func (w *switchover) caughtUp(ctx workflow.Context, name string) error {
	return w.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := w.awaitMirrors(ctx, name, w.link, w.destination)
		if err == nil && !got.CaughtUp {
			err = refuse(ErrPrecondition, "the mirrors at %s lag %d records after %d s (the plan's catch_up_seconds): %s; a freeze would not end in its time", w.destination.Name, got.LagRecords, w.plan.Limits.CatchUpSeconds, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("lag %d records", got.LagRecords), err
	})
}

// foresee lists the transactions that would be ended and says how long clients
// stand still.
func (w *switchover) foresee(ctx workflow.Context) error {
	return w.do(ctx, "forecast", func(ctx workflow.Context) (string, error) {
		if err := w.measure(ctx, "forecast"); err != nil {
			return "", err
		}
		got, err := run(with(ctx, kindProbe, "open transactions at "+w.source.Name), steps.OpenTransactions, OpenTransactionsInput{Call: w.call("list transactions"), Site: w.source, Topics: w.topics})
		if err != nil {
			return "", err
		}
		cast := runbook.ForeseeMove(w.plan, w.link, w.topics, w.risk, got.Open, holdStill)
		w.status.Move = &cast
		if cast.LeastSeconds > float64(cast.FreezeSeconds) {
			w.find("clients would stop for at least %.1f s, the plan's freeze_seconds allow %d: it would be undone", cast.LeastSeconds, cast.FreezeSeconds)
		}
		if w.status.DryRun {
			w.report.Planned = runbook.SwitchoverSteps(w.plan, w.link, w.reverse, cast)
		}
		return cast.Text(), nil
	})
}

func (w *switchover) ask(ctx workflow.Context) error {
	return w.approve(ctx, "approve", w.status.Move.Text(), w.need, false)
}

// lock takes the pair at both engines; nobody is stopped yet.
func (w *switchover) lock(ctx workflow.Context) error {
	w.phase(ctx, PhaseActing)
	w.engine = w.truth.Highest + 1
	return w.story.lock(ctx, []runbook.Site{w.destination, w.source}, w.source.Name, record.Open)
}

// wayBack makes the reverse link ready before anybody stands still. It has no
// mirror until the pair is moved, so that it needs no undo.
func (w *switchover) wayBack(ctx workflow.Context) error { return w.ensureLink(ctx, w.reverse) }

// open takes back what an earlier operation denied the groups at the destination. Behind
// the pivot it might not be known any more: its register is kept at the source's engine.
func (w *switchover) open(ctx workflow.Context) error {
	return w.liftGroups(ctx, w.destination, w.source)
}

func (w *switchover) begin(ctx workflow.Context) error { return w.token(ctx, w.link) }

// proven writes down what shows that nothing was lost.
func (w *switchover) proven(workflow.Context) error {
	if w.proof.Partitions == 0 || w.skippedAt("compare log ends") {
		w.find("that nothing was lost is not proven: the log ends at %s were not compared", w.source.Name)
		return nil
	}
	if !w.proof.OffsetsExact {
		w.find("not every group offset is exact: see the report's group offsets")
	}
	none := int64(0)
	w.report.Proof, w.report.RPOExact = &w.proof, &none
	rpo := runbook.ExactRPO(nil, w.plan.Objectives.RPOSeconds)
	w.report.RPOTime = &rpo
	return nil
}
