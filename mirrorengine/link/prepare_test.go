package link

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
)

// seededRand prints its seed; a failing one is put here by hand.
func seededRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// sourceRecord is a committed record of the source.
type sourceRecord struct {
	offset int64
	value  string
}

type abortedTxn struct{ pid, first, marker int64 }

// sourceLog is a random log: what a Fetch of committed data answers, and the
// records that a reader of it sees.
type sourceLog struct {
	set     []byte
	aborted []abortedTxn
	records []sourceRecord
	end     int64
}

func randomSource(t *testing.T, r *rand.Rand, batches int) sourceLog {
	t.Helper()
	var log sourceLog
	next := r.Int64N(100)
	epoch := int32(3)
	open := map[int64]bool{} // producers of open transactions, and whether they will be aborted
	for range batches {
		if r.IntN(20) == 0 {
			epoch++
		}
		next += r.Int64N(2) * r.Int64N(3)
		if r.IntN(6) == 0 { // a marker ends a transaction
			for pid, abort := range open {
				log.set = append(log.set, markerBatch(next, pid, abort, epoch)...)
				for i := range log.aborted {
					if a := &log.aborted[i]; a.pid == pid && a.marker == math.MaxInt64 {
						a.marker = next
					}
				}
				delete(open, pid)
				next++
				break
			}
			continue
		}
		pid, attrs := int64(-1), int16(0)
		if r.IntN(3) == 0 {
			pid, attrs = 100+r.Int64N(3), 0x10
			if _, ok := open[pid]; !ok {
				open[pid] = r.IntN(2) == 0
				if open[pid] {
					log.aborted = append(log.aborted, abortedTxn{pid, next, math.MaxInt64})
				}
			}
		}
		base, gaps := next, r.IntN(4) == 0
		var offsets []int64
		var recs []batch.Record
		for range 1 + r.IntN(4) {
			if gaps {
				next += r.Int64N(3)
			}
			rec := batch.Record{Timestamp: 1_700_000_000_000 + next, Key: fmt.Appendf(nil, "k%d", next), Value: fmt.Appendf(nil, "v%d", next)}
			offsets, recs = append(offsets, next), append(recs, rec)
			if !open[pid] {
				log.records = append(log.records, sourceRecord{next, string(rec.Value)})
			}
			next++
		}
		if gaps && r.IntN(2) == 0 {
			next += r.Int64N(3) // the cleaner took the last ones
		}
		log.set = append(log.set, dataBatch(t, r, base, next-1, offsets, recs, pid, attrs, epoch)...)
	}
	log.end = next
	return log
}

func dataBatch(t *testing.T, r *rand.Rand, base, last int64, offsets []int64, recs []batch.Record, pid int64, attrs int16, epoch int32) []byte {
	t.Helper()
	if int64(len(recs)) == last-base+1 {
		// Without gaps it may be compressed.
		p, err := batch.Encode(recs, []batch.Codec{batch.None, batch.LZ4, batch.Zstd, batch.Snappy, batch.Gzip}[r.IntN(5)], batch.Stamp{ProducerID: pid})
		if err != nil {
			t.Fatal(err)
		}
		binary.BigEndian.PutUint64(p, uint64(base))
		binary.BigEndian.PutUint32(p[12:], uint32(epoch))
		binary.BigEndian.PutUint16(p[21:], binary.BigEndian.Uint16(p[21:])|uint16(attrs))
		return sealed(p)
	}
	var body []byte
	for i, rec := range recs {
		kr := kmsg.Record{TimestampDelta64: rec.Timestamp - recs[0].Timestamp, OffsetDelta: int32(offsets[i] - base), Key: rec.Key, Value: rec.Value}
		kr.Length = int32(len(kr.AppendTo(nil)) - 1)
		body = kr.AppendTo(body)
	}
	return sealed((&kmsg.RecordBatch{
		FirstOffset: base, PartitionLeaderEpoch: epoch, Magic: 2, Attributes: attrs, LastOffsetDelta: int32(last - base),
		FirstTimestamp: recs[0].Timestamp, MaxTimestamp: recs[len(recs)-1].Timestamp, ProducerID: pid, NumRecords: int32(len(recs)), Records: body,
	}).AppendTo(nil))
}

