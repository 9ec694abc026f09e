package workflows

import (
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Inputs and results of the steps that place pipelines.

// InspectPipelineInput asks Site, the survivor. Since is the record time that
// inputs are looked up by; zero: only the outputs are looked at.
type InspectPipelineInput struct {
	Call     Call             `json:"call"`
	Site     runbook.Site     `json:"site"`
	Pipeline runbook.Pipeline `json:"pipeline"`
	Since    time.Time        `json:"since,omitzero"`
}

// InspectPipelineResult: Missing are topics that the site does not have.
type InspectPipelineResult struct {
	Outputs []runbook.OutputEnd  `json:"outputs,omitempty"`
	Inputs  []runbook.InputPlace `json:"inputs,omitempty"`
	Missing []string             `json:"missing,omitempty"`
}

// PlaceGroupInput: placements that are skipped are left alone.
type PlaceGroupInput struct {
	Call   Call                `json:"call"`
	Site   runbook.Site        `json:"site"`
	Group  string              `json:"group"`
	Places []runbook.Placement `json:"places"`
}

// PlaceGroupResult counts partitions: Written by this attempt, Standing at their
// place or before it when they were read back, which are all that were asked for.
type PlaceGroupResult struct {
	Written  int `json:"written"`
	Standing int `json:"standing"`
}
