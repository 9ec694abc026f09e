package batch

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var stamp = Stamp{ProducerID: 4711, ProducerEpoch: 3, BaseSequence: 99}

// mirrored is what must stand in the mirror: the records from `from` on, with
// offsets counted anew, and the runs that lead back.
func mirrored(records []Record, from int64) (out []Record, runs []Run) {
	for _, r := range records {
		if r.Offset < from {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].SourceStart+int64(runs[n-1].Count) == r.Offset {
			runs[n-1].Count++
		} else {
			runs = append(runs, Run{SourceStart: r.Offset, Count: 1})
		}
		r.Offset = int64(len(out))
		out = append(out, r)
	}
	return out, runs
}

// acceptable asks of an Out what a broker asks of a produced batch.
func acceptable(t *testing.T, out Out, s Stamp) Batch {
	t.Helper()
	b := only(t, out.Bytes)
	if b.Magic() != 2 || b.BaseOffset() != 0 || b.LeaderEpoch() != -1 || b.NumRecords() != out.Records ||
		int64(b.NumRecords()) != b.LastOffset()+1 || b.IsControl() || b.IsTransactional() || b.IsLogAppendTime() || b.HasDeleteHorizon() {
		t.Fatalf("no broker takes this batch: %+v, %d records", b.h, out.Records)
	}
	if b.ProducerID() != s.ProducerID || b.ProducerEpoch() != s.ProducerEpoch || b.BaseSequence() != s.BaseSequence {
		t.Fatalf("stamp %d/%d/%d, want %+v", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), s)
	}
	return b
}

func TestRewriteKeepsEveryRecordOfRandomBatches(t *testing.T) {
	r := seeded(t)
	for i := range 400 {
		base := r.Int64N(1 << 40)
		records := randomRecords(r, 60, base, r.IntN(2) == 0, true)
		s := spec{
			base: base, last: records[len(records)-1].Offset, records: records, codec: codecs[r.IntN(len(codecs))],
			baseTimestamp: records[0].Timestamp + r.Int64N(3) - 1, maxTimestamp: maxTime(records), pid: 5, epoch: 1, seq: 12,
		}
		if r.IntN(3) == 0 {
			s.last += r.Int64N(50) // the cleaner removed the tail
		}
		for _, bit := range []int16{bitTransactional, bitDeleteHorizon, bitLogAppendTime} {
			if r.IntN(4) == 0 {
				s.bits |= bit
			}
		}
		from := base
		if r.IntN(3) == 0 {
			from = base - 5 + r.Int64N(s.last-base+10)
		}
		set := build(t, s)
		b := only(t, set)
		seen := kgoRecords(t, set) // what a consumer of the source sees, LogAppendTime included
		if s.bits&bitLogAppendTime == 0 {
			sameRecords(t, "franz-go reads kmsg's batch", records, seen)
		}
		got, err := b.Records()
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, "Records", seen, got)

		want, runs := mirrored(seen, from)
		out, err := Rewrite(b, stamp, from)
		if err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		if diff := cmp.Diff(runs, out.Runs); diff != "" {
			t.Fatalf("batch %d: runs (-want +got):\n%s", i, diff)
		}
		if int(out.Records) != len(want) {
			t.Fatalf("batch %d: %d records, want %d", i, out.Records, len(want))
		}
		if len(want) == 0 {
			if out.Bytes != nil {
				t.Fatalf("batch %d: bytes without records", i)
			}
			continue
		}
		ob := acceptable(t, out, stamp)
		if ob.Codec() != s.codec {
			t.Fatalf("batch %d: codec %v became %v", i, s.codec, ob.Codec())
		}
		if ob.MaxTimestamp() != maxTime(want) && out.Reencoded != 0 {
			t.Fatalf("batch %d: max timestamp %d, want %d", i, ob.MaxTimestamp(), maxTime(want))
		}
		sameRecords(t, "franz-go reads the mirror's batch", want, kgoRecords(t, out.Bytes))
		if b.LastOffset() != s.last || b.BaseOffset() != s.base || b.ProducerID() != s.pid || b.LeaderEpoch() != 7 {
			t.Fatalf("batch %d: after Rewrite it no longer answers for the source", i)
		}
	}
}

