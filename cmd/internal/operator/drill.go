package operator

import (
	"context"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// drillLasts is how long a request for a full drill is good: its way home starts when the way there has been approved and has
// gone through, and is asked for by the same request.
const drillLasts = 24 * time.Hour

// Drill launches a drill. Its acting part runs under the pair's own id, as Status shows it; a pair whose drill is under way
// is a BusyError.
func (o *Operator) Drill(ctx context.Context, r Request, kind string) (Run, error) {
	r.Operation = runbook.OpDrill
	if kind == runbook.DrillFull && r.Expires == 0 {
		r.Expires = drillLasts
	}
	start, err := r.start()
	if err != nil {
		return Run{}, err
	}
	return o.execute(ctx, r, workflows.NameDrill, workflows.DrillID(r.Pair), workflows.DrillInput{Start: start, Kind: kind})
}
