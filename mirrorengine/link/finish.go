package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// fenceTarget is a partition of the local cluster and the stamp that may write
// there until the fence stands.
type fenceTarget struct {
	tp    topicPartition
	stamp batch.Stamp
}

// fence writes an abort marker with the next epoch behind everything that our
// producer id wrote, one request per leader: from then on the broker refuses
// batches of the older epoch (ProducerAppendInfo.checkProducerEpoch), also
// those of a paused replica of ours. It answers per partition; nil means that
// the marker stands. Markers are not deduplicated: after an error the log end
// must be read before another is sent.
func (m *Manager) fence(ctx context.Context, targets []fenceTarget) map[topicPartition]error {
	out := map[topicPartition]error{}
	byBroker := map[int32][]fenceTarget{}
	for _, t := range targets {
		b, _, err := m.local.leader(ctx, t.tp.topic, t.tp.partition)
		if err != nil {
			out[t.tp] = err
			continue
		}
		byBroker[b] = append(byBroker[b], t)
	}
	for b, ts := range byBroker {
		req := kmsg.NewPtrWriteTxnMarkersRequest()
		for _, t := range ts {
			mk := kmsg.NewWriteTxnMarkersRequestMarker()
			mk.ProducerID = t.stamp.ProducerID
			mk.ProducerEpoch = t.stamp.ProducerEpoch + 1
			mk.Committed = false
			rt := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			rt.Topic, rt.Partitions = t.tp.topic, []int32{t.tp.partition}
			mk.Topics = append(mk.Topics, rt)
			req.Markers = append(req.Markers, mk)
			out[t.tp] = errors.New("the broker left the partition out of its answer")
		}
		res, err := request[*kmsg.WriteTxnMarkersResponse](ctx, m.local, b, req)
		if err != nil {
			for _, t := range ts {
				out[t.tp] = fmt.Errorf("broker %d: %w", b, err)
			}
			continue
		}
		for _, mk := range res.Markers {
			for _, t := range mk.Topics {
				for _, p := range t.Partitions {
					out[topicPartition{t.Topic, p.Partition}] = kerr.ErrorForCode(p.ErrorCode)
				}
			}
		}
	}
	return out
}

// newProducerID asks for an idempotent producer id (InitProducerId without a
// transactional id gives a new one each time).
func (m *Manager) newProducerID(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, m.local.client)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil {
		return 0, fmt.Errorf("producer id from the destination: %w", err)
	}
	return res.ProducerID, nil
}

// finish ends mirrors that are PENDING_STOPPED, together, as the leader: it
// records that they end (Fenced); by that each replica stops the partitions whose
// shards it owns, fences our writer there, reads the log ends and commits the stop
// offsets (endOwned). When all stand, of whatever replica, and only then, a mirror
// is STOPPED and its guard released. A replica that dies meanwhile is taken over,
// and its successor ends its part. What fails stays PENDING_STOPPED with the reason
// and is tried again. The caller has claimed the end of each (claimEnd).
func (l *Link) finish(ctx context.Context, mirrors []*MirrorTopic) {
	pause := retryMin
	for tries := 0; len(mirrors) > 0 && ctx.Err() == nil; tries++ {
		var again []*MirrorTopic
		for m, err := range l.finishOnce(ctx, mirrors, tries > 0) {
			var f *failure
			if errors.As(err, &f) && f.gone() {
				err = m.endGone(ctx, f)
			}
			if err != nil && ctx.Err() == nil {
				l.log.Error("a mirror could not be ended, trying again", "topic", m.name(), "error", err, "pause", pause)
				m.note(err)
				again = append(again, m)
			}
		}
		mirrors = again
		if len(mirrors) == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(pause*2, retryMax)
	}
}

// finishOnce is one try. again: one before it failed, perhaps with some markers
// written, or since somebody else has raised the epoch; the logs are read first.
func (l *Link) finishOnce(ctx context.Context, mirrors []*MirrorTopic, again bool) map[*MirrorTopic]error {
	out := map[*MirrorTopic]error{}
	for _, m := range mirrors {
		m.halt()
	}
	gone := l.standing(ctx, mirrors)
	for _, m := range mirrors {
		if out[m] = gone[m]; out[m] == nil {
			out[m] = m.located(ctx, m.unended(), again)
		}
	}
	// Recorded before the fence: a crash between the two must not find a fenced
	// mirror that believes it may go on. It is also what tells the other replicas.
	l.recordAll(ctx, out, func(m *MirrorTopic) (mirrorRecord, error) {
		r := m.record()
		r.Fenced = true
		return r, nil
	})
	for m, err := range l.endOwned(ctx, without(out), false) {
		out[m] = err
	}
	l.awaitStops(ctx, out)
	for m, err := range out {
		if err == nil {
			out[m] = l.openLedger(ctx, m)
		}
	}
	if err := l.settleGroups(ctx, without(out)); err != nil {
		// No group keeps a mirror from ending; its state says what is wrong.
		l.log.Error("group offsets could not all be settled", "error", err)
	}
	done := l.recordAll(ctx, out, func(m *MirrorTopic) (mirrorRecord, error) {
		return m.next(status.StopFinished, func(r *mirrorRecord) { r.Intent, r.Reason = "", "" })
	})
	for _, m := range done {
		l.log.Info("mirror stopped", "topic", m.name())
	}
	for m, err := range l.mgr.releaseGuards(ctx, l, done) {
		// The mirror is STOPPED all the same; its description says that the guard
		// still stands, and the watcher goes on trying.
		l.log.Error("the read-only guard could not be removed yet", "topic", m.name(), "error", err)
	}
	return out
}

