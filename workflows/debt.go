package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const (
	// debtOld is when people hear of a debt, and debtRemind how often again.
	debtOld    = time.Hour
	debtRemind = 24 * time.Hour
	// debtEvery is between two looks where the plan does not say.
	debtEvery = time.Minute
	// debtPatience is the longest pause behind runs that could not pay.
	debtPatience = time.Hour
	// debtCounts is how often lagged records are counted again, which reads them all;
	// meanwhile what was counted last is looked at, and what was decided since.
	debtCounts = 30 * time.Minute
	// debtLooks of one run; then it goes on as a new one, so that no history grows
	// for weeks.
	debtLooks = 100
)

// Debt sees to what a pair owes after it moved without one of its sites: it looks
// from time to time whether that site is back, and has RecoverLaggedData pay then,
// debts only. It holds nothing, takes no lock and acts on nothing itself, so that
// it is never in an operation's way; it ends when nothing is owed. Operations that
// leave debts start or wake it, and so may anybody.
func Debt(ctx workflow.Context, in DebtInput) (DebtStatus, error) {
	if id := workflow.GetInfo(ctx).WorkflowExecution.ID; in.Pair == "" || id != DebtID(in.Pair) {
		return DebtStatus{}, refuse(ErrWrongID, "the debts of pair %q are seen to under the id %s, not %s: use drctl debts %s --start", in.Pair, DebtID(in.Pair), id, in.Pair)
	}
	d := &duty{status: DebtStatus{Pair: in.Pair}}
	if in.Carried != nil {
		d.status = *in.Carried
	}
	if err := workflow.SetQueryHandler(ctx, QueryDebts, func() (DebtStatus, error) { return d.status, nil }); err != nil {
		return d.status, err
	}
	wake := workflow.GetSignalChannel(ctx, SignalWake)
	for range debtLooks {
		v, err := d.look(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return d.status, err
		case err == nil && v.Over && wake.ReceiveAsync(nil):
			continue // what was found was read before somebody said that there is more
		case err == nil && v.Over:
			d.calm(ctx)
			if wake.ReceiveAsync(nil) { // somebody left a debt while people were told of the end of others
				d.status.Told = time.Time{}
				continue
			}
			return d.status, nil
		case err == nil && v.Pay:
			err = d.pay(ctx)
		}
		if err != nil && ctx.Err() != nil {
			return d.status, err
		}
		d.tell(ctx)
		if err := d.rest(ctx, wake); err != nil {
			return d.status, err
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			break
		}
	}
	return d.status, workflow.NewContinueAsNewError(ctx, Debt, DebtInput{Pair: in.Pair, Carried: &d.status})
}

// duty is Debt's memory.
type duty struct {
	plan    runbook.Plan
	status  DebtStatus
	counted time.Time // when lagged records were
	// countedOf is the failover that left them, decided whether that count found nothing to
	// decide. The next of Debt's runs counts anew.
	countedOf string
	decided   bool
}

func (d *duty) call(step string) Call {
	return Call{Pair: d.status.Pair, OperationID: "debt-" + d.status.Pair, Operation: runbook.OpDebt, Step: step}
}

// look finds out what is owed and whether it can be paid. A look that fails is
// told and repeated: a debt is not over because nobody could look.
func (d *duty) look(ctx workflow.Context) (runbook.DebtVerdict, error) {
	v, err := d.judge(ctx)
	d.status.Looks++
	d.status.Looked, d.status.Problem = workflow.Now(ctx), ""
	if err != nil {
		d.status.Problem = said(err)
		d.status.Waits = "a look that does not fail"
	} else {
		d.status.Owed, d.status.Waits = v.Owed, v.Waits
	}
	d.show(ctx)
	return v, err
}

