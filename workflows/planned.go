package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// plannedMove takes a pair from one healthy site to the other without loss:
// freeze → fence → transactions → groups → drain → final offset sync → promote
// → flip → move. Switchover and Failback use it. The freeze is bounded: when it
// expires before the pivot everything is undone.
//
// The final sync comes behind the drain, not before: only then can no offset be
// clamped to what is mirrored.
type plannedMove struct {
	*story
	source, destination runbook.Site
	link                runbook.Link // source → destination
	reverse             runbook.Link // destination → source
	thaw                workflow.CancelFunc
	proof               runbook.Proof
	frozen              bool // clients are told to stop
	wayOut              bool // it may be turned into a failover while mirrors are promoted
	// alone is the token that the source may have, once nobody waits for it any more: the
	// pair stays without a standby.
	alone *OperationTokenInput
}

// run moves the pair; ctx of what follows the pivot is returned, since a cancel
// in Temporal must not reach it. A move that is turned into a failover behind
// its pivot ends with the last mirror.
func (m *plannedMove) run(ctx workflow.Context) (workflow.Context, error) {
	defer func() { m.thaw() }()
	m.thaw = func() {}
	m.marks, m.frozen = workflow.Now(ctx), true
	err := inOrder(ctx, m.restartable, m.freeze, m.stopWorkloads, m.fence, m.transactions, m.stopGroups, m.drain, m.syncGroups)
	if err != nil {
		return ctx, err
	}
	if ctx, err = m.promote(ctx); err != nil || m.turned != nil {
		return ctx, err
	}
	// Every mirror has ended: nothing waits for the source from here to the flip, it may be lost.
	return ctx, inOrder(ctx, m.prove, m.flip, m.clients)
}

// freeze tells clients to stop, and starts the clock that undoes everything.
func (m *plannedMove) freeze(ctx workflow.Context) error {
	m.forward = false // a failed step is undone, clients are waiting
	m.phase(ctx, PhaseFrozen)
	timer, stop := workflow.WithCancel(ctx)
	m.thaw = stop
	m.thaws = workflow.Now(ctx).Add(runbook.Seconds(m.plan.Limits.FreezeSeconds))
	workflow.Go(timer, func(ctx workflow.Context) {
		if workflow.Sleep(ctx, runbook.Seconds(m.plan.Limits.FreezeSeconds)) == nil && !m.pastPivot && m.turned == nil {
			m.expired = true
			m.cancel()
		}
	})
	m.undo.add("freeze", func(ctx workflow.Context) error {
		if err := m.reread(ctx, kindUndo); err != nil {
			return err
		}
		return m.write(ctx, kindUndo, WritePhase, "undo freeze", runbook.Locked(m.rec, record.Open, m.by(ctx)))
	})
	return m.do(ctx, "freeze", func(ctx workflow.Context) (string, error) {
		return fmt.Sprintf("at most %d s", m.plan.Limits.FreezeSeconds),
			m.write(ctx, kindChange, WritePhase, "freeze", runbook.Locked(m.rec, record.Frozen, m.by(ctx)))
	})
}

func (m *plannedMove) fence(ctx workflow.Context) error {
	line, err := m.raise(ctx, fence{site: m.source, registerAt: m.destination, topics: m.topics, effort: kindLong})
	if err != nil {
		return err
	}
	if !line.Proven() && !m.overridden(runbook.OverrideFence) {
		return refuse(ErrHalted, "the fence on %s is %s, not proven (%s): without proof a planned move may lose records; cure it, or name the override %s in the approval", line.Site, line.Level, line.Reason, runbook.OverrideFence)
	}
	m.mark(ctx, "fence")
	return nil
}

func (m *plannedMove) transactions(ctx workflow.Context) error {
	return m.do(ctx, "end transactions", func(ctx workflow.Context) (string, error) {
		grace := runbook.Seconds(m.plan.Limits.TransactionsSeconds)
		got, err := run(with(ctx, holding(grace), "open transactions at "+m.source.Name), steps.EndTransactions,
			EndTransactionsInput{Call: m.call("end transactions"), Site: m.source, Topics: m.topics, Grace: grace})
		if err != nil {
			return "", err
		}
		m.report.EndedTxns = got.Ended
		if len(got.Open) > 0 {
			return "", refuse(ErrHalted, "%d transactions at %s could not be ended, first %s on %s/%d", len(got.Open), m.source.Name, got.Open[0].TransactionalID, got.Open[0].Topic, got.Open[0].Partition)
		}
		return fmt.Sprintf("%d ended", len(got.Ended)), nil
	})
}

