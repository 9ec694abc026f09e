package workflows

import (
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Inputs and results of the steps on fences, transactions, groups and clients.

// FenceSiteInput fences producers on Site; RegisterAt's engine keeps the
// register under the operation id.
type FenceSiteInput struct {
	Call       Call         `json:"call"`
	Site       runbook.Site `json:"site"`
	RegisterAt runbook.Site `json:"register_at"`
	Topics     []string     `json:"topics"`
	// Dark: nobody reached the site when it was asked. Each of its addresses is tried
	// once more, without pauses and second rounds.
	Dark bool `json:"dark,omitempty"`
}

// FenceGroupsInput fences groups on Site.
type FenceGroupsInput struct {
	Call       Call         `json:"call"`
	Site       runbook.Site `json:"site"`
	RegisterAt runbook.Site `json:"register_at"`
	Groups     []string     `json:"groups"`
}

// FenceResult says what stands after the step. An unreachable site is not an
// error of FenceSite and FenceGroups: Reachable is false and Problem says why.
type FenceResult struct {
	Reachable  bool     `json:"reachable"`
	Problem    string   `json:"problem,omitempty"`
	Entries    int      `json:"entries"`
	Principals []string `json:"principals,omitempty"`
	SuperUsers []string `json:"super_users,omitempty"`
	// CanaryBefore: before the first DENY the canary was let through on every
	// broker (see runbook.FenceEvidence).
	CanaryBefore bool `json:"canary_before,omitempty"`
	// Operations whose registers were closed (lift, hand over).
	Operations []string `json:"operations,omitempty"`
	// Again: nothing was found, by a try that is not the first: one before it may have
	// lifted all, and died before it said so.
	Again bool `json:"again,omitempty"`
	// Lifted are topics whose entries could be no guards (hand over).
	Lifted []string `json:"lifted,omitempty"`
}

// FenceSite.
type ProveFenceInput struct {
	Call         Call          `json:"call"`
	Site         runbook.Site  `json:"site"`
	RegisterAt   runbook.Site  `json:"register_at"`
	Topics       []string      `json:"topics"`
	HoldFor      time.Duration `json:"hold_for"`
	CanaryBefore bool          `json:"canary_before"`
}

// ProveFenceResult is the evidence; an unreachable site is evidence too.
type ProveFenceResult struct {
	Evidence runbook.FenceEvidence `json:"evidence"`
}

// Within for ACL changes to reach every broker.
type ProveWritableInput struct {
	Call   Call          `json:"call"`
	Site   runbook.Site  `json:"site"`
	Topics []string      `json:"topics"`
	Within time.Duration `json:"within"`
}

// ProveWritableResult: Refused names topic and broker of each refusal.
type ProveWritableResult struct {
	Writable bool     `json:"writable"`
	Brokers  int      `json:"brokers"`
	Refused  []string `json:"refused,omitempty"`
}

// LiftFenceInput: FencingOperation "" means every register that RegisterAt
// keeps for Site.
type LiftFenceInput struct {
	Call             Call         `json:"call"`
	Site             runbook.Site `json:"site"`
	RegisterAt       runbook.Site `json:"register_at"`
	FencingOperation string       `json:"fencing_operation,omitempty"`
}

// HandOverFenceInput: the registers that RegisterAt keeps for Site go to the
// guards of Link's mirrors (Link's destination is Site). FencingOperation ""
// means all of them.
type HandOverFenceInput struct {
	Call             Call         `json:"call"`
	Site             runbook.Site `json:"site"`
	RegisterAt       runbook.Site `json:"register_at"`
	Link             runbook.Link `json:"link"`
	FencingOperation string       `json:"fencing_operation,omitempty"`
}

// OpenTransactionsInput looks at Topics on Site.
type OpenTransactionsInput struct {
	Call   Call         `json:"call"`
	Site   runbook.Site `json:"site"`
	Topics []string     `json:"topics"`
}

// EndTransactionsInput waits Grace for transactions on Topics to end by
// themselves, then aborts what is open.
type EndTransactionsInput struct {
	Call   Call          `json:"call"`
	Site   runbook.Site  `json:"site"`
	Topics []string      `json:"topics"`
	Grace  time.Duration `json:"grace"`
}

// OpenTransactionsResult: Open stand open after the step, Ended were aborted.
type OpenTransactionsResult struct {
	Open  []runbook.OpenTransaction `json:"open,omitempty"`
	Ended []runbook.OpenTransaction `json:"ended,omitempty"`
}

// AwaitGroupsEmptyInput waits at most Within.
type AwaitGroupsEmptyInput struct {
	Call   Call          `json:"call"`
	Site   runbook.Site  `json:"site"`
	Groups []string      `json:"groups"`
	Within time.Duration `json:"within"`
}

// AwaitGroupsEmptyResult: Busy names groups that still have members.
type AwaitGroupsEmptyResult struct {
	Empty bool     `json:"empty"`
	Busy  []string `json:"busy,omitempty"`
}

// LinkGroupsInput names groups of a link at Site (its destination); empty means
// all that the link syncs.
type LinkGroupsInput struct {
	Call   Call         `json:"call"`
	Site   runbook.Site `json:"site"`
	Link   runbook.Link `json:"link"`
	Groups []string     `json:"groups"`
}

// SyncGroupsResult is what stands on the destination after the step; Exact is
// false when a value is clamped or not ours.
type SyncGroupsResult struct {
	Exact bool `json:"exact"`
	// Groups are condensed beyond runbook.RowLimit, Offsets counts all of them.
	Groups   []runbook.GroupRisk `json:"groups"`
	Offsets  int                 `json:"offsets"`
	Problems []string            `json:"problems,omitempty"`
}

// AwaitClientsMovedInput: Old may be unreachable; Since is the flip.
type AwaitClientsMovedInput struct {
	Call   Call          `json:"call"`
	Old    runbook.Site  `json:"old"`
	New    runbook.Site  `json:"new"`
	Groups []string      `json:"groups"`
	Topics []string      `json:"topics"`
	Since  time.Time     `json:"since"`
	Within time.Duration `json:"within"`
}

// AwaitClientsMovedResult: Complete when every group moved. Producing counts
// topics whose log end on the new site rose since the step began.
type AwaitClientsMovedResult struct {
	Complete     bool                 `json:"complete"`
	OldReachable bool                 `json:"old_reachable"`
	Groups       []runbook.ClientMove `json:"groups"`
	// Moved groups, and those Left behind, that have no row in Groups: of more than
	// runbook.ClientRows groups only those that have not moved have one.
	Moved     int      `json:"moved,omitempty"`
	Left      []string `json:"left,omitempty"`
	Producing int      `json:"producing"`
	Topics    int      `json:"topics"`
}
