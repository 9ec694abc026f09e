package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// clientWaves moves the plan's groups. Those of the first wave went with the flip;
// each later one is let go in the record of truth when the wave before it was seen at
// the new site. A wave that too many groups of have not moved waits for a person, and
// so do the groups behind it, which stand still meanwhile.
func (s *story) clientWaves(ctx workflow.Context, old, site runbook.Site) error {
	waves := runbook.ClientWaves(s.plan.Groups)
	if len(waves) < 2 {
		return s.moveWave(ctx, "move clients", old, site, s.plan.Groups, false)
	}
	for i, groups := range waves {
		name := "move clients"
		if i > 0 {
			name = fmt.Sprintf("move client wave %d", i+1)
			if err := s.letMove(ctx, i+1, groups); err != nil {
				return err
			}
		}
		if err := s.moveWave(ctx, name, old, site, groups, i+1 < len(waves)); err != nil {
			return err
		}
	}
	return nil
}

// letMove gives a wave its turn. It cannot be skipped: its groups stand still until
// it is written, or the run is over.
func (s *story) letMove(ctx workflow.Context, wave int, groups []runbook.Group) error {
	name := fmt.Sprintf("release client wave %d", wave)
	return s.must(ctx, name, func(ctx workflow.Context) (string, error) {
		return fmt.Sprintf("%d groups may start", len(groups)), s.settle(ctx, WriteWave, name, runbook.Released(s.rec, groups, s.by(ctx)))
	})
}
