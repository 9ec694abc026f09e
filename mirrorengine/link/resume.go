package link

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
)

// epochLimit is where a partition gets a new producer id: epochs are 16 bit.
const epochLimit = 32000

// refusals of a right batch in a row before the sequence is begun anew behind a
// fence: the broker has lost the producer's state or never had it.
const refusals = 3

// tail is what the end of the destination's log says.
type tail struct {
	end      int64 // true log end, replicated to every in-sync replica
	start    int64 // log start
	last     batch.Batch
	ours     bool  // last is a data batch of ours
	epoch    int16 // highest epoch of our markers behind it, -1 without
	markerID int64
}

// resume finds out where the partition stands from the destination's own log
// and leaves position and map ready for the next batch (design: exactly once).
func (p *partition) resume(ctx context.Context) error {
	if err := p.place(ctx, false, false); err != nil {
		return err
	}
	p.mu.Lock()
	at := p.pos
	p.mu.Unlock()
	if err := p.sourceKept(ctx, at); err != nil {
		return err
	}
	if (p.refused >= refusals || p.stale) && mutant != "sequence-from-zero" {
		p.mu.Lock()
		pos := p.pos
		p.mu.Unlock()
		return p.restartSequence(ctx, pos)
	}
	return nil
}

// settle is resume for a mirror that ends: data of others behind ours is no
// reason to stop any more, it stays where it is. fenced: nothing of ours can come
// to the log any more.
func (p *partition) settle(ctx context.Context, fenced bool) error { return p.place(ctx, true, fenced) }

// place reads the tail and finds the position there. Segments that were written
// ahead of batches that are not in the log are cut off where these cannot come
// any more: fenced says so, or a marker of ours in the log. Else they stay
// (openSegments).
func (p *partition) place(ctx context.Context, tolerant, fenced bool) error {
	if err := p.loadMap(); err != nil {
		return err
	}
	if err := p.sameTopic(ctx); err != nil {
		return err
	}
	t, err := p.readTail(ctx, tolerant)
	if err != nil {
		return err
	}
	p.mu.Lock()
	m, old := p.omap, p.pos
	p.mu.Unlock()
	pos, used, err := p.locate(t, m, tolerant)
	if err != nil {
		return err
	}
	if segs := m.Segments(); used < len(segs) {
		// The mutants must not be saved by the fence.
		if fenced || segs[used].ProducerEpoch < pos.stamp.ProducerEpoch || mutant == "resume-at-high-watermark" || mutant == "sequence-from-zero" {
			if err := p.trim(ctx, segs, used); err != nil {
				return err
			}
		}
	}
	pos.source = max(pos.source, p.gapTo) // nothing is left to read before it
	if old.known && old.dest-old.markers == pos.dest-pos.markers {
		// The same records stand there: what was skipped behind them (markers,
		// aborted data) needs no second look.
		pos.source, pos.read = max(pos.source, old.source), max(pos.read, old.read)
	}
	pos.known = true
	if mutant == "resume-at-high-watermark" {
		// As an engine would that takes a new epoch to shut former writers out:
		// the broker then takes whatever comes first.
		newest, _ := m.Last()
		pos.stamp, pos.continues = batch.Stamp{ProducerID: pos.stamp.ProducerID, ProducerEpoch: newest.ProducerEpoch + 1}, -1
	}
	p.mu.Lock()
	p.pos, p.used = pos, used
	p.mu.Unlock()
	return nil
}

// sameTopic refuses a topic that is not the one the mirror was made with: the
// engine would fill it again from where this one begins.
func (p *partition) sameTopic(ctx context.Context) error {
	_, id, err := p.mirror.link.mgr.local.leader(ctx, p.dst.topic, p.n)
	if err != nil {
		return err
	}
	if rec := p.mirror.record(); !rec.sameTopic(id) {
		return topicGone(rec, "was deleted and made anew by somebody else")
	}
	return nil
}