// stopGroups gives clients the time to stop by themselves, then denies READ.
func (m *plannedMove) stopGroups(ctx workflow.Context) error {
	groups := m.plan.GroupNames()
	if len(groups) == 0 {
		return nil
	}
	return m.do(ctx, "stop groups", func(ctx workflow.Context) (string, error) {
		within := runbook.Seconds(m.plan.Limits.FreezeSeconds) / 4
		await := func(name string) (AwaitGroupsEmptyResult, error) {
			return run(with(ctx, kindWait(within), "groups at "+m.source.Name+" stop"), steps.AwaitGroupsEmpty,
				AwaitGroupsEmptyInput{Call: m.call(name), Site: m.source, Groups: groups, Within: within})
		}
		got, err := await("stop groups")
		if err != nil {
			return "", err
		}
		// Even those that stopped must not come back before the flip.
		f := fence{site: m.source, registerAt: m.destination, groups: groups, effort: kindLong}
		if _, err := m.fenceGroups(ctx, f); err != nil {
			return "", err
		}
		if got.Empty {
			return "all stopped", nil
		}
		busy := got.Busy
		if got, err = await("stop fenced groups"); err != nil {
			return "", err
		}
		if !got.Empty {
			return "", refuse(ErrHalted, "groups %s still have members at %s though READ is denied", strings.Join(got.Busy, ", "), m.source.Name)
		}
		return "stopped by DENY READ: " + strings.Join(busy, ", "), nil
	})
}

func (m *plannedMove) drain(ctx workflow.Context) error {
	err := m.do(ctx, "drain", func(ctx workflow.Context) (string, error) {
		within := runbook.Seconds(m.plan.Limits.FreezeSeconds)
		got, err := run(with(ctx, kindWait(within), "drain "+m.link.Name), steps.AwaitDrained, AwaitDrainedInput{
			Call: m.call("drain"), Source: m.source, Destination: m.destination, Link: m.link, Topics: m.topics, Within: within,
		})
		if err == nil && !got.Drained {
			err = refuse(ErrHalted, "not drained in %s: %s", within, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("%d partitions at their end", got.Partitions), err
	})
	m.mark(ctx, "drain")
	return err
}

func (m *plannedMove) syncGroups(ctx workflow.Context) error {
	return m.do(ctx, "sync groups", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "final offset sync"), steps.SyncGroups, LinkGroupsInput{Call: m.call("sync groups"), Site: m.destination, Link: m.link, Groups: m.plan.GroupNames()})
		if err != nil {
			return "", err
		}
		for _, g := range got.Groups {
			switch {
			case g.Clamped && g.Sum != nil: // condensed: the engine has the partition
				return "", refuse(ErrHalted, "group %s would be set back on a partition of %s: the mirror is not drained", g.Group, g.Topic)
			case g.Clamped:
				return "", refuse(ErrHalted, "group %s on %s/%d stands at %d at the source and would be set back to %d: the mirror is not drained", g.Group, g.Topic, g.Partition, g.SourceOffset, g.Wanted)
			}
		}
		for _, p := range got.Problems {
			m.find("group offsets: %s", p)
		}
		m.report.Offsets = got.Groups
		m.proof.Offsets, m.proof.OffsetsExact = got.Offsets, got.Exact
		return fmt.Sprintf("%d offsets, exact %t", got.Offsets, got.Exact), nil
	})
}

