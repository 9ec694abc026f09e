package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// protection makes a standby of a site that was away: what its topics became is
// found out and decided, copies that did not move rejoin, the others are rebuilt
// with consent, and its fence becomes the guards of the mirrors. RestoreDR is
// this, Failback begins with it. Nothing stops clients.
type protection struct {
	*story
	active, standby runbook.Site
	link            runbook.Link // active → standby, what protects the pair from here on
	ended           runbook.Link // standby → active, what the failover ended
	need            []string     // overrides

	chosen   map[string]string // topic → choice
	chosenBy map[string]string
	what     runbook.AwayPlan
	size     runbook.CopySize
	copying  bool // this run has begun to copy
}

func newProtection(s *story) *protection {
	return &protection{story: s, chosen: map[string]string{}, chosenBy: map[string]string{}}
}

// between finds the links of a pair that works at active, and refuses what the
// survey could not be trusted with.
func (p *protection) between(active, standby runbook.Site, command string) error {
	pair := p.plan.Pair
	p.ruled()
	var err error
	p.active, p.standby = active, standby
	if p.link, err = p.plan.Link(active.Name, standby.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if p.ended, err = p.plan.Link(standby.Name, active.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if len(p.rec.FenceDebt) > 0 {
		d := p.rec.FenceDebt[0]
		return refuse(ErrPrecondition, "%d debts are open, first %s owed to %s since %s (%s): pay them with drctl recover %s --debts-only", len(p.rec.FenceDebt), d.Kind, d.Site, d.Since.UTC().Format("2006-01-02 15:04:05Z"), d.Reason, pair)
	}
	if len(p.truth.Silent) > 0 {
		return refuse(ErrPrecondition, "%s do not answer: a %s needs both sites", strings.Join(p.truth.Silent, ", "), command)
	}
	p.need, err = p.free()
	return err
}

// decided refuses while a lagged record waits for a decision: a rebuild would
// take the choice away.
func (p *protection) decided(ctx workflow.Context) error {
	return p.do(ctx, "ledger decided?", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "loss ledger of "+p.ended.Name), steps.ComputeLedger, LedgerInput{Call: p.call("ledger decided"), Site: p.active, Link: p.ended, IfLink: true, Lost: p.beside()})
		if err != nil {
			return "", err
		}
		p.status.Ledger = got.Lines
		if open := runbook.Undecided(got.Lines); len(open) > 0 {
			return "", refuse(ErrPrecondition, "lagged records of %s are undecided: run drctl recover %s", strings.Join(open, ", "), p.plan.Pair)
		}
		return fmt.Sprintf("%d partitions decided", runbook.LedgerPartitions(got.Lines)), nil
	})
}

// survey finds out what became of the topics while the site was away.
func (p *protection) survey(ctx workflow.Context) error {
	return p.do(ctx, "compare sites", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "topics of both sites"), steps.SurveyTopics, SurveyTopicsInput{
			Call: p.call("compare sites"), Active: p.active, Standby: p.standby, Link: p.link, Ended: p.ended, Filters: p.plan.Topics,
		})
		if err != nil {
			return "", err
		}
		p.status.Away = got.Topics
		for _, a := range got.Topics {
			if a.Kind() == runbook.AwayOnlyCopy {
				p.find("%s", runbook.AwayText(a, p.active.Name, p.standby.Name))
			}
		}
		return runbook.AwaySummary(got.Topics), nil
	})
}

// choose takes decisions on topics that have none yet.
func (p *protection) choose(choices map[string]string, who string) error {
	if _, err := runbook.PlanAway(p.status.Away, choices); err != nil {
		return err
	}
	for _, a := range p.status.Away {
		c, ok := choices[a.Topic]
		if every := choices[runbook.EveryTopic]; !ok && slices.Contains(a.Choices(), every) {
			c = every
		}
		if c != "" && p.chosen[a.Topic] == "" {
			p.chosen[a.Topic], p.chosenBy[a.Topic] = c, who
		}
	}
	return p.arrange()
}

func (p *protection) arrange() error {
	plan, err := runbook.PlanAway(p.status.Away, p.chosen)
	if err != nil {
		return err
	}
	p.what = plan
	p.report.AwayPlan, p.report.AwayBy = &plan, p.chosenBy
	p.topics, p.pivotLink = plan.Mirrors(), p.link.Name
	return nil
}

