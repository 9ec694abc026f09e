package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// keyBytes is the length of every record's key.
const keyBytes = 12

// batchPool are the batches that a topic is loaded with, over and over: different ones, so that nothing repeats within
// what a codec looks back on, and few, so that the loader is quick.
type batchPool struct {
	batches []sourceBatchBytes
	records int // of each batch
	bytes   int // keys and values of each batch
}

// sourceBatchBytes is a batch as it is sent, with what the verification expects of it.
type sourceBatchBytes struct {
	wire   []byte
	digest digest
}

// poolBytes is about how much of keys and values a pool has; more than a processor's cache, to be read from memory.
const poolBytes = 10 * mib

// newPool makes the batches of a case, of about so many bytes in all, but at least two for each partition.
func newPool(w workload, seed uint64, size int) (*batchPool, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	compressor, err := kgo.DefaultCompressor(w.codec)
	if err != nil {
		return nil, err
	}
	p := &batchPool{records: max(1, w.batch/(w.value+keyBytes+recordOverhead))}
	p.bytes = p.records * (w.value + keyBytes)
	now := time.Now().UnixMilli()
	var scratch []byte
	for range max(2*partitions, size/p.bytes) {
		var b sourceBatchBytes
		var body []byte
		for i := range p.records {
			r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Value: document(rng, w.value)} //nolint:gosec // a few thousand
			r.Key = fmt.Appendf(nil, "k%011x", rng.Uint64N(1<<40))
			scratch = r.AppendTo(scratch[:0])
			r.Length = int32(len(scratch) - 1) //nolint:gosec // so far its own length is 0, which takes one byte
			body = r.AppendTo(body)
			b.digest.add(now+int64(i), r.Key, r.Value)
		}
		b.wire = encode(body, p.records, now, compressor)
		p.batches = append(p.batches, b)
	}
	return p, nil
}

// recordOverhead is about what the format adds to a key and a value.
const recordOverhead = 10

// encode makes a batch of encoded records: magic 2, CreateTime, of no idempotent producer.
func encode(records []byte, n int, now int64, compressor kgo.Compressor) []byte {
	var codec kgo.CompressionCodecType
	if compressor != nil {
		var buf bytes.Buffer
		records, codec = compressor.Compress(&buf, records)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(n - 1), //nolint:gosec // a few thousand
		FirstTimestamp: now, MaxTimestamp: now + int64(n-1), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(n), Records: records, //nolint:gosec // as above
	}
	wire := b.AppendTo(nil)
	binary.BigEndian.PutUint32(wire[8:], uint32(len(wire)-12)) //nolint:gosec // below 1 MiB
	binary.BigEndian.PutUint32(wire[17:], crc32.Checksum(wire[21:], castagnoli))
	return wire
}

// document is JSON of a given length, such as applications write: names that repeat, numbers and words that do not.
func document(rng *rand.Rand, size int) []byte {
	doc := fmt.Appendf(make([]byte, 0, size+32), `{"id":"%016x","account":%d,"amount":%d.%02d,"note":"`,
		rng.Uint64(), rng.IntN(1e6), rng.IntN(1e5), rng.IntN(100))
	for len(doc) < size-2 {
		if rng.IntN(3) == 0 {
			doc = strconv.AppendUint(doc, uint64(rng.Uint32()), 16)
		} else {
			doc = append(doc, words[rng.IntN(len(words))]...)
		}
		doc = append(doc, ' ')
	}
	return append(doc[:size-2], `"}`...)
}

var words = []string{
	"order", "payment", "customer", "shipment", "refund", "invoice", "pending", "approved", "declined", "warehouse", "transfer", "balance",
	"address", "delivery", "returned", "discount", "currency", "branch", "terminal", "merchant", "settlement", "booking", "ledger", "account",
}
