package workflows

import (
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// TaskQueue is where the worker listens.
const TaskQueue = "drawbridge"

// Names of the workflows, as registered and as the Temporal UI shows them.
const (
	NameSetUp             = "SetUp"
	NameFailover          = "Failover"
	NameSwitchover        = "Switchover"
	NameRecoverLaggedData = "RecoverLaggedData"
	NameFailback          = "Failback"
	NameRestoreDR         = "RestoreDR"
	NameUnfence           = "Unfence"
	NameReadiness         = "Readiness"
	NameDrill             = "Drill"
	NameCanaryDrill       = "CanaryDrill"
)

// ID is the workflow id of every operation on a pair: the server allows one
// open run per id, so one operation per pair.
func ID(pair string) string { return "dr/" + pair }

// DryID is the id of a dry run; it takes no lock. N tells dry runs apart.
func DryID(pair, n string) string { return "dr-dry/" + pair + "/" + n }

// ReadyID is the id of a look at a pair's readiness; what its Schedule starts has
// the time behind it. It takes no lock.
func ReadyID(pair string) string { return "dr-ready/" + pair }

// DrillID is the id of what launches a pair's drills; what the Schedules start has
// kind and time behind it. It takes no lock: its child acts under ID(pair).
func DrillID(pair string) string { return "dr-drill/" + pair }

// DrillSchedule is the id of the Schedule of a kind of drill.
func DrillSchedule(pair, kind string) string { return DrillID(pair) + "/" + kind }

// Updates and the query of a run. Each Update takes a runbook.Command and
// answers with an Ack; a refusal is an application error with a type of
// errors.go.
const (
	UpdateApprove      = "approve"
	UpdateDeny         = "deny"
	UpdateRetry        = "retry"
	UpdateSkip         = "skip"
	UpdateAbort        = "abort"
	UpdateDecide       = "decide"
	UpdateIntoFailover = "into-failover"
	UpdatePause        = "pause"
	UpdateResume       = "resume"
	UpdateBreakGlass   = "break-glass"
	UpdateAcknowledge  = "acknowledge"
	QueryStatus        = "status"
)

// Summary is the StaticSummary that starters put on a run; it is shown in the
// Temporal UI and holds no secret.
func Summary(operation, pair, by, reason string) string {
	if by == "" {
		by = runbook.Unsigned
	}
	s := operation + " of " + pair + ", asked for by " + by
	if reason != "" {
		s += ": " + reason
	}
	return s
}

// Search attributes: Keyword, but DrEpoch, which is Int. They must be registered
// before a worker starts.
const (
	SearchPair      = "DrPair"
	SearchOperation = "DrOperation"
	SearchPhase     = "DrPhase"
	SearchEpoch     = "DrEpoch"
	SearchOutcome   = "DrOutcome"
)

// SearchAttributes is the list for registration: name and whether it is an Int
// (else a Keyword).
var SearchAttributes = []struct {
	Name string
	Int  bool
}{{SearchPair, false}, {SearchOperation, false}, {SearchPhase, false}, {SearchEpoch, true}, {SearchOutcome, false}}

// Start is common to all inputs; small JSON that a person can type in the UI.
type Start struct {
	Pair string `json:"pair"`
	// PlanHash is the hash of the starter's copy of the plan, empty if it has
	// none; a difference to the worker's is refused.
	PlanHash string `json:"plan_hash,omitempty"`
	// Request is the signed request: Decision "request" or "break-glass", Pair, Operation,
	// PlanHash, Epoch (the epoch that the requester sees), By, Reason, Expires.
	// Without it the requester is "unsigned", which costs one approval more.
	Request *runbook.Command `json:"request,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	// Drill is the kind of drill that this run is a part of; the request is signed for
	// the drill then. Only a drill's launcher may start such a run.
	Drill string `json:"drill,omitempty"`
}

// SetUpInput starts SetUp.
type SetUpInput struct{ Start }

// FailoverInput starts Failover, under ID(pair), or with DryRun under DryID.
type FailoverInput struct {
	Start
	DryRun bool `json:"dry_run,omitempty"`
}

// SwitchoverInput starts Switchover, under ID(pair), or with DryRun under DryID.
type SwitchoverInput struct {
	Start
	DryRun bool `json:"dry_run,omitempty"`
	// Target is the site that shall be active, empty for the one that is not. A
	// target that is active already is refused, so that asking twice does not
	// move the pair back.
	Target string `json:"target,omitempty"`
}

// RecoverInput starts RecoverLaggedData. Decisions by topic ("append",
// "export", "discard"; "*" for every topic not named) may come with it or by
// the decide Update; there is no default.
type RecoverInput struct {
	Start
	DebtsOnly bool              `json:"debts_only,omitempty"`
	Decisions map[string]string `json:"decisions,omitempty"`
}

// FailbackInput starts Failback, under ID(pair), or with DryRun under DryID.
// Decisions on topics that changed while home was away ("mirror", "leave",
// "delete"; "*" for every topic not named) may come with it or by the decide
// Update; there is no default.
type FailbackInput struct {
	Start
	DryRun    bool              `json:"dry_run,omitempty"`
	Decisions map[string]string `json:"decisions,omitempty"`
}

// RestoreInput starts RestoreDR, under ID(pair), or with DryRun under DryID.
// Decisions as in FailbackInput.
type RestoreInput struct {
	Start
	DryRun    bool              `json:"dry_run,omitempty"`
	Decisions map[string]string `json:"decisions,omitempty"`
}

// UnfenceInput starts Unfence. Operations are the lost ones, as the engines'
// fence registers name them, Sites the fenced ones; drctl unfence --list shows
// both. What a signed request lifts is part of what is signed: its Choices are
// UnfenceChoices.
type UnfenceInput struct {
	Start
	Operations []string `json:"operations"`
	Sites      []string `json:"sites"`
}

// UnfenceChoices says, by operation, what a request asks Unfence to lift.
func UnfenceChoices(operations, sites []string) map[string]string {
	at := slices.Sorted(slices.Values(sites))
	out := make(map[string]string, len(operations))
	for _, op := range operations {
		out[runbook.FencingOperation(op)] = "lift at " + strings.Join(slices.Compact(at), ", ")
	}
	return out
}

// DrillChoices says which kind of drill a request asks for: whoever agrees to a tabletop has not asked for clients to move.
func DrillChoices(kind string) map[string]string { return map[string]string{runbook.OpDrill: kind} }

// DrillInput starts Drill, under DrillID(pair), and CanaryDrill, under ID(pair). The
// Choices of a signed request are DrillChoices.
type DrillInput struct {
	Start
	// Kind is one of runbook.DrillKinds.
	Kind string `json:"kind"`
}

// ReadinessInput starts Readiness, under ReadyID(pair).
type ReadinessInput struct {
	Pair string `json:"pair"`
	// PlanHash is the hash of the starter's copy of the plan, empty if it has none.
	PlanHash string `json:"plan_hash,omitempty"`
}

// Result of every operation.
type Result struct {
	OpID       string         `json:"op_id"`
	Outcome    string         `json:"outcome"`
	Epoch      int64          `json:"epoch"`
	Active     []string       `json:"active"`
	Report     runbook.Report `json:"report"`
	ReportFile string         `json:"report_file,omitempty"`
}

// Ending goes with the error of a run that failed, which has no Result.
type Ending struct {
	Outcome string `json:"outcome"`
}

// Ack answers an Update.
type Ack struct {
	OpID string `json:"op_id"`
	Text string `json:"text"`
	// Question that was answered, if any.
	Question string `json:"question,omitempty"`
	// Duplicate: this very command was taken before, and counts once.
	Duplicate bool `json:"duplicate,omitempty"`
	// Have and Need count approvals.
	Have int `json:"have,omitempty"`
	Need int `json:"need,omitempty"`
}

// Phases of a run, for DrPhase and Status.Phase.
const (
	PhaseLooking  = "looking"
	PhaseApproval = "approval"
	PhaseActing   = "acting"
	PhaseFrozen   = "frozen"
	PhasePivot    = "past the pivot"
	PhasePaused   = "paused"
	PhaseDeciding = "deciding"
	PhaseUndoing  = "undoing"
	PhaseEnded    = "ended"
)

// Status is the answer to QueryStatus.
type Status struct {
	Pair string `json:"pair"`
	// Operation whose rules hold now, and that commands must name: "failover" in
	// a switchover that was turned into one.
	Operation string    `json:"operation"`
	OpID      string    `json:"op_id"`
	DryRun    bool      `json:"dry_run,omitempty"`
	Phase     string    `json:"phase"`
	Requester string    `json:"requester"`
	PlanHash  string    `json:"plan_hash"`
	Epoch     int64     `json:"epoch"` // the epoch that commands must name
	Started   time.Time `json:"started"`
	PastPivot bool      `json:"past_pivot"`
	Outcome   string    `json:"outcome,omitempty"`
	// Error that ended the run, and what became of what it had done.
	Error  string `json:"error,omitempty"`
	Undone string `json:"undone,omitempty"`

	// BreakGlass: commands that lessened the approvals.
	BreakGlass []runbook.Signed `json:"break_glass,omitempty"`
	// Escalations of questions, this run's so far.
	Escalations []runbook.Escalation `json:"escalations,omitempty"`
	// Told are the pages so far, and what came of each.
	Told []runbook.Told `json:"told,omitempty"`
	// Teams whose clients are to move: who was told, acknowledged, moved.
	Teams []runbook.TeamLine `json:"teams,omitempty"`
	// Paused by a person: asked for, or under way.
	Paused *runbook.PauseLine `json:"paused,omitempty"`

	Steps   []runbook.StepLine `json:"steps"`
	Waiting *Waiting           `json:"waiting,omitempty"`

	Approvals []runbook.Signed  `json:"approvals,omitempty"`
	Forecast  *runbook.Forecast `json:"forecast,omitempty"`
	// ETA of a failover, from earlier runs; its Done moves when a segment takes
	// longer than they did.
	ETA *runbook.ETA `json:"eta,omitempty"`
	// Move is the forecast of a planned move, Turned the command that made a
	// failover of a switchover.
	Move   *runbook.MoveForecast `json:"move,omitempty"`
	Turned *runbook.Signed       `json:"turned_into_failover,omitempty"`
	Fences []runbook.FenceLine   `json:"fences,omitempty"`
	Ledger []runbook.LedgerLine  `json:"ledger,omitempty"`
	// Away are the topics that a returning site's were compared with.
	Away     []runbook.AwayTopic `json:"away,omitempty"`
	Findings []string            `json:"findings,omitempty"`
	Debts    []record.FenceDebt  `json:"debts,omitempty"`
}

// What a run waits for.
const (
	WaitApproval = "approval"
	WaitPerson   = "person" // a failed step: retry, skip or (before the pivot) abort
	WaitDecide   = "decide"
	WaitResume   = "resume" // paused by a person
)

// Waiting says what a person must do now.
type Waiting struct {
	For  string `json:"for"`
	Text string `json:"text"`
	// Question is its name, which answers must carry: number and step.
	Question string `json:"question"`
	// Step failed, when For is "person".
	Step     string    `json:"step,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
	Have     int       `json:"have,omitempty"`
	Need     int       `json:"need,omitempty"`
	Roles    []string  `json:"roles,omitempty"`
	// Overrides that an approval must name, one by one.
	Overrides []string `json:"overrides,omitempty"`
	// Topics that still need a decision.
	Topics []string `json:"topics,omitempty"`
	// Escalated to these people, and when or since when.
	EscalatedTo []string  `json:"escalated_to,omitempty"`
	Escalates   time.Time `json:"escalates,omitzero"`
	// Commands that are accepted now.
	Commands []string `json:"commands"`
}
