package workflows

import (
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Inputs and results of the steps on lagged data, and of those that prove and tell.

// WriteRecordInput puts Record into Site's Consul (active, bootstrap and
// security keys in one transaction). The activity reads; if what stands there
// has Record's SHA256 it is done already; else it must have the digest Base
// ("" = no key) and is replaced by CAS on the ModifyIndex just read. With

// CompareLogEndsInput: Site's logs against the source-side stop offsets of

// ProveFenceInput: LogsStill is watched for HoldFor. CanaryBefore comes from

// ProveWritableInput probes Topics on every broker of Site, waiting at most

// LedgerInput is about the stopped mirrors of Link at Site (its destination).

// Topics empty means all. KeepDecision exports without changing a decision that
// was made (the archive before a rebuild).
type LedgerInput struct {
	Call         Call         `json:"call"`
	Site         runbook.Site `json:"site"`
	Link         runbook.Link `json:"link"`
	Topics       []string     `json:"topics,omitempty"`
	DecidedBy    string       `json:"decided_by,omitempty"`
	Reason       string       `json:"reason,omitempty"`
	KeepDecision bool         `json:"keep_decision,omitempty"`
	// IfLink: a link that the engine does not know has an empty ledger.
	IfLink bool `json:"if_link,omitempty"`
	// Stored asks for what was counted last, with the decisions since.
	Stored bool `json:"stored,omitempty"`
	// Lost are names of an operation whose lock this run breaks: counting, which decides
	// nothing, goes on beside its token, which is revoked with the lock only.
	Lost []string `json:"lost,omitempty"`
}

// LedgerResult is the link's ledger after the step, of Topics where the input names
// some, condensed where it is large. Exported is the topic that an export wrote to.
type LedgerResult struct {
	Lines    []runbook.LedgerLine `json:"lines"`
	Exported string               `json:"exported,omitempty"`
	Records  int64                `json:"records,omitempty"`
}

// HoldRetentionInput holds Topics on Site. With LookOnly nothing is changed and
// the result is what would have to be put back; a run looks first, so that a
// hold that is tried again does not take its own values for the old ones. The old
// values are written into RegisterAt's Consul before anything is changed; what stands
// there of a run that is gone is part of the result.
type HoldRetentionInput struct {
	Call     Call         `json:"call"`
	Site     runbook.Site `json:"site"`
	Topics   []string     `json:"topics"`
	LookOnly bool         `json:"look_only,omitempty"`

	RegisterAt runbook.Site `json:"register_at,omitzero"`
}

// HeldConfig is a topic config as it was before the hold; a nil Old means that
// it was not set on the topic.
type HeldConfig struct {
	Topic string  `json:"topic"`
	Name  string  `json:"name"`
	Old   *string `json:"old"`
}

// HoldRetentionResult: Held is everything to put back.
type HoldRetentionResult struct {
	Held []HeldConfig `json:"held"`
}

// PutBackRetentionInput puts Held back, without any all that stands written at
// RegisterAt, and strikes it out there. A topic that is gone is no error, and a value
// that is not the hold's any more is somebody's and left alone.
type PutBackRetentionInput struct {
	Call Call         `json:"call"`
	Site runbook.Site `json:"site"`
	Held []HeldConfig `json:"held"`

	RegisterAt runbook.Site `json:"register_at,omitzero"`
}

// ProduceConsumeCanaryInput: one record with the operation's id and step, into
// Topic, which must be the pair's drill topic, or by default into its canary topic.
type ProduceConsumeCanaryInput struct {
	Call  Call         `json:"call"`
	Site  runbook.Site `json:"site"`
	Topic string       `json:"topic,omitempty"`
}

// ProduceConsumeCanaryResult is where the record landed and how long it took.
type ProduceConsumeCanaryResult struct {
	Topic  string `json:"topic"`
	Offset int64  `json:"offset"`
	Millis int64  `json:"millis"`
}

// AmendReportInput: the failover is the one that made Active active at Epoch.
type AmendReportInput struct {
	Call   Call                 `json:"call"`
	Folder string               `json:"folder"`
	Active string               `json:"active"`
	Epoch  int64                `json:"epoch"`
	Exact  int64                `json:"rpo_records_exact"`
	Topics map[string]int64     `json:"rpo_records_by_topic"`
	Time   *runbook.RPOTime     `json:"rpo_time,omitempty"`
	Ledger []runbook.LedgerLine `json:"ledger"`
}

// AmendReportResult: OpID is the failover's, "" where no report of it is kept.
type AmendReportResult struct {
	OpID    string `json:"op_id"`
	Changed bool   `json:"changed"`
}

// SaveReportInput: the report is kept under Folder as <op id>.json and .md.

// PlanHash lets the step say whether the plan file changed since the start.
type SaveReportInput struct {
	Call   Call           `json:"call"`
	Folder string         `json:"folder"`
	Report runbook.Report `json:"report"`
	// Offsets is where the stop offsets and group offsets are that were too many
	// for the run's history: the file gets them from there. Nil: the report has all.
	Offsets *MeasureRiskInput `json:"offsets,omitempty"`
}

// SaveReportResult names the files.
type SaveReportResult struct {
	JSON        string `json:"json"`
	Markdown    string `json:"markdown"`
	PlanChanged bool   `json:"plan_changed"`

	Build *runbook.Build `json:"build,omitempty"` // that kept it
}

// Kinds of notifications.
const (
	NotifyStarted  = "started"
	NotifyApproval = "approval"
	NotifyPaused   = "paused"
	NotifyFinished = "finished"
	NotifyMove     = "move"  // a group that moves by page, or a team's groups
	NotifyMoved    = "moved" // a team's groups have; its page is over
	// NotifyOverride: an approval takes something upon itself; NotifyBreakGlass: a run
	// goes on without its approvals.
	NotifyOverride   = "override"
	NotifyBreakGlass = "break-glass"
	// NotifyEscalated: a question went to more people.
	NotifyEscalated = "escalated"
	// Of Readiness: each is a message of its own, and the second ends the first's page.
	NotifyUnready    = "unready"
	NotifyReadyAgain = "ready again"
	// Of drills, likewise: one failed, was refused or skipped; one went well again.
	NotifyDrill      = "drill"
	NotifyDrillAgain = "drill again"
	// NotifyAcknowledged: somebody looks after the run; its page is quiet then.
	NotifyAcknowledged = "acknowledged"
)

// NotifyInput: Page asks for PagerDuty too, not only the others.
type NotifyInput struct {
	Call   Call           `json:"call"`
	Notify runbook.Notify `json:"notify"`
	Kind   string         `json:"kind"`
	Title  string         `json:"title"`
	Text   string         `json:"text"`
	Page   bool           `json:"page"`
	// Wide pages those too whom the plan escalates to.
	Wide bool `json:"wide,omitempty"`
	// Mention are Slack ids.
	Mention []string `json:"mention,omitempty"`
	// Team that is told, by its own channels, of its Groups, which move to Site; "": the
	// pair's people are.
	Team   string   `json:"team,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Site   string   `json:"site,omitempty"`
	// Mild is a page that nobody need be woken for.
	Mild bool `json:"mild,omitempty"`
	// Quietly ends what may be open under its key, by PagerDuty and the webhook; people
	// are told nothing, since there may have been nothing.
	Quietly bool `json:"quietly,omitempty"`
	// Thread of the run in Slack that it belongs to; "": the team's, or the run's own.
	Thread string `json:"thread,omitempty"`
}

// NotifyResult says what happened per channel: "sent", "not configured" or the
// problem.
type NotifyResult struct {
	Slack     string `json:"slack"`
	PagerDuty string `json:"pagerduty"`
	Webhook   string `json:"webhook,omitempty"`
	Email     string `json:"email,omitempty"`
}
