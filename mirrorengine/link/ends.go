package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// What the end of many mirrors asks and writes, it asks and writes for all of them
// together: requests grow with brokers, shards and bytes, not with topics.

// settleWait bounds how long mirrors that end wait together for log ends that the
// destination's replicas have not reached, and for tails that others wrote much into.
// Those that are not read by then are ended by a later try, so that one partition does
// not hold up the others.
const settleWait = 5 * time.Second

// endWait bounds how long an end that was asked for waits for those under way.
const endWait = time.Second

// end ends mirrors in the background. What is asked for while others end waits for them and ends together: callers that ask for
// one topic after the other are served as one that asks for all. Nobody waits for an end that hangs longer than endWait.
func (l *Link) end(mirrors []*MirrorTopic) {
	l.mu.Lock()
	l.toEnd = append(l.toEnd, mirrors...)
	l.mu.Unlock()
	l.background(func(ctx context.Context) {
		done := func() {}
		select {
		case l.endTurn <- struct{}{}:
			done = sync.OnceFunc(func() { <-l.endTurn })
		case <-time.After(endWait):
		case <-ctx.Done():
			return
		}
		defer done()
		l.mu.Lock()
		mirrors := l.toEnd
		l.toEnd = nil
		l.mu.Unlock()
		l.finish(ctx, claimEnds(mirrors), done)
	})
}

// byName sorts mirrors.
func byName(mirrors []*MirrorTopic) []*MirrorTopic {
	slices.SortFunc(mirrors, func(a, b *MirrorTopic) int { return strings.Compare(a.name(), b.name()) })
	return mirrors
}

// locate makes sure that the partitions of mirrors that are still without error
// know where they stand, from the destination alone; their owners are halted. anew:
// what is known may not hold any more.
func (l *Link) locate(ctx context.Context, parts map[*MirrorTopic][]*partition, mirrors map[*MirrorTopic]error, anew bool) {
	var open []*partition
	for _, m := range byName(without(mirrors)) {
		for _, p := range parts[m] {
			if anew || !p.located() {
				open = append(open, p)
			}
		}
	}
	for p, err := range l.mgr.placeEnded(ctx, open, false) {
		mirrors[p.mirror] = fmt.Errorf("%s partition %d: %w", p.dst.topic, p.n, err)
	}
}

// placeEnded is place for partitions of mirrors that end, whatever stands behind
// our last batch. It answers with those that could not be placed.
func (m *Manager) placeEnded(ctx context.Context, parts []*partition, fenced bool) map[*partition]error {
	bad := map[*partition]error{}
	tps := make([]topicPartition, len(parts))
	for i, p := range parts {
		tps[i] = p.dst
	}
	_, unled := m.local.leaders(ctx, tps) // their topics' ids too, by one request
	var readers []*tailReader
	for _, p := range parts {
		err := unled[p.dst]
		if err == nil {
			err = p.readMap()
		}
		if err == nil {
			err = p.sameTopic(ctx)
		}
		if err != nil {
			bad[p] = err
			continue
		}
		readers = append(readers, p.tailReader(true))
	}
	var found []landing
	for r, t := range m.readSettled(ctx, readers, bad) {
		at, err := r.p.placed(t, true, fenced)
		if err != nil {
			bad[r.p] = err
			continue
		}
		found = append(found, at)
	}
	writes := map[int32][]state.Entry{}
	for _, at := range found {
		writes[at.p.shard] = append(writes[at.p.shard], at.writes...)
	}
	failed := m.putShards(ctx, writes)
	for _, at := range found {
		if err := failed[at.p.shard]; err != nil && len(at.writes) > 0 {
			bad[at.p] = at.unwritten(err)
			continue
		}
		at.adopt()
	}
	return bad
}

// readSettled is readTails with a wait for log ends that do not stand still yet.
func (m *Manager) readSettled(ctx context.Context, readers []*tailReader, bad map[*partition]error) map[*tailReader]tail {
	out := map[*tailReader]tail{}
	for _, r := range readers {
		r.until = time.Now().Add(settleWait)
	}
	for late := time.After(settleWait); len(readers) > 0; {
		tails, errs := m.readTails(ctx, readers)
		var waiting []*tailReader
		for _, r := range readers {
			var u *unsettled
			switch err := errs[r]; {
			case errors.As(err, &u):
				r.p.stall(u)
				waiting = append(waiting, r)
				bad[r.p] = err
			case err != nil:
				bad[r.p] = err
			default:
				delete(bad, r.p)
				out[r] = tails[r]
			}
		}
		readers = waiting
		if len(readers) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return out
		case <-late:
			return out
		case <-time.After(retryMin):
		}
	}
	return out
}

// putShards writes to several shards, one transaction each, and answers with the
// errors.
func (m *Manager) putShards(ctx context.Context, entries map[int32][]state.Entry) map[int32]error {
	bad := map[int32]error{}
	for shard, list := range entries {
		if err := m.put(ctx, shard, list...); err != nil {
			bad[shard] = err
		}
	}
	return bad
}

// commitStops reads where partitions of mirrors that are still without error really
// ended, behind their fences, and commits it: one transaction per shard. A mirror
// of which a partition cannot be read commits nothing.
func (l *Link) commitStops(ctx context.Context, parts map[*MirrorTopic][]*partition, mirrors map[*MirrorTopic]error, levels map[topicPartition]string) {
	var open []*partition
	for _, m := range byName(without(mirrors)) {
		open = append(open, parts[m]...)
	}
	for p, err := range l.mgr.placeEnded(ctx, open, true) {
		mirrors[p.mirror] = fmt.Errorf("read where %s partition %d ended: %w", p.dst.topic, p.n, err)
	}
	byShard := map[int32][]state.Entry{}
	stops := map[*partition]*stopRecord{}
	for _, p := range open {
		if mirrors[p.mirror] != nil {
			continue
		}
		p.mu.Lock()
		source, dest := p.pos.source, p.pos.dest
		p.mu.Unlock()
		s := &stopRecord{Partition: p.n, SourceStop: source, DestStop: dest, Fence: levels[p.dst], At: time.Now().UTC()}
		stops[p] = s
		byShard[p.shard] = append(byShard[p.shard], state.Entry{Key: stopKey(p.mirror.topicID(), p.n), Value: s})
	}
	failed := l.mgr.putShards(ctx, byShard)
	for p, s := range stops {
		if err := failed[p.shard]; err != nil {
			mirrors[p.mirror] = fmt.Errorf("commit stop offsets of %s: %w", p.dst.topic, err)
			continue
		}
		p.mu.Lock()
		p.stop = s
		p.mu.Unlock()
	}
}
