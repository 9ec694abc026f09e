package supervise

import (
	"slices"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// target is what a record asks of the child.
type target struct {
	run   bool // false: it must not run (frozen)
	begin bool // false: it must not be started (frozen, or its wave of clients has not had its turn)
	epoch int64
	phase record.Phase
	place record.Place
}

// aim says what r asks of a child of group.
func aim(r record.Record, group string) (target, error) {
	place, err := r.SiteFor(group)
	if err != nil {
		return target{}, err
	}
	return target{run: r.Phase != record.Frozen, begin: r.MayStart(group), epoch: r.Epoch, phase: r.Phase, place: place}, nil
}

// keeps reports whether a child that was started for t may stay as it is under next. An epoch that leaves the group's
// site alone (another group was moved) does not restart it; other bootstrap servers or another credentials reference at the
// same site do, since the child knows only what it was started with.
func (t target) keeps(next target) bool {
	return next.run && t.place.Site == next.place.Site && t.place.SecurityRef == next.place.SecurityRef &&
		slices.Equal(t.place.Bootstrap, next.place.Bootstrap)
}
