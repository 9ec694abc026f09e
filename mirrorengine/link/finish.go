package link

import (
	"context"
	"errors"
	"fmt"
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
	stamps := map[topicPartition]batch.Stamp{}
	tps := make([]topicPartition, len(targets))
	for i, t := range targets {
		tps[i], stamps[t.tp] = t.tp, t.stamp
	}
	byBroker, out := m.local.leaders(ctx, tps)
	for b, led := range byBroker {
		for some := range slices.Chunk(led, fencedAtOnce) {
			m.fenceAt(ctx, b, some, stamps, out)
		}
	}
	return out
}

// fencedAtOnce is the number of markers in one request: the broker answers when
// every in-sync replica has them all.
const fencedAtOnce = 500

func (m *Manager) fenceAt(ctx context.Context, broker int32, parts []topicPartition, stamps map[topicPartition]batch.Stamp, out map[topicPartition]error) {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	for _, tp := range parts {
		mk := kmsg.NewWriteTxnMarkersRequestMarker()
		mk.ProducerID = stamps[tp].ProducerID
		mk.ProducerEpoch = stamps[tp].ProducerEpoch + 1
		mk.Committed = false
		rt := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		rt.Topic, rt.Partitions = tp.topic, []int32{tp.partition}
		mk.Topics = append(mk.Topics, rt)
		req.Markers = append(req.Markers, mk)
		out[tp] = errors.New("the broker left the partition out of its answer")
	}
	res, err := request[*kmsg.WriteTxnMarkersResponse](ctx, m.local, broker, req)
	if err != nil {
		for _, tp := range parts {
			out[tp] = fmt.Errorf("broker %d: %w", broker, err)
		}
		return
	}
	for _, mk := range res.Markers {
		for _, t := range mk.Topics {
			for _, p := range t.Partitions {
				out[topicPartition{t.Topic, p.Partition}] = kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
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
// and is tried again. The caller has claimed the end of each (claimEnd); stopped is
// called when a try has come to its end but for the guards, which take their time.
func (l *Link) finish(ctx context.Context, mirrors []*MirrorTopic, stopped func()) {
	if whole, unmade := halves(mirrors); len(whole) > 0 && len(unmade) > 0 {
		// Those have more to wait for, and nobody is to wait for them.
		l.background(func(ctx context.Context) { l.finish(ctx, unmade, func() {}) })
		mirrors = whole
	}
	pause := retryMin
	for tries := 0; len(mirrors) > 0 && ctx.Err() == nil; tries++ {
		var again []*MirrorTopic
		for m, err := range l.finishOnce(ctx, mirrors, tries > 0, stopped) {
			var f *failure
			if errors.As(err, &f) && f.gone() {
				err = m.endGone(ctx, f)
			}
			if err != nil && ctx.Err() == nil && m.replaced() == nil {
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
func (l *Link) finishOnce(ctx context.Context, mirrors []*MirrorTopic, again bool, stopped func()) map[*MirrorTopic]error {
	out := map[*MirrorTopic]error{}
	haltAll(mirrors)
	gone := l.standing(ctx, mirrors)
	for _, m := range mirrors {
		out[m] = gone[m]
	}
	l.endUnmade(ctx, out)
	parts := map[*MirrorTopic][]*partition{}
	for _, m := range mirrors {
		parts[m] = m.unended()
	}
	l.locate(ctx, parts, out, again)
	// Recorded before the fence: a crash between the two must not find a fenced
	// mirror that believes it may go on. It is also what tells the other replicas.
	l.recordAll(ctx, out, func(m *MirrorTopic) (mirrorRecord, error) {
		r := m.record()
		r.Fenced, r.Unmade = true, false
		return r, m.replaced()
	})
	for m, err := range l.endOwned(ctx, without(out), false) {
		out[m] = err
	}
	l.awaitStops(ctx, out)
	l.openLedgers(ctx, out)
	if err := l.settleGroups(ctx, without(out)); err != nil {
		// No group keeps a mirror from ending; its state says what is wrong.
		l.log.Error("group offsets could not all be settled", "error", err)
	}
	done := l.recordAll(ctx, out, func(m *MirrorTopic) (mirrorRecord, error) {
		return m.next(status.StopFinished, func(r *mirrorRecord) { r.Intent, r.Reason = "", "" })
	})
	stopped()
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
	haltAll(mirrors)
	for _, m := range mirrors {
		parts[m], out[m] = m.unended(), nil
	}
	l.locate(ctx, parts, out, again)
	levels := l.fenceAll(ctx, parts, out)
	l.commitStops(ctx, parts, out, levels)
	return out
}

// recordAll writes the next record of each mirror that is still without error,
// in one transaction, and answers with those that were written.
func (l *Link) recordAll(ctx context.Context, mirrors map[*MirrorTopic]error, next func(*MirrorTopic) (mirrorRecord, error)) []*MirrorTopic {
	recs := map[*MirrorTopic]mirrorRecord{}
	var entries []state.Entry
	for _, m := range byName(without(mirrors)) { // in one order: others may lock some of them too
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
			mirrors[m] = fmt.Errorf("record %s of mirror topic %s: %w", rec.Status, rec.Topic, err)
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
	byTopic := map[string]*MirrorTopic{}
	for _, m := range without(mirrors) {
		byTopic[m.name()] = m
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
			mirrors[byTopic[tp.topic]] = fmt.Errorf("fence our writer on %s partition %d: %w", tp.topic, tp.partition, err)
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