// loadMap reads the segments from the state topic's memory, once.
func (p *partition) loadMap() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.omap != nil {
		return nil
	}
	segs, err := loadSegments(p.mirror.link.mgr.store, p.mirror.topicID(), p.n)
	if err != nil {
		return err
	}
	if len(segs) == 0 {
		return &failure{api.MirrorErrorIllegalState, fmt.Sprintf("%s partition %d has no segment in the state topic", p.dst.topic, p.n)}
	}
	if p.omap, err = offsetmap.New(segs); err != nil {
		return &failure{api.MirrorErrorIllegalState, fmt.Sprintf("%s partition %d: segments in the state topic: %v", p.dst.topic, p.n, err)}
	}
	return nil
}

// readTail waits until the log end stands still on all in-sync replicas, then
// reads back from it to the last data batch of ours.
func (p *partition) readTail(ctx context.Context, tolerant bool) (tail, error) {
	local := p.mirror.link.mgr.local
	var t tail
	var err error
	if t.end, err = p.settledEnd(ctx); err != nil {
		return t, err
	}
	if t.start, err = local.offset(ctx, replicaConsumer, offsetEarliest, p.dst.topic, p.n); err != nil {
		return t, err
	}
	t.epoch, t.markerID = -1, -1
	own, first := p.ownership()
	for at := t.end; at > max(t.start, first); {
		b, ok, err := p.fetchBack(ctx, at-1)
		if err != nil {
			return t, err
		}
		if !ok {
			break
		}
		switch {
		case b.LastOffset() < first:
			return t, nil
		case b.IsControl():
			if own[b.ProducerID()] && b.ProducerEpoch() >= t.epoch {
				t.epoch, t.markerID = b.ProducerEpoch(), b.ProducerID()
			}
		case own[b.ProducerID()]:
			t.last, t.ours = b, true
			return t, nil
		case !tolerant:
			return t, p.foreign(b.BaseOffset(), t.end)
		}
		at = b.BaseOffset()
	}
	return t, nil
}

// settledEnd is the true log end once the high watermark has reached it: no
// fetch shows what lies between, and an old batch of ours may be there.
func (p *partition) settledEnd(ctx context.Context) (int64, error) {
	local := p.mirror.link.mgr.local
	if mutant == "resume-at-high-watermark" {
		return local.offset(ctx, replicaConsumer, offsetLatest, p.dst.topic, p.n)
	}
	for {
		end, err := local.offset(ctx, replicaDebug, offsetLatest, p.dst.topic, p.n)
		if err != nil {
			return 0, err
		}
		hw, err := local.offset(ctx, replicaConsumer, offsetLatest, p.dst.topic, p.n)
		if err != nil {
			return 0, err
		}
		again, err := local.offset(ctx, replicaDebug, offsetLatest, p.dst.topic, p.n)
		if err != nil {
			return 0, err
		}
		if end == again && hw >= end {
			return end, nil
		}
		p.mu.Lock()
		p.stalled = fmt.Sprintf("waiting for the destination's replicas: high watermark %d, log end %d", hw, again)
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(retryMin):
		}
	}
}

// ownership: the producer ids that are ours in this log, and the offset before
// which nothing can be ours (a mirror that rejoined an existing topic).
func (p *partition) ownership() (map[int64]bool, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := map[int64]bool{}
	first := int64(-1)
	for _, s := range p.omap.Segments() {
		if s.ProducerID < 0 {
			continue // reversed: written by the other direction
		}
		own[s.ProducerID] = true
		if first < 0 {
			first = s.DestStart
		}
	}
	return own, max(first, 0)
}

