package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// story is one run: what it knows, what it may undo, what people see of it.
// Workflow code runs one coroutine at a time, so its fields need no lock of
// Go's; commands that wait for an activity are kept apart by mu.
type story struct {
	op string
	// path is the operation whose rules hold: op, or failover once a switchover
	// was turned into one.
	path string
	id   string
	// acting is the name that engine calls carry: id, until a revoked operation
	// must go on under another.
	acting string
	plan   runbook.Plan
	hash   string

	requester string
	reason    string
	request   []string // overrides that the signed request names
	overrides []string // those of them that admit found needed
	holds     []runbook.HoldCopy
	known     []runbook.Held // holds that were overridden at the start
	unheard   []string       // sites whose Consul did not say whether it holds
	choices   map[string]string

	copies  []runbook.RecordCopy
	engines []runbook.EngineTruth
	truth   runbook.Truth
	rec     record.Record     // as this run last wrote or read it
	base    map[string]string // digest of each site's copy, as last known
	ruling  string            // the site whose Consul is written first
	owed    map[string]string // site → why its Consul has not got the record
	engine  int64             // epoch of engine calls
	breaks  map[string]string // site → operation whose lock there is broken, where it is not truth.Lock's
	dark    map[string]bool   // sites that did not answer an undo
	shutAt  []string          // sites where the tokens of lost operations are seen to

	status Status
	report runbook.Report
	marks  time.Time // end of the last RTO segment

	cast      *runbook.Forecast     // whole; the status has the worst of it
	past      runbook.PastRuns      // what the kept reports of the pair tell
	eta       *runbook.ETA          // as estimated; the status has it as of now
	etaFrom   int                   // segments before this one are not the failover's
	offsets   *MeasureRiskInput     // where the offsets are that the report lacks, nil if it has all
	unsure    *record.Record        // a write whose outcome is not known
	doubts    map[string][]string   // site → digests of copies that may stand there: their answers were lost
	topics    []string              // mirrors that this run ends
	pivotLink string                // the link that they belong to
	tokens    []OperationTokenInput // begun and neither ended nor revoked
	undo      undo
	pastPivot bool
	forward   bool // a failed step waits for a person
	undoing   bool
	changed   bool // something was done that undo does not take back
	ended     bool
	ready     bool // commands can be judged

	telling int // notifications under way
	paging  int // those of them that page the pair's own people
	unkept  int // those of them that page anybody, whose outcome the report is to have
	tellers workflow.Semaphore
	teams   clientTeams
	mu      workflow.Mutex
	cancel  workflow.CancelFunc
	gate    *gate
	glass   *runbook.Signed    // the request, if it broke the glass
	granted []string           // overrides taken by breaking it, by path
	asked   int                // questions so far
	taken   map[string]Ack     // what was answered to commands, by their content
	held    *runbook.PauseLine // asked for by a person, or under way
	within  int                // steps that have begun and not ended: no pause in there
	kept    bool               // retention is held, and not put back
	thaws   time.Time          // when the freeze expires, if there is one
	aborted *runbook.Signed
	expired bool

	turned *runbook.Signed // the command that made a failover of a switchover
	noTurn string          // why the run cannot be turned into one now, "" if it can
	from   int             // approvals before this one are not of the path
	shut   bool            // tokens were revoked: go on under another name
}

