package batch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Independent makers and readers of batches: kmsg writes them field by field,
// franz-go's consumer code decodes them. Nothing here goes through this package.

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// seeded gives a test its random numbers and prints their seed; BATCH_SEED runs
// one again.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("BATCH_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("BATCH_SEED: %v", err)
		}
	}
	t.Logf("seed: BATCH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// spec is a batch as a test wants it. Offsets of records ascend from base or later.
type spec struct {
	base, last    int64
	records       []Record
	codec         Codec
	bits          int16 // attribute bits besides the codec
	baseTimestamp int64
	maxTimestamp  int64 // used as it is
	pid           int64
	epoch         int16
	seq           int32
}

var kgoCodecs = map[Codec]kgo.CompressionCodec{
	None: kgo.NoCompression(), Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
}

// compressors are made once each; franz-go's take long to set up.
var compressors = func() map[Codec]func() (kgo.Compressor, error) {
	out := map[Codec]func() (kgo.Compressor, error){}
	for c, codec := range kgoCodecs {
		out[c] = sync.OnceValues(func() (kgo.Compressor, error) { return kgo.DefaultCompressor(codec) })
	}
	return out
}()

// pack compresses with franz-go, whose snappy has no frame.
func pack(t testing.TB, plain []byte, c Codec) []byte {
	if c == None {
		return plain
	}
	z, err := compressors[c]()
	if err != nil {
		t.Fatal(err)
	}
	out, used := z.Compress(new(bytes.Buffer), plain)
	if Codec(used) != c {
		t.Fatalf("franz-go packed with codec %d, %v wanted", used, c)
	}
	return out
}

// build makes a v2 batch with kmsg.
func build(t testing.TB, s spec) []byte {
	var plain []byte
	for _, r := range s.records {
		kr := kmsg.Record{
			TimestampDelta64: r.Timestamp - s.baseTimestamp,
			OffsetDelta:      int32(r.Offset - s.base),
			Key:              r.Key,
			Value:            r.Value,
		}
		for _, h := range r.Headers {
			kr.Headers = append(kr.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		body := kr.AppendTo(nil)
		kr.Length = int32(len(body) - 1) // the length itself took one byte: it was 0
		plain = kr.AppendTo(plain)
	}
	rb := kmsg.RecordBatch{
		FirstOffset: s.base, PartitionLeaderEpoch: 7, Magic: 2,
		Attributes: int16(s.codec) | s.bits, LastOffsetDelta: int32(s.last - s.base),
		FirstTimestamp: s.baseTimestamp, MaxTimestamp: s.maxTimestamp,
		ProducerID: s.pid, ProducerEpoch: s.epoch, FirstSequence: s.seq,
		NumRecords: int32(len(s.records)), Records: pack(t, plain, s.codec),
	}
	out := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// legacySet makes a message set of format v0 or v1 with kmsg, wrapped if a codec is given.
func legacySet(t testing.TB, magic int8, records []Record, codec Codec, appendTime int64) []byte {
	one := func(offset, ts int64, attrs int8, key, value []byte) []byte {
		var p []byte
		if magic == 0 {
			p = (&kmsg.MessageV0{Offset: offset, Magic: 0, Attributes: attrs, Key: key, Value: value}).AppendTo(nil)
		} else {
			p = (&kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: attrs, Timestamp: ts, Key: key, Value: value}).AppendTo(nil)
		}
		binary.BigEndian.PutUint32(p[8:], uint32(len(p)-12))
		binary.BigEndian.PutUint32(p[12:], crc32.ChecksumIEEE(p[16:]))
		return p
	}
	attrs, outerTime := int8(codec), int64(0)
	if appendTime > 0 {
		attrs |= 0x08
	}
	var set []byte
	for _, r := range records {
		offset := r.Offset
		if codec != None && magic == 1 {
			offset -= records[0].Offset
		}
		ts, inner := r.Timestamp, int8(0)
		outerTime = max(outerTime, ts)
		if codec == None {
			inner = attrs
			if appendTime > 0 {
				ts = appendTime
			}
		}
		set = append(set, one(offset, ts, inner, r.Key, r.Value)...)
	}
	if codec == None {
		return set
	}
	if appendTime > 0 {
		outerTime = appendTime
	}
	return one(records[len(records)-1].Offset, outerTime, attrs, nil, pack(t, set, codec))
}

// kgoRecords reads a record set as franz-go's consumer does, checksums included.
func kgoRecords(t testing.TB, set []byte) []Record {
	t.Helper()
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.RecordBatches = append([]byte(nil), set...)
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &rp, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		t.Fatalf("franz-go refuses the batch: %v", fp.Err)
	}
	var out []Record
	for _, r := range fp.Records {
		out = append(out, fromKgo(r))
	}
	return out
}

func fromKgo(r *kgo.Record) Record {
	rec := Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return rec
}

// sameRecords compares, null and empty being different.
func sameRecords(t testing.TB, what string, want, got []Record) {
	t.Helper()
	if len(want) == 0 && len(got) == 0 {
		return
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameRecord)); diff != "" {
		t.Fatalf("%s: records differ (-want +got):\n%s", what, diff)
	}
}

func sameRecord(a, b Record) bool {
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }
	if a.Offset != b.Offset || a.Timestamp != b.Timestamp || !same(a.Key, b.Key) || !same(a.Value, b.Value) || len(a.Headers) != len(b.Headers) {
		return false
	}
	for i := range a.Headers {
		if a.Headers[i].Key != b.Headers[i].Key || !same(a.Headers[i].Value, b.Headers[i].Value) {
			return false
		}
	}
	return true
}

// randomRecords makes up to n records at base and behind, with gaps if asked.
func randomRecords(r *rand.Rand, n int, base int64, gaps bool, headers bool) []Record {
	bytesOf := func(limit int) []byte {
		switch r.IntN(8) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		p := make([]byte, r.IntN(limit))
		for i := range p {
			p[i] = "abcdefgh"[r.IntN(1+r.IntN(8))]
		}
		return p
	}
	var out []Record
	offset, now := base, int64(1_700_000_000_000)+r.Int64N(1_000_000)
	for range 1 + r.IntN(n) {
		if gaps && r.IntN(3) == 0 {
			offset += 1 + r.Int64N(200)
		}
		rec := Record{Offset: offset, Timestamp: now + r.Int64N(20_000) - 10_000, Key: bytesOf(40), Value: bytesOf(400)}
		for headers && r.IntN(3) == 0 {
			rec.Headers = append(rec.Headers, Header{Key: string(bytesOf(10)), Value: bytesOf(30)})
		}
		out = append(out, rec)
		offset++
	}
	return out
}

func maxTime(records []Record) int64 {
	m := int64(-1)
	for _, r := range records {
		m = max(m, r.Timestamp)
	}
	return m
}

// only gives the single batch of a set.
func only(t testing.TB, set []byte) Batch {
	t.Helper()
	bs, err := Split(set)
	if err != nil {
		t.Fatal(err)
	}
	if len(bs) != 1 {
		t.Fatalf("%d batches, 1 expected", len(bs))
	}
	if err := bs[0].Check(); err != nil {
		t.Fatal(err)
	}
	return bs[0]
}
