package operator

import (
	"context"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Drill launches a drill. Its acting part runs under the pair's own id, as Status shows it; a pair whose drill is under way
// is a BusyError.
func (o *Operator) Drill(ctx context.Context, r Request, kind string) (Run, error) {
	r.Operation = runbook.OpDrill
	r.Decisions = workflows.DrillChoices(kind) // part of what is signed
	start, err := r.start()
	if err != nil {
		return Run{}, err
	}
	return o.execute(ctx, r, workflows.NameDrill, workflows.DrillID(r.Pair), workflows.DrillInput{Start: start, Kind: kind})
}