func markerBatch(offset, pid int64, abort bool, epoch int32) []byte {
	kr := kmsg.Record{Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 1}}
	if abort {
		kr.Key[3] = 0
	}
	kr.Length = int32(len(kr.AppendTo(nil)) - 1)
	return sealed((&kmsg.RecordBatch{
		FirstOffset: offset, PartitionLeaderEpoch: epoch, Magic: 2, Attributes: 0x30, ProducerID: pid, NumRecords: 1, Records: kr.AppendTo(nil),
	}).AppendTo(nil))
}

func sealed(p []byte) []byte {
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-12))
	binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// chunk is the log as one Fetch from an offset answers it, in memory of its own:
// whole batches, and the aborted transactions that reach into them.
func (s sourceLog) chunk(t *testing.T, from int64) chunk {
	t.Helper()
	bs, err := batch.Split(append([]byte(nil), s.set...))
	if err != nil {
		t.Fatal(err)
	}
	for len(bs) > 0 && bs[0].LastOffset() < from {
		bs = bs[1:]
	}
	c := chunk{batches: bs, next: s.end}
	for _, a := range s.aborted {
		if a.marker >= from {
			c.aborted = append(c.aborted, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.pid, FirstOffset: a.first})
		}
	}
	return c
}

// landed is what stands in the mirror: the records of outs.
func landed(t *testing.T, outs []batch.Out, pos position) (values []string) {
	t.Helper()
	for i, o := range outs {
		bs, err := batch.Split(o.Bytes)
		if err != nil || len(bs) != 1 {
			t.Fatalf("batch %d: %d batches, %v", i, len(bs), err)
		}
		b := bs[0]
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if b.BaseSequence() != pos.stamp.BaseSequence || b.ProducerID() != pos.stamp.ProducerID || b.ProducerEpoch() != pos.stamp.ProducerEpoch {
			t.Fatalf("batch %d has sequence %d, want %d", i, b.BaseSequence(), pos.stamp.BaseSequence)
		}
		records, err := b.Records()
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			values = append(values, string(rec.Value))
		}
		pos = pos.behind(o)
	}
	return values
}

var start = position{dest: 1000, continues: -1, stamp: batch.Stamp{ProducerID: 7, ProducerEpoch: 2, BaseSequence: math.MaxInt32 - 20}, known: true}

func TestMergingChangesNeitherTheRecordsNorTheSegments(t *testing.T) {
	r := seededRand(t)
	fewer := 0
	for i := range 200 {
		log := randomSource(t, r, 1+r.IntN(60))
		pos := start
		pos.markers = r.Int64N(3)
		if r.IntN(2) == 0 {
			pos.source = r.Int64N(log.end + 1)
		}
		plain, segs, err := prepare(log.chunk(t, pos.source), pos, batch.Limits{})
		if err != nil {
			t.Fatalf("log %d: %v", i, err)
		}
		l := mergeUpTo
		if r.IntN(2) == 0 {
			l = batch.Limits{Packed: 100 + r.IntN(1000), Plain: 100 + r.IntN(1000)}
		}
		merged, mergedSegs, err := prepare(log.chunk(t, pos.source), pos, l)
		if err != nil {
			t.Fatalf("log %d: %v", i, err)
		}
		if diff := cmp.Diff(segs, mergedSegs); diff != "" {
			t.Fatalf("log %d: segments (-as they are +merged):\n%s", i, diff)
		}
		var want []string
		for _, rec := range log.records {
			if rec.offset >= pos.source {
				want = append(want, rec.value)
			}
		}
		for what, outs := range map[string][]batch.Out{"as they are": plain, "merged": merged} {
			if diff := cmp.Diff(want, landed(t, outs, pos)); diff != "" {
				t.Fatalf("log %d %s: records (-want +got):\n%s", i, what, diff)
			}
		}
		if len(merged) < len(plain) {
			fewer++
		}
	}
	if fewer < 100 {
		t.Fatalf("only %d of 200 logs became fewer batches", fewer)
	}
}