// promote is the pivot. While not one mirror is ended there is still a way
// back; as soon as one is, there is none.
func (m *plannedMove) promote(ctx workflow.Context) (workflow.Context, error) {
	undo := m.undo
	free, err := m.cross(ctx)
	if err != nil {
		return ctx, err
	}
	m.thaw()
	m.forward = false // the first refusal is looked at below
	call := m.call("promote")
	try := func(ctx workflow.Context) (string, error) { return m.promoteOnce(ctx, call) }
	err = m.do(m.mayTurn(free), "promote", try)
	m.forward, m.noTurn = true, allStopped
	if err == nil {
		m.promoted(free)
		return free, nil
	}
	// Revoking turns draining mirrors back, unless their writer is fenced.
	tokens := m.tokens
	stopped, rerr := m.revoke(free, m.topics)
	if rerr == nil && len(stopped) == 0 {
		m.pastPivot, m.forward, m.status.PastPivot, m.undo = false, false, false, undo
		return free, err
	}
	m.find("promoting failed half way: %s; %d mirrors are STOPPED, so that the run only goes on", brief(err), len(stopped))
	// The revoked operation's calls are refused for good: go on under a name of
	// its own.
	m.acting = again(m.id)
	for i := range tokens {
		tokens[i].Call = m.call("begin operation again on " + tokens[i].Link.Name)
		err := m.must(free, tokens[i].Call.Step, func(ctx workflow.Context) (string, error) {
			got, err := run(with(ctx, kindChange, tokens[i].Call.Step), steps.BeginOperation, tokens[i])
			return got.State, err
		})
		if err != nil {
			return free, err
		}
	}
	m.tokens, call = tokens, m.call("promote the rest")
	return free, m.rest(free, try)
}

// allStopped is why a move is not turned into a failover any more.
const allStopped = "every mirror is STOPPED: there is nothing left to fail over, the run goes on; see its status for retry and skip"

// mayTurn lets a switchover be turned into a failover from here on.
func (m *plannedMove) mayTurn(ctx workflow.Context) workflow.Context {
	if !m.wayOut {
		return ctx
	}
	return m.turnable(ctx)
}

// promoted: every mirror is. A command that turned the run meanwhile came too late.
func (m *plannedMove) promoted(ctx workflow.Context) {
	if m.turned != nil {
		m.unturn("every mirror was promoted by then")
	}
	m.noTurn = allStopped
	m.mark(ctx, "promote")
}

// rest ends the mirrors that are not STOPPED: promotes them, for as long as that
// is tried, or fails them over once people want that.
func (m *plannedMove) rest(ctx workflow.Context, try act) error {
	for {
		if m.turned == nil {
			err := m.must(m.mayTurn(ctx), "promote the rest", try)
			switch {
			case err == nil:
				m.promoted(ctx)
				return nil
			case m.turned == nil:
				return err
			}
		}
		err := m.asFailover().failOverRest(ctx)
		if ErrorType(err) != ErrNotApproved {
			m.noTurn = allStopped
			return err
		}
		m.unturn("it was not approved")
	}
}

// beginBack makes sure of the token on the way back, and by that of the source. A
// switchover has none before clients have moved, since a site that is lost before would
// keep it; a failback has it from the rebuild. Who skips it does not wait for the source
// any more.
func (m *plannedMove) beginBack(ctx workflow.Context) error {
	name := "begin operation on " + m.reverse.Name
	in := OperationTokenInput{Call: m.call(name), Site: m.source, Link: m.reverse}
	err := m.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindChange, "token on "+m.reverse.Name), steps.BeginOperation, in)
		return got.State, err
	})
	others := slices.DeleteFunc(slices.Clone(m.tokens), func(t OperationTokenInput) bool { return t.Link.Name == m.reverse.Name })
	if m.skippedAt(name) {
		m.tokens, m.alone = others, &in
	} else {
		m.tokens = append(others, in)
	}
	return err
}

func (m *plannedMove) promoteOnce(ctx workflow.Context, call Call) (string, error) {
	in := MirrorsInput{Call: call, Site: m.destination, Link: m.link, Topics: m.topics}
	got, err := run(with(ctx, kindLong, "promote "+m.link.Name), steps.PromoteMirrors, in)
	if err != nil {
		return "", err
	}
	refused := runbook.Failed(got.Topics)
	call.Step = "promote stopped"
	stopped, err := run(with(ctx, kindWait(stopWithin), "until STOPPED"), steps.AwaitStopped,
		AwaitStoppedInput{Call: call, Site: m.destination, Link: m.link, Topics: accepted(m.topics, refused), Within: stopWithin})
	if err != nil {
		return "", err
	}
	if all := append(refused, runbook.Failed(stopped.Topics)...); len(all) > 0 {
		return "", refuse(ErrHalted, "%d of %d mirrors were not promoted, first %s: %s", len(all), len(m.topics), all[0].Topic, all[0].Error)
	}
	return fmt.Sprintf("%d mirrors STOPPED", len(stopped.Topics)), nil
}