func TestRewriteSaysWhyItReencoded(t *testing.T) {
	rec := func(offsets ...int64) (out []Record) {
		for _, o := range offsets {
			out = append(out, Record{Offset: o, Timestamp: 1000 + o, Value: []byte("v")})
		}
		return out
	}
	for _, tc := range []struct {
		name    string
		records []Record
		last    int64
		bits    int16
		from    int64
		want    Reason
	}{
		{"a full batch is passed on", rec(10, 11, 12), 12, 0, 10, 0},
		{"a full batch behind the position is passed on", rec(10, 11, 12), 12, 0, 3, 0},
		{"the transactional bit needs no new batch", rec(10, 11), 11, bitTransactional, 10, 0},
		{"the delete horizon needs no new batch", rec(10, 11), 11, bitDeleteHorizon, 10, 0},
		{"a hole inside", rec(10, 12), 12, 0, 10, ReasonGap},
		{"a hole at the front", rec(11, 12), 12, 0, 10, ReasonGap},
		{"a hole at the end", rec(10), 12, 0, 10, ReasonGap},
		{"begun inside", rec(10, 11, 12), 12, 0, 11, ReasonInside},
		{"the broker's clock", rec(10), 10, bitLogAppendTime, 10, ReasonAppendTime},
		{"all of them", rec(10, 12), 12, bitLogAppendTime, 11, ReasonGap | ReasonInside | ReasonAppendTime},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := spec{base: 10, last: tc.last, records: tc.records, bits: tc.bits, baseTimestamp: 1000, maxTimestamp: maxTime(tc.records)}
			b := only(t, build(t, s))
			out, err := Rewrite(b, stamp, tc.from)
			if err != nil || out.Reencoded != tc.want {
				t.Fatalf("reason %v, want %v (error %v)", out.Reencoded, tc.want, err)
			}
			if shared := &out.Bytes[0] == &b.raw[0]; shared != (tc.want == 0) {
				t.Fatalf("shares the source's memory: %v", shared)
			}
		})
	}
}

func TestRewriteLeavesOutWhatIsNotMirrored(t *testing.T) {
	rec := []Record{{Offset: 10, Timestamp: 1, Key: []byte{0, 0, 0, 1}, Value: []byte("x")}}
	for name, set := range map[string][]byte{
		"control batch":          build(t, spec{base: 10, last: 10, records: rec, bits: bitControl | bitTransactional}),
		"emptied by the cleaner": build(t, spec{base: 10, last: 14}),
		"before the position":    build(t, spec{base: 3, last: 3, records: []Record{{Offset: 3}}}),
		"hole at the position":   build(t, spec{base: 2, last: 9, records: []Record{{Offset: 2}}}),
	} {
		from := int64(9)
		out, err := Rewrite(only(t, set), stamp, from)
		if err != nil || out.Records != 0 || out.Bytes != nil || out.Runs != nil || out.Reencoded != 0 {
			t.Errorf("%s: %+v, error %v; want an empty Out", name, out, err)
		}
	}
}

func TestRewriteTwiceGivesTheSecondStamp(t *testing.T) {
	records := []Record{{Offset: 7, Timestamp: 5, Value: []byte("a")}, {Offset: 8, Timestamp: 6, Value: []byte("b")}}
	b := only(t, build(t, spec{base: 7, last: 8, records: records, baseTimestamp: 5, maxTimestamp: 6, bits: bitTransactional}))
	for _, s := range []Stamp{stamp, {ProducerID: 1, ProducerEpoch: 2, BaseSequence: math.MaxInt32}} {
		out, err := Rewrite(b, s, 7)
		if err != nil {
			t.Fatal(err)
		}
		acceptable(t, out, s)
		if diff := cmp.Diff([]Run{{7, 2}}, out.Runs); diff != "" {
			t.Fatal(diff)
		}
	}
	if !b.IsTransactional() {
		t.Fatal("the source batch was transactional")
	}
}

func TestRewriteWritesTheHeaderByteForByte(t *testing.T) {
	records := []Record{{Offset: 256, Timestamp: 0x0102030405, Key: []byte("k"), Value: []byte("v")}}
	b := only(t, build(t, spec{
		base: 256, last: 256, records: records, baseTimestamp: 0x0102030405, maxTimestamp: 0x0102030405,
		pid: 9, epoch: 9, seq: 9, bits: bitTransactional | bitDeleteHorizon,
	}))
	out, err := Rewrite(b, Stamp{ProducerID: 0x1122334455667788, ProducerEpoch: 0x0a0b, BaseSequence: 0x01020304}, 256)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"0000000000000000",   // base offset
		"0000003a",           // length: 49 of header and 9 of records
		"ffffffff",           // leader epoch
		"02",                 // magic
		"b753794c",           // CRC32C
		"0000",               // attributes
		"00000000",           // last offset delta
		"0000000102030405",   // base timestamp
		"0000000102030405",   // max timestamp
		"1122334455667788",   // producer id
		"0a0b",               // epoch
		"01020304",           // base sequence
		"00000001",           // records
		"10000000026b027600", // length 8, attributes, deltas 0, "k", "v", no headers
	}, "")
	if got := hex.EncodeToString(out.Bytes); got != want {
		t.Fatalf("batch bytes\n got %s\nwant %s", got, want)
	}
}

