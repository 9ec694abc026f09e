package link

import (
	"context"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Progress is the live state of a link's mirrors, partition by partition.
func (m *Manager) Progress(_ context.Context, name string) (api.Progress, error) {
	l, err := m.link(name)
	if err != nil {
		return api.Progress{}, err
	}
	now := time.Now()
	out := api.Progress{
		Link: name, SourceReachable: l.reachable(), LastContact: l.src.lastContact().UTC(),
		SourceClusterID: l.record().SourceClusterID, Mirrors: []api.MirrorProgress{},
	}
	for _, mt := range l.all() {
		rec := mt.record()
		mp := api.MirrorProgress{
			Topic: rec.Topic, SourceTopic: rec.SourceTopic, Status: rec.Status, Reason: rec.Reason,
			Reversed: rec.Reversed, Guard: rec.Guard, WriterFence: rec.WriterFence, Partitions: []api.PartitionProgress{},
		}
		for _, p := range mt.parts() {
			mp.Partitions = append(mp.Partitions, p.progress(now))
		}
		out.Mirrors = append(out.Mirrors, mp)
	}
	return out, nil
}
