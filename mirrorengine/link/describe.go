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
			Topic: rec.Topic, SourceTopic: rec.SourceTopic, TopicID: rec.TopicID, Status: rec.Status, Reason: rec.Reason,
			Reversed: rec.Reversed, Guard: rec.Guard, WriterFence: rec.WriterFence, Partitions: []api.PartitionProgress{},
		}
		for _, p := range mt.parts() {
			mp.Partitions = append(mp.Partitions, p.progress(now))
		}
		out.Mirrors = append(out.Mirrors, mp)
	}
	return out, nil
}

// lagNow is the partition's lag as the contract has it. A partition never
// fetched answers -1 for the offset.
func (p *partition) lagNow() api.MirrorLag {
	p.mu.Lock()
	defer p.mu.Unlock()
	lag := api.MirrorLag{Partition: p.n, LastSourceFetchOffset: -1}
	hw := p.lag.highWatermark()
	switch {
	case p.stop != nil:
		lag.LastSourceFetchOffset = p.stop.SourceStop
		lag.Lag = max(0, hw-p.stop.SourceStop)
	case p.pos.known:
		lag.LastSourceFetchOffset = p.pos.source
		lag.Lag = max(0, hw-p.pos.source)
	}
	return lag
}

// progress is the partition's live state.
func (p *partition) progress(now time.Time) api.PartitionProgress {
	contact := p.mirror.link.src.lastContact()
	p.mu.Lock()
	defer p.mu.Unlock()
	hw := p.lag.highWatermark()
	out := api.PartitionProgress{
		Partition: p.n, SourceHighWatermark: hw, SourcePosition: p.pos.source, DestEnd: p.pos.dest,
		LagRecords: max(0, hw-p.pos.source), RecordsPerSecond: p.lag.rate(contact), Stalled: p.stalled,
		LagSeconds: p.lag.seconds(now, p.pos.source, contact, sourceGrace),
	}
	if !p.pos.known {
		out.SourcePosition, out.DestEnd = -1, -1
	}
	if p.stop != nil {
		out.SourcePosition, out.DestEnd, out.LagRecords = p.stop.SourceStop, p.stop.DestStop, max(0, hw-p.stop.SourceStop)
		out.SourceStop, out.DestStop = &p.stop.SourceStop, &p.stop.DestStop
	}
	return out
}

// describe is the mirror on the wire.
func (m *MirrorTopic) describe(transitionErrors bool) api.Mirror {
	rec := m.record()
	out := api.Mirror{
		LinkName: rec.Link, MirrorTopicName: rec.Topic, SourceTopicName: rec.SourceTopic,
		NumPartitions: rec.Partitions, MirrorLags: m.lags(), MirrorStatus: rec.Status,
		MirrorTopicError: rec.Error, StateTimeMs: rec.StateTime.UnixMilli(),
	}
	if transitionErrors {
		out.StateTransitionErrors = []api.TransitionError{}
		for _, t := range rec.Transition {
			out.StateTransitionErrors = append(out.StateTransitionErrors, api.TransitionError{ErrorCode: t.Code, ErrorMessage: t.Message})
		}
	}
	return out
}

func (m *MirrorTopic) lags() []api.MirrorLag {
	out := []api.MirrorLag{}
	for _, p := range m.parts() {
		out = append(out, p.lagNow())
	}
	return out
}