func (d *duty) judge(ctx workflow.Context) (runbook.DebtVerdict, error) {
	none := runbook.DebtVerdict{}
	loaded, err := run(with(ctx, kindProbe, "plan of "+d.status.Pair), steps.LoadPlan, LoadPlanInput{Call: d.call("load plan")})
	if err != nil {
		return none, err
	}
	d.plan = loaded.Plan
	got, err := run(with(ctx, kindProbe, "record of truth at both sites"), steps.ReadRecord, ReadRecordInput{Call: d.call("read record"), Sites: d.plan.Sites})
	if err != nil {
		return none, err
	}
	f := runbook.DebtFacts{Pair: d.status.Pair, Truth: runbook.ReadTruth(got.Copies, got.Engines, ""), Holds: got.Holds}
	for _, c := range got.Copies {
		f.Retention = append(f.Retention, c.Retention...)
	}
	if r := f.Truth.Record; r == nil || len(r.Standby) == 0 {
		return runbook.JudgeDebts(f), nil
	}
	if v := runbook.JudgeDebts(f); v.Over {
		return v, nil // nothing that a look at the sites could change
	}
	if err := d.ask(ctx, &f); err != nil {
		return none, err
	}
	return runbook.JudgeDebts(f), nil
}

// ask looks at the site that the pair left: does it answer, and is what it holds
// decided?
func (d *duty) ask(ctx workflow.Context, f *runbook.DebtFacts) error {
	active, err := d.plan.Site(f.Truth.Record.Active[0])
	if err != nil {
		return err
	}
	old, err := d.plan.Other(active.Name)
	if err != nil {
		return err
	}
	link, err := d.plan.Link(old.Name, active.Name)
	if err != nil {
		return err
	}
	seen, err := run(with(ctx, kindProbe, "is "+old.Name+" back?"), steps.AttestOutage, AttestOutageInput{Call: d.call("is it back?"), Site: old, Other: active, Link: link})
	if err != nil {
		return err
	}
	// The worker does the fencing: that an engine reaches the site helps nobody here.
	if len(seen.Vantages) > 0 && seen.Vantages[0].Known && seen.Vantages[0].Reachable {
		f.Answers = append(f.Answers, old.Name)
	}
	site, lagged := runbook.LaggedSite(*f.Truth.Record)
	if slices.ContainsFunc(f.Truth.Record.FenceDebt, func(o record.FenceDebt) bool { return o.Kind == record.DebtFence && o.Site == site }) {
		d.countedOf = "" // clients may write there: what was counted is not all
	}
	if lagged && runbook.LedgerReadable(*f, site) {
		d.ledger(ctx, LedgerInput{Call: d.call("ledger decided?"), Site: active, Link: link, IfLink: true}, f)
	}
	return nil
}

// ledger looks what lags. What is all decided stays so: it is counted once more when
// nothing else is owed, because that is said of what was counted now.
func (d *duty) ledger(ctx workflow.Context, in LedgerInput, f *runbook.DebtFacts) {
	moves := f.Truth.Record.Moves
	if of := moves[len(moves)-1].OpID; d.countedOf != of {
		d.countedOf, d.counted, d.decided = of, time.Time{}, false
	}
	if f.Ledger = []runbook.LedgerLine{}; d.decided && !runbook.JudgeDebts(*f).Over {
		return
	}
	f.Ledger = nil
	in.Stored = !d.decided && workflow.Now(ctx).Sub(d.counted) < debtCounts
	got, err := run(with(ctx, kindReady, "loss ledger of "+in.Link.Name), steps.ComputeLedger, in)
	if err == nil && in.Stored && len(runbook.Undecided(got.Lines)) == 0 {
		in.Stored = false
		got, err = run(with(ctx, kindReady, "loss ledger of "+in.Link.Name), steps.ComputeLedger, in)
	}
	if err != nil {
		d.status.Problem = said(err) // the rest is worth judging
		return
	}
	if !in.Stored {
		d.counted, d.decided = workflow.Now(ctx), len(runbook.Undecided(got.Lines)) == 0
	}
	f.Ledger = append([]runbook.LedgerLine{}, got.Lines...)
}

