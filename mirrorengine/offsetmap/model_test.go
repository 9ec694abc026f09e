package offsetmap

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// twin is the dumb truth: every record with both its offsets, and the log ends.
type twin struct {
	pairs              []pair
	sourceEnd, destEnd int64
	looseFrom          int64 // source offsets from here on may be translated to an offset before the next record
}

type pair struct{ source, dest int64 }

// grow makes a random mirror and the segments an engine would have written.
func grow(r *rand.Rand, steps int) (twin, *Map) {
	source, dest := r.Int64N(1000), r.Int64N(50)
	skip := min(dest, r.Int64N(3))
	tw, m := twin{}, &Map{}
	mark := func() { // write a segment ahead
		err := m.Append(Segment{SourceStart: source, DestStart: dest, Skip: skip, ProducerID: r.Int64N(5), FirstSequence: r.Int32N(1000)})
		if err != nil {
			panic(err)
		}
		skip = 0
	}
	mark()
	for range steps {
		switch r.IntN(7) {
		case 0: // hole in the source
			source += 1 + r.Int64N(5)
			mark()
		case 1: // markers in the destination
			n := 1 + r.Int64N(3)
			dest, skip = dest+n, n
			mark()
		case 2: // both at once
			n := 1 + r.Int64N(3)
			source, dest, skip = source+r.Int64N(4), dest+n, n
			mark()
		case 3: // another producer, same place
			mark()
		default:
			for range 1 + r.IntN(4) {
				tw.pairs = append(tw.pairs, pair{source, dest})
				source, dest = source+1, dest+1
			}
		}
	}
	tw.sourceEnd = source + r.Int64N(2)*r.Int64N(4) // a hole that no segment tells of yet
	tw.destEnd = dest + r.Int64N(2)*r.Int64N(3)     // markers that no segment tells of yet
	tw.looseFrom = math.MaxInt64
	return tw, m
}

// swapped is the twin of the reversed map.
func (tw twin) swapped() twin {
	out := twin{sourceEnd: tw.destEnd, destEnd: tw.sourceEnd, looseFrom: math.MaxInt64}
	for _, p := range tw.pairs {
		out.pairs = append(out.pairs, pair{p.dest, p.source})
	}
	return out
}

