package workflows

import (
	"context"
	"maps"
	"slices"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// drillWorld is what a world has of drills.
type drillWorld struct {
	left    map[string]bool // what stands of a canary drill: "link", "topic east", …
	spoilt  bool            // the records at the standby are others
	sticks  bool            // what is cleared stays
	past    []runbook.PastDrill
	watches []runbook.DrillWatch
	reports []runbook.Report
}

func (w *world) drillPut(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drill.left == nil {
		w.drill.left = map[string]bool{}
	}
	w.drill.left[what] = true
}

func (w *world) drillLink(in EnsureLinkInput) {
	if in.Link.Name == runbook.DrillLink("orders", runbook.Link{}).Name {
		w.drillPut("link")
	}
}

func drillCopyAt(site, digest string, committed int64) DrillCopyResult {
	return DrillCopyResult{Copy: runbook.DrillCopy{Site: site, Partitions: []runbook.DrillPartition{{Records: 10, Digest: digest, Committed: committed}}}}
}

func (w *world) WriteDrill(_ context.Context, in WriteDrillInput) (DrillCopyResult, error) {
	w.drillPut("topic " + in.Site.Name) // whatever becomes of it
	return drillCopyAt(in.Site.Name, "as written", 5), w.enter("WriteDrill", in.Call)
}

func (w *world) ReadDrill(_ context.Context, in ReadDrillInput) (DrillCopyResult, error) {
	err := w.enter("ReadDrill", in.Call)
	if w.drill.spoilt {
		return drillCopyAt(in.Site.Name, "another", 5), err
	}
	return drillCopyAt(in.Site.Name, "as written", 5), err
}

func (w *world) ClearDrill(_ context.Context, in ClearDrillInput) (ClearDrillResult, error) {
	if err := w.enter("ClearDrill", in.Call); err != nil {
		return ClearDrillResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := ClearDrillResult{Removed: slices.Sorted(maps.Keys(w.drill.left))}
	if w.drill.sticks {
		return out, nil
	}
	w.drill.left = nil
	delete(w.tokens, in.Link.Name) // it goes with the link
	delete(w.mirrors, in.Link.Name)
	return out, nil
}

func (w *world) InspectDrills(_ context.Context, in InspectDrillsInput) (InspectDrillsResult, error) {
	return InspectDrillsResult{Drills: w.drill.watches}, w.enter("InspectDrills", in.Call)
}
