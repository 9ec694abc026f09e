package operator

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Memo keys of a run: who holds the pair, with what, under which plan. They can be read while no worker answers.
const (
	MemoHolder    = "holder"
	MemoOperation = "operation"
	MemoPlanHash  = "plan_hash"
	// memoStart is drawn anew by each start: it tells our run from another's when the answer to a start was lost.
	memoStart = "start"
)

// startAttempts bounds how often a start is asked for whose call Temporal dropped.
const startAttempts = 3

// Request asks for an operation.
type Request struct {
	Operation string // runbook.OpSetUp, …
	Pair      string
	// PlanHash is the hash of the requester's own copy of the plan; empty: none. The worker refuses another one.
	PlanHash string
	// Epoch is the one that the requester sees in the record, 0 before the first SetUp. It is part of what is signed.
	Epoch  int64
	Reason string
	// By signs the request; nil: the run's requester is "unsigned", which costs one approval more.
	By *Signer
	// Expires bounds the signed request's life. Default 10 minutes.
	Expires time.Duration
	// DryRun of a Failover, Switchover, Failback or RestoreDR looks and changes nothing; it takes no lock.
	DryRun bool
	// Overrides that the request itself must name, such as breaking the lock of a run that is gone for good.
	Overrides []string
	// BreakGlass asks for the run with the approvals that the plan leaves for that. It needs a signature and a reason.
	BreakGlass bool
	// Target is the site that a Switchover shall make active; empty: the one that is not. One that is active is refused.
	Target string
	// DebtsOnly belongs to RecoverLaggedData, Decisions also to Failback and RestoreDR. Decisions are part of what is signed.
	DebtsOnly bool
	Decisions map[string]string
	// Token, if given, makes two requests one while its run is open: the second gets the first's run.
	Token string
}

// Start starts an operation, or a dry run. It returns a BusyError that names the holder if the pair is not free.
func (o *Operator) Start(ctx context.Context, r Request) (Run, error) {
	name, err := r.workflow()
	if err != nil {
		return Run{}, err
	}
	start, err := r.start()
	if err != nil {
		return Run{}, err
	}
	id := workflows.ID(r.Pair)
	if r.DryRun {
		id = workflows.DryID(r.Pair, time.Now().UTC().Format("20060102T150405.000"))
	}
	return o.execute(ctx, r, name, id, r.input(start))
}

// execute starts a workflow under the rules of every operation.
func (o *Operator) execute(ctx context.Context, r Request, name, id string, input any) (Run, error) {
	holder, token := r.holder(), cmp.Or(r.Token, rand.Text())
	opts := client.StartWorkflowOptions{
		ID:        id,
		TaskQueue: workflows.TaskQueue,
		// Both are needed: without the second one the SDK answers "started" and means the other run.
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		// No timeouts: one at the server would end the run without its compensation.
		StaticSummary: r.summary(holder),
		Memo:          map[string]any{MemoHolder: holder, MemoOperation: r.Operation, MemoPlanHash: r.PlanHash, memoStart: token},
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(workflows.SearchPair).ValueSet(r.Pair),
			temporal.NewSearchAttributeKeyKeyword(workflows.SearchOperation).ValueSet(r.Operation),
		),
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	started, err := o.temporal.ExecuteWorkflow(ctx, opts, name, input)
	// A server that has only just come up may cancel a call that nobody cancelled, which the SDK does not ask again.
	for n := 1; n < startAttempts && dropped(err) && ctx.Err() == nil; n++ {
		started, err = o.temporal.ExecuteWorkflow(ctx, opts, name, input)
	}
	run := Run{Pair: r.Pair, ID: id, Operation: r.Operation, DryRun: r.DryRun}
	var busy *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.As(err, &busy):
		run.RunID = busy.RunId
		if o.ours(ctx, run, token) { // an attempt before had started it, and its answer was lost
			return run, nil
		}
		return Run{}, o.busy(ctx, r.Pair, id, busy.RunId)
	case err != nil:
		return Run{}, notStarted(fmt.Sprintf("start %s of pair %s", r.Operation, r.Pair), err)
	}
	run.RunID = started.GetRunID()
	return run, nil
}

// notStarted turns the error of a start. A namespace without our search attributes is hardly the worker's, which starts in
// none: Temporal's own words name both.
func notStarted(what string, err error) error {
	if strings.Contains(err.Error(), "search attribute") {
		return fmt.Errorf("%s: %w; is that the namespace of the worker? TEMPORAL_NAMESPACE (or --namespace) names another", what, err)
	}
	return reached(what, err)
}

// dropped says that the server gave the call up, and that it may have done what it was asked all the same.
func dropped(err error) bool {
	var canceled *serviceerror.Canceled
	return errors.As(err, &canceled)
}

