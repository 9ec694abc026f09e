package offsetmap

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example is the picture of the package doc: a hole in the source behind 4 and
// one behind 8, our marker at destination offset 7.
func example(t *testing.T) *Map {
	t.Helper()
	m, err := New([]Segment{
		{SourceStart: 0, DestStart: 0, ProducerID: 9, SourceLeaderEpoch: 3},
		{SourceStart: 7, DestStart: 5, ProducerID: 9, FirstSequence: 5},
		{SourceStart: 10, DestStart: 8, Skip: 1, ProducerID: 9, ProducerEpoch: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestToSourceGivesTheRecordOrWhereItGoesOn(t *testing.T) {
	m := example(t)
	want := []int64{0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13}
	for dest, src := range want {
		if got := m.ToSource(int64(dest)); got != src {
			t.Errorf("ToSource(%d) = %d, want %d", dest, got, src)
		}
	}
	if got := new(Map).ToSource(5); got != 0 {
		t.Errorf("an empty map says %d", got)
	}
	late, err := New([]Segment{{SourceStart: 500, DestStart: 20, Skip: 3}})
	if err != nil {
		t.Fatal(err)
	}
	if got := late.ToSource(4); got != 500 {
		t.Errorf("before the first segment: %d, want 500", got)
	}
	if got := late.ToSource(math.MaxInt64); got != math.MaxInt64 {
		t.Errorf("at the largest offset: %d", got)
	}
}

func TestToDestGivesTheNextRecordToReadClampedToWhatIsMirrored(t *testing.T) {
	m := example(t)
	// Records at destination 0-6, 8, 9; source end 14 (holes behind 11), log end 10.
	for src, want := range []int64{0, 1, 2, 3, 4, 5, 5, 5, 6, 8, 8, 9, 10, 10, 10} {
		if got, clamped := m.ToDest(int64(src), 14, 10); got != want || clamped {
			t.Errorf("ToDest(%d) = %d, clamped %v; want %d", src, got, clamped, want)
		}
	}
	if got, clamped := m.ToDest(15, 14, 10); got != 10 || !clamped {
		t.Errorf("a group ahead of the mirror: %d, clamped %v", got, clamped)
	}
	if got, clamped := new(Map).ToDest(3, 0, 0); got != 0 || !clamped {
		t.Errorf("an empty mirror: %d, clamped %v", got, clamped)
	}
}

func TestAtAndLastFindTheSegment(t *testing.T) {
	m := example(t)
	for dest, want := range map[int64]int64{0: 0, 4: 0, 5: 7, 7: 7, 8: 10, 99: 10} {
		if s, ok := m.At(dest); !ok || s.SourceStart != want {
			t.Errorf("At(%d) = %+v, %v", dest, s, ok)
		}
	}
	if _, ok := m.At(-1); ok {
		t.Error("a segment before the first")
	}
	if s, ok := m.Last(); !ok || s.SourceStart != 10 || m.Len() != 3 {
		t.Errorf("Last = %+v of %d", s, m.Len())
	}
	if _, ok := new(Map).Last(); ok {
		t.Error("an empty map has a last segment")
	}
	m.Segments()[0].DestStart = 99
	if s, _ := m.At(0); s.DestStart != 0 {
		t.Error("Segments gave the map's own memory away")
	}
}

func TestSequenceWrapsAsKafkasDoes(t *testing.T) {
	s := Segment{DestStart: 100, FirstSequence: math.MaxInt32 - 1}
	for dest, want := range map[int64]int32{100: math.MaxInt32 - 1, 101: math.MaxInt32, 102: 0, 103: 1, 100 + 1<<31: math.MaxInt32 - 1} {
		if got := s.Sequence(dest); got != want {
			t.Errorf("Sequence(%d) = %d, want %d", dest, got, want)
		}
	}
	if got := (Segment{ProducerID: -1}).Sequence(5); got != -1 {
		t.Errorf("records that are not ours have sequence %d", got)
	}
}

func TestNewRefusesSegmentsThatContradictEachOther(t *testing.T) {
	first := Segment{SourceStart: 10, DestStart: 10}
	for name, tc := range map[string]struct {
		segs []Segment
		says string
	}{
		"source goes back":          {[]Segment{first, {SourceStart: 9, DestStart: 10}}, "segment 2: source offset 9"},
		"source inside the former":  {[]Segment{first, {SourceStart: 14, DestStart: 15}}, "holds 5 records"},
		"destination goes back":     {[]Segment{first, {SourceStart: 20, DestStart: 9}}, "segment 2: destination offset 9"},
		"skips into the former":     {[]Segment{first, {SourceStart: 20, DestStart: 12, Skip: 3}}, "3 skipped"},
		"negative source":           {[]Segment{{SourceStart: -1}}, "segment 1"},
		"negative destination":      {[]Segment{{DestStart: -1}}, "negative"},
		"negative skip":             {[]Segment{{DestStart: 5, Skip: -1}}, "skips -1"},
		"skips before the log":      {[]Segment{{DestStart: 5, Skip: 6}}, "skips 6"},
		"producer without an epoch": {[]Segment{{ProducerID: 1, ProducerEpoch: -1}}, "epoch -1"},
		"producer below -1":         {[]Segment{{ProducerID: -2}}, "below -1"},
	} {
		if _, err := New(tc.segs); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, tc.says)
		}
	}
	// Superseded before a record landed: fenced by a marker, or with a new producer.
	if _, err := New([]Segment{first, {SourceStart: 10, DestStart: 11, Skip: 1}, {SourceStart: 10, DestStart: 11, ProducerID: 2}}); err != nil {
		t.Errorf("segments without records: %v", err)
	}
}

func TestTruncateDestKeepsWhatTellsWhereToGoOn(t *testing.T) {
	segs := []Segment{
		{SourceStart: 100, DestStart: 4, Skip: 2},
		{SourceStart: 200, DestStart: 17, Skip: 3}, // records 4-13, markers 14-16
		{SourceStart: 300, DestStart: 20},          // records 17-19
	}
	moved := func(s Segment, start, skip int64) Segment {
		s.DestStart, s.Skip = start, skip
		return s
	}
	for _, tc := range []struct {
		name   string
		end    int64
		want   []Segment
		source int64 // where mirroring goes on
	}{
		{"nothing lost", 30, segs, 310},
		{"ends where the last one starts", 20, segs, 300},
		{"records lost", 19, segs[:2], 202},
		{"ends behind the markers", 17, segs[:2], 200},
		{"a marker lost", 16, []Segment{segs[0], moved(segs[1], 16, 2)}, 200},
		{"one marker left", 15, []Segment{segs[0], moved(segs[1], 15, 1)}, 200},
		{"all markers lost", 14, segs[:1], 110},
		{"records of the first lost", 9, segs[:1], 105},
		{"nothing of the mirror left", 4, segs[:1], 100},
		{"less than what was skipped first", 3, []Segment{moved(segs[0], 3, 1)}, 100},
		{"an empty log", 0, []Segment{moved(segs[0], 0, 0)}, 100},
	} {
		m, err := New(segs)
		if err != nil {
			t.Fatal(err)
		}
		m.TruncateDest(tc.end)
		if diff := cmp.Diff(tc.want, m.Segments()); diff != "" {
			t.Errorf("%s: segments (-want +got):\n%s", tc.name, diff)
		}
		if got := m.ToSource(tc.end); got != tc.source {
			t.Errorf("%s: goes on at %d, want %d", tc.name, got, tc.source)
		}
		if _, err := New(m.Segments()); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	new(Map).TruncateDest(5) // nothing to do, and no panic
}

func TestReverseOfTheExampleLeadsBack(t *testing.T) {
	// Source end 12 is the end of the records; a fence marker stands at 10.
	r := example(t).Reverse(12, 11)
	none := func(src, dst, skip int64) Segment { return reversed(src, dst, skip) }
	want := []Segment{none(0, 0, 0), none(5, 7, 2), none(8, 10, 1), none(11, 12, 0)}
	if diff := cmp.Diff(want, r.Segments()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if err := r.Append(none(11, 15, 3)); err != nil { // three markers came first on the way back
		t.Fatal(err)
	}
	if got := r.ToSource(15); got != 11 {
		t.Errorf("the first record of the way back is source offset %d, want 11", got)
	}
	if new(Map).Reverse(5, 5).Len() != 0 {
		t.Error("the reverse of an empty map is not empty")
	}
}
