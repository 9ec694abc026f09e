package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Drill plays a drill and tells people when one fails or is refused: it looks at the
// pair, refuses while it is no time for a drill, and has a child act under the pair's
// id, so that no operation runs beside it. A drill that failed is a failed run: the
// Schedule that started it pauses, and readiness is bad until one goes well. One that
// was refused has shown nothing of the pair: people are told, and the Schedule goes on.
func Drill(ctx workflow.Context, in DrillInput) (Result, error) {
	d, err := launch(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if err = d.look(ctx, in); err == nil {
		err = d.allowed(ctx)
	}
	if err = d.cause(err); err != nil {
		return d.refused(ctx, err)
	}
	res, err := d.play(ctx, in)
	if d.met(err) {
		return d.refused(ctx, err)
	}
	if err != nil {
		d.alert(ctx, "failed", err, true)
		if d.report.Outcome == runbook.Partly { // the pair is not where it was
			return res, ending(err, d.report)
		}
		return res, failure(err)
	}
	d.calm(ctx)
	return res, nil
}

// drill is a run that launches others; of a story it is the part that people see.
type drill struct {
	*story
	kind  string
	ready readyLook
	found runbook.Readiness
}

// drillID tells whether an id is one of a pair's drills: a Schedule puts the kind and the time behind it.
func drillID(id, pair string) bool {
	own := DrillID(pair)
	return id == own || strings.HasPrefix(id, own+"-") || strings.HasPrefix(id, own+"/")
}

// launched tells whether a run is the child of the pair's drill.
func launched(info *workflow.Info, pair string) bool {
	parent := info.ParentWorkflowExecution
	return parent != nil && drillID(parent.ID, pair)
}

// partOf tells whether a drill of a kind launches such a run. Its request was signed for
// the drill and is good for nothing else.
func partOf(kind, op string, dry bool) bool {
	switch kind {
	case runbook.DrillFull:
		return op == runbook.OpSwitchover && !dry
	case runbook.DrillCanary:
		return op == runbook.OpDrill && !dry
	case runbook.DrillTabletop:
		return dry && (op == runbook.OpFailover || op == runbook.OpSwitchover)
	}
	return false
}

// drillRequestLasts behind its expiry: the parts of a drill wait for approvals, and the
// last one begins when those before it are through.
const drillRequestLasts = 24 * time.Hour

func launch(ctx workflow.Context, in DrillInput) (*drill, error) {
	info := workflow.GetInfo(ctx)
	id := info.WorkflowExecution.ID
	if in.Pair == "" || !drillID(id, in.Pair) {
		return nil, refuse(ErrWrongID, "a drill of pair %q has the id %s, not %s: use drctl drill %s --kind %s", in.Pair, DrillID(in.Pair), id, in.Pair, strings.Join(runbook.DrillKinds, "|"))
	}
	if !slices.Contains(runbook.DrillKinds, in.Kind) {
		return nil, refuse(ErrPrecondition, `there is no drill of the kind %q: give {"pair":%q,"kind":"%s"}`, in.Kind, in.Pair, strings.Join(runbook.DrillKinds, "|"))
	}
	first := info.OriginalRunID
	if first == "" {
		first = info.WorkflowExecution.RunID
	}
	s := &story{op: runbook.OpDrill, path: runbook.OpDrill, id: runbook.OpDrill + "-" + first, marks: workflow.Now(ctx), mu: workflow.NewMutex(ctx)}
	s.acting, s.base, s.owed = s.id, map[string]string{}, map[string]string{}
	s.noTurn = "a drill cannot be turned into a failover: drctl abort " + in.Pair + " ends it, then start drctl failover " + in.Pair
	s.requester, s.reason = runbook.Unsigned, in.Reason
	s.status = Status{Pair: in.Pair, Operation: s.op, OpID: s.id, Started: s.marks, Steps: []runbook.StepLine{}, Requester: s.requester}
	s.report = runbook.Report{Pair: in.Pair, Operation: s.op, OpID: s.id, Drill: in.Kind, Started: s.marks, Requester: s.requester, Reason: s.reason}
	if err := s.handle(ctx); err != nil {
		return nil, err
	}
	d := &drill{story: s, kind: in.Kind, ready: readyLook{pair: in.Pair, facts: runbook.ReadyFacts{Now: s.marks, Problems: map[string]string{}}}}
	s.phase(ctx, PhaseLooking)
	return d, nil
}

// look loads the plan, looks at what readiness looks at and verifies the request.
func (d *drill) look(ctx workflow.Context, in DrillInput) error {
	err := d.do(ctx, "load plan", func(ctx workflow.Context) (string, error) {
		err := d.ready.plan(ctx, in.PlanHash)
		d.plan, d.hash = d.ready.facts.Plan, d.ready.hash
		d.status.PlanHash, d.report.PlanHash = d.hash, d.hash
		return "hash " + d.hash, err
	})
	if err != nil {
		return err
	}
	err = d.do(ctx, "look at the pair", func(ctx workflow.Context) (string, error) {
		d.ready.record(ctx)
		d.ready.rest(ctx)
		d.found = runbook.JudgeReadiness(d.ready.facts, readyLives(d.plan))
		if t := d.ready.facts.Truth; t != nil && t.Record != nil {
			d.truth, d.rec = *t, *t.Record
			d.status.Epoch, d.report.EpochBefore, d.report.EpochAfter, d.report.Active = d.rec.Epoch, d.rec.Epoch, d.rec.Epoch, d.rec.Active
		}
		return d.found.Summary(), nil
	})
	if err != nil {
		return err
	}
	return d.verifyRequest(ctx, in.Start)
}

// allowed refuses a drill that must not be played now.
func (d *drill) allowed(workflow.Context) error {
	if r := runbook.MayDrill(d.kind, d.ready.facts, d.found); r != nil {
		return refuse(r.Code, "%s", r.Text)
	}
	return nil
}

// met: another operation had the pair before this drill did anything.
func (d *drill) met(err error) bool { return ErrorType(err) == ErrPairBusy && !d.changed }

// refused ends a drill that was not played. Who asked for it gets the error. A
// Schedule would pause on it, and a freeze that meets a drill every week would need a
// person every week: its run ends with the reason, and readiness is bad as soon as
// a drill is overdue. What is wrong with the request itself comes back each time, so
// that stops the Schedule.
func (d *drill) refused(ctx workflow.Context, cause error) (Result, error) {
	d.ended = true
	d.alert(ctx, "was refused", cause, d.plan.Notify.PagesOnly())
	d.status.Phase, d.status.Outcome = PhaseEnded, runbook.NoChange
	d.search(ctx)
	held := slices.Contains([]string{ErrPairBusy, ErrHeld, ErrPrecondition, ErrSplitBrain}, ErrorType(cause))
	if id := workflow.GetInfo(ctx).WorkflowExecution.ID; !held || !strings.HasPrefix(id, DrillSchedule(d.status.Pair, d.kind)+"-") {
		return Result{}, failure(cause)
	}
	d.report.Outcome, d.report.Error, d.report.Ended = runbook.NoChange, said(cause), workflow.Now(ctx)
	d.report.Steps = d.status.Steps
	return Result{OpID: d.id, Outcome: runbook.NoChange, Epoch: d.rec.Epoch, Active: d.rec.Active, Report: d.report}, nil
}

func (d *drill) play(ctx workflow.Context, in DrillInput) (Result, error) {
	d.phase(ctx, PhaseActing)
	if d.kind == runbook.DrillCanary {
		res, err := d.child(ctx, NameCanaryDrill, ID(d.plan.Pair), DrillInput{Start: d.passOn(in.Start), Kind: d.kind})
		d.ended, d.status.Phase, d.status.Outcome = true, PhaseEnded, res.Outcome
		if err == nil {
			// Its own run is listed with its report; not twice.
			_ = workflow.UpsertTypedSearchAttributes(ctx, keyPair.ValueUnset())
			return res, nil
		}
		d.status.Outcome = runbook.NoChange
		d.search(ctx)
		return res, err
	}
	act := d.tabletop
	if d.kind == runbook.DrillFull {
		act = func(ctx workflow.Context) error { return d.thereAndBack(ctx, in) }
	}
	err := act(ctx)
	if d.met(err) {
		return Result{}, err // it was not played: there is nothing to report
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx) // the report is kept in any case
	res, cerr := d.close(ctx, err)
	if err == nil {
		err = cerr
	}
	return res, err
}

// tabletop has the dry runs look at all that they look at.
func (d *drill) tabletop(ctx workflow.Context) error {
	run := strings.TrimPrefix(d.id, runbook.OpDrill+"-")
	dry := func(op, name string, in any) (res Result, err error) {
		err = d.do(ctx, "dry run of "+op, func(ctx workflow.Context) (string, error) {
			var err error
			res, err = d.child(ctx, name, DryID(d.plan.Pair, "drill-"+op+"-"+run), in)
			for _, p := range res.Report.Planned {
				p.Name = op + ": " + p.Name
				d.report.Planned = append(d.report.Planned, p)
			}
			for _, f := range res.Report.Findings {
				d.find("%s: %s", op, f)
			}
			return fmt.Sprintf("%d steps would follow", len(res.Report.Planned)), err
		})
		return res, err
	}
	start := Start{Pair: d.plan.Pair, PlanHash: d.hash, Reason: "tabletop drill", Drill: d.kind}
	over, err := dry(runbook.OpFailover, NameFailover, FailoverInput{Start: start, DryRun: true})
	if err != nil {
		return err
	}
	if cast := over.Report.Forecast; cast != nil {
		d.cast, d.status.Forecast = cast, over.Report.Forecast
	}
	d.report.RPOEstimate, d.report.RPOTime = over.Report.RPOEstimate, over.Report.RPOTime
	move, err := dry(runbook.OpSwitchover, NameSwitchover, SwitchoverInput{Start: start, DryRun: true})
	d.status.Move = move.Report.Move
	return err
}

// thereAndBack moves the pair to its standby and home again. Each move asks for the
// approvals of a switchover and keeps its own report.
func (d *drill) thereAndBack(ctx workflow.Context, in DrillInput) error {
	from, epoch := d.rec.Active[0], d.rec.Epoch
	to, err := d.plan.Other(from)
	if err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	there, err := d.move(ctx, in, to.Name)
	d.changed = d.rec.Epoch != epoch
	if err != nil {
		return d.stays(from, err)
	}
	// RTO and proof are those of the move away: the one that a bad night would need.
	r := there.Report
	d.report.RTO, d.report.RTOMillis, d.report.RTOSeconds, d.report.Proof, d.report.RPOExact = r.RTO, r.RTOMillis, r.RTOSeconds, r.Proof, r.RPOExact
	d.report.RPOTime = r.RPOTime
	back, err := d.move(ctx, in, from)
	if err != nil {
		return d.stays(from, err)
	}
	if there.Report.RPOExact == nil || back.Report.RPOExact == nil {
		return refuse(ErrHalted, "the moves went through, and not both prove that nothing was lost: see their reports %s and %s", there.ReportFile, back.ReportFile)
	}
	return nil
}

// stays says where the pair is after a move that did not go well, and how it comes home. Both moves run on the plan that the
// drill has loaded. The way home takes no other by itself, or a drill would bring a plan into force that nobody approved a
// move by; and a run takes a plan from its worker's folder only, so that it stops.
func (d *drill) stays(from string, err error) error {
	at := d.rec.Active[0]
	if at != from && ErrorType(err) == ErrPlanDiffers {
		return refuse(ErrPlanDiffers, "the plan was changed while the drill had the pair at %s, and the way home would have run on another one than the way there; the pair stays at %s, and nothing else is wrong with it. Look at the change, and either put the plan back or keep the new one; then drctl switchover %s --to %s: %s", at, at, d.plan.Pair, from, said(err))
	}
	if at != from {
		return fmt.Errorf("the pair stays at %s; mend it, then drctl switchover %s --to %s: %w", at, d.plan.Pair, from, err)
	}
	return err
}

// move has a switchover run. One that did not go well may have moved the pair all the same: what the drill says of it then is
// what that run found, or the record does.
func (d *drill) move(ctx workflow.Context, in DrillInput, to string) (res Result, err error) {
	err = d.do(ctx, "switchover to "+to, func(ctx workflow.Context) (string, error) {
		var err error
		res, err = d.child(ctx, NameSwitchover, ID(d.plan.Pair), SwitchoverInput{Start: d.passOn(in.Start), Target: to})
		switch {
		case len(res.Active) > 0:
			d.rec.Epoch, d.rec.Active = res.Epoch, res.Active
		case err != nil:
			free, _ := workflow.NewDisconnectedContext(ctx)
			d.where(free)
		}
		return fmt.Sprintf("clients stood still for %.1f s; report %s", float64(res.Report.RTOMillis)/1000, res.ReportFile), err
	})
	return res, err
}

// where reads the record again, and finds it to be told if nobody can.
func (d *drill) where(ctx workflow.Context) {
	d.ready.record(ctx)
	if t := d.ready.facts.Truth; t != nil && t.Record != nil && d.ready.facts.Problems[runbook.PartRecord] == "" {
		d.rec = *t.Record
		return
	}
	d.find("where the pair is now is not known, the record could not be read (%s): drctl status %s", d.ready.facts.Problems[runbook.PartRecord], d.plan.Pair)
}

// passOn is the start of a child: the same plan and request, marked as a drill.
func (d *drill) passOn(in Start) Start {
	in.PlanHash, in.Drill = d.hash, d.kind
	return in
}

// child runs a workflow to its end; one that ended in anything but "done" is an error.
func (d *drill) child(ctx workflow.Context, name, id string, in any) (res Result, err error) {
	op := map[string]string{NameCanaryDrill: runbook.OpDrill, NameFailover: runbook.OpFailover, NameSwitchover: runbook.OpSwitchover}[name]
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: id, WaitForCancellation: true,
		// A launcher that is terminated takes its drill with it, by way of its undo.
		ParentClosePolicy: enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		StaticSummary:     fmt.Sprintf("%s of %s, %s drill asked for by %s", op, d.plan.Pair, d.kind, d.requester),
		// As drctl puts them on what it starts.
		Memo: map[string]any{"operation": op, "holder": d.requester, "plan_hash": d.hash},
	})
	err = workflow.ExecuteChildWorkflow(ctx, name, in).Get(ctx, &res)
	var app *temporal.ApplicationError
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		return res, refuse(ErrPairBusy, "an operation is running on pair %s (workflow %s): drctl status %s", d.plan.Pair, id, d.plan.Pair)
	case errors.As(err, &app):
		return res, refuse(ErrorType(err), "%s: %s", op, app.Message()) // what was undone is that, not the drill
	case temporal.IsCanceledError(err):
		return res, refuse(ErrAborted, "cancelled in Temporal")
	case err != nil:
		return res, err
	case res.Outcome != runbook.Done && res.Outcome != runbook.Dry:
		why := res.Report.Error
		if why == "" {
			why = strings.Join(res.Report.Findings, "; ")
		}
		return res, refuse(ErrHalted, "%s ended as %q: %s", op, res.Outcome, why)
	}
	return res, nil
}