// open starts a run: it refuses a wrong id, loads the plan, verifies the
// request and reads the record. Nothing is changed.
func open(ctx workflow.Context, op string, in Start, dry bool) (*story, error) {
	info := workflow.GetInfo(ctx)
	if err := rightID(info.WorkflowExecution.ID, op, in.Pair, dry); err != nil {
		return nil, err
	}
	if in.Drill != "" && !launched(info, in.Pair) {
		return nil, refuse(ErrPrecondition, "only drctl drill %s starts a run as part of a drill: leave %q out of the input", in.Pair, "drill")
	}
	if in.Drill != "" && !partOf(in.Drill, op, dry) {
		return nil, refuse(ErrPrecondition, "a %s of pair %s is no part of a drill of the kind %q: start it by itself", op, in.Pair, in.Drill)
	}
	now := workflow.Now(ctx)
	// The first run's id stays over a reset, and so do the keys of the steps.
	first := info.OriginalRunID
	if first == "" {
		first = info.WorkflowExecution.RunID
	}
	s := &story{
		op:     op,
		path:   op,
		id:     op + "-" + first,
		acting: op + "-" + first,
		base:   map[string]string{},
		owed:   map[string]string{},
		taken:  map[string]Ack{},
		marks:  now,
		mu:     workflow.NewMutex(ctx),
	}
	s.noTurn = fmt.Sprintf("a %s cannot be turned into a failover", op)
	s.requester, s.reason = runbook.Unsigned, in.Reason
	s.status = Status{Pair: in.Pair, Operation: op, OpID: s.id, DryRun: dry, Started: now, Steps: []runbook.StepLine{}, Requester: s.requester}
	s.report = runbook.Report{Pair: in.Pair, Operation: op, OpID: s.id, DryRun: dry, Started: now, Drill: in.Drill}
	if err := s.handle(ctx); err != nil {
		return nil, err
	}
	s.phase(ctx, PhaseLooking)
	if err := s.look(ctx, in); err != nil {
		s.ended = true
		return nil, failure(s.cause(err))
	}
	return s, nil
}

func rightID(id, op, pair string, dry bool) error {
	if pair == "" {
		return refuse(ErrPrecondition, `the input names no pair: give {"pair":"…"}`)
	}
	if dry {
		if !strings.HasPrefix(id, DryID(pair, "")) {
			return refuse(ErrWrongID, "a dry run has the id %s, not %s, so that it never blocks the pair: use drctl %s %s --dry-run", DryID(pair, "<n>"), id, op, pair)
		}
		return nil
	}
	if id != ID(pair) {
		return refuse(ErrWrongID, "an operation on pair %s has the id %s, not %s, so that there is one at a time: use drctl %s %s", pair, ID(pair), id, op, pair)
	}
	return nil
}

func (s *story) look(ctx workflow.Context, in Start) error {
	err := s.do(ctx, "load plan", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "plan of "+in.Pair), steps.LoadPlan, LoadPlanInput{Call: s.call("load plan"), PlanHash: in.PlanHash})
		if err != nil {
			return "", err
		}
		if len(got.Plan.Sites) != 2 || got.Plan.Pair != in.Pair {
			return "", refuse(ErrPlanInvalid, "the plan of pair %q has %d sites; this run is for pair %q with two", got.Plan.Pair, len(got.Plan.Sites), in.Pair)
		}
		s.plan, s.hash = got.Plan, got.Hash
		s.status.PlanHash, s.report.PlanHash = got.Hash, got.Hash
		return "hash " + got.Hash, nil
	})
	if err != nil {
		return err
	}
	if err := s.read(ctx, ""); err != nil {
		return err
	}
	if err := s.verifyRequest(ctx, in); err != nil {
		return err
	}
	s.ready = true
	return nil
}

// read reads both records and both state topics; ruling as in
// runbook.ReadTruth.
func (s *story) read(ctx workflow.Context, ruling string) error {
	return s.do(ctx, "read record", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "record of truth at both sites"), steps.ReadRecord, ReadRecordInput{Call: s.call("read record"), Sites: s.plan.Sites})
		if err != nil {
			return "", err
		}
		s.copies, s.engines, s.holds = got.Copies, got.Engines, got.Holds
		s.truth = runbook.ReadTruth(got.Copies, got.Engines, ruling)
		for _, c := range got.Copies {
			if c.Record != nil {
				s.base[c.Site] = c.Record.SHA256
			}
		}
		if s.truth.Split != "" {
			return "", refuse(ErrSplitBrain, "%s: nothing is written; compare both Consuls with what the clusters hold, and remove the wrong record by hand", s.truth.Split)
		}
		s.engine = s.truth.Highest
		if s.truth.Record == nil {
			return "no record yet", nil
		}
		s.rec = *s.truth.Record
		s.status.Epoch, s.status.Debts = s.rec.Epoch, s.rec.FenceDebt
		s.report.EpochBefore, s.report.EpochAfter, s.report.Active = s.rec.Epoch, s.rec.Epoch, s.rec.Active
		detail := fmt.Sprintf("active %s, epoch %d, highest seen %d", strings.Join(s.rec.Active, ","), s.rec.Epoch, s.truth.Highest)
		if len(s.truth.Silent) > 0 {
			detail += "; silent: " + strings.Join(s.truth.Silent, ", ")
		}
		return detail, nil
	})
}