// endOwned ends the partitions of mirrors whose shards this replica owns: they
// stop, our writer is fenced behind what it wrote, the log ends are read and the
// stop offsets committed. It answers per mirror.
func (l *Link) endOwned(ctx context.Context, mirrors []*MirrorTopic, again bool) map[*MirrorTopic]error {
	out := map[*MirrorTopic]error{}
	if len(mirrors) == 0 {
		return out
	}
	l.ending.Lock()
	defer l.ending.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.stopEnd = cancel
	l.mu.Unlock()
	// Looked up once: what comes to this replica meanwhile is not located.
	parts := map[*MirrorTopic][]*partition{}
	for _, m := range mirrors {
		m.halt()
		parts[m] = m.unended()
		out[m] = m.located(ctx, parts[m], again)
	}
	levels := l.fenceAll(ctx, parts, out)
	for m, err := range out {
		if err == nil {
			out[m] = l.commitStop(ctx, m, parts[m], levels)
		}
	}
	return out
}

// recordAll writes the next record of each mirror that is still without error,
// in one transaction, and answers with those that were written.
func (l *Link) recordAll(ctx context.Context, mirrors map[*MirrorTopic]error, next func(*MirrorTopic) (mirrorRecord, error)) []*MirrorTopic {
	recs := map[*MirrorTopic]mirrorRecord{}
	var entries []state.Entry
	for m, err := range mirrors {
		if err != nil {
			continue
		}
		m.change.Lock()
		defer m.change.Unlock()
		rec, err := next(m)
		if err != nil {
			mirrors[m] = err
			continue
		}
		recs[m] = rec
		entries = append(entries, state.Entry{Key: mirrorKey(rec.Link, rec.Topic), Value: rec})
	}
	err := l.mgr.put(ctx, 0, entries...)
	var done []*MirrorTopic
	for m, rec := range recs {
		if err != nil {
			mirrors[m] = err
			continue
		}
		m.adopt(rec)
		done = append(done, m)
	}
	return done
}

// fenceAll fences the partitions of the mirrors that are still without error
// and answers with the level reached, by partition.
func (l *Link) fenceAll(ctx context.Context, parts map[*MirrorTopic][]*partition, mirrors map[*MirrorTopic]error) map[topicPartition]string {
	levels := map[topicPartition]string{}
	var targets []fenceTarget
	for m, err := range mirrors {
		if err != nil {
			continue
		}
		for _, p := range parts[m] {
			if p.fenced() {
				levels[p.dst] = l.mgr.writerFence // by an earlier try; another marker would move the end
				continue
			}
			targets = append(targets, fenceTarget{p.dst, p.fenceStamp()})
		}
	}
	if mutant == "no-writer-fence" {
		targets = nil
	}
	denied := false
	for tp, err := range l.mgr.fence(ctx, targets) {
		switch {
		case err == nil:
			levels[tp] = l.mgr.writerFence
		case errors.Is(err, kerr.ClusterAuthorizationFailed):
			levels[tp], denied = api.WriterFenceNotPermitted, true
		default:
			for m := range mirrors {
				if m.name() == tp.topic {
					mirrors[m] = fmt.Errorf("fence our writer on %s partition %d: %w", tp.topic, tp.partition, err)
				}
			}
		}
	}
	if denied {
		// Without the marker a late batch of ours is waited out.
		select {
		case <-ctx.Done():
		case <-time.After(lateProduce):
		}
	}
	return levels
}

// commitStop reads where partitions of a mirror really ended and commits it.
func (l *Link) commitStop(ctx context.Context, m *MirrorTopic, parts []*partition, levels map[topicPartition]string) error {
	byShard := map[int32][]state.Entry{}
	stops := map[*partition]*stopRecord{}
	for _, p := range parts {
		if err := p.settle(ctx, true); err != nil {
			return fmt.Errorf("read where %s partition %d ended: %w", m.name(), p.n, err)
		}
		p.mu.Lock()
		source, dest := p.pos.source, p.pos.dest
		p.mu.Unlock()
		s := &stopRecord{Partition: p.n, SourceStop: source, DestStop: dest, Fence: levels[p.dst], At: time.Now().UTC()}
		stops[p] = s
		byShard[p.shard] = append(byShard[p.shard], state.Entry{Key: stopKey(m.topicID(), p.n), Value: s})
	}
	for _, shard := range slices.Sorted(maps.Keys(byShard)) {
		if err := l.mgr.put(ctx, shard, byShard[shard]...); err != nil {
			return fmt.Errorf("commit stop offsets of %s: %w", m.name(), err)
		}
	}
	for p, s := range stops {
		p.mu.Lock()
		p.stop = s
		p.mu.Unlock()
	}
	return nil
}
