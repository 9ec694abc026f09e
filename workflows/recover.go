package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// RecoverLaggedData deals with what the old primary holds and the new one never
// got. It pays what is owed first (fences the returned cluster, writes the
// other Consul), then counts, lets people decide per topic, acts, and says the
// exact RPO. From its lock on a failed step waits for a person; an abort keeps
// what was done and returns the locks.
func RecoverLaggedData(ctx workflow.Context, in RecoverInput) (Result, error) {
	s, err := open(ctx, runbook.OpRecover, in.Start, false)
	if err != nil {
		return Result{}, err
	}
	r := &recovery{story: s, dutiful: in.DebtsOnly && s.dutiful(ctx), chosen: map[string]string{}, chosenBy: map[string]string{}}
	return s.tell(ctx, func(ctx workflow.Context) error {
		if err := s.answered(in.Decisions); err != nil {
			return err
		}
		if err := inOrder(ctx, r.orient, r.admit, r.ask, r.lock, r.pay); err != nil {
			return err
		}
		if in.DebtsOnly {
			return inOrder(ctx, r.payRetention, r.done)
		}
		return inOrder(ctx, r.begin, r.mirrors, r.hold, r.compute,
			func(ctx workflow.Context) error { return r.decide(ctx, in.Decisions) },
			r.act, r.exact, r.putBack, r.done, r.amend)
	})
}

type recovery struct {
	*story
	old, active runbook.Site
	link        runbook.Link // the one that ended when the pair moved
	need        []string
	chosen      map[string]string // topic → choice
	chosenBy    map[string]string // topic → who chose
	held        []HeldConfig
	dutiful     bool // Debt asked for it
}

func (r *recovery) orient(workflow.Context) error {
	if r.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth: run drctl setup %s", r.status.Pair, r.status.Pair)
	}
	var err error
	if r.active, err = r.plan.Site(r.rec.Active[0]); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if r.old, err = r.plan.Other(r.active.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if r.link, err = r.plan.Link(r.old.Name, r.active.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	r.need, err = r.free()
	return err
}

func (r *recovery) ask(ctx workflow.Context) error {
	return r.approve(ctx, "approve", fmt.Sprintf("fence %s if that is owed, count what it holds and %s never got, carry out decisions", r.old.Name, r.active.Name), r.need, false)
}

func (r *recovery) lock(ctx workflow.Context) error {
	r.phase(ctx, PhaseActing)
	if err := r.story.lock(ctx, []runbook.Site{r.active}, r.active.Name, r.rec.Phase); err != nil {
		return err
	}
	r.forward, r.changed = !r.dutiful, true
	return nil
}

func (r *recovery) begin(ctx workflow.Context) error { return r.token(ctx, r.link) }

// mirrors learns which mirrors ended; without one there is nothing to recover.
func (r *recovery) mirrors(ctx workflow.Context) error {
	return r.do(ctx, "stopped mirrors", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "mirrors of "+r.link.Name), steps.MeasureRisk, MeasureRiskInput{Call: r.call("stopped mirrors"), Site: r.active, Link: r.link})
		if err != nil {
			return "", err
		}
		r.topics = nil
		for _, p := range got.Risk.Partitions {
			if p.Status == runbook.StatusStopped && !slices.Contains(r.topics, p.Topic) {
				r.topics = append(r.topics, p.Topic)
			}
		}
		if len(r.topics) == 0 {
			r.find("link %s has no stopped mirror: nothing lags", r.link.Name)
		}
		return fmt.Sprintf("%d stopped mirrors", len(r.topics)), nil
	})
}

// hold keeps the old primary from deleting what is being decided on.
func (r *recovery) hold(ctx workflow.Context) error {
	if len(r.topics) == 0 {
		return nil
	}
	err := r.do(ctx, "look at retention", func(ctx workflow.Context) (string, error) {
		// A step of its own: a hold that is tried again must not take its own
		// values for the old ones.
		got, err := run(with(ctx, kindLong, "retention at "+r.old.Name), steps.HoldRetention, HoldRetentionInput{Call: r.call("look at retention"), Site: r.old, Topics: r.topics, LookOnly: true, RegisterAt: r.active})
		r.held = got.Held
		return fmt.Sprintf("%d values", len(got.Held)), err
	})
	if err != nil {
		return err
	}
	for _, line := range r.byHand() {
		r.find("%s", line)
	}
	r.undo.add("hold retention", r.putBackHeld)
	r.kept = len(r.held) > 0
	return r.do(ctx, "hold retention", func(ctx workflow.Context) (string, error) {
		_, err := run(with(ctx, kindLong, "hold retention at "+r.old.Name), steps.HoldRetention, HoldRetentionInput{Call: r.call("hold retention"), Site: r.old, Topics: r.topics, RegisterAt: r.active})
		return "", err
	})
}

