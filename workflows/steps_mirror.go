package workflows

import (
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Inputs and results of the steps on links, mirrors and topics.

// EnsureCanaryTopicInput: the topic is made on Site with one partition.
type EnsureCanaryTopicInput struct {
	Call Call         `json:"call"`
	Site runbook.Site `json:"site"`
}

// EnsureCanaryTopicResult names the topic.
type EnsureCanaryTopicResult struct {
	Topic   string `json:"topic"`
	Created bool   `json:"created"`
}

// EnsureLinkInput: the link lives in Destination's engine and dials Source.
type EnsureLinkInput struct {
	Call        Call         `json:"call"`
	Link        runbook.Link `json:"link"`
	Source      runbook.Site `json:"source"`
	Destination runbook.Site `json:"destination"`
	Groups      []string     `json:"groups"`
}

// EnsureLinkResult is the link as it stands.
type EnsureLinkResult struct {
	Created bool   `json:"created"`
	LinkID  string `json:"link_id"`
	State   string `json:"state"`
	Error   string `json:"error,omitempty"`
}

// EnsureMirrorsInput starts a mirror per topic on Destination.
type EnsureMirrorsInput struct {
	Call        Call         `json:"call"`
	Link        runbook.Link `json:"link"`
	Source      runbook.Site `json:"source"`
	Destination runbook.Site `json:"destination"`
	Topics      []string     `json:"topics"`
}

// MirrorsInput names mirrors of a link at Site (the destination).
type MirrorsInput struct {
	Call   Call         `json:"call"`
	Site   runbook.Site `json:"site"`
	Link   runbook.Link `json:"link"`
	Topics []string     `json:"topics"`
}

// MirrorsResult has one result per topic of the input, in its order.
type MirrorsResult struct {
	Topics []runbook.TopicResult `json:"topics"`
}

// AwaitMirrorsInput waits at most Within (the step itself ends then).
type AwaitMirrorsInput struct {
	Call   Call          `json:"call"`
	Site   runbook.Site  `json:"site"`
	Link   runbook.Link  `json:"link"`
	Topics []string      `json:"topics"`
	MaxLag int64         `json:"max_lag"`
	Within time.Duration `json:"within"`
}

// AwaitMirrorsResult: when not CaughtUp, Behind says what is missing, one line
// per topic.
type AwaitMirrorsResult struct {
	CaughtUp   bool     `json:"caught_up"`
	LagRecords int64    `json:"lag_records"`
	Behind     []string `json:"behind,omitempty"`
}

// AwaitStoppedInput waits at most Within.
type AwaitStoppedInput struct {
	Call   Call          `json:"call"`
	Site   runbook.Site  `json:"site"`
	Link   runbook.Link  `json:"link"`
	Topics []string      `json:"topics"`
	Within time.Duration `json:"within"`
}

// AwaitDrainedInput compares Source's logs with the mirrors at Destination.
type AwaitDrainedInput struct {
	Call        Call          `json:"call"`
	Source      runbook.Site  `json:"source"`
	Destination runbook.Site  `json:"destination"`
	Link        runbook.Link  `json:"link"`
	Topics      []string      `json:"topics"`
	Within      time.Duration `json:"within"`
}

// AwaitDrainedResult counts the partitions looked at and names those that are
// behind, the first of many: a row for each would be too much for a history.
type AwaitDrainedResult struct {
	Drained    bool     `json:"drained"`
	Behind     []string `json:"behind,omitempty"`
	Partitions int      `json:"partitions"`
}

// Link, which ended at Keeper's engine (Keeper is Link's destination).
type CompareLogEndsInput struct {
	Call   Call         `json:"call"`
	Site   runbook.Site `json:"site"`
	Keeper runbook.Site `json:"keeper"`
	Link   runbook.Link `json:"link"`
	Topics []string     `json:"topics"`
}

// CompareTopicsInput names topics that both sites should have alike.
type CompareTopicsInput struct {
	Call        Call         `json:"call"`
	Source      runbook.Site `json:"source"`
	Destination runbook.Site `json:"destination"`
	Topics      []string     `json:"topics"`
}

// CompareTopicsResult has one shape per topic, in the input's order.
type CompareTopicsResult struct {
	Shapes []runbook.TopicShape `json:"shapes"`
}

// CompareLogEndsResult: Equal when every log ends at its expected offset, else
// Differ names those that do not, the first of many.
type CompareLogEndsResult struct {
	Equal      bool     `json:"equal"`
	Differ     []string `json:"differ,omitempty"`
	Partitions int      `json:"partitions"`
}

// RejoinInput starts Link's mirrors at Site (its destination) over the existing
// topics; Opposite ended at Other's engine and has the segments.
type RejoinInput struct {
	Call     Call         `json:"call"`
	Site     runbook.Site `json:"site"`
	Link     runbook.Link `json:"link"`
	Other    runbook.Site `json:"other"`
	Opposite runbook.Link `json:"opposite"`
	Topics   []string     `json:"topics"`
}

// MeasureCopyInput: what a rebuild from Source would copy. Folder has the reports
// of earlier copies, from which the rate is known.
type MeasureCopyInput struct {
	Call   Call         `json:"call"`
	Source runbook.Site `json:"source"`
	Topics []string     `json:"topics"`
	Folder string       `json:"folder,omitempty"`
}

// MeasureCopyResult is the size of the copy and what an earlier one took.
type MeasureCopyResult struct {
	runbook.CopySize
}

// SurveyTopicsInput: Link's destination is Standby, Ended's is Active.
type SurveyTopicsInput struct {
	Call    Call         `json:"call"`
	Active  runbook.Site `json:"active"`
	Standby runbook.Site `json:"standby"`
	Link    runbook.Link `json:"link"`
	Ended   runbook.Link `json:"ended"`
	Filters []string     `json:"filters"`
}

// SurveyTopicsResult has every topic of the plan that stands at either site,
// sorted.
type SurveyTopicsResult struct {
	Topics []runbook.AwayTopic `json:"topics"`
}

// DeleteTopicsInput deletes Topics on Site, unless they are mirrors of Link
// (whose destination Site is) already. Other is the surviving site: a topic
// that does not exist there is never deleted here (error), but for those in
// Agreed, whose deletion there people agreed to follow.
type DeleteTopicsInput struct {
	Call   Call         `json:"call"`
	Site   runbook.Site `json:"site"`
	Other  runbook.Site `json:"other"`
	Link   runbook.Link `json:"link"`
	Topics []string     `json:"topics"`
	Agreed []string     `json:"agreed,omitempty"`
}

// DeleteTopicsResult lists what was deleted and what was a mirror already.
type DeleteTopicsResult struct {
	Deleted []string `json:"deleted"`
	Kept    []string `json:"kept,omitempty"`
}