// fetchBack reads the batch that holds an offset of the destination's log.
func (p *partition) fetchBack(ctx context.Context, offset int64) (batch.Batch, bool, error) {
	local := p.mirror.link.mgr.local
	broker, id, err := local.leader(ctx, p.dst.topic, p.n)
	if err != nil {
		return batch.Batch{}, false, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxBytes = 1 // at least one batch comes, whatever the limit (KIP-74)
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = p.dst.topic, id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = p.n, offset, 1, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := request[*kmsg.FetchResponse](ctx, local, broker, req)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return batch.Batch{}, false, fmt.Errorf("read back %s partition %d at %d: %w", p.dst.topic, p.n, offset, errors.Join(err, ctx.Err()))
	}
	got := res.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return batch.Batch{}, false, fmt.Errorf("read back %s partition %d at %d: %w", p.dst.topic, p.n, offset, err)
	}
	batches, err := batch.Split(got.RecordBatches)
	if err != nil {
		return batch.Batch{}, false, fmt.Errorf("read back %s partition %d at %d: %w", p.dst.topic, p.n, offset, err)
	}
	for _, b := range batches {
		if b.LastOffset() >= offset {
			return b, true, nil
		}
	}
	return batch.Batch{}, false, nil
}

// locate maps the tail to a position. used is the number of segments up to it;
// those behind were written ahead of batches that are not in the log. tolerant:
// records of others may stand between ours, which then lie further behind than
// the segments say; the sequence still tells which record of the source is last.
func (p *partition) locate(t tail, m *offsetmap.Map, tolerant bool) (pos position, used int, err error) {
	segs := m.Segments()
	if !t.ours {
		// Nothing of ours stands in the log: the first segment of ours begins, or
		// retention has deleted what we wrote.
		_, first := p.ownership()
		at, ok := m.At(first)
		if !ok {
			return pos, 0, p.illegal("no segment begins at %d", first)
		}
		pos = position{
			source: at.SourceStart, dest: at.DestStart, continues: at.SourceStart, epoch: at.SourceLeaderEpoch, read: -1,
			stamp: batch.Stamp{ProducerID: at.ProducerID, ProducerEpoch: at.ProducerEpoch, BaseSequence: at.FirstSequence},
		}
		if t.end > first && t.start >= t.end {
			last := segs[len(segs)-1]
			pos.source = m.ToSource(t.end)
			pos.continues, pos.dest = pos.source, t.end
			pos.epoch, pos.read = last.SourceLeaderEpoch, last.SourceLeaderEpoch
			pos.stamp = batch.Stamp{ProducerID: last.ProducerID, ProducerEpoch: last.ProducerEpoch, BaseSequence: last.Sequence(t.end)}
			return p.behindMarkers(pos, t), len(segs), nil
		}
		if mutant == "sequence-from-zero" {
			pos.stamp.BaseSequence = 0
		}
		return p.behindMarkers(pos, t), upTo(segs, first), nil
	}
	end := t.last.LastOffset()
	at := end // where the segments have the last record
	seg, ok := m.At(end)
	if !ok || seg.ProducerID != t.last.ProducerID() || seg.ProducerEpoch != t.last.ProducerEpoch() || seg.Sequence(end) != t.last.LastSequence() {
		i, due := bySequence(segs, t.last)
		if !tolerant || i < 0 {
			return pos, 0, p.illegal("the last batch (offset %d, producer %d epoch %d sequence %d) is not what the segments say (%+v)",
				end, t.last.ProducerID(), t.last.ProducerEpoch(), t.last.LastSequence(), seg)
		}
		seg, at = segs[i], due
	}
	pos.source = m.ToSource(at) + 1
	pos.continues = pos.source
	pos.epoch, pos.read = seg.SourceLeaderEpoch, seg.SourceLeaderEpoch
	pos.dest = end + 1
	pos.stamp = batch.Stamp{ProducerID: seg.ProducerID, ProducerEpoch: seg.ProducerEpoch, BaseSequence: batch.NextSequence(t.last.LastSequence(), 1)}
	if mutant == "sequence-from-zero" {
		pos.stamp.BaseSequence = 0
	}
	return p.behindMarkers(pos, t), upTo(segs, at), nil
}

