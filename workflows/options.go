package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// HeartbeatTimeout of every step that is started as "long" or "wait": its
// activity must heartbeat at least every third of this. A killed worker is
// noticed after it.
const HeartbeatTimeout = 10 * time.Second

// kind is how a step is tried. The whole table of time-outs and retries is
// here, and nowhere in the stories.
type kind struct {
	start     time.Duration // one attempt
	whole     time.Duration // all attempts, 0 for no end
	heartbeat bool
	attempts  int32 // 0 for no limit within whole
	interval  time.Duration
	// hold: a cancelled step is waited for, since it may be changing something
	// that its undo must find finished.
	hold bool
}

var (
	// kindProbe reads: LoadPlan, VerifySignature, ReadRecord, AttestOutage,
	// MeasureRisk, ListDRTopics, MeasureCopy, OpenTransactions, CompareTopics,
	// InspectLink. Attempts beyond
	// 30 s would be a recovery time that nobody waits for.
	kindProbe = kind{start: 30 * time.Second, whole: 2 * time.Minute, interval: time.Second}
	// kindChange is one short idempotent call: WriteRecord, EngineLock,
	// EngineUnlock, BeginOperation, EndOperation, EnsureCanaryTopic, WatchReadiness.
	kindChange = kind{start: 10 * time.Second, whole: 2 * time.Minute, interval: time.Second, hold: true}
	// kindLong may take long and heartbeats: fences, mirrors, links, ledger,
	// retention, groups, canaries.
	kindLong = kind{start: 30 * time.Minute, whole: 35 * time.Minute, heartbeat: true, attempts: 10, interval: time.Second, hold: true}
	// kindOnce is a best effort at a site that may be dead: never awaited for
	// long, because the RTO runs. Heartbeats. The second try is for a worker that
	// died in the first: else a fence that stands would count as not proven.
	kindOnce = kind{start: 30 * time.Second, whole: 30 * time.Second, heartbeat: true, attempts: 2, interval: time.Second, hold: true}
	// kindGlance is a look that a run does without if it does not come at once.
	kindGlance = kind{start: 3 * time.Second, whole: 5 * time.Second, attempts: 2, interval: time.Second}
	// kindForesee is a look at much that a forecast does without as well.
	kindForesee = kind{start: 10 * time.Second, whole: 15 * time.Second, attempts: 2, interval: time.Second}
	// kindReady is a long look that nobody waits for: a readiness comes anyway.
	kindReady = kind{start: 2 * time.Minute, whole: 3 * time.Minute, attempts: 2, interval: time.Second}
	// kindDrill is a step of a canary drill: bounded, because a drill holds the pair's
	// id against a real failover. Heartbeats.
	kindDrill = kind{start: 2 * time.Minute, whole: 4 * time.Minute, heartbeat: true, attempts: 5, interval: time.Second, hold: true}
	// kindCopy offers the record to a Consul that may be dead; the RTO runs.
	kindCopy = kind{start: 10 * time.Second, whole: 15 * time.Second, attempts: 2, interval: time.Second, hold: true}
	// kindCopySilent is kindCopy for a Consul that did not answer this run before: it is owed the record already.
	kindCopySilent = kind{start: 3 * time.Second, whole: 4 * time.Second, attempts: 1, hold: true}
	// kindUndo may take long where it works. Where nobody answers a person is asked
	// after minutes: until a run is undone no failover can start. Heartbeats.
	kindUndo = kind{start: 5 * time.Minute, whole: 15 * time.Minute, heartbeat: true, attempts: 10, interval: time.Second, hold: true}
	// kindUndoDark is kindUndo at a site that did not answer an undo before; see undoAt.
	kindUndoDark = kind{start: 5 * time.Minute, whole: 15 * time.Minute, heartbeat: true, attempts: 4, interval: time.Second, hold: true}
	// kindPaper is a report or notification: it must not hold up a run.
	kindPaper = kind{start: 10 * time.Second, whole: 30 * time.Second, attempts: 3, interval: time.Second}
)

// kindWait is a wait that the step itself bounds by budget; heartbeats.
func kindWait(budget time.Duration) kind {
	return kind{start: budget + 30*time.Second, whole: budget + 2*time.Minute, heartbeat: true, interval: time.Second}
}

// stopWithin bounds the wait for ended mirrors to be STOPPED: fencing the
// writer may have to wait out a leader election.
const stopWithin = 3 * time.Minute

// drillWithin bounds the wait for the mirror of a drill's few records.
const drillWithin = 3 * time.Minute

// remind is how often people are told again that a run waits for them.
const remind = time.Hour

// remindPaused is remind for a run that a person holds: clients may stand still.
const remindPaused = 15 * time.Minute

// with puts a kind's options on ctx; summary is what the Temporal UI shows and
// must hold no secret.
func with(ctx workflow.Context, k kind, summary string) workflow.Context {
	o := workflow.ActivityOptions{
		StartToCloseTimeout:    k.start,
		ScheduleToCloseTimeout: k.whole,
		WaitForCancellation:    k.hold,
		Summary:                summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    max(k.interval, time.Second),
			BackoffCoefficient: 2,
			MaximumInterval:    10 * time.Second,
			MaximumAttempts:    k.attempts,
			// Whatever an activity says of them, these never get better by trying.
			NonRetryableErrorTypes: []string{ErrPairBusy, ErrEpochConflict, ErrPlanInvalid, ErrPlanDiffers, ErrStaleOperation, ErrRefused},
		},
	}
	if k.heartbeat {
		o.HeartbeatTimeout = HeartbeatTimeout
	}
	return workflow.WithActivityOptions(ctx, o)
}

// pastRuns is of how many earlier runs the durations are looked at.
const pastRuns = 20

// statusRows of a forecast, topics and groups each, are in the status: it answers
// queries, which have a bound as histories have.
const statusRows = 50