func (r *recovery) putBackHeld(ctx workflow.Context) error {
	if len(r.held) == 0 {
		return nil
	}
	_, err := run(with(ctx, kindLong, "put back retention at "+r.old.Name), steps.PutBackRetention, PutBackRetentionInput{Call: r.call("put back retention"), Site: r.old, Held: r.held, RegisterAt: r.active})
	if err == nil {
		r.kept = false
		r.struck(r.active.Name, r.old.Name)
		lines := r.byHand()
		r.status.Findings = slices.DeleteFunc(r.status.Findings, func(f string) bool { return slices.Contains(lines, f) })
	}
	return err
}

// byHand tells, one line per topic, what a hold changes. Should this run be lost, or
// its put-back be skipped, Debt puts the values back that are written down; where it
// cannot, a person restores them from the status or report.
func (r *recovery) byHand() []string {
	var topics []string
	values := map[string][]string{}
	for _, h := range r.held {
		if !slices.Contains(topics, h.Topic) {
			topics = append(topics, h.Topic)
		}
		was := h.Name + " (delete it: it was not set)"
		if h.Old != nil {
			was = h.Name + "=" + *h.Old
		}
		values[h.Topic] = append(values[h.Topic], was)
	}
	var out []string
	for _, t := range topics {
		out = append(out, fmt.Sprintf("retention of topic %s at %s is held; to put it back by hand: %s", t, r.old.Name, strings.Join(values[t], ", ")))
	}
	return out
}

func (r *recovery) putBack(ctx workflow.Context) error {
	err := r.do(ctx, "put back retention", func(ctx workflow.Context) (string, error) { return "", r.putBackHeld(ctx) })
	if err == nil {
		r.undo.drop("hold retention")
	}
	return err
}

func (r *recovery) compute(ctx workflow.Context) error {
	if len(r.topics) == 0 {
		return nil
	}
	return r.do(ctx, "compute ledger", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "loss ledger of "+r.link.Name), steps.ComputeLedger, r.ledger("compute ledger", nil))
		if err != nil {
			return "", err
		}
		r.status.Ledger = got.Lines
		_, total := runbook.RPO(got.Lines)
		return fmt.Sprintf("%d lagged records, undecided topics %d", total, len(runbook.Undecided(got.Lines))), nil
	})
}

func (r *recovery) ledger(name string, topics []string) LedgerInput {
	return LedgerInput{Call: r.call(name), Site: r.active, Link: r.link, Topics: topics, DecidedBy: r.requester, Reason: r.reason}
}

// choose takes decisions for topics that have none yet.
func (r *recovery) choose(choices map[string]string, who string) error {
	own, err := r.ownChoices(r.person(who), choices)
	if err != nil {
		return err
	}
	for _, t := range runbook.Undecided(r.status.Ledger) {
		if c, ok := own[t]; ok && r.chosen[t] == "" {
			r.chosen[t], r.chosenBy[t] = c, who
		}
	}
	return nil
}

// ownChoices are what of a person's choices is theirs to decide.
func (r *recovery) ownChoices(who runbook.Person, choices map[string]string) (map[string]string, error) {
	if _, _, _, _, err := runbook.Choices(r.status.Ledger, choices); err != nil {
		return nil, err
	}
	if err := runbook.Twice(r.chosen, r.chosenBy, choices); err != nil {
		return nil, err
	}
	return runbook.OwnChoices(r.plan, who, r.undecided(), choices)
}

// person of the plan; who signed nothing has a name only.
func (s *story) person(name string) runbook.Person {
	for _, p := range s.plan.People {
		if p.Name == name {
			return p
		}
	}
	return runbook.Person{Name: name}
}

// decide waits until every topic with lagged records has a decision. Those of
// the input count as the requester's; there is no default.
func (r *recovery) decide(ctx workflow.Context, given map[string]string) error {
	for _, choices := range []map[string]string{r.choices, given} {
		if err := r.choose(choices, r.requester); err != nil {
			return refuse(ErrPrecondition, "%v", err)
		}
	}
	if len(r.undecided()) == 0 {
		return nil
	}
	return r.must(ctx, "decide", func(ctx workflow.Context) (string, error) {
		g := &gate{accepts: []string{runbook.Decide}, allow: r.mayDecide}
		g.choose = func(choices map[string]string, who string) error {
			if err := r.choose(choices, who); err != nil {
				return err
			}
			r.status.Waiting.Topics = r.undecided()
			if len(r.undecided()) == 0 {
				g.verdict = runbook.Decide
			}
			return nil
		}
		r.wait(ctx, PhaseDeciding, g, Waiting{For: WaitDecide, Text: r.question(), Topics: r.undecided()})
		defer r.resume(ctx, PhaseActing)
		return "", r.awaitPeople(ctx, g, NotifyApproval, r.question())
	})
}