// decide waits until each topic that changed has a decision. Those of the input
// count as the requester's; a dry run lists what would be asked.
func (p *protection) decide(ctx workflow.Context, given map[string]string) error {
	for _, choices := range []map[string]string{p.choices, given} {
		if err := p.choose(choices, p.requester); err != nil {
			return refuse(ErrPrecondition, "%v", err)
		}
	}
	if len(p.what.Open) == 0 {
		return nil
	}
	if p.status.DryRun {
		for _, a := range p.open() {
			p.find("to be decided: %s", runbook.AwayText(a, p.active.Name, p.standby.Name))
		}
		return nil
	}
	return p.must(ctx, "decide", func(ctx workflow.Context) (string, error) {
		g := &gate{accepts: []string{runbook.Decide}, allow: p.mayDecide}
		g.choose = func(choices map[string]string, who string) error {
			if err := p.choose(choices, who); err != nil {
				return err
			}
			p.status.Waiting.Topics = p.what.Open
			if len(p.what.Open) == 0 {
				g.verdict = runbook.Decide
			}
			return nil
		}
		p.wait(ctx, PhaseDeciding, g, Waiting{For: WaitDecide, Text: p.question(), Topics: p.what.Open})
		defer p.resume(ctx, PhaseLooking)
		return "", p.awaitPeople(ctx, g, NotifyApproval, p.question())
	})
}

func (p *protection) mayDecide(who runbook.Person, choices map[string]string) error {
	if err := p.mayChoose(who); err != nil {
		return err
	}
	if err := runbook.Twice(p.chosen, p.chosenBy, choices); err != nil {
		return err
	}
	_, err := runbook.PlanAway(p.status.Away, choices)
	return err
}

func (p *protection) open() []runbook.AwayTopic {
	return slices.DeleteFunc(slices.Clone(p.status.Away), func(a runbook.AwayTopic) bool { return !slices.Contains(p.what.Open, a.Topic) })
}

func (p *protection) question() string {
	var lines []string
	for _, a := range p.open() {
		lines = append(lines, runbook.AwayText(a, p.active.Name, p.standby.Name))
	}
	return "decide what changed while " + p.standby.Name + " was away: " + strings.Join(lines, "; ")
}

// measure says what is copied; nothing that rejoins is.
func (p *protection) measure(ctx workflow.Context) error {
	copied := p.what.Copied()
	if len(copied) == 0 {
		return nil
	}
	return p.do(ctx, "measure copy", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "size of topics at "+p.active.Name), steps.MeasureCopy, MeasureCopyInput{Call: p.call("measure copy"), Source: p.active, Topics: copied, Folder: p.plan.Reports})
		if err != nil {
			return "", err
		}
		p.size = got.CopySize
		p.report.CopyRecords, p.report.CopyBytes, p.report.CopyByTopic = got.Records, got.Bytes, got.Lines
		return got.Text(), nil
	})
}

// consent asks for what is to be done; deleting takes an override by name.
func (p *protection) consent(ctx workflow.Context) error {
	text, need := p.what.Text(p.active.Name, p.standby.Name), p.need
	if len(p.what.Copied()) > 0 {
		text += "; " + p.size.Text()
	}
	if len(p.what.Doomed()) > 0 {
		text += "; lagged records that only " + p.standby.Name + " has are archived first"
		need = append(slices.Clone(need), runbook.OverrideRebuild)
	}
	name := "approve"
	if p.op == runbook.OpFailback { // it asks a second time, for the move
		name = "approve rebuild"
	}
	return p.approve(ctx, name, text, need, true)
}

func (p *protection) lock(ctx workflow.Context) error {
	p.phase(ctx, PhaseActing)
	if err := p.story.lock(ctx, []runbook.Site{p.standby, p.active}, p.active.Name, record.Open); err != nil {
		return err
	}
	// Nobody is stopped: a failed step waits for a person.
	p.forward = true
	return nil
}

func (p *protection) makeLink(ctx workflow.Context) error { return p.ensureLink(ctx, p.link) }

func (p *protection) begin(ctx workflow.Context) error {
	if err := p.token(ctx, p.ended); err != nil {
		return err
	}
	return p.token(ctx, p.link)
}