// Whatever batch is the last in the log, it leads to the source offset behind its
// last record; segments of batches that did not land are told apart.
func TestTheTailLeadsBackToTheSourceWhereverItEnds(t *testing.T) {
	r := seededRand(t)
	p := &partition{dst: topicPartition{"orders", 0}}
	for i := range 100 {
		log := randomSource(t, r, 1+r.IntN(60))
		first := offsetmap.Segment{DestStart: start.dest, ProducerID: start.stamp.ProducerID, ProducerEpoch: start.stamp.ProducerEpoch, FirstSequence: start.stamp.BaseSequence}
		pos := start
		pos.continues = first.SourceStart
		outs, segs, err := prepare(log.chunk(t, pos.source), pos, batch.Limits{Packed: 100 + r.IntN(2000), Plain: 4000})
		if err != nil {
			t.Fatal(err)
		}
		m, err := offsetmap.New(append([]offsetmap.Segment{first}, segs...))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for j, o := range outs {
			binary.BigEndian.PutUint64(o.Bytes, uint64(pos.dest)) // as the broker does
			bs, err := batch.Split(o.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			for k := range int64(o.Records) {
				if got := m.ToSource(pos.dest + k); got != log.records[n].offset {
					t.Fatalf("log %d: mirror offset %d leads to source offset %d, want %d", i, pos.dest+k, got, log.records[n].offset)
				}
				n++
			}
			pos = pos.behind(o)
			last, _ := m.At(pos.dest - 1)
			pos.epoch, pos.read = last.SourceLeaderEpoch, last.SourceLeaderEpoch
			p.omap = m
			at, used, err := p.locate(tail{end: pos.dest, last: bs[0], ours: true, epoch: -1, markerID: -1}, m, false)
			if err != nil {
				t.Fatalf("log %d batch %d: %v", i, j, err)
			}
			at.known = true
			if diff := cmp.Diff(pos, at, cmp.AllowUnexported(position{})); diff != "" {
				t.Fatalf("log %d behind batch %d of %d (-want +got):\n%s", i, j, len(outs), diff)
			}
			// Records of others before it: the place is another one, the record the same.
			shift := 1 + r.Int64N(5)
			binary.BigEndian.PutUint64(o.Bytes, uint64(pos.dest-int64(o.Records)+shift))
			if bs, err = batch.Split(o.Bytes); err != nil {
				t.Fatal(err)
			}
			moved := tail{end: pos.dest + shift, last: bs[0], ours: true, epoch: -1, markerID: -1}
			if _, _, err := p.locate(moved, m, false); err == nil {
				t.Fatalf("log %d batch %d: nobody minds that it lies %d offsets further behind", i, j, shift)
			}
			if at, _, err := p.locate(moved, m, true); err != nil || at.source != pos.source || at.dest != pos.dest+shift {
				t.Fatalf("log %d batch %d, %d offsets further behind: %+v, %v", i, j, shift, at, err)
			}
			for k, s := range m.Segments() {
				if (k < used) != (s.DestStart < pos.dest) {
					t.Fatalf("log %d behind batch %d: %d of %d segments are used at %d, segment %d starts at %d", i, j, used, m.Len(), pos.dest, k, s.DestStart)
				}
			}
		}
		if n != len(log.records) {
			t.Fatalf("log %d: %d of %d records", i, n, len(log.records))
		}
	}
}

func TestOnlyManySmallBatchesAreMerged(t *testing.T) {
	for name, tc := range map[string]struct {
		batches, size int
		want          int // batches then
	}{
		"one record at the head": {1, 100, 1},
		"a few":                  {mergeAbove, 100, mergeAbove},
		"many small ones":        {200, 100, 1},
		"many large ones":        {10, mergeBelow, 10},
		"up to the target":       {100, 8 << 10, 2},
	} {
		var set []byte
		for i := range tc.batches {
			p, err := batch.Encode([]batch.Record{{Timestamp: 1, Value: make([]byte, tc.size)}}, batch.None, batch.Stamp{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
			if err != nil {
				t.Fatal(err)
			}
			binary.BigEndian.PutUint64(p, uint64(i))
			set = append(set, p...)
		}
		bs, err := batch.Split(set)
		if err != nil {
			t.Fatal(err)
		}
		outs, _, err := prepare(chunk{batches: bs, next: int64(tc.batches)}, start, mergeUpTo)
		if err != nil || len(outs) != tc.want {
			t.Errorf("%s: %d batches of %d became %d, want %d (error %v)", name, tc.batches, tc.size, len(outs), tc.want, err)
		}
	}
}