// bySequence finds the segment that holds the last record of a batch, and the
// offset where it was due, by its sequence alone; -1 if none does.
func bySequence(segs []offsetmap.Segment, b batch.Batch) (i int, due int64) {
	for i = len(segs) - 1; i >= 0; i-- {
		s := segs[i]
		if s.ProducerID != b.ProducerID() || s.ProducerEpoch != b.ProducerEpoch() {
			continue
		}
		due = s.DestStart + (int64(b.LastSequence())-int64(s.FirstSequence))&math.MaxInt32
		if due <= b.LastOffset() && (i == len(segs)-1 || due < segs[i+1].DestStart-segs[i+1].Skip) {
			return i, due
		}
	}
	return -1, 0
}

// upTo is the number of segments that start at or before dest.
func upTo(segs []offsetmap.Segment, dest int64) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].DestStart > dest })
}

// behindMarkers moves a position over the markers at the log's end; it then
// needs a new segment, which the next batch opens (continues matches none).
func (p *partition) behindMarkers(pos position, t tail) position {
	if mutant == "resume-at-high-watermark" || t.end <= pos.dest {
		return pos
	}
	pos.markers = t.end - pos.dest
	pos.dest = t.end
	pos.continues = -1
	if t.epoch > pos.stamp.ProducerEpoch || t.markerID >= 0 && t.markerID != pos.stamp.ProducerID {
		pos.stamp = batch.Stamp{ProducerID: pos.stamp.ProducerID, ProducerEpoch: max(t.epoch, pos.stamp.ProducerEpoch)}
	}
	return pos
}

// trim removes the segments behind the first used: what they were written ahead
// of will never land.
func (p *partition) trim(ctx context.Context, segs []offsetmap.Segment, used int) error {
	mgr := p.mirror.link.mgr
	entries, err := trimEntries(mgr.store, p.mirror.topicID(), p.n, segs[used].DestStart)
	if err != nil {
		return err
	}
	if err := mgr.put(ctx, p.shard, entries...); err != nil {
		return fmt.Errorf("trim segments of %s partition %d: %w", p.dst.topic, p.n, err)
	}
	trimmed, err := offsetmap.New(segs[:used])
	if err != nil {
		return p.illegal("%v", err)
	}
	p.mu.Lock()
	p.omap = trimmed
	p.mu.Unlock()
	return nil
}

// restartSequence goes on with a new epoch behind a fence. It is for a broker
// that refuses the right batch again and again, since it has lost the producer's
// state, and for batches of an earlier try that must not come any more. What
// landed before the fence is read like any other tail.
func (p *partition) restartSequence(ctx context.Context, pos position) error {
	mgr := p.mirror.link.mgr
	res := mgr.fence(ctx, []fenceTarget{{p.dst, pos.stamp}})
	err := res[p.dst]
	if p.stale && errors.Is(err, kerr.ClusterAuthorizationFailed) {
		// Waited out instead, as at a mirror's end (fenceAll).
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lateProduce):
		}
		if err := p.place(ctx, false, true); err != nil {
			return err
		}
		p.stale = false
		return nil
	}
	if err != nil {
		return fmt.Errorf("fence %s partition %d before its sequence begins anew: %w", p.dst.topic, p.n, err)
	}
	p.refused = 0
	if err := p.place(ctx, false, false); err != nil {
		return err
	}
	p.stale = false
	if pos.stamp.ProducerEpoch+1 < epochLimit {
		return nil
	}
	id, err := mgr.newProducerID(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pos.stamp, p.pos.continues = batch.Stamp{ProducerID: id}, -1
	return nil
}

func (p *partition) illegal(format string, args ...any) error {
	return &failure{api.MirrorErrorIllegalState, fmt.Sprintf("%s partition %d: %s; the state topic and the log disagree: delete the topic and create the mirror again", p.dst.topic, p.n, fmt.Sprintf(format, args...))}
}
