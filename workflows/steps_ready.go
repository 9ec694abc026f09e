package workflows

import (
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Inputs and results of the steps of Readiness.

// InspectLinkInput names a link of Site's engine.
type InspectLinkInput struct {
	Call Call         `json:"call"`
	Site runbook.Site `json:"site"`
	Link runbook.Link `json:"link"`
}

// InspectLinkResult is the link's state, tasks, drift and guards.
type InspectLinkResult struct {
	Link runbook.LinkFacts `json:"link"`
}

// PastRunsInput names the folder of the plan's reports.
type PastRunsInput struct {
	Call   Call   `json:"call"`
	Folder string `json:"folder"`
	// Times is of how many runs to tell how long they took.
	Times int `json:"times,omitempty"`
}

// PastRunsResult is what the kept reports of the pair tell.
type PastRunsResult struct {
	Past runbook.PastRuns `json:"past"`
}

// SaveReadinessInput is kept in Folder, and shown as metrics.
type SaveReadinessInput struct {
	Call      Call              `json:"call"`
	Folder    string            `json:"folder"`
	Readiness runbook.Readiness `json:"readiness"`
}

// SaveReadinessResult names the file.
type SaveReadinessResult struct {
	File string `json:"file"`
}

// WatchReadinessInput: a look every Every; 0 or less: none. Drills are what the plan
// wants played; kinds that are not there are not.
type WatchReadinessInput struct {
	Call   Call                `json:"call"`
	Every  time.Duration       `json:"every"`
	Drills []runbook.DrillPlan `json:"drills,omitempty"`
}

// WatchReadinessResult names the Schedules in Temporal.
type WatchReadinessResult struct {
	Schedule string   `json:"schedule"`
	Drills   []string `json:"drills,omitempty"`
	Changed  bool     `json:"changed"`
}
