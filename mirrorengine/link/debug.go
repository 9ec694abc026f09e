package link

import (
	"context"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// DebugMirrors is the inside of every partition, in the order of links, topics
// and partitions.
func (m *Manager) DebugMirrors(context.Context) ([]api.PartitionDebug, error) {
	now := time.Now()
	var out []api.PartitionDebug
	for _, l := range m.all() {
		for _, mt := range l.all() {
			rec := mt.record()
			for _, p := range mt.parts() {
				d := p.debug(now)
				d.Link, d.Topic, d.Status = rec.Link, rec.Topic, rec.Status
				out = append(out, d)
			}
		}
	}
	return out, nil
}

func (p *partition) debug(now time.Time) api.PartitionDebug {
	d := api.PartitionDebug{PartitionProgress: p.progress(now), Shard: p.shard, BytesUnderWay: p.underWay.Load()}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.ProducerID, d.ProducerEpoch, d.NextSequence = p.pos.stamp.ProducerID, p.pos.stamp.ProducerEpoch, p.pos.stamp.BaseSequence
	d.Located, d.Moved = p.pos.known, p.moved
	if p.omap != nil {
		d.Segments = p.omap.Len()
	}
	return d
}
