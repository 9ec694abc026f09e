package workflows

import "github.com/drawbridge-dr/drawbridge/workflows/runbook"

// ReadHoldInput names the sites whose Consuls are asked.
type ReadHoldInput struct {
	Call  Call           `json:"call"`
	Sites []runbook.Site `json:"sites"`
}

// ReadHoldResult has, for each site, the hold on the pair and the one on all; a
// Consul that does not answer is named, no error.
type ReadHoldResult struct {
	Holds []runbook.HoldCopy `json:"holds"`
}