// archive exports what stands behind the stop offsets of copies that are
// deleted, whatever was decided about it: there is no other copy.
func (p *protection) archive(ctx workflow.Context) error {
	p.changed = true
	if len(p.what.Doomed()) == 0 {
		return nil
	}
	var topics []string
	for _, l := range p.status.Ledger {
		if l.Records > 0 && l.Decision != runbook.LedgerExported && slices.Contains(p.what.Doomed(), l.Topic) && !slices.Contains(topics, l.Topic) {
			topics = append(topics, l.Topic)
		}
	}
	return p.must(ctx, "archive tail", func(ctx workflow.Context) (string, error) {
		if len(topics) == 0 {
			return "nothing behind the stop offsets that is not archived", nil
		}
		got, err := run(with(ctx, kindLong, "archive the tail of "+p.standby.Name), steps.ExportLedger, LedgerInput{
			Call: p.call("archive tail"), Site: p.active, Link: p.ended, Topics: topics, DecidedBy: p.requester, Reason: "archived before the rebuild", KeepDecision: true,
		})
		if err != nil {
			return "", err
		}
		p.report.Export = got.Exported
		return fmt.Sprintf("%d records in topic %s", got.Records, got.Exported), nil
	})
}

func (p *protection) remove(ctx workflow.Context) error {
	doomed := p.what.Doomed()
	if len(doomed) == 0 {
		return nil
	}
	return p.must(ctx, "delete old topics", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "delete topics at "+p.standby.Name), steps.DeleteTopics, DeleteTopicsInput{
			Call: p.call("delete old topics"), Site: p.standby, Other: p.active, Link: p.link, Topics: doomed, Agreed: p.what.Delete,
		})
		return fmt.Sprintf("%d deleted, %d mirrors already", len(got.Deleted), len(got.Kept)), err
	})
}

// rejoinSame starts mirrors over copies that did not move; the engine looks at
// every log once more.
func (p *protection) rejoinSame(ctx workflow.Context) error {
	if len(p.what.Rejoin) == 0 {
		return nil
	}
	return p.must(ctx, "rejoin unchanged", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "mirror again by "+p.link.Name), steps.Rejoin, RejoinInput{
			Call: p.call("rejoin unchanged"), Site: p.standby, Link: p.link, Other: p.active, Opposite: p.ended, Topics: p.what.Rejoin,
		})
		if err != nil {
			return "", err
		}
		if bad := runbook.Failed(got.Topics); len(bad) > 0 {
			return "", refuse(ErrHalted, "%d of %d topics did not rejoin, first %s: %s; retry, or abort and start again: what moved since is then found to be rebuilt", len(bad), len(got.Topics), bad[0].Topic, bad[0].Error)
		}
		return fmt.Sprintf("%d mirrors", len(got.Topics)), nil
	})
}

func (p *protection) mirror(ctx workflow.Context) error {
	copied := p.what.Copied()
	if len(copied) == 0 {
		return nil
	}
	p.copying = true
	_, err := p.ensureMirrors(ctx, p.link, p.active, p.standby, copied, true)
	return err
}

// own passes the group offsets of copies that rejoined to the engine there, which
// found them as the old active site's: from now on they follow the new one. What
// stood there goes into the report.
func (p *protection) own(ctx workflow.Context) error {
	if len(p.what.Rejoin) == 0 || len(p.plan.Groups) == 0 {
		return nil
	}
	return p.story.own(ctx, "own rejoined groups", p.standby, p.link)
}

// guard: the returned site is a standby now, so that its fence becomes the
// guards' of its mirrors.
func (p *protection) guard(ctx workflow.Context) error {
	if len(p.topics) == 0 {
		return refuse(ErrPrecondition, "no topic is left to mirror from %s: widen the plan's topics, or decide otherwise", p.active.Name)
	}
	return p.handOver(ctx, p.standby, p.active, p.link)
}

// openGroups takes back the DENY READ at the new standby: nobody reads there,
// and the offset sync owns the values. A failover to it would not do that: the
// register is kept at the active site's engine.
func (p *protection) openGroups(ctx workflow.Context) error {
	return p.liftGroups(ctx, p.standby, p.active)
}

func (p *protection) catchUp(ctx workflow.Context) error {
	began := workflow.Now(ctx)
	err := p.do(ctx, "catch up", func(ctx workflow.Context) (string, error) {
		got, err := p.awaitMirrors(ctx, "catch up", p.link, p.standby)
		if err == nil && !got.CaughtUp {
			err = refuse(ErrHalted, "the mirrors at %s lag %d records after %d s: %s; retry waits on", p.standby.Name, got.LagRecords, p.plan.Limits.CatchUpSeconds, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("lag %d records", got.LagRecords), err
	})
	if err == nil && p.copying {
		p.report.CopySeconds = workflow.Now(ctx).Sub(began).Seconds()
	}
	return err
}
