package offsetmap

// Reverse is the map of the way back: what was the destination is the source.
// sourceEnd and destEnd are the stop offsets of the mirror that ended, in its
// own roles: below them everything is mirrored.
//
// Source offsets without a mirrored record become Skip, and the offsets that
// were skipped become holes of the new source. What lay before the first segment
// is not spoken of. Producer fields and leader epoch are -1, since it was not
// the engine that wrote those records.
//
// If records do not reach both ends (a marker that fenced our writer, control
// batches at the end of the source) a last segment is added that starts at both
// ends, so that the mirror back goes on right there: its first record, from
// source offset destEnd, is to stand at destination offset sourceEnd. If it
// comes to stand further behind, append a segment with as much Skip. The reverse
// of an empty map is empty.
func (m *Map) Reverse(sourceEnd, destEnd int64) *Map {
	r := &Map{}
	var endSource, endDest int64 // behind the last record, in the old roles
	for i, s := range m.segs {
		if s.SourceStart > sourceEnd || s.DestStart > destEnd {
			break
		}
		skip := int64(0)
		if i > 0 {
			skip = s.SourceStart - endSource
		}
		r.segs = append(r.segs, reversed(s.DestStart, s.SourceStart, skip))
		// The last segment's end is not stored. Where neither end bounds the records
		// (both logs go on without any) the two tails are laid over each other, which
		// moves no record.
		n := min(m.records(i), sourceEnd-s.SourceStart, destEnd-s.DestStart)
		endSource, endDest = s.SourceStart+n, s.DestStart+n
	}
	if len(r.segs) > 0 && (endSource < sourceEnd || endDest < destEnd) {
		r.segs = append(r.segs, reversed(destEnd, sourceEnd, sourceEnd-endSource))
	}
	return r
}

func reversed(sourceStart, destStart, skip int64) Segment {
	return Segment{
		SourceStart: sourceStart, DestStart: destStart, Skip: skip,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, SourceLeaderEpoch: -1,
	}
}
