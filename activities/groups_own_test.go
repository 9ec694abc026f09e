package activities

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// owning says of the group's offset that something is amiss with it, the first few times that it is asked to own it.
type owning struct {
	*fakeEngine
	amiss, asked atomic.Int32
}

func (e *owning) OwnGroups(context.Context, string, api.TakeOwnership) (api.GroupSync, error) {
	g := api.GroupState{Group: "billing", Topic: "orders", SourceOffset: 5, Wanted: 5, DestOffset: 5, Owned: true}
	if e.asked.Add(1) <= e.amiss.Load() {
		g.Wanted, g.Problem = -1, "the mirror does not know its position yet"
	}
	return api.GroupSync{Groups: []api.GroupState{g}}, nil
}

func (*owning) Progress(context.Context, string) (api.Progress, error) { return api.Progress{}, nil }

// A mirror that has just rejoined knows its position a moment later: nobody need read of that at the end of a run.
func TestWhatIsAmissOnlyForAMomentWithGroupsThatAreOwnedIsNotTold(t *testing.T) {
	for name, tc := range map[string]struct {
		amiss    int32
		problems int
	}{"for a moment": {3, 0}, "for good": {1 << 20, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &owning{fakeEngine: &fakeEngine{}}
			e.amiss.Store(tc.amiss)
			site := runbook.Site{Name: "west", Engine: serveEngine(t, e.fakeEngine, e)}
			a := newActivities(t, Options{})
			got, err := a.OwnGroups(t.Context(), workflows.LinkGroupsInput{Call: call("own"), Site: site, Link: runbook.Link{Name: "l"}, Groups: []string{"billing"}})
			if err != nil || len(got.Problems) != tc.problems || got.Offsets != 1 || e.asked.Load() < 2 {
				t.Errorf("asked %d times: %+v, %v", e.asked.Load(), got, err)
			}
		})
	}
}
