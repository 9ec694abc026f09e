// Package offsetmap translates offsets between a source partition and its
// mirror, exactly and at any lag, in both directions.
//
// A mirror holds the source's records in order, but not always at the same
// offsets: the source has holes (compaction, transaction markers, aborted data),
// and the mirror has offsets without records (markers that fenced a writer). A
// Map is the list of the stretches, Segments, in which both count alike. The
// engine writes a segment ahead of the first batch that needs it, so that every
// record in the mirror can be led back to its source offset after any crash.
//
// It does no I/O, keeps no group offsets and does not know where the logs end:
// callers give the ends. Start at Map; Reverse is for the way home. A Map has one
// owner; it is not safe for use by several goroutines.
//
//	source  0 1 2 3 4 . . 7 8 . 10 11        . compacted away
//	mirror  0 1 2 3 4 5 6 m 8 9              m our marker
//	segments {source 0, dest 0} {source 7, dest 5} {source 10, dest 8, skip 1}
package offsetmap

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Segment says that from DestStart on our records stand one after another and
// that the record at DestStart+i has source offset SourceStart+i, until the next
// segment begins (or its Skip). A segment may hold no record: it was written
// ahead and superseded before anything landed.
type Segment struct {
	SourceStart int64 `json:"source_start"`
	DestStart   int64 `json:"dest_start"`
	// Skip is the number of destination offsets right before DestStart, behind the
	// previous segment's last record, that hold no record of the mirror: markers,
	// or in a map of a rejoined cluster the tail that was never mirrored.
	Skip int64 `json:"skip"`
	// ProducerID, ProducerEpoch and FirstSequence are what the record at DestStart
	// was produced with; -1 where the engine did not produce it (Reverse).
	ProducerID    int64 `json:"producer_id"`
	ProducerEpoch int16 `json:"producer_epoch"`
	FirstSequence int32 `json:"first_sequence"`
	// SourceLeaderEpoch is the source leader's when the segment was begun, -1 if unknown.
	SourceLeaderEpoch int32 `json:"source_leader_epoch"`
}

// Sequence is the sequence number of the record at dest, which must not lie
// before DestStart. Kafka counts from 0 to 2^31-1 and goes on at 0. It is -1 if
// the engine did not produce the segment.
func (s Segment) Sequence(dest int64) int32 {
	if s.ProducerID < 0 {
		return -1
	}
	return int32((int64(s.FirstSequence) + (dest - s.DestStart)) & math.MaxInt32)
}

// validate checks a segment by itself.
func (s Segment) validate() error {
	switch {
	case s.SourceStart < 0 || s.DestStart < 0:
		return fmt.Errorf("starts at source offset %d and destination offset %d, neither may be negative", s.SourceStart, s.DestStart)
	case s.Skip < 0 || s.Skip > s.DestStart:
		return fmt.Errorf("skips %d offsets before destination offset %d", s.Skip, s.DestStart)
	case s.ProducerID < -1 || s.SourceLeaderEpoch < -1:
		return fmt.Errorf("producer id %d, source leader epoch %d: below -1", s.ProducerID, s.SourceLeaderEpoch)
	case s.ProducerID >= 0 && (s.ProducerEpoch < 0 || s.FirstSequence < 0):
		return fmt.Errorf("producer id %d has epoch %d and first sequence %d, neither may be negative", s.ProducerID, s.ProducerEpoch, s.FirstSequence)
	}
	return nil
}

// follows checks that s can stand behind prev.
func (s Segment) follows(prev Segment) error {
	records := s.DestStart - s.Skip - prev.DestStart
	if records < 0 {
		return fmt.Errorf("destination offset %d with %d skipped lies before the previous segment's start %d", s.DestStart, s.Skip, prev.DestStart)
	}
	if s.SourceStart-prev.SourceStart < records {
		return fmt.Errorf("source offset %d lies within the previous segment, which holds %d records from source offset %d on", s.SourceStart, records, prev.SourceStart)
	}
	return nil
}

// Map is the segments of one mirrored partition, ascending. The zero value is
// empty and ready to use.
type Map struct {
	segs []Segment
}

// ErrInvalid is in every error about segments that contradict themselves or each
// other: the stored mapping cannot be trusted, and nothing may be mirrored by it.
var ErrInvalid = errors.New("invalid offset map")

