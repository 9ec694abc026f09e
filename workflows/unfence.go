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

// Unfence lifts fences whose run is lost: terminated, or gone with its Temporal.
// Such a run left its locks and tokens too: they are taken from it first, so
// that nothing of it acts any more when producers may write again. What other
// operations fenced, and what the mirrors' guards took over, stays.
//
// A failure before the first entry is lifted ends the run, and the pair is left
// without a lock in phase open: what was broken of the lost run stays broken.
// Afterwards a failed step waits for a person.
func Unfence(ctx workflow.Context, in UnfenceInput) (Result, error) {
	s, err := open(ctx, runbook.OpUnfence, in.Start, false)
	if err != nil {
		return Result{}, err
	}
	u := &unfence{story: s, lost: operationsOf(in.Operations)}
	return s.tell(ctx, func(ctx workflow.Context) error {
		err := inOrder(ctx,
			func(workflow.Context) error { return u.orient(in) },
			u.admit, u.held, u.judge, u.ask, u.lock, u.revokeLost, u.owe, u.lift, u.prove, u.done, u.workloads)
		u.workloadsLeft(err)
		return err
	})
}

type unfence struct {
	*story
	lost      []string // operations
	sites     []fenced
	answering []runbook.Site // those whose engines answer
	need      []string
	why       []string
}

// fenced is a site on its way out of a fence.
type fenced struct {
	runbook.Site
	other   runbook.Site // its engine keeps the register
	out     runbook.Link // to other
	active  bool
	guarded bool // a standby whose mirrors' guards keep clients out
	lifted  bool // or perhaps, by a try whose answer was lost
}

func operationsOf(registers []string) []string {
	var out []string
	for _, r := range registers {
		if op := runbook.FencingOperation(r); op != "" && !slices.Contains(out, op) {
			out = append(out, op)
		}
	}
	return out
}

// orient finds the sites and refuses what was not asked for by name.
func (u *unfence) orient(in UnfenceInput) error {
	pair := u.plan.Pair
	if len(u.lost) == 0 || len(in.Sites) == 0 {
		return refuse(ErrPrecondition, "the input names no operations or no sites whose fence is to be lifted: drctl unfence %s --list shows them", pair)
	}
	if u.requester != runbook.Unsigned {
		want := UnfenceChoices(u.lost, in.Sites)
		for _, op := range u.lost {
			if u.choices[op] != want[op] || len(u.choices) != len(want) {
				return refuse(ErrCommandStale, "the request by %s is not signed for %s: %q; start it with drctl unfence %s", u.requester, op, want[op], pair)
			}
		}
	}
	if u.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth at any Consul that answers: nothing tells which site is active", pair)
	}
	u.ruled()
	for _, site := range u.plan.Sites {
		if i := slices.IndexFunc(u.engines, func(e runbook.EngineTruth) bool { return e.Site == site.Name && e.Reachable }); i >= 0 {
			u.answering = append(u.answering, site)
		} else {
			u.find("engine %s does not answer: its lock and tokens of lost operations stay until somebody breaks them", site.Name)
		}
	}
	for _, name := range in.Sites {
		if err := u.site(name); err != nil {
			return err
		}
	}
	return nil
}

