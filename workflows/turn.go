package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A switchover whose source dies under it can be turned into a failover by a
// signed command. The command is a request: what the planned move has under way
// is left, and the same run goes on in the failover's story, which attests,
// forecasts and asks for the failover's own approvals. Locks, fence and frozen
// clients stay meanwhile; whatever ends the run before its pivot undoes them.

// unturnable says why the run cannot be turned into a failover now.
func (s *story) unturnable() string {
	switch {
	case s.turned != nil:
		return "this run was turned into a failover already, by " + s.turned.By
	case s.undoing || s.aborted != nil || s.expired:
		return fmt.Sprintf("this run is being undone: wait for its end, then start drctl failover %s", s.status.Pair)
	}
	return s.noTurn
}

// turn makes a failover of the run. Its requester is who turned it: approvals
// that were given to the planned move do not count any more, nor can they be
// sent again, since commands name another operation now.
func (s *story) turn(by runbook.Signed) {
	s.turned, s.status.Turned = &by, &by
	s.path, s.status.Operation = runbook.OpFailover, runbook.OpFailover
	s.requester, s.from = by.By, len(s.status.Approvals)
	s.cancel()
}

// unturn takes the turn back.
func (s *story) unturn(why string) {
	s.find("%s wanted to turn the run into a failover: %s", s.turned.By, why)
	s.turned, s.status.Turned = nil, nil
	s.path, s.status.Operation, s.requester = s.op, s.op, s.report.Requester
}

// turnable is a ctx that turning the run cancels. The run's own cancel must not
// be needed any more.
func (s *story) turnable(ctx workflow.Context) workflow.Context {
	ctx, s.cancel = workflow.WithCancel(ctx)
	s.noTurn = ""
	return ctx
}

// asFailover is the failover that a planned move was turned into.
func (m *plannedMove) asFailover() *failover {
	f := &failover{story: m.story, lost: m.source, survivor: m.destination, link: m.link, frozen: m.frozen}
	for _, line := range m.status.Fences {
		if line.Site == m.source.Name {
			f.level = line // what was proven then stands in the cluster's own metadata
		}
	}
	return f
}

// takeOver goes on where a planned move was left before its pivot.
func (f *failover) takeOver(ctx workflow.Context) error {
	ctx, f.cancel = workflow.WithCancel(ctx) // an abort still works
	f.phase(ctx, PhaseLooking)
	if !f.frozen {
		f.marks = workflow.Now(ctx)
	}
	need, err := f.free()
	if err != nil {
		return err
	}
	f.need = need
	f.notify(ctx, NotifyStarted, fmt.Sprintf("%s of %s turned into a failover by %s", f.op, f.status.Pair, f.turned.By), f.turned.Reason, true)
	if err := inOrder(ctx, f.survivorRules, f.attest, f.forecast); err != nil {
		return err
	}
	return f.act(ctx)
}

// survivorRules lets the survivor's Consul rule from here on: the other one may
// be lost.
func (f *failover) survivorRules(ctx workflow.Context) error {
	f.ruled()
	return f.do(ctx, "read record at "+f.survivor.Name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "record of truth at "+f.survivor.Name), steps.ReadRecord, ReadRecordInput{Call: f.call("read record at " + f.survivor.Name), Sites: []runbook.Site{f.survivor}})
		if err != nil {
			return "", err
		}
		c := runbook.CopyOf(got.Copies, f.survivor.Name)
		switch {
		case !c.Reachable:
			return "", refuse(ErrPrecondition, "consul of %s does not answer: clients could not be sent there", f.survivor.Name)
		case c.Record == nil:
			return "", refuse(ErrPrecondition, "the record of truth at %s is gone or damaged: run drctl failover %s", f.survivor.Name, f.status.Pair)
		case c.Record.Epoch != f.rec.Epoch || c.Record.OpID != f.rec.OpID:
			return "", refuse(ErrEpochConflict, "the record at %s is at epoch %d by %s, this run goes by epoch %d by %s", f.survivor.Name, c.Record.Epoch, c.Record.OpID, f.rec.Epoch, f.rec.OpID)
		}
		f.ruling, f.unsure = f.survivor.Name, nil
		f.rec, f.base[f.survivor.Name] = *c.Record, c.Record.SHA256
		f.status.Debts = f.rec.FenceDebt
		return fmt.Sprintf("active %v, epoch %d", f.rec.Active, f.rec.Epoch), nil
	})
}

