package batch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var wide = Limits{Packed: 1 << 20, Plain: 1 << 22}

// neighbours makes the log of a partition: n random batches one behind another,
// in all codecs, with gaps, LogAppendTime and empty ones.
func neighbours(t testing.TB, r *rand.Rand, n, records int) (set []byte) {
	next := r.Int64N(1 << 40)
	for range n {
		next += r.Int64N(2) * r.Int64N(5)
		recs := randomRecords(r, records, next, r.IntN(3) == 0, true)
		s := spec{
			base: next, last: recs[len(recs)-1].Offset, records: recs, codec: codecs[r.IntN(len(codecs))],
			baseTimestamp: recs[0].Timestamp + r.Int64N(3) - 1, maxTimestamp: maxTime(recs), pid: 5, epoch: 1, seq: 12,
		}
		if r.IntN(6) == 0 {
			s.last += r.Int64N(50)
		}
		if r.IntN(20) == 0 {
			s.records = nil
		}
		for _, bit := range []int16{bitTransactional, bitDeleteHorizon, bitLogAppendTime} {
			if r.IntN(6) == 0 {
				s.bits |= bit
			}
		}
		set = append(set, build(t, s)...)
		next = s.last + 1
	}
	return set
}

func split(t testing.TB, set []byte) []Batch {
	t.Helper()
	bs, err := Split(bytes.Clone(set))
	if err != nil {
		t.Fatal(err)
	}
	return bs
}

// mergeAll merges as the record path does and answers with what a mirror then holds.
func mergeAll(t *testing.T, set []byte, from int64, l Limits) (records []Record, runs []Run, batches int) {
	t.Helper()
	s := stamp
	for parts := split(t, set); len(parts) > 0; {
		out, n, err := Merge(parts, s, from, l)
		if err != nil {
			t.Fatal(err)
		}
		if n < 1 || n > len(parts) {
			t.Fatalf("%d of %d parts were taken", n, len(parts))
		}
		if n > 1 && len(out.Bytes) > l.Packed {
			t.Fatalf("%d batches were merged to %d bytes, the limit is %d", n, len(out.Bytes), l.Packed)
		}
		parts = parts[n:]
		if out.Records == 0 {
			continue
		}
		ob := acceptable(t, out, s)
		got := kgoRecords(t, out.Bytes)
		if n > 1 {
			plain, free, err := ob.plain()
			if err != nil || len(plain) > l.Plain {
				t.Fatalf("%d batches were merged to %d bytes unpacked, the limit is %d (error %v)", n, len(plain), l.Plain, err)
			}
			free()
			if max := maxTime(got); ob.MaxTimestamp() != max || out.MaxTimestamp() != max {
				t.Fatalf("max timestamp %d, want %d", ob.MaxTimestamp(), max)
			}
			if out.Reencoded&ReasonMerged == 0 {
				t.Fatalf("%d batches became one by reason of %v", n, out.Reencoded)
			}
		}
		for _, rec := range got {
			rec.Offset += int64(len(records))
			records = append(records, rec)
		}
		records = records[:len(records):len(records)]
		for _, run := range out.Runs {
			if k := len(runs); k > 0 && runs[k-1].SourceStart+int64(runs[k-1].Count) == run.SourceStart {
				runs[k-1].Count += run.Count
			} else {
				runs = append(runs, run)
			}
		}
		s.BaseSequence = NextSequence(s.BaseSequence, out.Records)
		batches++
		out.Release()
	}
	return records, runs, batches
}

// flat renumbers what mergeAll gave: offsets of each batch counted on.
func flat(records []Record) []Record {
	for i := range records {
		records[i].Offset = int64(i)
	}
	return records
}