func (s *story) verifyRequest(ctx workflow.Context, in Start) error {
	c := in.Request
	if c == nil {
		s.report.Requester, s.report.Reason = s.requester, s.reason
		return nil
	}
	return s.do(ctx, "verify request", func(ctx workflow.Context) (string, error) {
		glass := c.Decision == runbook.BreakGlass
		if c.Decision != runbook.Request && !glass {
			return "", refuse(ErrCommandStale, "the request is signed as %q, not as %q", c.Decision, runbook.Request)
		}
		if len(c.Overrides) > 0 && c.Reason == "" {
			return "", refuse(ErrNotAllowed, "a request that names overrides needs a reason: it goes into the report")
		}
		want := s.bound()
		want.OpID = "" // a request cannot know it
		if c.Epoch == 0 && !glass {
			want.Epoch = 0 // the requester stated no epoch
		}
		if c.PlanHash == "" && !glass {
			want.PlanHash = ""
		}
		asked := *c
		if in.Drill != "" && s.op != runbook.OpDrill {
			// A part of a drill, whose launcher was asked for by this request, in time:
			// since then the pair may have moved, and approvals have taken hours.
			want.Operation, want.Epoch, asked.Expires = runbook.OpDrill, c.Epoch, c.Expires.Add(drillRequestLasts)
		}
		if r := runbook.Fits(asked, want, workflow.Now(ctx), time.Time{}); r != nil {
			return "", refuse(r.Code, "%s", r.Text)
		}
		if kind := cmp.Or(s.report.Drill, runbook.DrillCanary); want.Operation == runbook.OpDrill && c.Choices[runbook.OpDrill] != kind {
			return "", refuse(ErrCommandStale, "the request by %s is signed for a drill of the kind %q, not %q: ask with drctl drill %s --kind %s", c.By, c.Choices[runbook.OpDrill], kind, in.Pair, kind)
		}
		got, err := run(with(ctx, kindProbe, "signature of "+c.By), steps.VerifySignature, VerifySignatureInput{Call: s.call("verify request"), Command: *c, People: s.plan.Called(c.By), Bot: s.plan.Bot})
		if err != nil {
			return "", err
		}
		if !got.Valid {
			return "", refuse(ErrCommandForged, "the request by %s: %s", c.By, got.Problem)
		}
		if glass {
			if r := runbook.MayBreakGlass(*c, s.rolesOf(c.By), s.op, s.plan.BreakGlass, nil); r != nil {
				return "", refuse(r.Code, "%s", r.Text)
			}
			s.glass = &runbook.Signed{By: c.By, Decision: c.Decision, At: workflow.Now(ctx), Reason: c.Reason, Overrides: c.Overrides}
			s.glassed(ctx, *s.glass)
		}
		s.requester, s.request, s.choices = c.By, c.Overrides, c.Choices
		if c.Reason != "" {
			s.reason = c.Reason
		}
		s.status.Requester, s.report.Requester, s.report.Reason = s.requester, s.requester, s.reason
		return "by " + c.By, nil
	})
}

// call is the input part of every step.
func (s *story) call(step string) Call {
	return Call{Pair: s.status.Pair, OperationID: s.acting, Operation: s.op, Epoch: s.engine, Step: step}
}

// holder is call for locks and fences, which belong to the run under its first name.
func (s *story) holder(step string) Call {
	c := s.call(step)
	c.OperationID = s.id
	return c
}

func (s *story) bound() runbook.Bound {
	return runbook.Bound{OpID: s.id, Pair: s.status.Pair, Operation: s.path, Epoch: s.status.Epoch, PlanHash: s.hash}
}

func (s *story) by(ctx workflow.Context) runbook.By {
	return runbook.By{OpID: s.id, Operation: s.path, Person: s.requester, Now: workflow.Now(ctx)}
}

// tell runs a story's body and closes the run: undo when it failed before the
// pivot, report, outcome.
func (s *story) tell(ctx workflow.Context, body func(workflow.Context) error) (Result, error) {
	inner, cancel := workflow.WithCancel(ctx)
	s.cancel = cancel
	s.notify(ctx, NotifyStarted, fmt.Sprintf("%s of %s started by %s", s.op, s.status.Pair, s.requester), s.reason, s.op == runbook.OpFailover && !s.status.DryRun)
	err := s.cause(body(inner))
	// From here on nothing may be cancelled half way.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err != nil && !s.pastPivot {
		s.back(ctx)
	}
	return s.close(ctx, err)
}

