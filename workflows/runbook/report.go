package runbook

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Report is what is kept of a run: who, what, when, why, with which evidence.
type Report struct {
	Pair      string `json:"pair"`
	Operation string `json:"operation"`
	OpID      string `json:"op_id"`
	DryRun    bool   `json:"dry_run,omitempty"`
	// Drill is the kind of drill that the run was, or was a part of; empty: it was real.
	Drill   string `json:"drill,omitempty"`
	Outcome string `json:"outcome"` // see the Outcome constants
	Error   string `json:"error,omitempty"`
	// Undone says what became of what a run had done that ended by an error.
	Undone    string    `json:"undone,omitempty"`
	Requester string    `json:"requester"`
	Reason    string    `json:"reason,omitempty"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended"`
	PlanHash  string    `json:"plan_hash"`

	EpochBefore int64    `json:"epoch_before"`
	EpochAfter  int64    `json:"epoch_after"`
	Active      []string `json:"active"`

	Steps     []StepLine  `json:"steps"`
	Approvals []Signed    `json:"approvals,omitempty"`
	Overrides []string    `json:"overrides,omitempty"`
	Findings  []string    `json:"findings,omitempty"`
	Fences    []FenceLine `json:"fences,omitempty"`

	// RTO by segment, in milliseconds, in the order they happened.
	RTO        []Segment `json:"rto,omitempty"`
	RTOMillis  int64     `json:"rto_ms,omitempty"`
	RTOSeconds int64     `json:"rto_objective_seconds,omitempty"`

	// BreakGlass: who lessened the approvals, why, and with which overrides.
	BreakGlass []Signed `json:"break_glass,omitempty"`
	// Escalations of questions that nobody had answered enough.
	Escalations []Escalation `json:"escalations,omitempty"`
	// Told are the pages: to whom, and what came of it.
	Told []Told `json:"told,omitempty"`
	// Teams whose clients were to move: who was told, who acknowledged, who moved.
	Teams []TeamLine `json:"teams,omitempty"`
	// Pauses that people asked for and that held the run.
	Pauses []PauseLine `json:"pauses,omitempty"`
	// ETA is what was expected of the RTO when people were asked.
	ETA *ETA `json:"eta,omitempty"`

	// Planned is the step list of a dry run.
	Planned []PlannedStep `json:"planned,omitempty"`
	// Move is the forecast of a planned move, Proof what it lost (nothing).
	Move  *MoveForecast `json:"move,omitempty"`
	Proof *Proof        `json:"proof,omitempty"`
	// Drilled is what a canary drill has compared.
	Drilled *DrillProof `json:"drilled,omitempty"`
	// Turned is the command that made a failover of a switchover.
	Turned   *Signed   `json:"turned_into_failover,omitempty"`
	Forecast *Forecast `json:"forecast,omitempty"`
	// RPO in records: estimated at failover, exact once the old primary
	// answered. Nil where a run does not measure it.
	RPOEstimate *int64           `json:"rpo_records_estimate,omitempty"`
	RPOExact    *int64           `json:"rpo_records_exact,omitempty"`
	RPOByTopic  map[string]int64 `json:"rpo_records_by_topic,omitempty"`
	// RPOTime is the same in seconds, against the objective.
	RPOTime *RPOTime     `json:"rpo_time,omitempty"`
	Ledger  []LedgerLine `json:"ledger,omitempty"`
	// Amends is the failover whose exact RPO a recovery found out, AmendedBy that
	// recovery, in the failover's kept report.
	Amends    string `json:"amends,omitempty"`
	AmendedBy string `json:"amended_by,omitempty"`
	// RecoveryForecast bounds what groups read again after lagged records were
	// appended.
	RecoveryForecast []GroupForecast `json:"recovery_forecast,omitempty"`
	// Export is the topic that lagged records were archived in.
	Export    string       `json:"export,omitempty"`
	Offsets   []GroupRisk  `json:"group_offsets,omitempty"`
	Pipelines []Placement  `json:"pipelines,omitempty"`
	Clients   []ClientMove `json:"clients,omitempty"`
	// ClientsMoved are groups that have moved, ClientsLeft those that have not, which have
	// no row in Clients: there are thousands.
	ClientsMoved int      `json:"clients_moved,omitempty"`
	ClientsLeft  []string `json:"clients_left,omitempty"`

	EndedTxns []OpenTransaction `json:"ended_transactions,omitempty"`
	Stops     []PartitionRisk   `json:"stop_offsets,omitempty"`
	// Copied is what a rebuild had to copy, in records and bytes, and how long it
	// took until the mirrors were at the tip. CopyByTopic is its forecast.
	CopyRecords int64      `json:"copy_records,omitempty"`
	CopyBytes   int64      `json:"copy_bytes,omitempty"`
	CopySeconds float64    `json:"copy_seconds,omitempty"`
	CopyByTopic []CopyLine `json:"copy_by_topic,omitempty"`
	// Away are the topics as they were found when a site came back, and AwayPlan
	// what was done with them; AwayBy says who decided on a changed one.
	Away     []AwayTopic       `json:"away,omitempty"`
	AwayPlan *AwayPlan         `json:"away_plan,omitempty"`
	AwayBy   map[string]string `json:"away_decided_by,omitempty"`
	// Readiness is how the pair stood at the end of a run that protects it again.
	Readiness *Readiness `json:"readiness,omitempty"`

	DebtsOpen   []record.FenceDebt `json:"debts_open"`
	DebtsPaid   []record.FenceDebt `json:"debts_paid,omitempty"`
	PlanChanged bool               `json:"plan_changed,omitempty"`
	// Build is the binary that kept the report.
	Build *Build `json:"build,omitempty"`
}

