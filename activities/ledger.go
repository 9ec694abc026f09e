package activities

import (
	"context"
	"fmt"
	"slices"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ComputeLedger has the engine count what its source holds behind the stop
// offsets; decisions that were taken stay.
func (a *Activities) ComputeLedger(ctx context.Context, in workflows.LedgerInput) (workflows.LedgerResult, error) {
	return a.ledger(ctx, in, func(e *api.Client) (workflows.LedgerResult, error) {
		// It decides nothing, and a failback counts before it begins its operation
		// (a dry run begins none): then without a token, which the engine would
		// refuse as one that is not open; and one that breaks the lock of a lost
		// operation beside the token that this one has left.
		op, err := e.Operation(ctx, in.Link.Name)
		if in.IfLink && gone(err) {
			return workflows.LedgerResult{}, nil
		}
		if err == nil && op.OperationID != in.Call.OperationID {
			e, err = a.engine(in.Site)
			if err == nil && slices.Contains(in.Lost, op.OperationID) && op.State == "open" {
				e = e.As(op)
			}
		}
		if err != nil {
			return workflows.LedgerResult{}, err
		}
		count := e.ComputeLedger
		if in.Stored {
			count = e.Ledger
		}
		l, err := count(ctx, in.Link.Name)
		return workflows.LedgerResult{Lines: lines(l.Entries, nil)}, err
	})
}

// AppendLedger writes lagged records behind the new primary's logs. The engine
// goes on where an earlier attempt stopped.
func (a *Activities) AppendLedger(ctx context.Context, in workflows.LedgerInput) (workflows.LedgerResult, error) {
	return a.ledger(ctx, in, func(e *api.Client) (workflows.LedgerResult, error) {
		l, err := e.AppendLedger(ctx, in.Link.Name, decision(in))
		return counted(l, in.Topics, func(e api.LedgerEntry) int64 { return e.Appended }), err
	})
}

// DiscardLedger records that lagged records are given up.
func (a *Activities) DiscardLedger(ctx context.Context, in workflows.LedgerInput) (workflows.LedgerResult, error) {
	return a.ledger(ctx, in, func(e *api.Client) (workflows.LedgerResult, error) {
		l, err := e.DiscardLedger(ctx, in.Link.Name, decision(in))
		return counted(l, in.Topics, func(e api.LedgerEntry) int64 { return e.Records }), err
	})
}

// ExportLedger archives lagged records. The engine makes "exported" the
// decision of undecided entries only, so that a decision that was made stays;
// with KeepDecision undecided entries are refused rather than decided.
func (a *Activities) ExportLedger(ctx context.Context, in workflows.LedgerInput) (workflows.LedgerResult, error) {
	return a.ledger(ctx, in, func(e *api.Client) (workflows.LedgerResult, error) {
		if in.KeepDecision {
			have, err := e.Ledger(ctx, in.Link.Name)
			if err != nil {
				return workflows.LedgerResult{}, err
			}
			for _, l := range have.Entries {
				if l.Decision == api.LedgerUndecided && concerned(l, in.Topics) {
					return workflows.LedgerResult{}, refuse(workflows.ErrPrecondition, "%s partition %d of link %s is undecided: an archive must not decide it; run drctl recover %s", l.Topic, l.Partition, in.Link.Name, in.Call.Pair)
				}
			}
		}
		x, err := e.ExportLedger(ctx, in.Link.Name, decision(in))
		if err != nil {
			return workflows.LedgerResult{}, err
		}
		l, err := e.Ledger(ctx, in.Link.Name)
		return workflows.LedgerResult{Lines: lines(l.Entries, in.Topics), Exported: x.Topic, Records: x.Records}, err
	})
}

func (a *Activities) ledger(ctx context.Context, in workflows.LedgerInput, do func(*api.Client) (workflows.LedgerResult, error)) (workflows.LedgerResult, error) {
	defer a.beat(ctx)()
	e, err := a.engineAs(in.Site, in.Call)
	if err != nil {
		return workflows.LedgerResult{}, settle(err)
	}
	out, err := do(e)
	if err != nil {
		return out, settle(fmt.Errorf("loss ledger of link %s at engine %s: %w", in.Link.Name, in.Site.Name, err))
	}
	return out, nil
}

// decision names who answers for it: the engine takes none without a name.
func decision(in workflows.LedgerInput) api.DecideLedger {
	by := in.DecidedBy
	if by == "" {
		by = runbook.Unsigned
	}
	return api.DecideLedger{Topics: in.Topics, DecidedBy: by, Reason: in.Reason}
}

func concerned(l api.LedgerEntry, topics []string) bool {
	return len(topics) == 0 || slices.Contains(topics, l.Topic)
}

func counted(l api.Ledger, topics []string, count func(api.LedgerEntry) int64) workflows.LedgerResult {
	out := workflows.LedgerResult{Lines: lines(l.Entries, topics)}
	for _, e := range l.Entries {
		if concerned(e, topics) {
			out.Records += count(e)
		}
	}
	return out
}

// lines are those of the topics, nil for all: a step per topic that gave back all of
// thousands would fill a history.
func lines(entries []api.LedgerEntry, topics []string) []runbook.LedgerLine {
	out := make([]runbook.LedgerLine, 0, len(entries))
	shown := map[string]int{}
	for _, e := range entries {
		if !concerned(e, topics) {
			continue
		}
		line := runbook.LedgerLine{
			Topic: e.Topic, Partition: e.Partition, From: e.From, To: e.To, Records: e.Records, Bytes: e.Bytes,
			FirstTime: e.FirstTime, LastTime: e.LastTime, Keyed: e.Keyed, Superseded: e.Superseded, Compacted: e.Compacted,
			Unrecoverable: e.Unrecoverable, Decision: e.Decision, DecidedBy: e.DecidedBy, Reason: e.Reason,
			Appended: e.Appended, Redelivered: e.Redelivered, SupersededKeys: e.SupersededKeys, GapCount: len(e.Gaps) + int(e.GapsLeftOut),
		}
		// A history keeps a few of each: its size has a limit, and the engine has all.
		for _, s := range e.SupersededAt[:min(len(e.SupersededAt), runbook.LedgerSample-shown[e.Topic])] {
			shown[e.Topic]++
			line.SupersededAt = append(line.SupersededAt, runbook.SupersededAt(s))
		}
		for _, g := range e.Gaps[:min(len(e.Gaps), runbook.LedgerSample)] {
			line.Gaps = append(line.Gaps, runbook.LedgerGap(g))
		}
		out = append(out, line)
	}
	return runbook.CondenseLedger(out, runbook.RowLimit)
}