func (u *unfence) site(name string) error {
	if slices.ContainsFunc(u.sites, func(f fenced) bool { return f.Name == name }) {
		return nil
	}
	f := fenced{active: u.rec.Active[0] == name}
	var err error
	if f.Site, err = u.plan.Site(name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if f.other, err = u.plan.Other(name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if f.out, err = u.plan.Link(name, f.other.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if !slices.ContainsFunc(u.answering, func(s runbook.Site) bool { return s.Name == f.other.Name }) {
		return refuse(ErrPrecondition, "engine %s does not answer: its register alone tells which entries on %s are ours to remove; bring it back first", f.other.Name, name)
	}
	u.sites = append(u.sites, f)
	return nil
}

// held looks who holds the pair. A lost operation usually still does: that it
// is gone for good is for people to say. Anybody else's lock is no business of
// this run.
func (u *unfence) held(workflow.Context) error {
	u.breaks = map[string]string{}
	var locks []string
	mine := func(l *record.Lock) bool { return l != nil && slices.Contains(u.lost, l.OpID) }
	busy := func(l *record.Lock, at string) error {
		return refuse(ErrPairBusy, "pair %s is held by %s %s since %s (%s), which is none of those whose fence is to be lifted: wait for it", u.plan.Pair, l.Operation, l.OpID, l.Since.UTC().Format("2006-01-02 15:04:05Z"), at)
	}
	if l := u.truth.Lock; l != nil && !mine(l) {
		return busy(l, u.truth.LockAt)
	}
	for _, e := range u.engines {
		switch {
		case e.Lock == nil:
		case !mine(e.Lock):
			return busy(e.Lock, "state topic of "+e.Site)
		default:
			u.breaks[e.Site] = e.Lock.OpID
			locks = append(locks, e.Lock.OpID+" at engine "+e.Site)
		}
	}
	// A copy that does not rule may be the only one that a lost failover wrote.
	for _, c := range u.copies {
		if c.Record != nil && mine(c.Record.Lock) {
			locks = append(locks, c.Record.Lock.OpID+" in the record at "+c.Site)
		}
	}
	if len(locks) == 0 {
		return nil
	}
	if !slices.Contains(u.request, runbook.OverrideLock) {
		return refuse(ErrPairBusy, "pair %s is still locked by %s: see with drctl status that its run is gone for good (in every Temporal that may have started it), then sign a request with the override %s", u.plan.Pair, strings.Join(locks, "; "), runbook.OverrideLock)
	}
	u.need = append(u.need, runbook.OverrideLock)
	u.why = append(u.why, "breaks the lock of "+strings.Join(locks, "; "))
	u.find("locks broken by override: %s", strings.Join(locks, "; "))
	return nil
}

// judge refuses where two sites could be written to, unless the signed request
// takes that upon itself.
func (u *unfence) judge(ctx workflow.Context) error {
	for i := range u.sites {
		f := &u.sites[i]
		name := "may " + f.Name + " be written to?"
		err := u.do(ctx, name, func(ctx workflow.Context) (string, error) {
			facts, err := u.facts(ctx, f)
			if err != nil {
				return "", err
			}
			v := runbook.Unfence(facts)
			if missing := runbook.Missing(v.Overrides, u.request); len(missing) > 0 {
				return "", refuse(ErrPrecondition, "%s; to lift the fence all the same sign a request with the override %s", v.Text(), strings.Join(missing, ", "))
			}
			u.need = append(u.need, runbook.Missing(v.Overrides, u.need)...)
			u.why = append(u.why, v.Reasons...)
			return v.Text(), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unfence) facts(ctx workflow.Context, f *fenced) (runbook.FencedSite, error) {
	facts := runbook.FencedSite{Pair: u.plan.Pair, Site: f.Name, Active: f.active, Link: f.out.Name, Debts: u.rec.FenceDebt}
	got, err := run(with(ctx, kindProbe, "mirrors of "+f.out.Name), steps.MeasureRisk, MeasureRiskInput{Call: u.call("mirrors of " + f.out.Name), Site: f.other, Link: f.out})
	if ctx.Err() != nil {
		return facts, err
	}
	if err != nil {
		facts.Problem = brief(err)
	}
	facts.Stopped = inStatus(got.Risk, runbook.StatusStopped)
	if f.active {
		return facts, nil
	}
	if len(facts.Stopped) > 0 || facts.Problem != "" {
		ledger, err := run(with(ctx, kindLong, "loss ledger of "+f.out.Name), steps.ComputeLedger, LedgerInput{Call: u.call("ledger of " + f.out.Name), Site: f.other, Link: f.out, Lost: u.beside()})
		if ctx.Err() != nil {
			return facts, err
		}
		if err != nil {
			facts.LedgerProblem = brief(err)
		}
		facts.Undecided = runbook.Undecided(ledger.Lines)
	}
	in, err := u.plan.Link(f.other.Name, f.Name)
	if err != nil {
		return facts, nil // no link, no guards
	}
	back, err := run(with(ctx, kindOnce, "mirrors of "+in.Name), steps.MeasureRisk, MeasureRiskInput{Call: u.call("mirrors of " + in.Name), Site: f.Site, Link: in})
	if ctx.Err() != nil {
		return facts, err
	}
	f.guarded = err == nil && len(inStatus(back.Risk, runbook.StatusActive)) > 0
	facts.Guarded = f.guarded
	return facts, nil
}

// inStatus are the topics of a link whose mirrors have a status.
func inStatus(r runbook.Risk, status string) []string {
	var out []string
	for _, p := range r.Partitions {
		if p.Status == status && !slices.Contains(out, p.Topic) {
			out = append(out, p.Topic)
		}
	}
	return out
}

func (u *unfence) ask(ctx workflow.Context) error {
	text := fmt.Sprintf("lift what %s fenced at %s: clients can write there again; %s", strings.Join(u.lost, ", "), u.names(), strings.Join(u.why, "; "))
	return u.approve(ctx, "approve", text, u.need, false)
}

func (u *unfence) names() string {
	var out []string
	for _, f := range u.sites {
		out = append(out, f.Name)
	}
	return strings.Join(out, ", ")
}

// lock takes the pair, from the lost operation if it still has it: release
// leaves it free. The phase stays until then, clients may stand still by it.
func (u *unfence) lock(ctx workflow.Context) error {
	u.phase(ctx, PhaseActing)
	for _, site := range u.answering {
		u.shutAt = append(u.shutAt, site.Name) // by revokeLost, which looks what it finds
	}
	return u.story.lock(ctx, u.answering, u.truth.RuledBy, u.rec.Phase)
}

// revokeLost ends the lost operations' power over the links: draining mirrors go
// back to ACTIVE. One that stopped since judge looked makes the active site's
// writes unmirrored, which nobody has approved.
func (u *unfence) revokeLost(ctx workflow.Context) error {
	return u.story.revokeLost(ctx, u.lost, u.answering, kindUndo, func(l runbook.Link, got RevokeOperationResult, err error) (string, error) {
		if err != nil {
			return "", err
		}
		out := slices.ContainsFunc(u.sites, func(f fenced) bool { return f.active && f.out.Name == l.Name })
		if out && len(got.Stopped) > 0 && !u.overridden(runbook.OverrideWriters) {
			return "", refuse(ErrHalted, "mirrors %s of link %s are STOPPED by now: the lost run was past its point of no return, and what is written at %s reaches nobody; drctl failover %s --override break-lock --reason \"…\" goes on from there", strings.Join(got.Stopped, ", "), l.Name, l.Source, u.plan.Pair)
		}
		return got.State, nil
	})
}

// owe notes, before it is lifted, that a fence is owed again to a site that is
// not active and that no guard keeps clients out of: failback refuses until
// recovery has fenced it.
func (u *unfence) owe(ctx workflow.Context) error {
	u.forward, u.changed = true, true
	for _, f := range u.sites {
		if f.active || f.guarded {
			continue
		}
		name := "note fence debt " + f.Name
		err := u.must(ctx, name, func(ctx workflow.Context) (string, error) {
			by := u.by(ctx)
			debt := record.FenceDebt{Kind: record.DebtFence, Site: f.Name, OpID: u.id, Since: by.Now, Level: runbook.LevelOverridden, Reason: "its fence was lifted by drctl unfence"}
			return "drctl recover fences it again", u.settle(ctx, WriteDebt, name, runbook.WithDebt(u.rec, debt, by))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lift removes the lost operations' entries, on topics and on groups.
func (u *unfence) lift(ctx workflow.Context) error {
	for i := range u.sites {
		f := &u.sites[i]
		for _, op := range u.lost {
			name := "lift fence " + f.Name + " of " + op
			again := false
			err := u.do(ctx, name, func(ctx workflow.Context) (string, error) {
				before := again
				again = true
				got, err := run(with(ctx, kindLong, name), steps.LiftFence, LiftFenceInput{Call: u.call(name), Site: f.Site, RegisterAt: f.other, FencingOperation: op})
				if err != nil {
					f.lifted = true // perhaps; who skips it wants the proof all the same
					return "", err
				}
				switch {
				case len(got.Operations) > 0:
					f.lifted = true
				case before || got.Again:
					f.lifted = true
					return "no open register: a try before this one lifted it, or there was none", nil
				default:
					u.find("no open register of operation %s at engine %s: nothing was lifted at %s", op, f.other.Name, f.Name)
				}
				return fmt.Sprintf("%d entries removed", got.Entries), nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// prove shows that the active site takes writes. At another site the probe only
// tells what it finds: guards may keep clients out there, as they should.
func (u *unfence) prove(ctx workflow.Context) error {
	for _, f := range u.sites {
		if !f.lifted {
			continue
		}
		topics, err := u.listTopics(ctx, f.Site)
		if err != nil {
			return err
		}
		if f.active {
			err = u.writable(ctx, f.Site, topics)
		} else if f.Canary != nil && !f.guarded {
			err = u.probe(ctx, f.Site, topics)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unfence) probe(ctx workflow.Context, site runbook.Site, topics []string) error {
	name := "probe writes " + site.Name
	return u.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindWait(time.Minute), name), steps.ProveWritable, ProveWritableInput{Call: u.call(name), Site: site, Topics: topics, Within: time.Minute})
		if err != nil {
			return "", err
		}
		if !got.Writable {
			u.find("writes are still refused at %s: %v", site.Name, got.Refused)
		}
		return fmt.Sprintf("writable %t, %d brokers", got.Writable, got.Brokers), nil
	})
}

func (u *unfence) done(ctx workflow.Context) error { return u.release(ctx, u.answering) }