func (r *recovery) mayDecide(who runbook.Person, choices map[string]string) error {
	_, err := r.ownChoices(who, choices)
	return err
}

// mayChoose: decisions are for those who may approve the operation.
func (s *story) mayChoose(who runbook.Person) error {
	if rule := s.rule(); !runbook.HasRole(rule, who.Roles) {
		return fmt.Errorf("%s has none of the roles that may decide: %s", who.Name, strings.Join(rule.Roles, ", "))
	}
	return nil
}

func (r *recovery) question() string {
	return "append, export or discard per topic: " + strings.Join(runbook.LedgerTopics(r.plan, r.status.Ledger, r.undecided()), "; ")
}

func (r *recovery) undecided() []string {
	_, _, _, open, err := runbook.Choices(r.status.Ledger, r.chosen)
	if err != nil {
		return runbook.Undecided(r.status.Ledger)
	}
	return open
}

// act carries the decisions out, one step per topic, so that a failed one can
// be retried or left alone.
func (r *recovery) act(ctx workflow.Context) error {
	appendTo, export, discard, _, err := runbook.Choices(r.status.Ledger, r.chosen)
	if err != nil {
		return err
	}
	r.report.RecoveryForecast = runbook.RecoveryForecast(r.status.Ledger, appendTo)
	for _, a := range []struct {
		name   string
		topics []string
		step   step[LedgerInput, LedgerResult]
	}{
		{"append", appendTo, steps.AppendLedger},
		{"export", export, steps.ExportLedger},
		{"discard", discard, steps.DiscardLedger},
	} {
		for _, t := range a.topics {
			name := a.name + " " + t
			err := r.do(ctx, name, func(ctx workflow.Context) (string, error) {
				in := r.ledger(name, []string{t})
				in.DecidedBy = r.chosenBy[t]
				got, err := run(with(ctx, kindLong, name), a.step, in)
				if err != nil {
					return "", err
				}
				r.status.Ledger = runbook.CondenseLedger(runbook.Recount(r.status.Ledger, in.Topics, got.Lines), runbook.RowLimit)
				if got.Exported != "" {
					r.report.Export = got.Exported
				}
				return fmt.Sprintf("%d records", got.Records), nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// exact states the RPO, and what is still undecided because a step was skipped.
func (r *recovery) exact(workflow.Context) error {
	byTopic, total := runbook.RPO(r.status.Ledger)
	r.report.RPOByTopic, r.report.RPOExact = byTopic, &total
	rpo := runbook.ExactRPO(r.status.Ledger, r.plan.Objectives.RPOSeconds)
	r.report.RPOTime = &rpo
	if open := runbook.Undecided(r.status.Ledger); len(open) > 0 {
		r.find("topics %s are still undecided: drctl recover %s goes on", strings.Join(open, ", "), r.status.Pair)
	}
	return nil
}

// amend writes the exact RPO into the failover's own report, once everything is
// decided. It comes last: paper holds up nothing.
func (r *recovery) amend(ctx workflow.Context) error {
	if len(r.topics) == 0 || len(runbook.Undecided(r.status.Ledger)) > 0 || r.report.RPOExact == nil {
		return nil
	}
	got, err := run(with(ctx, kindPaper, "exact RPO into the failover's report"), steps.AmendReport, AmendReportInput{
		Call: r.call("amend report"), Folder: r.plan.Reports, Active: r.active.Name, Epoch: r.rec.Epoch,
		Exact: *r.report.RPOExact, Topics: r.report.RPOByTopic, Time: r.report.RPOTime, Ledger: r.status.Ledger,
	})
	switch {
	case err != nil:
		r.find("the exact RPO was not written into the failover's report: %s; run drctl recover %s again", brief(err), r.status.Pair)
	case got.OpID == "":
		r.find("no report is kept of the failover that made %s active at epoch %d: the exact RPO is in this report only", r.active.Name, r.rec.Epoch)
	}
	r.report.Amends = got.OpID
	return nil
}

func (r *recovery) done(ctx workflow.Context) error {
	return r.release(ctx, []runbook.Site{r.active})
}