// Outcomes.
const (
	Done     = "done"
	NoChange = "no change" // ended before the pivot, everything undone
	Partly   = "partly"    // done, with steps skipped or debts open; with an error: ended early, and something stays
	Dry      = "dry run"
)

// Undone says what became of what a run had done that ended by an error; "" where it had done nothing.
func Undone(pair, outcome string, steps []StepLine) string {
	tried := false
	var not []string
	for _, s := range steps {
		if name, ok := strings.CutPrefix(s.Name, "undo: "); ok {
			tried = true
			if s.State == StateSkipped {
				not = append(not, name)
			}
		}
	}
	switch {
	case len(not) > 0:
		return fmt.Sprintf("not undone: %s; drctl status %s shows its steps and findings", strings.Join(not, ", "), pair)
	case outcome == Partly:
		return fmt.Sprintf("what it had changed by then is not all undone: drctl status %s shows its steps and findings", pair)
	case outcome == NoChange && tried:
		return "everything was undone: no change"
	}
	return ""
}

// Why is the error that ended a run, and what became of what it had done.
func (r Report) Why() string {
	if r.Undone == "" {
		return r.Error
	}
	return r.Error + "; " + r.Undone
}

// StepLine is a row of the step table.
type StepLine struct {
	Name    string    `json:"name"`
	State   string    `json:"state"` // see the State constants
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Millis  int64     `json:"ms"`
	Detail  string    `json:"detail,omitempty"`
}

// States of a step.
const (
	StateRunning = "running"
	StateDone    = "done"
	StateFailed  = "failed"
	StateSkipped = "skipped"
	StateUndone  = "undone"
	StateWaiting = "waiting"
)

// Signed is an approval or command that counted.
type Signed struct {
	By        string    `json:"by"`
	Via       string    `json:"via,omitempty"` // the bot that signed on their behalf
	Decision  string    `json:"decision"`
	At        time.Time `json:"at"`
	Reason    string    `json:"reason,omitempty"`
	Overrides []string  `json:"overrides,omitempty"`
	Step      string    `json:"step,omitempty"`
	// Question that it answered, "" for none.
	Question string `json:"question,omitempty"`
	// Team that an acknowledgement speaks for, "" for the run.
	Team string `json:"team,omitempty"`
}

// Escalation is a question that went to more people.
type Escalation struct {
	Question string    `json:"question"`
	At       time.Time `json:"at"`
	To       []string  `json:"to"` // people
	// MayApprove: they were allowed to approve it.
	MayApprove bool `json:"may_approve,omitempty"`
	// Have and Need are the approvals at that time.
	Have int `json:"have"`
	Need int `json:"need"`
}

// Text says it for people.
func (e Escalation) Text() string {
	may := ""
	if e.MayApprove {
		may = ", who may approve it too"
	}
	return fmt.Sprintf("question %q had %d of %d approvals at %s and was escalated to %s%s", e.Question, e.Have, e.Need, stamp(e.At), strings.Join(e.To, ", "), may)
}

// PauseLine is a person's hold on a run between two steps.
type PauseLine struct {
	// Question is what a resume must name.
	Question string    `json:"question"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Asked    time.Time `json:"asked"`
	// Since when it holds, and before which step; zero while a step still runs.
	Since   time.Time `json:"since,omitzero"`
	Before  string    `json:"before,omitempty"`
	Ended   time.Time `json:"ended,omitzero"`
	Millis  int64     `json:"ms,omitempty"`
	EndedBy string    `json:"ended_by,omitempty"`
}

// FenceLine is one fence with its level and the evidence for it.
type FenceLine struct {
	Site     string        `json:"site"`
	Level    string        `json:"level"`
	Reason   string        `json:"reason,omitempty"`
	Evidence FenceEvidence `json:"evidence"`
}

// SegmentPaused is the part of the recovery time in which people held the run. It
// stands behind the segment that it was in.
const SegmentPaused = "paused"

// Segment of the RTO: attest, approve, fence, mirrors, flip, clients.
type Segment struct {
	Name   string `json:"name"`
	Millis int64  `json:"ms"`
}

// JSON renders the report for machines.
func (r Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// Amended takes over what a later recovery has counted.
func (r *Report) Amended(recovery Report) {
	r.RPOExact, r.RPOByTopic, r.Ledger, r.AmendedBy = recovery.RPOExact, recovery.RPOByTopic, recovery.Ledger, recovery.OpID
	if recovery.RPOTime == nil {
		return
	}
	counted := *recovery.RPOTime
	if r.RPOTime != nil {
		counted = r.RPOTime.Counted(counted)
	}
	r.RPOTime = &counted
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000Z")
}
