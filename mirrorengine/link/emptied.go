package link

import (
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// A log that holds no record of ours any more, since retention took all or none was
// written yet, tells by its start how many offsets are gone, but not which of them
// were markers. Those before which a record was written are in the segments (Skip).
// Of those at the end a partition knows by its position, or, where another process
// read them, by what that noted in the state topic.

// markersNote is what a position knows of the markers before it.
func (pos position) markersNote() markersRecord {
	return markersRecord{pos.markers, pos.dest, pos.stamp.ProducerID, pos.stamp.ProducerEpoch, pos.stamp.BaseSequence}
}

// noteMarkers are the writes that note the markers before a position.
func (p *partition) noteMarkers(pos position) ([]state.Entry, error) {
	if pos.markers == 0 {
		return nil, nil
	}
	key, note := markersKey(p.mirror.topicID(), p.n), pos.markersNote()
	var noted markersRecord
	if _, err := p.mirror.link.mgr.store.Get(key, &noted); err != nil || noted == note {
		return nil, err
	}
	return []state.Entry{{Key: key, Value: note}}, nil
}

// remembered is what is known of the markers before a log start, by the position
// before or by the note. Both may be of long ago: they count only if the log starts
// within what they speak of. Nothing of ours stands behind the log start then, so
// that it ended where they say.
func (p *partition) remembered(start int64, old position) (markersRecord, bool, error) {
	if old.known && !old.heard && start <= old.dest {
		return old.markersNote(), true, nil
	}
	var noted markersRecord
	ok, err := p.mirror.link.mgr.store.Get(markersKey(p.mirror.topicID(), p.n), &noted)
	return noted, ok && start <= noted.End, err
}

// emptied maps a tail without a record of ours to a position, as locate does the
// others.
func (p *partition) emptied(t tail, m *offsetmap.Map, old position) (pos position, used int, err error) {
	segs := m.Segments()
	_, first := p.ownership()
	end := max(first, t.start) // behind our last record
	was, known, err := p.remembered(t.start, old)
	if err != nil {
		return pos, 0, err
	}
	if known {
		end = max(first, min(end, was.End-was.Count))
	}
	last := max(first, end-1)
	seg, ok := m.At(last)
	if !ok {
		return pos, 0, p.illegal("no segment begins at %d", first)
	}
	used = upTo(segs, last)
	records := end - seg.DestStart
	if used < len(segs) {
		records = min(records, segs[used].DestStart-segs[used].Skip-seg.DestStart)
	}
	pos = position{
		source: seg.SourceStart + records, dest: seg.DestStart + records, epoch: seg.SourceLeaderEpoch, read: -1,
		stamp: batch.Stamp{ProducerID: seg.ProducerID, ProducerEpoch: seg.ProducerEpoch, BaseSequence: seg.Sequence(seg.DestStart + records)},
	}
	pos.continues = pos.source
	if records > 0 {
		pos.read = seg.SourceLeaderEpoch
	}
	pos = p.behindMarkers(pos, t)
	switch {
	case t.epoch >= 0: // a marker of ours is left, and has told
	case used < len(segs) && segs[used].DestStart == pos.dest:
		next := segs[used] // written ahead
		pos.stamp = batch.Stamp{ProducerID: next.ProducerID, ProducerEpoch: next.ProducerEpoch, BaseSequence: next.FirstSequence}
	case known && was.End == pos.dest:
		pos.stamp = batch.Stamp{ProducerID: was.ProducerID, ProducerEpoch: was.ProducerEpoch, BaseSequence: was.FirstSequence}
	}
	if mutant == "sequence-from-zero" {
		pos.stamp.BaseSequence = 0
	}
	return pos, used, nil
}
