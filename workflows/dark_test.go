package workflows

import (
	"context"
	"slices"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// darkness notes which fences are tried as of a site that nobody reaches.
type darkness struct {
	*world
	tried []bool
}

func (d *darkness) FenceSite(ctx context.Context, in FenceSiteInput) (FenceResult, error) {
	d.mu.Lock()
	d.tried = append(d.tried, in.Dark)
	d.mu.Unlock()
	return d.world.FenceSite(ctx, in)
}

// Clients wait while a dead site is tried to be fenced; what it cannot prove stays owed.
func TestTheFenceOfASiteThatNobodyReachesIsTriedInTheDarkAndStaysOwed(t *testing.T) {
	for name, c := range map[string]struct {
		world *world
		in    FailoverInput
		dark  bool
		owed  int
	}{
		"dead":  {lost(), FailoverInput{Start: request(runbook.OpFailover)}, true, 1},
		"alive": {calm(), FailoverInput{Start: request(runbook.OpFailover, runbook.OverrideAlive)}, false, 0},
	} {
		d := &darkness{world: c.world}
		s := newStageOf(t, c.world, d)
		s.react = agree
		s.run(Failover, c.in)
		if s.err != nil || !slices.Equal(d.tried, []bool{c.dark}) || len(d.consul[away].Debts("fence")) != c.owed {
			t.Errorf("%s: %v, in the dark: %v, debts %v", name, s.err, d.tried, d.consul[away].FenceDebt)
		}
	}
}