// pay has a run of its own pay, under the pair's id, so that no other operation can
// run beside it. It is let be until its next turn when it could not pay.
func (d *duty) pay(ctx workflow.Context) error {
	now := workflow.Now(ctx)
	if now.Before(d.status.NotBefore) {
		d.status.Waits = fmt.Sprintf("%s: the last run could not pay (%s)", d.status.NotBefore.UTC().Format("2006-01-02 15:04:05Z"), d.status.Last)
		d.show(ctx)
		return nil
	}
	d.status.Paying = true
	d.show(ctx)
	id := ID(d.status.Pair)
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: id, WaitForCancellation: true,
		// An operation outlives whoever asked for it: only it returns its locks.
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     Summary(runbook.OpRecover+" (debts only)", d.status.Pair, runbook.Duty, "what is owed can be paid"),
	})
	in := RecoverInput{Start: Start{Pair: d.status.Pair, Reason: "what is owed can be paid"}, DebtsOnly: true}
	var res Result
	err := workflow.ExecuteChildWorkflow(child, NameRecoverLaggedData, in).Get(ctx, &res)
	d.status.Paying = false
	switch {
	case err != nil && temporal.IsWorkflowExecutionAlreadyStartedError(err):
		d.status.Waits = "another run of pair " + d.status.Pair + " is open (" + id + ")"
		d.show(ctx)
		return nil // the next look sees how that ends
	case err != nil:
		d.status.Last = said(err)
	case res.Report.Error != "":
		d.status.Last = res.Outcome + ": " + res.Report.Error
	case len(runbook.Unpaid(d.status.Owed, res.Report.DebtsOpen)) > 0: // one that the plan has no site for
		d.status.Last = res.Outcome + ": " + strings.Join(res.Report.Findings, "; ")
	default:
		d.status.Last, d.status.Tries, d.status.NotBefore = res.Outcome, 0, time.Time{}
		d.show(ctx)
		return nil
	}
	d.status.Tries++
	pause := min(d.every()<<min(d.status.Tries, 20), debtPatience)
	d.status.NotBefore = workflow.Now(ctx).Add(pause)
	d.show(ctx)
	return err
}

func (d *duty) every() time.Duration {
	if every := runbook.Seconds(d.plan.Debts.EverySeconds); every > 0 {
		return every
	}
	return debtEvery
}

