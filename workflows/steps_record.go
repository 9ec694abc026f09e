package workflows

import (
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Inputs and results of the steps that read facts, write the record of truth and
// take locks and tokens.

// LoadPlanInput names the pair; PlanHash is the caller's copy's hash, empty if
// it has none. A difference is ErrPlanDiffers with both hashes.
type LoadPlanInput struct {
	Call     Call   `json:"call"`
	PlanHash string `json:"plan_hash,omitempty"`
}

// LoadPlanResult is the normalised plan and its hash.
type LoadPlanResult struct {
	Plan runbook.Plan `json:"plan"`
	Hash string       `json:"hash"`
}

// VerifySignatureInput is a command with the person it says it comes from, nobody if the
// plan lists none of that name: a plan may list thousands.
type VerifySignatureInput struct {
	Call    Call             `json:"call"`
	Command runbook.Command  `json:"command"`
	People  []runbook.Person `json:"people"`
	// Bot may have signed on behalf of one of them; nil: none may.
	Bot *runbook.Bot `json:"bot,omitempty"`
}

// VerifySignatureResult: Problem says why a signature is not valid.
type VerifySignatureResult struct {
	Valid   bool     `json:"valid"`
	By      string   `json:"by"`
	Roles   []string `json:"roles"`
	Problem string   `json:"problem,omitempty"`
}

// ReadRecordInput names the sites to ask.
type ReadRecordInput struct {
	Call  Call           `json:"call"`
	Sites []runbook.Site `json:"sites"`
}

// ReadRecordResult has one copy and one engine's view per site, in input order.
type ReadRecordResult struct {
	Copies  []runbook.RecordCopy  `json:"copies"`
	Engines []runbook.EngineTruth `json:"engines"`
	// Holds on the pair and on all, of each site.
	Holds []runbook.HoldCopy `json:"holds,omitempty"`
}

// Kinds of a record write, for logs and the report.
const (
	WriteCreate = "create"
	WriteLock   = "lock"
	WritePhase  = "phase"
	WriteFlip   = "flip"
	WriteWave   = "wave" // groups of clients have their turn
	WriteDebt   = "debt"
	WriteUnlock = "unlock"
	WriteCopy   = "copy" // the other site's copy
)

// Follow the site's copy does not rule: whatever stands there is replaced
// unless record.Compare says that it is Newer, or SplitBrain, than Record (a
// damaged copy is replaced too). Anything else is ErrEpochConflict.
type WriteRecordInput struct {
	Call   Call          `json:"call"`
	Kind   string        `json:"kind"`
	Site   runbook.Site  `json:"site"`
	Record record.Record `json:"record"`
	Base   string        `json:"base"`
	Follow bool          `json:"follow,omitempty"`
}

// WriteRecordResult: Changed is false when it stood there already.
type WriteRecordResult struct {
	Changed     bool   `json:"changed"`
	ModifyIndex uint64 `json:"modify_index"`
	SHA256      string `json:"sha256"`
}

// EngineLockInput is about Site's engine. Break is the operation whose lock may
// be replaced (an approved override), "" for none.
type EngineLockInput struct {
	Call  Call         `json:"call"`
	Site  runbook.Site `json:"site"`
	Break string       `json:"break,omitempty"`
}

// EngineLockResult is the lock as it stands after the step.
type EngineLockResult struct {
	Held         bool         `json:"held"`
	Lock         *record.Lock `json:"lock,omitempty"`
	HighestEpoch int64        `json:"highest_epoch"`
}

// OperationTokenInput is about a link of Site's engine (its destination).
type OperationTokenInput struct {
	Call Call         `json:"call"`
	Site runbook.Site `json:"site"`
	Link runbook.Link `json:"link"`
	// Also are further names that the operation may have had on the link: revoked with it.
	Also []string `json:"also,omitempty"`
}

// OperationTokenResult: State is "open", "ended", "revoked" or "none" (link
// unknown to the engine).
type OperationTokenResult struct {
	State string `json:"state"`
}

// RevokeOperationResult: any Stopped mirror means past the pivot.
type RevokeOperationResult struct {
	State   string   `json:"state"`
	Stopped []string `json:"stopped,omitempty"`
}

// AttestOutageInput asks about Site; Other's engine is the second vantage point
// with its Link from Site.
type AttestOutageInput struct {
	Call  Call         `json:"call"`
	Site  runbook.Site `json:"site"`
	Other runbook.Site `json:"other"`
	Link  runbook.Link `json:"link"`
	// Probes are asked too, those of the plan that look at Site.
	Probes []runbook.Probe `json:"probes,omitempty"`
}

// AttestOutageResult is what each vantage point sees.
type AttestOutageResult struct {
	Vantages []runbook.Vantage `json:"vantages"`
}

// MeasureRiskInput names a link of Site's engine.
type MeasureRiskInput struct {
	Call Call         `json:"call"`
	Site runbook.Site `json:"site"`
	Link runbook.Link `json:"link"`
}

// MeasureRiskResult is the risk as the engine knows it, condensed to
// runbook.RowLimit rows of each kind.
type MeasureRiskResult struct {
	Risk runbook.Risk `json:"risk"`
}

// CheckPrivilegesInput covers both sites.
type CheckPrivilegesInput struct {
	Call   Call           `json:"call"`
	Sites  []runbook.Site `json:"sites"`
	Topics []string       `json:"topics"`
	Groups []string       `json:"groups"`
	// Notify is looked at for its credentials.
	Notify runbook.Notify `json:"notify,omitzero"`
	// Drills of the plan: what they need is looked at too.
	Drills []runbook.DrillPlan `json:"drills,omitempty"`
	// Teams are looked at for their channels' credentials; their groups are left out.
	Teams []runbook.Team `json:"teams,omitempty"`
	// Workloads in Kubernetes that the worker moves; Active is the site that the record
	// sends clients to, "" if that is not known.
	Workloads []runbook.Workloads `json:"workloads,omitempty"`
	Active    string              `json:"active,omitempty"`
}

// Finding is one thing that would fail today, or a warning.
type Finding struct {
	Site string `json:"site"` // empty: of no site
	// Part of readiness that it belongs to; empty: rights.
	Part    string `json:"part,omitempty"`
	What    string `json:"what"`
	Cure    string `json:"cure"`
	Blocker bool   `json:"blocker"`
}

// CheckPrivilegesResult lists findings, blockers first.
type CheckPrivilegesResult struct {
	Findings []Finding `json:"findings"`
}

// ListDRTopicsInput resolves Filters (names, or RE2 patterns starting with ^).
type ListDRTopicsInput struct {
	Call    Call         `json:"call"`
	Site    runbook.Site `json:"site"`
	Filters []string     `json:"filters"`
}

// ListDRTopicsResult: Missing are plain names that do not exist.
type ListDRTopicsResult struct {
	Topics  []string `json:"topics"`
	Missing []string `json:"missing,omitempty"`
}
