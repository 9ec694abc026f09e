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
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// epochLimit is where a partition gets a new producer id: epochs are 16 bit.
const epochLimit = 32000

// refusals of a right batch in a row before the sequence is begun anew behind a
// fence: the broker has lost the producer's state or never had it.
const refusals = 3

// resume finds out where the partition stands from the destination's own log
// and leaves position and map ready for the next batch (design: exactly once).
func (p *partition) resume(ctx context.Context) error {
	if err := p.place(ctx, false); err != nil {
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

// place reads the tail and finds the position there. It waits until the log end
// stands still on all in-sync replicas. fenced: nothing of ours can come to the log
// any more.
func (p *partition) place(ctx context.Context, fenced bool) error {
	if err := p.loadMap(); err != nil {
		return err
	}
	if err := p.sameTopic(ctx); err != nil {
		return err
	}
	for {
		t, err := p.mirror.link.mgr.tailOf(ctx, p)
		if err == nil {
			return p.settleAt(ctx, t, fenced)
		}
		var u *unsettled
		if !errors.As(err, &u) {
			return err
		}
		p.stall(u)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryMin):
		}
	}
}

func (p *partition) stall(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = why.Error()
}

// settleAt takes the position over that a tail says.
func (p *partition) settleAt(ctx context.Context, t tail, fenced bool) error {
	at, err := p.placed(t, false, fenced)
	if err != nil {
		return err
	}
	if err := p.mirror.link.mgr.put(ctx, p.shard, at.writes...); err != nil {
		return at.unwritten(err)
	}
	at.adopt()
	return nil
}

// landing is where a tail says that a partition stands.
type landing struct {
	p    *partition
	pos  position
	used int
	// kept is the map without the segments behind the first used, nil if none are to
	// go. writes remove them from the state topic, and note what emptied.go needs.
	kept   *offsetmap.Map
	writes []state.Entry
}

// placed finds the position of a tail. Segments that were written ahead of batches
// that are not in the log are cut off where these cannot come any more: fenced says
// so, or a marker of ours in the log. Else they stay (openSegments). tolerant: the
// mirror ends, data of others behind ours is no reason to stop any more, it stays
// where it is.
func (p *partition) placed(t tail, tolerant, fenced bool) (landing, error) {
	p.mu.Lock()
	m, old := p.omap, p.pos
	p.mu.Unlock()
	var pos position
	var used int
	var err error
	if t.ours {
		pos, used, err = p.locate(t, m, tolerant)
	} else {
		pos, used, err = p.emptied(t, m, old)
	}
	if err != nil {
		return landing{}, err
	}
	out := landing{p: p, used: used}
	if !fenced { // else the stop offsets follow
		if out.writes, err = p.noteMarkers(pos); err != nil {
			return landing{}, err
		}
	}
	if segs := m.Segments(); used < len(segs) {
		// The mutants must not be saved by the fence.
		if fenced || segs[used].ProducerEpoch < pos.stamp.ProducerEpoch || mutant == "resume-at-high-watermark" || mutant == "sequence-from-zero" {
			// What they were written ahead of will never land.
			cut, err := trimEntries(p.mirror.link.mgr.store, p.mirror.topicID(), p.n, segs[used].DestStart)
			if err != nil {
				return landing{}, err
			}
			out.writes = append(out.writes, cut...)
			if out.kept, err = offsetmap.New(segs[:used]); err != nil {
				return landing{}, p.illegal("%v", err)
			}
		}
	}
	pos.source = max(pos.source, p.gapTo) // nothing is left to read before it
	if old.known && !old.heard && old.dest-old.markers == pos.dest-pos.markers {
		// The same records stand there: what was skipped behind them (markers,
		// aborted data) needs no second look. What another replica skipped does: under
		// which leader epoch it was read is not told.
		pos.source, pos.read = max(pos.source, old.source), max(pos.read, old.read)
	}
	pos.known = true
	if mutant == "resume-at-high-watermark" {
		// As an engine would that takes a new epoch to shut former writers out:
		// the broker then takes whatever comes first.
		newest, _ := m.Last()
		pos.stamp, pos.continues = batch.Stamp{ProducerID: pos.stamp.ProducerID, ProducerEpoch: newest.ProducerEpoch + 1}, -1
	}
	out.pos = pos
	return out, nil
}

// unwritten is the error of writes that failed.
func (a landing) unwritten(err error) error {
	return fmt.Errorf("record where the log of %s partition %d ends: %w", a.p.dst.topic, a.p.n, err)
}

// adopt makes it the partition's position, its writes being done.
func (a landing) adopt() {
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	a.p.pos, a.p.used = a.pos, a.used
	if a.kept != nil {
		a.p.omap = a.kept
	}
}

// sameTopic refuses a topic that is not the one the mirror was made with: the
// engine would fill it again from where this one begins.
func (p *partition) sameTopic(ctx context.Context) error {
	local := p.mirror.link.mgr.local
	_, id, err := local.leader(ctx, p.dst.topic, p.n)
	if err != nil {
		return err
	}
	rec := p.mirror.record()
	if rec.sameTopic(id) {
		return nil
	}
	// What is known here may be the topic before: a topic that was deleted for a
	// rebuild, whose mirror another replica made. Only the cluster's answer of now tells.
	if err := local.refresh(ctx, p.dst.topic); err != nil {
		return err
	}
	if _, id, err = local.leader(ctx, p.dst.topic, p.n); err != nil {
		return err
	}
	if rec = p.mirror.record(); !rec.sameTopic(id) {
		return topicGone(rec, "was deleted and made anew by somebody else")
	}
	return nil
}

// loadMap is readMap, once in a life (launch).
func (p *partition) loadMap() error {
	p.mu.Lock()
	loaded := p.omap != nil
	p.mu.Unlock()
	if loaded {
		return nil
	}
	return p.readMap()
}

// readMap reads the segments from the state topic's memory, which has all that
// owners of the shard wrote if this replica owns it. What is here may be older: what
// was heard of another replica, or known before that one had the partition.
func (p *partition) readMap() error {
	p.mu.Lock()
	defer p.mu.Unlock()
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

// locate maps a tail with a record of ours to a position (emptied the others). used
// is the number of segments up to it; those behind were written ahead of batches
// that are not in the log. tolerant: records of others may stand between ours, which
// then lie further behind than the segments say; the sequence still tells which
// record of the source is last.
func (p *partition) locate(t tail, m *offsetmap.Map, tolerant bool) (pos position, used int, err error) {
	segs := m.Segments()
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
		if err := p.place(ctx, true); err != nil {
			return err
		}
		p.stale, p.unsure = false, 0
		return nil
	}
	if err != nil {
		return fmt.Errorf("fence %s partition %d before its sequence begins anew: %w", p.dst.topic, p.n, err)
	}
	p.refused = 0
	if err := p.place(ctx, false); err != nil {
		return err
	}
	p.stale, p.unsure = false, 0
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