// alert tells people, and waits until they are told: a closed run sends nothing.
func (d *drill) alert(ctx workflow.Context, what string, cause error, page bool) {
	d.say(ctx, NotifyInput{Kind: NotifyDrill, Title: fmt.Sprintf("%s drill of pair %s %s", d.kind, d.status.Pair, what), Text: cut(said(cause), mostSaid), Page: page})
}

// calm ends the page of a drill of this kind before this one. People hear of it when that
// one is known to have failed. Not all is known: a Schedule's runs and those that people
// start see nothing of one another but reports, and not every drill comes to one. So the
// page is ended in any case; an end of none is nothing.
func (d *drill) calm(ctx workflow.Context) {
	var last Result
	refused := workflow.HasLastCompletionResult(ctx) && workflow.GetLastCompletionResult(ctx, &last) == nil && last.Outcome == runbook.NoChange
	bad := refused || workflow.GetLastError(ctx) != nil || d.ready.facts.Past.Failed(d.kind)
	if n := d.plan.Notify; bad || n.PagerDuty != nil || n.Webhook != nil {
		d.say(ctx, NotifyInput{Kind: NotifyDrillAgain, Title: fmt.Sprintf("%s drill of pair %s went well again", d.kind, d.status.Pair), Quietly: !bad})
	}
}

func (d *drill) say(ctx workflow.Context, in NotifyInput) {
	n := d.plan.Notify
	if n.Silent() {
		return
	}
	free, _ := workflow.NewDisconnectedContext(ctx)
	call := d.call("notify " + in.Kind)
	call.OperationID = "drill-" + d.status.Pair + "-" + d.kind // one incident from drill to drill
	in.Call, in.Notify = call, n
	if _, err := run(with(free, kindPaper, "notify: "+in.Kind), steps.Notify, in); err != nil {
		workflow.GetLogger(ctx).Warn("notification was not sent", "kind", in.Kind, "error", err)
	}
}