// check compares a map with its twin at every offset.
func (tw twin) check(t *testing.T, what string, m *Map) {
	t.Helper()
	for _, p := range tw.pairs {
		if got := m.ToSource(p.dest); got != p.source {
			t.Fatalf("%s: ToSource(%d) = %d, want %d", what, p.dest, got, p.source)
		}
	}
	// The position at any offset parts the records: none lost, none repeated.
	end := int64(0)
	if n := len(tw.pairs); n > 0 {
		end = tw.pairs[n-1].dest + 1
	}
	for dest := range end + 1 {
		at := m.ToSource(dest)
		for _, p := range tw.pairs {
			if (p.dest < dest) != (p.source < at) {
				t.Fatalf("%s: ToSource(%d) = %d, but record %+v lies on the other side", what, dest, at, p)
			}
		}
	}
	for src := range tw.sourceEnd + 5 {
		at, clamped := m.ToDest(src, tw.sourceEnd, tw.destEnd)
		if clamped != (src > tw.sourceEnd) || at > tw.destEnd || src >= tw.sourceEnd && at != tw.destEnd {
			t.Fatalf("%s: ToDest(%d) = %d, clamped %v, ends %d and %d", what, src, at, clamped, tw.sourceEnd, tw.destEnd)
		}
		for _, p := range tw.pairs {
			// A group that has read exactly the records before src goes on with all others.
			if (p.source < src) != (p.dest < at) {
				t.Fatalf("%s: ToDest(%d) = %d, but record %+v lies on the other side", what, src, at, p)
			}
			if p.source >= src && at > p.dest {
				t.Fatalf("%s: ToDest(%d) = %d is behind record %+v", what, src, at, p)
			}
		}
		// Smallest: where there is a record to read, the answer is its very offset.
		// But for a place that both logs passed without a record (Reverse).
		for _, p := range tw.pairs {
			if p.source >= src && (src < tw.looseFrom || p.source == src) {
				if at != p.dest {
					t.Fatalf("%s: ToDest(%d) = %d, the next record is %+v", what, src, at, p)
				}
				break
			}
		}
	}
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("OFFSETMAP_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("OFFSETMAP_SEED: %v", err)
		}
	}
	t.Logf("seed: OFFSETMAP_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestGroupsGoOnWithoutLossOrRepeatOnRandomMirrors(t *testing.T) {
	r := seeded(t)
	for range 150 {
		tw, m := grow(r, r.IntN(25))
		tw.check(t, "forth", m)
		back := m.Reverse(tw.sourceEnd, tw.destEnd)
		tw.swapped().check(t, "back", back)
		if _, err := New(back.Segments()); err != nil {
			t.Fatalf("the reversed segments are not valid: %v", err)
		}
		again := back.Reverse(tw.destEnd, tw.sourceEnd)
		tw.check(t, "forth again", again)
		// The same segments, but for who produced them, what was skipped before the
		// first, and one more for each time the ends did not meet.
		want := plain(m.Segments())
		if got := plain(again.Segments()); len(got) < len(want) || len(got) > len(want)+2 || cmp.Diff(want, got[:len(want)]) != "" {
			t.Fatalf("reversed twice (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// plain leaves what Reverse keeps.
func plain(segs []Segment) []Segment {
	for i, s := range segs {
		segs[i] = reversed(s.SourceStart, s.DestStart, s.Skip)
	}
	segs[0].Skip = 0
	return segs
}

func TestTheMirrorBackGoesOnBehindBothEnds(t *testing.T) {
	r := seeded(t)
	for range 200 {
		tw, m := grow(r, 20)
		back, twBack := m.Reverse(tw.sourceEnd, tw.destEnd), tw.swapped()
		skip := r.Int64N(2) * r.Int64N(4) // markers of the home-coming cluster
		if skip > 0 {
			if err := back.Append(reversed(twBack.sourceEnd, twBack.destEnd+skip, skip)); err != nil {
				t.Fatal(err)
			}
		}
		twBack.looseFrom = 0
		if n := len(twBack.pairs); n > 0 {
			twBack.looseFrom = twBack.pairs[n-1].source + 1
		}
		for i := range int64(3) {
			twBack.pairs = append(twBack.pairs, pair{twBack.sourceEnd + i, twBack.destEnd + skip + i})
		}
		twBack.sourceEnd, twBack.destEnd = twBack.sourceEnd+3, twBack.destEnd+skip+3
		twBack.check(t, "back and on", back)
	}
}

func TestTruncateDestOfRandomMirrorsLosesNothing(t *testing.T) {
	r := seeded(t)
	for range 300 {
		tw, m := grow(r, 20)
		last := int64(0)
		if n := len(tw.pairs); n > 0 {
			last = tw.pairs[n-1].dest
		}
		end := r.Int64N(last + 2)
		m.TruncateDest(end)
		if _, err := New(m.Segments()); err != nil {
			t.Fatalf("truncated to %d: %v", end, err)
		}
		at := m.ToSource(end)
		for _, p := range tw.pairs {
			if (p.dest < end) != (p.source < at) {
				t.Fatalf("truncated to %d, the mirror goes on at source offset %d: record %+v is lost or repeated", end, at, p)
			}
		}
	}
}

func FuzzSegmentsFromJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		_, m := grow(r, 10)
		p, err := json.Marshal(m.Segments())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p, int64(7))
	}
	f.Add([]byte(`[{"source_start":9223372036854775807,"dest_start":9223372036854775807,"skip":1}]`), int64(1)<<62)
	f.Fuzz(func(t *testing.T, p []byte, at int64) {
		var segs []Segment
		if json.Unmarshal(p, &segs) != nil {
			return
		}
		m, err := New(segs)
		if err != nil || at < 0 {
			return
		}
		src := m.ToSource(at)
		if src < 0 || m.Len() > 0 && src < segs[0].SourceStart {
			t.Fatalf("ToSource(%d) = %d", at, src)
		}
		if dest, _ := m.ToDest(src, src, at); dest != at {
			t.Fatalf("a group at the end stands at %d, want %d", dest, at)
		}
		if s, ok := m.At(at); ok && s.ProducerID >= 0 && s.Sequence(at) < 0 {
			t.Fatalf("sequence %d", s.Sequence(at))
		}
		back := m.Reverse(src, at)
		if _, err := New(back.Segments()); err != nil {
			t.Fatalf("reversed at %d and %d: %v", src, at, err)
		}
		m.TruncateDest(at)
		if _, err := New(m.Segments()); err != nil {
			t.Fatalf("truncated to %d: %v", at, err)
		}
	})
}
