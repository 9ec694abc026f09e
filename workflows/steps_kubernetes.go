package workflows

import (
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// WorkloadsInput is of one place of a group. Operation is what marks the workloads:
// the same over retries, and over what a revoked run goes on with.
type WorkloadsInput struct {
	Call      Call              `json:"call"`
	Group     string            `json:"group"`
	Place     runbook.Workloads `json:"place"`
	Operation string            `json:"operation"`
	// Epoch of the record as the run knows it and Asked, when it asked by Temporal's
	// clock, tell a try that comes late from what was asked after it.
	Epoch int64     `json:"epoch"`
	Asked time.Time `json:"asked"`
	// Of are the operations whose stop is taken back by a start; none: any.
	Of []string `json:"of,omitempty"`
	// Names of a wave to restart.
	Names []string `json:"names,omitempty"`
	// Within bounds the wait of a stop or a restart.
	Within time.Duration `json:"within,omitempty"`
}

// WorkloadsResult has one line for each workload.
type WorkloadsResult struct {
	Workloads []runbook.Workload `json:"workloads"`
}

// TellWorkloadsInput: where the active site is, for the place's ConfigMap.
type TellWorkloadsInput struct {
	Call        Call              `json:"call"`
	Place       runbook.Workloads `json:"place"`
	Site        string            `json:"site"`
	Epoch       int64             `json:"epoch"`
	Bootstrap   []string          `json:"bootstrap"`
	SecurityRef string            `json:"security_ref"`
}

// TellWorkloadsResult: Told is false for a place without a ConfigMap.
type TellWorkloadsResult struct {
	Told bool `json:"told"`
}
