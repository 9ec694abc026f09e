package batch

import (
	"math/rand/v2"
	"testing"
)

// seeds gives a fuzzer batches of every kind to bend.
func seeds(f *testing.F) [][]byte {
	r := rand.New(rand.NewPCG(1, 1))
	var out [][]byte
	for _, codec := range codecs {
		records := randomRecords(r, 5, 100, true, true)
		last := records[len(records)-1].Offset
		for _, bits := range []int16{0, bitTransactional, bitLogAppendTime, bitDeleteHorizon} {
			out = append(out, build(f, spec{base: 100, last: last, records: records, codec: codec, bits: bits, baseTimestamp: records[0].Timestamp, maxTimestamp: maxTime(records)}))
		}
		if codec != Zstd {
			out = append(out, legacySet(f, 0, records, codec, 0), legacySet(f, 1, records, codec, 9))
		}
		p, err := Encode(records, codec, stamp)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, p, append(append([]byte(nil), out[0]...), out[1][:70]...))
	}
	marker := []Record{{Offset: 5, Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 1}}}
	return append(out, WrongCRC(nil, []byte("v")), build(f, spec{base: 5, last: 5, records: marker, bits: bitControl | bitTransactional}))
}

func FuzzSplit(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		batches, _ := Split(p)
		total, last := 0, int64(-1)
		for _, b := range batches {
			total += b.Len()
			if b.LastOffset() <= last || b.h.base <= last {
				t.Fatalf("offset %d follows %d", b.LastOffset(), last)
			}
			last = b.LastOffset()
			_ = b.Check()
			_, _ = b.IsAbort()
			_, _, _ = b.BaseOffset(), b.NumRecords(), b.LastSequence()
		}
		if total > len(p) {
			t.Fatalf("batches of %d bytes from %d", total, len(p))
		}
	})
}

func FuzzRecords(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		batches, _ := Split(p)
		for _, b := range batches {
			records, err := b.Records()
			if err != nil {
				continue
			}
			if len(records) != int(b.NumRecords()) {
				t.Fatalf("%d records, the header says %d", len(records), b.NumRecords())
			}
			for i, r := range records {
				if r.Offset < b.BaseOffset() || r.Offset > b.LastOffset() || i > 0 && r.Offset <= records[i-1].Offset {
					t.Fatalf("record %d has offset %d in a batch of %d to %d", i, r.Offset, b.BaseOffset(), b.LastOffset())
				}
			}
		}
	})
}

func FuzzRewrite(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p, int64(0))
		f.Add(p, int64(101))
	}
	f.Fuzz(func(t *testing.T, p []byte, from int64) {
		batches, _ := Split(append([]byte(nil), p...))
		for _, b := range batches {
			source, sourceErr := b.Records()
			out, err := Rewrite(b, stamp, from)
			if err != nil || out.Records == 0 {
				continue
			}
			ob := acceptable(t, out, stamp)
			var n int32
			last := from - 1
			for _, run := range out.Runs {
				if run.Count <= 0 || run.SourceStart <= last {
					t.Fatalf("runs %v from %d", out.Runs, from)
				}
				n, last = n+run.Count, run.SourceStart+int64(run.Count)-1
			}
			if n != out.Records || last > b.LastOffset() {
				t.Fatalf("runs %v of %d records up to %d", out.Runs, out.Records, b.LastOffset())
			}
			if sourceErr != nil {
				continue
			}
			want, runs := mirrored(source, from)
			got, err := ob.Records()
			if err != nil {
				t.Fatalf("the rewritten batch does not decode, though its source did: %v", err)
			}
			sameRecords(t, "rewritten", want, got)
			if len(runs) != len(out.Runs) || runs[0] != out.Runs[0] {
				t.Fatalf("runs %v, want %v", out.Runs, runs)
			}
		}
	})
}

func FuzzMerge(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 5 {
		f.Add(neighbours(f, r, 6, 3), int64(0), 1<<20, 1<<20)
	}
	for _, p := range seeds(f) {
		f.Add(p, int64(101), 500, 500)
	}
	f.Fuzz(func(t *testing.T, p []byte, from int64, packed, plain int) {
		l := Limits{Packed: packed, Plain: min(plain, 1<<22)}
		batches, _ := Split(append([]byte(nil), p...))
		for len(batches) > 0 {
			var source []Record
			whole := true
			out, n, err := Merge(batches, stamp, from, l)
			for _, b := range batches[:n] {
				records, err := b.Records()
				whole = whole && err == nil
				if !b.IsControl() {
					source = append(source, records...)
				}
			}
			batches = batches[n:]
			if err != nil || out.Records == 0 {
				continue
			}
			ob := acceptable(t, out, stamp)
			if n > 1 && (len(out.Bytes) > l.Packed || !whole && out.Reencoded&ReasonMerged == 0) {
				t.Fatalf("%d batches became %d bytes by %v", n, len(out.Bytes), out.Reencoded)
			}
			if !whole {
				continue
			}
			want, runs := mirrored(source, from)
			got, err := ob.Records()
			if err != nil {
				t.Fatalf("the merged batch does not decode, though its parts did: %v", err)
			}
			sameRecords(t, "merged", want, got)
			if len(runs) != len(out.Runs) || runs[0] != out.Runs[0] || runs[len(runs)-1] != out.Runs[len(runs)-1] {
				t.Fatalf("runs %v, want %v", out.Runs, runs)
			}
			out.Release()
		}
	})
}
