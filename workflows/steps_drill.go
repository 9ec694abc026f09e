package workflows

import "github.com/drawbridge-dr/drawbridge/workflows/runbook"

// Inputs and results of the steps of drills. They touch nothing but
// runbook.DrillTopic, DrillGroup and DrillLink of the call's pair.

// WriteDrillInput writes Records known records into the pair's drill topic at
// Site, over Partitions, and has the drill's group commit the half of each.
type WriteDrillInput struct {
	Call       Call         `json:"call"`
	Site       runbook.Site `json:"site"`
	Partitions int32        `json:"partitions"`
	Records    int          `json:"records"`
}

// ReadDrillInput reads what stands of the drill at Site.
type ReadDrillInput struct {
	Call Call         `json:"call"`
	Site runbook.Site `json:"site"`
}

// DrillCopyResult is what stands at the site.
type DrillCopyResult struct {
	Copy runbook.DrillCopy `json:"copy"`
}

// ClearDrillInput: Link's destination is Standby.
type ClearDrillInput struct {
	Call    Call         `json:"call"`
	Active  runbook.Site `json:"active"`
	Standby runbook.Site `json:"standby"`
	Link    runbook.Link `json:"link"`
}

// ClearDrillResult lists what there was.
type ClearDrillResult struct {
	Removed []string `json:"removed,omitempty"`
}

// InspectDrillsInput names the drills that the plan wants.
type InspectDrillsInput struct {
	Call   Call                `json:"call"`
	Drills []runbook.DrillPlan `json:"drills"`
}

// InspectDrillsResult has one watch per drill of the input.
type InspectDrillsResult struct {
	Drills []runbook.DrillWatch `json:"drills"`
}
