package runbook

import (
	"fmt"
	"time"
)

// Command is what a person tells a run, signed with the person's own Ed25519
// key. Its JSON is the one of plan.Approval: the signature covers all fields
// but itself.
type Command struct {
	OpID      string `json:"op_id,omitempty"` // empty only in a request to start
	Pair      string `json:"pair"`
	Operation string `json:"operation"`
	Epoch     int64  `json:"epoch"`
	PlanHash  string `json:"plan_hash"`
	// Decision is one of those below.
	Decision string `json:"decision"`
	By       string `json:"by"`
	// Via is the plan's bot where it signed on behalf of By; "": with By's own key.
	Via       string   `json:"via,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Overrides []string `json:"overrides,omitempty"`
	// Question is what it answers, as the run's status names it: "2 approve
	// unproven fence". A run asks each question once, so that an answer cannot be
	// used for another one. Empty in what answers no question (request, abort,
	// pause, into-failover).
	Question string `json:"question,omitempty"`
	// Step is the failed step that a retry or skip speaks of.
	Step string `json:"step,omitempty"`
	// Choices are decisions by topic: "append", "export" or "discard" on lagged data,
	// "mirror", "leave" or "delete" on topics that changed while a site was away.
	Choices map[string]string `json:"choices,omitempty"`
	// Team that an acknowledgement speaks for; "": for the run.
	Team string `json:"team,omitempty"`
	// Expires ends the command's own life; a run refuses it afterwards.
	Expires   time.Time `json:"expires"`
	Signature string    `json:"signature,omitempty"` // base64
}

// Content is the same for two commands that say the same, however the signature
// of each is written down and in whichever zone its expiry: all that was signed.
//
//workflowcheck:ignore
func (c Command) Content() string {
	return fmt.Sprintf("%q %q %q %d %q %q %q %q %q %q %q %q %q %q %d.%d", c.OpID, c.Pair, c.Operation, c.Epoch, c.PlanHash, c.Decision, c.By, c.Via,
		c.Reason, c.Overrides, c.Question, c.Step, c.Choices, c.Team, c.Expires.Unix(), c.Expires.Nanosecond())
}

// Decisions of a Command.
const (
	Request = "request"
	Approve = "approve"
	Deny    = "deny"
	Retry   = "retry"
	Skip    = "skip"
	Abort   = "abort"
	Decide  = "decide"
	// Pause holds the run before its next step, Resume lets it go on.
	Pause  = "pause"
	Resume = "resume"
	// BreakGlass is a request, or an answer to a question of approval, that makes do
	// with the approvals that the plan leaves for it.
	BreakGlass = "break-glass"
	// Acknowledge says that a person who was told of the run looks after it.
	Acknowledge = "acknowledge"
	// IntoFailover asks to go on as a failover.
	IntoFailover = "into-failover"
)

// Unsigned is the requester of a run that was started without a signature.
const Unsigned = "unsigned"

// Duty is the requester of a run that the pair's own Debt workflow asks for.
const Duty = "debt"

// Operations that change a pair.
const (
	OpSetUp      = "setup"
	OpFailover   = "failover"
	OpSwitchover = "switchover"
	OpRecover    = "recover"
	OpFailback   = "failback"
	OpRestore    = "restore"
	OpUnfence    = "unfence"
	OpDrill      = "drill"
	// OpReadiness is no operation on a pair: it changes nothing and nobody signs it.
	OpReadiness = "readiness"
	// OpDebt is none either: it has others pay.
	OpDebt = "debt"
)