func TestMergedBatchesHoldTheRecordsOfTheirParts(t *testing.T) {
	r := seeded(t)
	fewer := 0
	for i := range 60 {
		set := neighbours(t, r, 1+r.IntN(20), 1+r.IntN(6))
		parts := split(t, set)
		from := parts[0].h.base
		if r.IntN(3) == 0 {
			from += r.Int64N(20)
		}
		l := wide
		if r.IntN(2) == 0 {
			l = Limits{Packed: headerSize + r.IntN(6000), Plain: r.IntN(6000)}
		}
		want, runs := mirrored(kgoRecords(t, set), from)
		got, gotRuns, n := mergeAll(t, set, from, l)
		sameRecords(t, fmt.Sprintf("set %d", i), want, flat(got))
		if diff := cmp.Diff(runs, gotRuns); diff != "" {
			t.Fatalf("set %d: runs (-want +got):\n%s", i, diff)
		}
		if n < len(parts) {
			fewer++
		}
	}
	if fewer < 30 {
		t.Fatalf("only %d of 60 sets became fewer batches", fewer)
	}
}

func TestMergeGivesTheSameBytesForTheSameParts(t *testing.T) {
	r := seeded(t)
	for range 10 {
		set := neighbours(t, r, 15, 4)
		first, n, err := Merge(split(t, set), stamp, 0, wide)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(first.Bytes)
		first.Release()
		for range 2 {
			// Other work in between leaves its traces in pooled encoders and buffers.
			if _, _, err := Merge(split(t, neighbours(t, r, 10, 4)), stamp, 0, wide); err != nil {
				t.Fatal(err)
			}
			again, m, err := Merge(split(t, set), stamp, 0, wide)
			if err != nil || m != n || !bytes.Equal(want, again.Bytes) {
				t.Fatalf("%d batches, then %d, error %v; same bytes: %v", n, m, err, bytes.Equal(want, again.Bytes))
			}
		}
	}
}

