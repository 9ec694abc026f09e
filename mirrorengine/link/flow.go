package link

import (
	"sync/atomic"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/wire"
)

// flow is what a link's readers share: how many bytes may be fetched and not
// acknowledged yet, and how many a second.
type flow struct {
	budget  *wire.Budget
	limit   int64
	pace    *wire.Pace
	catchUp *wire.Pace
	// lagBound in records: a partition that lags further catches up.
	lagBound int64
	readers  atomic.Int32
}

func newFlow(c FlowConfig) *flow {
	return &flow{
		budget: wire.NewBudget(c.InFlightBytes), limit: c.InFlightBytes,
		pace: wire.NewPace(c.Bandwidth), catchUp: wire.NewPace(c.CatchUpBandwidth), lagBound: c.CatchUpLag,
	}
}

// portion is how much of n a reader may ask for at once: half of its share of the
// budget, since a Fetch that waits for news holds what it has reserved while what
// came before is produced; and little where the bandwidth is bounded, so that the
// flow stays even.
func (f *flow) portion(n int32) int32 {
	share := f.limit / int64(max(1, f.readers.Load())) / 2
	n = int32(min(int64(n), max(share, smallestPortion)))
	return f.catchUp.Portion(f.pace.Portion(n, smallestPortion), smallestPortion)
}

// smallestPortion is the least to ask for, in bytes. A batch that is larger
// comes all the same (KIP-74).
const smallestPortion = 64 << 10