// cause says why a run ends, when it is not the error itself.
func (s *story) cause(err error) error {
	switch {
	case err == nil:
		return nil
	case s.aborted != nil:
		return refuse(ErrAborted, "aborted by %s: %s", s.aborted.By, s.aborted.Reason)
	case s.expired:
		return refuse(ErrFreezeExpired, "the freeze took longer than %d s: find what held it (see the steps), then start again", s.plan.Limits.FreezeSeconds)
	}
	return named(err)
}

// named gives a cancellation in Temporal its type, so that people are told what it was.
func named(err error) error {
	var app *temporal.ApplicationError
	if temporal.IsCanceledError(err) && !errors.As(err, &app) {
		return refuse(ErrAborted, "cancelled in Temporal")
	}
	return err
}

func (s *story) close(ctx workflow.Context, err error) (Result, error) {
	s.ended, s.gate, s.status.Waiting = true, nil, nil
	s.overtaken()
	outcome := runbook.Done
	switch {
	case err != nil && !s.pastPivot && !s.changed && !s.skipped():
		outcome = runbook.NoChange
	case s.status.DryRun:
		outcome = runbook.Dry
	case err != nil || s.skipped() || len(s.rec.FenceDebt) > 0:
		outcome = runbook.Partly
	}
	s.status.Outcome, s.status.Phase = outcome, PhaseEnded
	s.status.Debts = s.rec.FenceDebt
	s.remember(ctx)
	r := &s.report
	r.Outcome, r.Ended = outcome, workflow.Now(ctx)
	if err != nil {
		r.Error, r.Undone = said(err), runbook.Undone(r.Pair, outcome, s.status.Steps)
		s.status.Error, s.status.Undone = r.Error, r.Undone
	}
	r.Steps, r.Approvals, r.Findings, r.Fences = s.status.Steps, s.status.Approvals, s.status.Findings, s.status.Fences
	r.ETA, r.Away = s.eta, s.status.Away
	r.Forecast, r.Ledger, r.Move, r.Turned = s.cast, s.status.Ledger, s.status.Move, s.status.Turned
	if s.rec.Pair != "" {
		r.EpochAfter, r.Active, r.DebtsOpen = s.rec.Epoch, s.rec.Active, s.rec.FenceDebt
	}
	res := Result{OpID: s.id, Outcome: outcome, Epoch: r.EpochAfter, Active: r.Active}
	// The report tells whom each channel reached: pages have their bounded time.
	if terr := workflow.Await(ctx, func() bool { return s.unkept == 0 }); terr != nil {
		return res, terr
	}
	r.Teams = s.status.Teams
	if !s.status.DryRun {
		saved, serr := run(with(ctx, kindPaper, "report"), steps.SaveReport, SaveReportInput{Call: s.call("save report"), Folder: s.plan.Reports, Report: *r, Offsets: s.offsets})
		if serr != nil {
			s.find("the report could not be kept: %s; it is in this run's result", said(serr))
			r.Findings = s.status.Findings
		}
		res.ReportFile, r.PlanChanged, r.Build = saved.Markdown, saved.PlanChanged, saved.Build
	}
	s.notify(ctx, NotifyFinished, fmt.Sprintf("%s of %s: %s", s.path, s.status.Pair, outcome), cut(r.Why(), mostSaid), false)
	res.Report = *r
	s.show(ctx)
	s.search(ctx)
	// A closed run sends nothing any more: notifications have their bounded time.
	if aerr := workflow.Await(ctx, func() bool { return s.telling == 0 && workflow.AllHandlersFinished(ctx) }); aerr != nil {
		return res, aerr
	}
	if err != nil && !byPeople(err) {
		return res, ending(err, *r)
	}
	return res, nil
}

// byPeople: ended by a decision or a deadline, which is no failure of the run.
func byPeople(err error) bool {
	return slices.Contains([]string{ErrAborted, ErrNotApproved, ErrFreezeExpired}, ErrorType(err))
}
