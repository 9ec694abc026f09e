package link

import (
	"context"
	"slices"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// ReverseMirrors closes ended mirrors whose source has begun to mirror from here
// (Rejoin at the other engine). Behind their stop offsets the source now holds
// this cluster's own records: without this they would look like lagged data, and
// appending them would double what is live. The ledger entries go with it.
//
// rejoined are the segments that the rejoin was made from. A mirror whose stop
// offsets are not those has ended another time since and is left alone.
func (m *Manager) ReverseMirrors(ctx context.Context, link string, rejoined api.Rejoin) ([]api.AlterMirrorResult, error) {
	l, err := m.link(link)
	if err != nil {
		return nil, err
	}
	l.ledgerRun.Lock()
	defer l.ledgerRun.Unlock()
	out := make([]api.AlterMirrorResult, len(rejoined.From))
	for i, from := range rejoined.From {
		out[i] = api.AlterMirrorResult{MirrorTopicName: from.Topic, MirrorLags: []api.MirrorLag{}}
		if err := l.reverse(ctx, from); err != nil {
			out[i].Refuse(err)
		}
	}
	return out, nil
}

func (l *Link) reverse(ctx context.Context, from api.Segments) error {
	mt, err := l.mirror(from.Topic)
	if err != nil {
		return err
	}
	mt.change.Lock()
	defer mt.change.Unlock()
	rec := mt.record()
	if rec.Status != status.Stopped.String() || !mt.endedAt(from) {
		return api.Conflict("mirror topic '%s' of cluster link '%s' (%s) did not end at the stop offsets named: nothing was changed", from.Topic, rec.Link, rec.Status)
	}
	if rec.Reversed {
		return nil
	}
	rec.Reversed = true
	entries := []state.Entry{{Key: mirrorKey(rec.Link, rec.Topic), Value: rec}}
	for _, p := range mt.parts() {
		entries = append(entries, state.Entry{Key: ledgerKey(rec.Link, rec.Topic, p.n)})
	}
	if err := l.mgr.put(ctx, 0, entries...); err != nil {
		return err
	}
	mt.adopt(rec)
	return nil
}

// endedAt compares a mirror's stop offsets with those of its segments as
// somebody read them.
func (m *MirrorTopic) endedAt(from api.Segments) bool {
	parts := m.parts()
	if len(parts) != len(from.Partitions) {
		return false
	}
	return !slices.ContainsFunc(from.Partitions, func(ps api.PartitionSegments) bool {
		if int(ps.Partition) >= len(parts) {
			return true
		}
		p := parts[ps.Partition]
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.stop == nil || p.stop.SourceStop != ps.SourceStop || p.stop.DestStop != ps.DestStop
	})
}