// ours says whether the run was started by the attempt that drew that token.
func (o *Operator) ours(ctx context.Context, run Run, token string) bool {
	d, err := o.temporal.DescribeWorkflow(ctx, run.ID, run.RunID)
	return err == nil && memoText(d.Memo, memoStart) == token
}

func (r Request) holder() string {
	if r.By == nil {
		return runbook.Unsigned
	}
	return r.By.Name
}

// start is the common part of every input, with the signed request.
func (r Request) start() (workflows.Start, error) {
	start := workflows.Start{Pair: r.Pair, PlanHash: r.PlanHash, Reason: r.Reason}
	if r.By == nil {
		return start, nil
	}
	decision := runbook.Request
	if r.BreakGlass {
		decision = runbook.BreakGlass
	}
	signed, err := r.By.sign(runbook.Command{
		Pair: r.Pair, Operation: r.Operation, Epoch: r.Epoch, PlanHash: r.PlanHash,
		Decision: decision, Reason: r.Reason, Overrides: r.Overrides, Choices: r.Decisions, Expires: expiry(r.Expires),
	})
	start.Request = &signed
	return start, err
}

func (r Request) workflow() (string, error) {
	switch {
	case r.Pair == "" || strings.ContainsAny(r.Pair, "/ "):
		return "", fmt.Errorf("pair %q is no plain name", r.Pair)
	case r.DryRun && !slices.Contains([]string{runbook.OpFailover, runbook.OpSwitchover, runbook.OpFailback, runbook.OpRestore}, r.Operation):
		return "", fmt.Errorf("%s has no dry run", r.Operation)
	}
	switch r.Operation {
	case runbook.OpSetUp:
		return workflows.NameSetUp, nil
	case runbook.OpFailover:
		return workflows.NameFailover, nil
	case runbook.OpSwitchover:
		return workflows.NameSwitchover, nil
	case runbook.OpRecover:
		return workflows.NameRecoverLaggedData, nil
	case runbook.OpFailback:
		return workflows.NameFailback, nil
	case runbook.OpRestore:
		return workflows.NameRestoreDR, nil
	}
	return "", fmt.Errorf("no operation is called %q", r.Operation)
}

// operationOf is what people call a run of this type, for those that were started without our memo: by hand, or to pay debts.
func operationOf(workflowType string) string {
	for _, op := range []string{runbook.OpSetUp, runbook.OpFailover, runbook.OpSwitchover, runbook.OpRecover, runbook.OpFailback, runbook.OpRestore} {
		if name, err := (Request{Pair: "any", Operation: op}).workflow(); err == nil && name == workflowType {
			return op
		}
	}
	return workflowType
}

func (r Request) input(start workflows.Start) any {
	switch r.Operation {
	case runbook.OpFailover:
		return workflows.FailoverInput{Start: start, DryRun: r.DryRun}
	case runbook.OpSwitchover:
		return workflows.SwitchoverInput{Start: start, DryRun: r.DryRun, Target: r.Target}
	case runbook.OpRecover:
		return workflows.RecoverInput{Start: start, DebtsOnly: r.DebtsOnly, Decisions: r.Decisions}
	case runbook.OpFailback:
		return workflows.FailbackInput{Start: start, DryRun: r.DryRun, Decisions: r.Decisions}
	case runbook.OpRestore:
		return workflows.RestoreInput{Start: start, DryRun: r.DryRun, Decisions: r.Decisions}
	default:
		return workflows.SetUpInput{Start: start}
	}
}

// summary is the line in the Temporal UI's list.
func (r Request) summary(holder string) string {
	s := r.Operation
	if r.DryRun {
		s = "dry run of " + s
	}
	s += " of pair " + r.Pair + ", asked by " + holder
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	const limit = 380 // the server refuses more than 400 bytes
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// busy names who holds the pair, as far as it can be found out.
func (o *Operator) busy(ctx context.Context, pair, id, runID string) error {
	e := &BusyError{Pair: pair, ID: id, RunID: runID}
	if info, err := o.describe(ctx, pair, id, runID); err == nil {
		e.Operation, e.Requester, e.Started = info.Operation, info.Requester, info.Started
	}
	return e
}

// sign makes c the signer's.
func (s Signer) sign(c runbook.Command) (runbook.Command, error) {
	c.By, c.Via = s.Name, s.via
	signed, err := plan.Sign(s.key, plan.Approval(c))
	return runbook.Command(signed), err
}

func expiry(d time.Duration) time.Time {
	if d <= 0 {
		d = 10 * time.Minute
	}
	return time.Now().UTC().Add(d).Truncate(time.Second)
}
