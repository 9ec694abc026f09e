package workflows

import (
	"context"

	"go.temporal.io/sdk/workflow"
)

// Steps is the seam: every activity of every runbook. A method name is wire
// format, histories hold it. Each step looks, acts if needed and looks again,
// keyed by Call.OperationID + Call.Step, so that it may run any number of times;
// the second look is the result. A step reports facts and judges nothing. "Not
// reachable" and "not yet" are facts of the result where a field says so, else
// an error.
type Steps interface {
	// Reading, judging nothing.

	// LoadPlan reads plans/<pair>.yaml, validates and hashes it.
	LoadPlan(context.Context, LoadPlanInput) (LoadPlanResult, error)
	// VerifySignature checks a person's signature against the run's plan.
	VerifySignature(context.Context, VerifySignatureInput) (VerifySignatureResult, error)
	// ReadRecord reads the record of truth in both Consuls and what both
	// engines' state topics know; unreachable ones are named, not errors.
	ReadRecord(context.Context, ReadRecordInput) (ReadRecordResult, error)
	// ReadHold reads whether somebody holds the pair, or all pairs.
	ReadHold(context.Context, ReadHoldInput) (ReadHoldResult, error)
	// AttestOutage asks the worker's own view of a site and the other site's
	// engine's.
	AttestOutage(context.Context, AttestOutageInput) (AttestOutageResult, error)
	// MeasureRisk reads a link's progress and group offset sync.
	MeasureRisk(context.Context, MeasureRiskInput) (MeasureRiskResult, error)
	// CheckPrivileges looks whether engine, worker and canary may do on both
	// sites what the runbooks need; every finding names its cure.
	CheckPrivileges(context.Context, CheckPrivilegesInput) (CheckPrivilegesResult, error)
	// ListDRTopics resolves the plan's topics on a site: names that exist and
	// match, without internal topics, with the pair's canary topic.
	ListDRTopics(context.Context, ListDRTopicsInput) (ListDRTopicsResult, error)

	// SurveyTopics compares the plan's topics on both sites with what the mirrors of
	// both directions say, after one site was away.
	SurveyTopics(context.Context, SurveyTopicsInput) (SurveyTopicsResult, error)

	// CompareTopics reads from both clusters how many partitions topics have,
	// and how many of them have no leader.
	CompareTopics(context.Context, CompareTopicsInput) (CompareTopicsResult, error)

	// The record, the locks, the tokens.

	// WriteRecord puts one record into one site's Consul by compare-and-set.
	WriteRecord(context.Context, WriteRecordInput) (WriteRecordResult, error)
	// EngineLock takes the operation lock in a site's state topic; held by
	// another operation: ErrPairBusy, naming the holder.
	EngineLock(context.Context, EngineLockInput) (EngineLockResult, error)
	// EngineUnlock gives it back; a lock of another operation is left alone.
	EngineUnlock(context.Context, EngineLockInput) (EngineLockResult, error)
	// BeginOperation opens the operation's token on a link.
	BeginOperation(context.Context, OperationTokenInput) (OperationTokenResult, error)
	// RevokeOperation revokes it (undo): draining mirrors go back to ACTIVE
	// unless their writer is fenced; waits until none is PENDING_STOPPED and
	// reports which are STOPPED.
	RevokeOperation(context.Context, OperationTokenInput) (RevokeOperationResult, error)
	// EndOperation ends it in good order.
	EndOperation(context.Context, OperationTokenInput) (OperationTokenResult, error)

	// Links and mirrors.

	// EnsureCanaryTopic creates drawbridge.canary.<pair> where it is missing.
	EnsureCanaryTopic(context.Context, EnsureCanaryTopicInput) (EnsureCanaryTopicResult, error)
	// EnsureLink creates or alters a link to what the plan says.
	EnsureLink(context.Context, EnsureLinkInput) (EnsureLinkResult, error)
	// EnsureMirrors starts mirrors of topics that have none; a topic that
	// exists without being a mirror is reported, not touched.
	EnsureMirrors(context.Context, EnsureMirrorsInput) (MirrorsResult, error)
	// AwaitMirrors waits until all are ACTIVE and every partition's lag is at
	// most MaxLag; heartbeats. On expiry CaughtUp is false.
	AwaitMirrors(context.Context, AwaitMirrorsInput) (AwaitMirrorsResult, error)
	// GrowMirrors brings mirrors to the source's last known partition count.
	GrowMirrors(context.Context, MirrorsInput) (MirrorsResult, error)
	// FailoverMirrors ends mirrors now, accepting loss; per-topic results.
	FailoverMirrors(context.Context, MirrorsInput) (MirrorsResult, error)
	// PromoteMirrors drains and ends mirrors; per-topic results.
	PromoteMirrors(context.Context, MirrorsInput) (MirrorsResult, error)
	// AwaitStopped waits until the named mirrors are STOPPED or back.
	AwaitStopped(context.Context, AwaitStoppedInput) (MirrorsResult, error)
	// AwaitDrained waits until the mirrors hold all that the fenced source
	// has: source log end = HW = LSO, lag 0.
	AwaitDrained(context.Context, AwaitDrainedInput) (AwaitDrainedResult, error)
	// CompareLogEnds reads a site's log ends and compares them with the stop
	// offsets kept by the engine of the link that ended at that site's side.
	CompareLogEnds(context.Context, CompareLogEndsInput) (CompareLogEndsResult, error)
	// Rejoin starts a link's mirrors over the existing topics at the stop
	// offsets recorded by the opposite link; nothing is deleted.
	Rejoin(context.Context, RejoinInput) (MirrorsResult, error)
	// MeasureCopy counts what a rebuild of topics would copy.
	MeasureCopy(context.Context, MeasureCopyInput) (MeasureCopyResult, error)
	// DeleteTopics deletes topics for a rebuild; a topic that is an ACTIVE
	// mirror of the plan's link already is left alone (that is the look).
	DeleteTopics(context.Context, DeleteTopicsInput) (DeleteTopicsResult, error)

	// The fence.

	// FenceSite puts DENY WRITE on topics for every principal that may write,
	// registered in the other site's engine first.
	FenceSite(context.Context, FenceSiteInput) (FenceResult, error)
	// FenceGroups puts DENY READ on groups, registered likewise.
	FenceGroups(context.Context, FenceGroupsInput) (FenceResult, error)
	// ProveFence probes every broker and watches the log ends.
	ProveFence(context.Context, ProveFenceInput) (ProveFenceResult, error)
	// ProveWritable probes every broker of a site: the canary must be let
	// through (and is never written, its CRC is wrong). Also the look before a
	// fence. A site without a canary principal is not writable, with the reason.
	ProveWritable(context.Context, ProveWritableInput) (ProveWritableResult, error)
	// LiftFence removes what an operation's fence made on a site (topics and
	// groups) and closes its register.
	LiftFence(context.Context, LiftFenceInput) (FenceResult, error)
	// LiftGroupFence removes only the DENY READ entries on groups.
	LiftGroupFence(context.Context, LiftFenceInput) (FenceResult, error)
	// HandOverFence gives the DENY WRITE entries on a site to the guards of
	// the mirrors there. What the register holds beside them (DENY READ on
	// groups) stays in it until LiftGroupFence; an empty register is closed.
	HandOverFence(context.Context, HandOverFenceInput) (FenceResult, error)

	// Transactions and groups.

	// OpenTransactions lists transactions open on topics.
	OpenTransactions(context.Context, OpenTransactionsInput) (OpenTransactionsResult, error)
	// EndTransactions waits Grace, then aborts those still open.
	EndTransactions(context.Context, EndTransactionsInput) (OpenTransactionsResult, error)
	// AwaitGroupsEmpty waits until no group has a member.
	AwaitGroupsEmpty(context.Context, AwaitGroupsEmptyInput) (AwaitGroupsEmptyResult, error)
	// SyncGroups runs the final offset sync of a link and reads it back.
	SyncGroups(context.Context, LinkGroupsInput) (SyncGroupsResult, error)
	// OwnGroups makes the link's engine own the offsets on its destination.
	OwnGroups(context.Context, LinkGroupsInput) (SyncGroupsResult, error)
	// InspectPipeline reads record times of a pipeline's outputs, or by such a time
	// where its group stands on the inputs.
	InspectPipeline(context.Context, InspectPipelineInput) (InspectPipelineResult, error)
	// PlaceGroup commits a group's places where it stands later, and reads them back.
	PlaceGroup(context.Context, PlaceGroupInput) (PlaceGroupResult, error)
	// AwaitClientsMoved waits for Kafka's evidence, bounded.
	AwaitClientsMoved(context.Context, AwaitClientsMovedInput) (AwaitClientsMovedResult, error)

	// Clients in Kubernetes.

	// ListWorkloads finds the workloads of a place.
	ListWorkloads(context.Context, WorkloadsInput) (WorkloadsResult, error)
	// StopWorkloads scales them to 0, remembers what they were and waits until no pod is
	// left; those that still have one have a problem.
	StopWorkloads(context.Context, WorkloadsInput) (WorkloadsResult, error)
	// StartWorkloads scales them up to what they were; it does not wait for pods.
	StartWorkloads(context.Context, WorkloadsInput) (WorkloadsResult, error)
	// RestartWorkloads restarts the named ones, once for each operation, and waits until
	// their pods are new and available; those that do not get there have a problem.
	RestartWorkloads(context.Context, WorkloadsInput) (WorkloadsResult, error)
	// TellWorkloads writes where the active site is into the place's ConfigMap; a newer
	// epoch there is ErrEpochConflict.
	TellWorkloads(context.Context, TellWorkloadsInput) (TellWorkloadsResult, error)

	// Lagged data.

	// ComputeLedger computes (or reads) the loss ledger of a link.
	ComputeLedger(context.Context, LedgerInput) (LedgerResult, error)
	// AppendLedger, ExportLedger and DiscardLedger carry out decisions.
	AppendLedger(context.Context, LedgerInput) (LedgerResult, error)
	ExportLedger(context.Context, LedgerInput) (LedgerResult, error)
	DiscardLedger(context.Context, LedgerInput) (LedgerResult, error)
	// HoldRetention stops retention and compaction on topics.
	HoldRetention(context.Context, HoldRetentionInput) (HoldRetentionResult, error)
	// PutBackRetention restores the values that HoldRetention found.
	PutBackRetention(context.Context, PutBackRetentionInput) (HoldRetentionResult, error)

	// Readiness.

	// InspectLink reads a link's state, tasks, drift and the guards of its mirrors.
	InspectLink(context.Context, InspectLinkInput) (InspectLinkResult, error)
	// PastRuns reads from the kept reports when the pair was last exercised.
	PastRuns(context.Context, PastRunsInput) (PastRunsResult, error)
	// SaveReadiness keeps a readiness, and shows it as metrics.
	SaveReadiness(context.Context, SaveReadinessInput) (SaveReadinessResult, error)
	// WatchReadiness makes Temporal's Schedules of Readiness and of drills what the
	// plan says.
	WatchReadiness(context.Context, WatchReadinessInput) (WatchReadinessResult, error)

	// WakeDebt starts the workflow of the pair's debts, or wakes the one that runs.
	WakeDebt(context.Context, WakeDebtInput) (WakeDebtResult, error)

	// Proof and paper.

	// ProduceConsumeCanary writes and reads one record on the canary topic.
	ProduceConsumeCanary(context.Context, ProduceConsumeCanaryInput) (ProduceConsumeCanaryResult, error)
	// AmendReport writes the exact RPO into the kept report of the failover that made
	// an epoch; where the same stands there, nothing is written.
	AmendReport(context.Context, AmendReportInput) (AmendReportResult, error)
	// SaveReport keeps the report as JSON and Markdown.
	SaveReport(context.Context, SaveReportInput) (SaveReportResult, error)
	// WriteDrill makes the drill topic at a site and writes known records.
	WriteDrill(context.Context, WriteDrillInput) (DrillCopyResult, error)
	// ReadDrill reads them, and the offsets of the drill's group.
	ReadDrill(context.Context, ReadDrillInput) (DrillCopyResult, error)
	// ClearDrill removes link, topics and group of the pair's drills, of whatever run.
	ClearDrill(context.Context, ClearDrillInput) (ClearDrillResult, error)
	// InspectDrills reads the Schedules of the pair's drills.
	InspectDrills(context.Context, InspectDrillsInput) (InspectDrillsResult, error)
	// Notify tells the channels that are configured; never fails a run.
	Notify(context.Context, NotifyInput) (NotifyResult, error)
}

// unbound gives the SDK the method names. The variable must have the interface
// type: on a struct value, steps.X panics on the nil embedded interface.
type unbound struct{ Steps }

var steps Steps = unbound{}

type step[In, Out any] = func(context.Context, In) (Out, error)

// run executes one step with compile-time types.
func run[In, Out any](ctx workflow.Context, s step[In, Out], in In) (out Out, err error) {
	err = workflow.ExecuteActivity(ctx, s, in).Get(ctx, &out)
	return out, err
}

// Call goes with every input: who acts, for what. Step is unique in the run and
// the same over retries; OperationID + Step is the idempotency key. Epoch is
// the epoch that the operation makes or works under (engine calls carry it).
type Call struct {
	Pair        string `json:"pair"`
	OperationID string `json:"operation_id"`
	Operation   string `json:"operation"`
	Epoch       int64  `json:"epoch"`
	Step        string `json:"step"`
}