func TestRewriteOfCorruptRecordsIsAnErrorThatNamesTheOffset(t *testing.T) {
	records := []Record{{Offset: 50, Value: []byte("abc")}, {Offset: 53, Value: []byte("def")}}
	for name, spoil := range map[string]func(p []byte) []byte{
		"length too long":        func(p []byte) []byte { p[headerSize] = 0x7e; return p },
		"length too short":       func(p []byte) []byte { p[headerSize] = 2; return p },
		"offset delta backwards": func(p []byte) []byte { p[headerSize+3] = 6; return p },
		"more records than fit":  func(p []byte) []byte { p[posNumRecords+3] = 3; return p },
		"unknown codec":          func(p []byte) []byte { p[posAttributes+1] |= 6; return p },
		"not gzip":               func(p []byte) []byte { p[posAttributes+1] |= 1; return p },
		"not zstd":               func(p []byte) []byte { p[posAttributes+1] |= 4; return p },
	} {
		set := spoil(build(t, spec{base: 50, last: 53, records: records}))
		bs, err := Split(set)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := bs[0].Check(); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "offset 50") {
			t.Errorf("%s: Check gives %v", name, err)
		}
		if _, err := Rewrite(bs[0], stamp, 50); err == nil || !strings.Contains(err.Error(), "offset 50") {
			t.Errorf("%s: Rewrite gives %v", name, err)
		}
		if _, err := bs[0].Records(); err == nil || !strings.Contains(err.Error(), "offset 50") {
			t.Errorf("%s: Records gives %v", name, err)
		}
	}
}

func TestEncodeRoundTripsInEveryCodec(t *testing.T) {
	r := seeded(t)
	for i := range 300 {
		records := randomRecords(r, 50, 0, false, true)
		codec := codecs[i%len(codecs)]
		p, err := Encode(records, codec, stamp)
		if err != nil {
			t.Fatal(err)
		}
		b := acceptable(t, Out{Bytes: p, Records: int32(len(records))}, stamp)
		if b.MaxTimestamp() != maxTime(records) || b.Codec() != codec {
			t.Fatalf("max timestamp %d, codec %v", b.MaxTimestamp(), b.Codec())
		}
		sameRecords(t, "franz-go reads Encode", records, kgoRecords(t, p))
		got, err := b.Records()
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, "Records reads Encode", records, got)
	}
	if _, err := Encode(nil, None, stamp); err == nil {
		t.Fatal("an empty batch was encoded")
	}
	if _, err := Encode([]Record{{}}, Codec(5), stamp); err == nil {
		t.Fatal("an unknown codec was used")
	}
}

func TestWrongCRCIsWrongAndOtherwiseAWholeBatch(t *testing.T) {
	p := WrongCRC([]byte("canary"), []byte("drawbridge"))
	bs, err := Split(p)
	if err != nil || len(bs) != 1 {
		t.Fatalf("%d batches, error %v", len(bs), err)
	}
	if err := bs[0].Check(); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("the canary's checksum is right: %v", err)
	}
	if bs[0].ProducerID() != -1 || bs[0].BaseSequence() != -1 || bs[0].LastSequence() != -1 || bs[0].NumRecords() != 1 {
		t.Fatalf("the canary is idempotent: %+v", bs[0].h)
	}
	records, err := bs[0].Records()
	if err != nil || !bytes.Equal(records[0].Key, []byte("canary")) {
		t.Fatalf("records %v, error %v", records, err)
	}
}

func TestNextSequenceWrapsAsKafkasDoes(t *testing.T) {
	for _, tc := range []struct{ base, n, want int32 }{
		{0, 1, 1},
		{5, 0, 5},
		{math.MaxInt32 - 1, 1, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32, 5, 4},
		{math.MaxInt32 - 2, 10, 7},
		{math.MaxInt32, 0, math.MaxInt32},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := NextSequence(tc.base, tc.n); got != tc.want {
			t.Errorf("NextSequence(%d, %d) = %d, want %d", tc.base, tc.n, got, tc.want)
		}
	}
}