func TestMergePacksWithTheCodecOfMostBytes(t *testing.T) {
	one := func(offset int64, codec Codec, size int) []byte {
		rec := []Record{{Offset: offset, Timestamp: 7, Value: bytes.Repeat([]byte("abcdefghij0123456789"), size)}}
		return build(t, spec{base: offset, last: offset, records: rec, codec: codec, baseTimestamp: 7, maxTimestamp: 7})
	}
	for name, tc := range map[string]struct {
		set  []byte
		want Codec
	}{
		"all alike": {append(one(0, LZ4, 5), one(1, LZ4, 5)...), LZ4},
		"most":      {append(append(one(0, None, 1), one(1, Zstd, 50)...), one(2, Zstd, 50)...), Zstd},
		"largest":   {append(append(one(0, Gzip, 1), one(1, Gzip, 1)...), one(2, None, 100)...), None},
		"a draw":    {append(one(0, None, 2), one(1, None, 2)...), None},
	} {
		out, n, err := Merge(split(t, tc.set), stamp, 0, wide)
		if err != nil || n < 2 {
			t.Fatalf("%s: %d taken, %v", name, n, err)
		}
		if got := only(t, out.Bytes).Codec(); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestMergeLeavesAloneWhatMustStayApart(t *testing.T) {
	good := func(offset int64) []byte {
		rec := []Record{{Offset: offset, Timestamp: 7, Value: []byte("v")}}
		return build(t, spec{base: offset, last: offset, records: rec, baseTimestamp: 7, maxTimestamp: 7})
	}
	marker := build(t, spec{base: 2, last: 2, records: []Record{{Offset: 2, Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 1}}}, bits: bitControl | bitTransactional})
	unknown := good(2)
	unknown[posAttributes+1] |= 6
	torn := good(2)
	torn[headerSize] = 0x7e
	for name, third := range map[string][]byte{
		"a control batch":                marker,
		"an old format":                  legacySet(t, 1, []Record{{Offset: 2, Timestamp: 7, Value: []byte("v")}}, None, 0),
		"a codec nobody here knows":      unknown,
		"records that make no sense":     torn,
		"what is larger than the limits": build(t, spec{base: 2, last: 2, records: []Record{{Offset: 2, Value: make([]byte, 300)}}}),
	} {
		set := append(append(append(append(good(0), good(1)...), third...), good(3)...), good(4)...)
		parts := split(t, set)
		l := Limits{Packed: 250, Plain: 250}
		out, n, err := Merge(parts, stamp, 0, l)
		if err != nil || n != 2 || out.Records != 2 {
			t.Errorf("%s: %d parts and %d records were merged before it, error %v", name, n, out.Records, err)
		}
		if _, n, _ = Merge(parts[2:], stamp, 0, l); n != 1 {
			t.Errorf("%s: it was merged with %d others", name, n-1)
		}
		if out, n, err = Merge(parts[3:], stamp, 0, l); err != nil || n != 2 || out.Records != 2 {
			t.Errorf("%s: %d parts and %d records were merged behind it, error %v", name, n, out.Records, err)
		}
	}
}

// Random bytes do not pack: the codec's frame comes on top.
func TestMergeKeepsToThePackedLimitWhereTheCodecDoesNotHelp(t *testing.T) {
	r := seeded(t)
	for _, codec := range codecs {
		var set []byte
		for i := range int64(24) {
			v := make([]byte, 50+r.IntN(100))
			for j := range v {
				v[j] = byte(r.Uint32())
			}
			rec := []Record{{Offset: i, Timestamp: i * 1_000_000, Value: v}}
			set = append(set, build(t, spec{base: i, last: i, records: rec, codec: codec, baseTimestamp: i * 1_000_000, maxTimestamp: i * 1_000_000})...)
		}
		for limit := headerSize + 100; limit < 3000; limit += 293 {
			want := kgoRecords(t, set)
			got, _, _ := mergeAll(t, set, 0, Limits{Packed: limit, Plain: 1 << 20})
			sameRecords(t, fmt.Sprintf("%v up to %d bytes", codec, limit), want, flat(got))
		}
	}
}

func TestMergingTinyBatchesTakesNextToNoMemory(t *testing.T) {
	parts := split(t, tiny(t, None, 500))
	merge := func() {
		out, n, err := Merge(parts, stamp, 0, wide)
		if err != nil || n != 500 {
			t.Fatalf("%d of 500 taken, %v", n, err)
		}
		out.Release()
	}
	merge()
	if got := testing.AllocsPerRun(50, merge); got > 5 { // the runs; a pool may be emptied in between
		t.Errorf("%v allocations to merge 500 batches", got)
	}
}

// tiny is a log of n batches, each of one record of 100 bytes.
func tiny(t testing.TB, codec Codec, n int) (set []byte) {
	for i := range int64(n) {
		v := fmt.Appendf(nil, `{"id":%012d,"amount":%08d,"from":"acc-%06d","to":"acc-%06d","note":"payment"}`, i*7919, i*31%99991, i%997, i%1009)
		rec := []Record{{Offset: i, Timestamp: 1_700_000_000_000 + i, Value: append(v, make([]byte, 100-len(v))...)}}
		set = append(set, build(t, spec{base: i, last: i, records: rec, codec: codec, baseTimestamp: rec[0].Timestamp, maxTimestamp: rec[0].Timestamp})...)
	}
	return set
}

// BenchmarkTiny compares merging 500 batches of one record of 100 bytes with
// passing each on, which is what producing them costs before any request.
func BenchmarkTiny(b *testing.B) {
	for _, codec := range codecs {
		set := tiny(b, codec, 500)
		b.Run(codec.String()+"/merge", func(b *testing.B) {
			b.ReportAllocs()
			parts := split(b, set)
			for b.Loop() {
				out, n, err := Merge(parts, stamp, 0, wide)
				if err != nil || n != 500 {
					b.Fatal(n, err)
				}
				out.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/batch")
		})
		b.Run(codec.String()+"/pass", func(b *testing.B) {
			b.ReportAllocs()
			parts := split(b, set)
			for b.Loop() {
				for _, p := range parts {
					if _, err := Rewrite(p, stamp, 0); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/batch")
		})
	}
}
