package link

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
)

// epochLimit is where a partition gets a new producer id: epochs are 16 bit.
const epochLimit = 32000

// refusals of a right batch in a row before the sequence is begun anew behind a
// fence: the broker has lost the producer's state or never had it.
const refusals = 3

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
