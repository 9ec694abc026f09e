package workflows

import (
	"cmp"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Readiness looks at everything that a failover or a planned move would need, and
// says what would fail today. It changes nothing and takes no lock. A Schedule that
// SetUp makes runs it; anybody may run it at any time. When the active site looks
// lost it says so to people and proposes a failover: it never starts one.
func Readiness(ctx workflow.Context, in ReadinessInput) (runbook.Readiness, error) {
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	// A Schedule puts the time behind the id.
	if in.Pair == "" || id != ReadyID(in.Pair) && !strings.HasPrefix(id, ReadyID(in.Pair)+"-") {
		return runbook.Readiness{}, refuse(ErrWrongID, "a look at pair %q has the id %s, not %s: use drctl readiness %s", in.Pair, ReadyID(in.Pair), id, in.Pair)
	}
	l := &readyLook{pair: in.Pair, facts: runbook.ReadyFacts{Now: workflow.Now(ctx), Problems: map[string]string{}}}
	if err := l.plan(ctx, in.PlanHash); err != nil {
		return runbook.Readiness{}, failure(named(err))
	}
	r := l.judge(ctx)
	workflow.SetCurrentDetails(ctx, r.Markdown())
	l.tell(ctx, &r)
	return r, nil
}

// readyLives is how long a readiness counts: one look may fail.
func readyLives(p runbook.Plan) time.Duration {
	every := runbook.Seconds(p.Readiness.EverySeconds)
	if every <= 0 {
		every = time.Hour
	}
	return 2*every + time.Minute
}

// at looks at a pair whose plan is known.
func (l *readyLook) at(ctx workflow.Context, p runbook.Plan) runbook.Readiness {
	l.facts = runbook.ReadyFacts{Now: workflow.Now(ctx), Problems: map[string]string{}, Plan: p}
	return l.judge(ctx)
}

// judge looks at everything but the plan, and keeps what comes of it.
func (l *readyLook) judge(ctx workflow.Context) runbook.Readiness {
	l.record(ctx)
	l.rest(ctx)
	r := runbook.JudgeReadiness(l.facts, readyLives(l.facts.Plan))
	r.PlanHash = l.hash
	_, err := run(with(ctx, kindPaper, "keep the readiness"), steps.SaveReadiness, SaveReadinessInput{Call: l.call("save readiness"), Folder: l.facts.Plan.Reports, Readiness: r})
	if err != nil {
		workflow.GetLogger(ctx).Warn("the readiness could not be kept; it is in this run's result", "error", err)
	}
	return r
}

type readyLook struct {
	pair, hash string
	facts      runbook.ReadyFacts
}

// call goes with every step. The operation is the same from look to look, so that
// pages of one trouble are one incident.
func (l *readyLook) call(step string) Call {
	return Call{Pair: l.pair, OperationID: "readiness-" + l.pair, Operation: runbook.OpReadiness, Step: step}
}

func (l *readyLook) plan(ctx workflow.Context, hash string) error {
	got, err := run(with(ctx, kindProbe, "plan of "+l.pair), steps.LoadPlan, LoadPlanInput{Call: l.call("load plan"), PlanHash: hash})
	if err == nil && len(got.Plan.Sites) != 2 {
		err = refuse(ErrPlanInvalid, "the plan of pair %q has %d sites, two are wanted", l.pair, len(got.Plan.Sites))
	}
	l.facts.Plan, l.hash = got.Plan, got.Hash
	return err
}

func (l *readyLook) record(ctx workflow.Context) {
	got, err := run(with(ctx, kindProbe, "record of truth at both sites"), steps.ReadRecord, ReadRecordInput{Call: l.call("read record"), Sites: l.facts.Plan.Sites})
	if err != nil {
		l.facts.Problems[runbook.PartRecord] = said(err)
		return
	}
	t := runbook.ReadTruth(got.Copies, got.Engines, "")
	l.facts.Truth, l.facts.Holds = &t, got.Holds
}

// rest looks at all other parts, at the same time: a site that does not answer
// holds none of the others up.
func (l *readyLook) rest(ctx workflow.Context) {
	p := l.facts.Plan
	active := p.Home
	if t := l.facts.Truth; t != nil && t.Record != nil && len(t.Record.Active) > 0 {
		active = t.Record.Active[0]
	}
	from, err := p.Site(active)
	to, err2 := p.Other(active)
	link, err3 := p.Link(active, to.Name)
	for _, err := range []error{err, err2, err3} {
		if err != nil {
			l.facts.Problems[runbook.PartMirrors] = err.Error()
			return
		}
	}
	all := workflow.NewWaitGroup(ctx)
	look := func(part string, do func(workflow.Context) error) {
		all.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer all.Done()
			if err := do(ctx); err != nil {
				l.facts.Problems[part] = said(err)
			}
		})
	}
	look(runbook.PartRights, l.rights)
	look(runbook.PartOutage, func(ctx workflow.Context) error {
		got, err := run(with(ctx, kindProbe, "does "+from.Name+" answer?"), steps.AttestOutage, AttestOutageInput{Call: l.call("attest outage"), Site: from, Other: to, Link: link, Probes: p.ProbesOf(from.Name)})
		l.facts.Vantages = got.Vantages
		return err
	})
	look(runbook.PartMirrors, func(ctx workflow.Context) error {
		got, err := run(with(ctx, kindProbe, "mirrors on "+link.Name), steps.MeasureRisk, MeasureRiskInput{Call: l.call("measure risk"), Site: to, Link: link})
		if err == nil {
			l.facts.Risk = &got.Risk
		}
		return err
	})
	look(runbook.PartLink, func(ctx workflow.Context) error {
		got, err := run(with(ctx, kindProbe, "link "+link.Name), steps.InspectLink, InspectLinkInput{Call: l.call("inspect link"), Site: to, Link: link})
		if err == nil {
			l.facts.Link = &got.Link
		}
		return err
	})
	look(runbook.PartTopics, func(ctx workflow.Context) error {
		got, err := run(with(ctx, kindProbe, "topics at "+from.Name), steps.ListDRTopics, ListDRTopicsInput{Call: l.call("list topics"), Site: from, Filters: p.Topics})
		if err != nil {
			return err
		}
		l.facts.Topics = &runbook.TopicFacts{Topics: got.Topics, Missing: got.Missing}
		open, err := run(with(ctx, kindProbe, "open transactions at "+from.Name), steps.OpenTransactions, OpenTransactionsInput{Call: l.call("open transactions"), Site: from, Topics: got.Topics})
		if err != nil {
			l.facts.Problems[runbook.PartTransactions] = said(err)
			return nil
		}
		l.facts.Open, l.facts.OpenSeen = open.Open, true
		return nil
	})
	look(runbook.PartDrill, func(ctx workflow.Context) error {
		got, err := run(with(ctx, kindPaper, "reports of earlier runs"), steps.PastRuns, PastRunsInput{Call: l.call("past runs"), Folder: p.Reports})
		if err == nil {
			l.facts.Past = &got.Past
		}
		return err
	})
	if len(p.Drills) > 0 {
		look(runbook.PartDrills, func(ctx workflow.Context) error {
			got, err := run(with(ctx, kindPaper, "schedules of drills"), steps.InspectDrills, InspectDrillsInput{Call: l.call("inspect drills"), Drills: p.Drills})
			if err == nil {
				l.facts.Drills = got.Drills
			}
			return err
		})
	}
	all.Wait(ctx)
}