// New makes a map of segments in ascending order, and checks that each begins
// behind the records of the one before, in both logs.
func New(segs []Segment) (*Map, error) {
	m := &Map{segs: make([]Segment, 0, len(segs))}
	for _, s := range segs {
		if err := m.Append(s); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Append adds a segment behind all others.
func (m *Map) Append(s Segment) error {
	err := s.validate()
	if n := len(m.segs); err == nil && n > 0 {
		err = s.follows(m.segs[n-1])
	}
	if err != nil {
		return fmt.Errorf("%w: segment %d: %w", ErrInvalid, len(m.segs)+1, err)
	}
	m.segs = append(m.segs, s)
	return nil
}

// Segments returns a copy.
func (m *Map) Segments() []Segment { return slices.Clone(m.segs) }

// Len is the number of segments.
func (m *Map) Len() int { return len(m.segs) }

// Last is the segment that the next record belongs to; false if the map is empty.
func (m *Map) Last() (Segment, bool) {
	if len(m.segs) == 0 {
		return Segment{}, false
	}
	return m.segs[len(m.segs)-1], true
}

// At is the segment with the largest start at or before dest; false if dest lies
// before the first. For an offset that a later segment skips it is the one before.
func (m *Map) At(dest int64) (Segment, bool) {
	i := m.atDest(dest)
	if i < 0 {
		return Segment{}, false
	}
	return m.segs[i], true
}

// atDest is the index of the last segment that starts at or before dest, or -1.
func (m *Map) atDest(dest int64) int {
	return sort.Search(len(m.segs), func(i int) bool { return m.segs[i].DestStart > dest }) - 1
}

// records is the number of records in segment i; unbounded in the last.
func (m *Map) records(i int) int64 {
	if i == len(m.segs)-1 {
		return math.MaxInt64
	}
	next := m.segs[i+1]
	return next.DestStart - next.Skip - m.segs[i].DestStart
}

// ToSource is the source offset of the record at dest. If no record of the
// mirror is there it is a position: every record before dest comes from before
// it, every later one from it or behind. Before the first segment that is the
// start of the mirror.
//
// The last segment has no end here. If markers stand behind its last record, ask
// for the offset behind that record and not for the log end, which would count
// the markers as records. An empty map answers 0.
func (m *Map) ToSource(dest int64) int64 {
	i := m.atDest(dest)
	if i < 0 {
		if len(m.segs) == 0 {
			return 0
		}
		return m.segs[0].SourceStart
	}
	return add(m.segs[i].SourceStart, min(dest-m.segs[i].DestStart, m.records(i)))
}

// ToDest is where a group goes on in the mirror that has committed src at the
// source, its next offset to read: the smallest destination offset whose record
// has a source offset >= src (in a reversed map it may be an earlier offset that
// holds no record of the mirror). sourceEnd and destEnd are how far the mirror has
// come: source offsets below sourceEnd are dealt with, destination offsets below
// destEnd are written. A group ahead of the mirror is clamped to destEnd, and
// has to be translated again later; a group at sourceEnd stands at destEnd.
func (m *Map) ToDest(src, sourceEnd, destEnd int64) (dest int64, clamped bool) {
	if src >= sourceEnd || len(m.segs) == 0 {
		return destEnd, src > sourceEnd
	}
	i := sort.Search(len(m.segs), func(i int) bool { return m.segs[i].SourceStart > src }) - 1
	within := int64(0)
	if i >= 0 {
		within = src - m.segs[i].SourceStart
	} else {
		i = 0
	}
	// Behind the segment's last record the answer is the next record there is, and
	// that is the first of the next segment that holds any.
	for i < len(m.segs)-1 && within >= m.records(i) {
		i, within = i+1, 0
	}
	return min(add(m.segs[i].DestStart, within), destEnd), false
}

// TruncateDest follows a destination log that lost its tail and now ends at end
// (an unclean election). Afterwards the map says where mirroring goes on there.
//
// Segments with records only behind end go. One that starts exactly at end
// stays: everything before it is still in the log, the skipped markers too, and
// without it those would be taken for records and as many source records would
// never be mirrored. For the same reason one whose skipped offsets were cut
// stays, shortened to start at end. The first segment always stays, moved back
// to end if need be: then nothing of the mirror is left, and it begins again
// where it began. Its producer fields must be checked against the broker then.
func (m *Map) TruncateDest(end int64) {
	i := m.atDest(end) + 1 // first segment that starts behind end
	if i == len(m.segs) {
		return
	}
	s := m.segs[i]
	if markers := s.Skip - (s.DestStart - end); i == 0 || markers > 0 {
		s.DestStart, s.Skip = max(end, 0), max(markers, 0)
		m.segs[i] = s
		i++
	}
	m.segs = m.segs[:i]
}

// add is a+b for b >= 0, held at the largest offset.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