// rest waits for the next look, or for somebody who knows that it is worth one.
func (d *duty) rest(ctx workflow.Context, wake workflow.ReceiveChannel) error {
	d.status.Next = workflow.Now(ctx).Add(d.every())
	timer, stop := workflow.WithCancel(ctx)
	defer stop()
	workflow.NewSelector(ctx).
		AddFuture(workflow.NewTimer(timer, d.every()), func(workflow.Future) {}).
		AddReceive(wake, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
		Select(ctx)
	for wake.ReceiveAsync(nil) { // one look answers all of them
	}
	return ctx.Err()
}

// tell reminds people of debts that are old.
func (d *duty) tell(ctx workflow.Context) {
	now := workflow.Now(ctx)
	old := slices.DeleteFunc(slices.Clone(d.status.Owed), func(o runbook.Owed) bool { return now.Sub(o.Since) < debtOld })
	n := d.plan.Notify
	if len(old) == 0 || n.Silent() || !d.status.Told.IsZero() && now.Sub(d.status.Told) < debtRemind {
		return
	}
	d.status.Told = now
	var lines []string
	for _, o := range old {
		lines = append(lines, fmt.Sprintf("%s owed to %s for %s (%s): %s", o.Kind, o.Site, now.Sub(o.Since).Round(time.Minute), o.Reason, o.Pays))
	}
	d.send(ctx, NotifyInput{
		Kind: NotifyDebt, Page: n.Slack == nil,
		Title: fmt.Sprintf("pair %s: %d debts are open, the pair is not protected as it was", d.status.Pair, len(old)),
		Text:  strings.Join(append(lines, "waits for: "+d.status.Waits), "\n"),
	})
}

// calm tells those who were reminded that nothing is owed any more.
func (d *duty) calm(ctx workflow.Context) {
	if !d.status.Told.IsZero() {
		d.send(ctx, NotifyInput{Kind: NotifyDebtPaid, Title: fmt.Sprintf("pair %s: nothing is owed any more", d.status.Pair)})
	}
}

func (d *duty) send(ctx workflow.Context, in NotifyInput) {
	in.Call, in.Notify = d.call("notify "+in.Kind), d.plan.Notify
	if _, err := run(with(ctx, kindPaper, "notify: "+in.Kind), steps.Notify, in); err != nil {
		workflow.GetLogger(ctx).Warn("notification was not sent", "kind", in.Kind, "error", err)
	}
}

// show writes the live details of the Temporal UI.
func (d *duty) show(ctx workflow.Context) {
	text := fmt.Sprintf("**%d debts open**, waits for %s\n", len(d.status.Owed), d.status.Waits)
	if d.status.Paying {
		text = fmt.Sprintf("**%d debts open**, %s pays\n", len(d.status.Owed), ID(d.status.Pair))
	}
	for i, row := range runbook.DebtTable(d.status.Owed, workflow.Now(ctx)) {
		text += "\n| " + strings.Join(row, " | ") + " |"
		if i == 0 {
			text += "\n" + strings.Repeat("|---", len(row)) + "|"
		}
	}
	if d.status.Problem != "" {
		text += "\n\nthe last look failed: " + d.status.Problem
	}
	workflow.SetCurrentDetails(ctx, text)
}

// dutiful makes a run the pair's own: Debt asked for it. It needs no more approvals
// than the plan wants of anybody known, since what it does was approved with the
// failover that left the debts; and a failed step ends it, for Debt tries again,
// where a pause would hold the pair for nobody.
func (s *story) dutiful(ctx workflow.Context) bool {
	parent := workflow.GetInfo(ctx).ParentWorkflowExecution
	if parent == nil || parent.ID != DebtID(s.status.Pair) {
		return false
	}
	s.requester = runbook.Duty
	s.status.Requester, s.report.Requester = s.requester, s.requester
	return true
}

// lag tells of Consuls that took something of this run, and not its end: an undo notes
// no debt in the record, which is the one from before. Whoever reads that copy alone
// finds a lock of nobody.
func (s *story) lag() (any bool) {
	for _, site := range s.plan.Sites {
		why, owed := s.owed[site.Name]
		before := ""
		if c := runbook.CopyOf(s.copies, site.Name); c.Record != nil {
			before = c.Record.SHA256
		}
		took := s.base[site.Name] != before || len(s.doubts[site.Name]) > 0
		noted := slices.ContainsFunc(s.rec.FenceDebt, func(d record.FenceDebt) bool { return d.Kind == record.DebtRecord && d.Site == site.Name })
		if owed && took && !noted {
			any = true
			s.find("the Consul of %s may still show the lock of this run, which is over: its copy of the record is behind (%s); drctl recover %s --debts-only writes it, as any other run does", site.Name, why, s.plan.Pair)
		}
	}
	return any
}

// noted: a run that is over holds retention, as far as this one has seen.
func (s *story) noted() bool {
	return slices.ContainsFunc(s.copies, func(c runbook.RecordCopy) bool { return len(c.Retention) > 0 })
}

// struck forgets a note whose values this run has put back.
func (s *story) struck(at, held string) {
	for i, c := range s.copies {
		if c.Site == at {
			s.copies[i].Retention = slices.DeleteFunc(slices.Clone(c.Retention), func(h runbook.HeldRetention) bool { return h.Site == held })
		}
	}
}

// remember starts or wakes the pair's Debt, when a run ends that leaves something
// owed. What it waits for may take weeks: the run does not.
func (s *story) remember(ctx workflow.Context) {
	left := s.lag() || len(s.rec.FenceDebt) > 0 || s.kept || s.noted() || s.path == runbook.OpFailover && s.pastPivot
	if s.plan.Debts.EverySeconds <= 0 || s.status.DryRun || s.requester == runbook.Duty || !left {
		return
	}
	_, err := run(with(ctx, kindPaper, "see to what is owed"), steps.WakeDebt, WakeDebtInput{Call: s.call("wake debt")})
	if err != nil {
		s.find("nobody sees to what is owed: %s; drctl debts %s --start does it", brief(err), s.status.Pair)
	}
}