func (l *readyLook) rights(ctx workflow.Context) error {
	p := l.facts.Plan
	in := CheckPrivilegesInput{Call: l.call("check privileges"), Sites: p.Sites, Topics: p.Topics, Groups: p.GroupNames(), Notify: p.Notify, Drills: p.Drills, Teams: p.TeamChannels(), Workloads: p.Workloads()}
	if t := l.facts.Truth; t != nil && t.Record != nil && len(t.Record.Active) > 0 {
		in.Active = t.Record.Active[0]
	}
	got, err := run(with(ctx, kindReady, "privileges on both sites"), steps.CheckPrivileges, in)
	for _, f := range got.Findings {
		state := runbook.CheckWarning
		if f.Blocker {
			state = runbook.CheckBad
		}
		c := runbook.Check{Name: cmp.Or(f.Part, runbook.PartRights), State: state, Detail: f.What, Cure: f.Cure}
		if f.Site != "" {
			c.Detail = f.Site + ": " + f.What
		}
		l.facts.Rights = append(l.facts.Rights, c)
	}
	return err
}

// tell says what has changed since the last look, and pages for as long as the
// active site looks lost.
func (l *readyLook) tell(ctx workflow.Context, now *runbook.Readiness) {
	var last runbook.Readiness
	known := workflow.HasLastCompletionResult(ctx) && workflow.GetLastCompletionResult(ctx, &last) == nil
	n := NotifyInput{Notify: l.facts.Plan.Notify}
	if n.Notify.Silent() {
		return
	}
	if known {
		l.tellDrills(ctx, last, now)
	}
	switch {
	case now.Proposal != "":
		n.Kind, n.Page = NotifyUnready, true
		n.Title, n.Text = "pair "+l.pair+": a failover is proposed", now.Proposal
	case known && last.Proposal != "":
		n.Kind, n.Title, n.Text = NotifyReadyAgain, "pair "+l.pair+": the active site answers again", now.Summary()
	case now.Ready == (!known || last.Ready):
		return // as before, or as it should be
	case now.Ready:
		n.Kind, n.Title, n.Text = NotifyReadyAgain, "pair "+l.pair+" is ready again", now.Summary()
	default:
		n.Kind, n.Title, n.Text = NotifyUnready, "pair "+l.pair+" is not ready for a failover", now.Summary()
	}
	l.send(ctx, n)
}

// tellDrills says which drills were not played since the last look, and ends that page when
// each kind was played again.
func (l *readyLook) tellDrills(ctx workflow.Context, last runbook.Readiness, now *runbook.Readiness) {
	n := l.facts.Plan.Notify
	skipped := runbook.SkippedSince(last.Drills, now.Drills, l.facts.Now)
	open := runbook.StillUnplayed(last.Unplayed, l.facts.Plan.Drills, now.Drills, l.facts.Past)
	now.Unplayed = append(open, skipped...)
	switch {
	case len(skipped) > 0:
		var what []string
		for _, u := range skipped {
			what = append(what, u.What)
		}
		l.send(ctx, NotifyInput{
			Notify: n, Kind: NotifyDrill, Title: "drills of pair " + l.pair + " were not played", Text: strings.Join(what, "; "), Page: n.PagesOnly(),
		})
	case len(last.Unplayed) > 0 && len(open) == 0:
		l.send(ctx, NotifyInput{Notify: n, Kind: NotifyDrillAgain, Title: "drills of pair " + l.pair + " are played again"})
	}
}

func (l *readyLook) send(ctx workflow.Context, n NotifyInput) {
	n.Call = l.call("notify " + n.Kind)
	if n.Kind == NotifyDrill || n.Kind == NotifyDrillAgain { // an incident of its own
		n.Call.OperationID = "drills-" + l.pair
	}
	if _, err := run(with(ctx, kindPaper, "notify: "+n.Kind), steps.Notify, n); err != nil {
		workflow.GetLogger(ctx).Warn("notification was not sent", "kind", n.Kind, "error", err)
	}
}