// own passes the group offsets at the old active site to the engine there,
// while its groups stand still there (READ is denied): from now on they follow
// the new active site. The engine knows the groups of topics that it mirrors only,
// so these have rejoined.
func (m *plannedMove) own(ctx workflow.Context) error {
	return m.story.own(ctx, "own groups", m.source, m.reverse)
}

func (m *plannedMove) prove(ctx workflow.Context) error {
	return m.writable(ctx, m.destination, m.topics)
}

func (m *plannedMove) flip(ctx workflow.Context) error {
	m.ruling = m.destination.Name // the new active site's Consul rules from here on
	return m.flipTo(ctx, runbook.Flip(m.rec, m.plan, max(m.truth.Highest, m.rec.Epoch), m.destination.Name, m.by(ctx)))
}

func (m *plannedMove) clients(ctx workflow.Context) error {
	return m.moveClients(ctx, m.source, m.destination)
}

// settleDown is how long a rejoined mirror may take to be at the tip.
const settleDown = 5 * time.Minute

// restoreDR protects the pair again after a planned move without divergence:
// the reverse mirrors start over the existing topics at the recorded stop
// offsets, nothing is deleted, and the fence becomes the guards'.
func (m *plannedMove) restoreDR(ctx workflow.Context) error {
	if err := m.beginBack(ctx); err != nil || m.alone != nil {
		return err
	}
	return inOrder(ctx, m.sameEnds, m.rejoin, m.own, m.guard, m.openGroups, m.follow)
}

// done gives everything back, what the source has as far as it answers if nobody
// waits for it.
func (m *plannedMove) done(ctx workflow.Context) error {
	if m.alone == nil {
		return m.release(ctx, []runbook.Site{m.destination, m.source})
	}
	if err := m.letGo(ctx, m.source, *m.alone); err != nil {
		return err
	}
	return m.release(ctx, []runbook.Site{m.destination})
}

func (m *plannedMove) sameEnds(ctx workflow.Context) error {
	return m.do(ctx, "compare log ends", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "log ends at "+m.source.Name), steps.CompareLogEnds, CompareLogEndsInput{Call: m.call("compare log ends"), Site: m.source, Keeper: m.destination, Link: m.link, Topics: m.topics})
		if err != nil {
			return "", err
		}
		if !got.Equal {
			return "", refuse(ErrHalted, "logs at %s do not end where %s stopped mirroring them: something was written behind the fence (%s); see both with drctl mirror describe", m.source.Name, m.link.Name, strings.Join(got.Differ, "; "))
		}
		m.proof.Partitions = got.Partitions
		return fmt.Sprintf("%d partitions equal", got.Partitions), nil
	})
}

func (m *plannedMove) rejoin(ctx workflow.Context) error {
	return m.do(ctx, "rejoin", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "mirror again by "+m.reverse.Name), steps.Rejoin, RejoinInput{
			Call: m.call("rejoin"), Site: m.source, Link: m.reverse, Other: m.destination, Opposite: m.link, Topics: m.topics,
		})
		if err != nil {
			return "", err
		}
		if bad := runbook.Failed(got.Topics); len(bad) > 0 {
			return "", refuse(ErrHalted, "%d of %d topics did not rejoin, first %s: %s", len(bad), len(got.Topics), bad[0].Topic, bad[0].Error)
		}
		return fmt.Sprintf("%d mirrors", len(got.Topics)), nil
	})
}

func (m *plannedMove) guard(ctx workflow.Context) error {
	return m.handOver(ctx, m.source, m.destination, m.reverse)
}

// openGroups takes back the DENY READ at the new standby: nobody reads there,
// and the offset sync owns the values.
func (m *plannedMove) openGroups(ctx workflow.Context) error {
	return m.story.liftGroups(ctx, m.source, m.destination)
}

func (m *plannedMove) follow(ctx workflow.Context) error {
	return m.do(ctx, "mirrors follow", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindWait(settleDown), "mirrors on "+m.reverse.Name), steps.AwaitMirrors, AwaitMirrorsInput{
			Call: m.call("mirrors follow"), Site: m.source, Link: m.reverse, Topics: m.topics, MaxLag: m.plan.Objectives.LagRecords, Within: settleDown,
		})
		if err == nil && !got.CaughtUp {
			m.find("the mirrors back to %s lag %d records after %s: %s", m.source.Name, got.LagRecords, settleDown, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("lag %d records", got.LagRecords), err
	})
}