// fenceReaders completes a proven fence by the groups, as far as the site answers.
func (f *failover) fenceReaders(ctx workflow.Context) error {
	groups := f.plan.GroupNames()
	if f.down || len(groups) == 0 {
		return nil
	}
	return f.do(ctx, "fence groups "+f.lost.Name, func(ctx workflow.Context) (string, error) {
		got, err := f.fenceGroups(ctx, fence{site: f.lost, registerAt: f.survivor, groups: groups, effort: kindOnce})
		if err == nil && !got.Reachable {
			err = refuse(ErrUnreachable, "%s", got.Problem)
		}
		if err != nil && ctx.Err() == nil {
			f.find("groups at %s are not fenced: %s", f.lost.Name, brief(err))
			return "not fenced", nil
		}
		return fmt.Sprintf("%d entries", got.Entries), err
	})
}

// letGo gives back what a run holds at a site that it gave up, as far
// as that answers. Tokens that may be open there go first: the lock is what tells
// the next operation whose they are.
func (s *story) letGo(ctx workflow.Context, site runbook.Site, tokens ...OperationTokenInput) error {
	name := "unlock engine " + site.Name
	err := s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		var err error
		for _, in := range tokens {
			in.Call.Step = "revoke operation on " + in.Link.Name
			if _, err = run(with(ctx, kindOnce, "revoke on "+in.Link.Name), steps.RevokeOperation, in); err != nil {
				break
			}
		}
		if err == nil {
			_, err = run(with(ctx, kindOnce, "give back the lock at "+site.Name), steps.EngineUnlock, EngineLockInput{Call: s.holder(name), Site: site})
		}
		if err != nil {
			s.find("engine %s keeps the lock of this run until the next operation breaks it: %s", site.Name, brief(err))
			return "it does not answer", nil
		}
		return "", nil
	})
	then := "drctl restore " + s.status.Pair
	if site.Name == s.plan.Home {
		then += fmt.Sprintf(" (stay) or drctl failback %s (go home)", s.status.Pair)
	}
	s.find("the pair is not protected: nothing is mirrored back to %s; when it is there again, drctl recover %s, then %s", site.Name, s.status.Pair, then)
	return err
}

// failOverRest ends what a planned move has not promoted, with the failover's
// approvals. A refusal is an error of its own, and the planned move goes on.
func (f *failover) failOverRest(ctx workflow.Context) error {
	all := f.topics
	defer func() { f.topics = accepted(all, f.left) }()
	f.notify(ctx, NotifyStarted, fmt.Sprintf("%s of %s turned into a failover by %s", f.op, f.status.Pair, f.turned.By), f.turned.Reason, true)
	if err := inOrder(ctx, f.survivorRules, f.attest, f.forecastRest); err != nil {
		return err
	}
	f.forward = false // no pause for retry: no answer means no failover
	err := f.askFirst(ctx)
	f.forward = true
	if err != nil {
		return err
	}
	return f.waves(ctx)
}

// forecastRest measures what the mirrors that are not STOPPED would lose.
func (f *failover) forecastRest(ctx workflow.Context) error {
	return f.must(ctx, "forecast the rest", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "risk on link "+f.link.Name), steps.MeasureRisk, MeasureRiskInput{Call: f.call("forecast the rest"), Site: f.survivor, Link: f.link})
		if err != nil {
			return "", err
		}
		unseen := got.Risk.Unseen(f.plan.GroupNames())
		ended := inStatus(got.Risk, runbook.StatusStopped)
		got.Risk.Partitions = slices.DeleteFunc(got.Risk.Partitions, func(p runbook.PartitionRisk) bool { return slices.Contains(ended, p.Topic) })
		got.Risk.Groups = slices.DeleteFunc(got.Risk.Groups, func(g runbook.GroupRisk) bool { return slices.Contains(ended, g.Topic) })
		cast := runbook.Foresee(got.Risk)
		cast.Unseen = unseen
		f.foresee(ctx, cast)
		f.topics = accepted(f.topics, results(ended))
		return fmt.Sprintf("%d mirrors are STOPPED; %d records at risk in the other %d topics, blind for %.1f s", len(ended), cast.AtRisk, len(f.topics), cast.BlindSeconds), nil
	})
}

func results(topics []string) []runbook.TopicResult {
	var out []runbook.TopicResult
	for _, t := range topics {
		out = append(out, runbook.TopicResult{Topic: t})
	}
	return out
}
